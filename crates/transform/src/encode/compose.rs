//! The canvas of an animation, painted frame by frame.

use std::borrow::Cow;

use lazaret_sandbox::picture::{Blend, Dispose, Pixels};

use super::raster::{Channels, Raster, colours, row_of};

/// A part of the canvas.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Area {
    pub(crate) x: u32,
    pub(crate) y: u32,
    pub(crate) width: u32,
    pub(crate) height: u32,
}

impl Area {
    /// The smallest area around both.
    pub(crate) fn around(self, other: Self) -> Self {
        let (x, y) = (self.x.min(other.x), self.y.min(other.y));
        let right = (self.x + self.width).max(other.x + other.width);
        let lower = (self.y + self.height).max(other.y + other.height);
        Self { x, y, width: right - x, height: lower - y }
    }

    /// The smallest area around this one that begins at even numbers.
    pub(crate) fn even(self) -> Self {
        let (x, y) = (self.x & !1, self.y & !1);
        Self { x, y, width: self.width + self.x - x, height: self.height + self.y - y }
    }
}

/// Paints frames as the rules of disposal and blending have it: those of GIF, APNG and WebP in one.
#[derive(Debug)]
pub(crate) struct Painter {
    width: u32,
    height: u32,
    /// Red, green, blue and alpha, row by row.
    canvas: Vec<u8>,
    /// What is to happen before the next frame.
    disposal: Option<(Area, Dispose)>,
    /// What an area to be restored held.
    saved: Vec<u8>,
}

impl Painter {
    /// A canvas that is see-through.
    pub(crate) fn new(width: u32, height: u32) -> Self {
        let bytes = u64::from(width) * u64::from(height) * 4;
        let canvas = vec![0; usize::try_from(bytes).unwrap_or(usize::MAX)];
        Self { width, height, canvas, disposal: None, saved: Vec::new() }
    }

    /// Disposes of the frame before and paints this one. Answers the area outside of which nothing changed.
    pub(crate) fn paint(&mut self, pixels: &Pixels<'_>) -> Area {
        let frame = &pixels.frame;
        let area = Area { x: frame.x, y: frame.y, width: frame.width, height: frame.height };
        let changed = self.dispose().map_or(area, |disposed| disposed.around(area));
        if frame.dispose == Dispose::Previous {
            self.saved.clear();
            for row in 0..area.height {
                let place = self.place(area, row);
                self.saved.extend_from_slice(&self.canvas[place]);
            }
        }
        let colours = colours(pixels.palette);
        for row in 0..area.height {
            let place = self.place(area, row);
            let below = self.canvas[place].chunks_exact_mut(4);
            let above = row_of(pixels, &colours, usize::try_from(row).unwrap_or(usize::MAX));
            match frame.blend {
                Blend::Source => below.zip(above).for_each(|(below, above)| below.copy_from_slice(&above)),
                Blend::Over => below.zip(above).for_each(|(below, above)| over(below, above)),
            }
        }
        self.disposal = Some((area, frame.dispose));
        changed
    }

    /// Does what the frame before wants done. Answers where something changed by it.
    fn dispose(&mut self) -> Option<Area> {
        let (area, dispose) = self.disposal.take()?;
        if dispose == Dispose::Keep {
            return None;
        }
        let row_bytes = usize::try_from(area.width).unwrap_or(0) * 4;
        for (row, start) in (0..area.height).zip((0..).step_by(row_bytes)) {
            let place = self.place(area, row);
            match dispose {
                Dispose::Previous => self.canvas[place].copy_from_slice(&self.saved[start..start + row_bytes]),
                Dispose::Background | Dispose::Keep => self.canvas[place].fill(0),
            }
        }
        Some(area)
    }

    /// The whole canvas.
    pub(crate) fn raster(&self) -> Raster<'_> {
        Raster {
            width: self.width,
            height: self.height,
            channels: Channels::Rgba,
            samples: Cow::Borrowed(&self.canvas),
        }
    }

    /// A part of the canvas.
    pub(crate) fn crop(&self, area: Area) -> Raster<'_> {
        if (area.width, area.height) == (self.width, self.height) {
            return self.raster();
        }
        let rows = (0..area.height).flat_map(|row| &self.canvas[self.place(area, row)]);
        let samples = Cow::Owned(rows.copied().collect());
        Raster { width: area.width, height: area.height, channels: Channels::Rgba, samples }
    }

    pub(crate) fn into_raster(self) -> Raster<'static> {
        Raster { width: self.width, height: self.height, channels: Channels::Rgba, samples: Cow::Owned(self.canvas) }
    }

    /// The bytes of a row of an area. Areas lie on their canvas: a picture is checked when it is read.
    fn place(&self, area: Area, row: u32) -> std::ops::Range<usize> {
        let pixel = u64::from(area.y + row) * u64::from(self.width) + u64::from(area.x);
        let start = usize::try_from(pixel * 4).unwrap_or(usize::MAX);
        start..start + usize::try_from(area.width).unwrap_or(0) * 4
    }
}

/// Paints a pixel over another, neither multiplied by its alpha (PNG, section 13.16 of the third edition).
fn over(below: &mut [u8], above: [u8; 4]) {
    let (alpha, under) = (u32::from(above[3]), u32::from(below[3]));
    if alpha == 255 || under == 0 && alpha > 0 {
        below.copy_from_slice(&above);
        return;
    }
    if alpha == 0 {
        return;
    }
    // In units of 1 / 255².
    let rest = under * (255 - alpha);
    let whole = alpha * 255 + rest;
    let byte = |value: u32| u8::try_from(value).unwrap_or(u8::MAX);
    for (below, above) in below.iter_mut().zip(above).take(3) {
        *below = byte((u32::from(above) * alpha * 255 + u32::from(*below) * rest + whole / 2) / whole);
    }
    below[3] = byte((whole + 127) / 255);
}

#[cfg(test)]
mod tests {
    use lazaret_sandbox::picture::{Frame, Layout};

    use super::*;

    const RED: [u8; 4] = [255, 0, 0, 255];
    const BLUE: [u8; 4] = [0, 0, 255, 255];
    const NONE: [u8; 4] = [0; 4];

    /// A frame of one colour.
    fn paint(painter: &mut Painter, area: Area, colour: [u8; 4], dispose: Dispose, blend: Blend) -> Area {
        let Area { x, y, width, height } = area;
        let frame = Frame { x, y, dispose, blend, ..Frame::still(width, height, Layout::Rgba) };
        let samples = colour.repeat((width * height) as usize);
        painter.paint(&Pixels { frame, palette: &[], samples: &samples })
    }

    fn pixels(painter: &Painter) -> Vec<[u8; 4]> {
        painter.raster().pixels().collect()
    }

    const ALL: Area = Area { x: 0, y: 0, width: 3, height: 1 };
    const MIDDLE: Area = Area { x: 1, y: 0, width: 1, height: 1 };
    const RIGHT: Area = Area { x: 2, y: 0, width: 1, height: 1 };

    #[test]
    fn frames_are_disposed_of_before_the_next() {
        let mut painter = Painter::new(3, 1);
        assert_eq!(paint(&mut painter, ALL, RED, Dispose::Keep, Blend::Source), ALL);
        assert_eq!(paint(&mut painter, MIDDLE, BLUE, Dispose::Previous, Blend::Source), MIDDLE);
        assert_eq!(pixels(&painter), [RED, BLUE, RED]);
        let changed = paint(&mut painter, RIGHT, BLUE, Dispose::Background, Blend::Source);
        assert_eq!(changed, Area { x: 1, y: 0, width: 2, height: 1 });
        assert_eq!(pixels(&painter), [RED, RED, BLUE]);
        paint(&mut painter, MIDDLE, NONE, Dispose::Keep, Blend::Over);
        assert_eq!(pixels(&painter), [RED, RED, NONE]);
        paint(&mut painter, MIDDLE, NONE, Dispose::Keep, Blend::Source);
        assert_eq!(pixels(&painter), [RED, NONE, NONE]);
    }

    #[test]
    fn what_is_half_transparent_blends() {
        let mut painter = Painter::new(3, 1);
        paint(&mut painter, MIDDLE, RED, Dispose::Keep, Blend::Over);
        paint(&mut painter, ALL, [0, 0, 255, 128], Dispose::Keep, Blend::Over);
        let half = [0, 0, 255, 128];
        assert_eq!(pixels(&painter), [half, [127, 0, 128, 255], half]);
        paint(&mut painter, RIGHT, [255, 0, 0, 128], Dispose::Keep, Blend::Over);
        assert_eq!(pixels(&painter)[2], [170, 0, 85, 192]);
    }

    #[test]
    fn a_part_of_the_canvas_is_cut_out() {
        let mut painter = Painter::new(3, 1);
        paint(&mut painter, MIDDLE, BLUE, Dispose::Keep, Blend::Over);
        let cut: Vec<_> = painter.crop(Area { x: 1, y: 0, width: 2, height: 1 }).pixels().collect();
        assert_eq!(cut, [BLUE, NONE]);
        assert_eq!(RIGHT.around(ALL), ALL);
        assert_eq!(Area { x: 3, y: 5, width: 2, height: 2 }.even(), Area { x: 2, y: 4, width: 3, height: 3 });
    }
}
