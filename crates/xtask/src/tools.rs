//! Programs that the tests need and Debian does not have, each at a fixed version.

use std::fs::{self, File};
use std::path::PathBuf;

use anyhow::{Context, Result};

use crate::workspace::Workspace;
use crate::{child, say};

/// A subcommand of cargo, and the version of its package that is installed where it is missing.
#[derive(Debug, Clone, Copy)]
pub(crate) struct CargoTool(&'static str, &'static str);

/// What `cargo xtask test` runs.
pub(crate) const CARGO_TOOLS: [CargoTool; 3] =
    [CargoTool("nextest", "0.9.143"), CargoTool("deny", "0.20.2"), CargoTool("machete", "0.9.2")];
pub(crate) const CARGO_FUZZ: CargoTool = CargoTool("fuzz", "0.13.2");

/// A program from `PyPI`, in a virtual environment of its own; another set of requirements is another version.
pub(crate) struct PythonTool {
    name: &'static str,
    version: &'static str,
    requirements: &'static [&'static str],
    program: &'static str,
}

/// An honest S3, with SQS and SNS.
pub(crate) const MINISTACK: PythonTool =
    PythonTool { name: "ministack", version: "1.5.33", requirements: &["ministack==1.5.33"], program: "ministack" };

/// An S3 that ignores conditions and checksums. Its extra `server` brings much that S3 alone does not need.
pub(crate) const MOTO: PythonTool = PythonTool {
    name: "moto",
    version: "5.2.5",
    requirements: &["moto[s3]==5.2.5", "flask==3.1.3", "flask-cors==6.0.5"],
    program: "moto_server",
};

/// Independent decoders, which see what becomes of an image.
pub(crate) const PYTHON: PythonTool = PythonTool {
    name: "python",
    version: "1",
    requirements: &["pillow==13.0.0", "pyvips==3.2.0", "pyvips-binary==8.18.7", "numpy==2.4.6"],
    program: "python",
};

/// Installs the cargo subcommands that are not there, in any version.
pub(crate) fn ensure_cargo_tools(workspace: &Workspace, wanted: &[CargoTool]) -> Result<()> {
    for CargoTool(name, version) in wanted {
        let mut probe = workspace.cargo(name);
        if child::capture(name, probe.arg("--version")).is_ok() {
            continue;
        }
        let package = format!("cargo-{name}@{version}");
        say::step(&format!("cargo install {package} (once; some minutes)"));
        let mut install = workspace.cargo("install");
        child::run("cargo install", install.args(["--locked", &package]))?;
    }
    Ok(())
}

impl PythonTool {
    /// Installs it, unless a run before this one did so to the end.
    pub(crate) fn ensure(&self, workspace: &Workspace) -> Result<()> {
        let folder = self.environment(workspace);
        let complete = folder.join("complete");
        if complete.is_file() {
            return Ok(());
        }
        if folder.exists() {
            fs::remove_dir_all(&folder).with_context(|| format!("cannot remove {}", folder.display()))?;
        }
        say::step(&format!("pip install {}", self.requirements.join(" ")));
        child::run("python3 -m venv", child::command("python3").args(["-m", "venv"]).arg(&folder))?;
        let mut install = child::command(folder.join("bin/python"));
        install.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check"]).args(self.requirements);
        child::run("pip install", &mut install)?;
        File::create(&complete).with_context(|| format!("cannot write {}", complete.display()))?;
        Ok(())
    }

    pub(crate) fn program(&self, workspace: &Workspace) -> PathBuf {
        self.environment(workspace).join("bin").join(self.program)
    }

    fn environment(&self, workspace: &Workspace) -> PathBuf {
        workspace.state().join(format!("{}-{}", self.name, self.version))
    }
}
