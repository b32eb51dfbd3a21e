use std::{
    cell::Cell,
    io::{Cursor, Write},
};

use proptest::prelude::*;
use zip::{CompressionMethod, write::SimpleFileOptions};

use super::*;

/// Bytes that repeat a pattern up to a tail, without being in memory, and what was read of them.
struct Counted<'a> {
    pattern: &'a [u8],
    tail: &'a [u8],
    len: u64,
    reads: Cell<u64>,
    bytes: Cell<u64>,
}

impl<'a> Counted<'a> {
    const fn new(pattern: &'a [u8], tail: &'a [u8], len: u64) -> Self {
        Self { pattern, tail, len, reads: Cell::new(0), bytes: Cell::new(0) }
    }

    fn at(&self, offset: u64) -> u8 {
        let tail_start = self.len - self.tail.len() as u64;
        match usize::try_from(offset.wrapping_sub(tail_start)) {
            Ok(at) if offset >= tail_start => self.tail[at],
            _ => self.pattern[usize::try_from(offset % self.pattern.len() as u64).unwrap()],
        }
    }
}

impl FileExt for Counted<'_> {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let count = usize::try_from(self.len.saturating_sub(offset).min(buffer.len() as u64)).unwrap();
        for (at, byte) in buffer[..count].iter_mut().enumerate() {
            *byte = self.at(offset + at as u64);
        }
        self.reads.set(self.reads.get() + 1);
        self.bytes.set(self.bytes.get() + count as u64);
        Ok(count)
    }

    fn write_at(&self, _: &[u8], _: u64) -> io::Result<usize> {
        unreachable!("a directory is only read")
    }
}

fn whole(bytes: &[u8]) -> Counted<'_> {
    Counted::new(b"\0", bytes, bytes.len() as u64)
}

fn names(bytes: &[u8]) -> Result<Vec<String>, Unreadable> {
    let file = whole(bytes);
    let mut members = Members::open(&file, file.len)?;
    let mut names = Vec::new();
    while let Some(member) = members.advance()? {
        names.push(String::from_utf8_lossy(member.name).into_owned());
    }
    Ok(names)
}

fn layout(bytes: &[u8]) -> &'static str {
    match names(bytes) {
        Err(Unreadable::Layout(why)) => why,
        other => panic!("{other:?}"),
    }
}

fn archive_with(names: &[&str], options: SimpleFileOptions) -> Vec<u8> {
    let mut writer = zip::ZipWriter::new(Cursor::new(Vec::new()));
    for name in names {
        writer.start_file(*name, options).unwrap();
        writer.write_all(b"some text").unwrap();
    }
    writer.finish().unwrap().into_inner()
}

fn archive(names: &[&str]) -> Vec<u8> {
    archive_with(names, SimpleFileOptions::default())
}

fn position(bytes: &[u8], signature: &[u8]) -> usize {
    bytes.windows(4).position(|window| window == signature).unwrap()
}

#[test]
fn honest_archives_are_walked() {
    assert_eq!(names(&archive(&["a", "dir/b"])).unwrap(), ["a", "dir/b"]);
    assert_eq!(names(&archive(&[])).unwrap(), [""; 0]);
    let stored = SimpleFileOptions::default().compression_method(CompressionMethod::Stored);
    assert_eq!(names(&archive_with(&["a"], stored.large_file(true))).unwrap(), ["a"]);
    let mut stream = zip::ZipWriter::new_stream(Vec::new());
    stream.start_file("a", SimpleFileOptions::default()).unwrap();
    stream.write_all(b"text").unwrap();
    stream.start_file("b", SimpleFileOptions::default()).unwrap();
    assert_eq!(names(&stream.finish().unwrap().into_inner()).unwrap(), ["a", "b"]);
}

/// A ZIP64 end record, its locator, and an end record that leaves everything to them.
fn end64(count: u64, start: u64, size: u64) -> Vec<u8> {
    let mut bytes = b"PK\x06\x06\x2c\0\0\0\0\0\0\0\x2d\0\x2d\0\0\0\0\0\0\0\0\0".to_vec();
    for value in [count, count, size, start] {
        bytes.extend(value.to_le_bytes());
    }
    bytes.extend(b"PK\x06\x07\0\0\0\0");
    bytes.extend((start + size).to_le_bytes());
    bytes.extend(b"\x01\0\0\0PK\x05\x06\0\0\0\0");
    bytes.extend([0xff; 12]);
    bytes.extend([0; 2]);
    bytes
}

#[test]
fn a_zip64_end_record_is_read_where_its_locator_says() {
    let mut bytes = archive(&["a"]);
    let (start, end) = (position(&bytes, b"PK\x01\x02"), position(&bytes, b"PK\x05\x06"));
    bytes.truncate(end);
    bytes.extend(end64(1, start as u64, (end - start) as u64));
    assert_eq!(names(&bytes).unwrap(), ["a"]);
    bytes[end + 4] += 1;
    assert_eq!(layout(&bytes), "the ZIP64 end record is not understood");
}

/// 64 MB of ZIP64 end records, each of which a reader that looks for the archive's start would try.
#[test]
fn end_records_all_over_the_file_cost_nothing() {
    let record = [&b"PK\x06\x06"[..], &[0xff; 52]].concat();
    let tail =
        [&b"PK\x06\x07\0\0\0\0"[..], &7_u64.to_le_bytes(), b"\x01\0\0\0PK\x05\x06", &[0; 4], &[0xff; 12], &[0; 2]];
    let tail = tail.concat();
    let file = Counted::new(&record, &tail, 64 << 20);
    assert!(matches!(Members::open(&file, file.len), Err(Unreadable::Layout(_))));
    assert!(file.reads.get() <= 3 && file.bytes.get() < 70_000, "{} reads, {}", file.reads.get(), file.bytes.get());
}

#[test]
fn the_cost_of_a_walk_is_in_proportion_to_its_members() {
    let names_in: Vec<String> = (0..3000).map(|number| format!("member-{number}")).collect();
    let bytes = archive(&names_in.iter().map(String::as_str).collect::<Vec<_>>());
    let file = whole(&bytes);
    let mut members = Members::open(&file, file.len).unwrap();
    while members.advance().unwrap().is_some() {}
    assert!(file.reads.get() <= 3000 + 10, "{}", file.reads.get());
    assert!(file.bytes.get() <= 2 * file.len + TAIL_BYTES);
    assert!(members.window.bytes.capacity() as u64 <= Window::BYTES && members.local.capacity() < 200);
}

#[test]
fn more_members_than_are_looked_at() {
    let mut bytes = vec![0; 46 * 70_000];
    bytes.extend(end64(70_000, 0, bytes.len() as u64));
    assert!(matches!(names(&bytes), Err(Unreadable::TooMany(70_000))), "{:?}", names(&bytes));
}

#[test]
fn headers_that_disagree() {
    let honest = archive(&["a", "b"]);
    for (at, value) in [(8, 0), (6, 8), (18, 1), (22, 1), (26, 2), (30, b'x')] {
        let mut bytes = honest.clone();
        bytes[at] = value;
        assert_eq!(layout(&bytes), "a member's own header differs from the directory", "{at}");
    }
}

#[test]
fn members_that_do_not_follow_each_other() {
    let honest = archive(&["a", "b"]);
    let central = position(&honest, b"PK\x01\x02");
    let apart = "the members do not follow each other from the first byte on";
    let mut overlapping = honest.clone();
    overlapping[central + 47 + 42..central + 47 + 46].fill(0);
    assert_eq!(layout(&overlapping), apart);
    assert!(names(&[b"prefix", &honest[..]].concat()).is_err());
    assert!(names(&[&honest[..], b"behind"].concat()).is_err());
    assert!(names(&honest[..honest.len() - 1]).is_err());
    let mut hidden = honest.clone();
    let end = position(&hidden, b"PK\x05\x06");
    hidden[end + 8] = 1;
    hidden[end + 10] = 1;
    assert_eq!(layout(&hidden), "the directory has more than the members that it counts");
}

#[test]
fn a_name_longer_than_is_looked_at() {
    assert_eq!(names(&archive(&[&"n".repeat(MAX_NAME_BYTES)])).unwrap().len(), 1);
    assert_eq!(layout(&archive(&[&"n".repeat(MAX_NAME_BYTES + 1)])), "a member's name is too long to be looked at");
}

proptest! {
    #[test]
    fn arbitrary_changes_never_panic(
        changes in proptest::collection::vec((0_usize..400, any::<u8>()), 1..6),
        cut in 0_usize..400,
    ) {
        let mut bytes = archive(&["a", "b"]);
        for (at, value) in changes {
            let at = at % bytes.len();
            bytes[at] = value;
        }
        for part in [&bytes[..], &bytes[..cut.min(bytes.len())]] {
            prop_assert!(names(part).is_ok_and(|names| names.len() <= 2) || names(part).is_err());
        }
    }
}
