//! ministack (S3, SQS, SNS) and moto (an S3 that ignores what it is asked to check).

use std::path::{Path, PathBuf};
use std::process::Command;

use super::server::{Recipe, says};
use crate::child::{self, StopWith};

pub(super) fn ministack(program: PathBuf, folder: &Path) -> Recipe {
    let folder = folder.to_owned();
    Recipe {
        name: "ministack",
        command: Box::new(move |address| {
            let mut command = of_nobody(&program, &folder);
            command
                .env("BIND_HOST", address.ip().to_string())
                .env("GATEWAY_PORT", address.port().to_string())
                .env("SERVICES", "s3,sqs,sns")
                // Its MQTT listener is on by default, on one fixed port.
                .env("IOT_MTLS_ENABLED", "0")
                .env("LOG_LEVEL", "WARNING")
                .env("S3_DATA_DIR", folder.join("s3"));
            Ok(command)
        }),
        answers: Box::new(|address| says(address, &get("/_ministack/health"), b"HTTP/1.1 200")),
        stop_with: StopWith::Term,
    }
}

pub(super) fn moto(program: PathBuf, folder: &Path) -> Recipe {
    let folder = folder.to_owned();
    Recipe {
        name: "moto",
        command: Box::new(move |address| {
            let mut command = of_nobody(&program, &folder);
            command.args(["-H", &address.ip().to_string(), "-p", &address.port().to_string()]);
            Ok(command)
        }),
        answers: Box::new(|address| says(address, &get("/moto-api/data.json"), b"HTTP/1.1 200")),
        stop_with: StopWith::Term,
    }
}

/// They would believe in the credentials of whoever runs the tests, and in no others.
fn of_nobody(program: &Path, folder: &Path) -> Command {
    let mut command = child::command(program);
    command.current_dir(folder).env("TMPDIR", folder);
    for name in ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"] {
        command.env_remove(name);
    }
    command
}

fn get(path: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").into_bytes()
}
