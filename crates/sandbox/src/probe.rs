//! The attempts by which the self-test finds out whether the jail holds.

macro_rules! probes {
    ($($(#[$doc:meta])* $variant:ident = $code:literal, $name:literal;)+) => {
        /// Something that only a broken jail lets its prisoner do.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Probe { $($(#[$doc])* $variant),+ }

        impl Probe {
            /// Every probe.
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

probes! {
    /// Open a file for reading.
    OpenFile = 1, "open-file";
    /// Make a socket and connect it.
    ConnectSocket = 2, "connect-socket";
    /// Make another process.
    Fork = 3, "fork";
    /// Become another program.
    Execute = 4, "execute";
    /// Ask to be traced.
    Trace = 5, "trace";
    /// Map memory that can be written and executed.
    WritableExecutable = 6, "writable-executable-memory";
    /// Send a signal to the host.
    Signal = 7, "signal-host";
    /// Write behind the end of the output.
    PastOutput = 8, "write-past-output";
}

impl Probe {
    pub(crate) fn from_code(code: u8) -> Option<Self> {
        Self::ALL.iter().copied().find(|probe| probe.code() == code)
    }
}
