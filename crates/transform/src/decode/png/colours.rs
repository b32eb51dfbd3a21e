//! What the chunks of a PNG say of its colours, in the order in which browsers believe them (PNG, section 4.3).

use lazaret_sandbox::{format::Colour, picture::Layout};
use moxcms::{Chromaticity, ColorPrimaries, ColorProfile, curve_from_gamma};
use png::{Info, SourceChromaticities};

use crate::decode::colour::Colours;

/// The exponent that nearly every writer states, meaning sRGB, and how far it may be from that.
const USUAL_GAMMA: f32 = 0.45455;
const GAMMA_TOLERANCE: f32 = 0.01;
/// Exponents outside of this are nonsense.
const SANE_GAMMA: std::ops::RangeInclusive<f32> = 0.1..=3.0;

pub(super) fn of(info: &Info<'_>, layout: Layout, wanted: Colour) -> Colours {
    if let Some(points) = info.coding_independent_code_points {
        return Colours::code_points(points.color_primaries, points.transfer_function, layout, wanted);
    }
    if let Some(profile) = &info.icc_profile {
        return Colours::embedded(Some(profile), layout, wanted);
    }
    if info.srgb.is_some() {
        return Colours::srgb();
    }
    let gamma = info.gama_chunk.map(png::ScaledFloat::into_value).filter(|gamma| SANE_GAMMA.contains(gamma));
    // Browsers take chromaticities into account only together with an exponent.
    let Some(gamma) = gamma else { return Colours::srgb() };
    let usual = (gamma - USUAL_GAMMA).abs() <= GAMMA_TOLERANCE;
    if matches!(layout, Layout::Grey | Layout::GreyAlpha) {
        let profile = ColorProfile::new_gray_with_gamma(1.0 / gamma);
        return if usual { Colours::srgb() } else { Colours::of(profile, layout, wanted) };
    }
    let mut profile = ColorProfile::new_srgb();
    let placed = info.chrm_chunk.is_some_and(|chunk| place(&mut profile, &chunk));
    if usual && !placed {
        return Colours::srgb();
    }
    profile.cicp = None;
    if !usual {
        let curve = curve_from_gamma(1.0 / gamma);
        profile.red_trc = Some(curve.clone());
        profile.green_trc = Some(curve.clone());
        profile.blue_trc = Some(curve);
    }
    Colours::of(profile, layout, wanted)
}

/// Puts the primaries where the chunk says, unless it says nonsense.
fn place(profile: &mut ColorProfile, chunk: &SourceChromaticities) -> bool {
    let point = |(x, y): (png::ScaledFloat, png::ScaledFloat)| {
        let (x, y) = (x.into_value(), y.into_value());
        ((0.0..=1.0).contains(&x) && y > 0.01 && y <= 1.0).then_some(Chromaticity { x, y })
    };
    let (Some(white), Some(red), Some(green), Some(blue)) =
        (point(chunk.white), point(chunk.red), point(chunk.green), point(chunk.blue))
    else {
        return false;
    };
    let mut placed = profile.clone();
    placed.update_rgb_colorimetry(white.to_xyyb(), ColorPrimaries { red, green, blue });
    let sound = placed.colorant_matrix().v.concat().iter().all(|value| value.is_finite());
    if sound {
        *profile = placed;
    }
    sound
}
