//! Images of few colours, which a palette makes several times smaller.

use std::collections::HashMap;

use image::DynamicImage;

use crate::palette::scramble;

/// The most colours a palette holds.
const MAX_COLOURS: usize = 256;

/// An image as indices into a palette.
#[derive(Debug)]
pub(super) struct Indexed {
    pub(super) pixels: Vec<u8>,
    /// Red, green and blue of every index.
    pub(super) palette: Vec<u8>,
    /// Alpha of every index, where one of them is not opaque.
    pub(super) alpha: Option<Vec<u8>>,
}

impl Indexed {
    /// The image with its colours in an order that the input does not choose, or `None` when they are too many.
    pub(super) fn of(image: &DynamicImage, variant: u8) -> Option<Self> {
        let colours: Vec<[u8; 4]> = match image {
            DynamicImage::ImageRgb8(pixels) => pixels.pixels().map(|p| [p.0[0], p.0[1], p.0[2], 255]).collect(),
            DynamicImage::ImageRgba8(pixels) => pixels.pixels().map(|p| p.0).collect(),
            _ => return None,
        };
        let mut seen: HashMap<[u8; 4], u8> = HashMap::new();
        for &colour in colours.chunk_by(|a, b| a == b).map(|run| &run[0]) {
            seen.insert(colour, 0);
            if seen.len() > MAX_COLOURS {
                return None;
            }
        }
        let mut order: Vec<[u8; 4]> = seen.keys().copied().collect();
        order.sort_unstable_by_key(|&[r, g, b, a]| (scramble([r, g, b], variant), a));
        for (index, colour) in (0..=u8::MAX).zip(&order) {
            seen.insert(*colour, index);
        }
        let mut pixels = Vec::with_capacity(colours.len());
        for run in colours.chunk_by(|a, b| a == b) {
            pixels.resize(pixels.len() + run.len(), seen[&run[0]]);
        }
        let opaque = order.iter().all(|colour| colour[3] == 255);
        Some(Self {
            pixels,
            palette: order.iter().flat_map(|colour| [colour[0], colour[1], colour[2]]).collect(),
            alpha: (!opaque).then(|| order.iter().map(|colour| colour[3]).collect()),
        })
    }
}
