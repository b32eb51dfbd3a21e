//! What a program's file says about how it is loaded (elf(5)).

use std::{fs::File, io, os::unix::fs::FileExt, path::PathBuf};

/// The file header, and room for the program headers, which follow it at once.
const HEAD_BYTES: usize = 4096;
/// The kind of the program header that names the loader.
const INTERPRETER: u64 = 3;

/// How the kernel loads a 64-bit ELF file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Loading {
    /// By itself.
    Static,
    /// With this program, which loads the libraries.
    With(PathBuf),
}

/// How the file is loaded; none where it is no ELF file of this machine's size.
pub(crate) fn loading(file: &File) -> io::Result<Option<Loading>> {
    let mut head = vec![0; HEAD_BYTES];
    let len = read_at_most(file, &mut head, 0)?;
    head.truncate(len);
    let (offset, len) = match loader_place(&head) {
        Some(Place::At { offset, len }) => (offset, len),
        Some(Place::Nowhere) => return Ok(Some(Loading::Static)),
        None => return Ok(None),
    };
    let mut path = vec![0; len];
    file.read_exact_at(&mut path, offset)?;
    let path = path.strip_suffix(b"\0").unwrap_or(&path);
    Ok(Some(Loading::With(PathBuf::from(String::from_utf8_lossy(path).into_owned()))))
}

/// Where in the file the loader's path is.
#[derive(Debug, PartialEq, Eq)]
enum Place {
    At {
        offset: u64,
        len: usize,
    },
    /// None is named.
    Nowhere,
}

/// None where this is not such a file.
fn loader_place(head: &[u8]) -> Option<Place> {
    let number = |at: u64, len: u64| {
        let at = usize::try_from(at).ok()?;
        let bytes = head.get(at..at.checked_add(usize::try_from(len).ok()?)?)?;
        Some(bytes.iter().rev().fold(0_u64, |number, &byte| number << 8 | u64::from(byte)))
    };
    if !head.starts_with(b"\x7fELF\x02\x01") {
        return None;
    }
    let (table, size, count) = (number(0x20, 8)?, number(0x36, 2)?, number(0x38, 2)?);
    for index in 0..count {
        let entry = table.checked_add(index * size)?;
        if number(entry, 4)? == INTERPRETER {
            let len = usize::try_from(number(entry.checked_add(32)?, 8)?).ok().filter(|&len| len <= HEAD_BYTES)?;
            return Some(Place::At { offset: number(entry.checked_add(8)?, 8)?, len });
        }
    }
    Some(Place::Nowhere)
}

/// Fills as much of the buffer as the file has.
pub(crate) fn read_at_most(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    let mut done = 0;
    while done < buffer.len() {
        match file.read_at(&mut buffer[done..], offset + done as u64)? {
            0 => break,
            len => done += len,
        }
    }
    Ok(done)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_loader_is_found_where_there_is_one() {
        let this = File::open(std::env::current_exe().unwrap()).unwrap();
        match loading(&this).unwrap() {
            Some(Loading::With(loader)) => assert!(loader.is_absolute() && loader.exists(), "{loader:?}"),
            other => panic!("{other:?}"),
        }
        assert_eq!(loading(&File::open("/etc/hostname").unwrap()).unwrap(), None);
    }

    #[test]
    fn a_header_that_lies_is_no_program() {
        let mut head = vec![0; 200];
        head[..6].copy_from_slice(b"\x7fELF\x02\x01");
        head[0x20..0x28].copy_from_slice(&u64::MAX.to_le_bytes());
        head[0x36] = 56;
        head[0x38] = 1;
        assert_eq!(loader_place(&head), None);
        head[0x20..0x28].copy_from_slice(&64_u64.to_le_bytes());
        head[64] = 3;
        head[64 + 32..64 + 40].copy_from_slice(&u64::MAX.to_le_bytes());
        assert_eq!(loader_place(&head), None);
        assert_eq!(loader_place(b"\x7fELF\x02\x01"), None);
    }
}
