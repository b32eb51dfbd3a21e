//! A door in front of clamd: while it is shut, chosen verdicts do not come through.

use std::{
    io::{self, Read, Write},
    net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Condvar, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};

use anyhow::Result;

use crate::objects::contains;

/// Relays connections to clamd over TCP. Verdicts on bytes that hold a marker pass while the gate is open; everything
/// else always passes.
#[derive(Debug)]
pub struct Gate {
    /// What the settings are to name.
    pub address: SocketAddr,
    state: Arc<State>,
}

#[derive(Debug, Default)]
struct State {
    door: Mutex<Door>,
    moved: Condvar,
}

#[derive(Debug, Default)]
struct Door {
    shut: bool,
    /// Verdicts that wait at the door.
    waiting: usize,
}

impl Gate {
    /// A shut gate in front of the clamd at `clamd`, for bytes that hold `marker`.
    pub fn shut(clamd: SocketAddr, marker: &'static str) -> Result<Self> {
        let gate = Self::open_at((Ipv4Addr::LOCALHOST, 0).into(), clamd, marker)?;
        gate.state.with(|door| door.shut = true);
        Ok(gate)
    }

    /// An open gate that listens at `address`.
    pub fn open_at(address: SocketAddr, clamd: SocketAddr, marker: &'static str) -> Result<Self> {
        let listener = TcpListener::bind(address)?;
        let address = listener.local_addr()?;
        let state = Arc::new(State::default());
        let shared = Arc::clone(&state);
        // Ends with the process: the test is one.
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let state = Arc::clone(&shared);
                thread::spawn(move || relay(&client, clamd, marker, &state));
            }
        });
        Ok(Self { address, state })
    }

    /// Lets the verdicts through, the waiting ones and all to come.
    pub fn open(&self) {
        self.state.with(|door| door.shut = false);
    }

    /// How many verdicts wait at the door.
    pub fn waiting(&self) -> usize {
        self.state.with(|door| door.waiting)
    }
}

impl State {
    fn with<T>(&self, change: impl FnOnce(&mut Door) -> T) -> T {
        let mut door = self.door.lock().unwrap_or_else(PoisonError::into_inner);
        let result = change(&mut door);
        drop(door);
        self.moved.notify_all();
        result
    }

    fn pass(&self) {
        self.with(|door| door.waiting += 1);
        let door = self.door.lock().unwrap_or_else(PoisonError::into_inner);
        let mut door = self.moved.wait_while(door, |door| door.shut).unwrap_or_else(PoisonError::into_inner);
        door.waiting -= 1;
    }
}

/// Both directions of one connection, until either side ends it.
fn relay(client: &TcpStream, clamd: SocketAddr, marker: &str, state: &State) -> io::Result<()> {
    let server = TcpStream::connect(clamd)?;
    let is_marked = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            let copied = copy(client, &server, |bytes| {
                if contains(bytes, marker.as_bytes()) {
                    is_marked.store(true, Ordering::Release);
                }
            });
            server.shutdown(Shutdown::Write).and(copied).ok();
        });
        let copied = copy(&server, client, |_| {
            if is_marked.load(Ordering::Acquire) {
                state.pass();
            }
        });
        client.shutdown(Shutdown::Both).and(copied)
    })
}

fn copy(mut from: &TcpStream, mut to: &TcpStream, before: impl Fn(&[u8])) -> io::Result<()> {
    let mut buffer = vec![0; 128 * 1024];
    loop {
        let read = from.read(&mut buffer)?;
        if read == 0 {
            return Ok(());
        }
        before(&buffer[..read]);
        to.write_all(&buffer[..read])?;
    }
}
