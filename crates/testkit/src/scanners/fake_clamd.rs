use std::{
    collections::VecDeque,
    io,
    net::Ipv4Addr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use anyhow::Result;
use tempfile::TempDir;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpListener, UnixListener},
    task::JoinSet,
};

/// Where a [`FakeClamd`] listens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Listen {
    /// A unix socket in a folder of its own.
    Unix,
    /// A free port on loopback.
    Tcp,
}

/// What a [`FakeClamd`] does about an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// Takes it whole, says these bytes, hangs up.
    Say(Vec<u8>),
    /// Takes the first bytes of a stream, says these, hangs up with the rest unread.
    SayEarly(Vec<u8>),
    /// Takes it whole and says nothing, for as long as the client stays.
    Stall,
}

impl Answer {
    /// [`Answer::Say`], with the NUL that ends a reply.
    pub fn line(text: &str) -> Self {
        Self::Say([text.as_bytes(), b"\0"].concat())
    }
}

/// A clamd that says what it is told to, until dropped.
#[derive(Debug)]
pub struct FakeClamd {
    address: String,
    script: Arc<Script>,
    _tasks: JoinSet<()>,
    _folder: TempDir,
}

#[derive(Debug, Default)]
struct Script {
    versions: Mutex<VecDeque<Answer>>,
    answers: Mutex<VecDeque<Answer>>,
    deaf_to_descriptors: AtomicBool,
    streams: AtomicUsize,
    descriptors: AtomicUsize,
}

impl FakeClamd {
    /// Says its version, and never answers about objects.
    pub async fn start(listen: Listen) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let script = Arc::new(Script::default());
        let mut tasks = JoinSet::new();
        let address = match listen {
            Listen::Unix => {
                let path = folder.path().join("clamd.sock");
                let listener = UnixListener::bind(&path)?;
                let script = Arc::clone(&script);
                tasks.spawn(async move {
                    let mut clients = JoinSet::new();
                    while let Ok((stream, _)) = listener.accept().await {
                        clients.spawn(serve(stream, Arc::clone(&script)));
                    }
                });
                format!("unix:{}", path.display())
            }
            Listen::Tcp => {
                let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
                let address = listener.local_addr()?;
                let script = Arc::clone(&script);
                tasks.spawn(async move {
                    let mut clients = JoinSet::new();
                    while let Ok((stream, _)) = listener.accept().await {
                        clients.spawn(serve(stream, Arc::clone(&script)));
                    }
                });
                format!("tcp:{address}")
            }
        };
        let fake = Self { address, script, _tasks: tasks, _folder: folder };
        fake.versions([Answer::line("ClamAV 1.4.6/27500/Fri Nov 20 08:00:00 2026")]);
        Ok(fake)
    }

    /// `unix:/path` or `tcp:host:port`.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// What it says to `VERSION`, one after the other; the last one stays.
    pub fn versions(&self, versions: impl IntoIterator<Item = Answer>) {
        set(&self.script.versions, versions);
    }

    /// What it does about objects, one after the other; the last one stays.
    pub fn answers(&self, answers: impl IntoIterator<Item = Answer>) {
        set(&self.script.answers, answers);
    }

    /// From now on descriptors do not reach it, as under AppArmor or behind a proxy.
    pub fn lose_descriptors(&self) {
        self.script.deaf_to_descriptors.store(true, Ordering::SeqCst);
    }

    /// How many streams it was sent.
    pub fn streams(&self) -> usize {
        self.script.streams.load(Ordering::SeqCst)
    }

    /// How many descriptors it was sent, lost ones included.
    pub fn descriptors(&self) -> usize {
        self.script.descriptors.load(Ordering::SeqCst)
    }
}

fn set(queue: &Mutex<VecDeque<Answer>>, answers: impl IntoIterator<Item = Answer>) {
    *queue.lock().unwrap_or_else(PoisonError::into_inner) = answers.into_iter().collect();
}

fn next(queue: &Mutex<VecDeque<Answer>>) -> Answer {
    let mut queue = queue.lock().unwrap_or_else(PoisonError::into_inner);
    let answer = if queue.len() > 1 { queue.pop_front() } else { queue.front().cloned() };
    answer.unwrap_or(Answer::Stall)
}

/// A client that goes away in the middle is the client's business.
async fn serve(mut stream: impl AsyncRead + AsyncWrite + Unpin, script: Arc<Script>) {
    drop(converse(&mut stream, &script).await);
}

async fn converse(stream: &mut (impl AsyncRead + AsyncWrite + Unpin), script: &Script) -> io::Result<()> {
    let mut command = Vec::new();
    loop {
        match stream.read_u8().await? {
            0 => break,
            byte => command.push(byte),
        }
    }
    let answer = match command.as_slice() {
        b"zVERSION" => next(&script.versions),
        b"zFILDES" => {
            stream.read_u8().await?;
            script.descriptors.fetch_add(1, Ordering::SeqCst);
            if script.deaf_to_descriptors.load(Ordering::SeqCst) {
                Answer::line("No file descriptor received. ERROR")
            } else {
                next(&script.answers)
            }
        }
        b"zINSTREAM" => {
            script.streams.fetch_add(1, Ordering::SeqCst);
            let answer = next(&script.answers);
            if matches!(answer, Answer::SayEarly(_)) {
                stream.read_u32().await?;
            } else {
                take_stream(stream).await?;
            }
            answer
        }
        _ => Answer::line("UNKNOWN COMMAND"),
    };
    match answer {
        Answer::Say(bytes) | Answer::SayEarly(bytes) => stream.write_all(&bytes).await,
        Answer::Stall => stream.read_u8().await.map(drop),
    }
}

async fn take_stream(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<()> {
    let mut chunk = Vec::new();
    loop {
        let len = stream.read_u32().await?;
        if len == 0 {
            return Ok(());
        }
        chunk.resize(usize::try_from(len).unwrap_or(usize::MAX), 0);
        stream.read_exact(&mut chunk).await?;
    }
}
