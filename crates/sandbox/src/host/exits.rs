//! How a child's life ended, as the host sees it.

use std::{fmt, os::unix::process::ExitStatusExt, process::ExitStatus};

use crate::{
    jail::{EXIT_ANSWERED, EXIT_MEMORY, EXIT_PANIC},
    wire::ToHost,
};

macro_rules! causes {
    ($($(#[$doc:meta])* $variant:ident = $name:literal;)+) => {
        /// How a child ended.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum ExitCause { $($(#[$doc])* $variant),+ }

        impl ExitCause {
            /// Every cause, for example to register its counter at zero.
            pub const ALL: &[Self] = &[$(Self::$variant),+];

            /// The stable name, as in `lazaret_jail_exits_total{cause}`.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name),+ }
            }
        }
    };
}

causes! {
    /// It wrote an output.
    Done = "done";
    /// It refused its input.
    Refused = "refused";
    /// It met the end of its memory.
    Memory = "memory";
    /// It used up its CPU time.
    CpuTime = "cpu_time";
    /// It did not end in time and was killed.
    WallTime = "wall_time";
    /// It made a system call that is not allowed.
    PolicyViolation = "policy_violation";
    /// It panicked.
    Panic = "panic";
    /// It could not complete its jail, or ended, lied or hung before that.
    SetUp = "set_up";
    /// A fault: SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGTRAP, SIGABRT.
    Crash = "crash";
    /// Somebody else killed it: the kernel short of memory, or an operator.
    Killed = "killed";
    /// It said something that is not so.
    Protocol = "protocol";
    /// It looked at what another one wrote and said no.
    Unverified = "unverified";
    /// Nobody waited for it any more and it was killed.
    Cancelled = "cancelled";
}

impl fmt::Display for ExitCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What was heard from a child before its end.
#[derive(Debug, Default)]
pub(super) struct Heard {
    /// It said that its jail is complete.
    pub(super) ready: bool,
    /// Its last word.
    pub(super) last: Option<ToHost>,
    /// The first thing it said that no honest child says.
    pub(super) lie: Option<String>,
}

/// The cause of an end that the host did not bring about, with a line for people.
///
/// Once a child was ready, nothing it does says that its jail is not complete: hostile bytes could claim that, job after
/// job, and the host would stop working for want of a jail.
pub(super) fn classify(status: ExitStatus, heard: &Heard) -> (ExitCause, String) {
    if let Some(lie) = &heard.lie {
        return (ExitCause::Protocol, lie.clone());
    }
    if let Some(ToHost::SetUpFailed { layer, detail }) = &heard.last {
        return (ExitCause::SetUp, format!("{layer}: {detail}"));
    }
    if !heard.ready {
        return (ExitCause::SetUp, format!("ended with {status} before it was ready"));
    }
    match (status.code(), status.signal(), &heard.last) {
        (Some(EXIT_ANSWERED), _, Some(ToHost::Done(_))) => (ExitCause::Done, String::new()),
        (Some(EXIT_ANSWERED), _, Some(ToHost::Refused(refusal))) => (ExitCause::Refused, refusal.detail.to_string()),
        (Some(EXIT_MEMORY), ..) => (ExitCause::Memory, "out of memory".into()),
        (Some(EXIT_PANIC), _, Some(ToHost::Panicked { place })) => (ExitCause::Panic, format!("panic at {place}")),
        (Some(EXIT_PANIC), ..) => (ExitCause::Panic, "panic at an unknown place".into()),
        (_, Some(signal), _) => by_signal(signal),
        _ => (ExitCause::Protocol, format!("ended with {status} without an answer")),
    }
}

fn by_signal(signal: i32) -> (ExitCause, String) {
    match signal {
        libc::SIGSYS => (ExitCause::PolicyViolation, "a system call that is not allowed".into()),
        libc::SIGXCPU | libc::SIGPROF => (ExitCause::CpuTime, "out of CPU time".into()),
        libc::SIGSEGV | libc::SIGBUS | libc::SIGILL | libc::SIGFPE | libc::SIGTRAP | libc::SIGABRT => {
            (ExitCause::Crash, format!("crashed with signal {signal}"))
        }
        _ => (ExitCause::Killed, format!("killed from outside with signal {signal}")),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::jail::EXIT_SET_UP;

    #[test]
    fn names_are_unique_snake_case() {
        let names: BTreeSet<_> = ExitCause::ALL.iter().map(|cause| cause.name()).collect();
        assert_eq!(names.len(), ExitCause::ALL.len());
        assert!(names.iter().all(|name| name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_')));
    }

    #[test]
    fn a_good_answer_does_not_outweigh_a_bad_end() {
        let heard = Heard { ready: true, last: Some(ToHost::Done(crate::Done::Verified)), lie: None };
        assert_eq!(classify(ExitStatus::from_raw(0), &heard).0, ExitCause::Done);
        assert_eq!(classify(ExitStatus::from_raw(libc::SIGSYS), &heard).0, ExitCause::PolicyViolation);
        assert_eq!(classify(ExitStatus::from_raw(3 << 8), &heard).0, ExitCause::Protocol);
        assert_eq!(classify(ExitStatus::from_raw(EXIT_SET_UP << 8), &heard).0, ExitCause::Protocol);
        assert_eq!(classify(ExitStatus::from_raw(libc::SIGTRAP), &heard).0, ExitCause::Crash);
        assert_eq!(classify(ExitStatus::from_raw(libc::SIGKILL), &heard).0, ExitCause::Killed);
        let unready = Heard { ready: false, ..heard };
        assert_eq!(classify(ExitStatus::from_raw(0), &unready).0, ExitCause::SetUp);
    }
}
