//! The layers that take away privileges, descriptors, files and the network.

#![expect(unsafe_code, reason = "close_range has no safe wrapper")]

use std::{
    fs::File,
    io::ErrorKind,
    net::{Ipv4Addr, TcpListener},
};

use landlock::{
    ABI, Access, AccessFs, AccessNet, CompatLevel, Compatible, LandlockStatus, RestrictionStatus, Ruleset, RulesetAttr,
    RulesetCreated, RulesetStatus, Scope,
};
use rustix::process::{DumpableBehavior, Signal};

use super::{MissingLayer, require};
use crate::layer::Layer;

/// The kernel kills this process when the spawning thread ends. The parent is checked afterwards: one that died
/// before has left another process in its place.
pub(super) fn die_with_host(host_pid: u32) -> Result<(), MissingLayer> {
    let layer = Layer::ParentDeathSignal;
    let missing = MissingLayer::because(layer);
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL)).map_err(&missing)?;
    let set = rustix::process::parent_process_death_signal().map_err(&missing)?;
    require(layer, set == Some(Signal::KILL), "the kernel forgot it")?;
    let parent = rustix::process::getppid().map(|pid| pid.as_raw_nonzero().get().unsigned_abs());
    require(layer, parent == Some(host_pid), "the host is not the parent any more")
}

pub(super) fn hide_from_tracers() -> Result<(), MissingLayer> {
    let missing = MissingLayer::because(Layer::NotDumpable);
    rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable).map_err(&missing)?;
    let set = rustix::process::dumpable_behavior().map_err(&missing)?;
    require(Layer::NotDumpable, matches!(set, DumpableBehavior::NotDumpable), "the kernel forgot it")
}

pub(super) fn forbid_privileges() -> Result<(), MissingLayer> {
    let missing = MissingLayer::because(Layer::NoNewPrivileges);
    rustix::thread::set_no_new_privs(true).map_err(&missing)?;
    let set = rustix::thread::no_new_privs().map_err(&missing)?;
    require(Layer::NoNewPrivileges, set, "the kernel forgot it")
}

/// Whatever the host leaked is closed. The first three are ours.
pub(super) fn close_descriptors() -> Result<(), MissingLayer> {
    // SAFETY: nothing in this process owns a descriptor above 2: it has just started and opened none.
    let result = unsafe { libc::syscall(libc::SYS_close_range, 3_u32, u32::MAX, 0_u32) };
    if result != 0 {
        return Err(MissingLayer::new(Layer::Descriptors, std::io::Error::last_os_error()));
    }
    let missing = MissingLayer::because(Layer::Descriptors);
    // Besides the first three there is the folder's own.
    let left = std::fs::read_dir("/proc/self/fd").map_err(missing)?.count();
    require(Layer::Descriptors, left <= 4, "the kernel left some open")
}

/// Landlock with everything denied that the running kernel can deny. A kernel without Landlock is refused.
pub(super) fn forbid_files_and_network() -> Result<(), MissingLayer> {
    enforce(ruleset()?)
}

/// Everything that the running kernel can deny: files from 5.13, TCP from 6.7, signals and abstract sockets to processes
/// outside from 6.12.
pub(super) fn ruleset() -> Result<RulesetCreated, MissingLayer> {
    Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(ABI::V5))
        .and_then(|ruleset| ruleset.handle_access(AccessNet::from_all(ABI::V4)))
        .and_then(|ruleset| ruleset.scope(Scope::from_all(ABI::V6)))
        .and_then(Ruleset::create)
        .map_err(MissingLayer::because(Layer::Landlock))
}

/// Denies what the rules do not allow, and makes sure of it.
pub(super) fn enforce(rules: RulesetCreated) -> Result<(), MissingLayer> {
    let status = rules.restrict_self().map_err(MissingLayer::because(Layer::Landlock))?;
    judge(&status)?;
    let denied = |result: std::io::Result<()>| result.is_err_and(|error| error.kind() == ErrorKind::PermissionDenied);
    require(Layer::Landlock, denied(File::open("/").map(drop)), "the root folder can still be opened")?;
    if knows_network(&status) {
        let bound = TcpListener::bind((Ipv4Addr::LOCALHOST, 0));
        require(Layer::Landlock, bound.is_err(), "a port can still be bound")?;
    }
    Ok(())
}

/// TCP came with the fourth version.
fn knows_network(status: &RestrictionStatus) -> bool {
    matches!(status.landlock, LandlockStatus::Available { effective_abi, .. } if effective_abi as i32 >= ABI::V4 as i32)
}

/// A kernel that knows all of it must enforce all of it; an older one whatever it knows, and that is never nothing.
fn judge(status: &RestrictionStatus) -> Result<(), MissingLayer> {
    let enough = match (&status.landlock, &status.ruleset) {
        (LandlockStatus::Available { .. }, RulesetStatus::FullyEnforced) => true,
        (LandlockStatus::Available { effective_abi, .. }, RulesetStatus::PartiallyEnforced) => {
            (*effective_abi as i32) < ABI::V6 as i32
        }
        (LandlockStatus::Available { .. }, RulesetStatus::NotEnforced)
        | (LandlockStatus::NotEnabled | LandlockStatus::NotImplemented, _) => false,
    };
    if enough && status.no_new_privs {
        return Ok(());
    }
    Err(MissingLayer::new(Layer::Landlock, format_args!("kernel says {:?}, {:?}", status.landlock, status.ruleset)))
}
