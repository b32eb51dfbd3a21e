use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use anyhow::{Context, Result};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinSet,
    time::{Instant, timeout},
};

use super::{Fault, Faults, Protocol, Proxy, Then};
use crate::scanners::{Answer, FakeClamd, Listen};

const SOON: Duration = Duration::from_secs(10);
const BODY: &str = "0123456789";

/// A server that reads whole messages and answers each: what it heard can be counted.
struct Server {
    address: SocketAddr,
    heard: Arc<AtomicUsize>,
    _tasks: JoinSet<()>,
}

impl Server {
    /// `len` says how long the message at the start of the buffer is, once it is there.
    async fn start(len: fn(&[u8]) -> Option<usize>, answer: &'static [u8]) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let (address, heard) = (listener.local_addr()?, Arc::new(AtomicUsize::new(0)));
        let (mut tasks, count) = (JoinSet::new(), Arc::clone(&heard));
        tasks.spawn(async move {
            let mut clients = JoinSet::new();
            while let Ok((mut stream, _)) = listener.accept().await {
                let count = Arc::clone(&count);
                clients.spawn(async move {
                    let mut buffer = Vec::new();
                    while stream.read_buf(&mut buffer).await.is_ok_and(|read| read > 0) {
                        while let Some(length) = len(&buffer) {
                            buffer.drain(..length);
                            count.fetch_add(1, Ordering::SeqCst);
                            stream.write_all(answer).await.ok();
                        }
                    }
                });
            }
        });
        Ok(Self { address, heard, _tasks: tasks })
    }

    async fn http() -> Result<Self> {
        let len = |buffer: &[u8]| {
            let text = std::str::from_utf8(buffer).ok()?;
            let (head, body) = text.split_once("\r\n\r\n")?;
            let whole = if head.contains("chunked") { body.find("0\r\n\r\n")? + 5 } else { 0 };
            (body.len() >= whole).then_some(head.len() + 4 + whole)
        };
        Self::start(len, b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n0123456789").await
    }

    fn heard(&self) -> usize {
        self.heard.load(Ordering::SeqCst)
    }
}

struct Client(TcpStream);

impl Client {
    async fn connect(proxy: &Proxy) -> Result<Self> {
        Ok(Self(TcpStream::connect(proxy.address()).await?))
    }

    async fn send(&mut self, bytes: &[u8]) -> Result<()> {
        Ok(self.0.write_all(bytes).await?)
    }

    /// So many bytes.
    async fn read(&mut self, length: usize) -> Result<Vec<u8>> {
        let mut bytes = vec![0; length];
        timeout(SOON, self.0.read_exact(&mut bytes)).await.context("nothing comes")??;
        Ok(bytes)
    }

    /// Everything up to the end of the connection.
    async fn rest(&mut self) -> Result<String> {
        let mut bytes = Vec::new();
        match timeout(SOON, self.0.read_to_end(&mut bytes)).await.context("the connection stays")? {
            Ok(_) => {}
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => {}
            Err(error) => return Err(error.into()),
        }
        Ok(String::from_utf8(bytes)?)
    }

    async fn get(&mut self, path: &str) -> Result<()> {
        self.send(format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes()).await
    }

    async fn answered(&mut self) -> Result<()> {
        let head = "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n".len();
        assert!(self.read(head + BODY.len()).await?.ends_with(BODY.as_bytes()));
        Ok(())
    }
}

#[tokio::test]
async fn requests_on_one_connection_are_counted_and_named() -> Result<()> {
    let (server, faults) = (Server::http().await?, Faults::new());
    faults.ignore(|request| request.what.contains("/poll"));
    let proxy = Proxy::start("s3", Protocol::Http, server.address, &faults)?;
    let mut client = Client::connect(&proxy).await?;
    client.get("/a").await?;
    client.answered().await?;
    client.get("/poll").await?;
    client.answered().await?;
    client.send(b"PUT /b HTTP/1.1\r\nTransfer-Encoding: chunked\r\nExpect: 100-continue\r\n\r\n").await?;
    assert_eq!(client.read(25).await?, b"HTTP/1.1 100 Continue\r\n\r\n");
    client.send(b"3\r\nabc\r\n").await?;
    client.send(b"0\r\n\r\n").await?;
    client.answered().await?;
    let seen: Vec<_> = faults.seen().iter().map(ToString::to_string).collect();
    assert_eq!(seen, ["1 s3 GET /a", "2 s3 PUT /b"]);
    assert_eq!(server.heard(), 3);
    Ok(())
}

#[tokio::test]
async fn a_cut_before_the_effect_leaves_none_and_a_cut_after_it_leaves_no_answer() -> Result<()> {
    let (server, faults) = (Server::http().await?, Faults::new());
    let proxy = Proxy::start("s3", Protocol::Http, server.address, &faults)?;
    faults.at(2, Fault::CutBefore);
    faults.at(3, Fault::CutAfter);
    let mut client = Client::connect(&proxy).await?;
    client.get("/").await?;
    client.answered().await?;
    client.get("/").await?;
    assert_eq!((client.rest().await?.as_str(), server.heard()), ("", 1));
    let mut client = Client::connect(&proxy).await?;
    client.get("/").await?;
    assert_eq!((client.rest().await?.as_str(), server.heard(), faults.pending()), ("", 2, 0));
    Ok(())
}

#[tokio::test]
async fn answers_are_cut_short_replaced_and_kept_back() -> Result<()> {
    let (server, faults) = (Server::http().await?, Faults::new());
    let proxy = Proxy::start("s3", Protocol::Http, server.address, &faults)?;
    faults.at(1, Fault::Truncate);
    let mut client = Client::connect(&proxy).await?;
    client.get("/").await?;
    let half = client.rest().await?;
    assert!(half.starts_with("HTTP/1.1 200 OK") && !half.ends_with(BODY), "{half}");

    let other = "HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n";
    faults.at(1, Fault::Answer(other.into()));
    faults.at(2, Fault::AnswerAfter(other.into()));
    faults.at(3, Fault::Swallow);
    let (mut client, before) = (Client::connect(&proxy).await?, server.heard());
    for effects in [0, 1] {
        client.get("/").await?;
        assert_eq!(client.read(other.len()).await?, other.as_bytes());
        assert_eq!(server.heard() - before, effects);
    }
    client.get("/").await?;
    assert!(timeout(Duration::from_millis(300), client.read(1)).await.is_err(), "it answers");
    assert_eq!(server.heard() - before, 1);
    Ok(())
}

#[tokio::test]
async fn hooks_run_before_and_after_the_effect_and_decide_what_follows() -> Result<()> {
    let (server, faults) = (Server::http().await?, Faults::new());
    let proxy = Proxy::start("s3", Protocol::Http, server.address, &faults)?;
    let heard = Arc::clone(&server.heard);
    let (told, notes) = std::sync::mpsc::channel();
    for (nth, then) in [(1, Then::GoOn), (3, Then::Cut)] {
        let (heard, told) = (Arc::clone(&heard), told.clone());
        faults.at(nth, Fault::before(move || told.send(heard.load(Ordering::SeqCst)).map_or(Then::Cut, |()| then)));
    }
    faults.at(2, Fault::after(move || told.send(heard.load(Ordering::SeqCst)).map_or(Then::Cut, |()| Then::GoOn)));
    let mut client = Client::connect(&proxy).await?;
    for _ in 0..2 {
        client.get("/").await?;
        client.answered().await?;
    }
    client.get("/").await?;
    assert_eq!(client.rest().await?, "");
    assert_eq!(notes.iter().take(3).collect::<Vec<_>>(), [0, 2, 2]);
    Ok(())
}

#[tokio::test]
async fn a_delayed_request_is_answered_late() -> Result<()> {
    let (server, faults) = (Server::http().await?, Faults::new());
    let proxy = Proxy::start("s3", Protocol::Http, server.address, &faults)?;
    let late = Duration::from_millis(200);
    faults.at(1, Fault::Delay(late));
    let mut client = Client::connect(&proxy).await?;
    let asked = Instant::now();
    client.get("/").await?;
    client.answered().await?;
    assert!(asked.elapsed() >= late);
    Ok(())
}

#[tokio::test]
async fn down_cuts_and_refuses_and_up_is_the_same_address() -> Result<()> {
    let (server, faults) = (Server::http().await?, Faults::new());
    let proxy = Proxy::start("s3", Protocol::Http, server.address, &faults)?;
    let mut client = Client::connect(&proxy).await?;
    client.get("/").await?;
    client.answered().await?;
    proxy.down()?;
    assert_eq!(client.rest().await?, "");
    assert!(Client::connect(&proxy).await.is_err());
    assert!(std::net::TcpListener::bind(proxy.address()).is_err(), "it is kept");
    proxy.up()?;
    let mut client = Client::connect(&proxy).await?;
    client.get("/").await?;
    client.answered().await?;
    assert_eq!(faults.count(), 2);
    Ok(())
}

#[tokio::test]
async fn proxies_with_the_same_faults_count_together() -> Result<()> {
    let (server, faults) = (Server::http().await?, Faults::new());
    let clamd = FakeClamd::start(Listen::Tcp).await?;
    clamd.answers([Answer::line("stream: OK")]);
    let at = clamd.address().strip_prefix("tcp:").context("no TCP")?.parse()?;
    let s3 = Proxy::start("s3", Protocol::Http, server.address, &faults)?;
    let scanner = Proxy::start("clamd", Protocol::Clamd, at, &faults)?;
    faults.on(1, |request| request.what == "zINSTREAM", Fault::CutAfter);
    let mut client = Client::connect(&s3).await?;
    client.get("/").await?;
    client.answered().await?;
    for answer in ["", "stream: OK\0"] {
        let mut client = Client::connect(&scanner).await?;
        client.send(b"zINSTREAM\0\0\0\0\x02ab\0\0\0\0").await?;
        assert_eq!(client.rest().await?, answer);
    }
    assert_eq!(clamd.streams(), 2);
    let seen: Vec<_> = faults.seen().iter().map(ToString::to_string).collect();
    assert_eq!(seen, ["1 s3 GET /", "2 clamd zINSTREAM", "3 clamd zINSTREAM"]);
    Ok(())
}

/// A message with a type and a length that counts itself.
fn message(kind: u8, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len() + 4).unwrap_or(u32::MAX);
    [&[kind], &length.to_be_bytes()[..], body].concat()
}

/// `ReadyForQuery`.
const READY: &[u8] = b"Z\0\0\0\x05I";

#[tokio::test]
async fn one_sync_group_of_postgresql_is_one_request() -> Result<()> {
    let len = |buffer: &[u8]| {
        let typed = buffer.first().is_some_and(u8::is_ascii_alphabetic);
        let mut at = 0;
        loop {
            let header = buffer.get(at + usize::from(typed)..)?.get(..4)?;
            let length = usize::try_from(u32::from_be_bytes(header.try_into().ok()?)).ok()?;
            let end = at + usize::from(typed) + length;
            buffer.get(..end)?;
            if !typed || matches!(buffer[at], b'Q' | b'S') {
                return Some(end);
            }
            at = end;
        }
    };
    let (server, faults) = (Server::start(len, READY).await?, Faults::new());
    let proxy = Proxy::start("postgres", Protocol::Postgres, server.address, &faults)?;
    faults.at(4, Fault::CutAfter);
    let mut client = Client::connect(&proxy).await?;
    client.send(&[0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f]).await?;
    assert_eq!(client.read(1).await?, b"N", "no TLS");
    client.send(&[0, 0, 0, 8, 0, 3, 0, 0]).await?;
    assert_eq!(client.read(READY.len()).await?, READY);
    client.send(&message(b'Q', b"BEGIN\0")).await?;
    assert_eq!(client.read(READY.len()).await?, READY);
    let bind = [message(b'B', b"\0s1\0"), message(b'E', b"\0\0\0\0\0"), message(b'S', b"")].concat();
    let parse = [message(b'P', b"s1\0SELECT\n  1\0\0\0"), message(b'D', b"Ss1\0"), message(b'S', b"")].concat();
    client.send(&parse[..7]).await?;
    client.send(&parse[7..]).await?;
    assert_eq!(client.read(READY.len()).await?, READY);
    client.send(&bind).await?;
    assert_eq!(client.rest().await?, "");
    let seen: Vec<_> = faults.seen().into_iter().map(|request| request.what).collect();
    assert_eq!(seen, ["start-up", "BEGIN", "SELECT 1", "bind s1"]);
    assert_eq!(server.heard(), 4);
    Ok(())
}

#[tokio::test]
async fn frames_of_amqp_are_counted_without_heartbeats() -> Result<()> {
    let len = |buffer: &[u8]| {
        if buffer.starts_with(b"AMQP") {
            return (buffer.len() >= 8).then_some(8);
        }
        let size = usize::try_from(u32::from_be_bytes(buffer.get(3..7)?.try_into().ok()?)).ok()?;
        (buffer.len() >= size + 8).then_some(size + 8)
    };
    let (server, faults) = (Server::start(len, b"").await?, Faults::new());
    let proxy = Proxy::start("amqp", Protocol::Amqp, server.address, &faults)?;
    faults.at(3, Fault::CutAfter);
    let ack = [&[1, 0, 1, 0, 0, 0, 13, 0, 60, 0, 80][..], &[0; 9], &[0xCE]].concat();
    let heartbeat = [8, 0, 0, 0, 0, 0, 0, 0xCE];
    let mut client = Client::connect(&proxy).await?;
    client.send(b"AMQP\x00\x00\x09\x01").await?;
    client.send(&[&ack[..], &heartbeat[..], &ack[..]].concat()).await?;
    assert_eq!(client.rest().await?, "");
    let seen: Vec<_> = faults.seen().into_iter().map(|request| request.what).collect();
    assert_eq!(seen, ["header", "basic.ack", "basic.ack"]);
    assert_eq!(server.heard(), 4, "a cut after the effect lets the frame through");
    Ok(())
}
