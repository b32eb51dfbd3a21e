//! One page of a listing: sorted, with common prefixes rolled up.

use std::collections::BTreeMap;
use std::ops::Bound;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use s3s::S3ErrorCode;

use super::fault::{Fault, refuse};

/// S3 never lists more at a time.
const LONGEST_PAGE: usize = 1000;
/// `encoding-type=url` leaves these as they are.
const KEPT: AsciiSet = NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'/').remove(b'*');

/// What to list.
#[derive(Debug, Default)]
pub(super) struct Query<'a> {
    pub(super) prefix: &'a str,
    pub(super) delimiter: &'a str,
    /// Everything up to and including this key or common prefix was listed before.
    pub(super) after: &'a str,
    pub(super) limit: usize,
}

#[derive(Debug)]
pub(super) struct Page<'a, T> {
    pub(super) items: Vec<(&'a str, &'a T)>,
    pub(super) prefixes: Vec<String>,
    /// The last key or common prefix of this page, if there is more behind it.
    pub(super) next: Option<String>,
}

/// The page of `keys` that `query` asks for.
pub(super) fn page<'a, T>(keys: &'a BTreeMap<String, T>, query: &Query<'_>) -> Page<'a, T> {
    let mut page = Page { items: Vec::new(), prefixes: Vec::new(), next: None };
    let start = query.after.max(query.prefix);
    let mut last = String::new();
    for (key, value) in keys.range::<str, _>((Bound::Included(start), Bound::Unbounded)) {
        let Some(rest) = key.strip_prefix(query.prefix) else { break };
        let rolled = match query.delimiter {
            "" => None,
            delimiter => rest.find(delimiter).map(|at| &key[..query.prefix.len() + at + delimiter.len()]),
        };
        let shown = rolled.unwrap_or(key);
        if shown == query.after || page.prefixes.last().is_some_and(|prefix| rolled == Some(prefix)) {
            continue;
        }
        if page.items.len() + page.prefixes.len() == query.limit {
            // A page of no keys says nothing about more.
            page.next = (query.limit > 0).then_some(last);
            break;
        }
        shown.clone_into(&mut last);
        match rolled {
            Some(prefix) => page.prefixes.push(prefix.to_owned()),
            None => page.items.push((key, value)),
        }
    }
    page
}

/// `max-keys` and its like.
pub(super) fn limit(asked: Option<i32>) -> Result<usize, Fault> {
    asked.map_or(Ok(LONGEST_PAGE), |asked| {
        usize::try_from(asked)
            .map(|asked| asked.min(LONGEST_PAGE))
            .map_err(|_| refuse(S3ErrorCode::InvalidArgument, "the length of a page cannot be negative"))
    })
}

/// A key as `encoding-type=url` wants it, or as it is.
pub(super) fn shown(key: &str, url: bool) -> String {
    if url { utf8_percent_encode(key, &KEPT).to_string() } else { key.to_owned() }
}
