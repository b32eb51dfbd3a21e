//! Colour profiles of our own making: nothing of an uploader's profile is ever published.

use lazaret_sandbox::picture::Gamut;
use moxcms::ColorProfile;

use crate::failure::{Failure, encode_failed};

/// Every gamut that is published with a profile.
pub(crate) const WIDE: [Gamut; 4] = [Gamut::DisplayP3, Gamut::AdobeRgb, Gamut::Bt2020, Gamut::ProPhoto];

/// Where a profile has its date of creation (ICC.1:2022, table 17).
const DATE: std::ops::Range<usize> = 24..36;
/// The first of January 2000: the same image gives the same bytes.
const THE_DATE: [u8; 12] = [0x07, 0xd0, 0, 1, 0, 1, 0, 0, 0, 0, 0, 0];

/// The profile of a gamut; none for sRGB, which is what an image without one is in.
pub(crate) fn of(gamut: Gamut) -> Result<Option<Vec<u8>>, Failure> {
    let profile = match gamut {
        Gamut::Srgb => return Ok(None),
        Gamut::DisplayP3 => ColorProfile::new_display_p3(),
        Gamut::AdobeRgb => ColorProfile::new_adobe_rgb(),
        Gamut::Bt2020 => ColorProfile::new_bt2020(),
        Gamut::ProPhoto => ColorProfile::new_pro_photo_rgb(),
    };
    let mut bytes = profile.encode().map_err(|error| encode_failed("ICC", error))?;
    if let Some(date) = bytes.get_mut(DATE) {
        date.copy_from_slice(&THE_DATE);
    }
    Ok(Some(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_profile_is_small_readable_and_always_the_same() {
        assert_eq!(of(Gamut::Srgb).unwrap(), None);
        for gamut in WIDE {
            let profile = of(gamut).unwrap().unwrap();
            assert_eq!(profile, of(gamut).unwrap().unwrap());
            // One segment of a JPEG holds it.
            assert!(profile.len() < 60_000);
            let read = ColorProfile::new_from_slice(&profile).unwrap();
            assert!(read.red_trc.is_some() && read.creation_date_time.year == 2000, "{gamut:?}");
        }
    }
}
