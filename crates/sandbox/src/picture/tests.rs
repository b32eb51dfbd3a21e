use super::*;

const LIMITS: ImageLimits = ImageLimits { max_pixels: 64, max_side: 16, max_frames: 3, max_total_pixels: 100 };

fn canvas(animated: bool) -> Canvas {
    Canvas { width: 8, height: 4, animated, plays: 2, gamut: Gamut::DisplayP3 }
}

fn animation(frames: usize, room: usize) -> Vec<u8> {
    let mut output = vec![0xaa; 8192];
    let mut writer = PictureWriter::begin(&mut output, &canvas(true), room).unwrap();
    for index in 0..frames {
        let frame = Frame {
            x: 1,
            delay: (1, 30),
            dispose: Dispose::Previous,
            ..Frame::still(5, 2, [Layout::Indexed, Layout::Rgba, Layout::Grey][index])
        };
        writer.frame(&frame).unwrap().fill(u8::try_from(index).unwrap() + 1);
    }
    let len = usize::try_from(writer.finish().unwrap()).unwrap();
    output.truncate(len);
    output
}

#[test]
fn what_is_written_is_read() {
    for room in [3, 2] {
        let bytes = animation(2, room);
        let picture = Picture::read(&bytes, &LIMITS).unwrap();
        assert_eq!(*picture.canvas(), canvas(true));
        let frames: Vec<_> = picture.frames().collect();
        assert_eq!(frames.len(), 2);
        assert_eq!((frames[0].palette.len(), frames[0].samples), (PALETTE_BYTES, &[1; 10][..]));
        assert_eq!((frames[1].palette.len(), frames[1].samples), (0, &[2; 40][..]));
        assert_eq!(
            (frames[0].frame.x, frames[0].frame.delay, frames[0].frame.dispose),
            (1, (1, 30), Dispose::Previous)
        );
    }
}

#[test]
fn a_still_picture_fills_its_canvas() {
    let write = |frame: &Frame| {
        let mut output = vec![0; 512];
        let mut writer = PictureWriter::begin(&mut output, &canvas(false), 1).unwrap();
        writer.frame(frame).unwrap().fill(7);
        let len = usize::try_from(writer.finish().unwrap()).unwrap();
        output.truncate(len);
        output
    };
    assert!(Picture::read(&write(&Frame::still(8, 4, Layout::Rgb)), &LIMITS).is_ok());
    assert_eq!(Picture::read(&write(&Frame::still(8, 3, Layout::Rgb)), &LIMITS).unwrap_err(), PictureError::Frame(0));
}

#[test]
fn what_does_not_fit_is_refused() {
    let mut output = vec![0; 200];
    assert!(matches!(PictureWriter::begin(&mut output, &canvas(true), 5), Err(PictureError::Full(200))));
    let mut writer = PictureWriter::begin(&mut output, &canvas(true), 1).unwrap();
    assert_eq!(writer.frame(&Frame::still(8, 4, Layout::Rgba)).unwrap_err(), PictureError::Full(200));
    writer.frame(&Frame::still(8, 4, Layout::Grey)).unwrap();
    assert_eq!(writer.frame(&Frame::still(1, 1, Layout::Grey)).unwrap_err(), PictureError::Limits);
}

#[test]
fn every_limit_is_kept() {
    let bytes = animation(3, 3);
    assert!(Picture::read(&bytes, &LIMITS).is_ok());
    for limits in [
        ImageLimits { max_pixels: 31, ..LIMITS },
        ImageLimits { max_side: 7, ..LIMITS },
        ImageLimits { max_frames: 2, ..LIMITS },
        ImageLimits { max_pixels: 32, max_total_pixels: 29, ..LIMITS },
    ] {
        let read = Picture::read(&bytes, &limits);
        assert!(read.is_err() || limits.max_total_pixels == 29 && limits.max_pixels >= 30, "{limits:?}");
    }
}

/// Every byte of header and table set to what hurts most: an error or a picture within the limits, never a panic.
#[test]
fn no_byte_makes_a_reader_leave_its_bounds() {
    let good = animation(3, 3);
    for at in 0..HEADER_BYTES + 3 * FRAME_BYTES {
        for value in [0, 1, 2, 5, 0x7f, 0x80, 0xff] {
            let mut bytes = good.clone();
            bytes[at] = value;
            if let Ok(picture) = Picture::read(&bytes, &LIMITS) {
                for pixels in picture.frames() {
                    let frame = pixels.frame;
                    assert!(frame.x + frame.width <= picture.canvas().width);
                    assert_eq!(
                        pixels.samples.len(),
                        frame.width as usize * frame.height as usize * frame.layout.pixel_bytes()
                    );
                }
            }
        }
    }
    for len in 0..good.len() {
        assert!(Picture::read(&good[..len], &LIMITS).is_err(), "{len}");
    }
    assert_eq!(Picture::read(&[good.as_slice(), &[0]].concat(), &LIMITS).unwrap_err(), PictureError::Length);
}
