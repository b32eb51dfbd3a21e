//! The last layer: which system calls are left.

use std::{collections::BTreeMap, env::consts::ARCH};

use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule, TargetArch,
};

use super::MissingLayer;
use crate::layer::Layer;

const WIRE: u64 = libc::STDERR_FILENO as u64;
const READ_WRITE: u64 = (libc::PROT_READ | libc::PROT_WRITE) as u64;
const PRIVATE_ANONYMOUS: u64 = (libc::MAP_PRIVATE | libc::MAP_ANONYMOUS) as u64;
const MAY_MOVE: u64 = libc::MREMAP_MAYMOVE as u64;

/// Installs the allow-list; every other call kills the process with SIGSYS.
pub(super) fn allow_only_needed() -> Result<(), MissingLayer> {
    let program = compile().map_err(|error| MissingLayer::new(Layer::Seccomp, error))?;
    if program.is_empty() {
        return Err(MissingLayer::new(Layer::Seccomp, "the filter is empty"));
    }
    seccompiler::apply_filter(&program).map_err(|error| MissingLayer::new(Layer::Seccomp, error))
}

fn compile() -> Result<BpfProgram, seccompiler::BackendError> {
    let rules = BTreeMap::from([
        // The wire: the job comes in, one answer or the place of a panic goes out.
        (libc::SYS_read, vec![all_of(&[(0, WIRE)])?]),
        (libc::SYS_write, vec![all_of(&[(0, WIRE)])?]),
        // The end, from the answer, the panic hook and the allocator.
        (libc::SYS_exit_group, vec![]),
        // glibc's allocator: the heap, and blocks above its mmap threshold. Never executable, never a file, never
        // at a chosen address.
        (libc::SYS_brk, vec![]),
        (libc::SYS_mmap, vec![all_of(&[(2, READ_WRITE), (3, PRIVATE_ANONYMOUS)])?]),
        (libc::SYS_munmap, vec![]),
        (libc::SYS_mremap, vec![all_of(&[(3, MAY_MOVE)])?]),
    ]);
    let arch = TargetArch::try_from(ARCH)?;
    SeccompFilter::new(rules, SeccompAction::KillProcess, SeccompAction::Allow, arch)?.try_into()
}

/// A rule that matches when every argument has its value.
fn all_of(arguments: &[(u8, u64)]) -> Result<SeccompRule, seccompiler::BackendError> {
    let conditions = arguments
        .iter()
        .map(|&(index, value)| SeccompCondition::new(index, SeccompCmpArgLen::Dword, SeccompCmpOp::Eq, value));
    SeccompRule::new(conditions.collect::<Result<_, _>>()?)
}
