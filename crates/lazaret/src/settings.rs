//! Settings: a TOML file, the environment over it, defaults below it.
//!
//! A key that nobody knows is an error that names it, wherever it came from. What is not in a file and not in the
//! environment has a default, except for what only its owner can know: the bucket, the queue and the database.

mod error;
mod events;
mod image;
mod lookup;
mod overlay;
mod period;
mod policy;
mod private_url;
mod queue;
mod rules;
mod scanner;
mod secret;
mod sessions;
mod shown;
mod size;
mod storage;
mod telemetry;
#[cfg(test)]
mod tests;
mod work;

use std::{
    borrow::Cow,
    env, fs,
    path::{Path, PathBuf},
};

use lazaret_core::PolicySet;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use toml::{Table, Value};

pub use error::SettingsError;
pub use events::{AmqpEvents, Events, EventsKind, SnsEvents, SqsEvents, WebhookEvents};
pub use image::Rgb;
pub use period::Period;
pub use policy::Policy;
pub use private_url::PrivateUrl;
pub use queue::{Amqp, Queue, QueueKind, Sqs};
pub use scanner::{Canaries, ClamdAddress, ClamdAddresses, IcapMethod, IcapUrl, Scanner, ScannerKind};
pub use secret::Secret;
pub use sessions::Sessions;
pub(crate) use shown::without_passwords;
pub use size::Size;
pub use storage::{Checksums, ServerSideEncryption, Storage};
pub use telemetry::{LogFormat, Telemetry};
pub use work::{Limits, Sandbox, Sweeper, Worker};

use overlay::Variable;

/// Passwords of at least this many characters are masked wherever they stand in a log.
const LEAST_PASSWORD: usize = 6;

/// All settings.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(title = "Settings of Lazaret")]
pub struct Settings {
    /// The object store.
    pub storage: Storage,
    /// Where object-created events come from.
    pub queue: Queue,
    /// The session database.
    pub sessions: Sessions,
    /// The worker.
    #[serde(default)]
    pub worker: Worker,
    /// What an upload may be.
    #[serde(default)]
    pub limits: Limits,
    /// Engines that look for malware.
    #[serde(default, rename = "scanner")]
    pub scanners: Vec<Scanner>,
    /// Rules by detected type, tried in order. Left out: images are re-encoded and common documents pass as they are.
    #[serde(rename = "policy")]
    pub policies: Option<Vec<Policy>>,
    /// What one transform may cost.
    #[serde(default)]
    pub sandbox: Sandbox,
    /// The clean-up.
    #[serde(default)]
    pub sweeper: Sweeper,
    /// Where verdict events go.
    #[serde(default)]
    pub events: Events,
    /// Logs, metrics, traces.
    #[serde(default)]
    pub telemetry: Telemetry,
}

/// Settings, and the file they came from.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// The file.
    pub path: PathBuf,
    /// What it says, with the environment over it.
    pub settings: Settings,
}

impl Settings {
    /// The settings of this process: `named`, or the first of `./lazaret.toml` and `./lazaret-data/lazaret.toml`, with
    /// the environment over it.
    pub fn load(named: Option<&Path>) -> Result<Loaded, SettingsError> {
        let path = lookup::find(named, Path::new("."))?;
        let text =
            fs::read_to_string(&path).map_err(|cause| SettingsError::Unreadable { path: path.clone(), cause })?;
        let settings = Self::parse(&text, &path, environment())?;
        Ok(Loaded { path, settings })
    }

    /// What a settings file says, before anything is asked of it but that it is TOML.
    pub(crate) fn read_table(path: &Path) -> Result<Table, SettingsError> {
        let text =
            fs::read_to_string(path).map_err(|cause| SettingsError::Unreadable { path: path.to_owned(), cause })?;
        toml::from_str(&text).map_err(|error| syntax(&error, &text, path))
    }

    /// Settings from the text of the file `path` and the variables of an environment.
    pub fn parse(
        text: &str,
        path: &Path,
        environment: impl Iterator<Item = (String, String)>,
    ) -> Result<Self, SettingsError> {
        let file: Table = toml::from_str(text).map_err(|error| syntax(&error, text, path))?;
        let settings: Self = read(&file, overlay::collect(environment), path)?;
        rules::check(&settings)?;
        Ok(settings)
    }

    /// The policies that hold: those of the file, or the built-in ones with every scanner.
    pub fn policies(&self) -> Cow<'_, [Policy]> {
        self.policies.as_deref().map_or_else(
            || {
                let names: Vec<_> = self.scanners.iter().map(|scanner| scanner.name.clone()).collect();
                Cow::Owned(policy::built_in(&names))
            },
            Cow::Borrowed,
        )
    }

    /// The policies as the pipeline takes them.
    pub fn policy_set(&self) -> PolicySet {
        PolicySet::new(self.policies().iter().map(Policy::to_core).collect())
    }

    /// The JSON Schema of the settings file.
    pub fn schema() -> schemars::Schema {
        schemars::schema_for!(Settings)
    }

    /// The settings for people and programs to look at, without secrets and without passwords in URLs.
    pub fn shown(&self) -> Result<serde_json::Value, serde_json::Error> {
        let mut value = serde_json::to_value(self)?;
        shown::mask(&mut value);
        Ok(value)
    }

    /// Every text that must never be seen in a log.
    pub fn secrets(&self) -> Vec<String> {
        let keys =
            self.storage.secret_access_key.iter().chain(self.events.webhook.iter().map(|webhook| &webhook.secret));
        let brokers = self.queue.amqp.iter().map(|amqp| &amqp.url).chain(self.events.amqp.iter().map(|amqp| &amqp.url));
        let private = brokers.chain([&self.sessions.url]).flat_map(PrivateUrl::passwords);
        let public = [&self.storage.endpoint, &self.telemetry.otlp_endpoint].into_iter().flatten();
        let public = public.chain(self.events.webhook.iter().map(|webhook| &webhook.url));
        let passwords = private.chain(public.flat_map(|url| private_url::passwords(Some(url)))).flat_map(|password| {
            // A short one may be part of any word: it is masked where it stands in a URL.
            let alone = (password.chars().count() >= LEAST_PASSWORD).then(|| password.clone());
            [format!(":{password}@")].into_iter().chain(alone)
        });
        keys.map(|key| key.expose().to_owned()).chain(passwords).collect()
    }
}

impl Telemetry {
    /// `default` with the environment over it: for `lazaret dev`, which logs before it writes its settings.
    pub fn from_environment(default: &Self) -> Result<Self, SettingsError> {
        #[derive(Serialize, Deserialize)]
        struct Section<T> {
            telemetry: T,
        }
        let path = Path::new("lazaret dev");
        let file = Table::try_from(Section { telemetry: default })
            .map_err(|error| SettingsError::rule("telemetry", error.to_string()))?;
        let mut variables = overlay::collect(environment());
        variables.retain(|variable| variable.key().starts_with("telemetry."));
        Ok(read::<Section<Self>>(&file, variables, path)?.telemetry)
    }
}

/// A variable that is not Unicode is none of ours: every name of ours is ASCII and every value text.
fn environment() -> impl Iterator<Item = (String, String)> {
    env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
}

/// The file with the variables over it.
fn read<T: DeserializeOwned>(file: &Table, mut variables: Vec<Variable>, path: &Path) -> Result<T, SettingsError> {
    let mut typed: Option<(String, toml::de::Error)> = None;
    loop {
        let mut table = file.clone();
        for variable in &variables {
            overlay::apply(&mut table, variable)?;
        }
        let error = match serde_path_to_error::deserialize(Value::Table(table)) {
            Ok(settings) => return Ok(settings),
            Err(error) => error,
        };
        let key = error.path().to_string();
        let error = error.into_inner();
        // `12345` may be a number or a name of digits: the setting decides.
        let blamed = variables.iter_mut().find(|variable| variable.key() == dotted(&key));
        if blamed.is_some_and(Variable::make_literal) {
            typed = Some((key, error));
            continue;
        }
        // Where text is of the wrong type, too, the number was what the setting wants, and it was a wrong one.
        let error = match typed {
            Some((of, first)) if of == key && error.message().starts_with("invalid type") => first,
            Some(_) | None => error,
        };
        return Err(shape(&key, &error, file, path, &variables));
    }
}

/// Paths of serde write `scanner[0].name`, those of the environment `scanner.0.name`.
fn dotted(path: &str) -> String {
    path.replace('[', ".").replace(']', "")
}

/// The variable that brought what stands at `key`, if the environment did: it set the key itself, something below a
/// key that the file does not have, or the whole that the key is in.
fn culprit<'a>(key: &str, file: &Table, variables: &'a [Variable]) -> Option<&'a Variable> {
    let key = dotted(key);
    let mut parts = key.split('.');
    let top = parts.next().and_then(|part| file.get(part));
    let in_file = top.and_then(|top| {
        parts.try_fold(top, |at, part| part.parse::<usize>().map_or_else(|_| at.get(part), |index| at.get(index)))
    });
    let below = |outer: &str, inner: &str| inner.strip_prefix(outer).is_some_and(|rest| rest.starts_with('.'));
    variables
        .iter()
        .find(|variable| variable.key() == key)
        .or_else(|| variables.iter().find(|variable| in_file.is_none() && below(&key, &variable.key())))
        .or_else(|| variables.iter().rev().find(|variable| below(&variable.key(), &key)))
}

fn syntax(error: &toml::de::Error, text: &str, path: &Path) -> SettingsError {
    let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
    SettingsError::Syntax {
        path: path.to_owned(),
        line: before.matches('\n').count() + 1,
        column: before.rsplit('\n').next().map_or(0, |line| line.chars().count()) + 1,
        message: error.message().trim().replace('\n', ", "),
    }
}

fn shape(key: &str, error: &toml::de::Error, file: &Table, path: &Path, variables: &[Variable]) -> SettingsError {
    SettingsError::Shape {
        origin: culprit(key, file, variables)
            .map_or_else(|| path.display().to_string(), |variable| format!("environment variable {}", variable.name)),
        key: if key == "." { "the file".to_owned() } else { key.to_owned() },
        message: without_passwords(&error.message().trim().replace('\n', ", ")),
    }
}
