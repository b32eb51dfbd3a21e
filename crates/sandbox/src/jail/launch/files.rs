//! What a program may open.

use std::{
    io::{self, ErrorKind},
    path::{Path, PathBuf},
};

use landlock::{
    AccessFs, BitFlags, PathBeneath, PathFd, PathFdError, RulesetCreated, RulesetCreatedAttr, make_bitflags,
};
use rustix::fs::{SealFlags, fcntl_get_seals};

use super::{super::MissingLayer, super::confine, target::Target};
use crate::layer::Layer;

/// Where the libraries and the data of interpreters are; nothing in there is anybody's secret. What a system does not
/// have is passed over.
const SYSTEM: [&str; 8] =
    ["/lib", "/lib64", "/usr/lib", "/usr/lib64", "/usr/local/lib", "/usr/share", "/etc/ld.so.cache", "/dev/urandom"];
/// Where a shell sends what it does not want. Nothing else can be written.
const NOWHERE: &str = "/dev/null";

/// Denies everything that Landlock can deny, except reading what the program and the settings name.
pub(super) fn allow_only(target: &Target, readable: &[PathBuf]) -> Result<(), MissingLayer> {
    let mut rules = confine::ruleset()?;
    for path in SYSTEM {
        rules = allow(rules, Path::new(path), Need::MayLack)?;
    }
    for path in target.readable.iter().chain(readable) {
        rules = allow(rules, path, Need::Must)?;
    }
    for path in &target.executable {
        let path = open(path)?;
        rules = add(rules, path, make_bitflags!(AccessFs::{ReadFile | Execute}))?;
    }
    rules = allow_object(rules)?;
    let nowhere = open(Path::new(NOWHERE))?;
    rules = add(rules, nowhere, make_bitflags!(AccessFs::{ReadFile | WriteFile | Truncate}))?;
    confine::enforce(rules)
}

/// So that `/dev/stdin` can be opened, for what takes a name only. A file in memory, which is sealed, has no place that
/// Landlock knows and is open to it already.
fn allow_object(rules: RulesetCreated) -> Result<RulesetCreated, MissingLayer> {
    if fcntl_get_seals(io::stdin()).is_ok_and(|seals| seals.intersects(SealFlags::WRITE | SealFlags::FUTURE_WRITE)) {
        return Ok(rules);
    }
    rules.add_rule(PathBeneath::new(io::stdin(), AccessFs::ReadFile)).map_err(MissingLayer::because(Layer::Landlock))
}

#[derive(Debug, Clone, Copy)]
enum Need {
    Must,
    MayLack,
}

/// Reading, of a file or of everything in a folder.
fn allow(rules: RulesetCreated, path: &Path, need: Need) -> Result<RulesetCreated, MissingLayer> {
    let opened = match PathFd::new(path) {
        Ok(opened) => opened,
        Err(PathFdError::OpenCall { source, .. })
            if matches!(need, Need::MayLack) && source.kind() == ErrorKind::NotFound =>
        {
            return Ok(rules);
        }
        Err(error) => return Err(refused(path, &error)),
    };
    let read =
        if path.is_dir() { make_bitflags!(AccessFs::{ReadFile | ReadDir}) } else { BitFlags::from(AccessFs::ReadFile) };
    add(rules, opened, read)
}

fn open(path: &Path) -> Result<PathFd, MissingLayer> {
    PathFd::new(path).map_err(|error| refused(path, &error))
}

fn add(rules: RulesetCreated, path: PathFd, access: BitFlags<AccessFs>) -> Result<RulesetCreated, MissingLayer> {
    rules.add_rule(PathBeneath::new(path, access)).map_err(MissingLayer::because(Layer::Landlock))
}

fn refused(path: &Path, error: &PathFdError) -> MissingLayer {
    let PathFdError::OpenCall { source, .. } = error else { return MissingLayer::new(Layer::Landlock, error) };
    MissingLayer::new(Layer::Landlock, format_args!("{}: {source}", path.display()))
}
