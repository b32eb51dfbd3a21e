//! JPEGs that libjpeg does not write by itself: baseline files of one scan for each component, odd samplings, CMYK
//! turned into YCCK.

use std::path::PathBuf;

use jpeg_encoder::{ColorType, Encoder, SamplingFactor};

use crate::oracle::{Case, Judge, Kind};

const WIDTH: u16 = 101;
const HEIGHT: u16 = 67;

/// Files, and as what they are to be compared; the paths are for the caller to write.
pub(crate) fn rarities() -> Vec<(Case, Vec<u8>)> {
    let samplings = [
        ("444", SamplingFactor::F_1_1),
        ("422", SamplingFactor::F_2_1),
        ("440", SamplingFactor::F_1_2),
        ("420", SamplingFactor::F_2_2),
        ("411", SamplingFactor::F_4_1),
        ("441", SamplingFactor::F_1_4),
        ("410", SamplingFactor::F_4_2),
    ];
    let mut files = Vec::new();
    for (name, sampling) in samplings {
        for (optimised, progressive, restart) in
            [(false, false, 0), (true, false, 0), (false, false, 5), (false, true, 0)]
        {
            let bytes = written(ColorType::Rgb, |encoder| {
                encoder.set_sampling_factor(sampling);
                // This encoder collects statistics scan by scan, and writes one for each component.
                encoder.set_optimized_huffman_tables(optimised);
                encoder.set_progressive(progressive);
                encoder.set_restart_interval(restart);
            });
            let way = if progressive { "progressive" } else { "baseline" };
            let scans = bytes.windows(2).filter(|marker| *marker == [0xff, 0xda]).count();
            assert!(!optimised || scans == 3, "{name}: {scans} scans");
            let name = format!("jpeg/{name} {way}, scans {scans}, restart {restart}");
            files.push((case(name, &[Judge::Pillow, Judge::Vips]), bytes));
        }
    }
    for (name, colours) in [("cmyk", ColorType::Cmyk), ("ycck", ColorType::CmykAsYcck)] {
        for (sampling, factor) in [("444", SamplingFactor::F_1_1), ("420", SamplingFactor::F_2_2)] {
            for (way, several_scans) in [("one scan", false), ("several scans", true)] {
                let bytes = written(colours, |encoder| {
                    encoder.set_sampling_factor(factor);
                    encoder.set_optimized_huffman_tables(several_scans);
                });
                // Without a profile libvips assumes one, Pillow none.
                files.push((case(format!("jpeg/{name} {sampling}, {way}"), &[Judge::Pillow]), bytes));
            }
        }
    }
    files
}

fn case(name: String, judges: &[Judge]) -> Case {
    Case {
        name,
        media_type: "image/jpeg".to_owned(),
        path: PathBuf::new(),
        kind: Kind::Near,
        judges: judges.to_vec(),
        animated: false,
        pages: 1,
    }
}

fn written(colours: ColorType, settings: impl FnOnce(&mut Encoder<&mut Vec<u8>>)) -> Vec<u8> {
    let samples = if matches!(colours, ColorType::Rgb) { 3 } else { 4 };
    let mut bytes = Vec::new();
    let mut encoder = Encoder::new(&mut bytes, 92);
    settings(&mut encoder);
    encoder.encode(&pixels(samples), WIDTH, HEIGHT, colours).unwrap();
    bytes
}

/// Slopes with a disc on them: smooth, so that what is lost is not lost in compression, with an edge, so that blocks
/// in the wrong place are seen.
fn pixels(samples: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    for y in 0..i32::from(HEIGHT) {
        for x in 0..i32::from(WIDTH) {
            let inside = (x - 60).pow(2) + (y - 30).pow(2) < 400;
            let colours = if inside { [200 - y, 60 + x, 90, 10] } else { [2 * x, 3 * y, 220 - x - y, 40] };
            bytes.extend(colours.iter().take(samples).map(|&colour| u8::try_from(colour.clamp(0, 255)).unwrap()));
        }
    }
    bytes
}
