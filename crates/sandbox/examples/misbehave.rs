//! A jailed program that does what its input says, for the tests of the jail. `misbehave host WORD` starts a jail
//! around itself and gives it the word. A link to it named `without-LAYER` runs where that layer cannot be put on, one named
//! `faking-LAYER` where the kernel seems to put it on and does not, and one named `survives-PROBE` has no jail at all and
//! says so of that probe only.
//!
//! A word is `PLACE:DEED`. The process in that place, `decode`, `encode` or `verify`, does the deed; the others do what
//! honest ones would and hand the word on. Without a place it is the first one's. Spaces behind a word make it longer and
//! nothing else, and a comma stands between two words of which each is a place's own. A deed that begins with `early-` is
//! done once the process has answered; with `late-write` it then spoils all that it has put out and ends well.

#![expect(unsafe_code, reason = "misbehaving takes unsafe code")]

use std::{
    collections::BTreeMap,
    env,
    fs::File,
    hint::black_box,
    io,
    io::Write,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use lazaret_core::{
    ImageLimits, ImageOutput, Sha256Digest, Spooled,
    ports::{TransformRequest, Transformer, Treatment},
};
use lazaret_sandbox::{
    Answer, Done, Jail, JailSettings, JailedAllocator, Job, Probe, Refusal, RefusalCode, Task,
    format::{Artefact, ArtefactFormat, Decoded, Encoded, List},
    picture::{Blend, Canvas, Dispose, Frame, Gamut, HEADER_BYTES, Layout, Picture, PictureWriter, PlanesHeader},
    wire::{Input, MAX_FOLLOWING_BYTES, MESSAGE_BYTES, Text, ToChild, ToHost},
};
use memmap2::{MmapMut, MmapOptions};
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
};

/// Width of the picture of a long word.
const LONG_WIDTH: usize = 1024;

#[global_allocator]
static ALLOCATOR: JailedAllocator = JailedAllocator;

fn main() {
    let mut arguments = env::args();
    let name = arguments.next().unwrap_or_default();
    if arguments.next().as_deref() == Some("host") {
        host(&name, &arguments.next().expect("a word follows"));
        return;
    }
    match name.rsplit('/').next().and_then(|name| name.split_once('-')) {
        Some(("without", layer)) => forbid(layer, false),
        Some(("faking", layer)) => {
            // Something that closing leaves open.
            std::mem::forget(File::open("/dev/null"));
            forbid(layer, true);
        }
        Some(("survives", probe)) => pretend(probe),
        _ => {}
    }
    lazaret_sandbox::jail::run(|_, job| obey(job))
}

/// Speaks as a jailed child does, without a jail.
fn pretend(survived: &str) -> ! {
    let mut packet = vec![0; MESSAGE_BYTES + MAX_FOLLOWING_BYTES];
    let mut hear = || {
        let len = rustix::io::read(io::stderr(), &mut packet).expect("a host that speaks");
        let (message, behind) = packet[..len].split_at(MESSAGE_BYTES);
        (ToChild::decode(message).expect("a message"), behind.to_vec())
    };
    let (ToChild::SetUp(set_up), _) = hear() else { panic!("no set-up") };
    let room = |bytes| MmapOptions::new().len(usize::try_from(bytes).expect("a length")).clone();
    // SAFETY: the files are as long as is said, and nobody writes them meanwhile.
    let (input, mut output) = unsafe {
        let output = match set_up.output_bytes {
            0 => MmapMut::map_anon(1),
            bytes => room(bytes).map_mut(&io::stdout()),
        };
        (room(set_up.input_bytes).map_copy_read_only(&io::stdin()).expect("an input"), output.expect("an output"))
    };
    let say = |message: ToHost| rustix::io::write(io::stderr(), &message.encode()).expect("a host that listens");
    say(ToHost::Ready);
    match hear() {
        (ToChild::Work(task, place), behind) => {
            let input = match place {
                Input::Mapped => &input[..usize::try_from(task.input_bytes()).expect("a length")],
                Input::Follows => &behind,
            };
            say(ToHost::Done(obey(Job { task, input, output: &mut output }).expect("an honest job")));
        }
        (ToChild::Probe(probe), _) if probe.name() == survived => drop(say(ToHost::Survived { probe, errno: 0 })),
        (ToChild::Probe(Probe::PastOutput | Probe::WriteInput), _) => end_by(libc::SIGSEGV),
        (ToChild::Probe(_), _) => end_by(libc::SIGSYS),
        (ToChild::SetUp(_) | ToChild::Launch(_), _) => panic!("another set-up"),
    }
    std::process::exit(0)
}

fn end_by(signal: i32) {
    // SAFETY: the default disposition runs no code of this process, and a signal to itself ends it.
    unsafe {
        libc::signal(signal, libc::SIG_DFL);
        libc::raise(signal);
    }
}

fn obey(job: Job<'_>) -> Answer {
    let Job { task, input, output } = job;
    match task {
        // The self-test's bitmaps.
        Task::Decode(_) if input.starts_with(b"BM") => decode(b"x", output),
        Task::Decode(_) => decode(input, output),
        Task::Encode(task) => {
            let picture = Picture::read(input, &task.limits).expect("an honest picture");
            let (canvas, frames) = (*picture.canvas(), picture.frames());
            let shown =
                Shown { width: canvas.width, height: canvas.height, frames: frames.len().try_into().expect("few") };
            let word = picture.frames().next().expect("a frame").samples.to_vec();
            encode(&word, output, task.format.into(), shown, task.variants.iter())
        }
        Task::Sanitise(task) => encode(input, output, task.format.into(), Shown::default(), std::iter::empty()),
        Task::Verify(task) => {
            let first = task.artefacts.iter().next().expect("a file");
            let word = &input[..usize::try_from(first.len).expect("a length")];
            match deed("verify", word) {
                Some("another") => Ok(Done::Decoded(Decoded { len: 1 })),
                Some(deed) => misbehave(deed, word).and_then(|()| answer(deed, &Done::Verified, &mut [])),
                None => Ok(Done::Verified),
            }
        }
    }
}

/// What the process in this place is to do, if anything.
fn deed<'a>(place: &str, word: &'a [u8]) -> Option<&'a str> {
    let word = std::str::from_utf8(word).unwrap_or_default().trim_end();
    word.split(',').find_map(|word| match word.split_once(':') {
        Some((of, deed)) => (of == place).then_some(deed),
        None => (place == "decode").then_some(word),
    })
}

/// A picture whose greys are the word, one pixel high or, of a long one, [`LONG_WIDTH`] pixels wide.
fn decode(word: &[u8], output: &mut [u8]) -> Answer {
    let deed = deed("decode", word).unwrap_or_default();
    if deed == "another" {
        return Ok(Done::Verified);
    }
    misbehave(deed, word)?;
    let (width, rows) = (word.len().min(LONG_WIDTH), word.len().div_ceil(LONG_WIDTH));
    let (width, rows) = (u32::try_from(width).expect("few"), u32::try_from(rows).expect("few"));
    let animated = deed == "animation";
    let (side, frames) = if animated { (7_000, 5) } else { (width, 1) };
    let height = if animated { side } else { rows };
    let canvas = Canvas { width: side, height, animated, plays: 0, gamut: Gamut::Srgb };
    let frame = Frame {
        dispose: Dispose::Keep,
        blend: Blend::Source,
        delay: (1, 10),
        ..Frame::still(width, rows, Layout::Grey)
    };
    let mut writer = PictureWriter::begin(output, &canvas, frames).expect("room");
    for _ in 0..frames {
        writer.frame(&frame).expect("room").copy_from_slice(word);
    }
    let len = writer.finish().expect("an honest picture");
    let end = usize::try_from(len).expect("a length");
    output[end..end + 6].copy_from_slice(b"behind");
    let len = match deed {
        "picture-empty" => 0,
        "picture-short" => 31,
        "picture-longer" => len + 1,
        "picture-cut" => len - 1,
        "picture-past-map" => output.len() as u64 + 1,
        "picture-long" => u64::MAX,
        "picture-planes" => planes(output),
        _ => len,
    };
    let table = HEADER_BYTES;
    let patches: &[(usize, &[u8])] = match deed {
        "picture-magic" => &[(0, b"X")],
        "picture-no-pixels" => &[(4, &[0; 4])],
        "picture-wide" => &[(4, &[0xff; 4])],
        "picture-wide-and-high" => &[(4, &[0xff; 8])],
        "picture-no-frames" => &[(12, &[0; 4])],
        "picture-frames" => &[(12, &[0xff; 4])],
        "picture-table-past-end" => &[(12, &[200, 0, 0, 0])],
        "picture-gamut" => &[(20, &[9])],
        "picture-header" => &[(31, &[1])],
        "picture-offset" => &[(table, &[192])],
        "picture-offset-in-table" => &[(table, &[0])],
        "picture-offset-overflow" => &[(table, &[0xff; 8])],
        "picture-outside" => &[(table + 8, &[1])],
        "picture-outside-overflow" => &[(table + 8, &[0xff; 4])],
        "picture-stride" => &[(table + 16, &[0xff; 4])],
        "picture-bytes-overflow" => &[(4, &[0xff; 8]), (table + 16, &[0xff; 8])],
        "picture-delay" => &[(table + 28, &[0; 4])],
        "picture-layout" => &[(table + 34, &[9])],
        "picture-larger-pixels" => &[(table + 34, &[3])],
        "picture-frame" => &[(table + 39, &[1])],
        _ => &[],
    };
    for (at, bytes) in patches {
        output[*at..*at + bytes.len()].copy_from_slice(bytes);
    }
    answer(deed, &Done::Decoded(Decoded { len }), output)
}

/// Planes that are as they should be, and that nobody has asked for.
fn planes(output: &mut [u8]) -> u64 {
    let (samples, len) = PlanesHeader { width: 2, height: 2, gamut: Gamut::Srgb }.begin(output).expect("room");
    samples.fill(128);
    len
}

/// What a file shows; nothing of a document.
#[derive(Debug, Clone, Copy, Default)]
struct Shown {
    width: u32,
    height: u32,
    frames: u32,
}

/// Files that hold the word, one behind the other.
fn encode(
    word: &[u8],
    output: &mut [u8],
    format: ArtefactFormat,
    shown: Shown,
    variants: impl Iterator<Item = u32>,
) -> Answer {
    let deed = deed("encode", word).unwrap_or_default();
    if deed == "another" {
        return Ok(Done::Verified);
    }
    misbehave(deed, word)?;
    let small = |side: u32| Shown { width: shown.width.min(side), height: shown.height.min(side), frames: 1 };
    let mut artefacts = Vec::new();
    let mut end = 0;
    for Shown { width, height, frames } in std::iter::once(shown).chain(variants.map(small)) {
        output[end..end + word.len()].copy_from_slice(word);
        artefacts.push(Artefact { offset: end as u64, len: word.len() as u64, format, width, height, frames });
        end += word.len();
    }
    output[end..end + 6].copy_from_slice(b"behind");
    let mut thumbhash = if format.is_image() { vec![1, 2, 3] } else { vec![] };
    let (first, rest) = artefacts.split_first_mut().expect("a file");
    match deed {
        "files-none" => artefacts.clear(),
        "files-too-few" => drop(artefacts.pop()),
        "files-too-many" => artefacts.push(artefacts[0]),
        "files-empty" => first.len = 0,
        "files-not-at-the-beginning" => (first.offset, first.len) = (1, first.len - 1),
        "files-past-output" => first.len = output.len() as u64 + 1,
        "files-long" => first.len = u64::MAX,
        "files-overflow" => rest[0].len = u64::MAX,
        "files-overlap" => rest[0].offset -= 1,
        "files-gap" => rest[0].offset += 1,
        "files-out-of-order" => rest[1].offset = 0,
        "files-format" => first.format = ArtefactFormat::Gif,
        "files-no-image" => first.format = ArtefactFormat::Pdf,
        "files-other-format" => rest[0].format = ArtefactFormat::Gif,
        "files-no-width" => first.width = 0,
        "files-wide" => first.width += 1,
        "files-high" => first.height = u32::MAX,
        "files-no-frames" => first.frames = 0,
        "files-frames" => first.frames += 1,
        "files-large-variant" => rest[0].width += 1,
        "files-animated-variant" => rest[0].frames = 2,
        "files-document-shows" => first.width = 1,
        "files-document-looks" => thumbhash.push(1),
        _ => {}
    }
    let artefacts = List::of(artefacts).expect("few files");
    answer(deed, &Done::Encoded(Encoded { artefacts, thumbhash: List::of(thumbhash).expect("few bytes") }), output)
}

/// The answer, twice where there is something to be done in between.
fn answer(deed: &str, done: &Done, output: &mut [u8]) -> Answer {
    if deed == "late-write" {
        say(&ToHost::Done(*done).encode());
        // Not before the host has copied it.
        spin(Duration::from_millis(20));
        output.fill(b'X');
        // SAFETY: `_exit` has no preconditions.
        unsafe { libc::_exit(0) }
    }
    if let Some(deed) = deed.strip_prefix("early-") {
        say(&ToHost::Done(*done).encode());
        misbehave(deed, &[])?;
    }
    Ok(*done)
}

/// What any of them can do.
fn misbehave(deed: &str, word: &[u8]) -> Result<(), Refusal> {
    match deed {
        "refuse" => return Err(Refusal::new(RefusalCode::FrameLimit, "more than 3 frames")),
        "multi-page" => return Err(Refusal::new(RefusalCode::MultiPage, "2 pages")),
        "unparsable" => return Err(Refusal::new(RefusalCode::Unparsable, "no end")),
        "encrypted" => return Err(Refusal::new(RefusalCode::Encrypted, "a password")),
        "panic" => panic!("a secret of the input"),
        "index" => drop(black_box(word[word.len() + black_box(1)])),
        "memory" => drop(black_box(vec![1_u8; 1 << 30])),
        "small-memory" => {
            let mut blocks = Vec::new();
            loop {
                blocks.push(black_box(Box::new([1_u64; 64])));
            }
        }
        "spin" => loop {
            black_box(0);
        },
        "hang" => hang(),
        "noise-hang" => {
            say(&[0xff; MESSAGE_BYTES]);
            hang();
        }
        "talk" => {
            println!("a secret of the input");
            eprintln!("a secret of the input");
        }
        // SAFETY: none; the fault is the point.
        "fault" => unsafe { black_box(std::ptr::null_mut::<u8>()).write_volatile(1) },
        "overflow" => drop(black_box(recurse(0))),
        "abort" => std::process::abort(),
        "open" => drop(File::open("/etc/hostname")),
        "thread" => drop(std::thread::spawn(|| {})),
        "twice" => say(&ToHost::Refused(Refusal::new(RefusalCode::DecodeFailed, "no")).encode()),
        "ready-twice" => say(&ToHost::Ready.encode()),
        "late-set-up" => {
            say(&ToHost::SetUpFailed { layer: lazaret_sandbox::Layer::Seccomp, detail: Text::of("no") }.encode());
        }
        "survived" => say(&ToHost::Survived { probe: Probe::Fork, errno: 0 }.encode()),
        "noise" => say(&[0xff; MESSAGE_BYTES]),
        "short" => say(b"LZJ4"),
        "empty" => say(b""),
        "empty-and-late" => {
            say(b"");
            // Not before the host has heard it.
            spin(Duration::from_millis(20));
        }
        "oversized" => say(&[0; MESSAGE_BYTES * 2]),
        "fill" => fill(),
        // SAFETY: `_exit` has no preconditions.
        "silent" => unsafe { libc::_exit(0) },
        // SAFETY: as above.
        "code" => unsafe { libc::_exit(3) },
        // SAFETY: as above.
        "set-up-code" => unsafe { libc::_exit(lazaret_sandbox::jail::EXIT_SET_UP) },
        // SAFETY: as above.
        "forged-panic" => unsafe { libc::_exit(lazaret_sandbox::jail::EXIT_PANIC) },
        // SAFETY: as above.
        "forged-memory" => unsafe { libc::_exit(lazaret_sandbox::jail::EXIT_MEMORY) },
        _ => {}
    }
    Ok(())
}

/// Takes and touches nearly all of eight mebibytes, and keeps them.
fn fill() {
    let heap = black_box(vec![1_u8; 7 << 20]);
    hang();
    drop(heap);
}

fn spin(time: Duration) {
    let begun = Instant::now();
    while begun.elapsed() < time {
        black_box(0);
    }
}

/// Waits for a message that never comes: no CPU time passes.
fn hang() {
    let mut buffer = [0; MESSAGE_BYTES];
    while rustix::io::read(io::stdin(), &mut buffer).is_ok() {}
}

fn recurse(depth: u64) -> u64 {
    let frame = black_box([depth; 512]);
    if depth == u64::MAX { 0 } else { recurse(depth + 1) + frame[7] }
}

/// On the wire, which is where standard input was.
fn say(bytes: &[u8]) {
    rustix::io::write(io::stdin(), bytes).expect("a host that listens");
}

/// Makes the system call of one layer fail, or seem to succeed.
fn forbid(layer: &str, fake: bool) {
    let is = SeccompCmpOp::Eq;
    let prctl = |option: i32| (libc::SYS_prctl, vec![(0, option, is.clone())], libc::EPERM);
    // Only what sets, not what asks.
    let given = |index| vec![(index, 0, SeccompCmpOp::Ne)];
    let (call, arguments, errno) = match layer {
        "parent-death-signal" => prctl(libc::PR_SET_PDEATHSIG),
        "not-dumpable" => prctl(libc::PR_SET_DUMPABLE),
        "capabilities" => (libc::SYS_capset, vec![], libc::EPERM),
        "no-new-privileges" => prctl(libc::PR_SET_NO_NEW_PRIVS),
        "descriptors" => (libc::SYS_close_range, vec![], libc::ENOSYS),
        // Of all descriptors, standard output alone.
        "closed" => (libc::SYS_close, vec![(0, libc::STDOUT_FILENO, is)], libc::EIO),
        "maps" => (libc::SYS_mmap, vec![(3, libc::MAP_SHARED, is)], libc::EPERM),
        "landlock" if fake => (libc::SYS_landlock_restrict_self, vec![], 0),
        "landlock" => (libc::SYS_landlock_create_ruleset, vec![], libc::ENOSYS),
        "resource-limits" => (libc::SYS_prlimit64, given(2), libc::EPERM),
        "cpu-timer" => (libc::SYS_setitimer, vec![], libc::EPERM),
        "signals" => (libc::SYS_rt_sigaction, given(1), libc::EPERM),
        "seccomp" => (libc::SYS_seccomp, vec![], libc::EINVAL),
        other => panic!("no layer is named {other}"),
    };
    let conditions: Vec<_> = arguments
        .into_iter()
        .map(|(index, value, operator)| {
            let value = value.unsigned_abs().into();
            SeccompCondition::new(index, SeccompCmpArgLen::Qword, operator, value).expect("a condition")
        })
        .collect();
    let rules = if conditions.is_empty() { vec![] } else { vec![SeccompRule::new(conditions).expect("a rule")] };
    let filter = SeccompFilter::new(
        BTreeMap::from([(call, rules)]),
        SeccompAction::Allow,
        SeccompAction::Errno(if fake { 0 } else { errno.unsigned_abs() }),
        env::consts::ARCH.try_into().expect("a known architecture"),
    );
    let program: BpfProgram = filter.and_then(TryInto::try_into).expect("a filter");
    apply(&program);
}

/// Without the promise of no new privileges, which is a layer: that takes privileges now.
fn apply(program: &BpfProgram) {
    if !rustix::process::geteuid().is_root() {
        seccompiler::apply_filter(program).expect("an applied filter");
        return;
    }
    let length = program.len().try_into().expect("a short filter");
    let program = libc::sock_fprog { len: length, filter: program.as_ptr().cast_mut().cast() };
    // SAFETY: the program has as many instructions as is said, in the kernel's layout.
    let applied = unsafe { libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const program) };
    assert_eq!(applied, 0, "the filter is not applied");
}

/// Gives the word to a jailed copy of this program, and prints the cause of its end.
fn host(program: &str, word: &str) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let settings = JailSettings {
            program: Path::new(program).to_owned(),
            memory_bytes: 64 << 20,
            cpu_time: Duration::from_secs(5),
            wall_time: Duration::from_mins(1),
            max_input_bytes: 1 << 20,
            max_picture_bytes: 1 << 20,
            max_output_bytes: 1 << 20,
            concurrency: 1,
            reserve: 1,
        };
        let jail = Jail::new(settings, Arc::new(|cause| println!("{cause}"))).expect("a jail");
        if word == "self-test" {
            println!("{:?}", jail.self_test().await);
            return;
        }
        let mut file = tempfile::tempfile().expect("a file");
        file.write_all(word.as_bytes()).expect("a word");
        let input = Spooled::new(file, word.len() as u64, Sha256Digest::from_bytes([0; 32]), ());
        let media_type = "image/bmp".parse().expect("a media type");
        let request = TransformRequest {
            media_type,
            limits: ImageLimits::default(),
            treatment: Treatment::ReEncode(ImageOutput::default()),
        };
        let outcome = jail.transform(&input, &request).await;
        println!("{outcome:?}");
    });
}
