//! Where in an archive something lies, for those who read a reason.

use std::fmt;

/// The longest part of a name that is told, in characters.
const SHOWN_CHARS: usize = 60;

/// A member, and the archives it lies in.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place<'a> {
    parent: Option<&'a Place<'a>>,
    name: &'a [u8],
    /// How many archives this would be within each other, were it one. The object is the first.
    depth: u32,
}

impl<'a> Place<'a> {
    /// The object itself.
    pub(super) const OBJECT: Self = Self { parent: None, name: b"", depth: 1 };

    /// A member of the archive here; one without a name is the content of a packed stream.
    pub(super) const fn member(&'a self, name: &'a [u8]) -> Self {
        Self { parent: Some(self), name, depth: self.depth.saturating_add(1) }
    }

    pub(super) const fn depth(&self) -> u32 {
        self.depth
    }

    /// Returns whether there was a name to tell.
    fn write_names(&self, f: &mut fmt::Formatter<'_>) -> Result<bool, fmt::Error> {
        let told = self.parent.map_or(Ok(false), |parent| parent.write_names(f))?;
        if self.name.is_empty() {
            return Ok(told);
        }
        f.write_str(if told { " > " } else { "member " })?;
        // What is left out of a long name is cut before it is decoded; its bytes are the uploader's.
        let name = String::from_utf8_lossy(&self.name[..self.name.len().min(4 * SHOWN_CHARS)]);
        let shown: String = name.chars().take(SHOWN_CHARS).collect();
        let cut = if shown.len() < self.name.len() && name.chars().count() > SHOWN_CHARS { "…" } else { "" };
        write!(f, "{shown:?}{cut}")?;
        Ok(true)
    }
}

impl fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.write_names(f)? { Ok(()) } else { f.write_str("the archive") }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_told_from_the_outside_in() {
        let object = Place::OBJECT;
        assert_eq!(object.to_string(), "the archive");
        let content = object.member(b"");
        assert_eq!(content.to_string(), "the archive");
        let inner = content.member(b"a\x1b[2J\"b.zip");
        let file = inner.member("ü\u{202e}".as_bytes());
        assert_eq!(file.to_string(), r#"member "a\u{1b}[2J\"b.zip" > "ü\u{202e}""#);
        assert_eq!(file.depth(), 4);
        let long = object.member(&[b'n'; 5000]).to_string();
        assert_eq!(long, format!("member \"{}\"…", "n".repeat(SHOWN_CHARS)));
    }
}
