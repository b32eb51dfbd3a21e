//! A still image from its decoder: upright, sRGB, eight bits a channel.

use image::{DynamicImage, ImageDecoder, Limits};

use crate::{
    Source, colour,
    failure::{Failure, check_size, decode_failed},
};

/// Decodes one image. Its size is checked before its pixels are allocated.
pub(crate) fn decode(source: &Source<'_>, mut decoder: impl ImageDecoder) -> Result<DynamicImage, Failure> {
    let (width, height) = decoder.dimensions();
    let pixels = check_size(width, height, &source.limits)?;
    decoder.set_limits(allocation_limits(pixels)).map_err(decode_failed)?;
    let profile = decoder.icc_profile().map_err(decode_failed)?;
    let orientation = decoder.orientation().map_err(decode_failed)?;
    let image = DynamicImage::from_decoder(decoder).map_err(decode_failed)?;
    let mut image = colour::to_srgb(image, profile.as_deref());
    image.apply_orientation(orientation);
    Ok(image)
}

/// Room for the pixels at sixteen bits a channel twice, and for ancillary data such as colour profiles.
pub(crate) fn allocation_limits(pixels: u64) -> Limits {
    let mut limits = Limits::default();
    limits.max_alloc = Some(pixels.saturating_mul(16).saturating_add(16 << 20));
    limits
}
