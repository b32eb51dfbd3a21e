//! What a store honours, as found by trying.

use std::fmt;

use serde::Serialize;

/// What trying one thing showed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Honoured {
    /// The store does it.
    Yes,
    /// The store says that it does not, or says that it does and does not.
    No,
    /// It was not tried, or could not be.
    #[default]
    Unknown,
}

impl fmt::Display for Honoured {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Yes => "yes",
            Self::No => "no",
            Self::Unknown => "unknown",
        })
    }
}

impl From<bool> for Honoured {
    fn from(honoured: bool) -> Self {
        if honoured { Self::Yes } else { Self::No }
    }
}

/// What a store honours. By default nothing is known of it, which is what it is treated as until it was probed.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Capabilities {
    /// `If-None-Match: *` on PUT keeps an object from being overwritten.
    pub conditional_put: Honoured,
    /// `If-Match` on GET.
    pub conditional_get: Honoured,
    /// `x-amz-copy-source-if-match` on a copy.
    pub conditional_copy: Honoured,
    /// The bucket keeps every version, and GET gives each one's own bytes.
    pub versions: Honoured,
    /// A copy of a version has that version's bytes, not the newest.
    pub pinned_copy: Honoured,
    /// A copy with new metadata has nothing of the source's.
    pub metadata_replace: Honoured,
    /// A body that is not what `x-amz-checksum-sha256` says is refused.
    pub sha256_checksum: Honoured,
    /// A body that is not what `Content-MD5` says is refused.
    pub content_md5: Honoured,
    /// An upload in parts is completed with its bytes.
    pub multipart: Honoured,
    /// Open uploads are listed, and gone once they are aborted.
    pub multipart_cleanup: Honoured,
    /// Why something could not be tried, or what the probe left behind. In plain words.
    pub notes: Vec<String>,
}

/// One line of what a store honours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Capability {
    /// What it is.
    pub name: &'static str,
    /// What trying it showed.
    pub honoured: Honoured,
    /// What it is to Lazaret.
    pub meaning: &'static str,
}

impl Capabilities {
    /// Every capability by name, in the order they are shown.
    pub fn list(&self) -> [Capability; 10] {
        let line = |name, honoured, meaning| Capability { name, honoured, meaning };
        [
            line("versions", self.versions, "what was scanned can still be read after an overwrite"),
            line("pinned copy", self.pinned_copy, "what was scanned can be published at the store"),
            line("metadata replace", self.metadata_replace, "a copy at the store has no headers of the client"),
            line("conditional copy", self.conditional_copy, "a copy of other bytes is refused; never relied on"),
            line("conditional GET", self.conditional_get, "an overwritten object is refused; compared all the same"),
            line("conditional PUT", self.conditional_put, "an object is not overwritten; never relied on"),
            line("SHA-256 checksum", self.sha256_checksum, "bytes that changed on the way are refused on arrival"),
            line("Content-MD5", self.content_md5, "the same by MD5; never relied on"),
            line("multipart", self.multipart, "large objects are uploaded in parts, else in one piece"),
            line("multipart clean-up", self.multipart_cleanup, "uploads left open can be swept"),
        ]
    }

    /// Whether a copy at the store is known to have the scanned version's bytes and none of the client's headers. In
    /// every other case what is published comes from the spool.
    pub fn copies_versions(&self) -> bool {
        [self.versions, self.pinned_copy, self.metadata_replace].iter().all(|&honoured| honoured == Honoured::Yes)
    }

    /// What to tell an operator: what stayed unknown, and why. None: everything was tried and nothing left behind.
    pub fn warning(&self) -> Option<String> {
        let unknown: Vec<_> =
            self.list().iter().filter(|line| line.honoured == Honoured::Unknown).map(|line| line.name).collect();
        if unknown.is_empty() && self.notes.is_empty() {
            return None;
        }
        let mut text = match unknown.as_slice() {
            [] => "the store was probed".to_owned(),
            names => format!("not known of the store: {}", names.join(", ")),
        };
        for note in &self.notes {
            text.push_str("; ");
            text.push_str(note);
        }
        Some(text)
    }
}

impl fmt::Display for Capabilities {
    /// A line each: name, yes/no/unknown, meaning.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, line) in self.list().iter().enumerate() {
            if number > 0 {
                f.write_str("\n")?;
            }
            write!(f, "{:<18} {:<7} {}", line.name, line.honoured, line.meaning)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(honoured: Honoured) -> Capabilities {
        Capabilities {
            conditional_put: honoured,
            conditional_get: honoured,
            conditional_copy: honoured,
            versions: honoured,
            pinned_copy: honoured,
            metadata_replace: honoured,
            sha256_checksum: honoured,
            content_md5: honoured,
            multipart: honoured,
            multipart_cleanup: honoured,
            notes: Vec::new(),
        }
    }

    #[test]
    fn a_copy_at_the_store_needs_all_three_proofs() {
        assert!(all(Honoured::Yes).copies_versions());
        for lacking in [Honoured::No, Honoured::Unknown] {
            assert!(!Capabilities { versions: lacking, ..all(Honoured::Yes) }.copies_versions());
            assert!(!Capabilities { pinned_copy: lacking, ..all(Honoured::Yes) }.copies_versions());
            assert!(!Capabilities { metadata_replace: lacking, ..all(Honoured::Yes) }.copies_versions());
        }
        let others_lacking = Capabilities {
            versions: Honoured::Yes,
            pinned_copy: Honoured::Yes,
            metadata_replace: Honoured::Yes,
            ..all(Honoured::No)
        };
        assert!(others_lacking.copies_versions(), "no condition is relied on");
        assert!(!Capabilities::default().copies_versions());
    }

    #[test]
    fn what_is_unknown_is_said_with_its_reason() {
        assert_eq!(all(Honoured::Yes).warning(), None);
        assert_eq!(all(Honoured::No).warning(), None);
        let denied = Capabilities {
            pinned_copy: Honoured::Unknown,
            notes: vec!["copy: AccessDenied (HTTP 403)".to_owned()],
            ..all(Honoured::Yes)
        };
        let expected = "not known of the store: pinned copy; copy: AccessDenied (HTTP 403)";
        assert_eq!(denied.warning().as_deref(), Some(expected));
        assert!(denied.to_string().contains("pinned copy        unknown what was scanned"), "{denied}");
        assert_eq!(denied.to_string().lines().count(), denied.list().len());
    }
}
