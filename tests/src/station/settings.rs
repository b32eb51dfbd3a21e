//! The settings file of a station.

use std::{fmt::Write as _, net::SocketAddr, path::Path};

use anyhow::Result;

use crate::{
    queue::{Bus, Queue},
    servers::{ACCESS_KEY_ID, SECRET_ACCESS_KEY, Servers},
};

/// What the settings name.
pub(super) struct Parts<'a> {
    pub(super) servers: &'a Servers,
    pub(super) bucket: &'a str,
    pub(super) bus: Bus,
    pub(super) queue: &'a Queue,
    pub(super) dead_letters: &'a Queue,
    pub(super) database: &'a str,
    pub(super) listen: SocketAddr,
    pub(super) folder: &'a Path,
}

pub(super) fn text(parts: &Parts<'_>) -> Result<String> {
    let Parts { servers, bucket, database, listen, .. } = parts;
    let folder = parts.folder.display();
    let mut text = String::new();
    write!(
        text,
        r#"[storage]
bucket = "{bucket}"
endpoint = "{s3}"
force_path_style = true
access_key_id = "{ACCESS_KEY_ID}"
secret_access_key = "{SECRET_ACCESS_KEY}"

[sessions]
url = "{database}"

[worker]
concurrency = 4
lease = "10s"
spool_dir = "{folder}/spool"

[[scanner]]
name = "clamd"
kind = "clamd"
address = "unix:{clamd}"
max_size = "1900MiB"

[sweeper]
interval = "1h"

[telemetry]
listen = "{listen}"

[queue]
"#,
        s3 = servers.s3,
        clamd = servers.clamd_socket.display(),
    )?;
    match parts.bus {
        Bus::Sqs => write!(
            text,
            r#"kind = "sqs"

[queue.sqs]
url = "{queue}"
endpoint = "{sqs}"
wait_time = "1s"
visibility_timeout = "10s"
dead_letter_url = "{dead_letters}"
"#,
            queue = parts.queue.name(),
            sqs = servers.sqs,
            dead_letters = parts.dead_letters.name(),
        )?,
        Bus::Amqp => write!(
            text,
            r#"kind = "amqp"

[queue.amqp]
url = "{url}"
queue = "{queue}"
"#,
            url = servers.amqp,
            queue = parts.queue.name(),
        )?,
    }
    Ok(text)
}
