//! Images and documents, by signatures that are closer than those of the tables.

/// Width of a brand in a file type box.
const BRAND_BYTES: usize = 4;

/// What the head is the head of.
pub(super) fn sniff(head: &[u8]) -> Option<&'static str> {
    let is = |at: usize, bytes: &[u8]| head.get(at..).is_some_and(|rest| rest.starts_with(bytes));
    // The tables take white space before it, with which it is two things.
    if is(0, b"%PDF-") {
        return Some("application/pdf");
    }
    if is(0, b"GIF87a") || is(0, b"GIF89a") {
        return Some("image/gif");
    }
    // The tables leave out a TIFF whose first data happens to hold a letter of Canon's.
    if (is(0, b"II*\0") || is(0, b"MM\0*")) && !is(8, b"CR") {
        return Some("image/tiff");
    }
    if is_icon(head) {
        return Some("image/x-icon");
    }
    iso_media(head)
}

/// An icon's directory: its kind, at least one image, and what is reserved in the first one's entry.
fn is_icon(head: &[u8]) -> bool {
    let Some((directory, entry)) = head.split_at_checked(6) else { return false };
    let count = u16::from_le_bytes([directory[4], directory[5]]);
    directory.starts_with(&[0, 0, 1, 0]) && count > 0 && entry.get(3) == Some(&0)
}

/// ISO base media files (ISO/IEC 14496-12) by their brands, newer ones included.
fn iso_media(head: &[u8]) -> Option<&'static str> {
    let size = u32::from_be_bytes(*head.first_chunk()?);
    let file_type = head.get(..usize::try_from(size).ok()?.min(head.len()))?;
    let major = file_type.get(8..12).filter(|_| file_type.get(4..8) == Some(b"ftyp"))?;
    match by_brand(major) {
        // Brands that only say that there are still images (ISO/IEC 23008-12): those it is compatible with say more.
        Some("image/heif") | None => {
            let others = file_type.get(16..).unwrap_or_default().chunks_exact(BRAND_BYTES).filter_map(by_brand);
            let mut images = others.filter(|name| matches!(*name, "image/avif" | "image/heic"));
            images.next().or(by_brand(major))
        }
        known => known,
    }
}

fn by_brand(brand: &[u8]) -> Option<&'static str> {
    Some(match brand {
        b"avif" | b"avis" => "image/avif",
        b"heic" | b"heix" | b"heim" | b"heis" | b"hevc" | b"hevx" => "image/heic",
        b"mif1" | b"mif2" | b"msf1" | b"miaf" => "image/heif",
        b"qt  " => "video/quicktime",
        b"M4A " | b"M4B " => "audio/mp4",
        b"jp2 " => "image/jp2",
        b"crx " => "image/x-canon-cr3",
        [b'3', b'g', ..] => "video/3gpp",
        [b'i', b's', b'o', _] | [b'm', b'p', b'4', _] | b"avc1" | b"dash" | b"M4V " | b"MSNV" | b"f4v " | b"cmfc" => {
            "video/mp4"
        }
        _ => return None,
    })
}
