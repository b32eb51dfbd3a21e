//! What an image looks like, in a few bytes.

use lazaret_sandbox::{
    format::{List, MAX_THUMBHASH},
    picture::{Planes, PlanesHeader},
};

use super::{
    raster::{Channels, Raster},
    resize::{Care, fit, resize},
};
use crate::failure::{Failure, encode_failed};

/// Up to 100 are allowed (<https://evanw.github.io/thumbhash/>), and time goes with their square. What is kept are at most
/// seven waves along a side, which need no more than this.
const MAX_SIDE: u32 = 32;

/// The `ThumbHash` of an image.
pub(crate) fn thumbhash(image: &Raster<'_>) -> Result<List<u8, MAX_THUMBHASH>, Failure> {
    let size = fit(image.width, image.height, MAX_SIDE);
    of_pixels(size, &resize(image, size, Care::Rough)?.into_rgba().samples)
}

/// The `ThumbHash` of an image that comes as planes.
pub(crate) fn of_planes(planes: &Planes<'_>) -> Result<List<u8, MAX_THUMBHASH>, Failure> {
    let PlanesHeader { width, height, .. } = planes.header;
    let size = fit(width, height, MAX_SIDE);
    let [brightness, blue, red] = planes.split();
    let small = |width, height, samples: &[u8]| {
        let plane = Raster { width, height, channels: Channels::Grey, samples: samples.into() };
        resize(&plane, size, Care::Rough).map(|plane| plane.samples.into_owned())
    };
    let brightness = small(width, height, brightness)?;
    let [blue, red] = [small(width / 2, height / 2, blue)?, small(width / 2, height / 2, red)?];
    let pixels = brightness.iter().zip(&blue).zip(&red).flat_map(|((y, blue), red)| rgba(*y, *blue, *red));
    of_pixels(size, &pixels.collect::<Vec<_>>())
}

/// The colour of a pixel as JFIF stores it (ITU-T T.871, 7).
fn rgba(brightness: u8, blue: u8, red: u8) -> [u8; 4] {
    let [y, cb, cr] = [brightness, blue, red].map(f32::from);
    let (cb, cr) = (cb - 128.0, cr - 128.0);
    let colours = [y + 1.402 * cr, y - 0.344_136 * cb - 0.714_136 * cr, y + 1.772 * cb];
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped to what a byte holds")]
    let [red, green, blue] = colours.map(|colour| colour.round().clamp(0.0, 255.0) as u8);
    [red, green, blue, 255]
}

fn of_pixels((width, height): (u32, u32), rgba: &[u8]) -> Result<List<u8, MAX_THUMBHASH>, Failure> {
    let side = |pixels: u32| usize::try_from(pixels).map_err(|error| encode_failed("ThumbHash", error));
    let hash = thumbhash::rgba_to_thumb_hash(side(width)?, side(height)?, rgba);
    List::of(hash).ok_or_else(|| encode_failed("ThumbHash", "it is longer than one is"))
}

#[cfg(test)]
mod tests {
    use super::*;

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
