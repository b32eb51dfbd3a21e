//! Things that a machine would run, by their first bytes.

/// Whether the head belongs to a program, and which.
pub(super) fn sniff(head: &[u8]) -> Option<&'static str> {
    if head.starts_with(b"\x7fELF") {
        return Some("application/x-elf");
    }
    if is_dos_or_windows(head) {
        return Some("application/vnd.microsoft.portable-executable");
    }
    if head.starts_with(b"#!") {
        return Some("text/x-shellscript");
    }
    let magic: [u8; 4] = head.get(..4)?.try_into().ok()?;
    match magic {
        // Mach-O, both word sizes and byte orders (mach-o/loader.h).
        [0xfe, 0xed, 0xfa, 0xce | 0xcf] | [0xce | 0xcf, 0xfa, 0xed, 0xfe] => Some("application/x-mach-binary"),
        // A Java class and a fat Mach-O share this magic; nobody uploads either as something else by chance.
        [0xca, 0xfe, 0xba, 0xbe] => Some("application/java-vm"),
        [0x00, b'a', b's', b'm'] => Some("application/wasm"),
        [b'd', b'e', b'x', b'\n'] => Some("application/vnd.android.dex"),
        // A Windows shell link ([MS-SHLLINK] 2.1).
        [0x4c, 0x00, 0x00, 0x00] if head.get(4..8) == Some(&[0x01, 0x14, 0x02, 0x00]) => {
            Some("application/x-ms-shortcut")
        }
        _ => None,
    }
}

/// The two letters of a DOS header, whatever follows.
pub(super) fn begins_with_mz(head: &[u8]) -> bool {
    head.starts_with(b"MZ") || head.starts_with(b"ZM")
}

/// "MZ" alone is two letters that text may begin with; a DOS header is binary.
fn is_dos_or_windows(head: &[u8]) -> bool {
    let Some(rest) = head.strip_prefix(b"MZ").or_else(|| head.strip_prefix(b"ZM")) else { return false };
    rest.is_empty() || rest.iter().take(64).any(|&byte| byte < 0x20 && !matches!(byte, b'\t' | b'\n' | b'\r'))
}
