//! RabbitMQ, with a port mapper (epmd) of its own.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;

use anyhow::{Context, Result};

use super::server::{Recipe, free_address, listens, says};
use crate::child::{self, StopWith};
use crate::packages::{self, RABBITMQ_SERVER};

const NODE: &str = "lazaret-test@localhost";

/// Erlang starts one that outlives everybody where none listens; this one ends with us.
pub(super) fn epmd() -> Recipe {
    Recipe {
        name: "epmd",
        command: Box::new(|address| {
            let program = packages::find("epmd").context("epmd, a part of Erlang, is not there")?;
            let mut command = child::command(program);
            command.args(["-port", &address.port().to_string(), "-address", &address.ip().to_string()]);
            Ok(command)
        }),
        answers: Box::new(listens),
        stop_with: StopWith::Term,
    }
}

pub(super) fn recipe(folder: &Path, epmd: SocketAddr) -> Result<Recipe> {
    let home = folder.join("rabbitmq");
    fs::create_dir_all(&home)?;
    fs::write(home.join("empty"), "")?;
    fs::write(home.join("enabled_plugins"), "[].\n")?;
    // A test machine's disk may be nearly full; nothing large is queued.
    fs::write(home.join("rabbitmq.conf"), "disk_free_limit.absolute = 10MB\n")?;
    Ok(Recipe {
        name: "rabbitmq",
        command: Box::new(move |address| {
            let ip = address.ip().to_string();
            let mut command = child::command_that_dies_with("KILL", RABBITMQ_SERVER);
            command
                .current_dir(&home)
                .env("HOME", &home)
                .env("ERL_EPMD_ADDRESS", epmd.ip().to_string())
                .env("ERL_EPMD_PORT", epmd.port().to_string())
                .env("RABBITMQ_NODENAME", NODE)
                .env("RABBITMQ_NODE_IP_ADDRESS", &ip)
                .env("RABBITMQ_NODE_PORT", address.port().to_string())
                .env("RABBITMQ_DIST_PORT", free_address()?.port().to_string())
                .env("RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS", "-kernel inet_dist_use_interface {127,0,0,1}")
                .env("RABBITMQ_CONF_ENV_FILE", home.join("empty"))
                .env("RABBITMQ_CONFIG_FILE", home.join("rabbitmq.conf"))
                .env("RABBITMQ_ADVANCED_CONFIG_FILE", home.join("none"))
                .env("RABBITMQ_ENABLED_PLUGINS_FILE", home.join("enabled_plugins"))
                .env("RABBITMQ_MNESIA_BASE", home.join("mnesia"))
                .env("RABBITMQ_GENERATED_CONFIG_DIR", home.join("generated"))
                .env("RABBITMQ_LOG_BASE", home.join("log"))
                .env("RABBITMQ_LOGS", "-")
                .env("RABBITMQ_PID_FILE", home.join("pid"))
                // The script becomes the Erlang machine: a signal to our child, the parent-death signal too, is one to
                // the broker itself.
                .env("RABBITMQ_ALLOW_INPUT", "1")
                .env("RABBITMQ_SERVER_START_ARGS", "-noinput");
            Ok(command)
        }),
        // The header of AMQP 0-9-1 is answered with a method frame on channel 0.
        answers: Box::new(|address| says(address, b"AMQP\x00\x00\x09\x01", &[1, 0, 0])),
        // An orderly stop takes seconds, and nobody needs its files.
        stop_with: StopWith::Kill,
    })
}
