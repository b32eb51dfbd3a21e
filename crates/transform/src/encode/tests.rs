use std::io::Cursor;

use lazaret_sandbox::{
    format::{ArtefactFormat, ImageLimits, OutputFormat},
    picture::{Blend, Canvas, Dispose, Frame, Gamut, PictureWriter},
};

use super::*;

/// A picture in the making.
pub(crate) struct Scene {
    pub(crate) canvas: Canvas,
    pub(crate) frames: Vec<(Frame, Vec<u8>)>,
}

impl Scene {
    pub(crate) fn still(width: u32, height: u32, layout: Layout, samples: Vec<u8>) -> Self {
        let canvas = Canvas { width, height, animated: false, plays: 0, gamut: Gamut::Srgb };
        Self { canvas, frames: vec![(Frame::still(width, height, layout), samples)] }
    }

    /// A gradient, so of many colours.
    pub(crate) fn gradient(width: u32, height: u32, layout: Layout) -> Self {
        let pixel = |x: u32, y: u32| -> Vec<u8> {
            let byte = |value: u32| u8::try_from(value % 256).unwrap();
            let (red, green, blue) = (byte(x * 3), byte(y * 5), byte(x * y / 7));
            let alpha = byte(x * 2 + y);
            match layout {
                Layout::Grey => vec![green],
                Layout::GreyAlpha => vec![green, alpha],
                Layout::Rgb => vec![red, green, blue],
                Layout::Rgba => vec![red, green, blue, alpha],
                Layout::Indexed => vec![red],
            }
        };
        let mut samples = Vec::new();
        if layout == Layout::Indexed {
            samples.extend((0..=255_u8).flat_map(|index| [index, 255 - index, index / 2, 255]));
        }
        samples.extend((0..height).flat_map(|y| (0..width).flat_map(move |x| pixel(x, y))));
        Self::still(width, height, layout, samples)
    }

    /// Two frames of three more on a canvas of 16 x 12, with holes, at odd places.
    pub(crate) fn animation(layout: Layout) -> Self {
        let canvas = Canvas { width: 16, height: 12, animated: true, plays: 3, gamut: Gamut::Srgb };
        let frame = |x, y, width, height, dispose, blend, seed: u8| {
            let frame = Frame { x, y, dispose, blend, delay: (7, 100), ..Frame::still(width, height, layout) };
            let mut samples = Vec::new();
            if layout == Layout::Indexed {
                samples.extend(
                    (0..=255_u8).flat_map(|index| [index, 255 - index, seed, if index == 9 { 0 } else { 255 }]),
                );
                samples.extend((0..width * height).map(|at| u8::try_from(at % 40).unwrap() / 4));
            } else {
                let pixels = (0..width * height).map(|at| u8::try_from(at % 40).unwrap());
                samples.extend(pixels.flat_map(|at| [at * 6, 255 - at, seed, if at % 5 == 0 { 0 } else { 255 }]));
            }
            (frame, samples)
        };
        let over = Blend::Over;
        let source = if layout == Layout::Indexed { Blend::Over } else { Blend::Source };
        let frames = vec![
            frame(0, 0, 16, 12, Dispose::Keep, over, 10),
            frame(3, 1, 5, 4, Dispose::Previous, over, 90),
            frame(8, 6, 8, 6, Dispose::Background, source, 200),
            frame(0, 0, 7, 12, Dispose::Keep, over, 250),
        ];
        Self { canvas, frames }
    }

    pub(crate) fn write(&self) -> Vec<u8> {
        let room: usize = self.frames.iter().map(|(_, samples)| samples.len() + 200).sum();
        let mut bytes = vec![0; room + 64];
        let mut writer = PictureWriter::begin(&mut bytes, &self.canvas, self.frames.len()).unwrap();
        for (frame, samples) in &self.frames {
            writer.frame(frame).unwrap().copy_from_slice(samples);
        }
        let len = usize::try_from(writer.finish().unwrap()).unwrap();
        bytes.truncate(len);
        bytes
    }
}

pub(crate) fn task(format: OutputFormat) -> Encode {
    Encode {
        input_bytes: 0,
        limits: ImageLimits::default(),
        format,
        quality: 85,
        max_side: 0,
        background: [255; 3],
        original_bytes: 1 << 20,
        variants: List::new(),
    }
}

pub(crate) struct Out {
    pub(crate) bytes: Vec<u8>,
    pub(crate) encoded: Encoded,
}

impl Out {
    pub(crate) fn file(&self, index: usize) -> (&[u8], Artefact) {
        let artefact = self.encoded.artefacts.iter().nth(index).unwrap();
        let start = usize::try_from(artefact.offset).unwrap();
        (&self.bytes[start..][..usize::try_from(artefact.len).unwrap()], artefact)
    }
}

pub(crate) fn try_encode(scene: &Scene, task: &Encode, room: usize) -> Result<Out, Failure> {
    try_encode_bytes(&scene.write(), task, room)
}

fn try_encode_bytes(picture: &[u8], task: &Encode, room: usize) -> Result<Out, Failure> {
    let mut bytes = vec![0xaa; room];
    let encoded = encode_or_end(&|| panic!("out of memory"), task, picture, &mut bytes)?;
    bytes.truncate(encoded.artefacts.iter().map(|file| usize::try_from(file.len).unwrap()).sum());
    Ok(Out { bytes, encoded })
}

/// Encodes and verifies.
#[track_caller]
pub(crate) fn encoded(scene: &Scene, task: &Encode) -> Out {
    let out = try_encode(scene, task, 8 << 20).unwrap();
    crate::verify::tests::look_at(&out).unwrap();
    out
}

const FORMATS: [OutputFormat; 4] = [OutputFormat::Jpeg, OutputFormat::Png, OutputFormat::Gif, OutputFormat::WebP];
const LAYOUTS: [Layout; 5] = [Layout::Grey, Layout::GreyAlpha, Layout::Rgb, Layout::Rgba, Layout::Indexed];

/// What another decoder makes of a file.
pub(crate) fn decoded(file: &[u8], format: ArtefactFormat) -> image::RgbaImage {
    let format = image::ImageFormat::from_mime_type(format.media_type()).unwrap();
    image::load(Cursor::new(file), format).unwrap().into_rgba8()
}

/// The mean difference of a sample, over what is not see-through.
fn difference(found: &image::RgbaImage, expected: &Raster<'_>) -> f64 {
    assert_eq!((found.width(), found.height()), (expected.width, expected.height));
    let mut sum = 0_u32;
    let mut count = 0_u32;
    for (found, expected) in found.pixels().zip(expected.pixels()) {
        if expected[3] == 0 {
            assert_eq!(found.0[3], 0);
            continue;
        }
        sum += found.0.iter().zip(expected).map(|(&found, expected)| u32::from(found.abs_diff(expected))).sum::<u32>();
        count += 4;
    }
    f64::from(sum) / f64::from(count.max(1))
}

fn first(scene: &Scene) -> Raster<'static> {
    let bytes = scene.write();
    let picture = Picture::read(&bytes, &ImageLimits::default()).unwrap();
    let raster = Raster::first(&picture).unwrap();
    Raster { samples: raster.samples.into_owned().into(), ..raster }
}

#[test]
fn every_layout_becomes_every_format() {
    for layout in LAYOUTS {
        for (width, height) in [(61, 47), (1, 1), (1, 9), (200, 3)] {
            let scene = Scene::gradient(width, height, layout);
            for format in FORMATS {
                let out = encoded(&scene, &task(format));
                let (file, artefact) = out.file(0);
                assert_eq!(artefact.format, format.into());
                let expected = match format {
                    OutputFormat::Jpeg => first(&scene).flatten([255; 3]),
                    OutputFormat::Gif => {
                        let image = first(&scene).into_rgba();
                        let samples = image.pixels().flat_map(indices::all_or_nothing).collect();
                        Raster { samples, ..image }
                    }
                    OutputFormat::Png | OutputFormat::WebP => first(&scene),
                };
                let tolerance = if format == OutputFormat::Png { 0.0 } else { 14.0 };
                let difference = difference(&decoded(file, artefact.format), &expected);
                assert!(difference <= tolerance, "{layout:?} {width}x{height} as {format:?}: {difference}");
            }
        }
    }
}

#[test]
fn grey_stays_grey() {
    let scene = Scene::gradient(40, 40, Layout::Grey);
    let out = encoded(&scene, &task(OutputFormat::Jpeg));
    assert_eq!(turbojpeg::read_header(out.file(0).0).unwrap().subsamp, turbojpeg::Subsamp::Gray);
    let out = encoded(&scene, &task(OutputFormat::Png));
    assert_eq!(out.file(0).0[25], 0);
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped to what a byte holds")]
fn byte(value: f64) -> u8 {
    value.round().clamp(0.0, 255.0) as u8
}

/// The same as planes (ITU-T T.871, 7), colours of four pixels from the left upper one of them.
fn planes(image: &Raster<'_>, gamut: Gamut) -> Vec<u8> {
    let mut bytes = vec![0xaa; 1 << 20];
    let header = PlanesHeader { width: image.width, height: image.height, gamut };
    let (samples, len) = header.begin(&mut bytes).unwrap();
    let (width, pixels) = (image.width as usize, image.pixels().count());
    let (brightness, colours) = samples.split_at_mut(pixels);
    let (blue, red) = colours.split_at_mut(pixels / 4);
    for (at, pixel) in image.pixels().enumerate() {
        let [r, g, b, _] = pixel.map(f64::from);
        let bright = 0.299 * r + 0.587 * g + 0.114 * b;
        brightness[at] = byte(bright);
        let (column, row) = (at % width, at / width);
        if column % 2 == 0 && row % 2 == 0 {
            let place = row / 2 * (width / 2) + column / 2;
            blue[place] = byte(128.0 + (b - bright) / 1.772);
            red[place] = byte(128.0 + (r - bright) / 1.402);
        }
    }
    bytes.truncate(usize::try_from(len).unwrap());
    bytes
}

#[test]
fn planes_become_the_jpeg_that_pixels_become() {
    let task = task(OutputFormat::Jpeg);
    for (width, height) in [(2, 2), (64, 48), (34, 18), (200, 2)] {
        let scene = Scene::gradient(width, height, Layout::Rgb);
        let image = first(&scene);
        let out = try_encode_bytes(&planes(&image, Gamut::Srgb), &task, 1 << 20).unwrap();
        crate::verify::tests::look_at(&out).unwrap();
        let (file, artefact) = out.file(0);
        assert_eq!((artefact.width, artefact.height, artefact.frames), (width, height, 1));
        assert_eq!(turbojpeg::read_header(file).unwrap().subsamp, turbojpeg::Subsamp::Sub2x2);
        let found = difference(&decoded(file, ArtefactFormat::Jpeg), &image);
        let usual = difference(&decoded(encoded(&scene, &task).file(0).0, ArtefactFormat::Jpeg), &image);
        assert!(found <= usual + 4.0, "{width}x{height}: {found}, of pixels {usual}");
    }
}

#[test]
fn planes_look_as_their_pixels_do() {
    let image = first(&Scene::gradient(64, 48, Layout::Rgb));
    let hash = |picture: &[u8]| -> Vec<u8> {
        let out = try_encode_bytes(picture, &task(OutputFormat::Jpeg), 1 << 20).unwrap();
        out.encoded.thumbhash.iter().collect()
    };
    let [of_planes, of_pixels] =
        [planes(&image, Gamut::Srgb), Scene::gradient(64, 48, Layout::Rgb).write()].map(|picture| {
            let (_, _, pixels) = thumbhash::thumb_hash_to_rgba(&hash(&picture)).unwrap();
            pixels
        });
    let far = of_planes.iter().zip(&of_pixels).map(|(a, b)| a.abs_diff(*b)).max();
    assert!(of_planes.len() == of_pixels.len() && far <= Some(24), "{far:?}");
}

#[test]
fn planes_of_a_wide_gamut_have_our_profile() {
    let image = first(&Scene::gradient(32, 16, Layout::Rgb));
    for gamut in profile::WIDE {
        let out = try_encode_bytes(&planes(&image, gamut), &task(OutputFormat::Jpeg), 1 << 20).unwrap();
        crate::verify::tests::look_at(&out).unwrap();
        let name = profile::of(gamut).unwrap().unwrap();
        assert!(out.bytes.windows(name.len()).any(|window| window == name), "{gamut:?}");
    }
}

#[test]
fn planes_that_are_not_wanted_are_refused() {
    let picture = planes(&first(&Scene::gradient(64, 48, Layout::Rgb)), Gamut::Srgb);
    for unwanted in [
        task(OutputFormat::Png),
        Encode { quality: 90, ..task(OutputFormat::Jpeg) },
        Encode { max_side: 63, ..task(OutputFormat::Jpeg) },
        Encode { variants: List::of([9]).unwrap(), ..task(OutputFormat::Jpeg) },
    ] {
        let refusal: lazaret_sandbox::Refusal = try_encode_bytes(&picture, &unwanted, 1 << 20).err().unwrap().into();
        assert_eq!(refusal.detail.as_str(), "planes where they are not wanted");
    }
    let wanted = Encode { max_side: 64, ..task(OutputFormat::Jpeg) };
    assert!(try_encode_bytes(&picture, &wanted, 1 << 20).is_ok());
    let refusal: lazaret_sandbox::Refusal = try_encode_bytes(&picture, &wanted, 100).err().unwrap().into();
    assert_eq!(refusal.code, lazaret_sandbox::RefusalCode::OutputLimit);
}

#[test]
fn the_same_picture_gives_the_same_bytes() {
    for format in FORMATS {
        let scene = Scene::animation(Layout::Rgba);
        let task = Encode { max_side: 9, variants: List::of([4]).unwrap(), ..task(format) };
        assert_eq!(encoded(&scene, &task).bytes, encoded(&scene, &task).bytes);
    }
}

#[test]
fn sizes_and_variants_never_grow_and_keep_their_shape() {
    let scene = Scene::gradient(300, 100, Layout::Rgba);
    let sizes = |out: &Out| -> Vec<_> { out.encoded.artefacts.iter().map(|file| (file.width, file.height)).collect() };
    for format in FORMATS {
        let task = Encode { max_side: 150, variants: List::of([256, 90, 1]).unwrap(), ..task(format) };
        let out = encoded(&scene, &task);
        assert_eq!(sizes(&out), [(150, 50), (150, 50), (90, 30), (1, 1)]);
        assert!(!out.encoded.thumbhash.is_empty());
    }
}

#[test]
fn variants_of_an_animation_are_its_first_frame() {
    let scene = Scene::animation(Layout::Indexed);
    let out = encoded(&scene, &Encode { variants: List::of([16]).unwrap(), ..task(OutputFormat::Gif) });
    let (file, variant) = out.file(1);
    assert_eq!((variant.format, variant.frames), (ArtefactFormat::Png, 1));
    assert!(difference(&decoded(file, variant.format), &first(&scene)) == 0.0);
}

/// What a viewer shows, frame by frame, as this crate's painter has it.
fn shown(scene: &Scene) -> Vec<Raster<'static>> {
    let bytes = scene.write();
    let picture = Picture::read(&bytes, &ImageLimits::default()).unwrap();
    let canvas = picture.canvas();
    let mut painter = compose::Painter::new(canvas.width, canvas.height);
    let mut shown = Vec::new();
    for pixels in picture.frames() {
        painter.paint(&pixels);
        let raster = painter.raster();
        shown.push(Raster { samples: raster.samples.into_owned().into(), ..raster });
    }
    shown
}

#[test]
fn animations_show_the_same_in_every_format() {
    use image::AnimationDecoder;
    for layout in [Layout::Rgba, Layout::Indexed] {
        let scene = Scene::animation(layout);
        let expected = shown(&scene);
        for format in [OutputFormat::Gif, OutputFormat::Png] {
            let out = encoded(&scene, &task(format));
            let (file, artefact) = out.file(0);
            assert_eq!(artefact.frames, 4);
            let frames = if format == OutputFormat::Gif {
                image::codecs::gif::GifDecoder::new(Cursor::new(file)).unwrap().into_frames()
            } else {
                image::codecs::png::PngDecoder::new(Cursor::new(file)).unwrap().apng().unwrap().into_frames()
            };
            let frames: Vec<image::Frame> = frames.collect_frames().unwrap();
            assert_eq!(frames.len(), expected.len());
            for (index, (found, expected)) in frames.iter().zip(&expected).enumerate() {
                let difference = difference(found.buffer(), expected);
                assert!(difference < 0.5, "frame {index} of {layout:?} as {format:?} differs by {difference}");
                let (numerator, denominator) = found.delay().numer_denom_ms();
                assert_eq!(numerator / denominator, 70, "{format:?}");
            }
        }
    }
}

#[test]
fn a_wide_gamut_has_our_profile() {
    for gamut in profile::WIDE {
        let name = profile::of(gamut).unwrap().unwrap();
        for layout in [Layout::Grey, Layout::GreyAlpha, Layout::Rgb, Layout::Rgba] {
            let mut scene = Scene::gradient(30, 20, layout);
            scene.canvas.gamut = gamut;
            for format in [OutputFormat::Jpeg, OutputFormat::Png, OutputFormat::WebP] {
                let out = encoded(&scene, &task(format));
                let (file, artefact) = out.file(0);
                let reader = image::ImageReader::with_format(
                    Cursor::new(file),
                    image::ImageFormat::from_mime_type(artefact.format.media_type()).unwrap(),
                );
                let mut decoder = reader.into_decoder().unwrap();
                let found = image::ImageDecoder::icc_profile(&mut decoder).unwrap();
                assert_eq!(found.as_ref(), Some(&name), "{gamut:?} {layout:?} {format:?}");
            }
        }
    }
}

#[test]
fn no_room_is_an_output_limit() {
    for format in FORMATS {
        let scene = Scene::gradient(200, 200, Layout::Rgb);
        let refusal: lazaret_sandbox::Refusal = try_encode(&scene, &task(format), 500).err().unwrap().into();
        assert_eq!(refusal.code, lazaret_sandbox::RefusalCode::OutputLimit, "{format:?}: {}", refusal.detail);
    }
}
