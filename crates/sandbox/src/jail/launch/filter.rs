//! Which system calls a program has. What is not listed does not happen; the lists differ in how it is told.

#![expect(unsafe_code, reason = "the challenges are raw calls")]

use std::{collections::BTreeMap, env::consts::ARCH, io};

use libc::c_long;
use seccompiler::{
    BackendError, BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule, TargetArch,
};

use super::{
    super::{MissingLayer, require, syscalls},
    PROGRAM_FD,
};
use crate::layer::Layer;

/// Calls that change nothing outside the process: memory, descriptors that are open, files that Landlock lets it read,
/// time, its own signals, its own threads' waiting.
const ALLOWED: &[c_long] = &[
    // Memory. Executable memory, too: there are interpreters that compile, and the other layers ask for no code.
    libc::SYS_brk,
    libc::SYS_mmap,
    libc::SYS_munmap,
    libc::SYS_mremap,
    libc::SYS_mprotect,
    libc::SYS_madvise,
    libc::SYS_membarrier,
    libc::SYS_mincore,
    libc::SYS_msync,
    // Reading and writing what is open.
    libc::SYS_read,
    libc::SYS_readv,
    libc::SYS_pread64,
    libc::SYS_preadv,
    libc::SYS_write,
    libc::SYS_writev,
    libc::SYS_pwrite64,
    libc::SYS_pwritev,
    libc::SYS_lseek,
    libc::SYS_close,
    libc::SYS_close_range,
    libc::SYS_dup,
    libc::SYS_dup3,
    libc::SYS_pipe2,
    libc::SYS_eventfd2,
    libc::SYS_epoll_create1,
    libc::SYS_epoll_ctl,
    libc::SYS_epoll_pwait,
    libc::SYS_ppoll,
    libc::SYS_pselect6,
    libc::SYS_fadvise64,
    // Looking at files.
    libc::SYS_getdents64,
    libc::SYS_fstat,
    libc::SYS_newfstatat,
    libc::SYS_statx,
    libc::SYS_statfs,
    libc::SYS_fstatfs,
    libc::SYS_faccessat,
    libc::SYS_faccessat2,
    libc::SYS_readlinkat,
    libc::SYS_getcwd,
    libc::SYS_chdir,
    libc::SYS_fchdir,
    libc::SYS_umask,
    // Time, and waiting.
    libc::SYS_clock_gettime,
    libc::SYS_clock_getres,
    libc::SYS_clock_nanosleep,
    libc::SYS_nanosleep,
    libc::SYS_gettimeofday,
    libc::SYS_getitimer,
    libc::SYS_times,
    libc::SYS_getrusage,
    libc::SYS_futex,
    libc::SYS_sched_yield,
    libc::SYS_sched_getaffinity,
    libc::SYS_getcpu,
    libc::SYS_restart_syscall,
    // Its own signals.
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_rt_sigpending,
    libc::SYS_rt_sigsuspend,
    libc::SYS_rt_sigtimedwait,
    libc::SYS_sigaltstack,
    // Who and where it is.
    libc::SYS_getpid,
    libc::SYS_getppid,
    libc::SYS_gettid,
    libc::SYS_getuid,
    libc::SYS_geteuid,
    libc::SYS_getgid,
    libc::SYS_getegid,
    libc::SYS_getresuid,
    libc::SYS_getresgid,
    libc::SYS_getgroups,
    libc::SYS_getpgid,
    libc::SYS_getsid,
    libc::SYS_capget,
    libc::SYS_uname,
    libc::SYS_sysinfo,
    libc::SYS_getrandom,
    // The beginning and the end of a thread.
    libc::SYS_set_tid_address,
    libc::SYS_set_robust_list,
    libc::SYS_get_robust_list,
    libc::SYS_rseq,
    libc::SYS_exit,
    libc::SYS_exit_group,
    // For the two filters to come; the last of them takes it away.
    libc::SYS_seccomp,
];

/// What older interpreters call on this architecture only, each with a newer call above.
#[cfg(target_arch = "x86_64")]
const ALLOWED_HERE: &[c_long] = &[
    libc::SYS_stat,
    libc::SYS_lstat,
    libc::SYS_access,
    libc::SYS_readlink,
    libc::SYS_getdents,
    libc::SYS_poll,
    libc::SYS_select,
    libc::SYS_epoll_create,
    libc::SYS_epoll_wait,
    libc::SYS_eventfd,
    libc::SYS_pipe,
    libc::SYS_dup2,
    libc::SYS_time,
    libc::SYS_alarm,
    libc::SYS_pause,
    libc::SYS_getpgrp,
    libc::SYS_arch_prctl,
];
/// There is none of these here.
#[cfg(target_arch = "aarch64")]
const ALLOWED_HERE: &[c_long] = &[];

/// Commands of `fcntl` about the program's own descriptors. Not the ones that send signals, lease or lock.
const FCNTL: [i32; 8] = [
    libc::F_DUPFD,
    libc::F_DUPFD_CLOEXEC,
    libc::F_GETFD,
    libc::F_SETFD,
    libc::F_GETFL,
    libc::F_SETFL,
    libc::F_GETPIPE_SZ,
    libc::F_GET_SEALS,
];
/// What is asked of descriptors as a file is opened. There is no terminal among them.
const IOCTL: [u64; 6] = [libc::TCGETS, libc::TIOCGWINSZ, libc::FIONREAD, libc::FIONBIO, libc::FIOCLEX, libc::FIONCLEX];
/// Names of threads and of maps, and what asks only. Without those that undo a layer.
const PRCTL: [i32; 7] = [
    libc::PR_SET_NAME,
    libc::PR_GET_NAME,
    libc::PR_SET_VMA,
    libc::PR_GET_DUMPABLE,
    libc::PR_CAPBSET_READ,
    libc::PR_GET_NO_NEW_PRIVS,
    libc::PR_SET_NO_NEW_PRIVS,
];

/// What honest programs try and can go without, or fail with a message that says what they lack: `EPERM`.
const REFUSED: &[c_long] = &[
    libc::SYS_execve,
    // No network, and no socket of any other kind.
    libc::SYS_socket,
    libc::SYS_socketpair,
    libc::SYS_connect,
    libc::SYS_bind,
    libc::SYS_listen,
    libc::SYS_accept,
    libc::SYS_accept4,
    libc::SYS_sendto,
    libc::SYS_sendmsg,
    // No change to any file: Landlock knows most of these, not all, and none on an old kernel.
    libc::SYS_mkdirat,
    libc::SYS_mknodat,
    libc::SYS_unlinkat,
    libc::SYS_linkat,
    libc::SYS_symlinkat,
    libc::SYS_renameat,
    libc::SYS_renameat2,
    libc::SYS_truncate,
    libc::SYS_ftruncate,
    libc::SYS_fallocate,
    libc::SYS_fchmod,
    libc::SYS_fchmodat,
    libc::SYS_fchown,
    libc::SYS_fchownat,
    libc::SYS_utimensat,
    libc::SYS_setxattr,
    libc::SYS_lsetxattr,
    libc::SYS_fsetxattr,
    libc::SYS_removexattr,
    libc::SYS_lremovexattr,
    libc::SYS_fremovexattr,
    // Memory that no limit counts.
    libc::SYS_memfd_create,
    libc::SYS_shmget,
    // Who it is stays.
    libc::SYS_setuid,
    libc::SYS_setgid,
    libc::SYS_setreuid,
    libc::SYS_setregid,
    libc::SYS_setresuid,
    libc::SYS_setresgid,
    libc::SYS_setgroups,
    libc::SYS_capset,
    libc::SYS_setsid,
    libc::SYS_setpgid,
    libc::SYS_setrlimit,
];

/// Older names of the same.
#[cfg(target_arch = "x86_64")]
const REFUSED_HERE: &[c_long] = &[
    libc::SYS_fork,
    libc::SYS_vfork,
    libc::SYS_creat,
    libc::SYS_mkdir,
    libc::SYS_mknod,
    libc::SYS_rmdir,
    libc::SYS_unlink,
    libc::SYS_link,
    libc::SYS_symlink,
    libc::SYS_rename,
    libc::SYS_chmod,
    libc::SYS_chown,
    libc::SYS_lchown,
    libc::SYS_utime,
    libc::SYS_utimes,
    libc::SYS_futimesat,
];
/// There is none of these here.
#[cfg(target_arch = "aarch64")]
const REFUSED_HERE: &[c_long] = &[];

/// What no scanner does: ways into other processes and into the kernel. These kill.
const KILLED: &[c_long] = &[
    libc::SYS_ptrace,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_process_madvise,
    libc::SYS_kcmp,
    libc::SYS_pidfd_open,
    libc::SYS_pidfd_getfd,
    libc::SYS_pidfd_send_signal,
    libc::SYS_io_uring_setup,
    libc::SYS_io_uring_enter,
    libc::SYS_io_uring_register,
    libc::SYS_mount,
    libc::SYS_umount2,
    libc::SYS_pivot_root,
    libc::SYS_move_mount,
    libc::SYS_open_tree,
    libc::SYS_fsopen,
    libc::SYS_fsconfig,
    libc::SYS_fsmount,
    libc::SYS_fspick,
    libc::SYS_mount_setattr,
    libc::SYS_chroot,
    libc::SYS_unshare,
    libc::SYS_setns,
    libc::SYS_keyctl,
    libc::SYS_add_key,
    libc::SYS_request_key,
    libc::SYS_bpf,
    libc::SYS_perf_event_open,
    libc::SYS_userfaultfd,
    libc::SYS_open_by_handle_at,
    libc::SYS_fanotify_init,
    libc::SYS_init_module,
    libc::SYS_finit_module,
    libc::SYS_delete_module,
    libc::SYS_kexec_load,
    libc::SYS_reboot,
    libc::SYS_swapon,
    libc::SYS_swapoff,
    libc::SYS_acct,
    libc::SYS_syslog,
    libc::SYS_settimeofday,
    libc::SYS_clock_settime,
    libc::SYS_adjtimex,
    libc::SYS_clock_adjtime,
    libc::SYS_quotactl,
    libc::SYS_seccomp,
];

/// Ways to the hardware.
#[cfg(target_arch = "x86_64")]
const KILLED_HERE: &[c_long] = &[libc::SYS_iopl, libc::SYS_ioperm, libc::SYS_modify_ldt, libc::SYS_kexec_file_load];
/// There is none of these here.
#[cfg(target_arch = "aarch64")]
const KILLED_HERE: &[c_long] = &[];

/// New namespaces, which a thread can have, too.
const NEW_NAMESPACES: i32 = libc::CLONE_NEWNS
    | libc::CLONE_NEWCGROUP
    | libc::CLONE_NEWUTS
    | libc::CLONE_NEWIPC
    | libc::CLONE_NEWUSER
    | libc::CLONE_NEWPID
    | libc::CLONE_NEWNET;

/// Calls that open files, and which argument has the flags. Landlock decides which of them open for what, and knows
/// nothing before Linux 6.2 of a file that is emptied as it is opened: that is for those who may write it.
#[cfg(target_arch = "x86_64")]
const OPENING: [(c_long, u8); 2] = [(libc::SYS_openat, 2), (libc::SYS_open, 1)];
/// There is one here.
#[cfg(target_arch = "aarch64")]
const OPENING: [(c_long, u8); 1] = [(libc::SYS_openat, 2)];

type Rules = BTreeMap<c_long, Vec<SeccompRule>>;

/// The filters, one for each answer. The kernel asks all, the last one first, and the sternest answer counts; of two
/// error numbers it is the later filter's.
pub(super) struct Filters([BpfProgram; 3]);

/// The one execution that there is, down to where its words lie. Of a path no filter sees what it says; the program that
/// begins has another memory, and does not know these places.
#[derive(Debug, Clone, Copy)]
pub(super) struct Execution {
    pub(super) path: *const libc::c_char,
    pub(super) arguments: *const *const libc::c_char,
    pub(super) environment: *const *const libc::c_char,
}

impl Execution {
    /// Conditions of which all hold of it, and of any other execution not all.
    fn conditions(self, is: &SeccompCmpOp) -> Result<Vec<SeccompCondition>, BackendError> {
        let word = |index, value| SeccompCondition::new(index, SeccompCmpArgLen::Dword, is.clone(), value);
        let pointer =
            |index, place: usize| SeccompCondition::new(index, SeccompCmpArgLen::Qword, is.clone(), place as u64);
        Ok(vec![
            word(0, number(PROGRAM_FD))?,
            pointer(1, self.path.addr())?,
            pointer(2, self.arguments.addr())?,
            pointer(3, self.environment.addr())?,
            word(4, number(libc::AT_EMPTY_PATH))?,
        ])
    }
}

/// While there is memory to compile them in.
pub(super) fn compile(threads: bool, execution: Execution) -> Result<Filters, MissingLayer> {
    let missing = MissingLayer::because(Layer::Seccomp);
    let compile = |rules: Rules, otherwise, matched| -> Result<BpfProgram, BackendError> {
        SeccompFilter::new(rules, otherwise, matched, TargetArch::try_from(ARCH)?)?.try_into()
    };
    let pid = std::process::id();
    let unknown = SeccompAction::Errno(libc::ENOSYS.unsigned_abs());
    let refused = SeccompAction::Errno(libc::EPERM.unsigned_abs());
    let allowed = allowed(pid, threads, execution).and_then(|rules| compile(rules, unknown, SeccompAction::Allow));
    let refused =
        self::refused(pid, threads, execution).and_then(|rules| compile(rules, SeccompAction::Allow, refused));
    let killed = compile(always(&[KILLED, KILLED_HERE]), SeccompAction::Allow, SeccompAction::KillProcess);
    let killed = syscalls::signed(killed.map_err(&missing)?)?;
    Ok(Filters([allowed.map_err(&missing)?, refused.map_err(&missing)?, killed]))
}

impl Filters {
    pub(super) fn install(&self) -> Result<(), MissingLayer> {
        for program in &self.0 {
            seccompiler::apply_filter(program).map_err(MissingLayer::because(Layer::Seccomp))?;
        }
        // SAFETY: neither call takes a pointer that is followed: the path is null, and the policy a number.
        let answers = unsafe {
            let unlisted = error_of(libc::syscall(libc::SYS_sched_get_priority_min, 0));
            let refused = error_of(libc::syscall(libc::SYS_mkdirat, -1, std::ptr::null::<u8>(), 0));
            [unlisted == Some(libc::ENOSYS), refused == Some(libc::EPERM), syscalls::is_signed()]
        };
        require(Layer::Seccomp, answers == [true; 3], "a filter is not on")
    }
}

fn error_of(answer: c_long) -> Option<i32> {
    if answer == -1 { io::Error::last_os_error().raw_os_error() } else { None }
}

fn always(lists: &[&[c_long]]) -> Rules {
    lists.iter().copied().flatten().map(|&call| (call, Vec::new())).collect()
}

fn allowed(pid: u32, threads: bool, execution: Execution) -> Result<Rules, BackendError> {
    let mut rules = always(&[ALLOWED, ALLOWED_HERE]);
    let one_of = |index, values: &mut dyn Iterator<Item = u64>| {
        values.map(|value| all(&[(index, SeccompCmpOp::Eq, value)])).collect::<Result<Vec<_>, _>>()
    };
    rules.insert(libc::SYS_fcntl, one_of(1, &mut FCNTL.iter().map(|&command| number(command)))?);
    rules.insert(libc::SYS_ioctl, one_of(1, &mut IOCTL.iter().copied())?);
    rules.insert(libc::SYS_prctl, one_of(0, &mut PRCTL.iter().map(|&option| number(option)))?);
    // Signals to itself, which `abort` and `raise` send.
    rules.insert(libc::SYS_kill, vec![all(&[(0, SeccompCmpOp::Eq, pid.into())])?]);
    rules.insert(libc::SYS_tgkill, vec![all(&[(0, SeccompCmpOp::Eq, pid.into())])?]);
    // The timer of the wall clock. Another one is the jail's own.
    rules.insert(libc::SYS_setitimer, vec![all(&[(0, SeccompCmpOp::Eq, number(libc::ITIMER_REAL))])?]);
    // Limits are asked for, never set.
    rules.insert(libc::SYS_prlimit64, vec![pointer(2, SeccompCmpOp::Eq)?]);
    rules.insert(libc::SYS_execveat, vec![SeccompRule::new(execution.conditions(&SeccompCmpOp::Eq)?)?]);
    for (call, flags) in OPENING {
        let opened = |mask: i32, as_these: i32| all(&[(flags, SeccompCmpOp::MaskedEq(number(mask)), number(as_these))]);
        let emptied = |for_what: i32| opened(libc::O_TRUNC | libc::O_ACCMODE, libc::O_TRUNC | for_what);
        rules.insert(call, vec![opened(libc::O_TRUNC, 0)?, emptied(libc::O_WRONLY)?, emptied(libc::O_RDWR)?]);
    }
    if threads {
        let thread = number(libc::CLONE_THREAD);
        let decisive = SeccompCmpOp::MaskedEq(thread | number(NEW_NAMESPACES));
        // `clone3` keeps its flags where no filter can look; without it libraries use this one.
        rules.insert(libc::SYS_clone, vec![all(&[(0, decisive, thread)])?]);
    }
    Ok(rules)
}

fn refused(pid: u32, threads: bool, execution: Execution) -> Result<Rules, BackendError> {
    let mut rules = always(&[REFUSED, REFUSED_HERE]);
    rules.insert(libc::SYS_kill, vec![all(&[(0, SeccompCmpOp::Ne, pid.into())])?]);
    rules.insert(libc::SYS_tgkill, vec![all(&[(0, SeccompCmpOp::Ne, pid.into())])?]);
    let another = execution.conditions(&SeccompCmpOp::Ne)?.into_iter().map(|one| SeccompRule::new(vec![one]));
    rules.insert(libc::SYS_execveat, another.collect::<Result<_, _>>()?);
    for (call, flags) in OPENING {
        let decisive = SeccompCmpOp::MaskedEq(number(libc::O_TRUNC | libc::O_ACCMODE));
        let emptied = |for_what: i32| all(&[(flags, decisive.clone(), number(libc::O_TRUNC | for_what))]);
        rules.insert(call, vec![emptied(libc::O_RDONLY)?, emptied(libc::O_ACCMODE)?]);
    }
    rules.insert(libc::SYS_prlimit64, vec![pointer(2, SeccompCmpOp::Ne)?]);
    let process = SeccompCmpOp::MaskedEq(number(libc::CLONE_THREAD));
    rules.insert(libc::SYS_clone, if threads { vec![all(&[(0, process, 0)])?] } else { Vec::new() });
    Ok(rules)
}

/// A rule that matches when every argument is as it says, in its lower half: the kernel takes no more of these.
fn all(arguments: &[(u8, SeccompCmpOp, u64)]) -> Result<SeccompRule, BackendError> {
    let conditions = arguments.iter().map(|(index, operator, value)| {
        SeccompCondition::new(*index, SeccompCmpArgLen::Dword, operator.clone(), *value)
    });
    SeccompRule::new(conditions.collect::<Result<_, _>>()?)
}

/// A rule that matches when this pointer is null, or is not.
fn pointer(index: u8, null: SeccompCmpOp) -> Result<SeccompRule, BackendError> {
    SeccompRule::new(vec![SeccompCondition::new(index, SeccompCmpArgLen::Qword, null, 0)?])
}

/// Constants of the C library are signed, arguments of system calls are not.
const fn number(value: i32) -> u64 {
    value.cast_unsigned() as u64
}
