//! The heads of ICAP and HTTP messages: a first line and fields, each line ended by CR LF. Strict: what cannot be read
//! is no head.

/// A head of either protocol.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) first: FirstLine,
    /// Names in lower case; the lines of a folded value are joined by newlines.
    fields: Vec<(String, String)>,
}

/// How a message begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum FirstLine {
    /// `PROTOCOL/VERSION 204 Words`.
    Status(u16),
    /// `PUT target HTTP/1.1`.
    Request {
        /// The method.
        method: String,
        /// The target.
        target: String,
    },
}

/// One field that says two things.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Contradiction;

impl Head {
    /// An ICAP answer's head, with the empty line that ends it.
    pub(super) fn icap(bytes: &[u8]) -> Option<Self> {
        Self::parse(bytes, |line| status(line, &["ICAP/1.0"]))
    }

    /// The head of an HTTP message inside of one.
    pub(super) fn http(bytes: &[u8]) -> Option<Self> {
        Self::parse(bytes, |line| status(line, &["HTTP/1.0", "HTTP/1.1"]).or_else(|| request(line)))
    }

    fn parse(bytes: &[u8], first: impl FnOnce(&str) -> Option<FirstLine>) -> Option<Self> {
        let text = String::from_utf8_lossy(bytes.strip_suffix(b"\r\n\r\n")?);
        let mut lines = text.split("\r\n");
        let first = first(lines.next()?)?;
        let mut fields: Vec<(String, String)> = Vec::new();
        for line in lines {
            if line.is_empty() || line.contains(|c: char| c.is_control() && c != '\t') {
                return None;
            }
            if line.starts_with([' ', '\t']) {
                let (_, value) = fields.last_mut()?;
                value.push('\n');
                value.push_str(line.trim());
            } else {
                let (name, value) = line.split_once(':')?;
                let named = !name.is_empty() && name.bytes().all(is_token);
                fields.push(named.then(|| (name.to_ascii_lowercase(), value.trim().to_owned()))?);
            }
        }
        Some(Self { first, fields })
    }

    /// The status code, of an answer.
    pub(super) const fn status(&self) -> Option<u16> {
        match self.first {
            FirstLine::Status(status) => Some(status),
            FirstLine::Request { .. } => None,
        }
    }

    /// All values of a field, by its name in lower case.
    pub(super) fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.fields.iter().filter(move |(field, _)| field == name).map(|(_, value)| value.as_str())
    }

    /// The value of a field that says one thing.
    pub(super) fn one<'a>(&'a self, name: &'a str) -> Result<Option<&'a str>, Contradiction> {
        let mut values = self.all(name);
        let value = values.next();
        if values.all(|other| Some(other) == value) { Ok(value) } else { Err(Contradiction) }
    }

    /// Whether a field is a list that has this word.
    pub(super) fn lists(&self, name: &str, word: &str) -> bool {
        self.all(name).flat_map(|value| value.split([',', '\n'])).any(|item| item.trim().eq_ignore_ascii_case(word))
    }
}

fn is_token(b: u8) -> bool {
    b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b)
}

fn status(line: &str, protocols: &[&str]) -> Option<FirstLine> {
    let (protocol, rest) = line.split_once(' ')?;
    let (code, words) = rest.split_once(' ').unwrap_or((rest, ""));
    let numbered = code.len() == 3 && code.bytes().all(|b| b.is_ascii_digit());
    let known = protocols.contains(&protocol) && numbered && !words.contains(|c: char| c.is_control() && c != '\t');
    Some(FirstLine::Status(known.then(|| code.parse().ok())??))
}

fn request(line: &str) -> Option<FirstLine> {
    let mut words = line.split(' ');
    let (method, target, protocol) = (words.next()?, words.next()?, words.next()?);
    let whole = words.next().is_none()
        && ["HTTP/1.0", "HTTP/1.1"].contains(&protocol)
        && !method.is_empty()
        && method.bytes().all(is_token)
        && !target.is_empty()
        && !target.contains(char::is_control);
    whole.then(|| FirstLine::Request { method: method.to_owned(), target: target.to_owned() })
}

/// What an answer carries (RFC 3507, section 4.4.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Encapsulated {
    /// Nothing.
    Nothing,
    /// The head of an HTTP message of this many bytes, and perhaps its body in chunks.
    Message {
        /// Whether it is a request.
        request: bool,
        /// Length of the head in bytes.
        head_bytes: usize,
        /// Whether a body follows.
        body: bool,
    },
}

impl Encapsulated {
    /// The meaning of the field; none where it is not one that an answer may have.
    pub(super) fn parse(value: &str) -> Option<Self> {
        let mut parts = Vec::with_capacity(2);
        for part in value.split(',') {
            let (name, offset) = part.trim().split_once('=')?;
            let digits = !offset.is_empty() && offset.len() <= 9 && offset.bytes().all(|b| b.is_ascii_digit());
            parts.push((name, digits.then(|| offset.parse::<usize>().ok())??));
        }
        let (request, head_bytes, body) = match parts.as_slice() {
            [("null-body", 0)] => return Some(Self::Nothing),
            [("res-hdr", 0), ("res-body", at)] => (false, *at, true),
            [("res-hdr", 0), ("null-body", at)] => (false, *at, false),
            [("req-hdr", 0), ("req-body", at)] => (true, *at, true),
            [("req-hdr", 0), ("null-body", at)] => (true, *at, false),
            _ => return None,
        };
        (head_bytes > 0).then_some(Self::Message { request, head_bytes, body })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn icap(lines: &str) -> Option<Head> {
        Head::icap(lines.as_bytes())
    }

    #[test]
    fn a_head_has_a_status_and_fields() {
        let head = icap("ICAP/1.0 200 OK\r\nISTag: \"x\"\r\nallow: 204, 206\r\nAllow:trailers\r\n\r\n").unwrap();
        assert_eq!(head.status(), Some(200));
        assert_eq!(head.one("istag"), Ok(Some("\"x\"")));
        assert_eq!(head.one("preview"), Ok(None));
        assert_eq!(head.one("allow"), Err(Contradiction));
        for word in ["204", "206", "Trailers"] {
            assert!(head.lists("allow", word), "{word}");
        }
        assert!(!head.lists("allow", "20"));
        assert_eq!(icap("ICAP/1.0 204\r\n\r\n").unwrap().status(), Some(204));
        assert_eq!(icap("ICAP/1.0 204 \r\n\r\n").unwrap().status(), Some(204));
    }

    #[test]
    fn folded_values_keep_their_lines() {
        let head = icap("ICAP/1.0 200 OK\r\nX-Violations-Found: 1\r\n\t-\r\n\tEicar\r\n  0\r\nA: b\r\n\r\n").unwrap();
        assert_eq!(head.one("x-violations-found"), Ok(Some("1\n-\nEicar\n0")));
        assert_eq!(head.one("a"), Ok(Some("b")));
    }

    #[test]
    fn http_heads_are_answers_or_requests() {
        assert_eq!(Head::http(b"HTTP/1.0 403 Forbidden\r\n\r\n").unwrap().status(), Some(403));
        let request = Head::http(b"PUT http://a/b HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
        let expected = FirstLine::Request { method: "PUT".to_owned(), target: "http://a/b".to_owned() };
        assert_eq!((request.status(), request.first), (None, expected));
    }

    #[test]
    fn anything_else_is_no_head() {
        for text in [
            "",
            "\r\n\r\n",
            "ICAP/1.0 200 OK",
            "ICAP/1.0 200 OK\r\n",
            "ICAP/1.0 200 OK\n\n",
            "ICAP/1.0 200 OK\r\nA: b\n\r\n\r\n",
            "ICAP/1.0 200 OK\r\nA\r\n\r\n",
            "ICAP/1.0 200 OK\r\n: b\r\n\r\n",
            "ICAP/1.0 200 OK\r\nA : b\r\n\r\n",
            "ICAP/1.0 200 OK\r\n folded\r\n\r\n",
            "ICAP/1.0 200 OK\r\nA: b\0\r\n\r\n",
            "ICAP/1.0 200 OK\r\nA: b\r\n\r\nB: c\r\n\r\n",
            "ICAP/1.0  200 OK\r\n\r\n",
            "ICAP/1.0 2000 OK\r\n\r\n",
            "ICAP/1.0 20 OK\r\n\r\n",
            "ICAP/1.0 +20 OK\r\n\r\n",
            "ICAP/1.1 200 OK\r\n\r\n",
            "icap/1.0 200 OK\r\n\r\n",
            " ICAP/1.0 200 OK\r\n\r\n",
            "\r\nICAP/1.0 200 OK\r\n\r\n",
            "HTTP/1.1 200 OK\r\n\r\n",
        ] {
            assert_eq!(icap(text), None, "{text:?}");
        }
        for text in
            ["ICAP/1.0 200 OK\r\n\r\n", "PUT  HTTP/1.1\r\n\r\n", "PUT / HTTP/1.1 x\r\n\r\n", "HTTP/2 200\r\n\r\n"]
        {
            assert_eq!(Head::http(text.as_bytes()), None, "{text:?}");
        }
    }

    #[test]
    fn encapsulated_is_one_of_five_shapes() {
        let message = |request, head_bytes, body| Some(Encapsulated::Message { request, head_bytes, body });
        for (value, expected) in [
            ("null-body=0", Some(Encapsulated::Nothing)),
            ("res-hdr=0, res-body=161", message(false, 161, true)),
            ("res-hdr=0,null-body=1", message(false, 1, false)),
            ("req-hdr=0, req-body=7", message(true, 7, true)),
            ("req-hdr=0, null-body=7", message(true, 7, false)),
            ("", None),
            ("res-body=0", None),
            ("res-hdr=0", None),
            ("res-hdr=1, res-body=161", None),
            ("res-hdr=0, res-body=0", None),
            ("res-hdr=0, req-body=5", None),
            ("req-hdr=0, res-hdr=5, res-body=9", None),
            ("res-hdr=0, res-body=-1", None),
            ("res-hdr=0, res-body=+1", None),
            ("res-hdr=0, res-body=", None),
            ("res-hdr=0, res-body=9999999999", None),
            ("res-hdr=0; res-body=5", None),
            ("Res-Hdr=0, res-body=5", None),
            ("null-body=5", None),
            ("res-hdr=0, res-body=5,", None),
        ] {
            assert_eq!(Encapsulated::parse(value), expected, "{value:?}");
        }
    }

    proptest! {
        #[test]
        fn no_part_of_a_head_is_a_head(
            fields in prop::collection::vec(("[A-Za-z-]{1,8}", "[ -~]{0,12}"), 0..4),
            cut in any::<prop::sample::Index>(),
        ) {
            let fields: Vec<_> = fields.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
            let head = format!("ICAP/1.0 204 No\r\n{}\r\n", fields.concat());
            prop_assert!(icap(&head).is_some());
            prop_assert_eq!(icap(&head[..cut.index(head.len())]), None);
        }

        #[test]
        fn any_bytes_can_be_read(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let head = [b"ICAP/1.0 200 OK\r\n", bytes.as_slice(), b"\r\n\r\n"].concat();
            if let Some(head) = Head::icap(&head) {
                prop_assert_eq!(head.status(), Some(200));
            }
            Encapsulated::parse(&String::from_utf8_lossy(&bytes));
        }
    }
}
