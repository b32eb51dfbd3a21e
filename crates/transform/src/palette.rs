//! Palettes that say nothing but colours.

/// Colours of one frame, as they were and as they are written.
#[derive(Debug)]
pub(crate) struct Palette {
    /// The new index of every old one.
    indices: [u8; 256],
    /// Red, green and blue of every new index.
    colours: Vec<u8>,
    transparent: Option<u8>,
}

impl Palette {
    /// Keeps the colours in use, each once, in an order that the input does not choose: sorted by a hash of the
    /// colour. An unused entry, an order of entries and the colour behind transparency would each carry bytes of the
    /// input. `variant` makes another order. An index past the palette is black, as browsers draw it.
    pub(crate) fn canonical(colours: &[u8], pixels: &[u8], transparent: Option<u8>, variant: u8) -> Self {
        let mut used = [false; 256];
        for &pixel in pixels {
            used[usize::from(pixel)] = true;
        }
        let colour_of = |index: u8| {
            let at = usize::from(index) * 3;
            colours.get(at..at + 3).map_or([0; 3], |colour| [colour[0], colour[1], colour[2]])
        };
        let opaque = (0..=u8::MAX).filter(|&index| used[usize::from(index)] && Some(index) != transparent);
        let mut kept: Vec<[u8; 3]> = opaque.map(colour_of).collect();
        kept.sort_unstable_by_key(|&colour| (scramble(colour, variant), colour));
        kept.dedup();

        let mut indices = [0; 256];
        for index in 0..=u8::MAX {
            let colour = colour_of(index);
            let new = kept.iter().position(|&other| other == colour);
            // There are at most 256 colours, so the position of one fits.
            indices[usize::from(index)] = new.and_then(|new| u8::try_from(new).ok()).unwrap_or(0);
        }
        let see_through = transparent.filter(|&index| used[usize::from(index)]).map(|index| {
            // The transparent index is in use and not among the kept, so there are at most 255 of those.
            let new = u8::try_from(kept.len()).unwrap_or(u8::MAX);
            kept.push([0; 3]);
            indices[usize::from(index)] = new;
            new
        });
        if kept.is_empty() {
            kept.push([0; 3]);
        }
        Self { indices, colours: kept.concat(), transparent: see_through }
    }

    /// Writes the new indices over the old.
    pub(crate) fn apply(&self, pixels: &mut [u8]) {
        for pixel in pixels {
            *pixel = self.indices[usize::from(*pixel)];
        }
    }

    /// The index that is see-through, if any pixel is.
    pub(crate) const fn transparent(&self) -> Option<u8> {
        self.transparent
    }

    /// Red, green and blue of every index.
    pub(crate) fn into_colours(self) -> Vec<u8> {
        self.colours
    }
}

/// A place for a colour among others: Murmur3's finaliser, by which neighbouring colours end far apart.
pub(crate) fn scramble([red, green, blue]: [u8; 3], variant: u8) -> u32 {
    let mut hash = u32::from_le_bytes([red, green, blue, variant.wrapping_add(1)]);
    hash = (hash ^ (hash >> 16)).wrapping_mul(0x85eb_ca6b);
    hash = (hash ^ (hash >> 13)).wrapping_mul(0xc2b2_ae35);
    hash ^ (hash >> 16)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_stay_and_text_goes() {
        let text = b"<script>alert('hello')//unused entries too__";
        let colours = &text[..42];
        let before: Vec<u8> = (0..10).collect();
        let mut after = before.clone();
        let palette = Palette::canonical(colours, &before, Some(3), 0);
        palette.apply(&mut after);
        let transparent = palette.transparent().unwrap();
        let written = palette.into_colours();
        for (&old, &new) in before.iter().zip(&after) {
            if old == 3 {
                assert_eq!(new, transparent);
                continue;
            }
            assert_ne!(new, transparent);
            let (old, new) = (usize::from(old) * 3, usize::from(new) * 3);
            assert_eq!(colours[old..old + 3], written[new..new + 3]);
        }
        assert_eq!(written.len(), 30, "entries that no pixel uses are gone");
        assert!(!written.windows(6).any(|window| text.windows(6).any(|part| part == window)));
    }

    #[test]
    fn all_256_entries_fit_with_and_without_transparency() {
        let colours: Vec<u8> = (0..=255).flat_map(|grey| [grey; 3]).collect();
        let pixels: Vec<u8> = (0..=255).collect();
        for transparent in [None, Some(255)] {
            let palette = Palette::canonical(&colours, &pixels, transparent, 1);
            assert_eq!(palette.transparent().is_some(), transparent.is_some());
            assert_eq!(palette.into_colours().len(), 768);
        }
        let none = Palette::canonical(&[], &[], None, 0);
        assert_eq!(none.into_colours(), [0; 3]);
    }
}
