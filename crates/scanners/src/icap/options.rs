//! What a service says of itself (RFC 3507, section 4.10.2).

use lazaret_core::EngineVersion;

use super::{
    IcapMethod,
    head::{Contradiction, Head},
    trouble::Trouble,
};

/// A larger preview is not sent, whatever the server would like.
const MAX_PREVIEW_BYTES: u64 = 64 * 1024;
const MAX_SHOWN_BYTES: usize = 200;
/// RFC 3507 gives a tag 32 bytes; some engines give it more.
const MAX_TAG_BYTES: usize = 128;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Options {
    pub(super) engine: EngineVersion,
    /// How much the server wants to see of an object before it says whether it wants the rest.
    pub(super) preview: Option<u64>,
    /// Whether it can answer without sending the object back.
    pub(super) allow_204: bool,
    pub(super) max_connections: Option<usize>,
    pub(super) ttl_s: Option<u64>,
}

impl Options {
    /// What the head of an answer to `OPTIONS` means for `method`.
    pub(super) fn parse(head: &Head, method: IcapMethod) -> Result<Self, Trouble> {
        let status = head.status().unwrap_or_default();
        if status != 200 {
            return Err(Trouble::answer(format!("it answers OPTIONS with {status}")));
        }
        if head.all("methods").next().is_some() && !head.lists("methods", method.as_str()) {
            let offered = head.all("methods").collect::<Vec<_>>().join(", ");
            return Err(Trouble::answer(format!("the service does not do {method}, only {offered}")));
        }
        let engine =
            ["service", "server", "service-id"].into_iter().find_map(|name| head.all(name).find_map(printable));
        Ok(Self {
            engine: EngineVersion {
                engine: engine.unwrap_or_else(|| "ICAP/1.0".to_owned()),
                signatures: tag(head)?,
                signatures_at: None,
            },
            preview: number(head, "preview")?.map(|preview| preview.min(MAX_PREVIEW_BYTES)),
            allow_204: head.lists("allow", "204"),
            max_connections: number(head, "max-connections")?.map(|max| usize::try_from(max).unwrap_or(usize::MAX)),
            ttl_s: number(head, "options-ttl")?,
        })
    }
}

/// The `ISTag`, which is another one whenever the engine, its settings or its signatures are (RFC 3507, section 4.7).
pub(super) fn tag(head: &Head) -> Result<Option<String>, Trouble> {
    let twice = |Contradiction| Trouble::answer("(an answer with two ISTags)");
    let Some(value) = head.one("istag").map_err(twice)? else { return Ok(None) };
    let bare = value.strip_prefix('"').and_then(|value| value.strip_suffix('"')).unwrap_or(value);
    let known = (1..=MAX_TAG_BYTES).contains(&bare.len()) && bare.bytes().all(|b| b == b' ' || b.is_ascii_graphic());
    if known { Ok(Some(bare.to_owned())) } else { Err(Trouble::answer(format!("(an ISTag that is none) {value}"))) }
}

fn number(head: &Head, name: &str) -> Result<Option<u64>, Trouble> {
    let unclear = || Trouble::answer(format!("its {name} is not one number"));
    let Some(value) = head.one(name).map_err(|Contradiction| unclear())? else { return Ok(None) };
    let digits = value.bytes().all(|b| b.is_ascii_digit());
    digits.then(|| value.parse().ok()).flatten().ok_or_else(unclear).map(Some)
}

fn printable(value: &str) -> Option<String> {
    let fit = (1..=MAX_SHOWN_BYTES).contains(&value.len()) && value.bytes().all(|b| b == b' ' || b.is_ascii_graphic());
    fit.then(|| value.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(fields: &str) -> Result<Options, Trouble> {
        let head = Head::icap(format!("ICAP/1.0 200 OK\r\n{fields}\r\n").as_bytes()).unwrap();
        Options::parse(&head, IcapMethod::Respmod)
    }

    #[test]
    fn c_icap_is_understood() {
        let options = parse(concat!(
            "Methods: RESPMOD, REQMOD\r\nService: C-ICAP/0.5.10 server - Antivirus service\r\n",
            "ISTag: \"CI0001-L5CkDhq+qWNs+PZ5DxxXsAAA\"\r\nTransfer-Preview: *\r\nOptions-TTL: 3600\r\n",
            "Date: Sun, 22 Nov 2026 09:40:21 GMT\r\nPreview: 1024\r\nAllow: 204\r\nEncapsulated: null-body=0\r\n",
        ));
        let expected = Options {
            engine: EngineVersion {
                engine: "C-ICAP/0.5.10 server - Antivirus service".to_owned(),
                signatures: Some("CI0001-L5CkDhq+qWNs+PZ5DxxXsAAA".to_owned()),
                signatures_at: None,
            },
            preview: Some(1024),
            allow_204: true,
            max_connections: None,
            ttl_s: Some(3600),
        };
        assert_eq!(options.unwrap(), expected);
    }

    #[test]
    fn little_said_is_little_known() {
        let options = parse("").unwrap();
        assert_eq!((options.engine.engine.as_str(), options.engine.signatures), ("ICAP/1.0", None));
        assert_eq!((options.preview, options.allow_204, options.max_connections), (None, false, None));
        assert_eq!(parse("Server: x\r\n").unwrap().engine.engine, "x");
        assert_eq!(parse("Preview: 99999999\r\n").unwrap().preview, Some(MAX_PREVIEW_BYTES));
        assert_eq!(parse("ISTag: bare\r\nISTag: bare\r\n").unwrap().engine.signatures.as_deref(), Some("bare"));
    }

    #[test]
    fn what_cannot_be_is_trouble() {
        for fields in [
            "Methods: REQMOD\r\n",
            "Preview: -1\r\n",
            "Preview: many\r\n",
            "Preview: \r\n",
            "Preview: 1\r\nPreview: 2\r\n",
            "Max-Connections: 99999999999999999999\r\n",
            "ISTag: \r\n",
            "ISTag: \"\"\r\n",
            "ISTag: a\r\nISTag: b\r\n",
        ] {
            assert!(matches!(parse(fields), Err(Trouble::Answer(_))), "{fields:?}");
        }
        for status in ["100 Continue", "204 No", "404 Service not found", "500 No", "503 Overloaded"] {
            let head = Head::icap(format!("ICAP/1.0 {status}\r\n\r\n").as_bytes()).unwrap();
            assert!(matches!(Options::parse(&head, IcapMethod::Respmod), Err(Trouble::Answer(_))), "{status}");
        }
    }
}
