//! Images as indices into few colours, in an order that the input does not choose.

use std::collections::HashMap;

use color_quant::NeuQuant;
use lazaret_sandbox::picture::Pixels;

use super::raster::{Raster, colours};

/// The most colours a palette holds.
const MAX_COLOURS: usize = 256;
/// Every how manieth pixel the choice of colours looks at, from 1 to 30: at 10 a second looks no better.
const SAMPLING: i32 = 10;

/// A colour with its alpha.
type Colour = [u8; 4];

/// What is fully transparent has no colour: it would carry bytes that nobody sees.
const CLEAR: Colour = [0; 4];

/// An image as indices.
///
/// Only colours in use are kept, each once, sorted by a hash: an unused entry, an order of entries and the colour
/// behind transparency would each carry bytes of the input. `attempt` makes another order.
#[derive(Debug)]
pub(crate) struct Indexed {
    pub(crate) indices: Vec<u8>,
    /// Those with alpha come first.
    colours: Vec<Colour>,
}

impl Indexed {
    /// A frame that is indexed already. `alpha` answers what becomes of a colour.
    pub(crate) fn of_frame(pixels: &Pixels<'_>, attempt: u8, alpha: impl Fn(Colour) -> Colour) -> Self {
        let old = colours(pixels.palette).map(|colour| without_hidden_colour(alpha(colour)));
        let in_use = old.iter().zip(used(pixels.samples)).filter_map(|(&colour, used)| used.then_some(colour));
        let colours = canonical(in_use.collect(), attempt);
        let mut new = [0; MAX_COLOURS];
        for (slot, colour) in new.iter_mut().zip(old) {
            // At most 256 colours are in use, so the place of one fits. One that is not in use is never looked up.
            *slot = colours.iter().position(|&other| other == colour).map_or(0, index);
        }
        let indices = pixels.samples.iter().map(|&old| new[usize::from(old)]).collect();
        Self { indices, colours }
    }

    /// An image of few colours, or `None` when they are too many.
    pub(crate) fn of_few(image: &Raster<'_>, attempt: u8, alpha: impl Fn(Colour) -> Colour) -> Option<Self> {
        let mut places: HashMap<Colour, u8> = HashMap::new();
        let mut before = None;
        for colour in image.pixels() {
            if before.replace(colour) == Some(colour) {
                continue;
            }
            places.insert(without_hidden_colour(alpha(colour)), 0);
            if places.len() > MAX_COLOURS {
                return None;
            }
        }
        let colours = canonical(places.keys().copied().collect(), attempt);
        for (place, colour) in colours.iter().enumerate() {
            places.insert(*colour, index(place));
        }
        let mut last = (CLEAR, places.get(&CLEAR).copied().unwrap_or(0));
        let place_of = |colour| {
            if last.0 != colour {
                let place = places.get(&without_hidden_colour(alpha(colour))).copied().unwrap_or(0);
                last = (colour, place);
            }
            last.1
        };
        Some(Self { indices: image.pixels().map(place_of).collect(), colours })
    }

    /// An image of any colours, each pixel opaque or not there at all, in the colours that suit it best.
    pub(crate) fn quantised(image: &Raster<'_>, attempt: u8) -> Self {
        if let Some(few) = Self::of_few(image, attempt, all_or_nothing) {
            return few;
        }
        let pixels = || image.pixels().map(all_or_nothing);
        let clear = pixels().any(|colour| colour == CLEAR);
        let opaque: Vec<u8> = pixels().filter(|&colour| colour != CLEAR).flatten().collect();
        let chosen = NeuQuant::new(SAMPLING, if clear { MAX_COLOURS - 1 } else { MAX_COLOURS }, &opaque);
        let map = chosen.color_map_rgba();
        let mut old: Vec<Colour> = map.chunks_exact(4).map(|c| [c[0], c[1], c[2], 255]).collect();
        if clear {
            old.push(CLEAR);
        }
        let colours = canonical(old.clone(), attempt);
        let new: Vec<u8> =
            old.iter().map(|old| colours.iter().position(|colour| colour == old).map_or(0, index)).collect();
        let nearest = |colour: Colour| if colour == CLEAR { old.len() - 1 } else { chosen.index_of(&colour) };
        let mut known = Known::new();
        let indices = pixels().map(|colour| known.get(colour, || new[nearest(colour)])).collect();
        Self { indices, colours }
    }

    /// Red, green and blue of every index.
    pub(crate) fn rgb(&self) -> Vec<u8> {
        self.colours.iter().flat_map(|colour| &colour[..3]).copied().collect()
    }

    /// Alpha of every index up to the last that is not opaque; `None` where all are.
    pub(crate) fn alpha(&self) -> Option<Vec<u8>> {
        let alpha: Vec<u8> = self.colours.iter().map(|colour| colour[3]).take_while(|&alpha| alpha < 255).collect();
        (!alpha.is_empty()).then_some(alpha)
    }

    /// The index that is not there at all.
    pub(crate) fn clear(&self) -> Option<u8> {
        self.colours.iter().position(|&colour| colour == CLEAR).map(index)
    }
}

/// A colour where alpha is kept: see [`Indexed::of_frame`].
pub(crate) const fn as_it_is(colour: Colour) -> Colour {
    colour
}

/// A colour where there is no alpha between: opaque from one half on.
pub(crate) const fn all_or_nothing(colour: Colour) -> Colour {
    if colour[3] < 128 { CLEAR } else { [colour[0], colour[1], colour[2], 255] }
}

const fn without_hidden_colour(colour: Colour) -> Colour {
    if colour[3] == 0 { CLEAR } else { colour }
}

/// Which of 256 indices occur.
pub(crate) fn used(indices: &[u8]) -> [bool; MAX_COLOURS] {
    let mut used = [false; MAX_COLOURS];
    for &index in indices {
        used[usize::from(index)] = true;
    }
    used
}

/// Each colour once: those with alpha first, else by a hash.
fn canonical(mut colours: Vec<Colour>, attempt: u8) -> Vec<Colour> {
    colours.sort_unstable_by_key(|&colour| (colour[3] == 255, scramble(colour, attempt), colour));
    colours.dedup();
    colours
}

/// A place among others: Murmur3's finaliser, by which neighbouring colours end far apart.
fn scramble([red, green, blue, alpha]: Colour, attempt: u8) -> u32 {
    let mut hash = u32::from_le_bytes([red, green, blue, attempt.wrapping_add(1) ^ alpha.rotate_left(4)]);
    hash = (hash ^ (hash >> 16)).wrapping_mul(0x85eb_ca6b);
    hash = (hash ^ (hash >> 13)).wrapping_mul(0xc2b2_ae35);
    hash ^ (hash >> 16)
}

/// A place in a palette as an index: there are at most 256.
fn index(place: usize) -> u8 {
    u8::try_from(place).unwrap_or(u8::MAX)
}

/// Answers found before, for the next pixel is often of a colour that was just looked up.
struct Known(Vec<Option<(Colour, u8)>>);

impl Known {
    const PLACES: usize = 1 << 14;

    fn new() -> Self {
        Self(vec![None; Self::PLACES])
    }

    fn get(&mut self, colour: Colour, find: impl FnOnce() -> u8) -> u8 {
        let hash = usize::try_from(scramble(colour, 0)).unwrap_or(0);
        let place = &mut self.0[hash % Self::PLACES];
        match *place {
            Some((known, answer)) if known == colour => answer,
            _ => {
                let answer = find();
                *place = Some((colour, answer));
                answer
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use lazaret_sandbox::picture::{Frame, Layout};

    use super::*;
    use crate::encode::raster::Channels;

    fn colour_of(indexed: &Indexed, pixel: usize) -> Colour {
        indexed.colours[usize::from(indexed.indices[pixel])]
    }

    #[test]
    fn colours_stay_and_text_goes() {
        let text = b"<script>alert('hello')//unused entries too__....";
        let mut palette: Vec<u8> = text.chunks(3).flat_map(|c| [c[0], c[1], c[2], 255]).collect();
        palette.resize(1024, 255);
        palette[3 * 4 + 3] = 0;
        let samples: Vec<u8> = (0..10).collect();
        let frame = Frame::still(10, 1, Layout::Indexed);
        let pixels = Pixels { frame, palette: &palette, samples: &samples };
        let indexed = Indexed::of_frame(&pixels, 0, all_or_nothing);
        assert_eq!(colour_of(&indexed, 3), CLEAR);
        assert_eq!(indexed.clear(), Some(0));
        for pixel in (0..10).filter(|&pixel| pixel != 3) {
            assert_eq!(colour_of(&indexed, pixel), palette[pixel * 4..][..4], "{pixel}");
        }
        let rgb = indexed.rgb();
        assert_eq!(rgb.len(), 30, "entries that no pixel uses are gone");
        assert!(!rgb.windows(6).any(|window| text.windows(6).any(|part| part == window)));
        assert_eq!(indexed.alpha(), Some(vec![0]));
    }

    #[test]
    fn all_256_entries_fit() {
        let palette: Vec<u8> = (0..=255).flat_map(|grey| [grey, grey, grey, 255 - grey]).collect();
        let samples: Vec<u8> = (0..=255).collect();
        let frame = Frame::still(256, 1, Layout::Indexed);
        let indexed = Indexed::of_frame(&Pixels { frame, palette: &palette, samples: &samples }, 1, as_it_is);
        assert_eq!((indexed.rgb().len(), indexed.alpha().unwrap().len()), (768, 255));
        for pixel in 0..255 {
            assert_eq!(colour_of(&indexed, pixel), palette[pixel * 4..][..4], "{pixel}");
        }
    }

    #[test]
    fn many_colours_become_near_ones() {
        let samples: Vec<u8> = (0..64_u8)
            .flat_map(|y| (0..64_u8).flat_map(move |x| [x * 4, y * 4, 128, if x == 0 { 0 } else { 255 }]))
            .collect();
        let image = Raster { width: 64, height: 64, channels: Channels::Rgba, samples: samples.as_slice().into() };
        assert!(Indexed::of_few(&image, 0, as_it_is).is_none());
        let indexed = Indexed::quantised(&image, 0);
        let mut sum = 0;
        for (place, wanted) in image.pixels().enumerate() {
            let found = colour_of(&indexed, place);
            assert_eq!(found == CLEAR, wanted[3] == 0);
            sum +=
                if wanted[3] == 0 { 0 } else { found.iter().zip(wanted).map(|(a, b)| u32::from(a.abs_diff(b))).sum() };
        }
        assert!(sum < 64 * 64 * 3 * 8, "{sum}");
    }
}
