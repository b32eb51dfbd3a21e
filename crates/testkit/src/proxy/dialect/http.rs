//! HTTP/1.1 (RFC 9112), as clients of S3 and SQS speak it: one request at a time on a connection.

use super::{Answer, Kind, Piece};

const HEAD_END: &[u8] = b"\r\n\r\n";
const GO_ON: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

#[derive(Debug, Default)]
pub(in crate::proxy) struct Client {
    told_to_go_on: bool,
}

impl Client {
    pub(super) fn first(&mut self, buffer: &[u8]) -> Option<Piece> {
        let head = Head::parse(buffer)?;
        let length = head.length + head.body_length(&buffer[head.length..], Some(0))?;
        self.told_to_go_on = false;
        let of_head = head.first_line.starts_with("HEAD ");
        Some((length, Kind::Request(head.name()), Answer::Http { of_head }))
    }

    /// A client that asks whether it may send its body (RFC 9110, 10.1.1) may: the server sees it whole or not at all.
    pub(super) fn interim(&mut self, buffer: &[u8]) -> Option<&'static [u8]> {
        let head = Head::parse(buffer)?;
        let asks = head.header("expect").is_some_and(|value| value.eq_ignore_ascii_case("100-continue"));
        let tell = asks && !self.told_to_go_on;
        self.told_to_go_on |= tell;
        tell.then_some(GO_ON)
    }
}

/// The answer with its body; a body without a length ends with the connection.
pub(super) fn is_complete(mut bytes: &[u8], of_head: bool) -> bool {
    loop {
        let Some(head) = Head::parse(bytes) else { return false };
        let body = &bytes[head.length..];
        let status = head.first_line.split(' ').nth(1).unwrap_or_default();
        if status.starts_with('1') {
            bytes = body;
            continue;
        }
        let without = of_head || matches!(status, "204" | "304");
        return without || head.body_length(body, None).is_some();
    }
}

struct Head<'a> {
    first_line: &'a str,
    headers: &'a str,
    length: usize,
}

impl<'a> Head<'a> {
    fn parse(bytes: &'a [u8]) -> Option<Self> {
        let end = bytes.windows(HEAD_END.len()).position(|window| window == HEAD_END)?;
        // What is no UTF-8 is nothing that we look for.
        let text = std::str::from_utf8(&bytes[..end]).unwrap_or_default();
        let (first_line, headers) = text.split_once("\r\n").unwrap_or((text, ""));
        Some(Self { first_line, headers, length: end + HEAD_END.len() })
    }

    fn header(&self, name: &str) -> Option<&'a str> {
        let mut headers = self.headers.split("\r\n").filter_map(|line| line.split_once(':'));
        headers.find(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim())
    }

    /// SQS and its kin name the operation in a header, S3 by method and path.
    fn name(&self) -> String {
        let line = self.first_line.rsplit_once(' ').map_or(self.first_line, |(line, _)| line);
        self.header("x-amz-target").unwrap_or(line).to_owned()
    }

    /// The length of the body as it lies in `bytes`, once all of it is there.
    fn body_length(&self, bytes: &[u8], without_length: Option<usize>) -> Option<usize> {
        if self.header("transfer-encoding").is_some_and(|value| value.eq_ignore_ascii_case("chunked")) {
            return chunked_length(bytes);
        }
        match self.header("content-length") {
            Some(length) => length.parse().ok().filter(|length| bytes.len() >= *length),
            None => without_length,
        }
    }
}

fn chunked_length(bytes: &[u8]) -> Option<usize> {
    let mut at = 0;
    loop {
        let line = line_length(bytes.get(at..)?)?;
        let size = std::str::from_utf8(&bytes[at..at + line - 2]).ok()?.split(';').next()?.trim();
        let size = usize::from_str_radix(size, 16).ok()?;
        at += line;
        if size > 0 {
            at += size + 2;
            continue;
        }
        // Trailers, up to an empty line.
        loop {
            let line = line_length(bytes.get(at..)?)?;
            at += line;
            if line == 2 {
                return Some(at);
            }
        }
    }
}

fn line_length(bytes: &[u8]) -> Option<usize> {
    bytes.windows(2).position(|window| window == b"\r\n").map(|end| end + 2)
}
