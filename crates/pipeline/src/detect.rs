//! What an object is, by its bytes alone.
//!
//! Programs come first, then dangerous text (HTML, SVG, scripts), because no signature table knows it; then zips and
//! what is made of them, documents and images of our own signatures, and other archives; then the tables of `infer` and
//! `file-format`; what remains is text or unknown. A name or a declared type plays no part here.
//!
//! Architecture invariant: memory is never the uploader's choice. `infer` sees the head only and no OLE file, whose
//! directory it would load; `file-format` has one reader, for those, which makes a few reads of fixed size. Its others
//! stay off: the one of zips makes room for what a member promises.

mod programs;
mod reader;
mod signatures;
mod text;
mod zip;

use std::{io, os::unix::fs::FileExt};

use file_format::FileFormat;
use lazaret_core::{MediaType, Spooled};
use thiserror::Error;

use crate::archive::Kind;
use text::Text;

pub(crate) use reader::PositionedReader;

/// How many bytes of the head the rules look at.
const HEAD_BYTES: usize = 16 * 1024;

/// How an OLE compound file begins ([MS-CFB] 2.2).
const OLE: &[u8] = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1";

/// What the bytes say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Detected {
    /// The type; `application/octet-stream` where nothing fits.
    pub media_type: MediaType,
    /// Text without any structure of its own, which may carry a finer declared type (`text/csv`).
    pub is_plain_text: bool,
    /// Why it is no plain text, where that takes a closer look.
    pub why: Option<String>,
}

/// Why the bytes could not be looked at.
#[derive(Debug, Error)]
pub enum DetectError {
    /// The spool could not be read.
    #[error("the spooled object could not be read for its magic bytes")]
    Read(#[from] io::Error),
    /// A table named a type that is not one.
    #[error("the detected type {0:?} is not a media type")]
    Unnamed(String),
}

/// Detects the type of the whole object. Blocking: reads up to all of a text file.
pub fn detect(object: &Spooled) -> Result<Detected, DetectError> {
    let mut head = vec![0; HEAD_BYTES.min(usize::try_from(object.len()).unwrap_or(HEAD_BYTES))];
    object.file().read_exact_at(&mut head, 0)?;
    let named = |name: &str| {
        let media_type = name.parse().map_err(|_| DetectError::Unnamed(name.to_owned()))?;
        Ok(Detected { media_type, is_plain_text: false, why: None })
    };
    if let Some(program) = programs::sniff(&head) {
        return named(program);
    }
    if let Some(active) = text::sniff_active(&head) {
        if active != "text/xml" {
            return named(active);
        }
        return match text::read(object)? {
            Text::Plain => named(active),
            Text::Active(name, at) => Ok(Detected { why: Some(stands(at)), ..named(name)? }),
            Text::Binary(why) => Ok(Detected { why: Some(why), ..named("application/octet-stream")? }),
        };
    }
    if zip::begins(&head) {
        return named(zip::subtype(object)?);
    }
    if let Some(name) = signatures::sniff(&head).or_else(|| Kind::of(&head).and_then(Kind::media_type)) {
        return named(name);
    }
    // The tables call any text that begins like a DOS program one; ours has looked closer.
    if !programs::begins_with_mz(&head)
        && let Some(name) = by_tables(object, &head)?
    {
        return named(&name);
    }
    match text::read(object)? {
        Text::Plain => Ok(Detected { is_plain_text: true, ..named("text/plain")? }),
        Text::Active(name, at) => Ok(Detected { why: Some(stands(at)), ..named(name)? }),
        Text::Binary(why) => Ok(Detected { why: Some(why), ..named("application/octet-stream")? }),
    }
}

fn stands(at: u64) -> String {
    format!("what makes it so stands at byte {at}")
}

/// What the signature tables say, where it is no claim about text.
fn by_tables(object: &Spooled, head: &[u8]) -> io::Result<Option<String>> {
    let is_told = |name: &str| name != "application/pdf" && !(is_short(name) && text::is_texty(head));
    let by_signature = infer_but_ole(head).filter(|name| is_told(name));
    if let Some(name) = by_signature.filter(|name| !is_container(name)) {
        return Ok(Some(name.to_owned()));
    }
    let format = FileFormat::from_reader(PositionedReader::new(object))?;
    let name = canonical(format.media_type());
    let told = name != "application/octet-stream" && !is_texty(name) && is_told(name);
    Ok(if told { Some(name) } else { by_signature }.map(str::to_owned))
}

fn infer_but_ole(head: &[u8]) -> Option<&'static str> {
    let kind = if head.starts_with(OLE) { None } else { infer::get(head) };
    kind.map(|kind| canonical(kind.mime_type()))
}

/// Detects by the head alone: for output that was just made, whose structure its maker has checked.
pub(crate) fn detect_image(head: &[u8]) -> Option<&'static str> {
    infer_but_ole(head)
}

/// Types whose signature is a few letters or digits, with which a text may begin as well ("MAC address", "0707 123",
/// "true", "SQLite"); the rest of them is binary.
fn is_short(name: &str) -> bool {
    matches!(
        name,
        "application/vnd.sqlite3"
            | "application/x-bzip2"
            | "application/x-cpio"
            | "application/x-dwg"
            | "application/x-lzip"
            | "application/x-shockwave-flash"
            | "application/x-zoo"
            | "audio/mpeg"
            | "audio/x-ape"
            | "audio/x-dsf"
            | "audio/x-musepack"
            | "font/ttf"
            | "image/bmp"
            | "image/gif"
            | "image/vnd.dwg"
            | "image/vnd.ms-dds"
            | "model/x-vox"
            | "video/x-flv"
            | "video/x-mtv"
            | "video/x-sgi-movie"
    )
}

/// Types that only say what the content is wrapped in.
fn is_container(name: &str) -> bool {
    matches!(name, "application/zip" | "application/x-ole-storage" | "application/octet-stream") || is_texty(name)
}

/// Types that are claims about text: decided by our own rules, over the whole object.
fn is_texty(name: &str) -> bool {
    name.starts_with("text/")
        || name.ends_with("+xml")
        || matches!(name, "application/json" | "application/xml" | "application/x-sh")
}

/// One name for types that the tables call differently.
fn canonical(name: &str) -> &str {
    match name {
        "image/x-ms-bmp" => "image/bmp",
        "image/apng" => "image/png",
        "application/x-zip-compressed" => "application/zip",
        "audio/mp3" => "audio/mpeg",
        "audio/x-wav" => "audio/wav",
        "audio/m4a" | "audio/x-m4a" => "audio/mp4",
        "video/x-m4v" => "video/mp4",
        "application/x-gzip" => "application/gzip",
        "application/vnd.rar" | "application/x-rar" | "application/x-rar-compressed" => "application/vnd.rar",
        "image/vnd.microsoft.icon" => "image/x-icon",
        other => other,
    }
}

#[cfg(test)]
mod tests;
