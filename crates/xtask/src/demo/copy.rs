//! A published copy, fetched and held against the design: its bytes, and the headers of section 6.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use anyhow::Result;

use super::cases::Copy;
use super::curl::{self, Fetched};
use super::station::{Created, Published, Station};

const PREFIX: &str = "published/";

/// Everything about the copy that is not as it should be.
pub(super) fn differences(
    station: &Station,
    created: &Created,
    published: &Published,
    expected: &Copy,
    content_type: &str,
    source: &Path,
) -> Result<Vec<String>> {
    let fetched = curl::fetch(station, &published.bucket, &published.key)?;
    let mut differences = Differences::default();
    identity(&mut differences, created, published, &fetched);
    let content_type = expected.becomes.unwrap_or(content_type);
    headers(&mut differences, created, published, &fetched, content_type, expected.attachment);
    if let Some(thumbnail) = expected.thumbnail {
        variant(&mut differences, station, published, thumbnail)?;
    }
    let unchanged = fetched.body == fs::read(source)?;
    differences.check(unchanged == expected.as_is, || {
        if unchanged { "the bytes are the upload's: nothing was re-encoded" } else { "the bytes are not the upload's" }
            .to_owned()
    });
    content(&mut differences, expected, &fetched.body);
    Ok(differences.0)
}

/// A complaint when something lies among the published objects that no session published.
pub(super) fn nothing_else(station: &Station, published: &BTreeSet<String>) -> Result<Option<String>> {
    let lying = curl::list(station, PREFIX)?;
    Ok((lying != *published)
        .then(|| format!("under {PREFIX} lie {} objects, {} were published: {lying:?}", lying.len(), published.len())))
}

#[derive(Default)]
struct Differences(Vec<String>);

impl Differences {
    fn check(&mut self, holds: bool, otherwise: impl FnOnce() -> String) {
        if !holds {
            self.0.push(otherwise());
        }
    }
}

fn identity(differences: &mut Differences, created: &Created, published: &Published, fetched: &Fetched) {
    let digest = &fetched.sha256;
    differences.check(&published.sha256 == digest, || format!("sha256 is {digest}, recorded is {}", published.sha256));
    let size = fetched.body.len();
    differences
        .check(u64::try_from(size) == Ok(published.size), || format!("{size} bytes, recorded are {}", published.size));
    let key = format!("{PREFIX}{}/{digest}", created.object_id);
    differences.check(published.key == key, || format!("the key is {}, not {key}", published.key));
}

/// The one thumbnail: recorded, there, and with the digest that its key ends in.
fn variant(
    differences: &mut Differences,
    station: &Station,
    published: &Published,
    expected: (u32, u32),
) -> Result<()> {
    let [thumbnail] = published.variants() else {
        differences.0.push(format!("it has {} variants, not one", published.variants().len()));
        return Ok(());
    };
    let found = (thumbnail.width, thumbnail.height);
    differences.check(found == expected, || format!("its thumbnail is {found:?}, not {expected:?}"));
    let fetched = curl::fetch(station, &published.bucket, &thumbnail.key)?;
    differences.check(thumbnail.key.ends_with(&fetched.sha256), || {
        format!("its thumbnail under {} has the digest {}", thumbnail.key, fetched.sha256)
    });
    Ok(())
}

fn headers(
    differences: &mut Differences,
    created: &Created,
    published: &Published,
    fetched: &Fetched,
    content_type: &str,
    attachment: bool,
) {
    let disposition = if attachment { "attachment" } else { "inline" };
    let exact = [
        ("content-type", content_type),
        ("x-amz-meta-lazaret-upload-id", &created.upload_id),
        ("x-amz-meta-lazaret-object-id", &created.object_id),
        ("x-amz-meta-lazaret-tenant-id", "demo"),
        ("x-amz-meta-lazaret-sha256", &fetched.sha256),
    ];
    let header = |name: &str| fetched.headers.get(name).map_or("", String::as_str);
    for (name, value) in exact {
        differences.check(header(name) == value, || format!("{name} is {:?}, not {value:?}", header(name)));
    }
    differences.check(published.content_type == content_type, || {
        format!("recorded as {}, not {content_type}", published.content_type)
    });
    let given = header("content-disposition");
    differences.check(given.split(';').next() == Some(disposition), || {
        format!("content-disposition is {given:?}, not {disposition}")
    });
    let given = header("cache-control");
    let words: Vec<_> = given.split(',').map(str::trim).collect();
    differences.check(words.contains(&"private") && words.contains(&"immutable"), || {
        format!("cache-control is {given:?}, not private and immutable")
    });
}

fn content(differences: &mut Differences, expected: &Copy, body: &[u8]) {
    for unwanted in expected.without {
        differences
            .check(occurrences(body, unwanted) == 0, || format!("{:?} survived", String::from_utf8_lossy(unwanted)));
    }
    if let Some(upright) = expected.dimensions {
        let found = jpeg_dimensions(body);
        differences.check(found == Some(upright), || format!("dimensions are {found:?}, not {upright:?}"));
    }
    if let Some(frames) = expected.frames {
        let found = gif_frames(body);
        differences.check(found == Some(frames), || format!("frames are {found:?}, not {frames}"));
    }
}

fn occurrences(body: &[u8], what: &[u8]) -> usize {
    body.windows(what.len()).filter(|window| window == &what).count()
}

/// Width and height from the frame header (ITU-T T.81, B.2.2).
fn jpeg_dimensions(body: &[u8]) -> Option<(u16, u16)> {
    let mut rest = body.strip_prefix(b"\xff\xd8")?;
    loop {
        let [0xff, marker, high, low, ..] = *rest else { return None };
        let segment = rest.get(4..2 + usize::from(u16::from_be_bytes([high, low])))?;
        if matches!(marker, 0xc0..=0xc2) {
            let [_, h1, h0, w1, w0, ..] = *segment else { return None };
            return Some((u16::from_be_bytes([w1, w0]), u16::from_be_bytes([h1, h0])));
        }
        rest = rest.get(4 + segment.len()..)?;
    }
}

/// The image descriptors, walked block by block (`GIF89a`, appendix B).
fn gif_frames(body: &[u8]) -> Option<usize> {
    let table = |flags: u8| if flags & 0x80 == 0 { 0 } else { 3 << ((flags & 7) + 1) };
    let mut at = 13 + table(*body.get(10)?);
    let mut frames = 0;
    loop {
        match *body.get(at)? {
            0x3b => return Some(frames),
            0x21 => at += 2,
            0x2c => {
                frames += 1;
                at += 11 + table(*body.get(at + 9)?);
            }
            _ => return None,
        }
        loop {
            let length = usize::from(*body.get(at)?);
            at += 1 + length;
            if length == 0 {
                break;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{gif_frames, jpeg_dimensions};

    #[test]
    fn headers_of_the_fixtures_are_read() {
        let photo = include_bytes!("../../../../fixtures/files/photo-gps-rotated.jpg");
        assert_eq!(jpeg_dimensions(photo), Some((1632, 1224)));
        assert_eq!(jpeg_dimensions(&photo[..300]), None);
        let animation = include_bytes!("../../../../fixtures/files/animated.gif");
        assert_eq!(gif_frames(animation), Some(6));
        assert_eq!(gif_frames(&animation[..2000]), None);
    }
}
