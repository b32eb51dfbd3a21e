//! SVG, drawn. Text is drawn with the one font this program has; images within are not, wherever they come from.

use std::sync::Arc;

use lazaret_sandbox::{
    format::{Decode, Decoded},
    picture::{Canvas, Frame, Gamut, Layout, PictureError, PictureWriter},
};
use resvg::{
    tiny_skia::{PixmapMut, Transform},
    usvg::{Group, ImageHrefResolver, Node, Options, Tree, filter::Kind, fontdb},
};

use crate::{
    failure::{Failure, check_size, decode_failed, output_full},
    sanitise::svg,
};

/// `DejaVu` Sans 2.37: Latin, Greek, Cyrillic, Arabic, Hebrew and many symbols.
static FONT: &[u8] = include_bytes!("../../fonts/DejaVuSans.ttf");
const FAMILY: &str = "DejaVu Sans";
/// In pixels. Nothing is to be seen of a blur this wide, and resvg 0.49 panics in `box_blur.rs` at a thousand times that.
const WIDEST_BLUR: f32 = 1e6;

/// Draws the document at its own size, or with the task's longest side.
pub(crate) fn decode(task: &Decode, input: &[u8], output: &mut [u8]) -> Result<Decoded, Failure> {
    let text = svg::text(input)?;
    let document = svg::parse(&text)?;
    let tree = Tree::from_xmltree(&document, &options()).map_err(decode_failed)?;
    let (width, height, scale) = size(&tree, task.draw_side);
    check_size(width, height, &task.limits)?;
    check_blurs(tree.root(), scale.0.max(scale.1))?;
    let canvas = Canvas { width, height, animated: false, plays: 0, gamut: Gamut::Srgb };
    let mut picture = PictureWriter::begin(output, &canvas, 1).map_err(full)?;
    let pixels = picture.frame(&Frame::still(width, height, Layout::Rgba)).map_err(full)?;
    pixels.fill(0);
    let mut pixmap = PixmapMut::from_bytes(pixels, width, height).ok_or_else(output_full)?;
    resvg::render(&tree, Transform::from_scale(scale.0, scale.1), &mut pixmap);
    divide_by_alpha(pixels);
    Ok(Decoded { len: picture.finish().map_err(full)? })
}

fn full(_: PictureError) -> Failure {
    output_full()
}

fn options() -> Options<'static> {
    let mut fonts = fontdb::Database::new();
    fonts.load_font_source(fontdb::Source::Binary(Arc::new(FONT)));
    fonts.set_serif_family(FAMILY);
    fonts.set_sans_serif_family(FAMILY);
    fonts.set_cursive_family(FAMILY);
    fonts.set_fantasy_family(FAMILY);
    fonts.set_monospace_family(FAMILY);
    Options {
        font_family: FAMILY.to_owned(),
        fontdb: Arc::new(fonts),
        image_href_resolver: ImageHrefResolver {
            resolve_data: Box::new(|_, _, _| None),
            resolve_string: Box::new(|_, _| None),
        },
        ..Options::default()
    }
}

/// Width and height in pixels, and how much larger that is than the drawing says.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    reason = "sizes are positive; what is too large saturates and is refused for it"
)]
fn size(tree: &Tree, draw_side: u32) -> (u32, u32, (f32, f32)) {
    let (width, height) = (tree.size().width(), tree.size().height());
    let scale = if draw_side == 0 { 1.0 } else { draw_side as f32 / width.max(height) };
    let pixels = |length: f32| (length * scale).round().max(1.0) as u32;
    let (wide, high) = (pixels(width), pixels(height));
    (wide, high, (wide as f32 / width, high as f32 / height))
}

/// Refuses blurs that are wider than any picture.
fn check_blurs(group: &Group, scale: f32) -> Result<(), Failure> {
    let (across, down) = group.abs_transform().get_scale();
    for primitive in group.filters().iter().flat_map(|filter| filter.primitives()) {
        let (x, y) = match primitive.kind() {
            Kind::GaussianBlur(blur) => (blur.std_dev_x(), blur.std_dev_y()),
            Kind::DropShadow(shadow) => (shadow.std_dev_x(), shadow.std_dev_y()),
            _ => continue,
        };
        let widest = (x.get() * across).max(y.get() * down) * scale;
        if widest.is_nan() || widest > WIDEST_BLUR {
            return Err(decode_failed(format_args!("a blur of more than {WIDEST_BLUR} pixels is not supported")));
        }
    }
    for node in group.children() {
        if let Node::Group(group) = node {
            check_blurs(group, scale)?;
        }
        let mut checked = Ok(());
        node.subroots(|group| {
            if checked.is_ok() {
                checked = check_blurs(group, scale);
            }
        });
        checked?;
    }
    Ok(())
}

/// The drawing has alpha multiplied into its colours, the picture has not.
fn divide_by_alpha(pixels: &mut [u8]) {
    let (pixels, _) = pixels.as_chunks_mut::<4>();
    for pixel in pixels {
        let alpha = u16::from(pixel[3]);
        if alpha != 0 && alpha != 255 {
            for colour in &mut pixel[..3] {
                // A colour is at most its alpha.
                *colour = u8::try_from((u16::from(*colour) * 255 + alpha / 2) / alpha).unwrap_or(u8::MAX);
            }
        }
    }
}

#[cfg(test)]
mod tests;
