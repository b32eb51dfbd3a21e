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
    ] {
        assert!(Picture::read(&bytes, &limits).is_err(), "{limits:?}");
    }
    let mut output = vec![0; 8192];
    let mut writer = PictureWriter::begin(&mut output, &canvas(true), 3).unwrap();
    for _ in 0..3 {
        writer.frame(&Frame { delay: (1, 30), ..Frame::still(8, 4, Layout::Grey) }).unwrap().fill(1);
    }
    let len = usize::try_from(writer.finish().unwrap()).unwrap();
    let of_all = |pixels| ImageLimits { max_pixels: 32, max_total_pixels: pixels, ..LIMITS };
    assert!(Picture::read(&output[..len], &of_all(96)).is_ok());
    assert!(Picture::read(&output[..len], &of_all(95)).is_err());
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

fn planes(width: u32, height: u32) -> Result<Vec<u8>, PictureError> {
    let mut output = vec![0xaa; 512];
    let (samples, len) = PlanesHeader { width, height, gamut: Gamut::AdobeRgb }.begin(&mut output)?;
    let row = samples.len() / 6;
    samples.iter_mut().enumerate().for_each(|(at, sample)| *sample = u8::try_from(at / row).unwrap());
    output.truncate(usize::try_from(len).unwrap());
    Ok(output)
}

#[test]
fn planes_are_one_of_brightness_and_two_of_half_its_sides() {
    let bytes = planes(8, 4).unwrap();
    let found = Planes::find(&bytes, &LIMITS).unwrap().unwrap();
    assert_eq!(found.header, PlanesHeader { width: 8, height: 4, gamut: Gamut::AdobeRgb });
    let brightness = [[0; 8], [1; 8], [2; 8], [3; 8]].concat();
    assert_eq!(found.split(), [&brightness[..], &[4; 8], &[5; 8]]);
    let len = bytes.len() as u64;
    assert_eq!(
        Outline::read(&bytes[..HEADER_BYTES], len, &LIMITS),
        Ok(Outline { width: 8, height: 4, frames: 1, planes: true })
    );
    assert_eq!(Outline::bytes(bytes.first_chunk().unwrap(), &LIMITS), Ok(HEADER_BYTES));
    assert_eq!(Picture::read(&bytes, &LIMITS).unwrap_err(), PictureError::Header);
    assert!(matches!(Planes::find(&animation(1, 1), &LIMITS), Ok(None)));
    let frames = animation(3, 3);
    let outline = Outline { width: 8, height: 4, frames: 3, planes: false };
    assert_eq!(Outline::read(&frames, frames.len() as u64, &LIMITS), Ok(outline));
}

#[test]
fn planes_of_odd_sides_or_without_room_are_not_begun() {
    assert_eq!(planes(7, 4), Err(PictureError::Header));
    assert_eq!(planes(8, 3), Err(PictureError::Header));
    assert_eq!(planes(64, 64), Err(PictureError::Full(512)));
    assert_eq!(planes(u32::MAX - 1, u32::MAX - 1), Err(PictureError::Header));
}

#[test]
fn no_byte_makes_a_reader_of_planes_leave_its_bounds() {
    let good = planes(8, 4).unwrap();
    for at in 0..ALIGNMENT {
        for value in [0, 1, 2, 5, 6, 0x7f, 0x80, 0xff] {
            let mut bytes = good.clone();
            bytes[at] = value;
            if let Ok(Some(planes)) = Planes::find(&bytes, &LIMITS) {
                let PlanesHeader { width, height, .. } = planes.header;
                assert_eq!((width % 2, height % 2), (0, 0));
                let pixels = usize::try_from(width * height).unwrap();
                assert_eq!(planes.split().map(<[u8]>::len), [pixels, pixels / 4, pixels / 4]);
            }
        }
    }
    for len in 4..good.len() {
        assert_eq!(Planes::find(&good[..len], &LIMITS).unwrap_err(), PictureError::Length, "{len}");
    }
    assert_eq!(Planes::find(&[good.as_slice(), &[0]].concat(), &LIMITS).unwrap_err(), PictureError::Length);
    for limits in [ImageLimits { max_pixels: 31, ..LIMITS }, ImageLimits { max_side: 7, ..LIMITS }] {
        assert_eq!(Planes::find(&good, &limits).unwrap_err(), PictureError::Limits);
    }
}
