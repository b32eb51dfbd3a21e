//! A jailed program that does what its input says, for the tests of the jail. `misbehave host WORD` starts a jail
//! around itself and gives it the word; a link to it named `without-LAYER` runs where that layer cannot be put on.

#![expect(unsafe_code, reason = "misbehaving takes unsafe code")]

use std::{
    collections::BTreeMap, env, fs::File, hint::black_box, io, io::Write, path::Path, sync::Arc, time::Duration,
};

use lazaret_core::{
    Sha256Digest, Spooled,
    ports::{ImageLimits, TransformRequest, Transformer},
};
use lazaret_sandbox::{
    Answer, Confined, Done, ImageFormat, Jail, JailSettings, JailedAllocator, Job, Refusal, RefusalCode,
    wire::{MESSAGE_BYTES, Text, ToHost},
};
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
};

#[global_allocator]
static ALLOCATOR: JailedAllocator = JailedAllocator;

fn main() {
    let mut arguments = env::args();
    let name = arguments.next().unwrap_or_default();
    if arguments.next().as_deref() == Some("host") {
        host(&name, &arguments.next().expect("a word follows"));
        return;
    }
    if let Some((_, layer)) = name.rsplit_once("without-") {
        forbid(layer);
    }
    lazaret_sandbox::jail::run(obey)
}

fn obey(_confined: &Confined, job: Job<'_>) -> Answer {
    let Job { format, input, output, .. } = job;
    let honest = Done { len: 3, format: format.output(), width: 1, height: 1, frames: 1 };
    match std::str::from_utf8(input).unwrap_or_default() {
        "done" => {
            output[..3].copy_from_slice(b"abc");
            output[3..9].copy_from_slice(b"behind");
            return Ok(honest);
        }
        "refuse" => return Err(Refusal::new(RefusalCode::FrameLimit, "more than 3 frames")),
        "panic" => panic!("a secret of the input"),
        "index" => drop(black_box(input[input.len() + black_box(1)])),
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
        // SAFETY: none; the fault is the point.
        "fault" => unsafe { black_box(std::ptr::null_mut::<u8>()).write_volatile(1) },
        "overflow" => drop(black_box(recurse(0))),
        "abort" => std::process::abort(),
        "open" => drop(File::open("/etc/hostname")),
        "thread" => drop(std::thread::spawn(|| {})),
        "long" => return Ok(Done { len: u64::MAX, ..honest }),
        "empty" => return Ok(Done { len: 0, ..honest }),
        "format" => return Ok(Done { format: ImageFormat::Gif, ..honest }),
        "wide" => return Ok(Done { width: u32::MAX, height: u32::MAX, ..honest }),
        "frames" => return Ok(Done { frames: u32::MAX, ..honest }),
        // Honest where most frames cover a part of the canvas.
        "animation" => return Ok(Done { width: 7_000, height: 7_000, frames: 5, ..honest }),
        "twice" => {
            say(&ToHost::Refused(Refusal::new(RefusalCode::DecodeFailed, "no")).encode());
            return Ok(honest);
        }
        "ready-twice" => say(&ToHost::Ready.encode()),
        "late-set-up" => {
            say(&ToHost::SetUpFailed { layer: lazaret_sandbox::Layer::Seccomp, detail: Text::of("no") }.encode());
        }
        "noise" => say(&[0xff; MESSAGE_BYTES]),
        "short" => say(b"LZJ1"),
        "oversized" => say(&[0; MESSAGE_BYTES * 2]),
        // SAFETY: `_exit` has no preconditions.
        "silent" => unsafe { libc::_exit(0) },
        // SAFETY: as above.
        "code" => unsafe { libc::_exit(3) },
        // SAFETY: as above.
        "forged-panic" => unsafe { libc::_exit(lazaret_sandbox::jail::EXIT_PANIC) },
        _ => {}
    }
    Ok(honest)
}

/// Waits for a message that never comes: no CPU time passes.
fn hang() {
    let mut buffer = [0; MESSAGE_BYTES];
    while rustix::io::read(io::stderr(), &mut buffer).is_ok() {}
}

fn recurse(depth: u64) -> u64 {
    let frame = black_box([depth; 512]);
    if depth == u64::MAX { 0 } else { recurse(depth + 1) + frame[7] }
}

fn say(bytes: &[u8]) {
    rustix::io::write(io::stderr(), bytes).expect("a host that listens");
}

/// Makes the system call of one layer fail.
fn forbid(layer: &str) {
    let prctl = |option: i32| (libc::SYS_prctl, vec![(0, option)], libc::EPERM);
    let (call, arguments, errno) = match layer {
        "parent-death-signal" => prctl(libc::PR_SET_PDEATHSIG),
        "not-dumpable" => prctl(libc::PR_SET_DUMPABLE),
        "no-new-privileges" => prctl(libc::PR_SET_NO_NEW_PRIVS),
        "descriptors" => (libc::SYS_close_range, vec![], libc::ENOSYS),
        "maps" => (libc::SYS_mmap, vec![(3, libc::MAP_SHARED)], libc::EPERM),
        "landlock" => (libc::SYS_landlock_create_ruleset, vec![], libc::ENOSYS),
        "resource-limits" => (libc::SYS_prlimit64, vec![], libc::EPERM),
        "cpu-timer" => (libc::SYS_setitimer, vec![], libc::EPERM),
        "signals" => (libc::SYS_rt_sigaction, vec![], libc::EPERM),
        "seccomp" => (libc::SYS_seccomp, vec![], libc::EINVAL),
        other => panic!("no layer is named {other}"),
    };
    let conditions: Vec<_> = arguments
        .into_iter()
        .map(|(index, value)| {
            let value = value.unsigned_abs().into();
            SeccompCondition::new(index, SeccompCmpArgLen::Dword, SeccompCmpOp::Eq, value).expect("a condition")
        })
        .collect();
    let rules = if conditions.is_empty() { vec![] } else { vec![SeccompRule::new(conditions).expect("a rule")] };
    let filter = SeccompFilter::new(
        BTreeMap::from([(call, rules)]),
        SeccompAction::Allow,
        SeccompAction::Errno(errno.unsigned_abs()),
        env::consts::ARCH.try_into().expect("a known architecture"),
    );
    let program: BpfProgram = filter.and_then(TryInto::try_into).expect("a filter");
    seccompiler::apply_filter(&program).expect("an applied filter");
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
            max_output_bytes: 1 << 20,
            concurrency: 1,
        };
        let jail = Jail::new(settings, Arc::new(|cause| println!("{cause}"))).expect("a jail");
        let mut file = tempfile::tempfile().expect("a file");
        file.write_all(word.as_bytes()).expect("a word");
        let input = Spooled::new(file, word.len() as u64, Sha256Digest::from_bytes([0; 32]), ());
        let media_type = "image/bmp".parse().expect("a media type");
        let outcome = jail.transform(&input, &TransformRequest { media_type, limits: ImageLimits::default() }).await;
        println!("{outcome:?}");
    });
}
