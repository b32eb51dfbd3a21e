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
    /// Connect the one socket it has to another process.
    ConnectSocket = 2, "connect-socket";
    /// Make another process.
    Fork = 3, "fork";
    /// Become another program.
    Execute = 4, "execute";
    /// Trace the host.
    TraceHost = 5, "trace-host";
    /// Map memory that can be written and executed.
    WritableExecutable = 6, "writable-executable-memory";
    /// Send a signal to the host.
    Signal = 7, "signal-host";
    /// Write behind the end of the output.
    PastOutput = 8, "write-past-output";
    /// Write to the input.
    WriteInput = 9, "write-input";
    /// Make memory that was written executable.
    MakeExecutable = 10, "make-executable";
    /// Have the kernel make system calls on its behalf.
    IoUring = 11, "io-uring";
    /// Make a socket.
    MakeSocket = 12, "make-socket";
    /// Put on a filter that allows more.
    LoosenFilter = 13, "loosen-filter";
    /// Let others look into it, which a prctl would do.
    BecomeDumpable = 14, "become-dumpable";
    /// Read the host's memory.
    ReadHost = 15, "read-host-memory";
    /// Move into namespaces of its own, where it would have privileges.
    Unshare = 16, "unshare";
    /// Make a file of memory, which is a descriptor again.
    MakeFile = 17, "make-file";
    /// Read the wire's messages by another call than the one that is allowed.
    ReceiveMessage = 18, "receive-message";
}

impl Probe {
    pub(crate) fn from_code(code: u8) -> Option<Self> {
        Self::ALL.iter().copied().find(|probe| probe.code() == code)
    }
}
