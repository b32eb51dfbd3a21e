//! What the jail of this host is made of, for whoever asks whether it is well.

#![expect(unsafe_code, reason = "asking for Landlock's version has no safe wrapper")]

use std::{fs, path::Path};

use super::Jail;
use crate::{elf, layer::Layer};

/// What confines a job here. Every layer of [`Layer::ALL`] is required, so none is listed as missing: where one is, the
/// self-test fails and names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JailReport {
    /// The layers, in the order in which they are put on.
    pub layers: &'static [Layer],
    /// The kernel's version of Landlock: 1 knows files, 4 ports too, 6 signals and abstract sockets too. None: it has no
    /// Landlock.
    pub landlock_abi: Option<u32>,
    /// Whether the program is linked statically. None: it cannot be read, or is no program.
    pub static_program: Option<bool>,
    /// User, process, network, IPC and mount namespaces.
    pub namespaces: Extra,
    /// A control group of its own for each job.
    pub cgroup: Extra,
    /// The most memory that jobs can take together, in bytes.
    pub memory_bytes: u64,
}

/// Something the jail holds without.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Extra {
    /// Whether this host's settings let the worker have it. A container's system call filter may still deny it.
    pub available: bool,
    /// Whether the jail uses it.
    pub used: bool,
    /// Why, or why not.
    pub why: &'static str,
}

impl Jail {
    /// What confines jobs on this host. Reads a few small files.
    pub fn report(&self) -> JailReport {
        JailReport {
            layers: Layer::ALL,
            landlock_abi: landlock_abi(),
            static_program: is_static(&self.settings.program),
            namespaces: Extra {
                available: number_in("/proc/sys/user/max_user_namespaces").is_some_and(|most| most > 0)
                    && number_in("/proc/sys/kernel/unprivileged_userns_clone").is_none_or(|allowed| allowed > 0)
                    && number_in("/proc/sys/kernel/apparmor_restrict_unprivileged_userns")
                        .is_none_or(|denied| denied == 0),
                used: false,
                why: "what they hide is denied already, and they cost a job more time than all layers together",
            },
            cgroup: Extra {
                available: delegated_cgroup(),
                used: false,
                why: "each process and each file between them has a limit of its own",
            },
            memory_bytes: self.memory_bytes(),
        }
    }

    /// For each job at work: its input, its picture, its files, and the memory of two processes: of the one at work, and of
    /// the one before it, which has answered and may take its time to end. Another has done next to nothing, or is gone.
    fn memory_bytes(&self) -> u64 {
        let settings = &self.settings;
        let job = [
            settings.max_input_bytes,
            settings.max_picture_bytes.max(settings.max_input_bytes),
            settings.max_output_bytes,
            settings.memory_bytes,
            settings.memory_bytes,
        ];
        let job = job.into_iter().fold(0, u64::saturating_add);
        job.saturating_mul(u64::try_from(settings.concurrency.max(1)).unwrap_or(u64::MAX))
    }
}

/// `landlock_create_ruleset(2)`: without a ruleset it answers its version.
fn landlock_abi() -> Option<u32> {
    const ASK_VERSION: libc::c_uint = 1;
    // SAFETY: with this flag the ruleset must be null, and nothing is made.
    let version =
        unsafe { libc::syscall(libc::SYS_landlock_create_ruleset, std::ptr::null::<u8>(), 0_usize, ASK_VERSION) };
    u32::try_from(version).ok().filter(|&version| version > 0)
}

fn number_in(path: &str) -> Option<u64> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}

/// Whether this process may make control groups below its own, with a limit on memory (cgroups(7), version 2).
fn delegated_cgroup() -> bool {
    let groups = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let Some(path) = groups.lines().find_map(|line| line.strip_prefix("0::")) else { return false };
    let folder = Path::new("/sys/fs/cgroup").join(path.trim_start_matches('/'));
    let memory = fs::read_to_string(folder.join("cgroup.controllers"))
        .is_ok_and(|controllers| controllers.split_ascii_whitespace().any(|controller| controller == "memory"));
    memory && rustix::fs::access(&folder, rustix::fs::Access::WRITE_OK).is_ok()
}

/// Whether a 64-bit ELF file asks for no loader.
fn is_static(program: &Path) -> Option<bool> {
    let file = fs::File::open(program).ok()?;
    elf::loading(&file).ok()?.map(|loading| loading == elf::Loading::Static)
}
