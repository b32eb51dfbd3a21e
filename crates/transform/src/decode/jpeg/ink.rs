//! From inks to sRGB: CMYK and YCCK as Adobe writes them, with 255 for no ink.

use std::sync::Arc;

use moxcms::{ColorProfile, DataColorSpace, Layout, TransformExecutor, TransformOptions};

/// Pixels that are converted at once.
const PIECE: usize = 4096;

/// How inks become light.
pub(super) struct Inks {
    ycck: bool,
    profile: Option<Arc<dyn TransformExecutor<u8> + Send + Sync>>,
}

impl Inks {
    /// With the embedded profile, where it is one for four inks; else as browsers and Pillow do without one: each ink
    /// and black take away their part of the light.
    pub(super) fn new(profile: Option<&[u8]>, ycck: bool) -> Self {
        let profile = profile
            .and_then(|bytes| ColorProfile::new_from_slice(bytes).ok())
            .filter(|profile| profile.color_space == DataColorSpace::Cmyk)
            .and_then(|profile| {
                let srgb = ColorProfile::new_srgb();
                profile.create_transform_8bit(Layout::Rgba, &srgb, Layout::Rgb, TransformOptions::default()).ok()
            });
        Self { ycck, profile }
    }

    /// Converts stored pixels, four bytes each and then used up, to pixels of three.
    pub(super) fn convert(&self, stored: &mut [u8], pixels: &mut [u8]) {
        for (stored, pixels) in stored.chunks_mut(PIECE * 4).zip(pixels.chunks_mut(PIECE * 3)) {
            if self.ycck {
                stored.as_chunks_mut().0.iter_mut().for_each(ycc_to_cmy);
            }
            let by_profile = self.profile.as_ref().is_some_and(|profile| {
                // Profiles count ink, 255 for all of it.
                let inks: Vec<u8> = stored.iter().map(|value| !value).collect();
                profile.transform(&inks, pixels).is_ok()
            });
            if !by_profile {
                for (light, [c, m, y, k]) in pixels.chunks_exact_mut(3).zip(stored.as_chunks().0) {
                    light.copy_from_slice(&[c, m, y].map(|ink| times(*ink, *k)));
                }
            }
        }
    }
}

/// The product of two parts of 255.
fn times(a: u8, b: u8) -> u8 {
    // At most 255 by 255 over 255.
    u8::try_from((u32::from(a) * u32::from(b) + 127) / 255).unwrap_or(u8::MAX)
}

/// Luma and chroma to what is left of the light by each ink (ITU-T T.871, section 7, of the complement).
fn ycc_to_cmy(pixel: &mut [u8; 4]) {
    const ONE: i32 = 1 << 16;
    let [y, cb, cr] = [0, 1, 2].map(|at| i32::from(pixel[at]));
    let (cb, cr) = (cb - 128, cr - 128);
    let light = [y * ONE + 91_881 * cr, y * ONE - 22_554 * cb - 46_802 * cr, y * ONE + 116_130 * cb];
    for (value, light) in pixel.iter_mut().zip(light) {
        let light = (light + ONE / 2) >> 16;
        *value = !u8::try_from(light.clamp(0, 255)).unwrap_or(u8::MAX);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_ink_is_white_and_black_takes_all_light() {
        let convert = |ycck, mut stored: [u8; 4]| {
            let mut pixel = [1; 3];
            Inks::new(None, ycck).convert(&mut stored, &mut pixel);
            pixel
        };
        assert_eq!(convert(false, [255; 4]), [255; 3]);
        assert_eq!(convert(false, [255, 255, 255, 0]), [0; 3]);
        assert_eq!(convert(false, [0, 255, 255, 128]), [0, 128, 128]);
        // Black luma without chroma is no ink in the complement.
        assert_eq!(convert(true, [0, 128, 128, 255]), [255; 3]);
        assert_eq!(convert(true, [76, 85, 255, 255]), [1, 255, 255]);
    }
}
