//! GIF to GIF, frame by frame.

use gif::{ColorOutput, DecodeOptions, Decoder, Encoder, EncodingError, Frame, MemoryLimit};
use lazaret_sandbox::{Done, ImageFormat};

use crate::{
    Source,
    failure::{Failure, FrameCount, check_size, decode_failed, encode_failed},
    output::Output,
    palette::Palette,
};

const END: u8 = 0x3b;
/// The extension that browsers take the number of repetitions from, up to that number.
const LOOP_COUNT: &[u8] = b"\x21\xff\x0bNETSCAPE2.0\x03\x01";

/// Decodes every frame to indices and encodes it with a palette of its own. Places, timing, disposal, transparency
/// and repetitions stay; comments, plain text and application data go.
pub(crate) fn reencode(source: &Source<'_>, variant: u8, output: &mut [u8]) -> Result<Done, Failure> {
    let mut options = DecodeOptions::new();
    options.set_color_output(ColorOutput::Indexed);
    options.set_memory_limit(MemoryLimit::Unlimited);
    options.check_lzw_end_code(false);
    let mut decoder = options.read_info(source.input).map_err(decode_failed)?;
    let (width, height) = (decoder.width(), decoder.height());
    check_size(width.into(), height.into(), &source.limits)?;

    let mut output = Output::new(output);
    let copied = copy_frames(source, &mut decoder, variant, &mut output);
    Ok(Done {
        frames: output.judge(copied)?,
        len: output.len() as u64,
        format: ImageFormat::Gif,
        width: width.into(),
        height: height.into(),
    })
}

/// Writes every frame of the decoder and answers how many there are.
fn copy_frames(
    source: &Source<'_>,
    decoder: &mut Decoder<&[u8]>,
    variant: u8,
    output: &mut Output<'_>,
) -> Result<u32, Failure> {
    let failed = |error: EncodingError| encode_failed("GIF", error);
    let mut count = FrameCount::default();
    let mut encoder = Encoder::new(output, decoder.width(), decoder.height(), &[]).map_err(failed)?;
    while let Some(frame) = next_frame(decoder, source, &mut count, variant)? {
        if count.frames() == 1 {
            encoder.set_repeat(decoder.repeat()).map_err(failed)?;
        }
        encoder.write_frame(&frame).map_err(failed)?;
    }
    if count.frames() == 0 {
        return Err(decode_failed("a GIF without frames"));
    }
    encoder.into_inner().map_err(failed)?;
    Ok(count.frames())
}

fn next_frame(
    decoder: &mut Decoder<&[u8]>,
    source: &Source<'_>,
    count: &mut FrameCount,
    variant: u8,
) -> Result<Option<Frame<'static>>, Failure> {
    let Some(frame) = decoder.next_frame_info().map_err(decode_failed)? else { return Ok(None) };
    let pixels = check_size(frame.width.into(), frame.height.into(), &source.limits)?;
    count.add(pixels, &source.limits)?;
    let mut frame = Frame {
        delay: frame.delay,
        dispose: frame.dispose,
        transparent: frame.transparent,
        needs_user_input: false,
        top: frame.top,
        left: frame.left,
        width: frame.width,
        height: frame.height,
        interlaced: false,
        palette: None,
        buffer: Vec::new().into(),
    };
    let mut indices = vec![0; decoder.buffer_size()];
    decoder.read_into_buffer(&mut indices).map_err(decode_failed)?;
    let colours = decoder.palette().map_err(decode_failed)?;
    let palette = Palette::canonical(colours, &indices, frame.transparent, variant);
    palette.apply(&mut indices);
    frame.transparent = palette.transparent();
    frame.palette = Some(palette.into_colours());
    frame.buffer = indices.into();
    Ok(Some(frame))
}

/// Whether these bytes are a screen, frames with their controls, a loop count, an end and nothing else.
pub(crate) fn check(written: &[u8]) -> Result<(), &'static str> {
    let cut = "a block is cut short";
    let rest = written.strip_prefix(b"GIF89a").ok_or("it has no signature")?;
    let mut rest = skip_table(rest.get(7..).ok_or(cut)?, rest[4])?;
    loop {
        rest = match rest {
            [END] => return Ok(()),
            [0x21, 0xf9, 4, _, _, _, _, 0, tail @ ..] => tail,
            [0x2c, _, _, _, _, _, _, _, _, flags, tail @ ..] => {
                skip_blocks(skip_table(tail, *flags)?.get(1..).ok_or(cut)?)?
            }
            other => match other.strip_prefix(LOOP_COUNT) {
                Some([_, _, 0, tail @ ..]) => tail,
                _ => return Err("it has blocks that pixels do not need"),
            },
        }
    }
}

/// Behind the colour table that these flags announce.
fn skip_table(bytes: &[u8], flags: u8) -> Result<&[u8], &'static str> {
    let len = if flags & 0x80 == 0 { 0 } else { 3 << ((flags & 7) + 1) };
    bytes.get(len..).ok_or("a colour table is cut short")
}

/// Behind a chain of data sub-blocks.
fn skip_blocks(mut bytes: &[u8]) -> Result<&[u8], &'static str> {
    loop {
        let (&len, rest) = bytes.split_first().ok_or("image data is cut short")?;
        bytes = rest.get(usize::from(len)..).ok_or("image data is cut short")?;
        if len == 0 {
            return Ok(bytes);
        }
    }
}
