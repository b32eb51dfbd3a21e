//! Text that a browser or a shell would act on, and text that is only text.

mod reading;

use std::{io, os::unix::fs::FileExt};

use lazaret_core::Spooled;

use reading::Reading;

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
    if is_svg_element(root(window)) {
        return Some("image/svg+xml");
    }
    if let Some(media) = first_active(window) {
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

/// Whether nothing in the head is a binary data byte.
pub(super) fn is_texty(head: &[u8]) -> bool {
    !head.iter().any(|&byte| is_binary(byte))
}

/// What follows the prolog of a document: instructions, comments, a document type and white space.
fn root(mut rest: &str) -> &str {
    loop {
        rest = rest.trim_start();
        let end = if rest.starts_with("<?") {
            rest.find("?>").map(|at| at + 2)
        } else if rest.starts_with("<!--") {
            rest.find("-->").map(|at| at + 3)
        } else if rest.starts_with("<!doctype") {
            let close = if rest.find('[') < rest.find('>') && rest.contains('[') { "]>" } else { ">" };
            rest.find(close).map(|at| at + close.len())
        } else {
            return rest;
        };
        let Some(end) = end else { return "" };
        rest = &rest[end..];
    }
}

fn is_svg_element(element: &str) -> bool {
    let Some(element) = element.strip_prefix('<') else { return false };
    let name = element.split(|c: char| c.is_whitespace() || matches!(c, '>' | '/')).next().unwrap_or_default();
    name.rsplit(':').next() == Some("svg")
}

/// The tag that comes first decides what readers take the whole for.
fn first_active(window: &str) -> Option<&'static str> {
    let found = ACTIVE_TAGS.iter().filter_map(|(tag, media)| Some((find_tag(window, tag)?, *media)));
    found.min_by_key(|(at, _)| *at).map(|(_, media)| media)
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

fn find_tag(window: &str, tag: &str) -> Option<usize> {
    window.match_indices(tag).map(|(at, _)| at).find(|at| ends_tag(&window[at + tag.len()..], tag))
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
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Text {
    /// Text in UTF-8, in UTF-16 with a byte order mark, or in Windows-1252.
    Plain,
    /// The same, but with a tag that makes it this type, at this byte of its UTF-8.
    Active(&'static str, u64),
    /// Anything else, and why it is no text.
    Binary(String),
}

/// How much is read at once, in bytes.
const CHUNK_BYTES: usize = 256 * 1024;

/// Reads the whole object, in flat memory. Finds active tags wherever they stand, across chunks too.
pub(super) fn read(object: &Spooled) -> io::Result<Text> {
    let mut buffer = vec![0; CHUNK_BYTES];
    let mut reading = None;
    let mut position = 0;
    loop {
        let count = read_full(object, &mut buffer, position)?;
        let chunk = &buffer[..count];
        let reading = reading.get_or_insert_with(|| Reading::begin(chunk));
        let is_last = count < buffer.len();
        if let Err(binary) = reading.add(chunk, is_last) {
            return Ok(Text::Binary(binary.to_string()));
        }
        position += count as u64;
        if !is_last {
            continue;
        }
        if position != object.len() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let late = match reading.begun_at() {
            Some(at) if at > 0 => late_start(object, at, reading.mark())?.map(|media| (media, at)),
            _ => None,
        };
        let active = [reading.active(), late].into_iter().flatten().min_by_key(|(_, at)| *at);
        return Ok(active.map_or(Text::Plain, |(media, at)| Text::Active(media, at)));
    }
}

fn read_full(object: &Spooled, buffer: &mut [u8], position: u64) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match object.file().read_at(&mut buffer[filled..], position + filled as u64)? {
            0 => break,
            count => filled += count,
        }
    }
    Ok(filled)
}

/// What the text is by its start, where white space keeps that out of the head.
fn late_start(object: &Spooled, at: u64, mark: &[u8]) -> io::Result<Option<&'static str>> {
    let mut head = vec![0; TAG_WINDOW];
    let count = object.file().read_at(&mut head, at)?;
    Ok(sniff_active(&[mark, &head[..count]].concat()))
}
