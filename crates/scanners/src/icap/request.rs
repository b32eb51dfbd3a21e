//! What is sent before the object's bytes. Nothing in it is the client's: no name, no type, no address.

use super::{IcapMethod, IcapUrl};

/// Where the object is said to be from. No name leads there (RFC 2606).
pub(super) const TARGET: &str = "http://lazaret.invalid/object";
pub(super) const REQMOD_METHOD: &str = "PUT";
const AGENT: &str = concat!("Lazaret/", env!("CARGO_PKG_VERSION"));

pub(super) fn options(url: &IcapUrl) -> Vec<u8> {
    let host = url.authority();
    format!("OPTIONS {url} ICAP/1.0\r\nHost: {host}\r\nUser-Agent: {AGENT}\r\nEncapsulated: null-body=0\r\n\r\n")
        .into_bytes()
}

/// One object to be looked at.
#[derive(Debug, Clone, Copy)]
pub(super) struct Request<'a> {
    pub(super) url: &'a IcapUrl,
    pub(super) method: IcapMethod,
    pub(super) len: u64,
    pub(super) preview: Option<u64>,
    pub(super) allow_204: bool,
}

impl Request<'_> {
    /// The ICAP head and the encapsulated heads.
    pub(super) fn head(&self) -> Vec<u8> {
        let Self { url, method, len, preview, allow_204 } = *self;
        let host = url.authority();
        let about = format!("Content-Type: application/octet-stream\r\nContent-Length: {len}\r\n\r\n");
        let (encapsulated, http) = match method {
            IcapMethod::Respmod => {
                let request = format!("GET {TARGET} HTTP/1.1\r\nHost: lazaret.invalid\r\n\r\n");
                let response = format!("HTTP/1.1 200 OK\r\n{about}");
                let (at, body_at) = (request.len(), request.len() + response.len());
                (format!("req-hdr=0, res-hdr={at}, res-body={body_at}"), request + &response)
            }
            IcapMethod::Reqmod => {
                let request = format!("{REQMOD_METHOD} {TARGET} HTTP/1.1\r\nHost: lazaret.invalid\r\n{about}");
                (format!("req-hdr=0, req-body={}", request.len()), request)
            }
        };
        let allow = if allow_204 { "Allow: 204\r\n" } else { "" };
        let preview = preview.map(|preview| format!("Preview: {preview}\r\n")).unwrap_or_default();
        format!(
            "{method} {url} ICAP/1.0\r\nHost: {host}\r\nUser-Agent: {AGENT}\r\n{allow}{preview}\
             Encapsulated: {encapsulated}\r\n\r\n{http}"
        )
        .into_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offsets_point_where_things_begin() {
        let url: IcapUrl = "icap://host/avscan".parse().unwrap();
        for (method, parts) in [
            (IcapMethod::Respmod, &[("res-hdr", "HTTP/1.1 200 OK\r\n"), ("res-body", "")] as &[_]),
            (IcapMethod::Reqmod, &[("req-body", "")]),
        ] {
            let request = Request { url: &url, method, len: 7, preview: Some(3), allow_204: true };
            let head = String::from_utf8(request.head()).unwrap();
            assert!(
                head.starts_with(&format!("{method} icap://host:1344/avscan ICAP/1.0\r\nHost: host:1344\r\n")),
                "{head}"
            );
            assert!(head.contains("\r\nAllow: 204\r\nPreview: 3\r\n"), "{head}");
            let (icap, http) = head.split_once("\r\n\r\n").unwrap();
            assert!(http.contains("Content-Length: 7\r\n\r\n"), "{head}");
            for (name, beginning) in parts {
                let at = icap.split(&format!("{name}=")).nth(1).unwrap();
                let at: usize = at.split([',', '\r']).next().unwrap().parse().unwrap();
                assert!(http[at..].starts_with(beginning), "{head}");
                assert!(http[..at].ends_with("\r\n\r\n"), "{head}");
                assert!(!beginning.is_empty() || at == http.len(), "{head}");
            }
        }
        let bare = Request { url: &url, method: IcapMethod::Respmod, len: 7, preview: None, allow_204: false };
        let head = String::from_utf8(bare.head()).unwrap();
        assert!(!head.contains("Preview") && !head.contains("Allow"), "{head}");
    }
}
