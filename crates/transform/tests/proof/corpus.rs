//! Hostile and odd files: whatever they are, a child ends in a way that is foreseen, the host does not change, and
//! what is accepted shows what others see in the input.
//!
//! `LAZARET_CORPUS_MUTATIONS` sets how many files grow from each honest one, `LAZARET_CORPUS_SEED` which, and
//! `LAZARET_CORPUS_KEEP` a folder for those that lead to a complaint.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    str::FromStr,
    sync::Arc,
    time::Instant,
};

use lazaret_core::{ImageOutput, MultiPage, OutputFormat, RejectReason, ports::TransformOutcome};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::{
    line::{self, Line},
    mutate::{Chance, mutated},
    oracle::{Distance, Judge, Oracle, Seed, Unseen, rival},
    shipped::shipped,
    table::Report,
};

const WORKERS: usize = 2;
/// Ends that a job may have: an answer, or a limit that held. The others are faults of ours.
const FORESEEN: [&str; 5] = ["done", "refused", "memory", "cpu_time", "wall_time"];
/// Below this two decoders do not see the same, in decibels.
const SAME_PSNR: f64 = 30.0;

fn setting<T: FromStr>(name: &str, otherwise: T) -> T {
    std::env::var(name).map_or(otherwise, |text| text.parse().unwrap_or_else(|_| panic!("{name} is {text}")))
}

/// A file of the corpus.
struct Hostile {
    name: String,
    media_type: String,
    bytes: Vec<u8>,
    bomb: bool,
}

impl Hostile {
    /// Beside libvips: Pillow, but for disposal in animated GIFs, of which it has an idea of its own.
    fn other_judge(&self) -> Judge {
        if self.name == "gif/moving" { Judge::Hand } else { Judge::Pillow }
    }
}

fn grown(seeds: &[Seed], mutations: usize, number: u64) -> Vec<Hostile> {
    let honest: Vec<_> = seeds.iter().filter(|seed| !seed.bomb).collect();
    let read = |seed: &Seed| std::fs::read(&seed.path).unwrap();
    let contents: Vec<_> = honest.iter().map(|seed| read(seed)).collect();
    let mut files: Vec<_> = seeds
        .iter()
        .filter(|seed| seed.bomb)
        .map(|seed| Hostile {
            name: seed.name.clone(),
            media_type: seed.media_type.clone(),
            bytes: read(seed),
            bomb: true,
        })
        .collect();
    files.extend(shipped().into_iter().map(|(from, kind, path)| Hostile {
        name: format!("shipped with {from}"),
        media_type: kind.to_owned(),
        bytes: std::fs::read(path).unwrap(),
        bomb: false,
    }));
    let mut chance = Chance::of(number);
    for _ in 0..mutations {
        for (seed, bytes) in honest.iter().zip(&contents) {
            let other = &contents[chance.below(contents.len())];
            files.push(Hostile {
                name: seed.name.clone(),
                media_type: seed.media_type.clone(),
                bytes: mutated(bytes, other, &mut chance),
                bomb: false,
            });
        }
    }
    files
}

/// What the judges said of what was accepted.
#[derive(Debug, Clone, Copy, Default)]
struct Tally {
    jobs: u32,
    accepted: u32,
    held: u32,
    same: u32,
    disputed: u32,
    refused_by_judges: u32,
    slowest_ms: u128,
}

#[derive(Default)]
struct Findings {
    tallies: BTreeMap<String, Tally>,
    complaints: Vec<String>,
    bombs: Vec<(String, String, u128)>,
    ends: BTreeMap<&'static str, u64>,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn hostile_files_change_nothing_and_what_is_accepted_looks_the_same_elsewhere() {
    let mutations = setting("LAZARET_CORPUS_MUTATIONS", 40);
    let number = setting("LAZARET_CORPUS_SEED", 1);
    let files = Arc::new(grown(&Oracle::start().seeds(), mutations, number));
    warm().await;
    let (descriptors, resident) = (open_descriptors(), resident_kib());
    let mut workers = JoinSet::new();
    for worker in 0..WORKERS {
        let files = Arc::clone(&files);
        workers.spawn(async move { work(&files, worker).await });
    }
    let mut all = Findings::default();
    while let Some(findings) = workers.join_next().await {
        let findings = findings.unwrap();
        all.complaints.extend(findings.complaints);
        all.bombs.extend(findings.bombs);
        for (name, tally) in findings.tallies {
            all.tallies.entry(name).or_default().add(tally);
        }
        for (cause, count) in findings.ends {
            *all.ends.entry(cause).or_default() += count;
        }
    }
    all.bombs.sort();
    let grew = resident_kib().saturating_sub(resident);
    println!("{} files, ends of their children: {:?}", files.len(), all.ends);
    println!("descriptors {descriptors} -> {}, resident set grew by {grew} KiB", open_descriptors());
    assert!(open_descriptors() <= descriptors, "descriptors leak");
    assert!(grew < 96 << 10, "the host grew by {grew} KiB");
    report(all);
}

/// What is allocated once is allocated before anything is measured.
async fn warm() {
    let line = Line::start();
    let outcome = line.image("image/png", b"not a picture", &ImageOutput::default()).await;
    assert!(matches!(outcome, TransformOutcome::Refused { .. }), "{outcome:?}");
}

async fn work(files: &[Hostile], worker: usize) -> Findings {
    let (line, mut oracle) = (Line::start(), tokio::task::block_in_place(Oracle::start));
    let mut findings = Findings::default();
    for (index, file) in files.iter().enumerate().filter(|(index, _)| index % WORKERS == worker) {
        let before = line.ends();
        let started = Instant::now();
        // Every fourth goes to the format that it has by default: PNG shows most exactly what a decoder did.
        // libvips sees no animation in PNG: those of a GIF stay GIF, which loses nothing.
        let as_it_is = index / WORKERS % 4 == 3 || file.name == "gif/moving";
        let format = if as_it_is { None } else { Some(OutputFormat::Png) };
        let output = ImageOutput { format, pages: MultiPage::First, ..ImageOutput::default() };
        let outcome = line.image(&file.media_type, &file.bytes, &output).await;
        let took = started.elapsed().as_millis();
        let mut complaints = unforeseen(&before, &line.ends(), &outcome);
        let group = if file.bomb { "bombs" } else { &file.name };
        let tally = findings.tallies.entry(group.to_owned()).or_default();
        tally.jobs += 1;
        tally.slowest_ms = tally.slowest_ms.max(took);
        match &outcome {
            TransformOutcome::Done(_) => {
                tally.accepted += 1;
                if !file.bomb {
                    let seen = tokio::task::block_in_place(|| look(&mut oracle, file, &outcome));
                    tally.judge(&seen);
                    complaints.extend(seen.into_iter().filter_map(Verdict::complaint));
                }
            }
            TransformOutcome::Refused { .. } => {}
            TransformOutcome::Held { .. } => tally.held += 1,
        }
        if file.bomb {
            complaints.extend(unlimited(&file.name, &outcome));
            findings.bombs.push((file.name.clone(), line::in_short(&outcome), took));
        }
        if !complaints.is_empty() {
            let kept = keep(file, index);
            findings.complaints.push(format!("{} {index}{kept}: {}", file.name, complaints.join("; ")));
        }
    }
    findings.ends = line.ends();
    findings
}

fn unforeseen(
    before: &BTreeMap<&'static str, u64>,
    after: &BTreeMap<&'static str, u64>,
    outcome: &TransformOutcome,
) -> Vec<String> {
    let bad = after.iter().filter(|&(cause, count)| !FORESEEN.contains(cause) && before.get(cause) != Some(count));
    bad.map(|(cause, _)| format!("a child ended as {cause}: {}", line::in_short(outcome))).collect()
}

/// What claims more than is allowed is refused from its header.
fn unlimited(name: &str, outcome: &TransformOutcome) -> Option<String> {
    let expected = [
        ("65535-square", RejectReason::PixelLimit),
        ("2-billion", RejectReason::PixelLimit),
        ("268-megapixels", RejectReason::PixelLimit),
        ("400-frames", RejectReason::FrameLimit),
        ("20000-frames", RejectReason::FrameLimit),
    ];
    let (_, expected) = expected.into_iter().find(|(part, _)| name.ends_with(part))?;
    match outcome {
        TransformOutcome::Refused { reason, .. } if *reason == expected || *reason == RejectReason::DecodeFailed => {
            None
        }
        other => Some(format!("{expected} was expected: {}", line::in_short(other))),
    }
}

/// What a judge says of something that was accepted.
enum Verdict {
    /// The same picture.
    Same,
    /// The judge takes the input for broken, or warns of it.
    Broken,
    /// The judges see different things in the input, or one does with and without vector instructions: there is no
    /// right one.
    Disputed,
    /// Something else.
    Other(String),
}

impl Verdict {
    fn complaint(self) -> Option<String> {
        match self {
            Self::Same | Self::Broken | Self::Disputed => None,
            Self::Other(complaint) => Some(complaint),
        }
    }
}

impl Tally {
    fn judge(&mut self, seen: &[Verdict]) {
        let any = |verdict: fn(&Verdict) -> bool| seen.iter().any(verdict);
        if any(|verdict| matches!(verdict, Verdict::Disputed)) {
            self.disputed += 1;
        } else if any(|verdict| matches!(verdict, Verdict::Same)) {
            self.same += 1;
        } else if any(|verdict| matches!(verdict, Verdict::Broken)) {
            self.refused_by_judges += 1;
        }
    }

    fn add(&mut self, other: Self) {
        self.jobs += other.jobs;
        self.accepted += other.accepted;
        self.held += other.held;
        self.same += other.same;
        self.disputed += other.disputed;
        self.refused_by_judges += other.refused_by_judges;
        self.slowest_ms = self.slowest_ms.max(other.slowest_ms);
    }
}

fn look(oracle: &mut Oracle, file: &Hostile, outcome: &TransformOutcome) -> Vec<Verdict> {
    let TransformOutcome::Done(done) = outcome else { return Vec::new() };
    let published = line::bytes(&done.object);
    let input = oracle.file("hostile", &file.bytes);
    let output = oracle.file("published", &published);
    let became = done.object.media_type.as_str();
    // libvips knows no bitmaps and no icons, only the first frame of an animated PNG, and assumes a profile of inks.
    let moving = became == "image/png" && published.windows(4).any(|name| name == b"acTL");
    let known = !moving
        && file.name != "jpeg/cmyk"
        && ["jpeg", "png", "gif", "webp", "tiff", "avif"].iter().any(|name| file.media_type.ends_with(name));
    // A judge that takes the output at all is the first thing to ask.
    let mut verdicts = Vec::new();
    let (one, other) = (Judge::Vips, file.other_judge());
    let judges = if known { &[(one, Some(other)), (other, Some(one))][..] } else { &[(other, None)] };
    for &(judge, other) in judges {
        let verdict = verdict(oracle, judge, other, (&input, &output), became);
        // What libjpeg or libpng warn of has no right pixels: Pillow shows it without the warning.
        let broken = judge == Judge::Vips && matches!(verdict, Verdict::Broken);
        verdicts.push(verdict);
        if broken {
            break;
        }
    }
    verdicts
}

/// What a judge says; `other` is asked whether the input is clear, where there is another one.
fn verdict(
    oracle: &mut Oracle,
    judge: Judge,
    other: Option<Judge>,
    (input, output): (&Path, &Path),
    became: &str,
) -> Verdict {
    let mut done_to_it = json!({ "strict": true, "encoder": rival(became.trim_start_matches("image/"), 85) });
    if became == "image/jpeg" {
        done_to_it["background"] = json!([255, 255, 255]);
    }
    match oracle.compare(judge, input, output, &done_to_it) {
        Err(Unseen::Input(_)) => Verdict::Broken,
        Ok(distance) if distance.psnr >= same_psnr(&distance) && distance.alpha <= 8 => Verdict::Same,
        found => {
            let mut differs =
                |how: Value| oracle.compare(judge, input, input, &how).map_or(true, |between| between.psnr < SAME_PSNR);
            let disputed = other.is_some_and(|other| differs(json!({ "strict": true, "b_by": other.name() })));
            // Coefficients that no samples have overflow sixteen bits, and libjpeg disagrees with itself.
            if disputed || differs(json!({ "b_plain": true })) {
                return Verdict::Disputed;
            }
            let what = found.map_or_else(|error| format!("{error:?}"), |distance| format!("{:.1} dB", distance.psnr));
            Verdict::Other(format!("{} sees something else: {what}", judge.name()))
        }
    }
}

/// Of noise a lossy encoder leaves little: Pillow's says how much that may be.
fn same_psnr(distance: &Distance) -> f64 {
    distance.reference.map_or(SAME_PSNR, |rival| SAME_PSNR.min(rival.psnr - 2.0))
}

fn report(all: Findings) {
    let mut bombs = Report::of(&["bomb", "ms", "outcome"]);
    for (name, outcome, took) in &all.bombs {
        bombs.row(&[name, &took.to_string(), outcome], None);
    }
    bombs.judge();
    let mut report = Report::of(&[
        "grown from",
        "files",
        "accepted",
        "held",
        "same elsewhere",
        "broken to others",
        "disputed",
        "slowest ms",
    ]);
    for (name, tally) in &all.tallies {
        let counts = [tally.jobs, tally.accepted, tally.held, tally.same, tally.refused_by_judges, tally.disputed];
        let counts: Vec<_> = counts.iter().map(ToString::to_string).chain([tally.slowest_ms.to_string()]).collect();
        let cells: Vec<_> = [name.as_str()].into_iter().chain(counts.iter().map(String::as_str)).collect();
        report.row(&cells, None);
    }
    for complaint in all.complaints {
        report.row(&[""], Some(complaint));
    }
    report.judge();
}

fn keep(file: &Hostile, index: usize) -> String {
    let Some(folder) = std::env::var_os("LAZARET_CORPUS_KEEP").map(PathBuf::from) else { return String::new() };
    let path = folder.join(format!("{}-{index}", file.name.replace('/', "-")));
    std::fs::write(&path, &file.bytes).unwrap();
    format!(" ({})", path.display())
}

fn open_descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

fn resident_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_ascii_whitespace().nth(1).unwrap().parse().unwrap()
}
