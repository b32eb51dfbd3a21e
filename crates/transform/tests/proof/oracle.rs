//! Pillow and libvips, in a process that answers one line for each line it is asked.

use std::{
    io::{BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
};

use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Value, json};
use tempfile::TempDir;

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/oracle/oracle.py");

/// The process, and a folder for the files that it is shown.
pub(crate) struct Oracle {
    child: Child,
    questions: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
    folder: TempDir,
}

/// Who is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Judge {
    Pillow,
    Vips,
    /// A compositor of animations, written for this (`tests/oracle/hand.py`).
    Hand,
}

impl Judge {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Pillow => "pillow",
            Self::Vips => "vips",
            Self::Hand => "hand",
        }
    }
}

/// An honest file.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Case {
    pub(crate) name: String,
    #[serde(rename = "type")]
    pub(crate) media_type: String,
    pub(crate) path: PathBuf,
    pub(crate) kind: Kind,
    pub(crate) judges: Vec<Judge>,
    #[serde(default)]
    pub(crate) animated: bool,
    #[serde(default = "one")]
    pub(crate) pages: u32,
}

const fn one() -> u32 {
    1
}

/// How near two decoders come to each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Kind {
    /// Every sample.
    Exact,
    /// Sixteen bits to eight: one step.
    Rounded,
    /// Other rounding in transforms and in the interpolation of colours.
    Near,
    /// A profile was applied.
    Colour,
}

/// What the hostile corpus grows from.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Seed {
    pub(crate) name: String,
    #[serde(rename = "type")]
    pub(crate) media_type: String,
    pub(crate) path: PathBuf,
    pub(crate) bomb: bool,
}

/// A file that is two things.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Polyglot {
    pub(crate) name: String,
    #[serde(rename = "type")]
    pub(crate) media_type: String,
    pub(crate) path: PathBuf,
    payloads: Vec<String>,
}

impl Polyglot {
    /// What must not be published.
    pub(crate) fn payloads(&self) -> Vec<Vec<u8>> {
        self.payloads.iter().map(|payload| bytes_of(payload)).collect()
    }
}

fn bytes_of(hex: &str) -> Vec<u8> {
    let digits: Vec<_> = hex.chars().map(|digit| u8::try_from(digit.to_digit(16).unwrap()).unwrap()).collect();
    digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect()
}

/// What can be said of a file without its pixels.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(crate) struct Facts {
    pub(crate) width: u32,
    pub(crate) height: u32,
    pub(crate) frames: u32,
    /// In milliseconds.
    pub(crate) delays: Vec<u32>,
    #[serde(rename = "loop")]
    pub(crate) plays: Option<u32>,
}

/// How far two files are apart, in the worst of their frames.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Distance {
    pub(crate) a: Facts,
    pub(crate) b: Facts,
    /// In decibels, 100 for the same.
    pub(crate) psnr: f64,
    /// CIE 1976, mean.
    pub(crate) delta_e: f64,
    /// CIE 1976, of all but the worst hundredth of the pixels.
    pub(crate) delta_e_99: f64,
    /// The largest difference of a sample, as shown on black or white.
    pub(crate) sample: u32,
    /// The largest difference of alpha.
    pub(crate) alpha: u32,
    /// How far Pillow's encoder gets, where it was asked for.
    pub(crate) reference: Option<Reference>,
}

/// How far another encoder is from the same file.
#[derive(Debug, Clone, Copy, Deserialize)]
pub(crate) struct Reference {
    pub(crate) psnr: f64,
    pub(crate) delta_e: f64,
}

/// Settings with which Pillow's encoder does what ours did; none for formats that lose nothing.
pub(crate) fn rival(became: &str, quality: u8) -> Value {
    match became {
        "jpeg" => {
            let subsampling = if quality < 90 { "4:2:0" } else { "4:4:4" };
            json!({ "format": "JPEG", "quality": quality, "subsampling": subsampling })
        }
        "webp" => json!({ "format": "WEBP", "quality": quality }),
        _ => Value::Null,
    }
}

/// Why there is no distance.
#[derive(Debug, Clone)]
pub(crate) enum Unseen {
    /// The judge does not decode the input.
    Input(String),
    /// The judge does not decode the output, or it has another size or number of frames.
    Output(String),
}

impl Oracle {
    /// Starts one.
    pub(crate) fn start() -> Self {
        let python = std::env::var_os("LAZARET_TEST_PYTHON")
            .expect("LAZARET_TEST_PYTHON is a Python with Pillow and pyvips: run `cargo xtask test`");
        let mut child = Command::new(python)
            .args(["-B", SCRIPT])
            .env("VIPS_CONCURRENCY", "1")
            // A hostile file makes decoders complain at length; their answer is what counts.
            .env("VIPS_WARNING", "0")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let questions = child.stdin.take();
        let answers = BufReader::new(child.stdout.take().unwrap());
        Self { child, questions, answers, folder: tempfile::tempdir().unwrap() }
    }

    fn ask(&mut self, question: &Value) -> Value {
        let questions = self.questions.as_mut().unwrap();
        writeln!(questions, "{question}").unwrap();
        questions.flush().unwrap();
        let mut line = String::new();
        self.answers.read_line(&mut line).unwrap();
        assert!(!line.is_empty(), "the oracle ended at {question}");
        serde_json::from_str(&line).unwrap()
    }

    fn list<T: DeserializeOwned>(&mut self, question: &Value) -> Vec<T> {
        serde_json::from_value(self.ask(question)).unwrap()
    }

    /// One file for every way in which these formats can carry an image.
    pub(crate) fn cases(&mut self, families: &[&str]) -> Vec<Case> {
        let folder = self.folder.path().to_owned();
        self.list(&json!({ "op": "cases", "folder": folder, "families": families }))
    }

    /// Small honest files, and bombs.
    pub(crate) fn seeds(&mut self) -> Vec<Seed> {
        let folder = self.folder.path().to_owned();
        self.list(&json!({ "op": "seeds", "folder": folder }))
    }

    /// Files that are two things at once.
    pub(crate) fn polyglots(&mut self) -> Vec<Polyglot> {
        let folder = self.folder.path().to_owned();
        self.list(&json!({ "op": "polyglots", "folder": folder }))
    }

    /// These bytes as a file of that name.
    pub(crate) fn file(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.folder.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        path
    }

    /// How far the second file is from the first after what `done_to_it` says (`background`, `first`, `fit`,
    /// `strict`, `encoder`: see the script).
    pub(crate) fn compare(
        &mut self,
        judge: Judge,
        input: &Path,
        output: &Path,
        done_to_it: &Value,
    ) -> Result<Distance, Unseen> {
        let mut question = json!({ "op": "compare", "by": judge.name(), "a": input, "b": output });
        question.as_object_mut().unwrap().extend(done_to_it.as_object().unwrap().clone());
        let answer = self.ask(&question);
        let Some(error) = answer.get("error") else { return Ok(serde_json::from_value(answer).unwrap()) };
        let error = error.as_str().unwrap().to_owned();
        Err(if answer["side"] == "a" { Unseen::Input(error) } else { Unseen::Output(error) })
    }

    /// What the compressed chunks of a PNG hold.
    pub(crate) fn inflated(&mut self, png: &Path) -> Vec<u8> {
        let to = self.folder.path().join("inflated");
        self.ask(&json!({ "op": "inflated", "path": png, "to": to }));
        std::fs::read(to).unwrap()
    }
}

/// The process ends with its input.
impl Drop for Oracle {
    fn drop(&mut self) {
        drop(self.questions.take());
        if let Err(error) = self.child.wait() {
            eprintln!("the oracle cannot be waited for: {error}");
        }
    }
}
