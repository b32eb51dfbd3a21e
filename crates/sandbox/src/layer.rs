//! The layers of the jail, by name.

use std::fmt;

macro_rules! layers {
    ($($(#[$doc:meta])* $variant:ident = $code:literal, $name:literal;)+) => {
        /// A layer of the jail. A jail that lacks one refuses to run and names it.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Layer { $($(#[$doc])* $variant),+ }

        impl Layer {
            /// Every layer, in the order in which they are put on.
            pub const ALL: &[Self] = &[$(Self::$variant),+];

            /// The stable name.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name),+ }
            }

            pub(crate) const fn code(self) -> u8 {
                match self { $(Self::$variant => $code),+ }
            }
        }
    };
}

layers! {
    /// The program itself: it started and spoke the wire's language.
    Program = 1, "program";
    /// The kernel kills the child when the thread that spawned it ends.
    ParentDeathSignal = 2, "parent-death-signal";
    /// No other process of this user may trace it or read its memory, and it leaves no core file.
    NotDumpable = 3, "not-dumpable";
    /// No program it could start gains privileges.
    NoNewPrivileges = 4, "no-new-privileges";
    /// No descriptor but the wire is left open.
    Descriptors = 5, "descriptors";
    /// Input mapped read-only, output mapped with a fixed length.
    Maps = 6, "maps";
    /// No file, no TCP port, no process outside.
    Landlock = 7, "landlock";
    /// Memory, CPU time, descriptors, processes, file sizes.
    ResourceLimits = 8, "resource-limits";
    /// Signals do what they do by default.
    Signals = 9, "signals";
    /// A timer on the CPU time used, finer than the resource limit's seconds.
    CpuTimer = 10, "cpu-timer";
    /// Nothing but the listed system calls.
    Seccomp = 11, "seccomp";
}

impl Layer {
    pub(crate) fn from_code(code: u8) -> Option<Self> {
        Self::ALL.iter().copied().find(|layer| layer.code() == code)
    }
}

impl fmt::Display for Layer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
