//! Animated PNG (third edition, section 4.9): frames as they are stored.

use lazaret_sandbox::{
    format::{Animation, Decode, Decoded},
    picture::{Blend, Canvas, Dispose, Frame, Layout, PictureWriter},
};
use png::{BlendOp, DisposeOp, FrameControl};

use super::{PngReader, rows};
use crate::{
    decode::{colour::Colours, compose},
    failure::{Failure, FrameCount, check_size, decode_failed},
};

/// Decodes the frames. A default image that is no part of the animation is left out.
pub(super) fn decode(
    task: &Decode,
    reader: &mut PngReader<'_>,
    layout: Layout,
    colours: &Colours,
    output: &mut [u8],
) -> Result<Decoded, Failure> {
    let info = reader.info();
    let control = info.animation_control.ok_or_else(|| decode_failed("an animated PNG without its control"))?;
    let (width, height) = info.size();
    let mut count = FrameCount::default();
    FrameCount::check(control.num_frames, &task.limits)?;
    let frames = if task.animation == Animation::FirstFrame { 1 } else { control.num_frames };
    let canvas = Canvas { width, height, animated: true, plays: control.num_plays, gamut: colours.gamut() };
    let mut writer = (task.animation == Animation::Keep)
        .then(|| PictureWriter::begin(&mut *output, &canvas, frames as usize).map_err(compose::no_room))
        .transpose()?;
    let mut next = match info.frame_control {
        Some(first) => first,
        None => *reader.next_frame_info().map_err(decode_failed)?,
    };
    let mut first = true;
    loop {
        let mut frame = frame(&next, layout, first);
        first = false;
        count.add(check_size(frame.width, frame.height, &task.limits)?, &task.limits)?;
        compose::check_place(&frame, width, height)?;
        let Some(writer) = &mut writer else {
            let mut pixels = vec![0; frame.data_bytes().ok_or_else(|| decode_failed("an endless frame"))?];
            rows::read(reader, frame.width, layout, &mut pixels)?;
            colours.apply(layout, &mut pixels);
            return compose::first_frame(&canvas, &frame, &pixels, output);
        };
        frame.layout = layout;
        let room = writer.frame(&frame).map_err(compose::no_room)?;
        rows::read(reader, frame.width, layout, room)?;
        colours.apply(layout, room);
        if count.frames() == frames {
            break;
        }
        next = *reader.next_frame_info().map_err(decode_failed)?;
    }
    let writer = writer.ok_or_else(|| decode_failed("an animated PNG without frames"))?;
    Ok(Decoded { len: writer.finish().map_err(compose::no_room)? })
}

fn frame(control: &FrameControl, layout: Layout, first: bool) -> Frame {
    let denominator = if control.delay_den == 0 { 100 } else { control.delay_den };
    Frame {
        x: control.x_offset,
        y: control.y_offset,
        width: control.width,
        height: control.height,
        delay: (control.delay_num.into(), denominator.into()),
        dispose: match control.dispose_op {
            DisposeOp::None => Dispose::Keep,
            DisposeOp::Background => Dispose::Background,
            // Before the first frame there was nothing.
            DisposeOp::Previous if first => Dispose::Background,
            DisposeOp::Previous => Dispose::Previous,
        },
        blend: match control.blend_op {
            BlendOp::Source => Blend::Source,
            BlendOp::Over => Blend::Over,
        },
        layout,
    }
}
