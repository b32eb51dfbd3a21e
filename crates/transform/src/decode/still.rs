//! A still image on its way into the picture.

use image::metadata::Orientation;
use lazaret_sandbox::{
    RefusalCode,
    format::Decoded,
    picture::{Canvas, Frame, Layout, PictureError, PictureWriter},
};

use super::colour::Colours;
use crate::failure::{Failure, decode_failed};

/// Pixels of a tile that are turned together, so that both sides stay in the cache.
const TILE: usize = 32;

/// A still image as it is stored: its size is checked, its pixels are yet to come.
pub(crate) struct Still<'a> {
    pub(crate) width: u32,
    pub(crate) height: u32,
    pub(crate) layout: Layout,
    pub(crate) orientation: Orientation,
    pub(crate) colours: &'a Colours,
}

impl Still<'_> {
    /// Writes the picture. `fill` puts the stored pixels into the room it is given: straight into the picture where
    /// they are upright already.
    pub(crate) fn write(
        &self,
        output: &mut [u8],
        fill: impl FnOnce(&mut [u8]) -> Result<(), Failure>,
    ) -> Result<Decoded, Failure> {
        let (width, height) =
            if swaps_sides(self.orientation) { (self.height, self.width) } else { (self.width, self.height) };
        let canvas = Canvas { width, height, animated: false, plays: 0, gamut: self.colours.gamut() };
        let mut writer = PictureWriter::begin(output, &canvas, 1).map_err(no_room)?;
        let room = writer.frame(&Frame::still(width, height, self.layout)).map_err(no_room)?;
        if self.orientation == Orientation::NoTransforms {
            fill(room)?;
        } else {
            let mut stored = vec![0; room.len()];
            fill(&mut stored)?;
            self.turn(&stored, room);
        }
        self.colours.apply(self.layout, room);
        Ok(Decoded { len: writer.finish().map_err(no_room)? })
    }

    fn turn(&self, stored: &[u8], upright: &mut [u8]) {
        let size = (self.width as usize, self.height as usize);
        match self.layout {
            Layout::Grey | Layout::Indexed => turn::<1>(stored, size, self.orientation, upright),
            Layout::GreyAlpha => turn::<2>(stored, size, self.orientation, upright),
            Layout::Rgb => turn::<3>(stored, size, self.orientation, upright),
            Layout::Rgba => turn::<4>(stored, size, self.orientation, upright),
        }
    }
}

/// A still picture for which there is no room.
pub(crate) fn no_room(error: PictureError) -> Failure {
    match error {
        PictureError::Full(_) => Failure::new(RefusalCode::PixelLimit, error),
        other => decode_failed(other),
    }
}

/// The orientation that EXIF data name; upright where they name none. Some writers put the marker of JPEG before them.
pub(crate) fn orientation(exif: Option<&[u8]>) -> Orientation {
    let data = exif.map(|exif| exif.strip_prefix(b"Exif\0\0").unwrap_or(exif));
    data.and_then(Orientation::from_exif_chunk).unwrap_or(Orientation::NoTransforms)
}

const fn swaps_sides(orientation: Orientation) -> bool {
    match orientation {
        Orientation::NoTransforms
        | Orientation::Rotate180
        | Orientation::FlipHorizontal
        | Orientation::FlipVertical => false,
        Orientation::Rotate90 | Orientation::Rotate270 | Orientation::Rotate90FlipH | Orientation::Rotate270FlipH => {
            true
        }
    }
}

/// Writes the pixels of an image of `width` times `height` upright, tile by tile.
fn turn<const N: usize>(stored: &[u8], (width, height): (usize, usize), orientation: Orientation, upright: &mut [u8]) {
    let (stored, _) = stored.as_chunks::<N>();
    let (upright, _) = upright.as_chunks_mut::<N>();
    let (right, lower) = (width - 1, (height - 1) * width);
    // Where the upright left upper corner is stored, and how far away its neighbours to the right and below are.
    // Steps back are steps forward that wrap around.
    let back = usize::wrapping_neg;
    let (origin, step_x, step_y) = match orientation {
        Orientation::NoTransforms => (0, 1, width),
        Orientation::FlipHorizontal => (right, back(1), width),
        Orientation::Rotate180 => (lower + right, back(1), back(width)),
        Orientation::FlipVertical => (lower, 1, back(width)),
        Orientation::Rotate90FlipH => (0, width, 1),
        Orientation::Rotate90 => (lower, back(width), 1),
        Orientation::Rotate270FlipH => (lower + right, back(width), back(1)),
        Orientation::Rotate270 => (right, width, back(1)),
    };
    let (columns, rows) = if swaps_sides(orientation) { (height, width) } else { (width, height) };
    for top in (0..rows).step_by(TILE) {
        for left in (0..columns).step_by(TILE) {
            for y in top..rows.min(top + TILE) {
                let line = &mut upright[y * columns..][left..columns.min(left + TILE)];
                let mut from = origin.wrapping_add(step_y.wrapping_mul(y)).wrapping_add(step_x.wrapping_mul(left));
                for pixel in line {
                    *pixel = stored[from];
                    from = from.wrapping_add(step_x);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use image::{DynamicImage, GrayImage, Rgb, RgbImage};
    use lazaret_sandbox::{format::ImageLimits, picture::Picture};

    use super::*;

    fn written(still: &Still<'_>, stored: &[u8]) -> Vec<u8> {
        let mut output = vec![0; 1 << 20];
        let fill = |room: &mut [u8]| {
            room.copy_from_slice(stored);
            Ok(())
        };
        let len = still.write(&mut output, fill).unwrap().len;
        output.truncate(usize::try_from(len).unwrap());
        output
    }

    #[test]
    fn every_orientation_is_what_another_library_makes_of_it() {
        let stored = RgbImage::from_fn(75, 41, |x, y| Rgb([x, y, x ^ y].map(|value| u8::try_from(value).unwrap())));
        for exif in 1..=8 {
            let orientation = Orientation::from_exif(exif).unwrap();
            let mut expected = DynamicImage::ImageRgb8(stored.clone());
            expected.apply_orientation(orientation);
            let colours = Colours::srgb();
            let still = Still { width: 75, height: 41, layout: Layout::Rgb, orientation, colours: &colours };
            let bytes = written(&still, &stored);
            let picture = Picture::read(&bytes, &ImageLimits::default()).unwrap();
            assert_eq!((picture.canvas().width, picture.canvas().height), (expected.width(), expected.height()));
            assert_eq!(picture.frames().next().unwrap().samples, expected.as_bytes(), "{exif}");
        }
    }

    #[test]
    fn one_pixel_turns_too() {
        for exif in 1..=8 {
            let colours = Colours::srgb();
            let orientation = Orientation::from_exif(exif).unwrap();
            let still = Still { width: 1, height: 1, layout: Layout::Grey, orientation, colours: &colours };
            let bytes = written(&still, &GrayImage::from_pixel(1, 1, image::Luma([9])));
            assert_eq!(*bytes.last().unwrap(), 9);
        }
    }

    #[test]
    fn a_picture_without_room_is_refused_by_name() {
        let colours = Colours::srgb();
        let orientation = Orientation::NoTransforms;
        let still = Still { width: 100, height: 100, layout: Layout::Rgba, orientation, colours: &colours };
        let refusal = lazaret_sandbox::Refusal::from(still.write(&mut [0; 1000], |_| Ok(())).unwrap_err());
        assert_eq!(refusal.code, RefusalCode::PixelLimit);
        assert_eq!(refusal.detail.as_str(), "the picture does not fit into 1000 bytes");
    }
}
