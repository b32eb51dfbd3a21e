//! The folder of `lazaret dev`: credentials that stay, settings that are written anew at each start.

use std::{
    fs::{self, File},
    io::{ErrorKind, Read, Write},
    net::SocketAddr,
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, anyhow};
use lazaret_core::{BucketName, Prefix};
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use toml::{Table, Value, toml};

use crate::settings::{Scanner, Secret};

const SETTINGS: &str = "lazaret.toml";
const HEADER: &str = "# Written by `lazaret dev` at each start: changes are lost, except for the credentials.\n\
                      # Other settings go into the environment, LAZARET__WORKER__CONCURRENCY=2 lazaret dev, or\n\
                      # into a file of your own: lazaret dev --config FILE\n\n";
/// What a settings file of the user's own decides: what becomes of an upload. Where things are is this folder's.
const TAKEN: [&str; 6] = ["policy", "scanner", "limits", "worker", "sandbox", "sweeper"];
/// What a path may not hold inside a database URL.
const URL_SPECIAL: &AsciiSet = &CONTROLS.add(b'%').add(b'?').add(b'#').add(b' ');

/// The bucket of `lazaret dev`.
pub(super) fn bucket() -> BucketName {
    // A constant that satisfies the rules of a bucket's name.
    #[expect(clippy::expect_used, reason = "a constant")]
    "uploads".parse().expect("a valid bucket name")
}

/// Where clients of `lazaret dev` upload to.
pub(super) fn quarantine_prefix() -> Prefix {
    // A constant that satisfies the rules of a prefix.
    #[expect(clippy::expect_used, reason = "a constant")]
    "quarantine/".parse().expect("a valid prefix")
}

/// What clients sign with.
pub(super) struct Credentials {
    pub(super) access_key_id: String,
    pub(super) secret_access_key: Secret,
}

/// The folder.
pub(super) struct Home {
    pub(super) folder: PathBuf,
    pub(super) credentials: Credentials,
}

/// What each start may change.
pub(super) struct Addresses<'a> {
    pub(super) endpoint: &'a str,
    pub(super) telemetry: SocketAddr,
    pub(super) clamd: &'a Scanner,
}

impl Home {
    /// Makes the folder where it is missing, and finds its credentials or draws new ones.
    pub(super) fn open(folder: &Path) -> Result<Self> {
        let unusable = || format!("the folder {} cannot be used; choose another with --data-dir", folder.display());
        fs::DirBuilder::new().recursive(true).mode(0o700).create(folder).with_context(unusable)?;
        let folder = folder.canonicalize().with_context(unusable)?;
        let credentials = match known(&folder.join(SETTINGS))? {
            Some(credentials) => credentials,
            None => draw()?,
        };
        Ok(Self { folder, credentials })
    }

    /// Writes the settings that every other command uses, readable by their owner only; with those of `file` that
    /// decide of an upload.
    pub(super) fn write_settings(&self, file: Table, addresses: &Addresses<'_>) -> Result<PathBuf> {
        let path = self.folder.join(SETTINGS);
        let text = format!("{HEADER}{}", toml::to_string(&self.settings(file, addresses)?)?);
        let unwritable = || format!("{} cannot be written", path.display());
        let draft = self.folder.join(".lazaret.toml.new");
        let mut file = File::options()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&draft)
            .with_context(unwritable)?;
        file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).with_context(unwritable)?;
        fs::rename(&draft, &path).with_context(unwritable)?;
        Ok(path)
    }

    fn settings(&self, file: Table, addresses: &Addresses<'_>) -> Result<Table> {
        let mut settings = toml! {
            [storage]
            region = "us-east-1"
            force_path_style = true

            [queue]
            kind = "embedded"

            [sessions]

            [worker]

            [limits]
            max_object_size = "1GiB"

            [telemetry]
            log = "pretty"
        };
        for (name, value) in file.into_iter().filter(|(name, _)| TAKEN.contains(&name.as_str())) {
            match (settings.get_mut(&name), value) {
                (Some(Value::Table(own)), Value::Table(section)) => own.extend(section),
                (_, value) => {
                    settings.insert(name, value);
                }
            }
        }
        let database = self.folder.join("lazaret.db").display().to_string();
        let credentials = &self.credentials;
        for (section, key, value) in [
            ("storage", "bucket", bucket().to_string()),
            ("storage", "quarantine_prefix", quarantine_prefix().to_string()),
            ("storage", "endpoint", addresses.endpoint.to_owned()),
            ("storage", "access_key_id", credentials.access_key_id.clone()),
            ("storage", "secret_access_key", credentials.secret_access_key.expose().to_owned()),
            ("sessions", "url", format!("sqlite:{}", utf8_percent_encode(&database, URL_SPECIAL))),
            ("worker", "spool_dir", self.folder.join("spool").display().to_string()),
            ("telemetry", "listen", addresses.telemetry.to_string()),
        ] {
            if let Some(Value::Table(section)) = settings.get_mut(section) {
                section.insert(key.to_owned(), Value::String(value));
            }
        }
        let clamd = Table::try_from(addresses.clamd)?;
        let Some(scanners) = settings.get_mut("scanner") else {
            settings.insert("scanner".to_owned(), Value::Array(vec![Value::Table(clamd)]));
            return Ok(settings);
        };
        // The one that is here is asked for every one that is named.
        for scanner in scanners.as_array_mut().into_iter().flatten().filter_map(Value::as_table_mut) {
            if scanner.get("kind") == clamd.get("kind") {
                scanner.extend(clamd.get("address").map(|address| ("address".to_owned(), address.clone())));
            }
        }
        Ok(settings)
    }
}

/// The credentials of an earlier start. New ones, and settings written anew, only where there are none: what cannot be
/// read may be what clients sign with.
fn known(path: &Path) -> Result<Option<Credentials>> {
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error).with_context(|| format!("{} cannot be read", path.display())),
    };
    let start_anew = || format!("correct or remove {}: a new one is written with new credentials", path.display());
    let settings: Table = toml::from_str(&text).with_context(start_anew)?;
    let text = |key| {
        let value = settings.get("storage")?.get(key)?;
        value.as_str().filter(|text| !text.is_empty()).map(str::to_owned)
    };
    let needed = |key| text(key).ok_or_else(|| anyhow!("there is no storage.{key}")).with_context(start_anew);
    Ok(Some(Credentials {
        access_key_id: needed("access_key_id")?,
        secret_access_key: Secret::new(needed("secret_access_key")?),
    }))
}

fn draw() -> Result<Credentials> {
    let mut bytes = [0; 30];
    File::open("/dev/urandom").and_then(|mut source| source.read_exact(&mut bytes)).context("no randomness")?;
    let (id, secret) = bytes.split_at(10);
    Ok(Credentials { access_key_id: hex::encode_upper(id), secret_access_key: Secret::new(hex::encode(secret)) })
}

#[cfg(test)]
mod tests {
    use std::{num::NonZero, os::unix::fs::PermissionsExt};

    use super::*;
    use crate::settings::Settings;

    #[test]
    fn settings_that_cannot_be_read_are_neither_passed_over_nor_overwritten() {
        let scratch = tempfile::tempdir().unwrap();
        let path = scratch.path().join(SETTINGS);
        for bytes in [&b"[storage"[..], b"\xff", b"", b"[storage]\naccess_key_id = \"A\"\nsecret_access_key = \"\"\n"] {
            fs::write(&path, bytes).unwrap();
            let Err(error) = Home::open(scratch.path()) else { panic!("{bytes:?} gave new credentials") };
            assert!(error.to_string().contains(path.to_str().unwrap()), "{error}");
            assert_eq!(fs::read(&path).unwrap(), bytes);
        }
    }

    #[test]
    fn settings_are_valid_private_and_keep_the_credentials() {
        let scratch = tempfile::tempdir().unwrap();
        let folder = scratch.path().join("100% of a path?");
        let clamd: Scanner =
            toml::from_str("name = \"clamd\"\nkind = \"clamd\"\naddress = \"unix:/x\"\nmax_size = \"2000MiB\"")
                .unwrap();
        let addresses = |endpoint| Addresses { endpoint, telemetry: "127.0.0.1:1234".parse().unwrap(), clamd: &clamd };
        let first = Home::open(&folder).unwrap();
        let path = first.write_settings(Table::new(), &addresses("http://127.0.0.1:9000")).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let again = Home::open(&folder).unwrap();
        assert_eq!(again.credentials.access_key_id, first.credentials.access_key_id);
        again.write_settings(Table::new(), &addresses("http://127.0.0.1:9001")).unwrap();
        let text = fs::read_to_string(&path).unwrap();
        let settings = Settings::parse(&text, &path, std::iter::empty()).unwrap();
        assert_eq!(settings.storage.endpoint.unwrap().as_str(), "http://127.0.0.1:9001/");
        assert_eq!(settings.storage.secret_access_key, Some(first.credentials.secret_access_key));
        assert_eq!(settings.sessions.sqlite_path().unwrap(), first.folder.join("lazaret.db"));
        assert_eq!(settings.scanners[0].max_size.to_string(), "2000MiB");
    }

    #[test]
    fn a_file_of_the_users_own_says_what_becomes_of_an_upload_and_not_where_it_is() {
        let scratch = tempfile::tempdir().unwrap();
        let clamd: Scanner = toml::from_str("name = \"clamd\"\nkind = \"clamd\"\naddress = \"unix:/x\"").unwrap();
        let addresses = Addresses {
            endpoint: "http://127.0.0.1:9000",
            telemetry: "127.0.0.1:1234".parse().unwrap(),
            clamd: &clamd,
        };
        let file = toml! {
            [storage]
            bucket = "elsewhere"

            [sessions]
            url = "postgres://elsewhere/db"

            [worker]
            concurrency = 3
            spool_dir = "/elsewhere"

            [limits]
            max_object_size = "5MiB"

            [events]
            kind = "webhook"

            [[scanner]]
            name = "first"
            kind = "clamd"
            address = "tcp:elsewhere:3310"
            timeout = "7s"

            [[scanner]]
            name = "mine"
            kind = "icap"
            url = "icap://127.0.0.1:1344/scan"

            [[policy]]
            name = "images"
            types = ["image/png"]
            action = "re-encode"
            scanners = ["first", "mine"]
            output = "webp"
        };
        let home = Home::open(scratch.path()).unwrap();
        let path = home.write_settings(file, &addresses).unwrap();
        let settings = Settings::parse(&fs::read_to_string(&path).unwrap(), &path, std::iter::empty()).unwrap();
        let [policy] = &*settings.policies() else { panic!("{:?}", settings.policies()) };
        assert_eq!(policy.name, "images");
        assert_eq!(settings.worker.concurrency.map(NonZero::get), Some(3));
        assert_eq!(settings.worker.spool_dir, Some(home.folder.join("spool")));
        assert_eq!(settings.limits.max_object_size.to_string(), "5MiB");
        assert_eq!(settings.storage.bucket, bucket());
        assert_eq!(settings.sessions.sqlite_path().unwrap(), home.folder.join("lazaret.db"));
        assert!(settings.events.webhook.is_none());
        let scanners: Vec<_> = fs::read_to_string(&path).unwrap().parse::<Table>().unwrap()["scanner"]
            .as_array()
            .unwrap()
            .iter()
            .map(|scanner| (scanner["name"].to_string(), scanner.get("address").map(ToString::to_string)))
            .collect();
        let own = Some("\"unix:/x\"".to_owned());
        assert_eq!(scanners, [("\"first\"".to_owned(), own), ("\"mine\"".to_owned(), None)]);
        assert_eq!(settings.scanners[0].timeout.get().as_secs(), 7);
    }
}
