//! What an image looks like, in a few bytes.

use lazaret_sandbox::format::{List, MAX_THUMBHASH};

use super::{
    raster::Raster,
    resize::{Care, fit, resize},
};
use crate::failure::{Failure, encode_failed};

/// Up to 100 are allowed (<https://evanw.github.io/thumbhash/>), and time goes with their square. What is kept are at most
/// seven waves along a side, which need no more than this.
const MAX_SIDE: u32 = 32;

/// The `ThumbHash` of an image.
pub(crate) fn thumbhash(image: &Raster<'_>) -> Result<List<u8, MAX_THUMBHASH>, Failure> {
    let (width, height) = fit(image.width, image.height, MAX_SIDE);
    let small = resize(image, (width, height), Care::Rough)?.into_rgba();
    let side = |pixels: u32| usize::try_from(pixels).map_err(|error| encode_failed("ThumbHash", error));
    let hash = thumbhash::rgba_to_thumb_hash(side(width)?, side(height)?, &small.samples);
    List::of(hash).ok_or_else(|| encode_failed("ThumbHash", "it is longer than one is"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::encode::raster::Channels;

    #[test]
    fn every_size_and_transparency_has_one() {
        for (width, height) in [(1, 1), (1, 3000), (3000, 1), (32, 32), (33, 31), (640, 480)] {
            for channels in [Channels::Grey, Channels::GreyAlpha, Channels::Rgb, Channels::Rgba] {
                for sample in [0, 77, 255] {
                    let samples = vec![sample; (width * height) as usize * channels.count()];
                    let image = Raster { width, height, channels, samples: samples.into() };
                    let hash = thumbhash(&image).unwrap();
                    assert!((5..=MAX_THUMBHASH).contains(&hash.len()), "{width}x{height} {channels:?} {sample}");
                }
            }
        }
    }

    #[test]
    fn its_average_is_that_of_the_image() {
        let samples = [30, 180, 60].repeat(640 * 480);
        let image = Raster { width: 640, height: 480, channels: Channels::Rgb, samples: samples.into() };
        let hash: Vec<u8> = thumbhash(&image).unwrap().iter().collect();
        let (red, green, blue, alpha) = thumbhash::thumb_hash_to_average_rgba(&hash).unwrap();
        for (found, expected) in [(red, 30.0), (green, 180.0), (blue, 60.0), (alpha, 255.0)] {
            assert!((found * 255.0 - expected).abs() < 6.0, "{found} is not {expected} / 255");
        }
    }
}
