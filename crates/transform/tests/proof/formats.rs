//! Every format in, compared with what Pillow and libvips see of it.

use lazaret_core::{ImageOutput, MultiPage, OutputFormat, ports::TransformOutcome};
use serde_json::json;

use crate::{
    line::{self, Line},
    oracle::{Case, Distance, Judge, Kind, Oracle, Unseen, rival},
    rarities::rarities,
    table::Report,
};

#[tokio::test]
async fn jpeg() {
    compared(&["jpeg"]).await;
}

#[tokio::test]
async fn png() {
    compared(&["png"]).await;
}

#[tokio::test]
async fn animations() {
    compared(&["apng", "gif", "webp"]).await;
}

#[tokio::test]
async fn bitmaps_tiff_and_icons() {
    compared(&["bmp", "tiff", "ico"]).await;
}

#[tokio::test]
async fn avif() {
    compared(&["avif"]).await;
}

#[tokio::test]
async fn jpegs_of_several_scans_and_odd_samplings() {
    let oracle = Oracle::start();
    let named = |(mut case, bytes): (Case, Vec<u8>)| {
        case.path = oracle.file(&case.name.replace(['/', ' ', ','], "-"), &bytes);
        case
    };
    let cases = rarities().into_iter().map(named).collect();
    all(oracle, cases).await;
}

/// Each case as PNG, where nothing is lost after the decoder, and in the format that it has by default.
async fn compared(families: &[&str]) {
    let mut oracle = Oracle::start();
    let cases = oracle.cases(families);
    all(oracle, cases).await;
}

async fn all(mut oracle: Oracle, cases: Vec<Case>) {
    let line = Line::start();
    let mut report = Report::of_distances(&["case", "as", "judge"]);
    for case in cases {
        let input = std::fs::read(&case.path).unwrap();
        for format in [Some(OutputFormat::Png), None] {
            let pages = if case.pages > 1 { MultiPage::First } else { MultiPage::Hold };
            let output = ImageOutput { format, pages, ..ImageOutput::default() };
            let outcome = line.image(&case.media_type, &input, &output).await;
            judge(&mut report, &mut oracle, &case, format, &outcome);
        }
    }
    report.judge();
}

fn judge(
    report: &mut Report,
    oracle: &mut Oracle,
    case: &Case,
    format: Option<OutputFormat>,
    outcome: &TransformOutcome,
) {
    let TransformOutcome::Done(done) = outcome else {
        // Right or refused, never garbage: half of all decoders get these wrong.
        let may_be_refused = case.name.contains("baseline, scans 3")
            || case.name.ends_with("several scans")
            || case.name == "jpeg/cmyk 420, one scan";
        let wanted = if format.is_none() { "default" } else { "png" };
        let outcome = line::in_short(outcome);
        return report.row(&[&case.name, wanted, &outcome], (!may_be_refused).then(|| outcome.clone()));
    };
    let became = done.object.media_type.as_str().trim_start_matches("image/");
    if format.is_none() && became == "png" {
        return;
    }
    let output = oracle.file("output", &line::bytes(&done.object));
    let said = done.object.image.unwrap();
    for &judge in &case.judges {
        let mut to = json!({ "encoder": rival(became, 85) });
        if became == "jpeg" {
            to["background"] = json!([255, 255, 255]);
        }
        // libvips shows the first frame of an animated PNG.
        if case.animated && became == "png" {
            to["b_by"] = json!("hand");
        }
        let cells = [case.name.as_str(), became, judge.name()];
        match oracle.compare(judge, &case.path, &output, &to) {
            Err(Unseen::Input(error)) => report.row(&cells, Some(format!("the judge does not take it: {error}"))),
            Err(Unseen::Output(error)) => report.row(&cells, Some(error)),
            Ok(distance) => {
                let complaint = complaint(case, became, judge, &distance).or_else(|| {
                    let seen = (distance.b.width, distance.b.height, distance.b.frames);
                    let said = (said.width, said.height, said.frames);
                    let frames_known = judge == Judge::Pillow || case.animated || said.2 == 1;
                    (seen != said && frames_known).then(|| format!("{said:?} was announced, {seen:?} is there"))
                });
                report.distance(&cells, &distance, complaint);
            }
        }
    }
}

/// How far a lossy encoder may stay behind Pillow's at the same settings, in decibels and in delta E.
const BEHIND: f64 = 1.0;

/// What is allowed: (PSNR at least, mean delta E at most, largest difference of alpha at most). What a lossy encoder
/// leaves comes on top of how far decoders are apart.
fn allowed(case: &Case, distance: &Distance) -> (f64, f64, u32) {
    let (psnr, delta_e, alpha) = match case.kind {
        Kind::Exact => (100.0, 0.0, 0),
        Kind::Rounded => (48.0, 0.5, 1),
        // Decoders of half the colour resolution interpolate in their own ways: 34.0 dB are the least there is.
        Kind::Near if case.name.starts_with("avif") => (33.0, 4.0, 1),
        // The least there is are 49.1 dB.
        Kind::Near => (48.0, 0.8, 0),
        // ProPhoto, whose primaries are furthest from those of screens: 44.9 dB.
        Kind::Colour => (44.0, 0.8, 1),
    };
    let Some(rival) = distance.reference else { return (psnr, delta_e, alpha) };
    let noise = 10_f64.powf(psnr / -10.0) + 10_f64.powf(rival.psnr / -10.0);
    (-10.0 * noise.log10() - BEHIND, delta_e + rival.delta_e + BEHIND, alpha)
}

fn complaint(case: &Case, became: &str, judge: Judge, distance: &Distance) -> Option<String> {
    let (psnr, delta_e, alpha) = allowed(case, distance);
    // Pictures of one pixel or one row say nothing about an average.
    let tiny = distance.a.width.min(distance.a.height) == 1 && !matches!(case.kind, Kind::Exact);
    if !tiny && (distance.psnr < psnr || distance.delta_e > delta_e || distance.alpha > alpha) {
        return Some(format!("{psnr} dB, delta E {delta_e} and alpha {alpha} are allowed"));
    }
    if !case.animated {
        return None;
    }
    let same_format = case.media_type.ends_with(became);
    if distance.a.delays != distance.b.delays {
        return Some(format!("delays {:?} became {:?}", distance.a.delays, distance.b.delays));
    }
    let plays = (distance.a.plays, distance.b.plays);
    let kept = if same_format {
        plays.0 == plays.1
    } else {
        plays.0.is_none() || (plays.0 == Some(0)) == (plays.1 == Some(0))
    };
    (!kept).then(|| format!("{} said {:?} plays, now {:?}", judge.name(), plays.0, plays.1))
}
