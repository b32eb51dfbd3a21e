//! Smaller images.

use std::borrow::Cow;

use fast_image_resize::{
    FilterType, IntoImageView, IntoImageViewMut, PixelTrait, ResizeAlg, ResizeError, ResizeOptions, Resizer,
    images::{Image, ImageRef},
    pixels::{U8, U8x2, U8x3, U8x4},
};

use super::raster::{Channels, Raster};
use crate::failure::{Failure, encode_failed};

/// The size of an image whose longest side is at most `side`: its own or smaller, of the same shape, never empty.
pub(crate) fn fit(width: u32, height: u32, side: u32) -> (u32, u32) {
    let longest = width.max(height);
    if side == 0 || longest <= side {
        return (width, height);
    }
    let scaled = |length: u32| {
        let scaled = (u64::from(length) * u64::from(side) * 2 + u64::from(longest)) / (u64::from(longest) * 2);
        u32::try_from(scaled).unwrap_or(side).max(1)
    };
    (scaled(width), scaled(height))
}

/// How carefully.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Care {
    /// For people to look at: Lanczos, three lobes.
    Fine,
    /// For a placeholder: two by two samples of each pixel.
    Rough,
}

/// The image in another size. Colours are weighted by their alpha.
pub(crate) fn resize<'a>(image: &'a Raster<'_>, size: (u32, u32), care: Care) -> Result<Raster<'a>, Failure> {
    if size == (image.width, image.height) {
        return Ok(image.view());
    }
    let failed = |error: &dyn std::fmt::Display| encode_failed("a smaller image", error);
    let algorithm = match care {
        Care::Fine => ResizeAlg::Convolution(FilterType::Lanczos3),
        Care::Rough => ResizeAlg::SuperSampling(FilterType::Box, 2),
    };
    let options = ResizeOptions::new().resize_alg(algorithm);
    let resized = match image.channels {
        Channels::Grey => typed::<U8>(image, size, &options),
        Channels::GreyAlpha => typed::<U8x2>(image, size, &options),
        Channels::Rgb => typed::<U8x3>(image, size, &options),
        Channels::Rgba => typed::<U8x4>(image, size, &options),
    };
    let samples = resized.map_err(|error| failed(&*error))?;
    Ok(Raster { width: size.0, height: size.1, channels: image.channels, samples: Cow::Owned(samples) })
}

/// For one kind of pixel: the resizer that asks an image for its kind brings the code of all thirteen, which takes
/// minutes to build.
fn typed<P: PixelTrait>(
    image: &Raster<'_>,
    (width, height): (u32, u32),
    options: &ResizeOptions,
) -> Result<Vec<u8>, Box<dyn std::error::Error>> {
    let source = ImageRef::new(image.width, image.height, &image.samples, P::pixel_type())?;
    let mut target = Image::new(width, height, P::pixel_type());
    match (source.image_view::<P>(), target.image_view_mut::<P>()) {
        (Some(source), Some(mut target)) => Resizer::new().resize_typed(&source, &mut target, options)?,
        _ => return Err(Box::new(ResizeError::PixelTypesAreDifferent)),
    }
    Ok(target.into_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_keep_their_shape_and_never_grow() {
        for ((width, height, side), expected) in [
            ((4000, 3000, 1600), (1600, 1200)),
            ((3000, 4000, 256), (192, 256)),
            ((100, 50, 256), (100, 50)),
            ((100, 50, 0), (100, 50)),
            ((10_000, 1, 100), (100, 1)),
            ((u32::MAX, u32::MAX, 7), (7, 7)),
        ] {
            assert_eq!(fit(width, height, side), expected, "{width}x{height} into {side}");
        }
    }

    #[test]
    fn the_colour_behind_transparency_does_not_bleed() {
        let mut samples = [255, 0, 0, 255].repeat(8);
        samples.extend([0, 255, 0, 0].repeat(8));
        let image = Raster { width: 16, height: 1, channels: Channels::Rgba, samples: samples.into() };
        for care in [Care::Fine, Care::Rough] {
            let small = resize(&image, (3, 1), care).unwrap();
            for [red, green, _, alpha] in small.pixels() {
                assert!(alpha == 0 || red == 255 && green == 0, "{red} {green} {alpha}");
            }
        }
    }
}
