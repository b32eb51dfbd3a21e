//! `cargo xtask fuzz`: the targets under `crates/*/fuzz`, one after the other, each for some time.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use clap::{Args, value_parser};

use crate::packages::{self, C_BUILD, CXX};
use crate::tools::{self, CARGO_FUZZ};
use crate::workspace::Workspace;
use crate::{child, say};

/// What a jailed process may have is less; what the sanitiser needs beside it is more.
const MEMORY_MIB: u32 = 4096;
const INPUT_BYTES: u32 = 64 << 10;
/// One input. The jail gives a process 5 s of CPU time by default; the sanitiser makes everything some times slower.
const INPUT_SECONDS: u32 = 20;

#[derive(Debug, Args)]
pub(crate) struct Fuzz {
    /// `crate/target`, such as `sandbox/wire`; all there are without one
    targets: Vec<String>,
    /// How long each target runs, its build not counted
    #[arg(long, default_value_t = 60, value_parser = value_parser!(u32).range(1..))]
    seconds: u32,
}

/// One fuzz target of one crate.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Target {
    package: String,
    name: String,
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.package, self.name)
    }
}

/// Every target runs, whatever another one found.
pub(crate) fn run(fuzz: &Fuzz) -> Result<ExitCode> {
    let workspace = Workspace::find()?;
    let targets = chosen(found(&workspace.root)?, &fuzz.targets)?;
    packages::ensure(&C_BUILD)?;
    packages::ensure(&[CXX])?;
    tools::ensure_cargo_tools(&workspace, &[CARGO_FUZZ])?;
    let mut findings = Vec::new();
    for target in &targets {
        say::step(&format!("fuzz {target} for {} s", fuzz.seconds));
        if !one(&workspace, target, fuzz.seconds)? {
            findings.push(target.to_string());
        }
    }
    ensure!(findings.is_empty(), "{} ended with a finding, or could not be built", findings.join(", "));
    println!("{} targets, {} s each: no finding", targets.len(), fuzz.seconds);
    Ok(ExitCode::SUCCESS)
}

/// Whether it ended without a finding.
fn one(workspace: &Workspace, target: &Target, seconds: u32) -> Result<bool> {
    // What is learnt is kept for the next time, and goes with everything else that was built.
    let corpus = workspace.fuzz().join("corpus").join(&target.package).join(&target.name);
    fs::create_dir_all(&corpus).with_context(|| format!("cannot make {}", corpus.display()))?;
    let mut command = workspace.cargo("fuzz");
    command.current_dir(workspace.root.join("crates").join(&target.package));
    command.args(["run", "--target-dir"]).arg(workspace.fuzz()).arg(&target.name);
    command.arg(corpus).args(seeds(&workspace.root, &target.package));
    // What was found once is tried again until it is mended.
    let findings = fuzz_folder(&workspace.root, &target.package).join("artifacts").join(&target.name);
    command.args(findings.is_dir().then_some(findings));
    command.arg("--").args([
        format!("-max_total_time={seconds}"),
        format!("-max_len={INPUT_BYTES}"),
        format!("-timeout={INPUT_SECONDS}"),
        format!("-rss_limit_mb={MEMORY_MIB}"),
    ]);
    // The pinned stable compiler takes the sanitiser's flags. What a decoder forgets ends with its process, so leaks
    // are none.
    command.envs([("RUSTC_BOOTSTRAP", "1"), ("ASAN_OPTIONS", "detect_leaks=0")]);
    Ok(child::status("cargo fuzz", &mut command, Duration::MAX)?.success())
}

fn fuzz_folder(root: &Path, package: &str) -> PathBuf {
    root.join("crates").join(package).join("fuzz")
}

/// What the targets of a package begin with: its own seeds, or the samples that bear its name.
fn seeds(root: &Path, package: &str) -> Option<PathBuf> {
    let folders = [fuzz_folder(root, package).join("seeds"), root.join("fixtures").join(package)];
    folders.into_iter().find(|folder| folder.is_dir())
}

fn found(root: &Path) -> Result<Vec<Target>> {
    let mut targets = Vec::new();
    for package in names(&root.join("crates"))? {
        let folder = fuzz_folder(root, &package).join("fuzz_targets");
        let files = if folder.is_dir() { names(&folder)? } else { Vec::new() };
        let named = files.iter().filter_map(|file| file.strip_suffix(".rs"));
        targets.extend(named.map(|name| Target { package: package.clone(), name: name.to_owned() }));
    }
    targets.sort();
    Ok(targets)
}

fn names(folder: &Path) -> Result<Vec<String>> {
    let read = || fs::read_dir(folder)?.map(|entry| Ok(entry?.file_name())).collect::<std::io::Result<Vec<_>>>();
    let names = read().with_context(|| format!("cannot read {}", folder.display()))?;
    Ok(names.into_iter().filter_map(|name| name.into_string().ok()).collect())
}

fn chosen(mut all: Vec<Target>, wanted: &[String]) -> Result<Vec<Target>> {
    if let Some(unknown) = wanted.iter().find(|wanted| !all.iter().any(|target| target.to_string() == **wanted)) {
        let all: Vec<_> = all.iter().map(Target::to_string).collect();
        bail!("there is no fuzz target {unknown:?}: {} are there", all.join(", "));
    }
    if !wanted.is_empty() {
        all.retain(|target| wanted.contains(&target.to_string()));
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::{chosen, found, fuzz_folder};

    fn root() -> &'static Path {
        Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
    }

    #[test]
    fn every_target_is_built_by_its_package() {
        let targets = found(root()).expect("the targets");
        assert!(targets.iter().any(|target| target.to_string() == "sandbox/wire"), "{targets:?}");
        for target in targets {
            let manifest = fs::read_to_string(fuzz_folder(root(), &target.package).join("Cargo.toml"));
            let path = format!("path = \"fuzz_targets/{}.rs\"", target.name);
            assert!(manifest.expect("a manifest").contains(&path), "{target}");
        }
    }

    #[test]
    fn a_target_that_is_not_there_is_named() {
        let all = || found(root()).expect("the targets");
        let one = chosen(all(), &["sandbox/wire".to_owned()]).expect("it is there");
        assert_eq!(one.len(), 1);
        let error = chosen(all(), &["sandbox/nothing".to_owned()]).expect_err("it is not there").to_string();
        assert!(error.starts_with("there is no fuzz target \"sandbox/nothing\": ") && error.contains("sandbox/wire"));
        assert_eq!(chosen(all(), &[]).expect("all").len(), all().len());
    }
}
