use super::*;

/// Grey, three pixels by two: a block.
const FRAME: &[u8] = &[0xff, 0xc0, 0, 11, 8, 0, 2, 0, 3, 1, 1, 0x11, 0];
const SCAN: &[u8] = &[0xff, 0xda, 0, 8, 1, 1, 0, 0, 63, 0, 1, 0xff, 0, 2, 0xff, 0xd0, 3];
const END: &[u8] = &[0xff, 0xd9];

fn jpeg(parts: &[&[u8]]) -> Vec<u8> {
    [&[0xff, 0xd8][..], &parts.concat()].concat()
}

#[test]
fn a_whole_image_is_measured_to_its_end() {
    let mut bytes = jpeg(&[FRAME, SCAN, &[0xff, 0xff, 0xd9]]);
    let len = bytes.len();
    bytes.extend_from_slice(b"PK trailing");
    let segments = Segments::read(&bytes).unwrap();
    assert_eq!((segments.width, segments.height, segments.scans.len(), segments.len), (3, 2, 1, len));
    let scan = &segments.scans[0];
    assert_eq!((&bytes[scan.coded.clone()], scan.restarts), (&SCAN[10..], 1));
    assert!(segments.is_ended() && !segments.is_progressive() && segments.is_even());
}

#[test]
fn every_cut_before_the_coded_data_is_noticed() {
    let bytes = jpeg(&[FRAME, SCAN, END]);
    let coded = bytes.len() - END.len() - SCAN.len() + 10;
    for len in 0..coded {
        assert!(Segments::read(&bytes[..len]).is_err(), "{len}");
    }
    // Whether all pixels are there is the decoder's to say; of a progressive one the last scans may be missing.
    for len in coded..bytes.len() {
        assert!(!Segments::read(&bytes[..len]).unwrap().is_ended(), "{len}");
    }
    let progressive = jpeg(&[&[0xff, 0xc2], &FRAME[2..], SCAN]);
    assert_eq!(Segments::read(&progressive).unwrap().check_supported(), Err(TRUNCATED));
}

#[test]
fn there_is_one_frame_before_any_scan() {
    let comment = [0xff, 0xfe, 0, 4, b'h', b'i'];
    let segments = jpeg(&[&comment, FRAME, SCAN, SCAN, SCAN, END]);
    assert_eq!(Segments::read(&segments).unwrap().scans.len(), 3);
    assert!(Segments::read(&jpeg(&[FRAME, FRAME, SCAN, END])).is_err());
    assert!(Segments::read(&jpeg(&[SCAN, FRAME, END])).is_err());
    assert!(Segments::read(&jpeg(&[FRAME, END])).is_err());
}

#[test]
fn restart_markers_are_in_order_and_all_there() {
    // 24 pixels by 8, three blocks, a marker after each: two.
    let frame = [0xff, 0xc0, 0, 11, 8, 0, 8, 0, 24, 1, 1, 0x11, 0];
    let interval = [0xff, 0xdd, 0, 4, 0, 1];
    let scan = |coded: &[u8]| jpeg(&[&frame, &interval, &SCAN[..10], coded, END]);
    let checked = |coded: &[u8]| Segments::read(&scan(coded)).and_then(|segments| segments.check_supported());
    assert_eq!(checked(b"\x01\xff\xd0\x02\xff\xd1\x03"), Ok(()));
    // One more in front of the end does no harm.
    assert_eq!(checked(b"\x01\xff\xd0\x02\xff\xd1\x03\xff\xd2"), Ok(()));
    assert_eq!(checked(b"\x01\xff\xd0\x02\x03"), Err("a JPEG lacks restart markers"));
    assert_eq!(checked(b"\x01\xff\xd1\x02\xff\xd2\x03"), Err("the restart markers of a JPEG are out of order"));
}

#[test]
fn units_are_counted_as_the_standard_does() {
    // 4:2:0, 33 pixels by 17.
    let frame = [0xff, 0xc2, 0, 17, 8, 0, 17, 0, 33, 3, 1, 0x22, 0, 2, 0x11, 0, 3, 0x11, 0];
    let all = [0xff, 0xda, 0, 12, 3, 1, 0, 2, 0x10, 3, 0x10, 0, 0, 0];
    let one = |name| [0xff, 0xda, 0, 8, 1, name, 0, 1, 63, 0];
    let bytes = jpeg(&[&frame, &all, &one(1), &one(2), END]);
    let segments = Segments::read(&bytes).unwrap();
    let units: Vec<_> = segments.scans.iter().map(|scan| segments.units(scan)).collect();
    assert_eq!(units, [3 * 2, 5 * 3, 3 * 2]);
    assert_eq!(segments.parts(&segments.scans[0]).collect::<Vec<_>>(), [(4, 0), (1, 1), (1, 1)]);
    assert_eq!(segments.parts(&segments.scans[1]).collect::<Vec<_>>(), [(1, 0)]);
    assert!(!segments.is_even());
}

#[test]
fn ones_are_put_behind_data_and_before_markers() {
    let ones = [0xff, 0].repeat(8);
    let bytes = jpeg(&[FRAME, SCAN, END]);
    let guarded = Segments::read(&bytes).unwrap().guarded(&bytes).unwrap();
    let (data, last) = SCAN.split_at(SCAN.len() - 3);
    assert_eq!(guarded, jpeg(&[FRAME, data, &ones, last, &ones, END]));
    let without_end = &bytes[..bytes.len() - 2];
    assert_eq!(Segments::read(without_end).unwrap().guarded(without_end).unwrap(), guarded);
}
