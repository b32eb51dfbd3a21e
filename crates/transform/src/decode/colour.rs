//! Colour: from the profile of the input to sRGB, or as it is where the task keeps a well-known gamut.

use std::{cell::OnceCell, sync::Arc};

use lazaret_sandbox::{
    format::Colour,
    picture::{Gamut, Layout},
};
use moxcms::{CicpProfile, ColorProfile, DataColorSpace, ToneReprCurve, TransformExecutor, TransformOptions};

/// Pixels that are converted at once.
const PIECE: usize = 4096;
/// How far primaries in XYZ, and linear light, may be from those of a well-known gamut.
const COLORANT_TOLERANCE: f64 = 0.003;
const CURVE_TOLERANCE: f32 = 0.002;
/// How far the sum of primaries may be from the white of all profiles (ICC.1:2022, 7.2.16): as far as the white of
/// screens, which old profiles have, and no further. Behind that libraries overflow, each in its own way.
const WHITE: [f64; 3] = [0.9642, 1.0, 0.8249];
const WHITE_TOLERANCE: f64 = 0.3;

type Transform = Arc<dyn TransformExecutor<u8> + Send + Sync>;

/// What is to be done with pixels before they are in the gamut of the picture.
#[derive(Default)]
pub(crate) struct Colours {
    profile: Option<ColorProfile>,
    kept: Option<Gamut>,
    rgb: OnceCell<Option<Transform>>,
    rgba: OnceCell<Option<Transform>>,
    grey: OnceCell<Option<[u8; 256]>>,
}

impl Colours {
    /// The pixels are in sRGB, or nothing says what they are in, which browsers take for the same.
    pub(crate) fn srgb() -> Self {
        Self::default()
    }

    /// From an embedded profile. One that is broken or for another kind of pixels is left out, as browsers do.
    pub(crate) fn embedded(profile: Option<&[u8]>, layout: Layout, wanted: Colour) -> Self {
        let read = |bytes: &[u8]| ColorProfile::new_from_slice(bytes).ok();
        // What a profile says of itself is read by no browser, so that it may be broken.
        let profile = profile.and_then(|bytes| read(bytes).or_else(|| read(&only_colours(bytes)?)));
        profile.map_or_else(Self::srgb, |profile| Self::of(profile, layout, wanted))
    }

    /// From a profile.
    pub(crate) fn of(profile: ColorProfile, layout: Layout, wanted: Colour) -> Self {
        let fits = match layout {
            Layout::Grey | Layout::GreyAlpha => profile.color_space == DataColorSpace::Gray,
            Layout::Rgb | Layout::Rgba | Layout::Indexed => profile.color_space == DataColorSpace::Rgb,
        };
        let gamut = well_known(&profile);
        if !fits || !is_plausible(&profile) || gamut == Some(Gamut::Srgb) {
            return Self::srgb();
        }
        let kept = gamut.filter(|_| wanted == Colour::Keep);
        Self { profile: Some(profile), kept, ..Self::default() }
    }

    /// From code points (ITU-T H.273). Unknown ones and those of high dynamic range, whose pixels no curve brings to
    /// a screen as they are, are left out.
    pub(crate) fn code_points(primaries: u8, transfer: u8, layout: Layout, wanted: Colour) -> Self {
        /// SMPTE ST 2084 (PQ) and ARIB STD-B67 (HLG).
        const HIGH_DYNAMIC_RANGE: [u8; 2] = [16, 18];
        let profile = || {
            let mut profile = ColorProfile::new_srgb();
            let known = profile.update_rgb_colorimetry_from_cicp(CicpProfile {
                color_primaries: primaries.try_into().ok()?,
                transfer_characteristics: transfer.try_into().ok()?,
                matrix_coefficients: moxcms::MatrixCoefficients::Identity,
                full_range: true,
            });
            known.then_some(profile)
        };
        if HIGH_DYNAMIC_RANGE.contains(&transfer) {
            return Self::srgb();
        }
        profile().map_or_else(Self::srgb, |profile| Self::of(profile, layout, wanted))
    }

    /// The pixels are as they are to be, in this gamut.
    pub(crate) fn in_gamut(gamut: Gamut) -> Self {
        Self { kept: Some(gamut), ..Self::default() }
    }

    /// The gamut that pixels are in after [`Self::apply`].
    pub(crate) fn gamut(&self) -> Gamut {
        self.kept.unwrap_or(Gamut::Srgb)
    }

    /// Whether [`Self::apply`] changes anything.
    pub(crate) fn converts(&self) -> bool {
        self.foreign().is_some()
    }

    /// The profile of pixels that do not stay as they are.
    fn foreign(&self) -> Option<&ColorProfile> {
        self.profile.as_ref().filter(|_| self.kept.is_none())
    }

    /// Converts pixels in place.
    pub(crate) fn apply(&self, layout: Layout, pixels: &mut [u8]) {
        let Some(profile) = self.foreign() else { return };
        match layout {
            Layout::Rgb => {
                let transform = self.rgb.get_or_init(|| to_srgb(profile, moxcms::Layout::Rgb));
                convert(transform.as_ref(), pixels, layout.pixel_bytes());
            }
            Layout::Rgba => {
                let transform = self.rgba.get_or_init(|| to_srgb(profile, moxcms::Layout::Rgba));
                convert(transform.as_ref(), pixels, layout.pixel_bytes());
            }
            Layout::Grey | Layout::GreyAlpha => {
                let Some(curve) = self.grey.get_or_init(|| grey_curve(profile)) else { return };
                for pixel in pixels.chunks_exact_mut(layout.pixel_bytes()) {
                    pixel[0] = curve[usize::from(pixel[0])];
                }
            }
            Layout::Indexed => {}
        }
    }
}

/// The profile without the tags that say nothing of colours, or lie outside of it (ICC.1:2022, 7.3).
fn only_colours(profile: &[u8]) -> Option<Vec<u8>> {
    const TABLE: usize = 132;
    const ENTRY: usize = 12;
    let mut kept = profile.to_vec();
    let count = u32::from_be_bytes(*profile.get(TABLE - 4..)?.first_chunk()?);
    let (entries, _) = profile.get(TABLE..)?.as_chunks::<ENTRY>();
    let mut at = TABLE;
    for entry in entries.iter().take(usize::try_from(count).ok()?) {
        let [place, length] = [4, 8].map(|from| entry[from..].first_chunk().map(|bytes| u32::from_be_bytes(*bytes)));
        let end = u64::from(place?) + u64::from(length?);
        let is_colour = matches!(
            &entry[..4],
            b"rXYZ" | b"gXYZ" | b"bXYZ" | b"rTRC" | b"gTRC" | b"bTRC" | b"kTRC" | b"wtpt" | b"chad" | b"A2B0" | b"A2B1"
        );
        if is_colour && end <= profile.len() as u64 {
            kept.get_mut(at..at + ENTRY)?.copy_from_slice(entry);
            at += ENTRY;
        }
    }
    let count = u32::try_from((at - TABLE) / ENTRY).ok()?;
    kept[TABLE - 4..TABLE].copy_from_slice(&count.to_be_bytes());
    Some(kept)
}

fn to_srgb(profile: &ColorProfile, layout: moxcms::Layout) -> Option<Transform> {
    profile.create_transform_8bit(layout, &ColorProfile::new_srgb(), layout, TransformOptions::default()).ok()
}

/// Converts piece by piece, so that no second image is held.
fn convert(transform: Option<&Transform>, pixels: &mut [u8], pixel_bytes: usize) {
    let Some(transform) = transform else { return };
    let mut source = vec![0; PIECE * pixel_bytes];
    for piece in pixels.chunks_mut(PIECE * pixel_bytes) {
        let source = &mut source[..piece.len()];
        source.copy_from_slice(piece);
        if transform.transform(source, piece).is_err() {
            piece.copy_from_slice(source);
        }
    }
}

/// What each of the 256 greys of this profile is in sRGB.
fn grey_curve(profile: &ColorProfile) -> Option<[u8; 256]> {
    let srgb = ColorProfile::new_srgb();
    let transform = profile
        .create_transform_8bit(moxcms::Layout::Gray, &srgb, moxcms::Layout::Rgb, TransformOptions::default())
        .ok()?;
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

/// Whether primaries, where a profile has them, make a white together.
fn is_plausible(profile: &ColorProfile) -> bool {
    let close = |(row, white): ([f64; 3], f64)| (row.iter().sum::<f64>() - white).abs() <= WHITE_TOLERANCE;
    !profile.is_matrix_shaper() || profile.colorant_matrix().v.into_iter().zip(WHITE).all(close)
}

/// The gamut that this profile describes with primaries and curves, within a tolerance.
fn well_known(profile: &ColorProfile) -> Option<Gamut> {
    let tables = [&profile.lut_a_to_b_perceptual, &profile.lut_a_to_b_colorimetric, &profile.lut_a_to_b_saturation];
    if !profile.is_matrix_shaper() || tables.iter().any(|table| table.is_some()) {
        return None;
    }
    let known: [(Gamut, fn() -> ColorProfile); 5] = [
        (Gamut::Srgb, ColorProfile::new_srgb),
        (Gamut::DisplayP3, ColorProfile::new_display_p3),
        (Gamut::AdobeRgb, ColorProfile::new_adobe_rgb),
        (Gamut::Bt2020, ColorProfile::new_bt2020),
        (Gamut::ProPhoto, ColorProfile::new_pro_photo_rgb),
    ];
    known.into_iter().find(|(_, known)| is_close(profile, &known())).map(|(gamut, _)| gamut)
}

fn is_close(profile: &ColorProfile, known: &ColorProfile) -> bool {
    let colorants = |profile: &ColorProfile| profile.colorant_matrix().v.concat();
    let close = |(found, expected): (f64, f64)| (found - expected).abs() <= COLORANT_TOLERANCE;
    if !colorants(profile).into_iter().zip(colorants(known)).all(close) {
        return false;
    }
    let Some(expected) = known.red_trc.as_ref().and_then(linear_light) else { return false };
    [&profile.red_trc, &profile.green_trc, &profile.blue_trc].into_iter().all(|curve| {
        let found = curve.as_ref().and_then(linear_light);
        found.is_some_and(|found| found.iter().zip(&expected).all(|(a, b)| (a - b).abs() <= CURVE_TOLERANCE))
    })
}

/// The linear light of 33 values from black to white.
fn linear_light(curve: &ToneReprCurve) -> Option<Vec<f32>> {
    let curve = curve.make_linear_evaluator().ok()?;
    Some((0..=32_u8).map(|step| curve.evaluate_value(f32::from(step) / 32.0)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn well_known_gamuts_are_recognised_through_their_own_files() {
        let known = [
            (Gamut::Srgb, ColorProfile::new_srgb()),
            (Gamut::DisplayP3, ColorProfile::new_display_p3()),
            (Gamut::AdobeRgb, ColorProfile::new_adobe_rgb()),
            (Gamut::Bt2020, ColorProfile::new_bt2020()),
            (Gamut::ProPhoto, ColorProfile::new_pro_photo_rgb()),
        ];
        for (gamut, profile) in known {
            let bytes = profile.encode().unwrap();
            let colours = Colours::embedded(Some(&bytes), Layout::Rgb, Colour::Keep);
            assert_eq!(colours.gamut(), gamut);
            assert_eq!(Colours::embedded(Some(&bytes), Layout::Rgb, Colour::Srgb).gamut(), Gamut::Srgb);
        }
        let mut odd = ColorProfile::new_display_p3();
        odd.green_trc = Some(moxcms::curve_from_gamma(1.9));
        assert_eq!(well_known(&odd), None);
    }

    #[test]
    fn wide_gamuts_are_converted_and_srgb_is_left_alone() {
        let convert = |profile: &ColorProfile, wanted| {
            let mut pixels = [200, 100, 60, 7];
            let bytes = profile.encode().unwrap();
            Colours::embedded(Some(&bytes), Layout::Rgba, wanted).apply(Layout::Rgba, &mut pixels);
            pixels
        };
        assert_eq!(convert(&ColorProfile::new_srgb(), Colour::Srgb), [200, 100, 60, 7]);
        assert_eq!(convert(&ColorProfile::new_display_p3(), Colour::Keep), [200, 100, 60, 7]);
        // By the matrices of CSS Color 4, section 17.
        let found = convert(&ColorProfile::new_display_p3(), Colour::Srgb);
        for (found, expected) in found.into_iter().zip([215, 93, 47, 7_u8]) {
            assert!(found.abs_diff(expected) <= 1, "{found} for {expected}");
        }
    }

    #[test]
    fn tags_that_say_nothing_of_colours_may_be_broken() {
        let whole = ColorProfile::new_display_p3().encode().unwrap();
        for (tag, from) in [(b"cprt", 4), (b"cprt", 8), (b"wtpt", 8)] {
            let mut bytes = whole.clone();
            let Some(entry) = bytes.windows(4).position(|name| name == tag) else { continue };
            bytes[entry + from] = 0xbc;
            let mut pixels = [200, 100, 60];
            Colours::embedded(Some(&bytes), Layout::Rgb, Colour::Srgb).apply(Layout::Rgb, &mut pixels);
            assert_ne!(pixels, [200, 100, 60], "{tag:?} {from}");
        }
        for len in 0..whole.len() {
            only_colours(&whole[..len]);
        }
    }

    #[test]
    fn primaries_that_are_no_light_are_left_out() {
        let mut bytes = ColorProfile::new_display_p3().encode().unwrap();
        let entry = bytes.windows(4).position(|tag| tag == b"bXYZ").unwrap();
        let at = u32::from_be_bytes(bytes[entry + 4..entry + 8].try_into().unwrap()) as usize;
        bytes[at + 8..at + 12].copy_from_slice(&[0, 0x80, 0, 0]);
        let mut pixels = [200, 100, 60];
        Colours::embedded(Some(&bytes), Layout::Rgb, Colour::Srgb).apply(Layout::Rgb, &mut pixels);
        assert_eq!(pixels, [200, 100, 60]);
    }

    #[test]
    fn what_is_no_profile_or_not_for_these_pixels_is_left_out() {
        let mut grey = [100, 200];
        Colours::embedded(Some(b"no profile"), Layout::Grey, Colour::Srgb).apply(Layout::Grey, &mut grey);
        let p3 = ColorProfile::new_display_p3().encode().unwrap();
        Colours::embedded(Some(&p3), Layout::Grey, Colour::Srgb).apply(Layout::Grey, &mut grey);
        assert_eq!(grey, [100, 200]);
        Colours::of(ColorProfile::new_gray_with_gamma(1.0), Layout::Grey, Colour::Srgb).apply(Layout::Grey, &mut grey);
        assert!(grey[0] > 160 && grey[1] > 225, "{grey:?}");
    }
}
