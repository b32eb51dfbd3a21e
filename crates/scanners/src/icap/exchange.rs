//! One request and its answer, over any connection.

use std::{io, os::unix::fs::FileExt};

use lazaret_core::{Finding, HoldReason, Sha256Digest, Spooled};
use sha2::{Digest, Sha256};
use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt},
    task::spawn_blocking,
};

use super::{
    IcapMethod, IcapUrl, chunk,
    head::{Contradiction, Encapsulated, FirstLine, Head},
    options::{self, Options},
    reader::Reader,
    request::{self, Request},
    trouble::Trouble,
    upload::{Failure, Upload},
    verdict,
};

const CHUNK_BYTES: u64 = 128 * 1024;

/// A connection's two directions.
#[derive(Debug)]
pub(super) struct Wire<R, W> {
    pub(super) reader: Reader<R>,
    pub(super) writer: W,
}

/// What a server said about an object.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) finding: Finding,
    /// The engine at the end of the scan; none where the answer does not say so, or began before the server had all.
    pub(super) tag: Option<String>,
    /// Whether the next request can go the same way.
    pub(super) reusable: bool,
}

/// An answer, without regard to how much of the object it is about.
enum Said {
    Found(Finding),
    Unmodified { sent_back: bool },
}

/// Asks the service about itself. Says whether the connection can be used again.
pub(super) async fn options<R, W>(
    wire: &mut Wire<R, W>,
    url: &IcapUrl,
    method: IcapMethod,
) -> Result<(Options, bool), Trouble>
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
{
    wire.writer.write_all(&request::options(url)).await.map_err(|error| Trouble::Nothing(error.to_string()))?;
    let head = wire.reader.icap().await?;
    let options = Options::parse(&head, method)?;
    // A body of options is of no use: it is left unread, and the connection with it.
    let empty = encapsulated(&head)?.is_none_or(|value| value == "null-body=0");
    Ok((options, empty && wire.reader.is_drained() && !closes(&head)))
}

/// Has the object looked at.
pub(super) async fn scan<R, W>(
    wire: &mut Wire<R, W>,
    request: &Request<'_>,
    object: &Spooled,
) -> Result<Answer, Trouble>
where
    R: AsyncRead + Unpin + Send,
    W: AsyncWrite + Unpin + Send,
{
    let Wire { reader, writer } = wire;
    if let Some(preview) = request.preview {
        let mut upload = Upload::of(async {
            writer.write_all(&request.head()).await?;
            send(writer, object, 0, preview).await
        });
        let head = upload.beside(reader.icap()).await?;
        let sent = upload.is_done();
        drop(upload);
        if head.status() != Some(100) {
            let (said, ended) = said(reader, &head, request, object).await?;
            let finding = match said {
                Said::Found(finding) => finding,
                Said::Unmodified { .. } => unseen(&format!("with {preview} of {} bytes seen", object.len())),
            };
            let reusable = sent && ended && reader.is_drained() && !closes(&head);
            return Ok(Answer { finding, tag: options::tag(&head)?, reusable });
        }
        if !sent || !reader.is_drained() {
            return Err(Trouble::answer("(it wants to go on before the preview is over)"));
        }
    }
    let mut upload = Upload::of(async {
        if request.preview.is_none() {
            writer.write_all(&request.head()).await?;
        }
        send(writer, object, request.preview.unwrap_or(0), object.len()).await
    });
    let head = upload.beside(reader.icap()).await?;
    let had_all = upload.is_done();
    let (said, ended) = upload.beside(said(reader, &head, request, object)).await?;
    let sent = upload.is_done();
    drop(upload);
    let finding = match said {
        Said::Found(finding) => finding,
        Said::Unmodified { sent_back: false } if !request.allow_204 => {
            return Err(Trouble::answer("ICAP 204 (which it was not allowed)"));
        }
        Said::Unmodified { .. } if !reader.is_drained() => return Err(Trouble::answer("(more than one answer)")),
        Said::Unmodified { .. } if had_all => Finding::Clean,
        // It asked for the rest after a preview, so it looks at it, and lets part of it through meanwhile.
        Said::Unmodified { sent_back: true } if sent && request.preview.is_some() => Finding::Clean,
        Said::Unmodified { .. } => unseen("before it had all of it"),
    };
    let tag = if had_all { options::tag(&head)? } else { None };
    Ok(Answer { finding, tag, reusable: sent && ended && reader.is_drained() && !closes(&head) })
}

/// Sends the object's bytes `from..to` in chunks, and the chunk that ends them.
async fn send(writer: &mut (impl AsyncWrite + Unpin), object: &Spooled, from: u64, to: u64) -> Result<(), Failure> {
    let mut offset = from;
    while offset < to {
        let len = CHUNK_BYTES.min(to - offset);
        let object = object.clone();
        let read = spawn_blocking(move || {
            let mut bytes = vec![0; usize::try_from(len).map_err(io::Error::other)?];
            object.file().read_exact_at(&mut bytes, offset)?;
            Ok(bytes)
        });
        let bytes = read.await.map_err(io::Error::from).flatten().map_err(Failure::Spool)?;
        writer.write_all(&chunk::of(&bytes)).await?;
        offset += len;
    }
    Ok(writer.write_all(chunk::LAST).await?)
}

/// What the answer that begins with `head` says, and whether it was read to its end.
async fn said<R: AsyncRead + Unpin>(
    reader: &mut Reader<R>,
    head: &Head,
    request: &Request<'_>,
    object: &Spooled,
) -> Result<(Said, bool), Trouble> {
    if let Some(finding) = verdict::told(head, None) {
        return Ok((Said::Found(finding), false));
    }
    let status = head.status().unwrap_or_default();
    let inside = encapsulated(head)?;
    let unclear = || Trouble::answer(format!("ICAP {status} (with Encapsulated: {})", inside.unwrap_or("nothing")));
    let inside = inside.map(|value| Encapsulated::parse(value).ok_or_else(unclear)).transpose()?;
    match (status, inside) {
        (204, None | Some(Encapsulated::Nothing)) => Ok((Said::Unmodified { sent_back: false }, true)),
        (200, Some(Encapsulated::Message { request: is_request, head_bytes, body })) => {
            let http = reader.http(head_bytes).await?;
            if is_request != matches!(http.first, FirstLine::Request { .. }) {
                return Err(unclear());
            }
            if let Some(finding) = verdict::told(head, Some(&http)) {
                return Ok((Said::Found(finding), false));
            }
            let about_the_object = is_request == (request.method == IcapMethod::Reqmod) && verdict::passes(&http);
            if !about_the_object || !body {
                let code = http.status().map_or_else(|| "another request".to_owned(), |code| format!("HTTP {code}"));
                return Err(Trouble::answer(format!("ICAP 200 (with {code} instead of the object, and no reason)")));
            }
            same(reader, object).await.map(|()| (Said::Unmodified { sent_back: true }, true))
        }
        (200 | 204, _) => Err(unclear()),
        _ => Err(Trouble::answer(format!("ICAP {status}"))),
    }
}

/// Reads a body that has to be the object's own bytes.
async fn same<R: AsyncRead + Unpin>(reader: &mut Reader<R>, object: &Spooled) -> Result<(), Trouble> {
    let (mut left, mut hash) = (object.len(), Sha256::new());
    let ended = reader.body(|piece| match left.checked_sub(piece.len() as u64) {
        Some(rest) => {
            left = rest;
            hash.update(piece);
            true
        }
        None => false,
    });
    let ended = ended.await?;
    if ended && left == 0 && Sha256Digest::from_bytes(hash.finalize().into()) == *object.sha256() {
        Ok(())
    } else {
        Err(Trouble::answer("ICAP 200 (with other bytes than the object's, and no reason)"))
    }
}

fn unseen(how: &str) -> Finding {
    Finding::Unscannable { reason: HoldReason::ScanLimits, detail: format!("the server let it pass {how}") }
}

fn encapsulated(head: &Head) -> Result<Option<&str>, Trouble> {
    head.one("encapsulated").map_err(|Contradiction| Trouble::answer("(an answer with two Encapsulated)"))
}

fn closes(head: &Head) -> bool {
    head.lists("connection", "close")
}

#[cfg(test)]
mod tests;
