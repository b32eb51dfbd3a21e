//! `cargo xtask build`: the programs, with the jailed one as it is released.

use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result, ensure};

use crate::packages::{self, C_BUILD};
use crate::workspace::Workspace;
use crate::{child, say};

const JAILED: &str = "lazaret-transform";

pub(crate) fn run(release: bool) -> Result<ExitCode> {
    packages::ensure(&C_BUILD)?;
    let workspace = Workspace::find()?;
    programs(&workspace, release, &["--bins"])?;
    println!("{}", workspace.built("lazaret", release).display());
    println!("{}", workspace.built(JAILED, release).display());
    Ok(ExitCode::SUCCESS)
}

/// `cargo build --workspace` with these arguments, then the jailed program, which takes the place of the one that cargo
/// made. Together, so that all ask the same features of every dependency.
pub(crate) fn programs(workspace: &Workspace, release: bool, targets: &[&str]) -> Result<()> {
    say::step("cargo build");
    let mut command = workspace.cargo("build");
    command.arg("--workspace").args(targets).args(release.then_some("--release"));
    child::run("cargo build", &mut command)?;
    jailed(workspace, release)?;
    Ok(())
}

/// The jailed program, linked statically: it starts sooner, maps no library that hostile bytes could find
/// their way about in, and everything it needs of the system is done once its jail is complete. It lies where cargo puts
/// programs, until cargo makes an ordinary one, and for the tests in a folder of its own, whose path is answered.
pub(crate) fn jailed(workspace: &Workspace, release: bool) -> Result<PathBuf> {
    say::step("the jailed program, static");
    let mut command = workspace.cargo("rustc");
    command.args(["--package", JAILED, "--bin", JAILED]).args(release.then_some("--release"));
    child::run("cargo rustc", command.args(["--", "-C", "target-feature=+crt-static"]))?;
    let built = workspace.built(JAILED, release);
    let bytes = fs::read(&built).with_context(|| format!("cannot read {}", built.display()))?;
    ensure!(is_static(&bytes), "{} asks for an interpreter: it is not linked statically", built.display());
    let folder = built.with_file_name("jail");
    fs::create_dir_all(&folder)?;
    let copy = folder.join(JAILED);
    // Beside it and then in its place, because one that runs cannot be written.
    let fresh = folder.join("fresh");
    fs::copy(&built, &fresh).and_then(|_| fs::rename(&fresh, &copy)).context("cannot copy the jailed program")?;
    Ok(copy)
}

/// A 64-bit ELF file (elf(5)) that the kernel starts by itself, without `PT_INTERP`.
fn is_static(elf: &[u8]) -> bool {
    const INTERPRETER: usize = 3;
    let number = |at: usize, len: usize| {
        let bytes = elf.get(at..at.checked_add(len)?)?;
        Some(bytes.iter().rev().fold(0_usize, |number, &byte| number << 8 | usize::from(byte)))
    };
    let kinds = || {
        let (table, size, count) = (number(0x20, 8)?, number(0x36, 2)?, number(0x38, 2)?);
        (0..count).map(|index| number(table + index * size, 4)).collect::<Option<Vec<_>>>()
    };
    elf.starts_with(b"\x7fELF\x02\x01") && kinds().is_some_and(|kinds| !kinds.contains(&INTERPRETER))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::is_static;

    #[test]
    fn an_ordinary_program_is_not_static() {
        let this = fs::read(std::env::current_exe().expect("a path")).expect("this program");
        assert!(!is_static(&this));
        // The same without its interpreter: what was PT_INTERP is PT_NULL.
        let table = usize::from(this[0x20]);
        let mut without = this.clone();
        for index in 0..usize::from(this[0x38]) {
            let at = table + index * usize::from(this[0x36]);
            if without[at..at + 4] == [3, 0, 0, 0] {
                without[at] = 0;
            }
        }
        assert!(is_static(&without));
        assert!(!is_static(b"") && !is_static(&this[..64]));
    }
}
