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
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::{TcpListener, TcpStream},
    task::JoinSet,
};

/// What a [`FakeIcap`] does about a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum IcapAnswer {
    /// Takes the object whole, asking for the rest after a preview, and says these bytes.
    Say(Vec<u8>),
    /// Says these bytes when it has the preview, or the heads where there is none, and hangs up with the rest unread.
    SayEarly(Vec<u8>),
    /// Says these bytes when it has the preview, and goes on with the next request.
    SayToPreview(Vec<u8>),
    /// Sends the object back with these fields, its last bytes left out.
    SendBack {
        /// Lines of the ICAP head, each with its end.
        fields: String,
        /// How many bytes are left out.
        cut: usize,
        /// Whether the answer begins before the object is there whole.
        early: bool,
    },
    /// Says fields without end.
    Flood,
    /// Takes it whole and says nothing, for as long as the client stays.
    Stall,
}

impl IcapAnswer {
    /// A head with these lines, none of which has its end.
    pub fn head(lines: &[&str]) -> Self {
        Self::Say(format!("{}\r\n\r\n", lines.join("\r\n")).into_bytes())
    }

    /// 204 from the engine with this tag.
    pub fn unmodified(tag: &str) -> Self {
        Self::head(&["ICAP/1.0 204 Unmodified", &format!("ISTag: \"{tag}\"")])
    }

    /// What an engine with this tag says of itself, with these further lines.
    pub fn options(tag: &str, lines: &[&str]) -> Self {
        let tag = format!("ISTag: \"{tag}\"");
        let first =
            ["ICAP/1.0 200 OK", "Methods: RESPMOD, REQMOD", "Service: Fake 1.0", &tag, "Encapsulated: null-body=0"];
        Self::head(&[first.as_slice(), lines].concat())
    }
}

/// An ICAP server that says what it is told to, until dropped.
#[derive(Debug)]
pub struct FakeIcap {
    address: String,
    script: Arc<Script>,
    _tasks: JoinSet<()>,
}

#[derive(Debug, Default)]
struct Script {
    options: Mutex<VecDeque<IcapAnswer>>,
    answers: Mutex<VecDeque<IcapAnswer>>,
    hangs_up: AtomicBool,
    last: Mutex<(String, Vec<u8>)>,
    asked: AtomicUsize,
    objects: AtomicUsize,
    connections: AtomicUsize,
    open: AtomicUsize,
    most_open: AtomicUsize,
}

impl FakeIcap {
    /// Offers a preview of four bytes and 204, with the tag `one`, and never answers about objects.
    pub async fn start() -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?.to_string();
        let script = Arc::new(Script::default());
        let mut tasks = JoinSet::new();
        tasks.spawn({
            let script = Arc::clone(&script);
            async move {
                let mut clients = JoinSet::new();
                while let Ok((stream, _)) = listener.accept().await {
                    clients.spawn(serve(stream, Arc::clone(&script)));
                }
            }
        });
        let fake = Self { address, script, _tasks: tasks };
        fake.options([IcapAnswer::options("one", &["Preview: 4", "Allow: 204"])]);
        Ok(fake)
    }

    /// The address of its service.
    pub fn url(&self) -> String {
        format!("icap://{}/scan", self.address)
    }

    /// What it does about `OPTIONS`, one after the other; the last one stays.
    pub fn options(&self, options: impl IntoIterator<Item = IcapAnswer>) {
        *lock(&self.script.options) = options.into_iter().collect();
    }

    /// What it does about objects, one after the other; the last one stays.
    pub fn answers(&self, answers: impl IntoIterator<Item = IcapAnswer>) {
        *lock(&self.script.answers) = answers.into_iter().collect();
    }

    /// From now on it hangs up after every answer about an object, without a word.
    pub fn hang_up_after_answers(&self) {
        self.script.hangs_up.store(true, Ordering::SeqCst);
    }

    /// The heads of the last request about an object, and what came of the object.
    pub fn last(&self) -> (String, Vec<u8>) {
        lock(&self.script.last).clone()
    }

    /// How often it was asked what it is.
    pub fn asked(&self) -> usize {
        self.script.asked.load(Ordering::SeqCst)
    }

    /// How many requests about objects there were.
    pub fn objects(&self) -> usize {
        self.script.objects.load(Ordering::SeqCst)
    }

    /// How many connections were made.
    pub fn connections(&self) -> usize {
        self.script.connections.load(Ordering::SeqCst)
    }

    /// How many connections there were at once.
    pub fn most_connections(&self) -> usize {
        self.script.most_open.load(Ordering::SeqCst)
    }
}

fn lock<T>(shared: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

fn next(queue: &Mutex<VecDeque<IcapAnswer>>) -> IcapAnswer {
    let mut queue = lock(queue);
    let answer = if queue.len() > 1 { queue.pop_front() } else { queue.front().cloned() };
    answer.unwrap_or(IcapAnswer::Stall)
}

/// A client that goes away in the middle is the client's business.
async fn serve(stream: TcpStream, script: Arc<Script>) {
    script.connections.fetch_add(1, Ordering::SeqCst);
    let open = script.open.fetch_add(1, Ordering::SeqCst) + 1;
    script.most_open.fetch_max(open, Ordering::SeqCst);
    let mut stream = BufReader::new(stream);
    while matches!(converse(&mut stream, &script).await, Ok(true)) {}
    script.open.fetch_sub(1, Ordering::SeqCst);
}

/// One request. Says whether another one may follow.
async fn converse(stream: &mut BufReader<TcpStream>, script: &Script) -> io::Result<bool> {
    let head = head(stream).await?;
    if head.starts_with("OPTIONS ") {
        script.asked.fetch_add(1, Ordering::SeqCst);
        return match next(&script.options) {
            IcapAnswer::Say(bytes) => stream.write_all(&bytes).await.map(|()| true),
            answer => dispose(stream, answer).await,
        };
    }
    script.objects.fetch_add(1, Ordering::SeqCst);
    let http_bytes = field(&head, "-body=").unwrap_or(0);
    let mut http = vec![0; http_bytes];
    stream.read_exact(&mut http).await?;
    let preview = field(&head, "Preview: ").is_some();
    let mut object = if preview { chunks(stream).await? } else { Vec::new() };
    *lock(&script.last) = (head + &String::from_utf8_lossy(&http), object.clone());
    let answer = next(&script.answers);
    match answer {
        IcapAnswer::SayToPreview(bytes) => return stream.write_all(&bytes).await.map(|()| true),
        IcapAnswer::SayEarly(_) | IcapAnswer::Flood => return dispose(stream, answer).await,
        IcapAnswer::Say(_) | IcapAnswer::SendBack { .. } | IcapAnswer::Stall => {}
    }
    if preview {
        stream.write_all(b"ICAP/1.0 100 Continue\r\n\r\n").await?;
    }
    if let IcapAnswer::SendBack { fields, early: true, .. } = &answer {
        stream.write_all(modified(fields).as_bytes()).await?;
    }
    object.extend(chunks(stream).await?);
    lock(&script.last).1.clone_from(&object);
    match answer {
        IcapAnswer::Say(bytes) => stream.write_all(&bytes).await?,
        IcapAnswer::SendBack { fields, cut, early } => {
            if !early {
                stream.write_all(modified(&fields).as_bytes()).await?;
            }
            object.truncate(object.len().saturating_sub(cut));
            stream.write_all(format!("{:x}\r\n", object.len()).as_bytes()).await?;
            stream.write_all(&[&object, b"\r\n0\r\n\r\n".as_slice()].concat()).await?;
        }
        answer => return dispose(stream, answer).await,
    }
    Ok(!script.hangs_up.load(Ordering::SeqCst))
}

/// The answers after which there is no other.
async fn dispose(stream: &mut BufReader<TcpStream>, answer: IcapAnswer) -> io::Result<bool> {
    match answer {
        IcapAnswer::Say(bytes) | IcapAnswer::SayEarly(bytes) | IcapAnswer::SayToPreview(bytes) => {
            stream.write_all(&bytes).await?;
        }
        IcapAnswer::Flood => {
            stream.write_all(b"ICAP/1.0 200 OK\r\n").await?;
            loop {
                stream.write_all(&b"X-Flood: flood\r\n".repeat(1000)).await?;
            }
        }
        IcapAnswer::Stall | IcapAnswer::SendBack { .. } => drop(stream.read_u8().await?),
    }
    Ok(false)
}

fn modified(fields: &str) -> String {
    const HTTP: &str = "HTTP/1.1 200 OK\r\nVia: fake\r\n\r\n";
    format!("ICAP/1.0 200 OK\r\n{fields}Encapsulated: res-hdr=0, res-body={}\r\n\r\n{HTTP}", HTTP.len())
}

async fn head(stream: &mut BufReader<TcpStream>) -> io::Result<String> {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if stream.read_line(&mut head).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    Ok(head)
}

/// The number after `name`.
fn field(head: &str, name: &str) -> Option<usize> {
    let (_, rest) = head.split_once(name)?;
    rest.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

/// The bytes of chunks up to the one that ends them.
async fn chunks(stream: &mut BufReader<TcpStream>) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    loop {
        let mut line = String::new();
        stream.read_line(&mut line).await?;
        let len = usize::from_str_radix(line.trim(), 16).map_err(io::Error::other)?;
        let from = bytes.len();
        bytes.resize(from + len, 0);
        stream.read_exact(&mut bytes[from..]).await?;
        stream.read_line(&mut String::new()).await?;
        if len == 0 {
            return Ok(bytes);
        }
    }
}
