//! How a policy has images encoded: the part of `[[policy]]` that only `action = "re-encode"` has.

use std::{collections::BTreeMap, fmt, str::FromStr};

use lazaret_core::{ImageOutput, VariantName, VariantSize};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, de};

use super::Policy;

/// A colour, written `#rrggbb`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(into = "String")]
pub struct Rgb([u8; 3]);

impl FromStr for Rgb {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let digits = text.strip_prefix('#').filter(|digits| digits.len() == 6);
        let digits = digits.filter(|digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit()));
        let number = digits.and_then(|digits| u32::from_str_radix(digits, 16).ok());
        let [_, red, green, blue] =
            number.map(u32::to_be_bytes).ok_or_else(|| format!("{text:?} is not a colour, such as \"#ffffff\""))?;
        Ok(Self([red, green, blue]))
    }
}

impl fmt::Display for Rgb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [red, green, blue] = self.0;
        write!(f, "#{red:02x}{green:02x}{blue:02x}")
    }
}

impl From<Rgb> for String {
    fn from(colour: Rgb) -> Self {
        colour.to_string()
    }
}

impl<'de> Deserialize<'de> for Rgb {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

impl JsonSchema for Rgb {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Rgb".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "A colour, such as \"#ffffff\".",
            "type": "string",
            "pattern": "^#[0-9a-fA-F]{6}$",
        })
    }
}

impl Policy {
    /// How images are encoded: what the policy says, over the defaults.
    pub(super) fn image_output(&self) -> ImageOutput {
        let default = ImageOutput::default();
        let mut variants: Vec<_> = self.variants.iter().flatten().map(size).collect();
        variants.sort_by(|a, b| (a.max_side, &a.name).cmp(&(b.max_side, &b.name)));
        ImageOutput {
            format: self.output,
            quality: self.quality.unwrap_or(default.quality),
            max_side: self.resize_to,
            background: self.background.map_or(default.background, |colour| colour.0),
            animation: self.animation.unwrap_or_default(),
            pages: self.pages.unwrap_or_default(),
            colour: self.colour.unwrap_or_default(),
            variants,
        }
    }

    /// The first key that only re-encoded images have a use for.
    pub(super) fn first_image_key(&self) -> Option<&'static str> {
        let set = [
            ("output", self.output.is_some()),
            ("quality", self.quality.is_some()),
            ("resize_to", self.resize_to.is_some()),
            ("background", self.background.is_some()),
            ("animation", self.animation.is_some()),
            ("pages", self.pages.is_some()),
            ("colour", self.colour.is_some()),
            ("variants", self.variants.is_some()),
        ];
        set.into_iter().find_map(|(key, is_set)| is_set.then_some(key))
    }
}

fn size((name, max_side): (&VariantName, &u32)) -> VariantSize {
    VariantSize { name: name.clone(), max_side: *max_side }
}

/// Derived sizes by their names.
pub(super) type Variants = BTreeMap<VariantName, u32>;

/// The schema of [`Variants`], whose keys are checked.
pub(super) fn variants_schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": ["object", "null"],
        "maxProperties": lazaret_core::MAX_VARIANTS,
        "propertyNames": { "pattern": "^[a-z0-9_-]{1,32}$" },
        "additionalProperties": { "type": "integer", "minimum": 1, "maximum": super::rules::MAX_SIDE },
    })
}

/// The schemas of enumerations that live in a crate that knows no schemas.
macro_rules! named {
    ($($(#[$outer:meta])* $name:ident { $($(#[$doc:meta])* $variant:ident = $text:literal),+ })+) => {
        $(
            $(#[$outer])*
            #[derive(JsonSchema)]
            #[expect(dead_code, reason = "only its schema is used")]
            pub(super) enum $name { $($(#[$doc])* #[serde(rename = $text)] $variant),+ }

            #[cfg(test)]
            impl $name {
                const NAMES: &[&str] = &[$($text),+];
            }
        )+
    };
}

named! {
    /// A format that images are encoded to.
    OutputName {
        /// Lossy, without alpha or animation.
        Jpeg = "jpeg",
        /// Lossless, with alpha, animated where the input was.
        Png = "png",
        /// 256 colours a frame, animated where the input was.
        Gif = "gif",
        /// Lossy, with alpha, animated where the input was.
        WebP = "webp"
    }
    /// What becomes of an animation.
    AnimationName {
        /// All frames, where the output format has any.
        Keep = "keep",
        /// The first frame, as a still image.
        FirstFrame = "first-frame"
    }
    /// What becomes of an image of several pages.
    PagesName {
        /// It is held as `multi-page`.
        Hold = "hold",
        /// The first page is published, the others are lost.
        First = "first"
    }
    /// In which colours an image is published.
    ColourName {
        /// sRGB, without a profile.
        Srgb = "srgb",
        /// In the wide gamut of its profile where that is a well-known one, with a profile of our own making.
        Keep = "keep"
    }
}

#[cfg(test)]
mod tests {
    use lazaret_core::{Animation, Colour, MultiPage, OutputFormat};

    use super::*;

    #[test]
    fn colours_are_six_digits() {
        assert_eq!("#0aFF80".parse::<Rgb>().unwrap(), Rgb([10, 255, 128]));
        assert_eq!("#0aFF80".parse::<Rgb>().unwrap().to_string(), "#0aff80");
        for text in ["", "#", "0aff80", "#0aff8", "#0aff800", "#0aff8g", "#+aff80", "white"] {
            assert!(text.parse::<Rgb>().is_err(), "{text}");
        }
    }

    #[test]
    fn the_schema_names_what_is_understood() {
        fn read<T: serde::de::DeserializeOwned>(names: &[&str]) -> Vec<T> {
            names.iter().map(|name| serde_json::from_value((*name).into()).unwrap()).collect()
        }
        assert_eq!(read::<OutputFormat>(OutputName::NAMES), OutputFormat::ALL);
        assert_eq!(read::<Animation>(AnimationName::NAMES), [Animation::Keep, Animation::FirstFrame]);
        assert_eq!(read::<MultiPage>(PagesName::NAMES), [MultiPage::Hold, MultiPage::First]);
        assert_eq!(read::<Colour>(ColourName::NAMES), [Colour::Srgb, Colour::Keep]);
    }
}
