//! Files that are two things at once: what is published is only one of them.

use lazaret_core::{
    ImageOutput, OutputFormat, VariantSize,
    ports::{TransformOutcome, Treatment},
};

use crate::{
    line::{self, Line},
    oracle::{Oracle, Polyglot},
    table::Report,
};

fn treatments(polyglot: &Polyglot) -> Vec<Treatment> {
    let variants = [("small", 24), ("large", 4096)];
    let variants: Vec<_> =
        variants.into_iter().map(|(name, max_side)| VariantSize { name: name.parse().unwrap(), max_side }).collect();
    let drawn =
        |format| Treatment::ReEncode(ImageOutput { format, variants: variants.clone(), ..ImageOutput::default() });
    match polyglot.media_type.as_str() {
        "application/pdf" => vec![Treatment::Sanitise],
        "image/svg+xml" => vec![Treatment::Sanitise, drawn(None), drawn(Some(OutputFormat::WebP))],
        _ => {
            [None, Some(OutputFormat::Jpeg), Some(OutputFormat::Png), Some(OutputFormat::Gif), Some(OutputFormat::WebP)]
                .map(drawn)
                .into()
        }
    }
}

fn holds(bytes: &[u8], payload: &[u8]) -> bool {
    bytes.windows(payload.len()).any(|window| window.eq_ignore_ascii_case(payload))
}

#[tokio::test]
async fn what_is_hidden_in_a_file_is_not_published() {
    let (mut oracle, line) = (Oracle::start(), Line::start());
    let mut report = Report::of(&["polyglot", "became", "bytes", "payloads", ""]);
    for polyglot in oracle.polyglots() {
        let input = std::fs::read(&polyglot.path).unwrap();
        for treatment in treatments(&polyglot) {
            let outcome = line.give(&polyglot.media_type, &input, treatment).await;
            let TransformOutcome::Done(done) = outcome else {
                // A no publishes nothing, but it may not stand for what is expected to be cleaned.
                report.row(&[&polyglot.name], unexpected(&polyglot, &outcome));
                continue;
            };
            for artefact in [&done.object].into_iter().chain(done.variants.iter().map(|(_, artefact)| artefact)) {
                let published = line::bytes(artefact);
                let mut found = None;
                for payload in polyglot.payloads() {
                    let spelled = String::from_utf8_lossy(&payload).into_owned();
                    if holds(&published, &payload) {
                        found = Some(format!("{spelled:?} is in it"));
                    }
                    if artefact.media_type.as_str() == "image/png" {
                        let path = oracle.file("published.png", &published);
                        if holds(&oracle.inflated(&path), &payload) {
                            found = Some(format!("{spelled:?} is in its compressed rows"));
                        }
                    }
                }
                let count = polyglot.payloads().len().to_string();
                let kind = artefact.media_type.to_string();
                report.row(&[&polyglot.name, &kind, &published.len().to_string(), &count], found);
            }
        }
    }
    report.judge();
}

/// Entities in a document are its writer's business: to hold it is an answer too.
fn unexpected(polyglot: &Polyglot, outcome: &TransformOutcome) -> Option<String> {
    let may_be_held = polyglot.name == "svg with entities";
    (!may_be_held).then(|| line::in_short(outcome))
}
