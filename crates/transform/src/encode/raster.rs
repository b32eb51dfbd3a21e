//! A still image in memory, as every encoder takes it.

use std::borrow::Cow;

use lazaret_sandbox::picture::{Layout, Picture, Pixels};

use crate::encode::{compose::Painter, indices::used};

/// The samples of a pixel, eight bits each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Channels {
    Grey,
    GreyAlpha,
    Rgb,
    Rgba,
}

impl Channels {
    /// Bytes of a pixel.
    pub(crate) const fn count(self) -> usize {
        match self {
            Self::Grey => 1,
            Self::GreyAlpha => 2,
            Self::Rgb => 3,
            Self::Rgba => 4,
        }
    }

    pub(crate) const fn alpha(self) -> bool {
        matches!(self, Self::GreyAlpha | Self::Rgba)
    }

    const fn of(layout: Layout) -> Option<Self> {
        match layout {
            Layout::Grey => Some(Self::Grey),
            Layout::GreyAlpha => Some(Self::GreyAlpha),
            Layout::Rgb => Some(Self::Rgb),
            Layout::Rgba => Some(Self::Rgba),
            Layout::Indexed => None,
        }
    }
}

/// Rows of samples without gaps.
#[derive(Debug, Clone)]
pub(crate) struct Raster<'a> {
    pub(crate) width: u32,
    pub(crate) height: u32,
    pub(crate) channels: Channels,
    pub(crate) samples: Cow<'a, [u8]>,
}

impl<'a> Raster<'a> {
    /// What a viewer shows before anything moves: the first frame on its canvas.
    pub(crate) fn first(picture: &Picture<'a>) -> Option<Self> {
        let canvas = picture.canvas();
        let first = picture.frames().next()?;
        if (first.frame.width, first.frame.height) == (canvas.width, canvas.height) {
            return Some(Self::of(&first));
        }
        let mut painter = Painter::new(canvas.width, canvas.height);
        painter.paint(&first);
        Some(painter.into_raster())
    }

    /// One frame for itself; one of few colours gets the samples of its colours.
    pub(crate) fn of(pixels: &Pixels<'a>) -> Self {
        let (channels, samples) = match Channels::of(pixels.frame.layout) {
            Some(channels) => (channels, Cow::Borrowed(pixels.samples)),
            None => expand(pixels),
        };
        Self { width: pixels.frame.width, height: pixels.frame.height, channels, samples }
    }

    /// A borrow of the same image.
    pub(crate) fn view(&self) -> Raster<'_> {
        Raster { samples: Cow::Borrowed(&self.samples), ..*self }
    }

    /// Every pixel as red, green, blue and alpha.
    pub(crate) fn pixels(&self) -> impl Iterator<Item = [u8; 4]> + '_ {
        let channels = self.channels;
        self.samples.chunks_exact(channels.count()).map(move |pixel| rgba(channels, pixel))
    }

    /// The same image with alpha and three colours.
    pub(crate) fn into_rgba(self) -> Self {
        if self.channels == Channels::Rgba {
            return self;
        }
        let samples = self.pixels().flatten().collect();
        Self { channels: Channels::Rgba, samples: Cow::Owned(samples), ..self }
    }

    /// The same image with three colours where it had one: a colour profile of three is no profile of one.
    pub(crate) fn into_colour(self) -> Self {
        match self.channels {
            Channels::Rgb | Channels::Rgba => self,
            Channels::Grey => {
                let samples = self.samples.iter().flat_map(|&grey| [grey; 3]).collect();
                Self { channels: Channels::Rgb, samples: Cow::Owned(samples), ..self }
            }
            Channels::GreyAlpha => self.into_rgba(),
        }
    }

    /// The same image without alpha, over `background`.
    pub(crate) fn flatten(self, background: [u8; 3]) -> Self {
        if !self.channels.alpha() {
            return self;
        }
        let [red, green, blue] = background;
        let grey = self.channels == Channels::GreyAlpha && red == green && green == blue;
        let mut samples = Vec::with_capacity(self.samples.len());
        for [r, g, b, alpha] in self.pixels() {
            let over = [(r, red), (g, green), (b, blue)].map(|(above, below)| mix(above, below, alpha));
            samples.extend_from_slice(if grey { &over[..1] } else { &over });
        }
        let channels = if grey { Channels::Grey } else { Channels::Rgb };
        Self { channels, samples: Cow::Owned(samples), ..self }
    }
}

/// A pixel of one of these layouts.
fn rgba(channels: Channels, pixel: &[u8]) -> [u8; 4] {
    match (channels, pixel) {
        (Channels::GreyAlpha, &[grey, alpha]) => [grey, grey, grey, alpha],
        (_, &[grey]) => [grey, grey, grey, 255],
        (_, &[red, green, blue]) => [red, green, blue, 255],
        (_, &[red, green, blue, alpha]) => [red, green, blue, alpha],
        _ => [0; 4],
    }
}

/// One sample over another.
fn mix(above: u8, below: u8, alpha: u8) -> u8 {
    let [above, below, alpha] = [above, below, alpha].map(u32::from);
    let mixed = (above * alpha + below * (255 - alpha) + 127) / 255;
    // A mean of two bytes is a byte.
    u8::try_from(mixed).unwrap_or(u8::MAX)
}

/// The colours of an indexed frame, with alpha only where a colour in use has any.
fn expand(pixels: &Pixels<'_>) -> (Channels, Cow<'static, [u8]>) {
    let colours = colours(pixels.palette);
    let used = used(pixels.samples);
    let opaque = colours.iter().zip(used).all(|(colour, used)| !used || colour[3] == 255);
    let mut samples = Vec::with_capacity(pixels.samples.len() * 4);
    for &index in pixels.samples {
        let colour = &colours[usize::from(index)];
        samples.extend_from_slice(if opaque { &colour[..3] } else { colour });
    }
    (if opaque { Channels::Rgb } else { Channels::Rgba }, Cow::Owned(samples))
}

/// The 256 colours of an indexed frame.
pub(crate) fn colours(palette: &[u8]) -> [[u8; 4]; 256] {
    let mut colours = [[0, 0, 0, 255]; 256];
    for (slot, colour) in colours.iter_mut().zip(palette.chunks_exact(4)) {
        slot.copy_from_slice(colour);
    }
    colours
}

/// The pixels of one row of a frame as red, green, blue and alpha.
pub(crate) fn row_of<'a>(
    pixels: &'a Pixels<'_>,
    colours: &'a [[u8; 4]; 256],
    row: usize,
) -> impl Iterator<Item = [u8; 4]> + 'a {
    let layout = pixels.frame.layout;
    let width = usize::try_from(pixels.frame.width).unwrap_or(0) * layout.pixel_bytes();
    let row = pixels.samples.get(row * width..(row + 1) * width).unwrap_or_default();
    row.chunks_exact(layout.pixel_bytes()).map(move |pixel| match Channels::of(layout) {
        Some(channels) => rgba(channels, pixel),
        None => colours[usize::from(pixel[0])],
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn raster(channels: Channels, samples: &[u8]) -> Raster<'_> {
        let width = u32::try_from(samples.len() / channels.count()).unwrap();
        Raster { width, height: 1, channels, samples: samples.into() }
    }

    #[test]
    fn alpha_is_flattened_over_the_background() {
        let flat = raster(Channels::Rgba, &[200, 100, 0, 255, 9, 9, 9, 0, 255, 255, 255, 128]).flatten([255, 0, 10]);
        assert_eq!(flat.channels, Channels::Rgb);
        assert_eq!(*flat.samples, [200, 100, 0, 255, 0, 10, 255, 128, 133]);
    }

    #[test]
    fn grey_stays_grey_over_grey_only() {
        let samples = [10, 255, 20, 0];
        let over_white = raster(Channels::GreyAlpha, &samples).flatten([255; 3]);
        assert_eq!((over_white.channels, &*over_white.samples), (Channels::Grey, &[10, 255][..]));
        let over_red = raster(Channels::GreyAlpha, &samples).flatten([255, 0, 0]);
        assert_eq!((over_red.channels, &*over_red.samples), (Channels::Rgb, &[10, 10, 10, 255, 0, 0][..]));
    }
}
