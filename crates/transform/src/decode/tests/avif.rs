use lazaret_sandbox::{
    format::{Decode, ImageFormat},
    picture::Layout,
};

use super::{BLUE, GREEN, RED, Shown, WHITE, refused, shown, task};

/// Quarters of 16 by 8 pixels, written by libavif.
macro_rules! avif {
    ($name:literal) => {
        include_bytes!(concat!("../../../tests/avif/", $name, ".avif"))
    };
}

fn avif() -> Decode {
    task(ImageFormat::Avif)
}

/// The corners from the top left, clockwise, well inside of the quarters.
fn corners(shown: &Shown) -> [[u8; 3]; 4] {
    let (width, height) = shown.size();
    let bytes = shown.frames[0].0.layout.pixel_bytes();
    [(3, 3), (width - 4, 3), (width - 4, height - 4), (3, height - 4)].map(|(x, y)| {
        let at = (y * width + x) as usize * bytes;
        shown.samples()[at..at + 3].try_into().unwrap()
    })
}

fn close(found: &[[u8; 3]; 4], expected: &[[u8; 3]; 4], by: u8) -> bool {
    found.iter().flatten().zip(expected.iter().flatten()).all(|(found, expected)| found.abs_diff(*expected) <= by)
}

#[test]
fn every_depth_sampling_and_range_shows_the_same() {
    let files: [(&str, &[u8]); 6] = [
        ("4:2:0", avif!("420")),
        ("4:2:2", avif!("422")),
        ("4:4:4", avif!("444")),
        ("limited range", avif!("limited")),
        ("ten bits", avif!("10-bits")),
        ("twelve bits", avif!("12-bits")),
    ];
    for (name, bytes) in files {
        let found = shown(&avif(), bytes);
        assert_eq!((found.size(), found.frames[0].0.layout), ((32, 16), Layout::Rgb), "{name}");
        assert!(close(&corners(&found), &[RED, GREEN, WHITE, BLUE], 6), "{name}: {:?}", corners(&found));
    }
    let grey = shown(&avif(), avif!("400"));
    assert_eq!(grey.frames[0].0.layout, Layout::Grey);
    // The luma of red and of white.
    assert!(grey.samples()[0].abs_diff(87) <= 2 && grey.samples()[511].abs_diff(250) <= 2);
}

#[test]
fn alpha_is_an_image_of_its_own() {
    let found = shown(&avif(), avif!("alpha"));
    assert_eq!(found.frames[0].0.layout, Layout::Rgba);
    assert!(close(&corners(&found), &[RED, GREEN, WHITE, BLUE], 6));
    assert!(found.samples()[3].abs_diff(80) <= 1 && found.samples()[4 * 31 + 3] == 255);
}

#[test]
fn turns_and_mirrors_are_upright() {
    // As of the orientations 2 to 8 of EXIF, which the writer put into irot and imir.
    let files: [&[u8]; 7] = [
        avif!("turned-2"),
        avif!("turned-3"),
        avif!("turned-4"),
        avif!("turned-5"),
        avif!("turned-6"),
        avif!("turned-7"),
        avif!("turned-8"),
    ];
    let corners_of = [
        [GREEN, RED, BLUE, WHITE],
        [WHITE, BLUE, RED, GREEN],
        [BLUE, WHITE, GREEN, RED],
        [RED, BLUE, WHITE, GREEN],
        [BLUE, RED, GREEN, WHITE],
        [WHITE, GREEN, RED, BLUE],
        [GREEN, WHITE, BLUE, RED],
    ];
    for ((orientation, bytes), expected) in (2..).zip(files).zip(corners_of) {
        let found = shown(&avif(), bytes);
        assert!(close(&corners(&found), &expected, 6), "{orientation}: {:?}", corners(&found));
    }
}

#[test]
fn a_sequence_shows_the_still_image_in_front() {
    let found = shown(&avif(), avif!("sequence"));
    assert!(!found.canvas.animated);
    assert!(close(&corners(&found), &[RED, GREEN, WHITE, BLUE], 8));
}

#[test]
fn what_is_cut_or_lies_is_refused() {
    let bytes = avif!("444");
    for cut in 0..bytes.len() {
        refused(&avif(), &bytes[..cut]);
    }
    let size = bytes.windows(4).position(|window| window == b"ispe").unwrap() + 8;
    for (side, expected) in [
        (64_u32, "an AVIF image is not as large as it says"),
        (20_000, "20000x16 has a side over 16384 pixels"),
        (0, "an image of 0x16 pixels has none"),
    ] {
        let mut lying = bytes.to_vec();
        lying[size..size + 4].copy_from_slice(&side.to_be_bytes());
        assert_eq!(refused(&avif(), &lying).detail.as_str(), expected);
    }
    let mut grid = bytes.to_vec();
    let kind = grid.windows(4).position(|window| window == b"av01").unwrap();
    grid[kind..kind + 4].copy_from_slice(b"grid");
    assert_eq!(refused(&avif(), &grid).detail.as_str(), "an AVIF that is a grid of images is not supported");
    // The number of its extents, behind two sizes, the number of items, and this one's id and place.
    let mut empty = bytes.to_vec();
    let extents = empty.windows(4).position(|window| window == b"iloc").unwrap() + 16;
    assert_eq!(empty[extents..extents + 2], [0, 1]);
    empty[extents + 1] = 0;
    assert_eq!(refused(&avif(), &empty).detail.as_str(), "an AVIF image without data");
}
