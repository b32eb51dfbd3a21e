use crate::archive::{
    Bounds,
    content::Section,
    ledger::Ledger,
    tests::build::{self, spooled, summed, tar_header, tar_member},
};

use super::*;

fn found(bytes: &[u8]) -> Option<String> {
    let bounds = Bounds { limits: crate::archive::ArchiveLimits::default(), max_member: None };
    let object = spooled(bytes);
    let ledger = Ledger::new(&bounds, object.len());
    let placed = Content::Placed(Section::of_file(object.file(), object.len()));
    assert!(walk(&ledger, placed, &Place::OBJECT).is_ok());
    let flowing = Ledger::new(&bounds, object.len());
    assert!(walk(&flowing, Content::Flowing(&mut &bytes[..]), &Place::OBJECT).is_ok());
    let (placed, flowing) = (ledger.into_findings(), flowing.into_findings());
    assert_eq!(placed, flowing, "a tar in a file and in a stream are one");
    Some(placed.first()?.detail.rsplit(": ").next()?.to_owned())
}

fn tar_of(parts: &[Vec<u8>]) -> Vec<u8> {
    [&parts.concat()[..], &[0; 1024]].concat()
}

fn extended(kind: u8, records: &str) -> Vec<u8> {
    tar_member("PaxHeaders/x", records.as_bytes(), kind)
}

fn changed(at: usize, bytes: &[u8]) -> Vec<u8> {
    let mut block = tar_header("a", 4, b'0');
    block[at..at + bytes.len()].copy_from_slice(bytes);
    tar_of(&[summed(block), vec![b'x'; 512]])
}

#[test]
fn a_header_is_known_by_its_checksum() {
    let header = tar_header("name", 5, b'0');
    assert!(begins(&header) && !begins(&header[..511]));
    for at in [0, 130, 257, 511] {
        let mut other = header.clone();
        other[at] ^= 1;
        assert!(!begins(&other), "{at}");
    }
    let mut unnamed = header.clone();
    unnamed[..4].fill(0);
    assert!(!begins(&summed(unnamed)));
    assert!(!begins(&[b' '; 512]) && !begins(&[0x80; 512]));
    // Summed as signed bytes, by writers of old.
    let mut signed = tar_header("grün", 5, b'0');
    let sum: i32 = signed[..148].iter().chain(&signed[156..]).map(|byte| i32::from(byte.cast_signed())).sum();
    signed[148..156].copy_from_slice(format!("{:06o}\0 ", sum + 8 * 32).as_bytes());
    assert!(begins(&signed));
}

#[test]
fn what_all_readers_read_alike_is_walked() {
    let member = tar_member("a", b"text", b'0');
    for parts in [
        Vec::new(),
        vec![member.clone()],
        vec![tar_member("dir/", b"", b'5'), member.clone(), tar_member("link", b"", b'2')],
        vec![tar_member("old", b"text", 0), tar_member("contiguous", b"text", b'7')],
        vec![tar_member("././@LongLink", &[b'n'; 700], b'L'), member.clone()],
        vec![extended(b'x', "13 mtime=123\n14 path=a=b=c\n"), member.clone()],
        vec![extended(b'g', "15 comment=abc\n"), extended(b'x', "9 size=4\n"), member.clone()],
    ] {
        assert_eq!(found(&tar_of(&parts)), None);
    }
    // Without empty blocks at its end, or with many.
    assert_eq!(found(&member), None);
    assert_eq!(found(&[&member[..], &[0; 9000]].concat()), None);
    assert_eq!(found(&changed(124, b"         4 \0")), None);
}

#[test]
fn what_readers_differ_in_is_held() {
    let member = tar_member("a", b"text", b'0');
    for (bytes, why) in [
        (tar_of(&[member.clone(), vec![0; 512], member.clone()]), "there are bytes behind its end"),
        ([&tar_of(std::slice::from_ref(&member))[..], b"x"].concat(), "there are bytes behind its end"),
        (member[..700].to_vec(), "a member is longer than what is left of it"),
        ([&member[..], &[b'x'; 100]].concat(), "it ends within a header"),
        (tar_of(&[extended(b'x', "9 size=9\n"), member.clone()]), "an extended header gives a member another size"),
        (tar_of(&[extended(b'g', "9 size=4\n"), member.clone()]), "an extended header gives all members one size"),
        (tar_of(&[extended(b'x', "99 size=4\n"), member.clone()]), "an extended header is not understood"),
        (tar_of(&[extended(b'x', "0 a=b\n"), member.clone()]), "an extended header is not understood"),
        (tar_of(&[tar_header("x", 300_000, b'x')]), "an extended header is too long to be looked at"),
        (
            tar_of(&[extended(b'x', "22 GNU.sparse.major=1\n"), member.clone()]),
            "it has a sparse member, which no scanner unpacks",
        ),
        (tar_of(&[tar_member("s", b"text", b'S')]), "it has a sparse member, which no scanner unpacks"),
        (tar_of(&[tar_member("m", b"text", b'M')]), "it is one part of several"),
        (tar_of(&[tar_member("l", b"text", b'1')]), "a link, a device or a folder in it has a size"),
        (changed(124, b"\x80\0\0\0\0\0\0\0\0\0\0\x04"), "a member's size is in binary form"),
        (changed(124, b"0000000008\0\0"), "a member's size is not understood"),
        (changed(124, b"12 34\0\0\0\0\0\0\0"), "a member's size is not understood"),
        (tar_of(&[member.clone(), build::noise(512)]), "a header has no checksum"),
    ] {
        assert_eq!(found(&bytes).as_deref(), Some(why));
    }
    let mut broken = tar_of(&[member]);
    broken[0] = b'b';
    assert_eq!(found(&broken).as_deref(), Some("a header's checksum is wrong"));
}
