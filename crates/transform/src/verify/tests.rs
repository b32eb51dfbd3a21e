use lazaret_sandbox::{
    Refusal,
    format::{List, OutputFormat},
    picture::Layout,
};

use super::*;
use crate::encode::tests::{Out, Scene, encoded, task};

fn task_of(artefacts: &[Artefact], len: usize) -> Verify {
    Verify {
        input_bytes: len as u64,
        limits: ImageLimits::default(),
        artefacts: List::of(artefacts.iter().copied()).unwrap(),
    }
}

pub(crate) fn look_at(out: &Out) -> Result<(), Failure> {
    look(&task_of(&out.encoded.artefacts.iter().collect::<Vec<_>>(), out.bytes.len()), &out.bytes)
}

/// Why this file is refused where `artefact` was announced, its length aside.
#[track_caller]
fn refused(bytes: &[u8], artefact: Artefact) -> String {
    let artefact = Artefact { len: bytes.len() as u64, ..artefact };
    let refusal: Refusal = look(&task_of(&[artefact], bytes.len()), bytes).expect_err("passed").into();
    assert_eq!(refusal.code, RefusalCode::Unverified);
    refusal.detail.to_string()
}

const FORMATS: [OutputFormat; 4] = [OutputFormat::Jpeg, OutputFormat::Png, OutputFormat::Gif, OutputFormat::WebP];

fn samples() -> Vec<(Vec<u8>, Artefact)> {
    let still = FORMATS.map(|format| encoded(&Scene::gradient(50, 40, Layout::Rgba), &task(format)));
    let animated = FORMATS.map(|format| encoded(&Scene::animation(Layout::Rgba), &task(format)));
    still.iter().chain(&animated).map(|out| (out.file(0).0.to_vec(), out.file(0).1)).collect()
}

#[test]
fn what_is_cut_or_trailed_is_refused() {
    for (file, artefact) in samples() {
        for cut in 0..file.len() {
            refused(&file[..cut], artefact);
        }
        for tail in [&b"\0"[..], b"<", b"PK\x03\x04", b"\xff\xd9", b"\x3b"] {
            refused(&[&file, tail].concat(), artefact);
        }
        // A RIFF that counts what trails.
        if artefact.format == ArtefactFormat::WebP {
            let mut longer = [&file[..], b"abcd\x04\0\0\0text"].concat();
            let length = u32::try_from(longer.len() - 8).unwrap();
            longer[4..8].copy_from_slice(&length.to_le_bytes());
            refused(&longer, artefact);
        }
    }
}

#[test]
fn a_changed_byte_before_the_pixels_is_refused_or_is_a_colour() {
    for (file, artefact) in samples() {
        for at in 0..file.len().min(22) {
            for bit in 0..8 {
                let mut changed = file.clone();
                changed[at] ^= 1 << bit;
                if artefact.format == ArtefactFormat::WebP && at >= 20 {
                    // Flags of VP8 itself, which say nothing that its decoder minds.
                    continue;
                }
                refused(&changed, artefact);
            }
        }
    }
}

#[test]
fn another_size_format_or_number_of_frames_is_refused() {
    for (file, artefact) in samples() {
        let Artefact { width, height, frames, .. } = artefact;
        refused(&file, Artefact { width: width + 1, ..artefact });
        refused(&file, Artefact { height: height - 1, ..artefact });
        refused(&file, Artefact { frames: frames + 1, ..artefact });
        for format in FORMATS.map(ArtefactFormat::from) {
            if format != artefact.format {
                refused(&file, Artefact { format, ..artefact });
            }
        }
    }
}

/// A chunk of a PNG with these bytes behind its own, and a right checksum.
fn with_longer_chunk(file: &[u8], kind: &[u8], more: &[u8]) -> Vec<u8> {
    let at = memchr::memmem::find(file, kind).expect("such a chunk");
    let len = u32::from_be_bytes(file[at - 4..at].try_into().unwrap()) as usize;
    let body = [&file[at..at + 4 + len], more].concat();
    let longer = u32::try_from(len + more.len()).unwrap().to_be_bytes();
    let checksum = crc32fast::hash(&body).to_be_bytes();
    [&file[..at - 4], &longer, &body, &checksum, &file[at + 8 + len..]].concat()
}

#[test]
fn nothing_lies_behind_what_a_chunk_has_to_say() {
    let out = encoded(&Scene::animation(Layout::Rgba), &task(OutputFormat::Png));
    let (file, artefact) = out.file(0);
    assert_eq!(with_longer_chunk(file, b"fcTL", b""), file);
    for kind in [b"IHDR", b"acTL", b"fcTL", b"IEND"] {
        refused(&with_longer_chunk(file, kind, b"anything at all"), artefact);
    }
}

#[test]
fn files_lie_one_behind_the_other() {
    let out = encoded(
        &Scene::gradient(50, 40, Layout::Rgb),
        &lazaret_sandbox::format::Encode { variants: List::of([20, 10]).unwrap(), ..task(OutputFormat::Png) },
    );
    let files: Vec<Artefact> = out.encoded.artefacts.iter().collect();
    assert!(look(&task_of(&files, out.bytes.len()), &out.bytes).is_ok());
    let [first, second, third] = files[..] else { panic!("{files:?}") };
    for wrong in [
        vec![],
        vec![first, second],
        vec![first, third],
        vec![second, first, third],
        vec![first, first, second, third],
        vec![first, Artefact { offset: second.offset - 1, ..second }, third],
        vec![first, Artefact { len: second.len + 1, ..second }, third],
        vec![first, second, Artefact { len: u64::MAX, ..third }],
        vec![first, second, Artefact { len: 0, ..third }],
    ] {
        assert!(look(&task_of(&wrong, out.bytes.len()), &out.bytes).is_err(), "{wrong:?}");
    }
    let longer = [&out.bytes[..], b"\0"].concat();
    assert!(look(&task_of(&files, longer.len()), &longer).is_err());
}
