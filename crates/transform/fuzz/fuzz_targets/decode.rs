//! Any bytes through a decoder; what it makes of them through an encoder and the verification, which must agree.

#![no_main]

use lazaret_sandbox::{
    Confined, Done, Job, Task,
    format::{
        Animation, Colour, Decode, Encode, ImageFormat, ImageLimits, List, MultiPage, OutputFormat, RefusalCode, Verify,
    },
    picture::Outline,
};
use lazaret_transform::transform;
use libfuzzer_sys::fuzz_target;

const LIMITS: ImageLimits =
    ImageLimits { max_pixels: 1 << 16, max_side: 2048, max_frames: 8, max_total_pixels: 1 << 18 };

fuzz_target!(|bytes: &[u8]| {
    let Some(format) = format(bytes) else { return };
    // The last byte chooses what a policy would.
    let choice = bytes.last().copied().unwrap_or_default();
    let confined = Confined::unconfined();
    let mut picture = vec![0; 2 << 20];
    let formats = [OutputFormat::Jpeg, OutputFormat::Png, OutputFormat::Gif, OutputFormat::WebP];
    let encode = Encode {
        input_bytes: 0,
        limits: LIMITS,
        format: formats[usize::from(choice >> 2 & 3)],
        quality: 80,
        max_side: if choice & 16 == 0 { 0 } else { 16 },
        background: [255; 3],
        original_bytes: bytes.len() as u64,
        variants: List::of((choice & 32 != 0).then_some(9)).expect("one variant fits"),
    };
    let task = Decode {
        input_bytes: bytes.len() as u64,
        format,
        limits: LIMITS,
        animation: if choice & 1 == 0 { Animation::Keep } else { Animation::FirstFrame },
        pages: MultiPage::First,
        colour: if choice & 2 == 0 { Colour::Srgb } else { Colour::Keep },
        draw_side: 64,
        planes_side: encode.planes_side(),
    };
    let job = Job { task: Task::Decode(task), input: bytes, output: &mut picture };
    let Ok(Done::Decoded(decoded)) = transform(&confined, job) else { return };
    let picture = &picture[..usize::try_from(decoded.len).expect("a picture fits into memory")];
    Outline::read(picture, decoded.len, &LIMITS).expect("a decoder writes sound pictures");

    let task = Encode { input_bytes: decoded.len, ..encode };
    let mut files = vec![0; 4 << 20];
    let job = Job { task: Task::Encode(task), input: picture, output: &mut files };
    let encoded = match transform(&confined, job) {
        Ok(Done::Encoded(encoded)) => encoded,
        Err(refusal) if refusal.code == RefusalCode::OutputLimit => return,
        other => panic!("a sound picture was not encoded: {other:?}"),
    };
    let len = encoded.artefacts.iter().map(|artefact| artefact.len).sum();
    let task = Verify { input_bytes: len, limits: LIMITS, artefacts: encoded.artefacts };
    let input = &files[..usize::try_from(len).expect("files fit into memory")];
    let verified = transform(&confined, Job { task: Task::Verify(task), input, output: &mut [] });
    assert!(verified.is_ok(), "what was encoded is not verified: {verified:?}");
});

/// As `infer` would: the program is told the format.
fn format(bytes: &[u8]) -> Option<ImageFormat> {
    let starts: [(usize, &[u8], ImageFormat); 10] = [
        (0, b"\xff\xd8", ImageFormat::Jpeg),
        (0, b"\x89PNG", ImageFormat::Png),
        (0, b"GIF8", ImageFormat::Gif),
        (8, b"WEBP", ImageFormat::WebP),
        (0, b"BM", ImageFormat::Bmp),
        (0, b"II", ImageFormat::Tiff),
        (0, b"MM", ImageFormat::Tiff),
        (0, b"\0\0\x01\0", ImageFormat::Ico),
        (4, b"ftyp", ImageFormat::Avif),
        (0, b"<", ImageFormat::Svg),
    ];
    let found = starts.into_iter().find(|(at, magic, _)| bytes.get(*at..).is_some_and(|rest| rest.starts_with(magic)));
    found.map(|(_, _, format)| format)
}
