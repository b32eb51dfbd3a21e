//! The store over a real loopback socket, through the SDK that the pipeline uses and, where a client has to
//! misbehave, over plain HTTP.

mod bodies;
mod contract;
mod keys;
mod listing;
mod multipart;
mod objects;
mod recovery;
mod signatures;

use std::fmt::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use aws_sdk_s3::Client;
use aws_sdk_s3::config::{BehaviorVersion, Credentials, Region, RequestChecksumCalculation};
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_s3::presigning::PresigningConfig;
use aws_sdk_s3::primitives::ByteStream;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::{CompletedUpload, DirStore};
use crate::dev::server::serve;

const BUCKET: &str = "uploads";
const ACCESS_KEY: &str = "LAZARETDEV";
const SECRET_KEY: &str = "a-secret-of-this-test";

/// A store that is being served.
struct Endpoint {
    client: Client,
    address: SocketAddr,
    completed: Arc<Mutex<Vec<CompletedUpload>>>,
    stop: CancellationToken,
    server: JoinSet<()>,
    root: PathBuf,
    folder: Option<TempDir>,
}

impl Endpoint {
    async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut endpoint = Self::over(folder.path()).await;
        endpoint.folder = Some(folder);
        endpoint
    }

    async fn over(root: &Path) -> Self {
        let completed = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&completed);
        let store = DirStore::open(root, move |upload| seen.lock().unwrap().push(upload)).unwrap();
        store.ensure_bucket(BUCKET).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let stop = CancellationToken::new();
        let mut server = JoinSet::new();
        let stopped = stop.clone();
        server.spawn(async move {
            serve(listener, store, ACCESS_KEY.to_owned(), SECRET_KEY.to_owned(), stopped).await.unwrap();
        });
        Self { client: client(address), address, completed, stop, server, root: root.to_owned(), folder: None }
    }

    /// Ends the server and frees the directory.
    async fn stop(mut self) {
        self.stop.cancel();
        self.server.join_next().await.unwrap().unwrap();
    }

    async fn put(&self, key: &str, body: impl Into<Vec<u8>>) -> String {
        let body = ByteStream::from(body.into());
        let put = self.client.put_object().bucket(BUCKET).key(key).body(body).send().await.unwrap();
        put.e_tag.unwrap()
    }

    async fn get(&self, key: &str) -> Option<Vec<u8>> {
        match self.client.get_object().bucket(BUCKET).key(key).send().await {
            Ok(found) => Some(found.body.collect().await.unwrap().to_vec()),
            Err(error) => {
                assert_eq!(code(&error), "NoSuchKey");
                None
            }
        }
    }

    /// Path and query of a pre-signed PUT.
    async fn presigned_put(&self, key: &str) -> String {
        let put = self.client.put_object().bucket(BUCKET).key(key);
        let signed = put.presigned(PresigningConfig::expires_in(Duration::from_mins(1)).unwrap()).await.unwrap();
        self.path_of(signed.uri())
    }

    fn path_of(&self, uri: &str) -> String {
        uri.strip_prefix(&format!("http://{}", self.address)).unwrap().to_owned()
    }

    async fn raw(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Raw {
        let mut stream = self.begin(method, path, headers, body.len()).await;
        stream.write_all(body).await.unwrap();
        Raw::read(stream).await
    }

    /// Sends the head of a request; the body is the caller's business.
    async fn begin(&self, method: &str, path: &str, headers: &[(&str, &str)], length: usize) -> TcpStream {
        let mut head = format!("{method} {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n", self.address);
        for (name, value) in headers {
            write!(head, "{name}: {value}\r\n").unwrap();
        }
        write!(head, "Content-Length: {length}\r\n\r\n").unwrap();
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        stream.write_all(head.as_bytes()).await.unwrap();
        stream
    }

    fn staged_files(&self) -> usize {
        std::fs::read_dir(self.root.join("staging")).unwrap().count()
    }

    fn completed(&self) -> Vec<CompletedUpload> {
        self.completed.lock().unwrap().clone()
    }
}

struct Raw {
    status: u16,
    head: String,
    body: Vec<u8>,
}

impl Raw {
    async fn read(mut stream: TcpStream) -> Self {
        let mut answer = Vec::new();
        // The server may reset the connection where it refuses a body that it has not read.
        drop(stream.read_to_end(&mut answer).await);
        let end = answer.windows(4).position(|window| window == b"\r\n\r\n").expect("an answer");
        let head = String::from_utf8(answer[..end].to_vec()).unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        Self { status, head: head.to_ascii_lowercase(), body: answer[end + 4..].to_vec() }
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

fn client(address: SocketAddr) -> Client {
    Client::from_conf(settings(address).build())
}

/// A client that sends no checksum of its own accord.
fn plain_client(address: SocketAddr) -> Client {
    let settings = settings(address).request_checksum_calculation(RequestChecksumCalculation::WhenRequired);
    Client::from_conf(settings.build())
}

fn settings(address: SocketAddr) -> aws_sdk_s3::config::Builder {
    aws_sdk_s3::Config::builder()
        .behavior_version(BehaviorVersion::v2026_01_12())
        .region(Region::new("eu-central-1"))
        .credentials_provider(Credentials::new(ACCESS_KEY, SECRET_KEY, None, None, "test"))
        .endpoint_url(format!("http://{address}"))
        .force_path_style(true)
        .retry_config(aws_sdk_s3::config::retry::RetryConfig::disabled())
}

/// The S3 error code, or the HTTP status where there is no body to hold one.
fn code<E: ProvideErrorMetadata>(error: &SdkError<E>) -> String {
    let service = error.as_service_error().and_then(ProvideErrorMetadata::code);
    let status = error.raw_response().map(|response| response.status().to_string());
    service.map(str::to_owned).or(status).unwrap_or_else(|| "no answer".to_owned())
}

fn bytes(length: usize, seed: u8) -> Vec<u8> {
    (0..length).map(|at| (at.wrapping_mul(31) >> 3).to_le_bytes()[0] ^ seed).collect()
}

/// Waits for a condition that another task brings about.
async fn until(what: &str, condition: impl Fn() -> bool) {
    let wait = async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), wait).await.unwrap_or_else(|_| panic!("never: {what}"));
}
