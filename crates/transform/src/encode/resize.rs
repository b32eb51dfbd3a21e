//! Smaller images.

use std::borrow::Cow;

use fast_image_resize::{
    FilterType, PixelType, ResizeAlg, ResizeOptions, Resizer,
    images::{Image, ImageRef},
};

use super::raster::{Channels, Raster};
use crate::failure::{Failure, decode_failed};

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
    let failed = |error: &dyn std::fmt::Display| decode_failed(format_args!("cannot be resized: {error}"));
    let kind = match image.channels {
        Channels::Grey => PixelType::U8,
        Channels::GreyAlpha => PixelType::U8x2,
        Channels::Rgb => PixelType::U8x3,
        Channels::Rgba => PixelType::U8x4,
    };
    let algorithm = match care {
        Care::Fine => ResizeAlg::Convolution(FilterType::Lanczos3),
        Care::Rough => ResizeAlg::SuperSampling(FilterType::Box, 2),
    };
    let source = ImageRef::new(image.width, image.height, &image.samples, kind).map_err(|error| failed(&error))?;
    let mut target = Image::new(size.0, size.1, kind);
    let options = ResizeOptions::new().resize_alg(algorithm);
    Resizer::new().resize(&source, &mut target, &options).map_err(|error| failed(&error))?;
    Ok(Raster { width: size.0, height: size.1, channels: image.channels, samples: Cow::Owned(target.into_vec()) })
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
