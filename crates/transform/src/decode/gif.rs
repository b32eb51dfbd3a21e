//! GIF 87a and 89a: frames as they are stored, with their colours.

mod blocks;

use gif::{ColorOutput, DecodeOptions, Decoder, DisposalMethod, MemoryLimit, Repeat};
use image::metadata::Orientation;
use lazaret_sandbox::{
    format::{Animation, Decode, Decoded},
    picture::{Blend, Canvas, Dispose, Frame, Gamut, Layout, PALETTE_BYTES, PictureWriter},
};

use self::blocks::Blocks;
use super::{colour::Colours, compose, still::Still};
use crate::failure::{Failure, FrameCount, check_size, decode_failed};

/// Decodes a GIF whose blocks are whole. What follows its end is not looked at.
pub(crate) fn decode(task: &Decode, input: &[u8], output: &mut [u8]) -> Result<Decoded, Failure> {
    let blocks = Blocks::read(input).map_err(decode_failed)?;
    let (width, height) = (blocks.width, blocks.height);
    check_size(width, height, &task.limits)?;
    FrameCount::check(blocks.frames, &task.limits)?;
    let mut options = DecodeOptions::new();
    options.set_color_output(ColorOutput::Indexed);
    options.set_memory_limit(MemoryLimit::Unlimited);
    options.check_lzw_end_code(false);
    let mut decoder = options.read_info(&input[..blocks.len]).map_err(decode_failed)?;
    let animated = blocks.frames > 1;
    let canvas = Canvas { width, height, animated, plays: 0, gamut: Gamut::Srgb };
    if !animated || task.animation == Animation::FirstFrame {
        return still(task, &mut decoder, &canvas, output);
    }

    let mut writer = PictureWriter::begin(output, &canvas, blocks.frames as usize).map_err(compose::no_room)?;
    let mut count = FrameCount::default();
    while let Some(frame) = next(&mut decoder, task, &mut count)? {
        let shown = clipped(&frame, &canvas)?;
        let room = writer.frame(&shown).map_err(compose::no_room)?;
        let (palette, pixels) = room.split_at_mut(PALETTE_BYTES);
        if shown == frame {
            decoder.read_into_buffer(pixels).map_err(decode_failed)?;
        } else {
            let mut stored = vec![0; decoder.buffer_size()];
            decoder.read_into_buffer(&mut stored).map_err(decode_failed)?;
            let rows = stored.chunks_exact(frame.width as usize);
            for (pixels, row) in pixels.chunks_exact_mut(shown.width as usize).zip(rows) {
                pixels.copy_from_slice(&row[..pixels.len()]);
            }
        }
        read_palette(&decoder, palette)?;
    }
    writer.set_plays(plays(decoder.repeat()));
    Ok(Decoded { len: writer.finish().map_err(compose::no_room)? })
}

/// The only frame, or the first one of an animation.
fn still(task: &Decode, decoder: &mut Decoder<&[u8]>, canvas: &Canvas, output: &mut [u8]) -> Result<Decoded, Failure> {
    let frame =
        next(decoder, task, &mut FrameCount::default())?.ok_or_else(|| decode_failed("a GIF without frames"))?;
    compose::check_place(&frame, canvas.width, canvas.height)?;
    let mut data = vec![0; PALETTE_BYTES + decoder.buffer_size()];
    let (palette, pixels) = data.split_at_mut(PALETTE_BYTES);
    decoder.read_into_buffer(pixels).map_err(decode_failed)?;
    read_palette(decoder, palette)?;
    let fills = (frame.width, frame.height) == (canvas.width, canvas.height);
    let background = if fills { Some(0) } else { clear_index(palette, pixels) };
    let Some(background) = background.filter(|_| !canvas.animated) else {
        return compose::first_frame(canvas, &frame, &data, output);
    };
    let (width, height, colours) = (canvas.width, canvas.height, Colours::srgb());
    let orientation = Orientation::NoTransforms;
    Still { width, height, layout: Layout::Indexed, orientation, colours: &colours }.write(output, |room| {
        let (colours, shown) = room.split_at_mut(PALETTE_BYTES);
        let (palette, pixels) = data.split_at(PALETTE_BYTES);
        colours.copy_from_slice(palette);
        shown.fill(background);
        let rows = shown.chunks_exact_mut(width as usize).skip(frame.y as usize);
        for (shown, pixels) in rows.zip(pixels.chunks_exact(frame.width as usize)) {
            shown[frame.x as usize..][..pixels.len()].copy_from_slice(pixels);
        }
        Ok(())
    })
}

/// An index that is see-through, which one that no pixel has becomes where there is none.
fn clear_index(palette: &mut [u8], pixels: &[u8]) -> Option<u8> {
    let is_clear = |index: &u8| palette[usize::from(*index) * 4 + 3] == 0;
    let all = 0..=u8::MAX;
    let index = all.clone().find(is_clear).or_else(|| all.rev().find(|index| !pixels.contains(index)))?;
    palette[usize::from(index) * 4..][..4].fill(0);
    Some(index)
}

/// The next frame, whose pixels are to be read next.
fn next(decoder: &mut Decoder<&[u8]>, task: &Decode, count: &mut FrameCount) -> Result<Option<Frame>, Failure> {
    let Some(frame) = decoder.next_frame_info().map_err(decode_failed)? else { return Ok(None) };
    let frame = Frame {
        x: frame.left.into(),
        y: frame.top.into(),
        width: frame.width.into(),
        height: frame.height.into(),
        delay: (frame.delay.into(), 100),
        dispose: match frame.dispose {
            DisposalMethod::Any | DisposalMethod::Keep => Dispose::Keep,
            DisposalMethod::Background => Dispose::Background,
            DisposalMethod::Previous => Dispose::Previous,
        },
        blend: Blend::Over,
        layout: Layout::Indexed,
    };
    count.add(check_size(frame.width, frame.height, &task.limits)?, &task.limits)?;
    Ok(Some(frame))
}

/// What of a frame lies on its canvas: viewers cut off the rest.
fn clipped(frame: &Frame, canvas: &Canvas) -> Result<Frame, Failure> {
    let width = frame.width.min(canvas.width.saturating_sub(frame.x));
    let height = frame.height.min(canvas.height.saturating_sub(frame.y));
    if width == 0 || height == 0 {
        return Err(decode_failed("a GIF frame lies outside of its canvas"));
    }
    Ok(Frame { width, height, ..*frame })
}

/// The colours of the frame that was read last. Indices without a colour are black, as Pillow shows them, and libnsgif
/// where frames share their colours; the transparent one may lie behind the colours.
fn read_palette(decoder: &Decoder<&[u8]>, palette: &mut [u8]) -> Result<(), Failure> {
    let colours = decoder.palette().map_err(decode_failed)?;
    let transparent = decoder.current_frame_info().and_then(|frame| frame.transparent).map(usize::from);
    let mut colours = colours.chunks_exact(3);
    for (index, slot) in palette.chunks_exact_mut(4).enumerate() {
        let colour = colours.next().unwrap_or(&[0; 3]);
        let is_seen = Some(index) != transparent;
        slot.copy_from_slice(&if is_seen { [colour[0], colour[1], colour[2], 255] } else { [0; 4] });
    }
    Ok(())
}

/// A file without a count runs once, one with a count that much more often.
fn plays(repeat: Repeat) -> u32 {
    match repeat {
        Repeat::Infinite => 0,
        Repeat::Finite(more) => u32::from(more) + 1,
    }
}
