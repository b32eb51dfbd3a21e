//! The last layer: which system calls are left.

#![expect(unsafe_code, reason = "the challenge is a raw call")]

use std::{collections::BTreeMap, env::consts::ARCH, io};

use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
    TargetArch, sock_filter,
};

use super::{MissingLayer, line::WIRE, require};
use crate::layer::Layer;

/// A call that nobody makes and that changes nothing. The filter answers it with [`SIGN`], which no kernel does: the mode
/// alone would also be that of a filter which a container runtime put on.
const CHALLENGE: libc::c_long = libc::SYS_sched_get_priority_max;
const SIGN: u32 = 0x7a2;
/// This architecture's number in `linux/audit.h`.
#[cfg(target_arch = "x86_64")]
const AUDIT_ARCH: u32 = 0xc000_003e;
/// This architecture's number in `linux/audit.h`.
#[cfg(target_arch = "aarch64")]
const AUDIT_ARCH: u32 = 0xc000_00b7;
const THE_WIRE: u64 = WIRE as u64;
const CLOSED: [u64; 2] = [libc::STDOUT_FILENO as u64, libc::STDERR_FILENO as u64];
const READ_WRITE: u64 = (libc::PROT_READ | libc::PROT_WRITE) as u64;
const PRIVATE_ANONYMOUS: u64 = (libc::MAP_PRIVATE | libc::MAP_ANONYMOUS) as u64;
const POPULATE: u64 = libc::MADV_POPULATE_WRITE as u64;
const MAY_MOVE: u64 = libc::MREMAP_MAYMOVE as u64;

/// Installs the allow-list; every other call kills the process with SIGSYS.
pub(super) fn allow_only_needed() -> Result<(), MissingLayer> {
    let rules = compile().map_err(|error| MissingLayer::new(Layer::Seccomp, error))?;
    if rules.is_empty() {
        return Err(MissingLayer::new(Layer::Seccomp, "the filter is empty"));
    }
    let program = signed(rules)?;
    seccompiler::apply_filter(&program).map_err(|error| MissingLayer::new(Layer::Seccomp, error))?;
    require(Layer::Seccomp, is_signed(), "the filter is not on")
}

/// Whether a [`signed`] filter is on.
pub(super) fn is_signed() -> bool {
    // SAFETY: the call takes no pointers.
    let answered = unsafe { libc::syscall(CHALLENGE, 0) };
    let sign = io::Error::last_os_error().raw_os_error();
    answered == -1 && sign.is_some_and(|sign| sign.unsigned_abs() == SIGN)
}

/// The compiled rules behind an answer to the challenge. Another architecture's calls go on to the rules, which kill.
pub(super) fn signed(rules: BpfProgram) -> Result<BpfProgram, MissingLayer> {
    // Of the classic BPF of seccomp(2): load a word, jump if equal, return.
    let load = |k| sock_filter { code: 0x20, jt: 0, jf: 0, k };
    let skip_unless = |k, jf| sock_filter { code: 0x15, jt: 0, jf, k };
    let answer = |k| sock_filter { code: 0x06, jt: 0, jf: 0, k };
    let number = u32::try_from(CHALLENGE).map_err(MissingLayer::because(Layer::Seccomp))?;
    // The places of `arch` and `nr` in `struct seccomp_data`.
    let mut program = vec![
        load(4),
        skip_unless(AUDIT_ARCH, 3),
        load(0),
        skip_unless(number, 1),
        answer(libc::SECCOMP_RET_ERRNO | SIGN),
    ];
    program.extend(rules);
    Ok(program)
}

fn compile() -> Result<BpfProgram, seccompiler::BackendError> {
    let rules = BTreeMap::from([
        // The wire: the job comes in, one answer or the place of a panic goes out. What a Rust library prints, on standard
        // output or error, which are closed and cannot be opened, is an error to it and no attack.
        (libc::SYS_read, vec![all_of(&[(0, THE_WIRE)])?]),
        (libc::SYS_write, vec![all_of(&[(0, THE_WIRE)])?, all_of(&[(0, CLOSED[0])])?, all_of(&[(0, CLOSED[1])])?]),
        // The end, from the answer, the panic hook and the allocator.
        (libc::SYS_exit_group, vec![]),
        // Between the answer and the end.
        (libc::SYS_sched_yield, vec![]),
        // glibc's allocator: the heap, and blocks above its mmap threshold. Never executable, never a file, never
        // at a chosen address.
        (libc::SYS_brk, vec![]),
        (libc::SYS_mmap, vec![all_of(&[(2, READ_WRITE), (3, PRIVATE_ANONYMOUS)])?]),
        (libc::SYS_munmap, vec![]),
        (libc::SYS_mremap, vec![all_of(&[(3, MAY_MOVE)])?]),
        // Pages for what is mapped, sooner than they are written.
        (libc::SYS_madvise, vec![all_of(&[(2, POPULATE)])?]),
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
