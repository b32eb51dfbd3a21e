//! Serving a [`DirStore`] over HTTP/1.1.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::GracefulShutdown;
use s3s::auth::{S3Auth, SecretKey};
use s3s::config::{S3Config, StaticConfigProvider};
use s3s::service::{S3Service, S3ServiceBuilder};
use s3s::{S3Result, s3_error};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::instrument::WithSubscriber;
use tracing::{Dispatch, debug, warn};

use super::store::DirStore;

/// How long open requests may take to end once `stop` is cancelled.
const GRACE: Duration = Duration::from_secs(5);
/// Until the next try when the process is out of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Serves `store` on `listener` until `stop` is cancelled; then waits for open requests, for 5 s at most, and cuts
/// what is left (an upload that is cut leaves nothing behind).
///
/// Every request needs a signature made with this access key: in its headers or, pre-signed, in its query.
pub async fn serve(
    listener: TcpListener,
    store: DirStore,
    access_key_id: String,
    secret_access_key: String,
    stop: CancellationToken,
) -> io::Result<()> {
    let service = service(store, access_key_id, secret_access_key);
    let graceful = GracefulShutdown::new();
    let mut connections = JoinSet::new();
    while let Some(accepted) = stop.run_until_cancelled(accept(&listener, &mut connections)).await {
        match accepted {
            Ok(stream) => {
                let connection = connection(stream, service.clone(), &graceful);
                connections.spawn(connection);
            }
            Err(error) => {
                warn!(error = &error as &dyn std::error::Error, "cannot accept an S3 connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    drop(listener);
    if tokio::time::timeout(GRACE, graceful.shutdown()).await.is_err() {
        warn!(requests = connections.len(), "S3 requests did not end in time and are cut");
    }
    connections.shutdown().await;
    Ok(())
}

/// The one access key, and the answer of AWS to any other.
struct OneKey {
    id: String,
    secret: SecretKey,
}

#[async_trait]
impl S3Auth for OneKey {
    async fn get_secret_key(&self, access_key: &str) -> S3Result<SecretKey> {
        if access_key == self.id {
            return Ok(self.secret.clone());
        }
        Err(s3_error!(InvalidAccessKeyId, "The AWS Access Key Id you provided does not exist in our records."))
    }
}

fn service(store: DirStore, access_key_id: String, secret_access_key: String) -> S3Service {
    let mut builder = S3ServiceBuilder::new(store);
    builder.set_auth(OneKey { id: access_key_id, secret: secret_access_key.into() });
    // Uploads by form are refused, and s3s would gather them in memory first.
    let mut config = S3Config::default();
    config.post_object_max_file_size = 0;
    builder.set_config(Arc::new(StaticConfigProvider::new(Arc::new(config))));
    builder.build()
}

/// The next connection; ended ones are reaped meanwhile.
async fn accept(listener: &TcpListener, connections: &mut JoinSet<()>) -> io::Result<TcpStream> {
    loop {
        tokio::select! {
            accepted = listener.accept() => return accepted.map(|(stream, _peer)| stream),
            Some(ended) = connections.join_next() => {
                if let Err(error) = ended {
                    warn!(error = &error as &dyn std::error::Error, "an S3 connection failed");
                }
            }
        }
    }
}

/// s3s logs whole requests, signatures and all, so it runs without a log; the store writes its own.
fn connection(
    stream: TcpStream,
    service: S3Service,
    graceful: &GracefulShutdown,
) -> impl Future<Output = ()> + Send + 'static {
    let builder = auto::Builder::new(TokioExecutor::new()).http1_only();
    let connection = builder.serve_connection(TokioIo::new(stream), service).into_owned();
    let ended = graceful.watch(connection).with_subscriber(Dispatch::none());
    async move {
        if let Err(error) = ended.await {
            debug!(error = &*error, "an S3 connection ended early");
        }
    }
}
