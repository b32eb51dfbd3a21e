//! What comes from a server, in bounded pieces.

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt};

use super::{chunk, head::Head, trouble::Trouble};

/// No engine says more about one object.
pub(super) const MAX_HEAD_BYTES: usize = 64 * 1024;
const READ_BYTES: usize = 64 * 1024;

/// The bytes that came and are not used yet, before those still to come.
#[derive(Debug)]
pub(super) struct Reader<R> {
    source: R,
    buffer: Vec<u8>,
    used: usize,
}

impl<R: AsyncRead + Unpin> Reader<R> {
    pub(super) const fn new(source: R) -> Self {
        Self { source, buffer: Vec::new(), used: 0 }
    }

    pub(super) const fn source(&self) -> &R {
        &self.source
    }

    /// Whether all that came was used: the next byte belongs to the next answer.
    pub(super) fn is_drained(&self) -> bool {
        self.rest().is_empty()
    }

    /// The head of an answer.
    pub(super) async fn icap(&mut self) -> Result<Head, Trouble> {
        let mut looked_at = 0;
        let len = loop {
            let rest = self.rest();
            if let Some(at) = end_of_head(&rest[looked_at..]) {
                break looked_at + at;
            }
            if rest.len() > MAX_HEAD_BYTES {
                return Err(Trouble::answer(format!("(a head of more than {MAX_HEAD_BYTES} bytes)")));
            }
            // Its end can begin in what is here already.
            looked_at = rest.len().saturating_sub(3);
            let begun = !rest.is_empty();
            match self.fill().await {
                Ok(true) => {}
                Ok(false) if begun => return Err(Trouble::answer(format!("(cut) {}", self.shown()))),
                Ok(false) => return Err(Trouble::Nothing("closed".to_owned())),
                Err(error) if begun => return Err(Trouble::answer(format!("({error}) {}", self.shown()))),
                Err(error) => return Err(Trouble::Nothing(error.to_string())),
            }
        };
        let head = self.take(len);
        if head.len() > MAX_HEAD_BYTES {
            return Err(Trouble::answer(format!("(a head of more than {MAX_HEAD_BYTES} bytes)")));
        }
        Head::icap(&head).ok_or_else(|| Trouble::answer(String::from_utf8_lossy(&head)))
    }

    /// The head of an HTTP message of `len` bytes.
    pub(super) async fn http(&mut self, len: usize) -> Result<Head, Trouble> {
        if len > MAX_HEAD_BYTES {
            return Err(Trouble::answer(format!("(an encapsulated head of more than {MAX_HEAD_BYTES} bytes)")));
        }
        while self.rest().len() < len {
            self.more().await?;
        }
        let head = self.take(len);
        Head::http(&head).ok_or_else(|| Trouble::answer(format!("(in it) {}", String::from_utf8_lossy(&head))))
    }

    /// Hands the bytes of a body in chunks to `each` as they come, until the body ends or `each` has enough. Says
    /// whether the body ended.
    pub(super) async fn body(&mut self, mut each: impl FnMut(&[u8]) -> bool) -> Result<bool, Trouble> {
        loop {
            let line = self.line().await?;
            let size = chunk::size(&line);
            let mut left = size.ok_or_else(|| Trouble::answer(format!("(no chunk) {}", shown(&line))))?;
            if left == 0 {
                break;
            }
            while left > 0 {
                if self.is_drained() {
                    self.more().await?;
                }
                let rest = self.rest();
                let piece = &rest[..usize::try_from(left).map_or(rest.len(), |left| left.min(rest.len()))];
                let len = piece.len();
                if !each(piece) {
                    return Ok(false);
                }
                self.used += len;
                left -= len as u64;
            }
            if !self.line().await?.is_empty() {
                return Err(Trouble::answer("(a chunk that is longer than it says)"));
            }
        }
        // Fields after a body are only for who asks for them, and could take back what was said before it.
        if self.line().await?.is_empty() { Ok(true) } else { Err(Trouble::answer("(fields after the body)")) }
    }

    /// A line without its end.
    async fn line(&mut self) -> Result<Vec<u8>, Trouble> {
        loop {
            let rest = self.rest();
            if let Some(at) = rest.windows(2).position(|pair| pair == b"\r\n") {
                let mut line = self.take(at + 2);
                line.truncate(at);
                return Ok(line);
            }
            if rest.len() > chunk::MAX_LINE_BYTES {
                return Err(Trouble::answer("(a chunk without a length)"));
            }
            self.more().await?;
        }
    }

    /// More bytes of an answer that has begun.
    async fn more(&mut self) -> Result<(), Trouble> {
        match self.fill().await {
            Ok(true) => Ok(()),
            Ok(false) => Err(Trouble::answer("(the answer was cut)")),
            Err(error) => Err(Trouble::answer(format!("(the answer was cut: {error})"))),
        }
    }

    /// False at the end.
    async fn fill(&mut self) -> io::Result<bool> {
        self.buffer.drain(..self.used);
        self.used = 0;
        self.buffer.reserve(READ_BYTES);
        Ok(self.source.read_buf(&mut self.buffer).await? > 0)
    }

    fn rest(&self) -> &[u8] {
        &self.buffer[self.used..]
    }

    fn take(&mut self, len: usize) -> Vec<u8> {
        let taken = self.rest()[..len].to_vec();
        self.used += len;
        taken
    }

    fn shown(&self) -> String {
        shown(self.rest())
    }
}

fn shown(bytes: &[u8]) -> String {
    String::from_utf8_lossy(&bytes[..bytes.len().min(200)]).into_owned()
}

fn end_of_head(bytes: &[u8]) -> Option<usize> {
    const END: &[u8] = b"\r\n\r\n";
    bytes.windows(END.len()).position(|window| window == END).map(|at| at + END.len())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    async fn body(wire: &[u8]) -> Result<Vec<u8>, Trouble> {
        let mut reader = Reader::new(wire);
        let mut body = Vec::new();
        let ended = reader.body(|piece| {
            body.extend_from_slice(piece);
            true
        });
        assert!(ended.await?);
        assert!(reader.is_drained());
        Ok(body)
    }

    #[tokio::test]
    async fn a_body_is_its_chunks() {
        assert_eq!(body(b"0\r\n\r\n").await.unwrap(), b"");
        assert_eq!(body(b"3\r\nabc\r\nA; x=y\r\n0123456789\r\n00\r\n\r\n").await.unwrap(), b"abc0123456789");
    }

    #[tokio::test]
    async fn a_body_that_is_not_whole_is_trouble() {
        for wire in [
            "",
            "\r\n",
            "3\r\nabc\r\n",
            "3\r\nabc\r\n0\r\n",
            "3\r\nabc0\r\n\r\n",
            "3\r\nabcd\r\n0\r\n\r\n",
            "4\r\nabc\r\n0\r\n\r\n",
            "-1\r\na\r\n0\r\n\r\n",
            "+1\r\na\r\n0\r\n\r\n",
            "0x1\r\na\r\n0\r\n\r\n",
            " 1\r\na\r\n0\r\n\r\n",
            "1\na\n0\n\n",
            "ffffffffffffffff\r\na\r\n0\r\n\r\n",
            "10000000000000000\r\na\r\n0\r\n\r\n",
            "1\r\na\r\n0\r\nTrailer: x\r\n\r\n",
            &"0".repeat(10_000),
        ] {
            assert!(matches!(body(wire.as_bytes()).await, Err(Trouble::Answer(_))), "{wire:?}");
        }
    }

    #[tokio::test]
    async fn a_head_ends_where_it_ends() {
        let wire = b"ICAP/1.0 204 No\r\nA: b\r\n\r\nICAP/1.0 200 OK\r\n\r\n";
        for size in 1..wire.len() {
            let (client, mut server) = tokio::io::duplex(size);
            let mut reader = Reader::new(client);
            let send = async {
                tokio::io::AsyncWriteExt::write_all(&mut server, wire).await.unwrap();
                drop(server);
            };
            let read = async {
                assert_eq!(reader.icap().await.unwrap().status(), Some(204));
                assert_eq!(reader.icap().await.unwrap().status(), Some(200));
                assert!(matches!(reader.icap().await, Err(Trouble::Nothing(_))));
            };
            tokio::join!(send, read);
        }
    }

    #[tokio::test]
    async fn a_flood_of_fields_has_an_end() {
        let flood = tokio::io::repeat(b'x');
        assert!(matches!(Reader::new(flood).icap().await, Err(Trouble::Answer(_))));
        let long = format!("ICAP/1.0 204 No\r\n{}\r\n", "A: b\r\n".repeat(MAX_HEAD_BYTES / 6));
        assert!(matches!(Reader::new(long.as_bytes()).icap().await, Err(Trouble::Answer(_))));
    }

    proptest! {
        #[test]
        fn chunks_come_out_as_they_went_in(chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..300), 0..5)) {
            let mut wire = Vec::new();
            for chunk in &chunks {
                wire.extend(format!("{:x}\r\n", chunk.len()).bytes());
                wire.extend(chunk);
                wire.extend(b"\r\n");
            }
            wire.extend(b"0\r\n\r\n");
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            prop_assert_eq!(runtime.block_on(body(&wire)).unwrap(), chunks.concat());
        }
    }
}
