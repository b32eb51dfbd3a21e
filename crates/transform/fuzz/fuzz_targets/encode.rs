//! Any bytes as a picture through an encoder: it believes nothing, and what it writes is verified.

#![no_main]

use lazaret_sandbox::{
    Confined, Done, Job, Task,
    format::{Encode, ImageLimits, List, OutputFormat, Verify},
};
use lazaret_transform::transform;
use libfuzzer_sys::fuzz_target;

const LIMITS: ImageLimits =
    ImageLimits { max_pixels: 1 << 14, max_side: 512, max_frames: 8, max_total_pixels: 1 << 16 };

fuzz_target!(|bytes: &[u8]| {
    let Some((&choice, picture)) = bytes.split_first() else { return };
    // Numbers that fit together are rare among random ones: offsets and lengths are made right.
    let picture = if choice & 16 == 0 { mended(picture) } else { planes(picture) };
    let confined = Confined::unconfined();
    let formats = [OutputFormat::Jpeg, OutputFormat::Png, OutputFormat::Gif, OutputFormat::WebP];
    let task = Encode {
        input_bytes: picture.len() as u64,
        limits: LIMITS,
        format: formats[usize::from(choice & 3)],
        quality: choice.max(1).min(100),
        max_side: if choice & 4 == 0 { 0 } else { 16 },
        background: [choice; 3],
        original_bytes: 1000,
        variants: List::of((choice & 8 != 0).then_some(9)).expect("one variant fits"),
    };
    let mut files = vec![0; 2 << 20];
    let job = Job { task: Task::Encode(task), input: &picture, output: &mut files };
    let Ok(Done::Encoded(encoded)) = transform(&confined, job) else { return };
    let len = encoded.artefacts.iter().map(|artefact| artefact.len).sum();
    let task = Verify { input_bytes: len, limits: LIMITS, artefacts: encoded.artefacts };
    let input = &files[..usize::try_from(len).expect("files fit into memory")];
    let verified = transform(&confined, Job { task: Task::Verify(task), input, output: &mut [] });
    assert!(verified.is_ok(), "what was encoded is not verified: {verified:?}");
});

/// Planes of a small size, their samples as they come.
fn planes(bytes: &[u8]) -> Vec<u8> {
    let byte = |at: usize| bytes.get(at).copied().unwrap_or_default();
    let (width, height) = (u32::from(byte(0) % 40 + 1) * 2, u32::from(byte(1) % 40 + 1) * 2);
    let mut out = [b"LZY1".as_slice(), &width.to_le_bytes(), &height.to_le_bytes(), &[byte(2) % 5]].concat();
    out.resize(64, 0);
    out.extend((0..(width * height / 2 * 3) as usize).map(|sample| byte(3 + sample % bytes.len().max(1))));
    out
}

/// A picture (`lazaret_sandbox::picture`) of up to three frames whose sizes are small and whose offsets are right, its
/// other bytes as they come.
fn mended(bytes: &[u8]) -> Vec<u8> {
    let byte = |at: usize| bytes.get(at).copied().unwrap_or_default();
    let (width, height) = (u32::from(byte(0) % 40) + 1, u32::from(byte(1) % 40) + 1);
    let frames = u32::from(byte(2) % 3) + 1;
    let animated = frames > 1 || byte(2) & 128 != 0;
    let mut out = [b"LZP1".as_slice(), &width.to_le_bytes(), &height.to_le_bytes(), &frames.to_le_bytes()].concat();
    out.extend_from_slice(&[byte(3), 0, 0, 0, byte(4) % 5, u8::from(animated), 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    let mut end = out.len() + frames as usize * 40;
    let mut data = Vec::new();
    for index in 0..frames {
        let at = 5 + index as usize * 8;
        let (x, y) = if animated { (u32::from(byte(at)) % width, u32::from(byte(at + 1)) % height) } else { (0, 0) };
        let layout = byte(at + 2) % 5;
        let len = ((width - x) * (height - y)) as usize * [1, 2, 3, 4, 1][usize::from(layout)];
        let len = len + if layout == 4 { 1024 } else { 0 };
        let place = end.next_multiple_of(64);
        out.extend_from_slice(&(place as u64).to_le_bytes());
        let delay = [u32::from(byte(at + 3)), u32::from(byte(at + 4)) + 1];
        for number in [x, y, width - x, height - y, delay[0], delay[1]] {
            out.extend_from_slice(&number.to_le_bytes());
        }
        out.extend_from_slice(&[byte(at + 5) % 3, byte(at + 6) % 2, layout, 0, 0, 0, 0, 0]);
        data.resize(data.len() + place - end, 0);
        data.extend((0..len).map(|pixel| byte(29 + pixel % bytes.len().max(1))));
        end = place + len;
    }
    out.extend_from_slice(&data);
    out
}
