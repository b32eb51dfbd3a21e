use lazaret_core::{Animation, Colour, ImageLimits, MultiPage};
use lazaret_sandbox::{Refusal, RefusalCode, format::ImageFormat, picture::Picture};

use super::*;

fn task(draw_side: u32) -> Decode {
    Decode {
        input_bytes: 0,
        format: ImageFormat::Svg,
        limits: ImageLimits { max_pixels: 1_000_000, ..ImageLimits::default() },
        animation: Animation::Keep,
        pages: MultiPage::Hold,
        colour: Colour::Srgb,
        draw_side,
        planes_side: 0,
    }
}

/// Width, height and the samples.
fn drawn(svg: &str, draw_side: u32) -> (u32, u32, Vec<u8>) {
    let mut output = vec![7; 4_100_000];
    let task = task(draw_side);
    let decoded = decode(&task, svg.as_bytes(), &mut output).unwrap();
    output.truncate(usize::try_from(decoded.len).unwrap());
    let picture = Picture::read(&output, &task.limits).unwrap();
    let frame = picture.frames().next().unwrap();
    (picture.canvas().width, picture.canvas().height, frame.samples.to_vec())
}

fn refused(svg: &str, draw_side: u32) -> RefusalCode {
    Refusal::from(decode(&task(draw_side), svg.as_bytes(), &mut vec![0; 4_100_000]).unwrap_err()).code
}

fn svg(attributes: &str, inner: &str) -> String {
    format!("<svg xmlns='http://www.w3.org/2000/svg' {attributes}>{inner}</svg>")
}

#[test]
fn it_is_drawn_at_its_size_or_the_policy_s() {
    let red = svg("width='8' height='4'", "<rect width='4' height='4' fill='#ff0000' fill-opacity='.5'/>");
    let (width, height, samples) = drawn(&red, 0);
    assert_eq!((width, height), (8, 4));
    assert_eq!(samples[..4], [255, 0, 0, 128]);
    assert_eq!(samples[7 * 4..8 * 4], [0; 4]);
    let (width, height, samples) = drawn(&red, 100);
    assert_eq!((width, height), (100, 50));
    assert_eq!(samples[49 * 4..50 * 4], [255, 0, 0, 128]);
    assert_eq!(samples[50 * 4..51 * 4], [0; 4]);
}

#[test]
fn text_is_drawn() {
    let text = svg("width='90' height='30'", "<text y='20' font-family='Unheard-of'>Lazaret</text>");
    assert!(drawn(&text, 0).2.chunks(4).filter(|pixel| pixel[3] > 0).count() > 100);
}

#[test]
fn images_within_are_not_drawn() {
    let png = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAIAAACQd1PeAAAADElEQVR4nGP4z8AAAAMBAQDJ/pLvAAAAAElFTkSuQmCC";
    for href in
        [format!("data:image/png;base64,{png}"), "/etc/hostname".to_owned(), "http://127.0.0.1/a.png".to_owned()]
    {
        let image = svg("width='8' height='8'", &format!("<image href='{href}' width='8' height='8'/>"));
        assert!(drawn(&image, 0).2.iter().all(|&sample| sample == 0), "{href}");
    }
}

#[test]
fn limits() {
    assert_eq!(refused(&svg("width='5000' height='5000'", ""), 0), RefusalCode::PixelLimit);
    assert_eq!(refused(&svg("width='9' height='9'", ""), 4000), RefusalCode::PixelLimit);
    assert_eq!(refused(&svg("width='1e30' height='1'", ""), 0), RefusalCode::PixelLimit);
    assert_eq!(refused(&svg("width='0' height='1'", ""), 0), RefusalCode::DecodeFailed);
    assert_eq!(refused("<svg/>", 0), RefusalCode::Unparsable);
    assert_eq!(refused(&svg("", "<g id='a'><use href='#a'/></g>"), 0), RefusalCode::Unparsable);
}

#[test]
fn blurs_wider_than_any_picture_are_refused_wherever_they_are() {
    let blur = |deviation: &str, rest: &str| {
        let filter = format!("<filter id='f'><feGaussianBlur stdDeviation='{deviation}'/></filter>");
        svg("width='64' height='64'", &format!("{filter}{rest}"))
    };
    let square = "<rect width='64' height='64' filter='url(#f)'/>";
    drawn(&blur("2", square), 0);
    drawn(&blur("100000", square), 0);
    assert_eq!(refused(&blur("1e9", square), 1000), RefusalCode::DecodeFailed);
    assert_eq!(refused(&blur("0 1e30", square), 0), RefusalCode::DecodeFailed);
    assert_eq!(refused(&blur("1e5", &format!("<g transform='scale(100)'>{square}</g>")), 0), RefusalCode::DecodeFailed);
    let masked = format!("<mask id='m'>{square}</mask><rect width='64' height='64' mask='url(#m)'/>");
    assert_eq!(refused(&blur("1e9", &masked), 0), RefusalCode::DecodeFailed);
}
