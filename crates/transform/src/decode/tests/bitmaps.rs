use image::{DynamicImage, ImageFormat as Codec, Rgba, RgbaImage};
use lazaret_sandbox::{
    format::{Decode, ImageFormat, MultiPage},
    picture::Layout,
};
use tiff::{
    encoder::{Compression, TiffEncoder, colortype, compression::DeflateLevel},
    tags::Tag,
};

use super::{BLUE, GREEN, RED, RefusalCode, WHITE, encoded, quarters, refused, shown, task};

fn rgba(side: u32) -> RgbaImage {
    RgbaImage::from_fn(side, side, |x, y| Rgba([x, y, 90, 255 - y].map(|value| u8::try_from(value % 256).unwrap())))
}

#[test]
fn bitmaps_are_read_whole() {
    let grey = DynamicImage::from(quarters()).into_luma8();
    let found = shown(&task(ImageFormat::Bmp), &encoded(quarters(), Codec::Bmp));
    assert_eq!((found.frames[0].0.layout, found.samples()), (Layout::Rgb, quarters().as_raw().as_slice()));
    let found = shown(&task(ImageFormat::Bmp), &encoded(grey.clone(), Codec::Bmp));
    assert_eq!(found.samples().len(), found.frames[0].0.layout.pixel_bytes() * grey.len());
    let bytes = encoded(quarters(), Codec::Bmp);
    for cut in [1, 20, 60, bytes.len() / 2, bytes.len() - 1] {
        refused(&task(ImageFormat::Bmp), &bytes[..cut]);
    }
}

#[test]
fn bitmaps_of_few_colours_run_lengths_and_top_down() {
    let header = |height: i32, bits: u16, compression: u32, data: &[u8]| {
        let palette = [RED, GREEN, BLUE, WHITE].map(|[r, g, b]| [b, g, r, 0]).concat();
        let offset = 14 + 40 + u32::try_from(palette.len()).unwrap();
        let size = offset + u32::try_from(data.len()).unwrap();
        let mut bytes = [b"BM", &size.to_le_bytes()[..], &[0; 4], &offset.to_le_bytes()].concat();
        bytes.extend(40_u32.to_le_bytes().iter().chain(&4_i32.to_le_bytes()).chain(&height.to_le_bytes()));
        bytes.extend(1_u16.to_le_bytes().iter().chain(&bits.to_le_bytes()).chain(&compression.to_le_bytes()));
        bytes.extend([0; 12].iter().chain(&4_u32.to_le_bytes()).chain(&[0; 4]).chain(&palette).chain(data));
        bytes
    };
    let expected = [RED, RED, GREEN, GREEN, BLUE, BLUE, BLUE, WHITE].concat();
    let upright: [(i32, u16, u32, &[u8]); 3] = [
        // From the bottom, four bits a pixel; in runs; from the top.
        (2, 4, 0, &[0x22, 0x23, 0, 0, 0x00, 0x11, 0, 0]),
        (2, 8, 1, &[3, 2, 1, 3, 0, 0, 2, 0, 2, 1, 0, 1]),
        (-2, 8, 0, &[0, 0, 1, 1, 2, 2, 2, 3]),
    ];
    for (height, bits, compression, data) in upright {
        let found = shown(&task(ImageFormat::Bmp), &header(height, bits, compression, data));
        assert_eq!(found.size(), (4, 2));
        assert_eq!(found.samples(), expected, "{height} {bits} {compression}");
    }
    // Lines that end one by one, the last one too, and what is behind them.
    let lines = [3, 2, 1, 3, 0, 0, 2, 0, 2, 1, 0, 0];
    for (below, is_refused) in [
        (&[0_u8, 1][..], false),
        (&[0, 0, 0, 1], false),
        (&[2, 1, 0, 1], true),
        (&[0, 2, 0, 1, 0, 3, 1, 1, 1, 0, 0, 1], true),
    ] {
        let bytes = header(2, 8, 1, &[&lines, below].concat());
        if is_refused {
            let detail = refused(&task(ImageFormat::Bmp), &bytes).detail;
            assert_eq!(detail.as_str(), "a bitmap whose runs go on below its last line");
        } else {
            assert_eq!(shown(&task(ImageFormat::Bmp), &bytes).samples(), expected, "{below:?}");
        }
    }
}

/// An icon with these images.
fn icon(images: &[(u8, &[u8])]) -> Vec<u8> {
    let count = u16::try_from(images.len()).unwrap();
    let mut bytes = [&[0, 0, 1, 0], count.to_le_bytes().as_slice()].concat();
    let mut offset = 6 + 16 * u32::from(count);
    for (side, image) in images {
        let len = u32::try_from(image.len()).unwrap();
        bytes.extend([*side, *side, 0, 0, 1, 0, 32, 0].iter().chain(&len.to_le_bytes()).chain(&offset.to_le_bytes()));
        offset += len;
    }
    for (_, image) in images {
        bytes.extend_from_slice(image);
    }
    bytes
}

#[test]
fn of_an_icon_the_largest_image_is_shown() {
    let ico = task(ImageFormat::Ico);
    let (small, large) = (encoded(rgba(16), Codec::Png), encoded(rgba(48), Codec::Png));
    let found = shown(&ico, &icon(&[(48, &large), (16, &small)]));
    assert_eq!(found.samples(), rgba(48).as_raw().as_slice());
    // 0 is 256, and what lies in it is what counts.
    assert_eq!(shown(&ico, &icon(&[(48, &large), (0, &small)])).size(), (16, 16));

    // A bitmap of 32 bits without a file header, twice as high for its mask.
    let mut bitmap = [40_u32, 2, 4].map(u32::to_le_bytes).concat();
    bitmap.extend([1, 0, 32, 0].iter().chain(&[0; 24]));
    bitmap.extend([[1, 2, 3, 255], [4, 5, 6, 128], [7, 8, 9, 255], [10, 11, 12, 0]].concat());
    bitmap.extend([0; 8]);
    let found = shown(&ico, &icon(&[(2, &bitmap)]));
    assert_eq!(found.samples(), [[9, 8, 7, 255], [12, 11, 10, 0], [3, 2, 1, 255], [6, 5, 4, 128]].concat());

    for broken in [icon(&[]), icon(&[(16, &small)])[..30].to_vec(), icon(&[(16, b"neither")])] {
        assert_eq!(refused(&ico, &broken).code, RefusalCode::DecodeFailed);
    }
}

/// Pages of the quarters, compressed in this way.
fn tiff_of(pages: usize, compression: Compression, tags: &[(Tag, u16)]) -> Vec<u8> {
    let mut bytes = std::io::Cursor::new(Vec::new());
    let mut encoder = TiffEncoder::new(&mut bytes).unwrap().with_compression(compression);
    for _ in 0..pages {
        let mut image = encoder.new_image::<colortype::RGB8>(64, 32).unwrap();
        for (tag, value) in tags {
            image.encoder().write_tag(*tag, *value).unwrap();
        }
        image.write_data(&quarters()).unwrap();
    }
    bytes.into_inner()
}

fn tiff() -> Decode {
    task(ImageFormat::Tiff)
}

#[test]
fn strips_of_every_compression_are_read() {
    let all =
        [Compression::Uncompressed, Compression::Lzw, Compression::Deflate(DeflateLevel::Fast), Compression::Packbits];
    for compression in all {
        let bytes = tiff_of(1, compression, &[]);
        let found = shown(&tiff(), &bytes);
        assert_eq!((found.frames[0].0.layout, found.samples()), (Layout::Rgb, quarters().as_raw().as_slice()));
        for part in [0, 10, 50, 90] {
            refused(&tiff(), &bytes[..bytes.len() * part / 100]);
        }
    }
}

#[test]
fn sixteen_bits_alpha_and_inks_are_eight_bits_of_light() {
    let mut bytes = std::io::Cursor::new(Vec::new());
    let mut encoder = TiffEncoder::new(&mut bytes).unwrap();
    encoder.write_image::<colortype::Gray16>(3, 1, &[0, 0x8080, 0xffff]).unwrap();
    assert_eq!(shown(&tiff(), bytes.get_ref()).samples(), [0, 0x80, 0xff]);

    let mut bytes = std::io::Cursor::new(Vec::new());
    let mut encoder = TiffEncoder::new(&mut bytes).unwrap();
    encoder.write_image::<colortype::CMYK8>(2, 1, &[255, 0, 0, 0, 0, 0, 0, 255]).unwrap();
    assert_eq!(shown(&tiff(), bytes.get_ref()).samples(), [0, 255, 255, 0, 0, 0]);

    let mut bytes = std::io::Cursor::new(Vec::new());
    let mut encoder = TiffEncoder::new(&mut bytes).unwrap();
    let mut image = encoder.new_image::<colortype::RGBA8>(1, 1).unwrap();
    // Alpha that is multiplied in.
    image.encoder().write_tag(Tag::ExtraSamples, [1_u16].as_slice()).unwrap();
    image.write_data(&[100, 50, 0, 128]).unwrap();
    assert_eq!(shown(&tiff(), bytes.get_ref()).samples(), [199, 100, 0, 128]);
}

#[test]
fn a_palette_is_looked_up() {
    let mut bytes = std::io::Cursor::new(Vec::new());
    let mut encoder = TiffEncoder::new(&mut bytes).unwrap();
    let mut image = encoder.new_image::<colortype::Gray8>(2, 2).unwrap();
    let colours = [RED, GREEN, BLUE, WHITE];
    let mut map = [0_u16; 3 * 256];
    for (index, colour) in colours.iter().enumerate() {
        for (channel, value) in colour.iter().enumerate() {
            map[channel * 256 + index] = u16::from(*value) << 8;
        }
    }
    image.encoder().write_tag(Tag::PhotometricInterpretation, 3_u16).unwrap();
    image.encoder().write_tag(Tag::ColorMap, map.as_slice()).unwrap();
    image.write_data(&[0, 1, 2, 3]).unwrap();
    assert_eq!(shown(&tiff(), bytes.get_ref()).samples(), colours.concat());
}

#[test]
fn the_orientation_tag_turns_the_image() {
    let found = shown(&tiff(), &tiff_of(1, Compression::Lzw, &[(Tag::Orientation, 6)]));
    assert_eq!(found.size(), (32, 64));
    assert_eq!(found.samples()[..3], BLUE);
}

#[test]
fn pages_are_held_unless_the_first_is_wanted() {
    let bytes = tiff_of(3, Compression::Lzw, &[]);
    let refusal = refused(&tiff(), &bytes);
    assert_eq!(refusal.code, RefusalCode::MultiPage);
    assert_eq!(refusal.detail.as_str(), "3 pages, of which only the first would be published");
    let first = shown(&Decode { pages: MultiPage::First, ..tiff() }, &bytes);
    assert_eq!(first.samples(), quarters().as_raw().as_slice());
}

#[test]
fn planes_and_circles_are_refused() {
    let refusal = refused(&tiff(), &tiff_of(1, Compression::Lzw, &[(Tag::PlanarConfiguration, 2)]));
    assert_eq!(refusal.detail.as_str(), "a TIFF with a plane for each colour is not supported");
    let mut circle = tiff_of(1, Compression::Uncompressed, &[]);
    let directory = u32::from_le_bytes(circle[4..8].try_into().unwrap()) as usize;
    let count = usize::from(u16::from_le_bytes([circle[directory], circle[directory + 1]]));
    let next = directory + 2 + count * 12;
    let start = circle[4..8].to_vec();
    circle[next..next + 4].copy_from_slice(&start);
    assert_eq!(refused(&tiff(), &circle).detail.as_str(), "the directories of a TIFF are a circle");
}
