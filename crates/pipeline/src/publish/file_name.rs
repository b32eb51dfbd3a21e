//! What a browser is told to do with a published file, and to call it.

use lazaret_core::{FileName, MediaType, VariantName};

/// The longest name that file systems take, in bytes.
const MAX_NAME_BYTES: usize = 255;

/// The types of images by the extensions of their names; the first is the one they are given.
const EXTENSIONS: &[(&str, &[&str])] = &[
    ("image/jpeg", &["jpg", "jpeg", "jpe", "jfif"]),
    ("image/png", &["png", "apng"]),
    ("image/gif", &["gif"]),
    ("image/webp", &["webp"]),
    ("image/bmp", &["bmp", "dib"]),
    ("image/tiff", &["tif", "tiff"]),
    ("image/x-icon", &["ico"]),
    ("image/avif", &["avif"]),
    ("image/heic", &["heic", "heif"]),
    ("image/svg+xml", &["svg", "svgz"]),
];

/// `inline` for what was made of pixels; everything else may act where it is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Display {
    Inline,
    Attachment,
}

/// `Content-Disposition` (RFC 6266).
pub(super) fn disposition(display: Display, name: &str) -> String {
    let kind = match display {
        Display::Inline => "inline",
        Display::Attachment => "attachment",
    };
    format!("{kind}; filename*=UTF-8''{}", ext_value(name))
}

/// The name of what was made of a file: that of the file while it is of the same type, else with the extension of the
/// new one. Those of variants tell which they are: `photo-thumb.jpg`.
pub(super) fn name_of(
    original: &FileName,
    was: &MediaType,
    variant: Option<&VariantName>,
    media_type: &MediaType,
) -> String {
    let is_same = was == media_type;
    if is_same && variant.is_none() {
        return original.as_str().to_owned();
    }
    let (stem, extension) = split(original);
    let ours = EXTENSIONS.iter().find(|(name, _)| *name == media_type.as_str()).map(|(_, known)| known[0]);
    let extension = if is_same { extension.or(ours) } else { ours };
    let mut end = variant.map(|name| format!("-{name}")).unwrap_or_default();
    if let Some(extension) = extension {
        end.push('.');
        end.push_str(extension);
    }
    let room = MAX_NAME_BYTES.saturating_sub(end.len());
    format!("{}{end}", &stem[..stem.floor_char_boundary(room)])
}

/// The name without an extension of images, and that. What follows the last dot otherwise is part of the name.
fn split(name: &FileName) -> (&str, Option<&str>) {
    let is_known = |extension: &str| EXTENSIONS.iter().any(|(_, known)| known.contains(&extension));
    if !name.extension().is_some_and(|extension| is_known(&extension)) {
        return (name.as_str(), None);
    }
    name.as_str().rsplit_once('.').map_or((name.as_str(), None), |(stem, extension)| (stem, Some(extension)))
}

/// The `ext-value` of RFC 8187: everything but `attr-char` is percent-encoded UTF-8.
fn ext_value(name: &str) -> String {
    use std::fmt::Write as _;
    name.bytes().fold(String::with_capacity(name.len()), |mut text, byte| {
        if byte.is_ascii_alphanumeric() || b"!#$&+-.^_`|~".contains(&byte) {
            text.push(char::from(byte));
        } else {
            // Writing to a String cannot fail.
            write!(text, "%{byte:02X}").unwrap_or_default();
        }
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_encoded_by_rfc_8187() {
        assert_eq!(ext_value("a b.png"), "a%20b.png");
        assert_eq!(ext_value("größe\"\r\n;.pdf"), "gr%C3%B6%C3%9Fe%22%0D%0A%3B.pdf");
        assert_eq!(ext_value("it's(1)*.txt"), "it%27s%281%29%2A.txt");
    }

    fn named(name: &str, was: &str, variant: Option<&str>, is: &str) -> String {
        let variant: Option<VariantName> = variant.map(|name| name.parse().unwrap());
        name_of(&name.parse().unwrap(), &was.parse().unwrap(), variant.as_ref(), &is.parse().unwrap())
    }

    #[test]
    fn a_new_type_has_a_new_extension() {
        for (name, was, is, expected) in [
            ("a.png", "image/png", "image/png", "a.png"),
            ("a.JPEG", "image/jpeg", "image/jpeg", "a.JPEG"),
            ("a.BMP", "image/bmp", "image/png", "a.png"),
            ("photo.tiff", "image/tiff", "image/png", "photo.png"),
            ("x.avif", "image/avif", "image/webp", "x.webp"),
            ("x.avif", "image/avif", "image/jpeg", "x.jpg"),
            ("logo.svg", "image/svg+xml", "image/png", "logo.png"),
            ("logo.svg", "image/svg+xml", "image/svg+xml", "logo.svg"),
            ("scan", "image/tiff", "image/png", "scan.png"),
            ("v1.2 final", "image/tiff", "image/png", "v1.2 final.png"),
            (".png", "image/png", "image/webp", ".png.webp"),
            ("scan", "image/png", "image/png", "scan"),
            ("a.pdf", "application/pdf", "application/pdf", "a.pdf"),
        ] {
            assert_eq!(named(name, was, None, is), expected, "{name} {is}");
        }
    }

    #[test]
    fn variants_say_which_they_are() {
        assert_eq!(named("photo.jpg", "image/jpeg", Some("thumb"), "image/jpeg"), "photo-thumb.jpg");
        assert_eq!(named("photo.JPEG", "image/jpeg", Some("thumb"), "image/jpeg"), "photo-thumb.JPEG");
        assert_eq!(named("photo", "image/jpeg", Some("thumb"), "image/jpeg"), "photo-thumb.jpg");
        assert_eq!(named("photo.tif", "image/tiff", Some("w-1600"), "image/png"), "photo-w-1600.png");
    }

    #[test]
    fn no_name_is_longer_than_a_file_system_takes() {
        let long = format!("{}.tiff", "ä".repeat(125));
        for variant in [None, Some("thumb"), Some("tiny")] {
            let name = named(&long, "image/tiff", variant, "image/png");
            assert!(name.len() <= MAX_NAME_BYTES, "{} {name}", name.len());
            assert_eq!(&name[name.len() - 4..], ".png");
        }
    }
}
