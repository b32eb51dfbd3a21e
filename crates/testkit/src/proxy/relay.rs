use std::{io, net::SocketAddr, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    task::spawn_blocking,
    time::{sleep, timeout},
};

use super::{
    Fault, Faults, Protocol, Then,
    dialect::{Dialect, Kind, Unit},
};

/// Where no answer is due, the effect is taken to be there once the server has said nothing for this long.
const QUIET: Duration = Duration::from_millis(150);
const READ_AT_ONCE: usize = 64 * 1024;

/// What all connections of one proxy share.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) name: String,
    pub(super) protocol: Protocol,
    pub(super) server: SocketAddr,
    pub(super) faults: Faults,
}

/// One connection, both ways, until either side or a fault ends it.
pub(super) async fn relay(client: TcpStream, link: &Link) -> io::Result<()> {
    let server = TcpStream::connect(link.server).await?;
    for stream in [&client, &server] {
        stream.set_nodelay(true)?;
    }
    let mut connection = Connection { client, server, link };
    let mut dialect = Dialect::new(link.protocol);
    let (mut sent, mut answered) = (Vec::new(), vec![0; READ_AT_ONCE]);
    loop {
        while let Some(unit) = dialect.take(&mut sent) {
            if connection.pass(unit).await? == Then::Cut {
                return Ok(());
            }
        }
        if let Some(interim) = dialect.interim(&sent) {
            connection.client.write_all(interim).await?;
        }
        tokio::select! {
            read = connection.client.read_buf(&mut sent) => if read? == 0 { return Ok(()) },
            read = connection.server.read(&mut answered) => match read? {
                0 => return Ok(()),
                read => connection.client.write_all(&answered[..read]).await?,
            },
        }
    }
}

struct Connection<'a> {
    client: TcpStream,
    server: TcpStream,
    link: &'a Link,
}

impl Connection<'_> {
    async fn pass(&mut self, unit: Unit) -> io::Result<Then> {
        let fault = match &unit.kind {
            Kind::Request(what) => self.link.faults.meet(&self.link.name, what.clone()),
            Kind::Uncounted => None,
            Kind::Refused(answer) => {
                self.client.write_all(answer).await?;
                return Ok(Then::GoOn);
            }
        };
        match fault {
            None => self.server.write_all(&unit.bytes).await?,
            Some(fault) => return self.meet(fault, &unit).await,
        }
        Ok(Then::GoOn)
    }

    async fn meet(&mut self, fault: Fault, unit: &Unit) -> io::Result<Then> {
        match fault {
            Fault::CutBefore => return Ok(Then::Cut),
            Fault::CutAfter => {
                self.answer(unit).await?;
                return Ok(Then::Cut);
            }
            Fault::Delay(time) => {
                sleep(time).await;
                self.server.write_all(&unit.bytes).await?;
            }
            Fault::Truncate => {
                let answer = self.answer(unit).await?;
                self.client.write_all(&answer[..answer.len() / 2]).await?;
                return Ok(Then::Cut);
            }
            Fault::Swallow => {
                let mut nothing = [0; 1024];
                while self.client.read(&mut nothing).await? > 0 {}
                return Ok(Then::Cut);
            }
            Fault::Answer(answer) => self.client.write_all(&answer).await?,
            Fault::AnswerAfter(other) => {
                self.answer(unit).await?;
                self.client.write_all(&other).await?;
            }
            Fault::Before(hook) => {
                let then = spawn_blocking(hook).await?;
                if then == Then::GoOn {
                    self.server.write_all(&unit.bytes).await?;
                }
                return Ok(then);
            }
            Fault::After(hook) => {
                let answer = self.answer(unit).await?;
                let then = spawn_blocking(hook).await?;
                if then == Then::GoOn {
                    self.client.write_all(&answer).await?;
                }
                return Ok(then);
            }
        }
        Ok(Then::GoOn)
    }

    /// Passes a request on and takes the whole answer.
    async fn answer(&mut self, unit: &Unit) -> io::Result<Vec<u8>> {
        self.server.write_all(&unit.bytes).await?;
        let mut answer = Vec::new();
        loop {
            let read = if unit.answer.is_due() {
                self.server.read_buf(&mut answer).await?
            } else {
                match timeout(QUIET, self.server.read_buf(&mut answer)).await {
                    Ok(read) => read?,
                    Err(_) => return Ok(answer),
                }
            };
            if read == 0 || unit.answer.is_complete(&answer) {
                return Ok(answer);
            }
        }
    }
}
