//! What is executed for a program: itself, or the interpreter that its first line names.
//!
//! The kernel could resolve a script itself, but only by a path, and the filter lets one descriptor be executed and
//! nothing else.

use std::{
    ffi::{CString, OsStr, OsString},
    fmt::Display,
    fs::{self, File},
    os::unix::ffi::{OsStrExt, OsStringExt},
    path::{Path, PathBuf},
};

use super::super::MissingLayer;
use crate::{
    elf::{self, Loading},
    layer::Layer,
};

/// As long as the kernel's own (`BINPRM_BUF_SIZE`).
const FIRST_LINE_BYTES: usize = 256;
/// Where `#!/usr/bin/env NAME` looks, as the program itself would.
const PATH: [&str; 3] = ["/usr/local/bin", "/usr/bin", "/bin"];

/// An ELF file to be executed, and what it needs of the file system to begin.
pub(super) struct Target {
    pub(super) file: File,
    /// With its name first.
    pub(super) arguments: Vec<CString>,
    /// The ELF file and its loader.
    pub(super) executable: Vec<PathBuf>,
    /// The script, and the libraries beside the interpreter.
    pub(super) readable: Vec<PathBuf>,
}

impl Target {
    /// `words` are the program, an absolute path, and its arguments.
    pub(super) fn resolve(words: Vec<CString>) -> Result<Self, MissingLayer> {
        let program = words.first().map(|program| PathBuf::from(OsStr::from_bytes(program.as_bytes())));
        let program = program.ok_or_else(|| refused(Path::new(""), "no program is named"))?;
        let file = open(&program)?;
        let Some(line) = first_line(&program, &file)? else {
            return Self::elf(program, file, words, Vec::new());
        };
        let Interpreter { path, argument } = Interpreter::of(&program, &line)?;
        let interpreter = open(&path)?;
        let name = CString::new(path.as_os_str().as_bytes()).map_err(|error| refused(&program, error))?;
        let argument = argument.map(|argument| CString::new(argument.into_vec())).transpose();
        let argument = argument.map_err(|error| refused(&program, error))?;
        let arguments = [name].into_iter().chain(argument).chain(words).collect();
        Self::elf(path, interpreter, arguments, vec![program])
    }

    fn elf(
        path: PathBuf,
        file: File,
        arguments: Vec<CString>,
        mut readable: Vec<PathBuf>,
    ) -> Result<Self, MissingLayer> {
        let loading = elf::loading(&file).map_err(|error| refused(&path, error))?;
        let loading = loading.ok_or_else(|| refused(&path, "neither a program of this machine nor a script"))?;
        let real = fs::canonicalize(&path).map_err(|error| refused(&path, error))?;
        readable.extend([&path, &real].into_iter().filter_map(|path| library_beside(path)));
        let loader = match loading {
            Loading::Static => None,
            Loading::With(loader) => Some(loader),
        };
        Ok(Self { file, arguments, executable: [path].into_iter().chain(loader).collect(), readable })
    }
}

/// `lib` beside the `bin` that holds an interpreter, such as `/opt/python/lib` of `/opt/python/bin/python3`.
fn library_beside(path: &Path) -> Option<PathBuf> {
    let folder = path.parent().filter(|folder| folder.file_name().is_some_and(|name| name == "bin"))?;
    Some(folder.parent()?.join("lib")).filter(|library| library.is_dir())
}

#[derive(Debug, PartialEq, Eq)]
struct Interpreter {
    path: PathBuf,
    argument: Option<OsString>,
}

impl Interpreter {
    /// The interpreter that a first line without its `#!` names (execve(2)): a path and at most one argument, which can
    /// hold blanks. `env` would execute a second program, so what it would find is found here.
    fn of(program: &Path, line: &[u8]) -> Result<Self, MissingLayer> {
        let (path, argument) = split(line);
        let path = PathBuf::from(OsStr::from_bytes(path));
        let argument = (!argument.is_empty()).then(|| OsString::from_vec(argument.to_vec()));
        if !path.is_absolute() {
            return Err(refused(program, "its interpreter is no absolute path"));
        }
        if path.file_name() != Some(OsStr::new("env")) {
            return Ok(Self { path, argument });
        }
        let plain = |name: &[u8]| !name.starts_with(b"-") && !name.iter().any(|b| b"= \t/".contains(b));
        let name = argument.filter(|name| plain(name.as_bytes()));
        let name = name.ok_or_else(|| refused(program, "only `#!/usr/bin/env NAME` is understood of env"))?;
        let found = PATH.iter().map(|folder| Path::new(folder).join(&name)).find(|path| path.is_file());
        let path = found.ok_or_else(|| refused(program, format_args!("no {} is in {PATH:?}", name.display())))?;
        Ok(Self { path, argument: None })
    }
}

/// The first word, and what is behind it without blanks around.
fn split(line: &[u8]) -> (&[u8], &[u8]) {
    let line = line.trim_ascii();
    match line.iter().position(u8::is_ascii_whitespace) {
        Some(end) => (&line[..end], line[end..].trim_ascii()),
        None => (line, &[]),
    }
}

/// The first line behind `#!`; none where the file does not begin so.
fn first_line(path: &Path, file: &File) -> Result<Option<Vec<u8>>, MissingLayer> {
    let mut head = [0; FIRST_LINE_BYTES];
    let len = elf::read_at_most(file, &mut head, 0).map_err(|error| refused(path, error))?;
    let Some(line) = head[..len].strip_prefix(b"#!") else { return Ok(None) };
    match line.iter().position(|&b| b == b'\n') {
        Some(end) => Ok(Some(line[..end].to_vec())),
        None if len < FIRST_LINE_BYTES => Ok(Some(line.to_vec())),
        None => Err(refused(path, "its first line is too long")),
    }
}

fn open(path: &Path) -> Result<File, MissingLayer> {
    let because = |error| refused(path, error);
    if !path.is_absolute() {
        return Err(refused(path, "no absolute path"));
    }
    let file = File::open(path).map_err(because)?;
    if !file.metadata().map_err(because)?.is_file() {
        return Err(refused(path, "no file"));
    }
    let executable = rustix::fs::access(path, rustix::fs::Access::EXEC_OK);
    executable.map_err(|error| refused(path, format_args!("may not be executed: {error}")))?;
    Ok(file)
}

fn refused(path: &Path, why: impl Display) -> MissingLayer {
    MissingLayer::new(Layer::Program, format_args!("{}: {why}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn interpreter(line: &str) -> Result<(String, Option<String>), String> {
        match Interpreter::of(Path::new("/script"), line.as_bytes()) {
            Ok(Interpreter { path, argument }) => {
                Ok((path.display().to_string(), argument.map(|argument| argument.into_string().unwrap())))
            }
            Err(error) => Err(error.detail.to_string()),
        }
    }

    #[test]
    fn a_first_line_names_its_interpreter_as_the_kernel_reads_it() {
        assert_eq!(interpreter("/bin/sh").unwrap(), ("/bin/sh".into(), None));
        assert_eq!(interpreter("  /bin/sh   -e u \t").unwrap(), ("/bin/sh".into(), Some("-e u".into())));
        assert!(interpreter("").unwrap_err().contains("absolute"));
        assert!(interpreter("sh").unwrap_err().contains("absolute"));
    }

    #[test]
    fn env_is_looked_through() {
        let (path, argument) = interpreter("/usr/bin/env sh").unwrap();
        assert!(path.ends_with("/sh") && argument.is_none(), "{path}");
        for line in ["/usr/bin/env", "/usr/bin/env -S sh -e", "/usr/bin/env A=b", "/usr/bin/env ../sh"] {
            assert!(interpreter(line).unwrap_err().contains("env NAME"), "{line}");
        }
        assert!(interpreter("/usr/bin/env no-such-interpreter").unwrap_err().contains("no-such-interpreter"));
    }

    #[test]
    fn what_cannot_be_executed_is_refused_by_name() {
        for (path, says) in [
            ("/nonexistent", "No such file"),
            ("/etc", "no file"),
            ("/etc/passwd", "may not be executed"),
            ("bin/sh", "no absolute path"),
        ] {
            let refused = Target::resolve(vec![CString::new(path).unwrap()]).err().unwrap();
            let detail = refused.detail.to_string();
            assert!(detail.contains(path) && detail.contains(says), "{detail}");
        }
    }

    #[test]
    fn a_program_comes_with_its_loader() {
        let this = std::env::current_exe().unwrap();
        let target = Target::resolve(vec![CString::new(this.as_os_str().as_bytes()).unwrap()]).ok().unwrap();
        assert_eq!((target.executable[0].as_path(), target.executable.len()), (this.as_path(), 2));
    }
}
