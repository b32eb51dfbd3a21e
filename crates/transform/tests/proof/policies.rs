//! What a policy makes of an image, compared with what Pillow and libvips make of it.

use lazaret_core::{
    Animation, Colour, HoldReason, ImageOutput, MultiPage, OutputFormat, VariantSize,
    ports::{Artefact, TransformOutcome, Transformed},
};
use serde_json::{Value, json};

use crate::{
    line::{self, Line},
    oracle::{Case, Judge, Oracle, rival},
    table::Report,
};

struct Bench {
    oracle: Oracle,
    line: Line,
    report: Report,
}

impl Bench {
    fn start() -> Self {
        Self { oracle: Oracle::start(), line: Line::start(), report: Report::of_distances(&["case", "judge"]) }
    }

    fn case(&mut self, name: &str) -> Case {
        let (family, _) = name.split_once('/').unwrap();
        self.oracle.cases(&[family]).into_iter().find(|case| case.name == name).unwrap()
    }

    async fn done(&self, case: &Case, output: &ImageOutput) -> Transformed {
        match self.line.image(&case.media_type, &std::fs::read(&case.path).unwrap(), output).await {
            TransformOutcome::Done(done) => done,
            other => panic!("{}: {}", case.name, line::in_short(&other)),
        }
    }

    /// Compares what was made, at this quality, with the file after what was done `to` it: where an encoder loses
    /// something with what Pillow's loses, else with `psnr`.
    fn near(
        &mut self,
        what: &str,
        case: &Case,
        (artefact, quality): (&Artefact, u8),
        judge: Judge,
        to: &Value,
        psnr: f64,
    ) {
        let path = self.oracle.file("artefact", &line::bytes(artefact));
        let mut to = to.clone();
        to["encoder"] = rival(artefact.media_type.as_str().trim_start_matches("image/"), quality);
        let cells = [what, judge.name()];
        match self.oracle.compare(judge, &case.path, &path, &to) {
            Ok(distance) => {
                let behind = if what.contains(" kept in ") { BEHIND_WIDE } else { BEHIND };
                let psnr = distance.reference.map_or(psnr, |rival| rival.psnr - behind);
                let complaint = (distance.psnr < psnr).then(|| format!("{psnr:.1} dB are wanted"));
                self.report.distance(&cells, &distance, complaint);
            }
            Err(error) => self.report.row(&cells, Some(format!("{error:?}"))),
        }
    }
}

/// How far a lossy encoder may stay behind Pillow's at the same settings, in decibels.
const BEHIND: f64 = 1.0;
/// The same where ours encodes a wide gamut, in which errors are larger once they are shown in sRGB, and Pillow's sRGB:
/// the most there is are 4.7, in `ProPhoto`.
const BEHIND_WIDE: f64 = 5.0;
const BOTH: [Judge; 2] = [Judge::Pillow, Judge::Vips];

#[tokio::test]
async fn sizes_and_variants() {
    let mut bench = Bench::start();
    for (name, format) in [
        ("png/rgba-8", OutputFormat::Png),
        ("jpeg/orientation-6", OutputFormat::Jpeg),
        ("webp/lossless-alpha", OutputFormat::WebP),
        ("png/palette-8-alpha", OutputFormat::Png),
        ("gif/transparent", OutputFormat::Png),
        ("jpeg/icc-display-p3", OutputFormat::WebP),
    ] {
        let case = bench.case(name);
        let size = |name: &str, max_side| VariantSize { name: name.parse().unwrap(), max_side };
        let output = ImageOutput {
            format: Some(format),
            max_side: Some(64),
            quality: 92,
            variants: vec![size("thumb", 16), size("web", 48), size("huge", 5000)],
            ..ImageOutput::default()
        };
        let done = bench.done(&case, &output).await;
        let names: Vec<_> = done.variants.iter().map(|(name, _)| name.as_str().to_owned()).collect();
        assert_eq!(names, ["thumb", "web", "huge"]);
        assert!(done.thumbhash.as_ref().is_some_and(|hash| (5..=25).contains(&hash.len())), "{:?}", done.thumbhash);
        let sides = [64, 16, 48];
        let artefacts = [&done.object].into_iter().chain(done.variants.iter().map(|(_, artefact)| artefact));
        for (at, artefact) in artefacts.enumerate() {
            let seen = artefact.image.unwrap();
            if let Some(&side) = sides.get(at) {
                assert_eq!((seen.width.max(seen.height), seen.frames), (side, 1), "{name} {at}");
            } else {
                // Never larger than the image that was sent.
                assert!(seen.width.max(seen.height) <= 101, "{name}: {seen:?}");
            }
            for judge in BOTH {
                let what = format!("{name} to {} x {}", seen.width, seen.height);
                // Resampling in other precision leaves 42.4 dB and more.
                bench.near(&what, &case, (artefact, 92), judge, &json!({ "fit": true }), 42.0);
            }
        }
    }
    bench.report.judge();
}

#[tokio::test]
async fn what_is_clear_is_flattened_on_the_background() {
    let mut bench = Bench::start();
    for name in ["png/rgba-8", "png/palette-8-alpha", "png/grey-alpha-8", "webp/lossy-alpha", "gif/transparent"] {
        let case = bench.case(name);
        let output = ImageOutput {
            format: Some(OutputFormat::Jpeg),
            background: [200, 30, 90],
            quality: 95,
            ..ImageOutput::default()
        };
        let done = bench.done(&case, &output).await;
        for judge in BOTH {
            let to = json!({ "background": [200, 30, 90] });
            bench.near(&format!("{name} as jpeg"), &case, (&done.object, 95), judge, &to, 100.0);
        }
    }
    bench.report.judge();
}

#[tokio::test]
async fn animations_go_to_other_formats_or_to_their_first_frame() {
    let mut bench = Bench::start();
    for name in ["gif/disposal-1", "webp/animated-lossless", "apng/previous-over"] {
        let case = bench.case(name);
        for format in [OutputFormat::Gif, OutputFormat::WebP, OutputFormat::Png, OutputFormat::Jpeg] {
            for animation in [Animation::Keep, Animation::FirstFrame] {
                let output = ImageOutput { format: Some(format), animation, ..ImageOutput::default() };
                let done = bench.done(&case, &output).await;
                let still = animation == Animation::FirstFrame || format == OutputFormat::Jpeg;
                let frames = done.object.image.unwrap().frames;
                assert_eq!(frames == 1, still, "{name} to {format:?}: {frames} frames");
                let mut to = json!({ "first": still });
                if format == OutputFormat::Jpeg {
                    to["background"] = json!([255, 255, 255]);
                }
                let what = format!("{name} to {format:?}, {frames} frames");
                // 256 colours for what had more, and alpha on or off: 16.3 dB, most of them lost at edges half clear.
                let psnr = if format == OutputFormat::Gif && !name.starts_with("gif") { 16.0 } else { 100.0 };
                bench.near(&what, &case, (&done.object, 85), Judge::Pillow, &to, psnr);
            }
        }
    }
    bench.report.judge();
}

#[tokio::test]
async fn a_document_of_pages_is_held_unless_the_policy_takes_the_first() {
    let mut bench = Bench::start();
    let case = bench.case("tiff/three-pages");
    let input = std::fs::read(&case.path).unwrap();
    let outcome = bench.line.image(&case.media_type, &input, &ImageOutput::default()).await;
    assert!(
        matches!(&outcome, TransformOutcome::Held { reason: HoldReason::MultiPage, .. }),
        "{}",
        line::in_short(&outcome)
    );
    let output = ImageOutput { pages: MultiPage::First, ..ImageOutput::default() };
    let done = bench.done(&case, &output).await;
    for judge in BOTH {
        bench.near("the first page", &case, (&done.object, 85), judge, &json!({}), 100.0);
    }
    bench.report.judge();
}

/// A wide gamut that is kept shows the same colours as before to whoever reads profiles, and the profile is ours.
#[tokio::test]
async fn a_wide_gamut_can_be_kept() {
    let mut bench = Bench::start();
    for family in ["jpeg", "png"] {
        for profile in ["display-p3", "adobe-rgb", "prophoto", "swapped", "linear"] {
            let case = bench.case(&format!("{family}/icc-{profile}"));
            for format in [OutputFormat::Png, OutputFormat::Jpeg, OutputFormat::WebP] {
                let output =
                    ImageOutput { format: Some(format), colour: Colour::Keep, quality: 95, ..ImageOutput::default() };
                let done = bench.done(&case, &output).await;
                let published = line::bytes(&done.object);
                let theirs = std::fs::read(&case.path).unwrap();
                assert!(theirs.windows(4).any(|window| window == b"none") || family == "png");
                assert!(!published.windows(4).any(|window| window == b"none"), "the sender's profile was copied");
                for judge in BOTH {
                    let what = format!("{} kept in {format:?}", case.name);
                    // ProPhoto is 44.9 dB away, because libraries read its profile with other precision.
                    bench.near(&what, &case, (&done.object, 95), judge, &json!({}), 44.0);
                }
            }
        }
    }
    bench.report.judge();
}
