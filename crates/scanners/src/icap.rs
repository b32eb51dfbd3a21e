//! Any engine that speaks ICAP (RFC 3507, <https://www.rfc-editor.org/rfc/rfc3507>).

mod chunk;
mod exchange;
mod head;
mod link;
mod options;
mod reader;
mod request;
mod threat;
mod trouble;
mod upload;
mod url;
mod verdict;

use std::{
    fmt,
    num::NonZeroUsize,
    time::{Duration, Instant},
};

use async_trait::async_trait;
use lazaret_core::{
    EngineVersion, Finding, HoldReason, ScanReport, ScannerName, Spooled,
    error::Cause,
    ports::{ScanError, Scanner},
};
use tokio::time::timeout;
use tracing::debug;

use exchange::Answer;
use link::{Link, Links};
use request::Request;
use trouble::Trouble;
pub use url::{IcapUrl, InvalidIcapUrl};

/// How long what a server said of itself is good for, where its `Options-TTL` is not shorter: a server that is gone is
/// found out by a question more often than by an object.
const KNOWN_FOR: Duration = Duration::from_secs(5);
/// A server that does not take a connection and answer `OPTIONS` in this time is down, which is not the object's fault.
const OPTIONS_WITHIN: Duration = Duration::from_secs(5);
/// How long [`Scanner::check`] waits for all its answers.
const CHECK_DEADLINE: Duration = Duration::from_secs(10);
/// A reload in one scan happens; a reload in each of two in a row does not.
const SCANS_PER_OBJECT: usize = 2;
const SHOWN_CHARS: usize = 200;

/// In which direction an object is said to travel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IcapMethod {
    /// Down, as the answer to a request. What nearly every engine scans.
    Respmod,
    /// Up, as the body of a `PUT`.
    Reqmod,
}

impl IcapMethod {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Respmod => "RESPMOD",
            Self::Reqmod => "REQMOD",
        }
    }
}

impl fmt::Display for IcapMethod {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Where an ICAP service is and what is asked of it.
#[derive(Debug, Clone)]
pub struct IcapSettings {
    /// The name that policies use.
    pub name: ScannerName,
    /// The service.
    pub url: IcapUrl,
    /// What it is asked to do.
    pub method: IcapMethod,
    /// Longer objects are unscannable without being sent.
    pub max_object_bytes: u64,
    /// Where an age is demanded, nothing is scanned: ICAP has no words for the date of signatures.
    pub max_signature_age: Option<Duration>,
    /// How many connections there are at once; fewer where the server's `Max-Connections` says so. Objects wait for
    /// one, within their deadlines.
    pub max_connections: NonZeroUsize,
}

impl IcapSettings {
    /// `RESPMOD`, objects of any length, any age of signatures, ten at once.
    pub fn new(name: ScannerName, url: IcapUrl) -> Self {
        // Checked by the compiler: ten is not zero.
        const TEN: NonZeroUsize = NonZeroUsize::new(10).unwrap();
        Self {
            name,
            url,
            method: IcapMethod::Respmod,
            max_object_bytes: u64::MAX,
            max_signature_age: None,
            max_connections: TEN,
        }
    }
}

/// An ICAP service.
#[derive(Debug)]
pub struct IcapScanner {
    settings: IcapSettings,
    links: Links,
}

impl IcapScanner {
    /// Nothing is asked yet.
    pub fn new(settings: IcapSettings) -> Self {
        let links = Links::new(settings.max_connections);
        Self { settings, links }
    }

    async fn examine(&self, object: &Spooled) -> Result<(EngineVersion, Finding), ScanError> {
        let _slot = self.links.slot().await;
        let mut link = self.link().await?;
        self.no_age_is_demanded()?;
        let limit = self.settings.max_object_bytes;
        if object.len() > limit {
            let detail = format!("{} bytes are longer than the limit of {limit}", object.len());
            let engine = link.options.engine.clone();
            self.links.put(link);
            return Ok((engine, Finding::Unscannable { reason: HoldReason::ScanLimits, detail }));
        }
        for _ in 0..SCANS_PER_OBJECT {
            let (answer, asked) = self.ask(link, object).await?;
            let before = asked.options.engine.clone();
            let asked = answer.reusable.then_some(asked);
            if answer.tag.is_some() && answer.tag == before.signatures {
                if let Some(link) = asked {
                    self.links.put(link);
                }
                return Ok((before, answer.finding));
            }
            // The answer names no engine, or another one.
            link = match asked {
                Some(link) => self.asked_again(link).await?,
                None => self.connected().await?,
            };
            let after = &link.options.engine;
            if answer.tag.is_none() && *after == before {
                self.links.put(link);
                return Ok((before, answer.finding));
            }
            debug!(scanner = %self.settings.name, ?before, ?after, "the engine changed during the scan");
        }
        Err(self.no_verdict("(its engine changed during every scan)"))
    }

    /// One scan. A connection that the server closed while it lay idle is no answer, and the object goes out again, once
    /// and on a new one: looking at an object twice changes nothing.
    async fn ask(&self, mut link: Link, object: &Spooled) -> Result<(Answer, Link), ScanError> {
        if link.was_idle {
            match self.scan_on(&mut link, object).await {
                Err(Trouble::Nothing(why)) => {
                    debug!(scanner = %self.settings.name, why, "an idle connection was closed");
                    link = self.connected().await?;
                }
                other => return other.map(|answer| (answer, link)).map_err(|trouble| self.failed(trouble)),
            }
        }
        let answer = self.scan_on(&mut link, object).await.map_err(|trouble| self.failed(trouble))?;
        Ok((answer, link))
    }

    async fn scan_on(&self, link: &mut Link, object: &Spooled) -> Result<Answer, Trouble> {
        let request = Request {
            url: &self.settings.url,
            method: self.settings.method,
            len: object.len(),
            // A byte is always kept back: a server that calls a whole object unmodified may have scanned it or have
            // passed over its type or its size, but one that does not even ask for the rest has not scanned it.
            preview: link.options.preview.map(|preview| preview.min(object.len() - 1)),
            allow_204: link.options.allow_204,
        };
        let answer = exchange::scan(&mut link.wire, &request, object).await?;
        link.was_idle = false;
        Ok(answer)
    }

    /// A connection to a server that said not long ago what it is.
    async fn link(&self) -> Result<Link, ScanError> {
        let Some(link) = self.links.take() else { return self.connected().await };
        let good_for = link.options.ttl_s.map_or(KNOWN_FOR, |ttl| KNOWN_FOR.min(Duration::from_secs(ttl)));
        if link.asked.elapsed() < good_for { Ok(link) } else { self.asked_again(link).await }
    }

    /// The server says anew what it is, on a new connection if the old one is gone.
    async fn asked_again(&self, mut link: Link) -> Result<Link, ScanError> {
        let asked =
            timeout(OPTIONS_WITHIN, exchange::options(&mut link.wire, &self.settings.url, self.settings.method));
        match asked.await {
            Ok(Ok((options, true))) => {
                self.links.limit(options.max_connections);
                Ok(Link { wire: link.wire, options, asked: Instant::now(), was_idle: false })
            }
            Ok(Ok((_, false)) | Err(Trouble::Nothing(_))) => self.connected().await,
            Ok(Err(trouble)) => Err(self.unavailable(trouble.to_string())),
            Err(_) => Err(self.unavailable(silent())),
        }
    }

    /// A new connection, on which the server has said what it is. Trouble here never costs an object an attempt.
    async fn connected(&self) -> Result<Link, ScanError> {
        let IcapSettings { url, method, .. } = &self.settings;
        let connected = async {
            let mut wire = link::connect(url).await?;
            let (options, stays) =
                exchange::options(&mut wire, url, *method).await.map_err(|trouble| shown(&trouble.to_string()))?;
            let wire = if stays { wire } else { link::connect(url).await? };
            Ok::<_, Cause>((wire, options))
        };
        let (wire, options) = timeout(OPTIONS_WITHIN, connected)
            .await
            .map_err(|_| self.unavailable(silent()))?
            .map_err(|cause| self.unavailable(cause))?;
        self.links.limit(options.max_connections);
        Ok(Link { wire, options, asked: Instant::now(), was_idle: false })
    }

    fn no_age_is_demanded(&self) -> Result<(), ScanError> {
        let Some(limit) = self.settings.max_signature_age else { return Ok(()) };
        let detail = format!("over ICAP their age is unknown, {} h is the limit", limit.as_secs() / 3600);
        Err(ScanError::StaleSignatures { scanner: self.settings.name.clone(), detail })
    }

    async fn within<T>(
        &self,
        deadline: Duration,
        work: impl Future<Output = Result<T, ScanError>> + Send,
    ) -> Result<T, ScanError> {
        timeout(deadline, work)
            .await
            .unwrap_or_else(|_| Err(ScanError::DeadlineExceeded { scanner: self.settings.name.clone(), deadline }))
    }

    fn failed(&self, trouble: Trouble) -> ScanError {
        match trouble {
            Trouble::Spool(source) => ScanError::Spool { scanner: self.settings.name.clone(), source },
            // It took the request and then was gone: perhaps because of this object, so the attempt counts.
            trouble @ (Trouble::Nothing(_) | Trouble::Answer(_)) => self.no_verdict(&trouble.to_string()),
        }
    }

    fn unavailable(&self, source: impl Into<Cause>) -> ScanError {
        let address = self.settings.url.to_string();
        ScanError::Unavailable { scanner: self.settings.name.clone(), address, source: source.into() }
    }

    fn no_verdict(&self, answer: &str) -> ScanError {
        ScanError::NoVerdict { scanner: self.settings.name.clone(), answer: shown(answer) }
    }
}

fn silent() -> String {
    format!("it did not say what it is within {} s", OPTIONS_WITHIN.as_secs())
}

/// An answer for people, cut.
fn shown(answer: &str) -> String {
    answer.trim().chars().take(SHOWN_CHARS).collect()
}

#[async_trait]
impl Scanner for IcapScanner {
    fn name(&self) -> &ScannerName {
        &self.settings.name
    }

    async fn scan(&self, object: &Spooled, deadline: Duration) -> Result<ScanReport, ScanError> {
        if object.is_empty() {
            return Err(self.no_verdict("(not asked: there is nothing to look at in an empty object)"));
        }
        let started = Instant::now();
        let examined = self.within(deadline, self.examine(object)).await;
        // Whatever went wrong, the next object goes only to a server that speaks.
        let (engine, finding) = examined.inspect_err(|_| self.links.clear())?;
        let elapsed_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
        let scanner = self.settings.name.clone();
        Ok(ScanReport {
            scanner,
            engine,
            finding,
            matches: Vec::new(),
            allowed_by: None,
            reused_from: None,
            elapsed_ms,
        })
    }

    async fn check(&self) -> Result<EngineVersion, ScanError> {
        let answer = async {
            let _slot = self.links.slot_to_check().await;
            let link = match self.links.take() {
                Some(link) => self.asked_again(link).await?,
                None => self.connected().await?,
            };
            let engine = link.options.engine.clone();
            self.links.put(link);
            self.no_age_is_demanded()?;
            Ok(engine)
        };
        self.within(CHECK_DEADLINE, answer).await
    }
}

#[cfg(test)]
mod tests;
