//! PDF (ISO 32000-2): only what the catalog leads to, numbered anew, without what acts.
//!
//! The pages, what they show, the outline, named destinations, form fields and the structure for readers aloud stay.
//! Scripts, actions but those that move about the document or open a web page, attached and external files, media,
//! XFA, signatures (they sign other bytes), metadata and earlier revisions do not. Streams stay as they are encoded:
//! what draws the pages is not looked into, fonts and images neither.

pub(crate) mod rules;
mod write;

use std::{collections::BTreeSet, io::Write};

use lazaret_sandbox::RefusalCode;
use lopdf::{
    Document, LoadOptions, Object, ObjectId,
    xref::{XrefEntry, XrefRecovery},
};

use crate::failure::{Failure, output_full};

/// How far an object or cross-reference stream may unfold, in bytes.
const MAX_UNFOLDED_BYTES: usize = 64 << 20;

/// How many references may stand between a reference and what it means.
const MAX_DETOURS: usize = 16;

/// Where every file begins.
pub(crate) const HEADER: &[u8] = b"%PDF-";

/// Writes the document anew and answers its length in bytes.
pub(super) fn sanitise(input: &[u8], mut output: &mut [u8]) -> Result<u64, Failure> {
    let room = output.len();
    write_anew(input, &mut output)?;
    let len = room - output.len();
    Ok(len as u64)
}

/// Writes the document anew. A second pass over what comes out gives the same bytes.
pub(crate) fn write_anew(input: &[u8], output: &mut dyn Write) -> Result<(), Failure> {
    let source = Source::load(input)?;
    write::write(&source, output)
}

/// A document that was parsed whole.
pub(crate) struct Source {
    document: Document,
    catalog: ObjectId,
    pages: BTreeSet<ObjectId>,
    is_second_edition: bool,
}

impl Source {
    fn load(input: &[u8]) -> Result<Self, Failure> {
        if !input.starts_with(HEADER) {
            return Err(unparsable("it does not begin with %PDF-"));
        }
        let options = LoadOptions::with_max_decompressed_size(MAX_UNFOLDED_BYTES);
        let document = Document::load_mem_with_options(input, options).map_err(unparsable)?;
        if document.encryption_state.is_some() || document.trailer.has(b"Encrypt") {
            return Err(Failure::new(RefusalCode::Encrypted, "the document is encrypted"));
        }
        if document.xref_recovery == Some(XrefRecovery::Reconstructed) {
            return Err(unparsable("its table of objects is damaged"));
        }
        let root = document.trailer.get(b"Root").map_err(unparsable)?;
        let Object::Reference(root) = *root else { return Err(unparsable("its catalog is no object of its own")) };
        let version = catalog_version(&document, root);
        let is_second_edition =
            document.version.starts_with("2.") || version.is_some_and(|name| name.starts_with(b"2."));
        let source = Self { catalog: root, pages: BTreeSet::new(), is_second_edition, document };
        let (catalog, object) = source.find(root)?.ok_or_else(|| unparsable("it has no catalog"))?;
        let Object::Dictionary(dict) = object else { return Err(unparsable("its catalog is no dictionary")) };
        let pages = source.pages(dict.get(b"Pages").map_err(|_| unparsable("its catalog names no pages"))?)?;
        Ok(Self { catalog, pages, ..source })
    }

    /// The object that a reference leads to, and its own number; `None` where there is none, which means null.
    fn find(&self, mut id: ObjectId) -> Result<Option<(ObjectId, &Object)>, Failure> {
        for _ in 0..MAX_DETOURS {
            match self.document.objects.get(&id) {
                Some(Object::Reference(next)) => id = *next,
                Some(object) => return Ok(Some((id, object))),
                None => {
                    let entry = self.document.reference_table.get(id.0);
                    let is_promised = matches!(entry, Some(XrefEntry::Normal { .. } | XrefEntry::Compressed { .. }));
                    let is_other_revision = self.document.objects.range((id.0, 0)..=(id.0, u16::MAX)).next().is_some();
                    if is_promised && !is_other_revision {
                        return Err(unparsable(format_args!("object {} cannot be parsed", id.0)));
                    }
                    return Ok(None);
                }
            }
        }
        Err(unparsable(format_args!("object {} is a chain of references", id.0)))
    }

    /// The value itself, or what it refers to.
    fn resolve<'a>(&'a self, object: &'a Object) -> Result<&'a Object, Failure> {
        match object {
            Object::Reference(id) => Ok(self.find(*id)?.map_or(&Object::Null, |(_, object)| object)),
            direct => Ok(direct),
        }
    }

    /// The pages of the tree, of which every node must be there.
    fn pages(&self, root: &Object) -> Result<BTreeSet<ObjectId>, Failure> {
        let mut waiting = vec![root];
        let (mut seen, mut pages) = (BTreeSet::new(), BTreeSet::new());
        while let Some(node) = waiting.pop() {
            let Object::Reference(id) = *node else { return Err(unparsable("its page tree is broken")) };
            let Some((id, Object::Dictionary(node))) = self.find(id)? else {
                return Err(unparsable("a page is missing"));
            };
            if !seen.insert(id) {
                continue;
            }
            // What does not come through anywhere would leave a hole.
            if !self.admits_dictionary(node)? {
                return Err(unparsable("its page tree is broken"));
            }
            match node.get(b"Kids").ok().map(|kids| self.resolve(kids)).transpose()? {
                Some(Object::Array(kids)) => waiting.extend(kids),
                Some(_) => return Err(unparsable("its page tree is broken")),
                None => {
                    pages.insert(id);
                }
            }
        }
        if pages.is_empty() { Err(unparsable("it has no page")) } else { Ok(pages) }
    }
}

fn catalog_version(document: &Document, root: ObjectId) -> Option<&[u8]> {
    document.get_dictionary(root).ok()?.get(b"Version").ok()?.as_name().ok()
}

fn unparsable(why: impl std::fmt::Display) -> Failure {
    Failure::new(RefusalCode::Unparsable, format_args!("not parsed whole as PDF: {why}"))
}

/// A writer's error: it has no room, or wants other bytes.
fn not_written(_: std::io::Error) -> Failure {
    output_full()
}

#[cfg(test)]
mod tests;
