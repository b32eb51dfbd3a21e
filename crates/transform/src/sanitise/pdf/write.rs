//! The walk from the catalog, and the one form in which files are written.

use std::{
    collections::{BTreeMap, VecDeque},
    io::{self, Write},
};

use lopdf::{Dictionary, Object, ObjectId, Stream, StringFormat, Writer};

use super::{
    Source, not_written,
    rules::{CATALOG, FORBIDDEN_KEYS, FORM, NAMES, PAGE},
    unparsable,
};
use crate::{failure::Failure, sanitise::spelled};

/// How deep arrays and dictionaries may be within each other: what the parser allows, and a little for what is added.
const MAX_DEPTH: usize = 128;

/// Writes all that the catalog leads to.
pub(super) fn write(source: &Source, output: &mut dyn Write) -> Result<(), Failure> {
    let mut walk = Walk { source, numbers: BTreeMap::new(), waiting: VecDeque::new() };
    walk.number(source.catalog);
    let mut output = Counting { output, written: 0 };
    let edition = if source.is_second_edition { "2.0" } else { "1.7" };
    // Four bytes over 127, so that nobody takes it for text (7.5.2).
    output.write_all(format!("%PDF-{edition}\n%").as_bytes()).map_err(not_written)?;
    output.write_all(b"\xe2\xe3\xcf\xd3\n").map_err(not_written)?;
    let mut offsets = Vec::new();
    while let Some(id) = walk.waiting.pop_front() {
        offsets.push(output.written);
        let number = offsets.len();
        let (object, content) = walk.object(id)?;
        write_object(&mut output, number, &object, content.as_deref()).map_err(not_written)?;
    }
    write_table(&mut output, &offsets).map_err(not_written)
}

fn write_object(output: &mut dyn Write, number: usize, object: &Object, content: Option<&[u8]>) -> io::Result<()> {
    writeln!(output, "{number} 0 obj")?;
    Writer::write_object(output, object)?;
    if let Some(content) = content {
        output.write_all(b"\nstream\n")?;
        output.write_all(content)?;
        output.write_all(b"\nendstream")?;
    }
    output.write_all(b"\nendobj\n")
}

/// The cross-reference table and the end (7.5.4, 7.5.5).
fn write_table(output: &mut Counting<'_>, offsets: &[u64]) -> io::Result<()> {
    let (start, size) = (output.written, offsets.len() + 1);
    write!(output, "xref\n0 {size}\n0000000000 65535 f \n")?;
    for offset in offsets {
        writeln!(output, "{offset:010} 00000 n ")?;
    }
    write!(output, "trailer\n<</Size {size}/Root 1 0 R>>\nstartxref\n{start}\n%%EOF\n")
}

struct Counting<'a> {
    output: &'a mut dyn Write,
    written: u64,
}

impl Write for Counting<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.output.write(bytes)?;
        self.written += count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.output.flush()
    }
}

/// Numbers objects in the order in which they are met.
struct Walk<'a> {
    source: &'a Source,
    numbers: BTreeMap<ObjectId, u32>,
    waiting: VecDeque<ObjectId>,
}

impl Walk<'_> {
    fn number(&mut self, id: ObjectId) -> u32 {
        if let Some(number) = self.numbers.get(&id) {
            return *number;
        }
        // There are fewer objects than a u32 counts: each has a number of its own that is one.
        let number = u32::try_from(self.numbers.len() + 1).unwrap_or(u32::MAX);
        self.numbers.insert(id, number);
        self.waiting.push_back(id);
        number
    }

    /// An object as it is written, and what follows the dictionary of a stream.
    fn object(&mut self, id: ObjectId) -> Result<(Object, Option<Vec<u8>>), Failure> {
        let object = self.source.find(id)?.map_or(&Object::Null, |(_, object)| object);
        match object {
            Object::Dictionary(catalog) if id == self.source.catalog => {
                Ok((Object::Dictionary(self.catalog(catalog)?), None))
            }
            Object::Stream(stream) => {
                let (dict, content) = self.stream(stream)?;
                Ok((Object::Dictionary(dict), Some(content)))
            }
            Object::Dictionary(page) if self.source.pages.contains(&id) => {
                let page = page.iter().filter(|(key, _)| PAGE.contains(&key.as_slice()));
                let page = page.map(|(key, value)| (key.clone(), value.clone())).collect();
                Ok((Object::Dictionary(self.dictionary(&page, 0)?), None))
            }
            object => Ok((self.value(object, 0)?, None)),
        }
    }

    fn catalog(&mut self, catalog: &Dictionary) -> Result<Dictionary, Failure> {
        let mut written = Dictionary::new();
        for key in CATALOG {
            let Ok(value) = catalog.get(key) else { continue };
            let value = match *key {
                b"Names" => self.part(value, NAMES)?,
                b"AcroForm" => self.part(value, FORM)?,
                b"PageMode" if self.source.resolve(value)?.as_name().ok() == Some(b"UseAttachments") => continue,
                _ => self.value(value, 0)?,
            };
            set(&mut written, key, value);
        }
        Ok(written)
    }

    /// A dictionary of the catalog of which only some keys come through; written in place.
    fn part(&mut self, value: &Object, keys: &[&[u8]]) -> Result<Object, Failure> {
        let Object::Dictionary(dict) = self.source.resolve(value)? else { return Ok(Object::Null) };
        let mut written = Dictionary::new();
        for key in keys {
            if let Ok(value) = dict.get(key) {
                set(&mut written, key, self.entry(key, value, 0)?);
            }
        }
        Ok(Object::Dictionary(written))
    }

    fn stream(&mut self, stream: &Stream) -> Result<(Dictionary, Vec<u8>), Failure> {
        self.source.check_filters(&stream.dict)?;
        let mut dict = stream.dict.clone();
        // A file elsewhere that the bytes would come from (7.3.8.2).
        for key in [&b"F"[..], b"Length", b"DL"] {
            dict.remove(key);
        }
        for key in [&b"Filter"[..], b"DecodeParms"] {
            if let Ok(value) = stream.dict.get(key) {
                dict.set(key, self.source.resolve(value)?.clone());
            }
        }
        let mut dict = self.dictionary(&dict, 0)?;
        let content = match spelled::find(&stream.content) {
            None => stream.content.clone(),
            Some(_) => in_hexadecimal(&mut dict, &stream.content),
        };
        let length = i64::try_from(content.len()).map_err(unparsable)?;
        dict.set("Length", length);
        Ok((dict, content))
    }

    fn value(&mut self, object: &Object, depth: usize) -> Result<Object, Failure> {
        if depth > MAX_DEPTH {
            return Err(unparsable("arrays and dictionaries are too deep within each other"));
        }
        if !self.source.admits(object)? {
            return Ok(Object::Null);
        }
        Ok(match object {
            Object::Reference(id) => match self.source.find(*id)? {
                Some((_, Object::Null)) | None => Object::Null,
                Some((_, target)) if !self.source.admits(target)? => Object::Null,
                Some((id, _)) => Object::Reference((self.number(id), 0)),
            },
            Object::Dictionary(dict) => Object::Dictionary(self.dictionary(dict, depth)?),
            Object::Array(items) => {
                let items = items.iter().map(|item| self.value(item, depth + 1));
                Object::Array(items.collect::<Result<_, _>>()?)
            }
            Object::String(text, _) => string(text),
            Object::Stream(_) => return Err(unparsable("a stream stands within an object")),
            Object::Real(number) if !number.is_finite() => return Err(unparsable("a number is too large")),
            plain @ (Object::Null | Object::Boolean(_) | Object::Integer(_) | Object::Real(_) | Object::Name(_)) => {
                plain.clone()
            }
        })
    }

    fn dictionary(&mut self, dict: &Dictionary, depth: usize) -> Result<Dictionary, Failure> {
        let mut written = Dictionary::new();
        for (key, value) in dict {
            set(&mut written, key, self.entry(key, value, depth)?);
        }
        Ok(written)
    }

    fn entry(&mut self, key: &[u8], value: &Object, depth: usize) -> Result<Object, Failure> {
        if FORBIDDEN_KEYS.contains(&key) && !self.source.is_resource(value)? {
            return Ok(Object::Null);
        }
        match key {
            b"A" => self.action(value, depth),
            // What was left out of a list leaves no hole in it.
            b"Annots" | b"Fields" | b"Kids" => {
                let Object::Array(items) = self.source.resolve(value)? else { return self.value(value, depth + 1) };
                let items = items.iter().map(|item| self.value(item, depth + 2));
                let items = items.collect::<Result<Vec<_>, _>>()?;
                Ok(Object::Array(items.into_iter().filter(|item| !matches!(item, Object::Null)).collect()))
            }
            _ => self.value(value, depth + 1),
        }
    }

    /// What stands where actions stand. Attributes of the document's structure do too: those have no `S`.
    fn action(&mut self, value: &Object, depth: usize) -> Result<Object, Failure> {
        match self.source.resolve(value)? {
            Object::Dictionary(dict) if dict.has(b"S") => match self.source.action(dict)? {
                Some(action) => Ok(Object::Dictionary(self.dictionary(&action, depth + 1)?)),
                None => Ok(Object::Null),
            },
            _ => self.value(value, depth + 1),
        }
    }
}

/// An entry that is null is none (7.3.7).
fn set(dict: &mut Dictionary, key: &[u8], value: Object) {
    if !matches!(value, Object::Null) {
        dict.set(key, value);
    }
}

/// A string in letters where they can mean nothing else, in hexadecimal where they might.
fn string(text: &[u8]) -> Object {
    let is_plain = |byte: &u8| matches!(byte, b' '..=b'~') && !matches!(byte, b'(' | b')' | b'<' | b'\\');
    let plain = text.iter().all(is_plain) && spelled::find(text).is_none();
    Object::String(text.to_vec(), if plain { StringFormat::Literal } else { StringFormat::Hexadecimal })
}

/// Hides what a stream spells: one more filter, which every reader has (7.4.2).
fn in_hexadecimal(dict: &mut Dictionary, content: &[u8]) -> Vec<u8> {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    let listed = |value: Option<Object>| match value {
        Some(Object::Array(items)) => items,
        Some(value) => vec![value],
        None => Vec::new(),
    };
    let parameters = dict.remove(b"DecodeParms");
    let filters = listed(dict.remove(b"Filter"));
    dict.set("Filter", [vec![Object::Name(b"ASCIIHexDecode".to_vec())], filters].concat());
    if parameters.is_some() {
        dict.set("DecodeParms", [vec![Object::Null], listed(parameters)].concat());
    }
    let mut written = Vec::with_capacity(content.len() * 2 + 1);
    for byte in content {
        written.extend([DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]);
    }
    written.push(b'>');
    written
}
