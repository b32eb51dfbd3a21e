//! Text that a browser or a shell would act on, and text that is only text.

use std::{io, os::unix::fs::FileExt};

use lazaret_core::Spooled;

/// Where in the head a tag makes the object HTML although something else comes first.
const TAG_WINDOW: usize = 8 * 1024;

/// Tags that make a document HTML at its start: the MIME Sniffing Standard's list
/// (<https://mimesniff.spec.whatwg.org/#identifying-a-resource-with-an-unknown-mime-type>).
const HTML_STARTS: &[&str] = &[
    "<!doctype html",
    "<html",
    "<head",
    "<script",
    "<iframe",
    "<h1",
    "<div",
    "<font",
    "<table",
    "<a",
    "<style",
    "<title",
    "<b",
    "<body",
    "<br",
    "<p",
    "<!--",
    "<base",
    "<meta",
    "<link",
    "<form",
    "<img",
    "<object",
    "<embed",
];

/// Tags that make a text act wherever they stand: some reader looks further than the standard does.
const ACTIVE_TAGS: &[(&str, &str)] = &[
    ("<svg", "image/svg+xml"),
    ("<script", "text/html"),
    ("<!doctype html", "text/html"),
    ("<html", "text/html"),
    ("<iframe", "text/html"),
    ("<?php", "application/x-httpd-php"),
];

/// HTML, XML, SVG and scripts, however much white space or byte order mark precedes them.
///
/// A binary head is left alone: its own format decides, and a re-encode drops what it carries.
pub(super) fn sniff_active(head: &[u8]) -> Option<&'static str> {
    let text = decode_head(head)?;
    let start = text.trim_start_matches(|c: char| c.is_whitespace() || c == '\u{feff}' || c == '\0');
    let window = start.get(..floor_boundary(start, TAG_WINDOW))?;
    if let Some((_, media)) = ACTIVE_TAGS.iter().find(|(tag, _)| has_tag(window, tag)) {
        return Some(media);
    }
    if HTML_STARTS.iter().any(|tag| window.starts_with(tag) && ends_tag(&window[tag.len()..], tag)) {
        return Some("text/html");
    }
    if window.starts_with("<?xml") {
        return Some("text/xml");
    }
    if window.starts_with("@echo off") {
        return Some("application/x-bat");
    }
    window.starts_with("{\\rtf").then_some("application/rtf")
}

/// The head as lower-case text: UTF-8, or UTF-16 by its byte order mark. None for binary.
fn decode_head(head: &[u8]) -> Option<String> {
    let wide = |order: fn([u8; 2]) -> u16| {
        let units = head[2..].chunks_exact(2).map(move |pair| order([pair[0], pair[1]]));
        char::decode_utf16(units).map(|unit| unit.unwrap_or(char::REPLACEMENT_CHARACTER)).collect::<String>()
    };
    let text = match head {
        [0xff, 0xfe, ..] => wide(u16::from_le_bytes),
        [0xfe, 0xff, ..] => wide(u16::from_be_bytes),
        _ => {
            let start = head.iter().position(|byte| !byte.is_ascii_whitespace() && *byte != 0)?;
            let probe = &head[start..head.len().min(start + 512)];
            if probe.iter().any(|&byte| is_binary(byte)) {
                return None;
            }
            String::from_utf8_lossy(head).into_owned()
        }
    };
    Some(text.to_ascii_lowercase())
}

fn floor_boundary(text: &str, limit: usize) -> usize {
    (0..=limit.min(text.len())).rev().find(|&at| text.is_char_boundary(at)).unwrap_or(0)
}

fn has_tag(window: &str, tag: &str) -> bool {
    window.match_indices(tag).any(|(at, _)| ends_tag(&window[at + tag.len()..], tag))
}

/// The standard asks for a space or `>` behind the name; a slash or the end of what we see is as good for an attacker.
fn ends_tag(rest: &str, tag: &str) -> bool {
    tag == "<!--" || rest.chars().next().is_none_or(|c| c.is_whitespace() || matches!(c, '>' | '/' | ':'))
}

/// "Binary data bytes" of the MIME Sniffing Standard, section 3.
const fn is_binary(byte: u8) -> bool {
    matches!(byte, 0x00..=0x08 | 0x0b | 0x0e..=0x1a | 0x1c..=0x1f)
}

/// What the whole object is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Text {
    /// UTF-8 without binary data bytes.
    Plain,
    /// The same, but with a tag that makes it this type.
    Active(&'static str),
    /// Anything else.
    Binary,
}

/// How much is read at once, in bytes.
const CHUNK_BYTES: usize = 256 * 1024;

/// The longest active tag, one byte behind it that ends it, and a character that a chunk cuts.
const OVERLAP_BYTES: usize = 24;

/// Reads the whole object, in flat memory. Finds active tags wherever they stand, across chunks too.
pub(super) fn read(object: &Spooled) -> io::Result<Text> {
    let mut buffer = vec![0; OVERLAP_BYTES + CHUNK_BYTES];
    let (mut start, mut carried, mut position) = (0, 0, 0);
    let mut active = None;
    let mut begun = false;
    loop {
        // `start..carried` was looked at with the chunk before; the bytes from `carried` on are new, or end a character.
        let count = object.file().read_at(&mut buffer[carried..], position)?;
        let filled = carried + count;
        active = active.or_else(|| active_tag(&buffer[..filled], count == 0));
        if count == 0 {
            let whole = start == carried && position == object.len();
            return Ok(if whole { active.map_or(Text::Plain, Text::Active) } else { Text::Binary });
        }
        if !begun && let Some(at) = buffer[carried..filled].iter().position(|&byte| !is_before_text(byte)) {
            begun = true;
            active = active.or(late_start(object, position + at as u64)?);
        }
        position += count as u64;
        let chunk = &buffer[start..filled];
        if chunk.iter().any(|&byte| is_binary(byte)) {
            return Ok(Text::Binary);
        }
        let valid = match std::str::from_utf8(chunk) {
            Ok(_) => filled,
            Err(error) if error.error_len().is_none() => start + error.valid_up_to(),
            Err(_) => return Ok(Text::Binary),
        };
        let kept = filled.saturating_sub(OVERLAP_BYTES);
        buffer.copy_within(kept..filled, 0);
        (start, carried) = (valid - kept, filled - kept);
    }
}

/// The first active tag that is whole within `bytes`; at the end of the text, what is cut there counts as ended.
fn active_tag(bytes: &[u8], at_end: bool) -> Option<&'static str> {
    let opened = bytes.iter().enumerate().filter(|(_, byte)| **byte == b'<');
    opened.map(|(at, _)| &bytes[at..]).find_map(|rest| {
        let (_, media) = ACTIVE_TAGS.iter().find(|(tag, _)| {
            let named = rest.get(..tag.len()).is_some_and(|name| name.eq_ignore_ascii_case(tag.as_bytes()));
            let ends = |byte: u8| byte.is_ascii_whitespace() || matches!(byte, b'>' | b'/' | b':');
            named && rest.get(tag.len()).map_or(at_end, |byte| ends(*byte))
        })?;
        Some(*media)
    })
}

/// White space, or of a byte order mark.
const fn is_before_text(byte: u8) -> bool {
    byte.is_ascii_whitespace() || matches!(byte, 0xef | 0xbb | 0xbf)
}

/// What the text is by its start, where white space keeps that out of the head.
fn late_start(object: &Spooled, at: u64) -> io::Result<Option<&'static str>> {
    if at == 0 {
        return Ok(None);
    }
    let mut head = vec![0; TAG_WINDOW];
    let count = object.file().read_at(&mut head, at)?;
    Ok(sniff_active(&head[..count]))
}
