//! Archives, built in memory.

use std::{
    fs::File,
    io::{Cursor, Write},
};

use flate2::{Compression, Crc, write::GzEncoder};
use lazaret_core::{Sha256Digest, Spooled};
use zip::{CompressionMethod, ZipWriter, write::SimpleFileOptions};

pub(crate) fn spooled(bytes: &[u8]) -> Spooled {
    let mut file: File = tempfile::tempfile().unwrap();
    file.write_all(bytes).unwrap();
    Spooled::new(file, bytes.len() as u64, Sha256Digest::from_bytes([0; 32]), ())
}

/// Bytes that do not pack, the same in every run.
pub(crate) fn noise(len: usize) -> Vec<u8> {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[0]
    };
    std::iter::repeat_with(&mut next).take(len).collect()
}

fn zip_with(members: &[(&str, &[u8])], method: CompressionMethod) -> Vec<u8> {
    let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
    for (name, data) in members {
        writer.start_file(*name, SimpleFileOptions::default().compression_method(method)).unwrap();
        writer.write_all(data).unwrap();
    }
    writer.finish().unwrap().into_inner()
}

pub(crate) fn zip_of(members: &[(&str, &[u8])]) -> Vec<u8> {
    zip_with(members, CompressionMethod::Deflated)
}

pub(crate) fn zip_stored(members: &[(&str, &[u8])]) -> Vec<u8> {
    zip_with(members, CompressionMethod::Stored)
}

/// Sets the *encrypted* bit of the `index`-th header that begins with `signature`.
pub(crate) fn encrypted(mut bytes: Vec<u8>, signature: [u8; 4], flags_at: usize, index: usize) -> Vec<u8> {
    let headers = bytes.windows(4).enumerate().filter(|(_, window)| *window == signature);
    let at = headers.map(|(at, _)| at).nth(index).unwrap();
    bytes[at + flags_at] |= 1;
    bytes
}

pub(crate) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// A tar's header with its checksum.
pub(crate) fn tar_header(name: &str, size: u64, kind: u8) -> Vec<u8> {
    let mut block = vec![0; 512];
    block[..name.len()].copy_from_slice(name.as_bytes());
    block[100..124].copy_from_slice(b"0000644\x000000000\x000000000\x00");
    block[124..136].copy_from_slice(format!("{size:011o}\0").as_bytes());
    block[136..148].copy_from_slice(b"00000000000\0");
    block[156] = kind;
    block[257..265].copy_from_slice(b"ustar\x0000");
    summed(block)
}

/// The block with its checksum.
pub(crate) fn summed(mut block: Vec<u8>) -> Vec<u8> {
    block[148..156].fill(b' ');
    let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
    block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    block
}

/// A header with its data, filled to whole blocks.
pub(crate) fn tar_member(name: &str, data: &[u8], kind: u8) -> Vec<u8> {
    let mut bytes = tar_header(name, data.len() as u64, kind);
    bytes.extend(data);
    bytes.resize(bytes.len().next_multiple_of(512), 0);
    bytes
}

pub(crate) fn tar(members: &[(&str, &[u8])]) -> Vec<u8> {
    let mut bytes: Vec<u8> = members.iter().flat_map(|(name, data)| tar_member(name, data, b'0')).collect();
    bytes.resize(bytes.len() + 1024, 0);
    bytes
}

pub(crate) fn crc32(bytes: &[u8]) -> u32 {
    let mut crc = Crc::new();
    crc.update(bytes);
    crc.sum()
}
