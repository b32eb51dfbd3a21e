//! The servers that `cargo xtask test` started, and clients of our own for them.

use std::{
    env,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    path::PathBuf,
    sync::atomic::{AtomicU32, Ordering},
};

use anyhow::{Context, Result};
use aws_sdk_s3::config::{BehaviorVersion, Credentials, Region, RequestChecksumCalculation};

/// The one key that ministack believes in pre-signed URLs.
pub const ACCESS_KEY_ID: &str = "test";
/// Its secret.
pub const SECRET_ACCESS_KEY: &str = "test";

/// Ports below the range that the kernel hands out by itself, so that no connection of a neighbour takes one between
/// the look and the start.
const FIRST_PORT: u32 = 20_000;
const PORTS: u32 = 12_000;

/// Where the servers are.
#[derive(Debug, Clone)]
pub struct Servers {
    /// S3, as a URL.
    pub s3: String,
    /// SQS, as a URL.
    pub sqs: String,
    /// clamd's unix socket.
    pub clamd_socket: PathBuf,
    /// clamd's TCP port.
    pub clamd_tcp: SocketAddr,
    /// The folder of clamd's signatures.
    pub clamd_database: PathBuf,
    /// PostgreSQL, as the URL of a superuser.
    pub postgres: String,
    /// RabbitMQ, as a URL.
    pub amqp: String,
}

impl Servers {
    /// From the environment; a missing variable fails the test, it never skips it.
    pub fn from_environment() -> Result<Self> {
        Ok(Self {
            s3: variable("LAZARET_TEST_S3_ENDPOINT")?,
            sqs: variable("LAZARET_TEST_SQS_ENDPOINT")?,
            clamd_socket: variable("LAZARET_TEST_CLAMD_SOCKET")?.into(),
            clamd_tcp: variable("LAZARET_TEST_CLAMD_TCP")?.parse().context("LAZARET_TEST_CLAMD_TCP")?,
            clamd_database: variable("LAZARET_TEST_CLAMD_DATABASE")?.into(),
            postgres: variable("LAZARET_TEST_POSTGRES_URL")?,
            amqp: variable("LAZARET_TEST_AMQP_URL")?,
        })
    }
}

/// An S3 that ignores conditions and checksums, as a URL.
pub fn dishonest_s3() -> Result<String> {
    variable("LAZARET_TEST_DISHONEST_S3_ENDPOINT")
}

fn variable(name: &str) -> Result<String> {
    env::var(name).with_context(|| format!("{name} is not set: `cargo xtask test` starts the servers and sets it"))
}

/// A client for the S3 endpoint at `url`.
pub fn s3_client(url: &str, access_key_id: &str, secret_access_key: &str) -> aws_sdk_s3::Client {
    let config = aws_sdk_s3::Config::builder()
        .behavior_version(BehaviorVersion::v2026_01_12())
        .region(Region::new("us-east-1"))
        .endpoint_url(url)
        .force_path_style(true)
        .request_checksum_calculation(RequestChecksumCalculation::WhenRequired)
        .credentials_provider(Credentials::new(access_key_id, secret_access_key, None, None, "tests"))
        .build();
    aws_sdk_s3::Client::from_conf(config)
}

/// A client for the SQS endpoint at `url`.
pub fn sqs_client(url: &str) -> aws_sdk_sqs::Client {
    let config = aws_sdk_sqs::Config::builder()
        .behavior_version(aws_sdk_sqs::config::BehaviorVersion::v2026_01_12())
        .region(aws_sdk_sqs::config::Region::new("us-east-1"))
        .endpoint_url(url)
        .credentials_provider(aws_sdk_sqs::config::Credentials::new(
            ACCESS_KEY_ID,
            SECRET_ACCESS_KEY,
            None,
            None,
            "tests",
        ))
        .build();
    aws_sdk_sqs::Client::from_conf(config)
}

/// A free address on loopback.
pub fn free_address() -> Result<SocketAddr> {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    // Far from those of a process that was started just before.
    let start = std::process::id().wrapping_mul(0x9E37_79B1);
    for _ in 0..PORTS {
        let offset = (start % PORTS + NEXT.fetch_add(1, Ordering::Relaxed)) % PORTS;
        let port = u16::try_from(FIRST_PORT + offset)?;
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        if TcpListener::bind(address).is_ok() {
            return Ok(address);
        }
    }
    anyhow::bail!("no free port on loopback")
}
