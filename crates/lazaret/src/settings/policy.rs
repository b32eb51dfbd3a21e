//! `[[policy]]`: what to do with which detected type.

use lazaret_core::{Action, Animation, Colour, MultiPage, OutputFormat, ScannerName, TypePattern};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    Period, Size,
    image::{AnimationName, ColourName, OutputName, PagesName, Rgb, Variants, variants_schema},
};

/// The types that the built-in policies re-encode.
const IMAGES: [&str; 8] =
    ["image/jpeg", "image/png", "image/gif", "image/webp", "image/bmp", "image/tiff", "image/x-icon", "image/avif"];

/// A drawing, not pixels: it is drawn, or written anew, where a policy asks for one of them. None does by itself, since
/// who links to an SVG wants to have it shown, and only its pixels may be.
pub(super) const SVG: &str = "image/svg+xml";

/// Whether objects of this type can be encoded anew.
pub(super) fn is_re_encodable(media_type: &str) -> bool {
    media_type == SVG || IMAGES.contains(&media_type)
}

/// Every type that can be encoded anew.
pub(super) fn re_encodable() -> String {
    [IMAGES.as_slice(), &[SVG]].concat().join(", ")
}

/// The types that can be written anew without what is active in them.
pub(super) const SANITISABLE: [&str; 2] = ["application/pdf", SVG];

/// The documents that the built-in policies pass as they are.
const DOCUMENTS: [&str; 6] = [
    "application/pdf",
    "application/zip",
    "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
    "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    "application/vnd.openxmlformats-officedocument.presentationml.presentation",
    "text/plain",
];

/// One rule. Rules are tried in order against the detected type; where none matches, the upload is rejected.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Policy {
    /// The name that records and logs carry.
    pub name: String,
    /// Media types: `image/png`, `image/*` or `*/*`.
    #[schemars(with = "Vec<String>")]
    pub types: Vec<TypePattern>,
    /// What to do.
    #[schemars(with = "ActionName")]
    pub action: Action,
    /// Every one of them must call the object clean.
    #[serde(default)]
    #[schemars(with = "Vec<String>")]
    pub scanners: Vec<ScannerName>,
    /// Scanners that are asked, too, and whose answers are only kept on record: they stop nothing.
    #[serde(default)]
    #[schemars(with = "Vec<String>")]
    pub optional_scanners: Vec<ScannerName>,
    /// For how long a *clean* counts again for the same bytes under this policy, with the same engine and signatures.
    /// Left out: every object is scanned.
    pub reuse_verdicts: Option<Period>,
    /// Largest object, where that is less than `limits.max_object_size`.
    pub max_size: Option<Size>,
    /// Most pixels of one frame. Left out: 50 million.
    pub max_pixels: Option<u64>,
    /// Longest side in pixels. Left out: 16384.
    pub max_side: Option<u32>,
    /// Most frames of an animation. Left out: 300.
    pub max_frames: Option<u32>,
    /// The format of what is published. Left out: the input's own; PNG for BMP, TIFF, ICO and SVG; WebP for AVIF.
    #[schemars(with = "Option<OutputName>")]
    pub output: Option<OutputFormat>,
    /// Quality of lossy formats, 1 to 100. Left out: 85.
    #[schemars(range(min = 1, max = 100))]
    pub quality: Option<u8>,
    /// Longest side of what is published, in pixels; larger images are made smaller. Left out: as large as they come.
    pub resize_to: Option<u32>,
    /// Behind what is transparent, where `output` is `jpeg`. Left out: white.
    pub background: Option<Rgb>,
    /// What becomes of an animation. Left out: all of it.
    #[schemars(with = "Option<AnimationName>")]
    pub animation: Option<Animation>,
    /// What becomes of several pages in a TIFF. Left out: it is held.
    #[schemars(with = "Option<PagesName>")]
    pub pages: Option<MultiPage>,
    /// In which colours. Left out: sRGB.
    #[schemars(with = "Option<ColourName>")]
    pub colour: Option<Colour>,
    /// Derived sizes by name, published beside the image: `{ thumb = 256, web = 1600 }`, the longest side in pixels. At
    /// most 8.
    #[schemars(schema_with = "variants_schema")]
    pub variants: Option<Variants>,
}

impl Policy {
    /// What the pipeline takes.
    pub fn to_core(&self) -> lazaret_core::Policy {
        lazaret_core::Policy {
            name: self.name.clone(),
            types: self.types.clone(),
            action: self.action,
            scanners: self.scanners.clone(),
            optional_scanners: self.optional_scanners.clone(),
            reuse_verdicts: self.reuse_verdicts.map(Period::get),
            max_size: self.max_size.map(Size::bytes),
            max_pixels: self.max_pixels,
            max_side: self.max_side,
            max_frames: self.max_frames,
            image: self.image_output(),
        }
    }
}

/// The schema of [`Action`], which lives in a crate that knows no schemas.
#[derive(JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[expect(dead_code, reason = "only its schema is used")]
enum ActionName {
    /// Decode and encode anew in the jail; the result is published.
    ReEncode,
    /// Parse a document (PDF, SVG) in the jail and write it anew without what is active in it.
    Sanitise,
    /// Publish the scanned bytes.
    AsIs,
    /// Never publish.
    Reject,
}

/// The policies of a settings file without any: images are re-encoded, common documents pass as they are, and every
/// scanner must call them clean.
pub(super) fn built_in(scanners: &[ScannerName]) -> Vec<Policy> {
    let rule = |name: &str, types: &[&str], action| Policy {
        name: name.to_owned(),
        types: types.iter().map(|text| pattern(text)).collect(),
        action,
        scanners: scanners.to_vec(),
        optional_scanners: Vec::new(),
        reuse_verdicts: None,
        max_size: None,
        max_pixels: None,
        max_side: None,
        max_frames: None,
        output: None,
        quality: None,
        resize_to: None,
        background: None,
        animation: None,
        pages: None,
        colour: None,
        variants: None,
    };
    vec![rule("images", &IMAGES, Action::ReEncode), rule("documents", &DOCUMENTS, Action::AsIs)]
}

/// A type of the lists above.
fn pattern(text: &str) -> TypePattern {
    // A constant; the test below builds them all.
    #[expect(clippy::expect_used, reason = "a constant")]
    text.parse().expect("a valid type")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_built_in_policies_name_every_type() {
        let policies = built_in(&["clamd".parse().unwrap()]);
        assert_eq!(policies[0].types.len(), IMAGES.len());
        assert_eq!(policies[1].types.len(), DOCUMENTS.len());
    }
}
