//! SVG 1.1 and 2: only elements, attributes and properties that draw, written anew.
//!
//! What is on the lists of `allowed` and refers to nothing but this document comes through; scripts, handlers,
//! animation, foreign markup, links, images within, fonts and style sheets from elsewhere, comments, instructions,
//! document types and everything that is not known do not. Text stays text.

mod allowed;
mod css;
mod unfold;
mod write;

use std::{borrow::Cow, fmt::Display, io::Write};

use lazaret_sandbox::RefusalCode;
use roxmltree::{Document, ParsingOptions};

use crate::failure::{Failure, output_full};

pub(crate) use allowed::{SVG, is_allowed_attribute, is_allowed_element};

/// How many elements, texts and attributes a document may have.
const MAX_NODES: u32 = 500_000;

/// How many elements may be within each other.
const MAX_DEPTH: usize = 256;

/// Writes the document anew and answers its length in bytes.
pub(super) fn sanitise(input: &[u8], mut output: &mut [u8]) -> Result<u64, Failure> {
    let room = output.len();
    write_anew(input, &mut output)?;
    Ok((room - output.len()) as u64)
}

/// Writes the document anew. A second pass over what comes out gives the same bytes.
pub(crate) fn write_anew(input: &[u8], output: &mut dyn Write) -> Result<(), Failure> {
    let text = text(input)?;
    let document = parse(&text)?;
    let mut written = String::new();
    write::write(&document, &mut written)?;
    output.write_all(written.as_bytes()).map_err(|_| output_full())
}

/// Parses a document whose root is SVG, and that stays small when its references are followed.
pub(crate) fn parse(text: &str) -> Result<Document<'_>, Failure> {
    // Drawing programs name their namespaces by entities of the document type; the parser bounds what those unfold to.
    let options = ParsingOptions { allow_dtd: true, nodes_limit: MAX_NODES, ..ParsingOptions::default() };
    check_depth(text)?;
    let document = Document::parse_with_options(text, options).map_err(unparsable)?;
    let root = document.root_element();
    if root.tag_name().namespace() != Some(SVG) || root.tag_name().name() != "svg" {
        return Err(unparsable("its root is no svg element"));
    }
    unfold::check(&document)?;
    Ok(document)
}

/// Counts elements within each other before anything is parsed. Brackets in comments and values mislead it: what it does
/// not see is refused by those who walk down what was parsed, `unfold` and the writer.
fn check_depth(text: &str) -> Result<(), Failure> {
    let mut depth = 0_usize;
    for tag in text.split('<').skip(1) {
        if tag.starts_with('/') {
            depth = depth.saturating_sub(1);
        } else if !tag.starts_with(['!', '?']) && !tag.split('>').next().is_some_and(|tag| tag.ends_with('/')) {
            depth += 1;
        }
        if depth > MAX_DEPTH {
            return Err(unparsable(format_args!("more than {MAX_DEPTH} elements are within each other")));
        }
    }
    Ok(())
}

/// The input as text: UTF-8, UTF-16 by its byte order mark, or Latin-1 where it says so.
pub(crate) fn text(input: &[u8]) -> Result<Cow<'_, str>, Failure> {
    let wide = |order: fn([u8; 2]) -> u16| {
        let units = input[2..].chunks_exact(2).map(|pair| order([pair[0], pair[1]]));
        char::decode_utf16(units).collect::<Result<String, _>>().map(Cow::Owned).map_err(unparsable)
    };
    match input {
        [0xff, 0xfe, ..] => wide(u16::from_le_bytes),
        [0xfe, 0xff, ..] => wide(u16::from_be_bytes),
        _ => match std::str::from_utf8(input) {
            Ok(text) => Ok(Cow::Borrowed(text.trim_start_matches('\u{feff}').trim_start())),
            Err(_) if says_latin1(input) => Ok(Cow::Owned(input.iter().map(|&byte| char::from(byte)).collect())),
            Err(error) => Err(unparsable(error)),
        },
    }
}

fn says_latin1(input: &[u8]) -> bool {
    let head = input[..input.len().min(128)].to_ascii_lowercase();
    let declaration = head.split(|&byte| byte == b'>').next().unwrap_or_default();
    declaration.starts_with(b"<?xml") && declaration.windows(10).any(|window| window == b"iso-8859-1")
}

fn unparsable(why: impl Display) -> Failure {
    Failure::new(RefusalCode::Unparsable, format_args!("not parsed whole as SVG: {why}"))
}

#[cfg(test)]
mod tests;
