//! The frames of an animation, as the format that is written can hold them.

use lazaret_sandbox::picture::{Blend, Dispose, Picture, Pixels};

use super::{
    compose::{Area, Painter},
    raster::Raster,
    resize::{Care, resize},
};
use crate::failure::Failure;

/// How frames are cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cut {
    /// As they came, each with its own place, disposal and blending. The first is filled up to the whole canvas.
    AsTheyAre,
    /// What changes on the canvas, in place of what was there.
    Changes,
    /// What changes on the canvas, at even places.
    EvenChanges,
    /// The whole canvas, each time.
    Whole,
}

/// An animation in the size that is wanted.
#[derive(Debug)]
pub(crate) struct Film<'p, 'a> {
    pub(crate) picture: &'p Picture<'a>,
    pub(crate) size: (u32, u32),
}

/// One frame to be written.
#[derive(Debug)]
pub(crate) struct Shown<'a> {
    pub(crate) x: u32,
    pub(crate) y: u32,
    pub(crate) image: Raster<'a>,
    /// Numerator and denominator in seconds.
    pub(crate) delay: (u32, u32),
    pub(crate) dispose: Dispose,
    pub(crate) blend: Blend,
}

impl<'a> Film<'_, 'a> {
    /// How many frames.
    pub(crate) fn frames(&self) -> usize {
        self.picture.frames().len()
    }

    /// How often it runs, 0 for ever.
    pub(crate) fn plays(&self) -> u32 {
        self.picture.canvas().plays
    }

    /// Whether it is to have another size than its canvas.
    pub(crate) fn is_resized(&self) -> bool {
        let canvas = self.picture.canvas();
        self.size != (canvas.width, canvas.height)
    }

    /// Shows every frame in order. One that is made smaller is always the whole canvas.
    pub(crate) fn play(&self, cut: Cut, show: impl FnMut(Shown<'_>) -> Result<(), Failure>) -> Result<(), Failure> {
        if cut == Cut::AsTheyAre && !self.is_resized() { self.play_frames(show) } else { self.play_canvas(cut, show) }
    }

    fn play_frames(&self, mut show: impl FnMut(Shown<'_>) -> Result<(), Failure>) -> Result<(), Failure> {
        for (index, pixels) in self.picture.frames().enumerate() {
            let frame = &pixels.frame;
            let fills = (frame.width, frame.height) == self.size;
            let (image, (x, y)) = if index > 0 || fills {
                (Raster::of(&pixels), (frame.x, frame.y))
            } else {
                (self.filled(&pixels), (0, 0))
            };
            show(Shown { x, y, image, delay: frame.delay, dispose: frame.dispose, blend: frame.blend })?;
        }
        Ok(())
    }

    /// A frame on a canvas of its own.
    fn filled(&self, pixels: &Pixels<'a>) -> Raster<'static> {
        let mut painter = Painter::new(self.size.0, self.size.1);
        painter.paint(pixels);
        painter.into_raster()
    }

    fn play_canvas(&self, cut: Cut, mut show: impl FnMut(Shown<'_>) -> Result<(), Failure>) -> Result<(), Failure> {
        let canvas = self.picture.canvas();
        let whole = Area { x: 0, y: 0, width: canvas.width, height: canvas.height };
        let mut painter = Painter::new(canvas.width, canvas.height);
        for (index, pixels) in self.picture.frames().enumerate() {
            let changed = painter.paint(&pixels);
            let area = match cut {
                _ if index == 0 || self.is_resized() => whole,
                Cut::AsTheyAre | Cut::Whole => whole,
                Cut::Changes => changed,
                Cut::EvenChanges => changed.even(),
            };
            let image = painter.crop(area);
            let image = if self.is_resized() { resize(&image, self.size, Care::Fine)? } else { image };
            let Area { x, y, .. } = area;
            let (dispose, blend) = (Dispose::Keep, Blend::Source);
            show(Shown { x, y, image, delay: pixels.frame.delay, dispose, blend })?;
        }
        Ok(())
    }
}

/// A delay in units of a second, rounded.
pub(crate) fn delay_in(units: u32, (numerator, denominator): (u32, u32)) -> u32 {
    let (wanted, denominator) = (u64::from(numerator) * u64::from(units), u64::from(denominator.max(1)));
    u32::try_from((wanted + denominator / 2) / denominator).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::delay_in;

    #[test]
    fn delays_are_rounded_and_never_overflow() {
        assert_eq!(delay_in(100, (1, 30)), 3);
        assert_eq!(delay_in(1000, (7, 100)), 70);
        assert_eq!(delay_in(100, (u32::MAX, 1)), u32::MAX);
        assert_eq!(delay_in(100, (1, 0)), 100);
    }
}
