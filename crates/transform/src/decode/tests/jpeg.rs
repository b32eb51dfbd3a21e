use image::{ImageFormat as Codec, metadata::Orientation};
use jpeg_encoder::{ColorType, Encoder, SamplingFactor};
use lazaret_sandbox::{
    Refusal,
    format::{Colour, Decode, ImageFormat},
    picture::{Gamut, Layout, Planes, PlanesHeader},
};
use moxcms::ColorProfile;

use super::{distance, encoded, exif, noise, quarters, refused, shown, task};

fn jpeg() -> Decode {
    task(ImageFormat::Jpeg)
}

fn jpeg_of(
    samples: &[u8],
    (width, height): (u16, u16),
    colour: ColorType,
    set: impl Fn(&mut Encoder<&mut Vec<u8>>),
) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut encoder = Encoder::new(&mut bytes, 95);
    set(&mut encoder);
    encoder.encode(samples, width, height, colour).unwrap();
    bytes
}

#[test]
fn every_way_of_coding_shows_the_same() {
    let image = quarters();
    for progressive in [false, true] {
        for sampling in [SamplingFactor::F_1_1, SamplingFactor::F_2_1, SamplingFactor::F_2_2, SamplingFactor::F_1_2] {
            for restarts in [0, 2] {
                let bytes = jpeg_of(&image, (64, 32), ColorType::Rgb, |encoder| {
                    encoder.set_progressive(progressive);
                    encoder.set_sampling_factor(sampling);
                    encoder.set_restart_interval(restarts);
                });
                let found = shown(&jpeg(), &bytes);
                assert_eq!(found.size(), (64, 32));
                assert_eq!(found.frames[0].0.layout, Layout::Rgb);
                // What is far is at the edges of the quarters, where chroma bleeds.
                let far = found.samples().iter().zip(image.iter()).filter(|(a, b)| a.abs_diff(**b) > 12).count();
                assert!(far * 8 < image.len(), "{progressive} {sampling:?} {restarts}: {far}");
            }
        }
    }
}

#[test]
fn grey_stays_grey() {
    let grey: Vec<u8> = (0..=255).collect();
    for progressive in [false, true] {
        let bytes = jpeg_of(&grey, (16, 16), ColorType::Luma, |encoder| encoder.set_progressive(progressive));
        let found = shown(&jpeg(), &bytes);
        assert_eq!(found.frames[0].0.layout, Layout::Grey);
        assert!(distance(found.samples(), &grey) <= 3);
    }
}

#[test]
fn inks_become_light() {
    // Cyan, black, white and red in inks, 255 for all of one.
    let inks = [[255, 0, 0, 0], [0, 0, 0, 255], [0; 4], [0, 255, 255, 0]];
    let light = [[0, 255, 255], [0; 3], [255; 3], [255, 0, 0]];
    let image: Vec<u8> = inks.iter().flat_map(|ink| ink.repeat(64)).collect();
    let expected: Vec<u8> = light.iter().flat_map(|light| light.repeat(64)).collect();
    for colour in [ColorType::Cmyk, ColorType::CmykAsYcck] {
        let bytes = jpeg_of(&image, (8, 32), colour, |encoder| encoder.set_sampling_factor(SamplingFactor::F_1_1));
        let found = shown(&jpeg(), &bytes);
        assert_eq!(found.frames[0].0.layout, Layout::Rgb);
        assert!(distance(found.samples(), &expected) <= 4, "{colour:?}");
    }
}

#[test]
fn all_eight_orientations_come_out_upright() {
    let plain = shown(&jpeg(), &jpeg_of(&quarters(), (64, 32), ColorType::Rgb, |_| {}));
    let plain = image::RgbImage::from_raw(64, 32, plain.samples().to_vec()).unwrap();
    for orientation in 1..=8 {
        let bytes = jpeg_of(&quarters(), (64, 32), ColorType::Rgb, |encoder| {
            encoder.add_app_segment(1, [b"Exif\0\0", exif(orientation).as_slice()].concat()).unwrap();
        });
        let mut expected = image::DynamicImage::from(plain.clone());
        expected.apply_orientation(Orientation::from_exif(orientation).unwrap());
        assert_eq!(shown(&jpeg(), &bytes).samples(), expected.as_bytes(), "{orientation}");
    }
}

#[test]
fn a_wide_gamut_becomes_srgb_or_stays_by_name() {
    let profile = ColorProfile::new_display_p3().encode().unwrap();
    let image = [200, 100, 60].repeat(256);
    let bytes = jpeg_of(&image, (16, 16), ColorType::Rgb, |encoder| encoder.add_icc_profile(&profile).unwrap());
    let found = shown(&jpeg(), &bytes);
    assert_eq!(found.canvas.gamut, Gamut::Srgb);
    assert!(distance(found.samples(), &[215, 93, 47].repeat(256)) <= 3);
    let kept = shown(&Decode { colour: Colour::Keep, ..jpeg() }, &bytes);
    assert_eq!(kept.canvas.gamut, Gamut::DisplayP3);
    assert!(distance(kept.samples(), &image) <= 3);
}

#[test]
fn what_would_come_out_as_garbage_is_refused() {
    let baseline = encoded(noise(32, 32), Codec::Jpeg);
    let scan = baseline.windows(2).position(|window| window == [0xff, 0xda]).unwrap();
    let several = [&baseline[..baseline.len() - 2], &baseline[scan..]].concat();
    assert_eq!(refused(&jpeg(), &several).detail.as_str(), "a baseline JPEG in several scans is not supported");
    let frame = baseline.windows(2).position(|window| window == [0xff, 0xc0]).unwrap();
    for (at, value, expected) in [
        (1, 0xc9, "a JPEG with arithmetic coding is not supported"),
        (1, 0xc3, "a lossless JPEG is not supported"),
        (1, 0xc5, "a hierarchical JPEG is not supported"),
        (4, 12, "a JPEG of more than eight bits a sample is not supported"),
        (9, 2, "a JPEG has one, three or four components"),
    ] {
        let mut other = baseline.clone();
        other[frame + at] = value;
        assert_eq!(refused(&jpeg(), &other).detail.as_str(), expected);
    }
}

#[test]
fn a_truncated_image_is_refused() {
    for progressive in [false, true] {
        let image = noise(64, 64);
        let whole = jpeg_of(&image, (64, 64), ColorType::Rgb, |encoder| encoder.set_progressive(progressive));
        for part in [2, 10, 50, 90] {
            refused(&jpeg(), &whole[..whole.len() * part / 100]);
        }
        // Of a progressive image whole scans may be missing; of any other the pixels say whether they are all there.
        let endless = &whole[..whole.len() - 2];
        if progressive {
            refused(&jpeg(), endless);
        } else {
            assert_eq!(shown(&jpeg(), endless).samples(), shown(&jpeg(), &whole).samples());
        }
        // What follows the end is no part of the image.
        let trailing = [whole.as_slice(), b"PK\x03\x04"].concat();
        assert_eq!(shown(&jpeg(), &trailing).samples(), shown(&jpeg(), &whole).samples());
    }
}

#[test]
fn a_size_that_the_data_cannot_fill_is_refused_before_it_is_decoded() {
    let mut bomb = encoded(noise(32, 32), Codec::Jpeg);
    let frame = bomb.windows(2).position(|window| window == [0xff, 0xc0]).unwrap();
    bomb[frame + 5..frame + 9].copy_from_slice(&[7000_u16.to_be_bytes(), 7000_u16.to_be_bytes()].concat());
    let refusal = refused(&jpeg(), &bomb);
    assert_eq!(refusal.detail.as_str(), "a JPEG with less data than its pixels need is truncated");
}

/// Without the bytes of a range behind the first scan header, restart markers left alone.
fn without(jpeg: &[u8], range: std::ops::Range<usize>) -> Vec<u8> {
    let scan = jpeg.windows(2).position(|window| window == [0xff, 0xda]).unwrap();
    let header = scan + 2 + usize::from(jpeg[scan + 3]);
    [&jpeg[..header + range.start], &jpeg[header + range.end..]].concat()
}

/// Decoders make up what is missing, each in its own way: zune-jpeg repeats, libjpeg paints grey.
#[test]
fn pixels_that_are_not_there_are_not_made_up() {
    for (progressive, restarts) in [(false, 0), (false, 2), (true, 0), (true, 2)] {
        let whole = jpeg_of(&noise(64, 64), (64, 64), ColorType::Rgb, |encoder| {
            encoder.set_progressive(progressive);
            encoder.set_restart_interval(restarts);
        });
        shown(&jpeg(), &whole);
        // Out of the middle of the first scan, of an interval where there are some.
        let refusal = refused(&jpeg(), &without(&whole, 8..16));
        assert_eq!(refusal.code, lazaret_sandbox::RefusalCode::DecodeFailed, "{progressive} {restarts}");
    }
    let baseline = jpeg_of(&noise(64, 64), (64, 64), ColorType::Rgb, |_| {});
    for missing in [4, 12, 40] {
        let short = [&baseline[..baseline.len() - 2 - missing], &[0xff, 0xd9]].concat();
        refused(&jpeg(), &short);
        refused(&jpeg(), &short[..short.len() - 2]);
    }
}

#[test]
fn a_restart_marker_that_is_missing_or_out_of_order_is_refused() {
    let whole = jpeg_of(&noise(64, 64), (64, 64), ColorType::Rgb, |encoder| encoder.set_restart_interval(2));
    let second = whole.windows(2).position(|window| window == [0xff, 0xd1]).unwrap();
    let mut other = whole.clone();
    other[second + 1] = 0xd5;
    assert_eq!(refused(&jpeg(), &other).detail.as_str(), "the restart markers of a JPEG are out of order");
    let last = whole.windows(2).rposition(|window| window[0] == 0xff && matches!(window[1], 0xd0..=0xd7)).unwrap();
    let lacking = [&whole[..last], &whole[last + 2..]].concat();
    assert_eq!(refused(&jpeg(), &lacking).detail.as_str(), "a JPEG lacks restart markers");
}

/// Sizes that samples of eight bits cannot have: decoders keep other bits of them.
#[test]
fn coefficients_of_more_bits_than_samples_give_are_refused() {
    let whole = jpeg_of(&noise(16, 16), (16, 16), ColorType::Rgb, |_| {});
    let table = |class: u8| {
        let begins = |window: &[u8]| window[..2] == [0xff, 0xc4] && window[4] == class;
        whole.windows(5).position(begins).unwrap() + 5 + 16
    };
    for (class, symbol) in [(0x00, 12), (0x10, 0x0b), (0x10, 0x1f)] {
        let mut other = whole.clone();
        other[table(class)] = symbol;
        assert_eq!(refused(&jpeg(), &other).detail.as_str(), "a JPEG Huffman table is not of eight bits a sample");
    }
}

/// Markers that stand between the pixels and the end are read ahead of time by the decoder, which then left out rows.
#[test]
fn a_comment_behind_the_pixels_changes_nothing() {
    for restarts in [0, 3] {
        let whole = jpeg_of(&noise(64, 64), (64, 64), ColorType::Rgb, |encoder| encoder.set_restart_interval(restarts));
        let comment = [0xff, 0xfe, 0, 6, b'l', b'a', b's', b't'];
        let commented = [&whole[..whole.len() - 2], &comment, &[0xff, 0xd9]].concat();
        assert_eq!(shown(&jpeg(), &commented).samples(), shown(&jpeg(), &whole).samples());
        // Bytes that are too many, as some cameras write them, are no pixels either.
        let padded = [&whole[..whole.len() - 2], &[0, 0, 0, 0xff, 0xff, 0xff, 0xd9]].concat();
        assert_eq!(shown(&jpeg(), &padded).samples(), shown(&jpeg(), &whole).samples());
    }
}

/// What comes as planes of an image of up to 64 pixels a side: their header and samples.
fn planes(task: &Decode, bytes: &[u8]) -> Option<(PlanesHeader, Vec<u8>)> {
    let mut output = vec![0xa5; 1 << 16];
    let decoded = super::super::pixels(task, bytes, &mut output).unwrap();
    let written = &output[..usize::try_from(decoded.len).unwrap()];
    let found = Planes::find(written, &task.limits).unwrap()?;
    Some((found.header, found.samples.to_vec()))
}

fn photograph() -> Vec<u8> {
    jpeg_of(&noise(64, 32), (64, 32), ColorType::Rgb, |encoder| encoder.set_sampling_factor(SamplingFactor::F_2_2))
}

#[test]
fn a_photograph_comes_as_planes_where_they_are_wanted() {
    let wanted = Decode { planes_side: 64, ..jpeg() };
    for restarts in [0, 1] {
        let bytes = jpeg_of(&quarters(), (64, 32), ColorType::Rgb, |encoder| {
            encoder.set_sampling_factor(SamplingFactor::F_2_2);
            encoder.set_restart_interval(restarts);
            encoder.add_app_segment(1, b"Exif\0\0nothing".to_vec()).unwrap();
        });
        let (header, samples) = planes(&wanted, &bytes).unwrap();
        assert_eq!(header, PlanesHeader { width: 64, height: 32, gamut: Gamut::Srgb });
        let [brightness, rest] = [&samples[..64 * 32], &samples[64 * 32..]];
        let (blue, red) = rest.split_at(32 * 16);
        let image = quarters();
        for (column, row) in [(3, 3), (60, 3), (3, 28), (60, 28)] {
            let [r, g, b] = image[(column, row)].0.map(f32::from);
            // ITU-T T.871, 7.
            let expected = [
                0.299 * r + 0.587 * g + 0.114 * b,
                128.0 - 0.168_7 * r - 0.331_3 * g + 0.5 * b,
                128.0 + 0.5 * r - 0.418_7 * g - 0.081_3 * b,
            ];
            let (column, row) = (column as usize, row as usize);
            let place = row / 2 * 32 + column / 2;
            let found = [brightness[row * 64 + column], blue[place], red[place]].map(f32::from);
            for (found, expected) in found.iter().zip(expected) {
                assert!((found - expected.min(255.0)).abs() < 3.0, "{found} for {expected} at {column}, {row}");
            }
        }
    }
    assert!(planes(&jpeg(), &photograph()).is_none());
    assert!(planes(&Decode { planes_side: 63, ..jpeg() }, &photograph()).is_none());
}

#[test]
fn what_planes_cannot_say_comes_as_pixels() {
    let wanted = Decode { planes_side: u32::MAX, ..jpeg() };
    let of = |size: (u16, u16), colour, set: &dyn Fn(&mut Encoder<&mut Vec<u8>>)| {
        let samples = vec![99; usize::from(size.0) * usize::from(size.1) * 3];
        jpeg_of(&samples, size, colour, |encoder| {
            encoder.set_sampling_factor(SamplingFactor::F_2_2);
            set(encoder);
        })
    };
    let profile = ColorProfile::new_display_p3().encode().unwrap();
    assert!(planes(&wanted, &of((16, 16), ColorType::Rgb, &|_| ())).is_some());
    for (what, bytes) in [
        ("an odd width", of((15, 16), ColorType::Rgb, &|_| ())),
        ("an odd height", of((16, 15), ColorType::Rgb, &|_| ())),
        ("grey", of((16, 16), ColorType::Luma, &|_| ())),
        ("progressive", of((16, 16), ColorType::Rgb, &|encoder| encoder.set_progressive(true))),
        ("full colours", of((16, 16), ColorType::Rgb, &|encoder| encoder.set_sampling_factor(SamplingFactor::F_1_1))),
        ("half colours", of((16, 16), ColorType::Rgb, &|encoder| encoder.set_sampling_factor(SamplingFactor::F_2_1))),
        (
            "turned",
            of((16, 16), ColorType::Rgb, &|encoder| {
                encoder.add_app_segment(1, [b"Exif\0\0", exif(6).as_slice()].concat()).unwrap();
            }),
        ),
        ("other colours", of((16, 16), ColorType::Rgb, &|encoder| encoder.add_icc_profile(&profile).unwrap())),
    ] {
        assert!(planes(&wanted, &bytes).is_none(), "{what}");
    }
    let kept = Decode { colour: Colour::Keep, ..wanted };
    let bytes = of((16, 16), ColorType::Rgb, &|encoder| encoder.add_icc_profile(&profile).unwrap());
    assert_eq!(planes(&kept, &bytes).unwrap().0.gamut, Gamut::DisplayP3);
}

#[test]
fn what_libjpeg_warns_of_is_decoded_as_without_planes() {
    let wanted = Decode { planes_side: 64, ..jpeg() };
    let good = photograph();
    let end = good.len() - 2;
    let padded = [&good[..end], &[0; 9], &good[end..]].concat();
    assert!(planes(&wanted, &good).is_some());
    assert!(planes(&wanted, &padded).is_none());
    assert_eq!(shown(&wanted, &padded).samples(), shown(&jpeg(), &padded).samples());
    for cut in [1, 20, 1000] {
        let damaged = [&good[..end - cut], &good[end..]].concat();
        let [with, without] = [&wanted, &jpeg()].map(|task| refused(task, &damaged).detail.to_string());
        assert_eq!(with, without, "{cut}");
    }
}

#[test]
fn what_lacks_a_table_does_not_come_as_planes() {
    let wanted = Decode { planes_side: 64, ..jpeg() };
    let good = photograph();
    let table = good.windows(2).position(|marker| marker == [0xff, 0xc4]).unwrap();
    let len = usize::from(u16::from_be_bytes([good[table + 2], good[table + 3]]));
    let damaged = without(&good, table..table + 2 + len);
    assert!(planes(&wanted, &damaged).is_none());
    assert_eq!(shown(&wanted, &damaged).samples(), shown(&jpeg(), &damaged).samples());
}

/// No byte of a photograph, whatever it becomes, leads to other answers with planes than without, or out of their room.
#[test]
fn a_broken_photograph_is_answered_as_without_planes() {
    let wanted = Decode { planes_side: 64, ..jpeg() };
    let good = photograph();
    let answer = |task: &Decode, bytes: &[u8]| {
        let mut output = vec![0xa5; 1 << 16];
        let decoded = super::super::pixels(task, bytes, &mut output);
        let len = decoded.as_ref().map_or(0, |decoded| usize::try_from(decoded.len).unwrap());
        let planes = Planes::find(&output[..len], &task.limits).unwrap().is_some();
        assert!(!planes || output[len..].iter().all(|&byte| byte == 0xa5), "written behind the planes");
        (decoded.map(drop).map_err(|failure| Refusal::from(failure).detail.to_string()), planes)
    };
    let (mut differing, mut of_planes) = (Vec::new(), 0);
    for at in 2..good.len() {
        for flip in [0x01, 0x80, 0xff] {
            let mut bytes = good.clone();
            bytes[at] ^= flip;
            let ((with, planes), (without, _)) = (answer(&wanted, &bytes), answer(&jpeg(), &bytes));
            of_planes += u32::from(planes);
            if with != without {
                differing.push(format!("byte {at} by {flip:#04x}: {with:?} and {without:?}"));
            }
        }
    }
    assert!(differing.is_empty(), "{differing:#?}");
    assert!(of_planes > 100, "planes were made {of_planes} times");
}
