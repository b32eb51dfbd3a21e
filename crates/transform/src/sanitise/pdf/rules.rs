//! What of a document comes through.

use lopdf::{Dictionary, Object};

use super::{Source, unparsable};
use crate::failure::Failure;

/// Of the catalog (ISO 32000-2, table 29).
pub(super) const CATALOG: &[&[u8]] = &[
    b"Type",
    b"Pages",
    b"PageLabels",
    b"Names",
    b"Dests",
    b"ViewerPreferences",
    b"PageLayout",
    b"PageMode",
    b"Outlines",
    b"AcroForm",
    b"StructTreeRoot",
    b"MarkInfo",
    b"Lang",
    b"OutputIntents",
    b"OCProperties",
];

/// Of the name dictionary (table 32): all other trees lead to scripts, files, or pages nobody sees.
pub(super) const NAMES: &[&[u8]] = &[b"Dests"];

/// Of the form (table 224): without XFA, scripts' order, and signatures.
pub(super) const FORM: &[&[u8]] = &[b"Fields", b"NeedAppearances", b"DR", b"DA", b"Q"];

/// Of a page (table 31).
pub(super) const PAGE: &[&[u8]] = &[
    b"Type",
    b"Parent",
    b"Resources",
    b"MediaBox",
    b"CropBox",
    b"BleedBox",
    b"TrimBox",
    b"ArtBox",
    b"BoxColorInfo",
    b"Contents",
    b"Rotate",
    b"Group",
    b"Annots",
    b"StructParents",
    b"Tabs",
    b"UserUnit",
    b"VP",
    b"SeparationInfo",
];

/// Nowhere, whatever they stand in.
pub(crate) const FORBIDDEN_KEYS: &[&[u8]] = &[
    b"3DD",
    b"AA",
    b"AF",
    b"Collection",
    b"DSS",
    b"DestOutputProfileRef",
    b"EF",
    b"EmbeddedFile",
    b"EmbeddedFiles",
    b"FFilter",
    b"FDecodeParms",
    b"JS",
    b"JavaScript",
    b"Launch",
    b"Legal",
    b"Metadata",
    b"Movie",
    b"NeedsRendering",
    b"OPI",
    b"OnInstantiate",
    b"OpenAction",
    b"PA",
    b"PS",
    b"Perms",
    b"PieceInfo",
    b"PresSteps",
    b"RF",
    b"Ref",
    b"Rendition",
    b"Renditions",
    b"Requirements",
    b"RichMedia",
    b"RichMediaContent",
    b"RichMediaSettings",
    b"SpiderInfo",
    b"Sound",
    b"Thumb",
    b"XFA",
];

/// `S` of a dictionary that acts, wherever it stands (table 201).
pub(crate) const FORBIDDEN_ACTIONS: &[&[u8]] = &[
    b"GoTo3DView",
    b"GoToDp",
    b"GoToE",
    b"GoToR",
    b"Hide",
    b"ImportData",
    b"JavaScript",
    b"Launch",
    b"Movie",
    b"Rendition",
    b"ResetForm",
    b"RichMediaExecute",
    b"SetOCGState",
    b"Sound",
    b"SubmitForm",
    b"Thread",
    b"Trans",
];

/// `Type` of what does not come through.
pub(crate) const FORBIDDEN_TYPES: &[&[u8]] = &[
    b"3D",
    b"DocTimeStamp",
    b"EmbeddedFile",
    b"F",
    b"Filespec",
    b"MediaClip",
    b"Metadata",
    b"ObjStm",
    b"Rendition",
    b"RichMediaContent",
    b"Sig",
    b"SigRef",
    b"XRef",
];

/// The markup that is only seen (table 171), links and form fields.
pub(crate) const ANNOTATIONS: &[&[u8]] = &[
    b"Caret",
    b"Circle",
    b"FreeText",
    b"Highlight",
    b"Ink",
    b"Line",
    b"Link",
    b"PolyLine",
    b"Polygon",
    b"Popup",
    b"PrinterMark",
    b"Redact",
    b"Square",
    b"Squiggly",
    b"Stamp",
    b"StrikeOut",
    b"Text",
    b"TrapNet",
    b"Underline",
    b"Watermark",
    b"Widget",
];

/// Named actions that turn pages (table 215).
const TURNS: &[&[u8]] = &[b"NextPage", b"PrevPage", b"FirstPage", b"LastPage"];

/// Schemes a link may have.
const SCHEMES: &[&str] = &["http://", "https://", "mailto:"];

/// Filters a stream may have (table 6), by their long and short names: all but `Crypt`.
const FILTERS: &[&[u8]] = &[
    b"ASCIIHexDecode",
    b"AHx",
    b"ASCII85Decode",
    b"A85",
    b"LZWDecode",
    b"LZW",
    b"FlateDecode",
    b"Fl",
    b"RunLengthDecode",
    b"RL",
    b"CCITTFaxDecode",
    b"CCF",
    b"JBIG2Decode",
    b"DCTDecode",
    b"DCT",
    b"JPXDecode",
];

impl Source {
    /// Whether a value comes through at all.
    pub(super) fn admits(&self, object: &Object) -> Result<bool, Failure> {
        Ok(match object {
            Object::Dictionary(dict) => self.admits_dictionary(dict)?,
            Object::Stream(stream) => {
                let subtype = self.name(&stream.dict, b"Subtype")?;
                // Programs for a printer (8.8.2 of ISO 32000-1).
                self.admits_dictionary(&stream.dict)? && subtype != Some(b"PS")
            }
            _ => true,
        })
    }

    pub(super) fn admits_dictionary(&self, dict: &Dictionary) -> Result<bool, Failure> {
        let is_signature = dict.has(b"ByteRange");
        let kind = self.name(dict, b"Type")?;
        let acts = match self.name(dict, b"S")? {
            Some(b"URI") => !self.has_safe_link(dict)?,
            Some(name) => FORBIDDEN_ACTIONS.contains(&name),
            None => false,
        };
        let forbidden = kind.is_some_and(|name| FORBIDDEN_TYPES.contains(&name));
        let is_annotation = kind == Some(b"Annot") || (dict.has(b"Rect") && dict.has(b"Subtype"));
        let unseen = is_annotation && self.name(dict, b"Subtype")?.is_none_or(|name| !ANNOTATIONS.contains(&name));
        Ok(!(is_signature || acts || forbidden || unseen || dict.has(b"EF")))
    }

    /// Whether a value is what pages draw with. Such a thing may have any name, also one that is forbidden elsewhere.
    pub(super) fn is_resource(&self, value: &Object) -> Result<bool, Failure> {
        Ok(match self.resolve(value)? {
            Object::Stream(stream) => {
                matches!(self.name(&stream.dict, b"Subtype")?, Some(b"Image" | b"Form"))
            }
            // None of them is an action or leads to a file.
            Object::Dictionary(dict) if dict.has(b"S") || dict.has(b"F") => false,
            Object::Dictionary(dict) => matches!(self.name(dict, b"Type")?, Some(b"Font" | b"ExtGState" | b"Pattern")),
            _ => false,
        })
    }

    /// What an action becomes (12.6): it moves about the document, opens a web page, or is gone. Nothing follows it.
    pub(super) fn action(&self, dict: &Dictionary) -> Result<Option<Dictionary>, Failure> {
        let keep = |keys: &[&[u8]]| {
            let kept = keys.iter().filter_map(|key| Some((key.to_vec(), dict.get(key).ok()?.clone())));
            Some(kept.collect::<Dictionary>())
        };
        Ok(match self.name(dict, b"S")? {
            Some(b"GoTo") => keep(&[b"S", b"D"]),
            Some(b"Named") if self.name(dict, b"N")?.is_some_and(|name| TURNS.contains(&name)) => keep(&[b"S", b"N"]),
            Some(b"URI") if self.has_safe_link(dict)? => keep(&[b"S", b"URI"]),
            _ => None,
        })
    }

    fn has_safe_link(&self, dict: &Dictionary) -> Result<bool, Failure> {
        let Ok(uri) = dict.get(b"URI") else { return Ok(false) };
        Ok(matches!(self.resolve(uri)?, Object::String(uri, _) if is_safe_link(uri)))
    }

    /// Whether a stream is encoded as the standard knows, in this file.
    pub(super) fn check_filters(&self, dict: &Dictionary) -> Result<(), Failure> {
        let Ok(filter) = dict.get(b"Filter") else { return Ok(()) };
        let one = |object: &Object| match self.resolve(object)? {
            Object::Name(name) if FILTERS.contains(&name.as_slice()) => Ok(()),
            Object::Null => Ok(()),
            _ => Err(unparsable("a stream has a filter that is not known")),
        };
        match self.resolve(filter)? {
            Object::Array(filters) => filters.iter().try_for_each(one),
            filter => one(filter),
        }
    }

    /// A name, also where it is an object of its own.
    pub(super) fn name<'a>(&'a self, dict: &'a Dictionary, key: &[u8]) -> Result<Option<&'a [u8]>, Failure> {
        let Ok(value) = dict.get(key) else { return Ok(None) };
        Ok(self.resolve(value)?.as_name().ok())
    }
}

/// Whether a link leads to a web page or a letter.
pub(crate) fn is_safe_link(uri: &[u8]) -> bool {
    let is_text = uri.iter().all(|&byte| byte > b' ' && byte != 0x7f);
    let begins = |scheme: &&str| uri.get(..scheme.len()).is_some_and(|it| it.eq_ignore_ascii_case(scheme.as_bytes()));
    is_text && SCHEMES.iter().any(begins)
}
