//! Strips and tiles that are JPEGs (TIFF Technical Note 2), of which the tables may lie elsewhere.

use lazaret_sandbox::format::ImageLimits;
use tiff::{decoder::ChunkType, tags::Tag};

use super::{TiffDecoder, directory::Directory};
use crate::{
    decode::jpeg::Jpeg,
    failure::{Failure, decode_failed},
};

/// Where they lie, and their tables.
pub(super) struct Jpegs<'a> {
    input: &'a [u8],
    places: Vec<(u64, u64)>,
    tables: Vec<u8>,
    samples: usize,
    is_inverted: bool,
    limits: ImageLimits,
}

impl<'a> Jpegs<'a> {
    pub(super) fn of(
        decoder: &mut TiffDecoder<'_>,
        directory: &Directory<'_>,
        input: &'a [u8],
        limits: &ImageLimits,
    ) -> Result<Self, Failure> {
        let colour = decoder.colortype().map_err(decode_failed)?;
        if colour.bit_depth() != 8 {
            return Err(decode_failed("a TIFF of JPEGs with more than eight bits a sample is not supported"));
        }
        let (offsets, lengths) = match decoder.get_chunk_type() {
            ChunkType::Strip => (Tag::StripOffsets, Tag::StripByteCounts),
            ChunkType::Tile => (Tag::TileOffsets, Tag::TileByteCounts),
        };
        let offsets = decoder.get_tag_u64_vec(offsets).map_err(decode_failed)?;
        let lengths = decoder.get_tag_u64_vec(lengths).map_err(decode_failed)?;
        let tables = decoder.find_tag(Tag::JPEGTables).map_err(decode_failed)?;
        let tables = tables.map(tiff::decoder::ifd::Value::into_u8_vec).transpose().map_err(decode_failed)?;
        let mut tables = tables.unwrap_or_else(|| b"\xff\xd8\xff\xd9".to_vec());
        if tables.split_off(tables.len().saturating_sub(2)) != b"\xff\xd9" {
            return Err(decode_failed("the JPEG tables of a TIFF have no end"));
        }
        Ok(Self {
            input,
            places: offsets.into_iter().zip(lengths).collect(),
            tables,
            samples: colour.num_samples().into(),
            is_inverted: directory.is_inverted(),
            limits: *limits,
        })
    }

    /// The samples of one that is this wide, cut to the pixels that are the image's.
    pub(super) fn read(&self, index: u32, stored_width: u32, (width, rows): (u32, u32)) -> Result<Vec<u8>, Failure> {
        let bytes = self.bytes(index).ok_or_else(|| decode_failed("a TIFF strip or tile is cut short"))?;
        let image = bytes.strip_prefix(b"\xff\xd8").ok_or_else(|| decode_failed("a strip or tile is no JPEG"))?;
        let whole = [&self.tables, image].concat();
        let jpeg = Jpeg::read(&whole, &self.limits)?;
        if jpeg.width != stored_width || jpeg.height < rows || jpeg.components != self.samples {
            return Err(decode_failed("a TIFF whose strips or tiles are not what it says"));
        }
        let stored = jpeg.stored_samples()?;
        let lines = stored.chunks_exact(stored_width as usize * self.samples).take(rows as usize);
        let mut samples: Vec<_> = lines.flat_map(|line| &line[..width as usize * self.samples]).copied().collect();
        if self.is_inverted {
            for sample in &mut samples {
                *sample = !*sample;
            }
        }
        Ok(samples)
    }

    fn bytes(&self, index: u32) -> Option<&'a [u8]> {
        let &(offset, length) = self.places.get(usize::try_from(index).ok()?)?;
        let (offset, length) = (usize::try_from(offset).ok()?, usize::try_from(length).ok()?);
        self.input.get(offset..offset.checked_add(length)?)
    }
}
