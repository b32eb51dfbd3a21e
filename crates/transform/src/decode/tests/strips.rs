use image::ImageFormat as Codec;
use jpeg_encoder::{ColorType, Encoder, SamplingFactor};
use lazaret_sandbox::format::{Decode, ImageFormat};

use super::{distance, encoded, noise, quarters, refused, shown, task};

fn tiff() -> Decode {
    task(ImageFormat::Tiff)
}

/// A TIFF of 64 x 32 pixels in three samples, compressed in this way in strips of 16 lines, tables beside them.
fn tiff_of_strips(compression: u16, photometric: u16, tables: &[u8], strips: &[Vec<u8>]) -> Vec<u8> {
    const ENTRIES: u32 = 10;
    const BEHIND: u32 = 8 + 2 + 12 * ENTRIES + 4;
    let strips_at = BEHIND + 6 + u32::try_from(tables.len()).unwrap();
    let lists_at = strips_at + u32::try_from(strips.concat().len()).unwrap();
    let count = u32::try_from(strips.len()).unwrap();
    let short = |tag: u16, value: u16| (tag, 3_u16, 1, u32::from(value));
    let entries = [
        short(256, 64),
        short(257, 32),
        (258, 3, 3, BEHIND),
        short(259, compression),
        short(262, photometric),
        (273, 4, count, lists_at),
        short(277, 3),
        short(278, 16),
        (279, 4, count, lists_at + 4 * count),
        // Four bytes lie in the entry itself.
        (347, 7, u32::try_from(tables.len()).unwrap(), tables.try_into().map_or(BEHIND + 6, u32::from_le_bytes)),
    ];
    let mut bytes = b"II*\0\x08\0\0\0\x0a\0".to_vec();
    for (tag, kind, count, value) in entries {
        bytes.extend([tag.to_le_bytes(), kind.to_le_bytes()].concat());
        bytes.extend([count.to_le_bytes(), value.to_le_bytes()].concat());
    }
    bytes.extend([0, 0, 0, 0, 8, 0, 8, 0, 8, 0]);
    bytes.extend_from_slice(tables);
    bytes.extend(strips.concat());
    let mut at = strips_at;
    for strip in strips {
        bytes.extend(at.to_le_bytes());
        at += u32::try_from(strip.len()).unwrap();
    }
    bytes.extend(strips.iter().flat_map(|strip| u32::try_from(strip.len()).unwrap().to_le_bytes()));
    bytes
}

/// The two halves of the quarters, one above the other.
fn jpeg_strips(several_scans: bool) -> Vec<Vec<u8>> {
    let strip = |half: &[u8]| {
        let mut bytes = Vec::new();
        let mut encoder = Encoder::new(&mut bytes, 95);
        encoder.set_sampling_factor(SamplingFactor::F_1_1);
        encoder.set_optimized_huffman_tables(several_scans);
        encoder.encode(half, 64, 16, ColorType::Rgb).unwrap();
        bytes
    };
    quarters().as_raw().chunks(64 * 16 * 3).map(strip).collect()
}

const JPEG: u16 = 7;
const RGB: u16 = 2;
const YCC: u16 = 6;
const NO_TABLES: &[u8] = b"\xff\xd8\xff\xd9";

/// Takes the Huffman and quantisation tables out of a JPEG.
fn without_tables(jpeg: &[u8]) -> (Vec<u8>, Vec<u8>) {
    let (mut tables, mut rest, mut at) = (vec![0xff, 0xd8], vec![0xff, 0xd8], 2);
    while jpeg[at + 1] != 0xda {
        let end = at + 2 + usize::from(u16::from_be_bytes([jpeg[at + 2], jpeg[at + 3]]));
        let is_table = matches!(jpeg[at + 1], 0xdb | 0xc4);
        (if is_table { &mut tables } else { &mut rest }).extend_from_slice(&jpeg[at..end]);
        at = end;
    }
    rest.extend_from_slice(&jpeg[at..]);
    (([tables, vec![0xff, 0xd9]].concat()), rest)
}

#[test]
fn strips_of_jpeg_are_read_with_and_without_tables_of_their_own() {
    let strips = jpeg_strips(false);
    let whole = shown(&tiff(), &tiff_of_strips(JPEG, YCC, NO_TABLES, &strips));
    assert!(distance(whole.samples(), quarters().as_raw()) < 20);
    let (tables, bare): (Vec<_>, Vec<_>) = strips.iter().map(|strip| without_tables(strip)).unzip();
    assert_eq!(tables[0], tables[1]);
    let shared = shown(&tiff(), &tiff_of_strips(JPEG, YCC, &tables[0], &bare));
    assert_eq!(shared.samples(), whole.samples());
    refused(&tiff(), &tiff_of_strips(JPEG, YCC, &tables[0][..tables[0].len() - 2], &bare));
    refused(&tiff(), &tiff_of_strips(JPEG, YCC, NO_TABLES, &bare));
    // Samples are not converted by what JPEG knows of them: the TIFF says what they are.
    let stored = shown(&tiff(), &tiff_of_strips(JPEG, RGB, NO_TABLES, &strips));
    assert_ne!(stored.samples(), whole.samples());
}

/// As in a file that is nothing but JPEG: right or refused, never garbage.
#[test]
fn strips_of_jpeg_that_are_damaged_or_in_several_scans_are_refused() {
    let detail = |bytes: &[u8]| refused(&tiff(), bytes).detail.as_str().to_owned();
    let several = jpeg_strips(true);
    assert_eq!(several[0].windows(2).filter(|marker| *marker == [0xff, 0xda]).count(), 3);
    let several = tiff_of_strips(JPEG, YCC, NO_TABLES, &several);
    assert_eq!(detail(&several), "a baseline JPEG in several scans is not supported");
    let whole = jpeg_strips(false);
    for missing in [3, 20, whole[1].len() - 5] {
        let cut = whole[1][..whole[1].len() - missing].to_vec();
        let ended = [cut.as_slice(), &[0xff, 0xd9]].concat();
        for second in [cut, ended] {
            refused(&tiff(), &tiff_of_strips(JPEG, YCC, NO_TABLES, &[whole[0].clone(), second]));
        }
    }
    // Of another size than the strip.
    let other = tiff_of_strips(JPEG, YCC, NO_TABLES, &[whole[0].clone(), encoded(quarters(), Codec::Jpeg)]);
    shown(&tiff(), &other);
    let narrow = encoded(noise(32, 16), Codec::Jpeg);
    let other = tiff_of_strips(JPEG, YCC, NO_TABLES, &[whole[0].clone(), narrow]);
    assert_eq!(detail(&other), "a TIFF whose strips or tiles are not what it says");
    // The scheme of TIFF 6.0, which nobody could agree on.
    refused(&tiff(), &tiff_of_strips(6, YCC, NO_TABLES, &whole));
}
