//! What a dead letter looks like outside. Everything in it may come from a stranger.

use comfy_table::Cell;
use lazaret_core::ports::DeadLetter;
use lazaret_events::Record;
use serde::Serialize;

use crate::output;

/// The longest excerpt of a body, in characters.
const EXCERPT: usize = 400;
/// The same in a table.
const TABLE_EXCERPT: usize = 60;
/// The longest reason.
const MAX_REASON: usize = 500;
/// The most objects of one message that are shown.
const MAX_OBJECTS: usize = 20;

#[derive(Debug, Serialize)]
pub(super) struct Shown {
    message_id: String,
    reason: Option<String>,
    /// What the message is about, where it is understood.
    objects: Vec<Object>,
    /// The beginning of the message.
    body: String,
    body_bytes: usize,
}

#[derive(Debug, Serialize)]
struct Object {
    bucket: String,
    key: String,
    version: Option<String>,
}

impl Shown {
    pub(super) fn of(letter: &DeadLetter) -> Self {
        let decoded = lazaret_events::decode(&letter.body, &letter.attributes).unwrap_or_default();
        let created = decoded.records.into_iter().filter_map(|record| match record {
            Record::Created(event) => Some(Object {
                bucket: output::plain(event.bucket.as_str(), EXCERPT),
                key: output::plain(event.key.as_str(), EXCERPT),
                version: event.version.map(|version| output::plain(version.as_str(), EXCERPT)),
            }),
            Record::Ignored(_) => None,
        });
        // A character takes at most four bytes: no more of a long body is looked at.
        let beginning = &letter.body[..letter.body.len().min(EXCERPT * 4)];
        Self {
            message_id: output::plain(&letter.message_id, EXCERPT),
            reason: letter.reason.as_deref().map(|reason| output::plain(reason, MAX_REASON)),
            objects: created.take(MAX_OBJECTS).collect(),
            body: output::plain(&String::from_utf8_lossy(beginning), EXCERPT),
            body_bytes: letter.body.len(),
        }
    }

    pub(super) fn cells(&self) -> [Cell; 4] {
        let object = match self.objects.as_slice() {
            [] => output::plain(&self.body, TABLE_EXCERPT),
            [object] => object.key.clone(),
            [object, others @ ..] => format!("{} and {} more", object.key, others.len()),
        };
        let reason = self.reason.as_deref().unwrap_or("no reason was given");
        [Cell::new(&self.message_id), Cell::new(object), Cell::new(self.body_bytes), Cell::new(reason)]
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use lazaret_core::ports::DeliveryTag;

    use super::*;

    fn shown(body: &[u8], reason: Option<&str>) -> Shown {
        Shown::of(&DeadLetter {
            tag: DeliveryTag::new("t"),
            message_id: "m-1".to_owned(),
            body: body.to_vec(),
            attributes: BTreeMap::new(),
            reason: reason.map(str::to_owned),
        })
    }

    #[test]
    fn a_letter_that_is_understood_is_shown_by_its_object() {
        let (bucket, key) = ("uploads".parse().unwrap(), "quarantine/a b".parse().unwrap());
        let shown = shown(lazaret_events::encode(&bucket, &key, None).as_bytes(), Some("attempts-exhausted"));
        assert_eq!((shown.objects[0].bucket.as_str(), shown.objects[0].key.as_str()), ("uploads", "quarantine/a b"));
        assert_eq!(shown.cells()[1].content(), "quarantine/a b");
    }

    #[test]
    fn what_a_stranger_wrote_steers_no_terminal() {
        let text = "\u{1b}[2J\u{1b}]0;x\u{7}\r\u{9b}31m\u{202e}gnp.exe";
        for shown in [
            shown(text.as_bytes(), Some(text)),
            shown(lazaret_events::encode(&"b".parse().unwrap(), &text.parse().unwrap(), None).as_bytes(), None),
            shown(&[0xff; 4096], None),
        ] {
            let printed = serde_json::to_string(&shown).unwrap() + &shown.cells().map(|cell| cell.content()).concat();
            assert!(!printed.contains(|c: char| c.is_control() || c == '\u{202e}'), "{printed:?}");
            assert!(printed.len() < 16 << 10, "{}", printed.len());
        }
    }
}
