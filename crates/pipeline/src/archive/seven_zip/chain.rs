//! Unpacks a folder where its coders make one chain.

use std::io::{BufReader, Read};

use lzma_rust2::{
    Lzma2Reader, LzmaReader,
    filter::{bcj::BcjReader, delta::DeltaReader},
};

use super::{
    End,
    header::{Coder, Folder, method},
};
use crate::archive::{
    content::Section,
    ledger::{Grant, Ledger},
    place::Place,
};

const BUFFER_BYTES: usize = 32 * 1024;

/// What a filter holds, and room to spare.
const FILTER_KIB: u32 = 32;

/// The smallest dictionary that the decoders make.
const MIN_DICTIONARY_BYTES: u64 = 4096;

/// A folder's unpacked bytes, with the memory that its decoders hold.
pub(super) struct Unpacked<'a> {
    pub(super) reader: Box<dyn Read + 'a>,
    _memory: Vec<Grant<'a>>,
}

/// Whether a folder is unpacked here.
pub(super) enum Unpackable<'a> {
    Yes(Unpacked<'a>),
    /// It is packed by this.
    No(String),
    /// Its decoders need more memory than there is, which is on record.
    NoRoom,
}

pub(super) fn open<'a>(
    ledger: &'a Ledger<'_>,
    folder: &Folder,
    data: Section<'a>,
    place: &Place<'_>,
) -> Result<Unpackable<'a>, End> {
    let Some(chain) = chain(folder) else { return Ok(Unpackable::No(names(folder))) };
    let mut reader: Box<dyn Read + 'a> = Box::new(BufReader::with_capacity(BUFFER_BYTES, data));
    let mut memory = Vec::new();
    for coder in chain {
        let kib = memory_kib(coder, folder.size())?;
        let Some(grant) = ledger.grant(u64::from(kib) * 1024, place) else { return Ok(Unpackable::NoRoom) };
        memory.push(grant);
        reader = match decoder(coder, folder.size(), reader)? {
            Some(reader) => reader,
            None => return Ok(Unpackable::No(names(folder))),
        };
    }
    Ok(Unpackable::Yes(Unpacked { reader, _memory: memory }))
}

/// The coders from the packed stream to what comes out. None: they are no chain.
fn chain(folder: &Folder) -> Option<Vec<&Coder>> {
    if folder.packed.len() != 1 || folder.coders.iter().any(|coder| (coder.inputs, coder.outputs) != (1, 1)) {
        return None;
    }
    let mut chain = Vec::new();
    let mut output = folder.main_output()?;
    // With one input and one output each, both have their coder's number.
    while chain.len() < folder.coders.len() {
        chain.push(folder.coders.get(usize::try_from(output).ok()?)?);
        match folder.binds.iter().find(|(input, _)| *input == output) {
            Some((_, bound)) => output = *bound,
            None if folder.packed == [output] && chain.len() == folder.coders.len() => {
                chain.reverse();
                return Some(chain);
            }
            None => return None,
        }
    }
    None
}

/// What a coder holds beside small buffers.
fn memory_kib(coder: &Coder, size: u64) -> Result<u32, End> {
    Ok(match coder.method {
        method::LZMA => {
            let (properties, dictionary) = lzma_properties(coder, size)?;
            lzma_rust2::lzma_get_memory_usage_by_props(dictionary, properties)?
        }
        method::LZMA2 => lzma_rust2::lzma2_get_memory_usage(lzma2_dictionary(coder, size)?),
        _ => FILTER_KIB,
    })
}

/// None: no decoder here.
fn decoder<'a>(coder: &Coder, size: u64, packed: Box<dyn Read + 'a>) -> Result<Option<Box<dyn Read + 'a>>, End> {
    Ok(Some(match coder.method {
        method::COPY => packed,
        method::LZMA => {
            let (properties, dictionary) = lzma_properties(coder, size)?;
            Box::new(LzmaReader::new_with_props(packed, size, properties, dictionary, None)?)
        }
        method::LZMA2 => Box::new(Lzma2Reader::new(packed, lzma2_dictionary(coder, size)?, None)),
        method::DELTA => {
            let distance = usize::from(*coder.properties.first().ok_or(BAD)?) + 1;
            Box::new(DeltaReader::new(packed, distance))
        }
        method::X86 => Box::new(BcjReader::new_x86(packed, 0)),
        method::PPC => Box::new(BcjReader::new_ppc(packed, 0)),
        method::IA64 => Box::new(BcjReader::new_ia64(packed, 0)),
        method::ARM => Box::new(BcjReader::new_arm(packed, 0)),
        method::ARM_THUMB => Box::new(BcjReader::new_arm_thumb(packed, 0)),
        method::SPARC => Box::new(BcjReader::new_sparc(packed, 0)),
        _ => return Ok(None),
    }))
}

const BAD: &str = "the properties of a coder are not understood";

/// The first byte, and a dictionary that is no larger than what comes out.
fn lzma_properties(coder: &Coder, size: u64) -> Result<(u8, u32), End> {
    let [properties, dictionary @ ..] = *coder.properties.first_chunk::<5>().ok_or(BAD)?;
    Ok((properties, no_larger_than(size, u32::from_le_bytes(dictionary))))
}

fn lzma2_dictionary(coder: &Coder, size: u64) -> Result<u32, End> {
    let bits = u32::from(*coder.properties.first().ok_or(BAD)?);
    let dictionary = match bits {
        0..40 => (2 | bits & 1) << (bits / 2 + 11),
        40 => u32::MAX,
        _ => return Err(End::Layout(BAD)),
    };
    Ok(no_larger_than(size, dictionary))
}

fn no_larger_than(size: u64, dictionary: u32) -> u32 {
    dictionary.min(u32::try_from(size.max(MIN_DICTIONARY_BYTES)).unwrap_or(u32::MAX))
}

/// How a folder is packed, for those who read a reason.
fn names(folder: &Folder) -> String {
    let names: Vec<String> = folder.coders.iter().map(name).collect();
    names.join(" and ")
}

fn name(coder: &Coder) -> String {
    let known = match coder.method {
        method::COPY => "copying",
        method::DELTA => "a delta filter",
        method::LZMA => "LZMA",
        method::LZMA2 => "LZMA2",
        method::BCJ2 => "BCJ2",
        method::PPMD => "PPMd",
        method::DEFLATE => "deflate",
        method::BZIP2 => "bzip2",
        other => return format!("method {other:x}"),
    };
    known.to_owned()
}
