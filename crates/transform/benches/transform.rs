//! Images through the jail beside libvips and Pillow, on the same files in the same run: CPU time, time by the clock
//! and bytes out; and what the jail costs where there is little else to do.
//!
//! CPU time of the jail is that of its processes, set-up and all (`getrusage`, children that were waited for), once up to
//! the end of the process that encodes and once with the one that verifies.

#![expect(clippy::unwrap_used, reason = "a bench that cannot measure has nothing else to say")]
#![expect(unsafe_code, reason = "getrusage has no safe wrapper among the dependencies")]

use std::{
    io::{BufRead, BufReader, Write},
    mem::MaybeUninit,
    path::{Path, PathBuf},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use lazaret_core::{
    ImageLimits, ImageOutput, Sha256Digest, Spooled,
    ports::{TransformOutcome, TransformRequest, Transformer, Treatment},
};
use lazaret_sandbox::{Jail, JailSettings, wire::MAX_FOLLOWING_BYTES};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::{task::JoinSet, time::sleep};

const RIVALS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/rivals.py");
/// The image whose work is as little as can be.
const LITTLE: &str = "PNG 64 x 64";
/// How often that one is made anew.
const AGAIN: u32 = 300;
/// Between two small images: the next line of processes is sealed meanwhile, which is what a reserve is for.
const PAUSE: Duration = Duration::from_millis(15);

#[derive(Debug, Deserialize)]
struct Image {
    name: String,
    #[serde(rename = "as")]
    kind: String,
    path: PathBuf,
}

/// One image made anew.
#[derive(Debug, Clone, Copy, Deserialize)]
struct Cost {
    cpu_ms: f64,
    wall_ms: f64,
    bytes: u64,
}

fn main() {
    // `cargo test --benches` runs it too, and wants no figures.
    if !std::env::args().any(|argument| argument == "--bench") {
        return;
    }
    let rounds = std::env::var("LAZARET_BENCH_ROUNDS").map_or(15, |text| text.parse().unwrap());
    // On a thread of the runtime, as in the worker: the main thread would have to be woken for each word of a process.
    let mut tasks = JoinSet::new();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    tasks.spawn_on(run(rounds), runtime.handle());
    runtime.block_on(tasks.join_next()).unwrap().unwrap();
}

async fn run(rounds: usize) {
    let mut rivals = Rivals::start();
    let folder = tempfile::tempdir().unwrap();
    let images: Vec<Image> =
        serde_json::from_value(rivals.ask(&json!({ "op": "make", "folder": folder.path() }))).unwrap();
    // The one that is shipped, linked statically.
    let program =
        std::env::var_os("LAZARET_TEST_JAIL").unwrap_or_else(|| env!("CARGO_BIN_EXE_lazaret-transform").into());
    let shipped = Bench::new(program.as_ref(), 2);
    // Without a reserve, for what is told to do the same again and again waits for nothing but its pauses.
    let workbench = Bench::new(&workbench(), 0);
    println!("medians of {rounds}, each way in turn; ratios to libvips in one thread\n");
    println!("{:<21} {:<26} {:>9} {:>9} {:>11} {:>7} {:>7}", "", "", "CPU ms", "wall ms", "bytes", "CPU", "bytes");
    for image in images.iter().filter(|image| image.name != LITTLE) {
        compare(image, rounds, &mut rivals, &shipped).await;
    }
    let little = images.iter().find(|image| image.name == LITTLE).unwrap();
    overhead(&std::fs::read(&little.path).unwrap(), &shipped, &workbench).await;
}

async fn compare(image: &Image, rounds: usize, rivals: &mut Rivals, shipped: &Bench) {
    let input = std::fs::read(&image.path).unwrap();
    let mut costs: [Vec<Cost>; 4] = Default::default();
    // The first round warms caches up and does not count.
    for round in 0..=rounds {
        let [encoded, verified] = shipped.run(&image.kind, &input).await;
        // The end of a process that has little to hand over is told while the next one works already.
        assert!(encoded.bytes > MAX_FOLLOWING_BYTES as u64, "{} becomes too short to be measured", image.name);
        let found = [encoded, verified, rivals.run("libvips", image), rivals.run("Pillow", image)];
        if round > 0 {
            costs.iter_mut().zip(found).for_each(|(costs, cost)| costs.push(cost));
        }
    }
    let names = ["Lazaret, decode + encode", "Lazaret, with verification", "libvips", "Pillow"];
    let [_, _, libvips, _] = costs.each_ref().map(|costs| typical(costs));
    for (at, (name, costs)) in names.into_iter().zip(&costs).enumerate() {
        let cost = typical(costs);
        let label = if at == 0 { image.name.as_str() } else { "" };
        #[expect(clippy::cast_precision_loss, reason = "files are shorter than 2^52 bytes")]
        let bytes = cost.bytes as f64 / libvips.bytes as f64;
        let cpu = cost.cpu_ms / libvips.cpu_ms;
        println!(
            "{label:<21} {name:<26} {:>9.1} {:>9.1} {:>11} {cpu:>6.2}x {bytes:>6.2}x",
            cost.cpu_ms, cost.wall_ms, cost.bytes
        );
    }
    println!();
}

/// A small image through three fresh processes from the reserve, and the same three tasks again and again in one, after the
/// same pauses and without: what has had nothing to do for a while takes longer, jail or none.
async fn overhead(input: &[u8], shipped: &Bench, workbench: &Bench) {
    let mut jailed = Vec::new();
    for _ in 0..AGAIN {
        let [_, verified] = shipped.run("png", input).await;
        jailed.push(verified.wall_ms);
        sleep(PAUSE).await;
    }
    let [mut paced, mut hot] = <[Vec<f64>; 2]>::default();
    for _ in 0..3 {
        paced.push(workbench.again(input, true).await);
        hot.push(workbench.again(input, false).await);
    }
    let (jailed, paced, hot) = (median(jailed), median(paced), median(hot));
    println!(
        "{LITTLE}, medians by the clock: {jailed:.3} ms in three jailed processes with a pause of {} ms after each image. \
         The same in one process, {paced:.3} ms: the jail costs {:.3} ms. In one that never pauses, {hot:.3} ms: {:.3} ms",
        PAUSE.as_millis(),
        jailed - paced,
        jailed - hot,
    );
}

fn typical(costs: &[Cost]) -> Cost {
    let of = |part: fn(&Cost) -> f64| median(costs.iter().map(part).collect());
    Cost { cpu_ms: of(|cost| cost.cpu_ms), wall_ms: of(|cost| cost.wall_ms), bytes: costs[0].bytes }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// The example's executable, which `cargo xtask bench transform` builds.
fn workbench() -> PathBuf {
    let this = std::env::current_exe().unwrap();
    let program = this.parent().and_then(Path::parent).unwrap().join("examples/workbench");
    assert!(program.exists(), "{} is not built: run `cargo xtask bench transform`", program.display());
    program
}

/// A jail, and when its children ended.
struct Bench {
    jail: Jail,
    ends: Arc<Mutex<Vec<(Instant, Duration)>>>,
}

impl Bench {
    fn new(program: &Path, reserve: usize) -> Self {
        let settings = JailSettings {
            program: program.to_owned(),
            memory_bytes: 512 << 20,
            cpu_time: Duration::from_secs(20),
            wall_time: Duration::from_mins(1),
            max_input_bytes: 64 << 20,
            max_picture_bytes: 512 << 20,
            max_output_bytes: 64 << 20,
            concurrency: 1,
            reserve,
        };
        let ends = Arc::new(Mutex::new(Vec::new()));
        let told = Arc::clone(&ends);
        let observer = move |_| told.lock().unwrap().push((Instant::now(), children_cpu()));
        Self { jail: Jail::new(settings, Arc::new(observer)).unwrap(), ends }
    }

    /// What an image costs up to its encoder's end, and in all.
    async fn run(&self, kind: &str, input: &[u8]) -> [Cost; 2] {
        let (spooled, request) = job(kind, input);
        self.ends.lock().unwrap().clear();
        let (before, started) = (children_cpu(), Instant::now());
        let outcome = self.jail.transform(&spooled, &request).await.unwrap();
        let over = (Instant::now(), children_cpu());
        let TransformOutcome::Done(done) = outcome else { panic!("{kind}: {outcome:?}") };
        let ends = self.ends.lock().unwrap();
        let [_, encoded, _] = ends[..] else { panic!("{} processes have ended", ends.len()) };
        [encoded, over].map(|(at, cpu)| Cost {
            cpu_ms: cpu.saturating_sub(before).as_secs_f64() * 1000.0,
            wall_ms: at.duration_since(started).as_secs_f64() * 1000.0,
            bytes: done.object.len,
        })
    }

    /// How long the workbench takes for an image, in milliseconds by its own clock.
    async fn again(&self, input: &[u8], paced: bool) -> f64 {
        let (spooled, request) = job("png", &[b"AGAIN", &AGAIN.to_le_bytes()[..], &[paced.into()], input].concat());
        let outcome = self.jail.transform(&spooled, &request).await.unwrap();
        let TransformOutcome::Refused { detail, .. } = outcome else { panic!("{outcome:?}") };
        detail.parse::<f64>().unwrap_or_else(|error| panic!("{error}: {detail}")) / 1e6
    }
}

/// The job for an image.
fn job(kind: &str, input: &[u8]) -> (Spooled, TransformRequest) {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(input).unwrap();
    let spooled = Spooled::new(file, input.len() as u64, Sha256Digest::from_bytes([0; 32]), ());
    let request = TransformRequest {
        media_type: format!("image/{kind}").parse().unwrap(),
        limits: ImageLimits::default(),
        treatment: Treatment::ReEncode(ImageOutput::default()),
    };
    (spooled, request)
}

/// CPU time of all children so far that have ended.
fn children_cpu() -> Duration {
    let mut usage = MaybeUninit::<libc::rusage>::uninit();
    // SAFETY: the pointer is to memory of the type that the call fills in.
    let answer = unsafe { libc::getrusage(libc::RUSAGE_CHILDREN, usage.as_mut_ptr()) };
    assert_eq!(answer, 0, "getrusage: {}", std::io::Error::last_os_error());
    // SAFETY: it did so, as its answer says.
    let usage = unsafe { usage.assume_init() };
    let time = |time: libc::timeval| {
        Duration::from_secs(time.tv_sec.unsigned_abs()) + Duration::from_micros(time.tv_usec.unsigned_abs())
    };
    time(usage.ru_utime) + time(usage.ru_stime)
}

/// libvips and Pillow.
struct Rivals {
    child: Child,
    questions: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
}

impl Rivals {
    fn start() -> Self {
        let python = std::env::var_os("LAZARET_TEST_PYTHON")
            .expect("LAZARET_TEST_PYTHON is a Python with Pillow and pyvips: run `cargo xtask bench transform`");
        let mut child = Command::new(python)
            .args(["-B", RIVALS])
            .env("VIPS_CONCURRENCY", "1")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let questions = child.stdin.take();
        let answers = BufReader::new(child.stdout.take().unwrap());
        Self { child, questions, answers }
    }

    fn ask(&mut self, question: &Value) -> Value {
        writeln!(self.questions.as_mut().unwrap(), "{question}").unwrap();
        let mut line = String::new();
        self.answers.read_line(&mut line).unwrap();
        serde_json::from_str(&line).unwrap()
    }

    fn run(&mut self, by: &str, image: &Image) -> Cost {
        serde_json::from_value(self.ask(&json!({ "op": "run", "by": by, "path": image.path, "as": image.kind })))
            .unwrap()
    }
}

impl Drop for Rivals {
    fn drop(&mut self) {
        drop(self.questions.take());
        if let Err(error) = self.child.wait() {
            eprintln!("the rivals cannot be waited for: {error}");
        }
    }
}
