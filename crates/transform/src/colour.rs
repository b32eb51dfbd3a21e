//! Colour: from the profile of the input to sRGB, which needs none.

use image::{DynamicImage, ImageBuffer, Luma, LumaA, Pixel};
use moxcms::{ColorProfile, DataColorSpace, Layout, TransformOptions};

/// Reduces to eight bits and converts to sRGB. A profile that cannot be used (broken, or for another kind of pixel,
/// as the CMYK profile of a JPEG whose decoder made RGB) is left out, as browsers do.
pub(crate) fn to_srgb(image: DynamicImage, profile: Option<&[u8]>) -> DynamicImage {
    let image = to_eight_bits(image);
    let Some(profile) = profile.and_then(|bytes| ColorProfile::new_from_slice(bytes).ok()) else { return image };
    match (image, profile.color_space) {
        (DynamicImage::ImageRgb8(mut pixels), DataColorSpace::Rgb) => {
            convert_rows(&profile, Layout::Rgb, &mut pixels);
            DynamicImage::ImageRgb8(pixels)
        }
        (DynamicImage::ImageRgba8(mut pixels), DataColorSpace::Rgb) => {
            convert_rows(&profile, Layout::Rgba, &mut pixels);
            DynamicImage::ImageRgba8(pixels)
        }
        (DynamicImage::ImageLuma8(pixels), DataColorSpace::Gray) => grey_to_srgb(&profile, pixels),
        (DynamicImage::ImageLumaA8(pixels), DataColorSpace::Gray) => grey_alpha_to_srgb(&profile, pixels),
        (image, _) => image,
    }
}

/// The same pixels with eight bits a channel, grey or not, with alpha or without.
fn to_eight_bits(image: DynamicImage) -> DynamicImage {
    let colour = image.color();
    match (colour.has_color(), colour.has_alpha()) {
        (true, true) => DynamicImage::ImageRgba8(image.into_rgba8()),
        (true, false) => DynamicImage::ImageRgb8(image.into_rgb8()),
        (false, true) => DynamicImage::ImageLumaA8(image.into_luma_alpha8()),
        (false, false) => DynamicImage::ImageLuma8(image.into_luma8()),
    }
}

/// Converts row by row, so that no second image is held.
fn convert_rows<P>(profile: &ColorProfile, layout: Layout, pixels: &mut ImageBuffer<P, Vec<u8>>)
where
    P: Pixel<Subpixel = u8>,
{
    let srgb = ColorProfile::new_srgb();
    let Ok(transform) = profile.create_transform_8bit(layout, &srgb, layout, TransformOptions::default()) else {
        return;
    };
    let row_bytes = pixels.width() as usize * usize::from(P::CHANNEL_COUNT);
    let mut source = vec![0; row_bytes];
    for row in pixels.chunks_exact_mut(row_bytes) {
        source.copy_from_slice(row);
        if transform.transform(&source, row).is_err() {
            row.copy_from_slice(&source);
        }
    }
}

/// What each of the 256 greys of this profile is in sRGB.
fn grey_curve(profile: &ColorProfile) -> Option<[u8; 256]> {
    let srgb = ColorProfile::new_srgb();
    let transform =
        profile.create_transform_8bit(Layout::Gray, &srgb, Layout::Rgb, TransformOptions::default()).ok()?;
    let greys: Vec<u8> = (0..=u8::MAX).collect();
    let mut colours = [0; 3 * 256];
    transform.transform(&greys, &mut colours).ok()?;
    // A grey profile maps onto the neutral axis, where the three channels are one.
    let mut curve = [0; 256];
    for (grey, colour) in curve.iter_mut().zip(colours.chunks_exact(3)) {
        *grey = colour[1];
    }
    Some(curve)
}

fn grey_to_srgb(profile: &ColorProfile, mut pixels: ImageBuffer<Luma<u8>, Vec<u8>>) -> DynamicImage {
    if let Some(curve) = grey_curve(profile) {
        pixels.pixels_mut().for_each(|Luma([grey])| *grey = curve[usize::from(*grey)]);
    }
    DynamicImage::ImageLuma8(pixels)
}

fn grey_alpha_to_srgb(profile: &ColorProfile, mut pixels: ImageBuffer<LumaA<u8>, Vec<u8>>) -> DynamicImage {
    if let Some(curve) = grey_curve(profile) {
        pixels.pixels_mut().for_each(|LumaA([grey, _])| *grey = curve[usize::from(*grey)]);
    }
    DynamicImage::ImageLumaA8(pixels)
}
