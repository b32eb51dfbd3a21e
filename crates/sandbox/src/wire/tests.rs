use super::*;
use crate::format::{Animation, Artefact, Colour, ImageLimits, List, MultiPage, OutputFormat};

const LIMITS: ImageLimits =
    ImageLimits { max_pixels: 1 << 40, max_side: 7, max_frames: 300, max_total_pixels: u64::MAX };

fn artefact(index: u64) -> Artefact {
    let format = ArtefactFormat::ALL[usize::try_from(index).unwrap() % ArtefactFormat::ALL.len()];
    Artefact { offset: index, len: u64::MAX, format, width: u32::MAX, height: 2, frames: 3 }
}

fn encoded(artefacts: u64) -> ToHost {
    let artefacts = List::of((0..artefacts).map(artefact)).unwrap();
    ToHost::Done(Done::Encoded(Encoded { artefacts, thumbhash: List::of([0xff; 25]).unwrap() }))
}

#[test]
fn every_message_comes_back_as_it_went() {
    let decode = Decode {
        input_bytes: 77,
        format: ImageFormat::Svg,
        limits: LIMITS,
        animation: Animation::FirstFrame,
        pages: MultiPage::First,
        colour: Colour::Keep,
        draw_side: 1024,
        planes_side: 4096,
    };
    let encode = Encode {
        input_bytes: 1 << 33,
        limits: LIMITS,
        format: OutputFormat::WebP,
        quality: 85,
        max_side: 9,
        background: [1, 2, 3],
        original_bytes: 5,
        variants: List::of(1..=8).unwrap(),
    };
    let verify = Verify { input_bytes: 6, limits: LIMITS, artefacts: List::of((0..9).map(artefact)).unwrap() };
    for message in [
        ToChild::SetUp(SetUp {
            host_pid: 9,
            input_bytes: 1,
            output_bytes: 1 << 33,
            memory_bytes: u64::MAX,
            cpu_ms: 5000,
        }),
        ToChild::Work(Task::Decode(decode), Input::Follows),
        ToChild::Work(Task::Encode(encode), Input::Mapped),
        ToChild::Work(Task::Sanitise(Sanitise { input_bytes: 3, format: DocumentFormat::Svg }), Input::Follows),
        ToChild::Work(Task::Verify(verify), Input::Mapped),
        ToChild::Probe(Probe::PastOutput),
        ToChild::Launch(Launch {
            host_pid: 9,
            memory_bytes: 1 << 33,
            cpu_ms: 5000,
            threads: true,
            arguments: 1,
            readable: u16::MAX,
        }),
    ] {
        assert_eq!(ToChild::decode(&message.encode()), Ok(message));
    }
    for message in [
        ToHost::Ready,
        ToHost::SetUpFailed { layer: Layer::Seccomp, detail: Text::of("no") },
        ToHost::Done(Done::Decoded(Decoded { len: 3 })),
        encoded(9),
        encoded(0),
        ToHost::Done(Done::Verified),
        ToHost::Refused(Refusal::new(RefusalCode::OutputLimit, "x".repeat(500))),
        ToHost::Panicked { place: Text::of("a.rs:1") },
        ToHost::Survived { probe: Probe::Fork, errno: -1 },
    ] {
        assert_eq!(ToHost::decode(&message.encode()), Ok(message));
    }
}

#[test]
fn bytes_that_are_no_message_are_an_error() {
    let good = ToHost::Ready.encode();
    assert_eq!(ToHost::decode(&good[..511]), Err(WireError::Length(511)));
    assert_eq!(ToHost::decode(&[0; MESSAGE_BYTES]), Err(WireError::Magic));
    let mut trailing = good;
    trailing[MESSAGE_BYTES - 1] = 1;
    assert_eq!(ToHost::decode(&trailing), Err(WireError::Trailing));
    for byte in 0..=u8::MAX {
        // The format of the only artefact, behind magic, kind, count, offset and length.
        let mut frame = encoded(1).encode();
        frame[22] = byte;
        assert_eq!(ToHost::decode(&frame).is_ok(), ArtefactFormat::from_code(byte).is_some());
        // How many there are.
        let mut frame = encoded(0).encode();
        frame[5] = byte;
        assert!(ToHost::decode(&frame).is_ok() == (byte == 0), "{byte}");
    }
    assert_eq!(ToHost::decode(&ToChild::Probe(Probe::Fork).encode()), Err(WireError::Code(2)));
}

/// Every byte of every message set to every value: an error or a message, never a panic.
#[test]
fn no_byte_makes_a_reader_leave_its_bounds() {
    for message in [encoded(9), encoded(0), ToHost::Panicked { place: Text::of("abc") }] {
        let frame = message.encode();
        for at in 0..MESSAGE_BYTES {
            for byte in 0..=u8::MAX {
                let mut frame = frame;
                frame[at] = byte;
                let (_, _) = (ToHost::decode(&frame).is_ok(), ToChild::decode(&frame).is_ok());
            }
        }
    }
}

#[test]
fn text_from_the_jail_is_one_printable_line() {
    let mut frame = ToHost::Panicked { place: Text::of("abcdef") }.encode();
    frame[6..10].copy_from_slice(b"\n\x1b[\xff");
    let ToHost::Panicked { place } = ToHost::decode(&frame).unwrap() else { panic!("another message") };
    assert_eq!(place.as_str(), "??[?ef");
    frame[5] = 255;
    assert!(ToHost::decode(&frame).is_ok(), "a length past the text is clamped");
}
