//! From the planes of a decoded AV1 image to the samples of a pixel.

use re_rav1d::dav1d::{Picture, PixelLayout, PlanarImageComponent as Component, Plane};

use super::boxes::CodePoints;

/// How planes become pixels.
#[derive(Debug, Clone, Copy)]
pub(super) struct Conversion {
    kind: Kind,
    full_range: bool,
    bits: u32,
}

#[derive(Debug, Clone, Copy)]
enum Kind {
    /// Green, blue, red as they are.
    Identity,
    /// Luma and two differences, by the parts of red and blue in luma.
    Luma { red: f32, blue: f32 },
    /// Luma, green less magenta, orange less green.
    YCgCo,
}

impl Conversion {
    /// The conversion that these code points name (ITU-T H.273, table 4); none for one that is not known.
    pub(super) fn of(points: CodePoints, bits: u32) -> Option<Self> {
        let luma = |red, blue| Kind::Luma { red, blue };
        let kind = match points.matrix {
            0 => Kind::Identity,
            1 => luma(0.2126, 0.0722),
            4 => luma(0.30, 0.11),
            // Unspecified is taken for that of JPEG.
            2 | 5 | 6 => luma(0.299, 0.114),
            7 => luma(0.212, 0.087),
            8 => Kind::YCgCo,
            9 => luma(0.2627, 0.0593),
            12 => match points.primaries {
                1 => luma(0.2126, 0.0722),
                9 => luma(0.2627, 0.0593),
                12 => luma(0.228_975, 0.079_287),
                _ => return None,
            },
            _ => return None,
        };
        Some(Self { kind, full_range: points.full_range, bits })
    }

    /// Offset and scale that bring luma to 0 to 255.
    fn luma_scale(self) -> (f32, f32) {
        let unit = unit(self.bits);
        if self.full_range { (0.0, 255.0 / (256.0 * unit - 1.0)) } else { (16.0 * unit, 255.0 / (219.0 * unit)) }
    }

    /// Offset and scale that bring a difference to -127.5 to 127.5.
    fn chroma_scale(self) -> (f32, f32) {
        let unit = unit(self.bits);
        let scale = if self.full_range { 255.0 / (256.0 * unit - 1.0) } else { 255.0 / (224.0 * unit) };
        (128.0 * unit, scale)
    }

    /// Red, green and blue of one pixel.
    fn light(self, y: f32, u: f32, v: f32) -> [f32; 3] {
        let (black, luma) = self.luma_scale();
        let (grey, chroma) = self.chroma_scale();
        let light = (y - black) * luma;
        match self.kind {
            Kind::Identity => [(v - black) * luma, light, (u - black) * luma],
            Kind::Luma { red, blue } => {
                let reddish = light + 2.0 * (1.0 - red) * (v - grey) * chroma;
                let bluish = light + 2.0 * (1.0 - blue) * (u - grey) * chroma;
                [reddish, (light - red * reddish - blue * bluish) / (1.0 - red - blue), bluish]
            }
            Kind::YCgCo => {
                let (cg, co) = ((u - grey) * chroma, (v - grey) * chroma);
                [light - cg + co, light + cg, light - cg - co]
            }
        }
    }
}

/// The value that stands for one of eight bits.
fn unit(bits: u32) -> f32 {
    match bits {
        8 => 1.0,
        10 => 4.0,
        _ => 16.0,
    }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "what is out of range is cut off")]
fn to_byte(value: f32) -> u8 {
    (value + 0.5) as u8
}

/// Rows of one plane as numbers.
struct Rows {
    plane: Plane,
    stride: usize,
    wide: bool,
    width: usize,
    height: usize,
}

impl Rows {
    fn new(picture: &Picture, component: Component, (width, height): (usize, usize)) -> Self {
        let stride = picture.stride(component) as usize;
        Self { plane: picture.plane(component), stride, wide: picture.bit_depth() > 8, width, height }
    }

    /// Reads a row; one past an edge is the one at the edge.
    fn read(&self, y: usize, row: &mut Vec<f32>) {
        row.clear();
        let bytes = &self.plane[y.min(self.height - 1) * self.stride..];
        if self.wide {
            let samples = bytes.as_chunks::<2>().0.iter().take(self.width);
            row.extend(samples.map(|sample| f32::from(u16::from_ne_bytes(*sample))));
        } else {
            row.extend(bytes.iter().take(self.width).map(|sample| f32::from(*sample)));
        }
    }
}

/// Writes luma as grey into the first of `pixel_bytes` bytes of every pixel.
pub(super) fn write_grey(
    picture: &Picture,
    conversion: Conversion,
    channel: usize,
    pixel_bytes: usize,
    pixels: &mut [u8],
) {
    let (width, height) = (picture.width() as usize, picture.height() as usize);
    let rows = Rows::new(picture, Component::Y, (width, height));
    let (black, scale) = conversion.luma_scale();
    let mut row = Vec::with_capacity(width);
    for (y, line) in pixels.chunks_exact_mut(width * pixel_bytes).enumerate().take(height) {
        rows.read(y, &mut row);
        for (pixel, luma) in line.chunks_exact_mut(pixel_bytes).zip(&row) {
            pixel[channel] = to_byte((luma - black) * scale);
        }
    }
}

/// Writes red, green and blue into the first three of `pixel_bytes` bytes of every pixel.
pub(super) fn write_colours(picture: &Picture, conversion: Conversion, pixel_bytes: usize, pixels: &mut [u8]) {
    let (width, height) = (picture.width() as usize, picture.height() as usize);
    let (across, down) = match picture.pixel_layout() {
        PixelLayout::I420 => (2, 2),
        PixelLayout::I422 => (2, 1),
        PixelLayout::I400 | PixelLayout::I444 => (1, 1),
    };
    let luma = Rows::new(picture, Component::Y, (width, height));
    let size = (width.div_ceil(across), height.div_ceil(down));
    let chroma = [Component::U, Component::V].map(|component| Rows::new(picture, component, size));
    let mut row = Vec::with_capacity(width);
    let mut differences = [Vec::with_capacity(width), Vec::with_capacity(width)];
    let mut stored = [Vec::new(), Vec::new()];
    for (y, line) in pixels.chunks_exact_mut(width * pixel_bytes).enumerate().take(height) {
        luma.read(y, &mut row);
        for (plane, difference) in chroma.iter().zip(&mut differences) {
            plane.read(y / down, &mut stored[0]);
            if down == 2 {
                // The nearer row counts three times.
                plane.read(if y % 2 == 0 { (y / 2).saturating_sub(1) } else { y / 2 + 1 }, &mut stored[1]);
                let (near, far) = stored.split_at_mut(1);
                for (near, far) in near[0].iter_mut().zip(&far[0]) {
                    *near = (*near * 3.0 + far) / 4.0;
                }
            }
            spread(&stored[0], across, width, difference);
        }
        let [u, v] = &differences;
        for (((pixel, y), u), v) in line.chunks_exact_mut(pixel_bytes).zip(&row).zip(u).zip(v) {
            pixel[..3].copy_from_slice(&conversion.light(*y, *u, *v).map(to_byte));
        }
    }
}

/// A row of chroma as wide as luma: between two samples the nearer one counts three times.
fn spread(stored: &[f32], across: usize, width: usize, row: &mut Vec<f32>) {
    row.clear();
    if across == 1 {
        row.extend_from_slice(stored);
        return;
    }
    let last = stored.len() - 1;
    row.extend((0..width).map(|x| {
        let far = if x % 2 == 0 { (x / 2).saturating_sub(1) } else { (x / 2 + 1).min(last) };
        (stored[x / 2] * 3.0 + stored[far]) / 4.0
    }));
}
