//! `lazaret session show`.

use anyhow::{Context as _, Result};
use comfy_table::Cell;
use lazaret_core::{Finding, PublishedImage, PublishedVariant, ScanReport, UploadId, ports::SessionStore};

use super::{unknown, view::Story};
use crate::{cli::Output, output, settings::Settings, wiring};

pub(super) async fn run(settings: &Settings, id: UploadId, form: Output) -> Result<()> {
    let sessions = wiring::sessions(settings).await?;
    let session = sessions.get(id).await?.with_context(|| unknown(id))?;
    let history = sessions.history(id).await.context("the story of the session cannot be read")?;
    let story = Story::of(session, history);
    match form {
        Output::Json => output::json(&story),
        Output::Table => print(&story),
    }
}

fn print(story: &Story) -> Result<()> {
    output::show(&facts(story))?;
    if !story.verdicts.is_empty() {
        let mut table = output::table(&["scanner", "finding", "engine", "signatures", "ms"]);
        for report in &story.verdicts {
            table.add_row([
                report.scanner.to_string(),
                finding(report),
                report.engine.engine.clone(),
                output::or_dash(report.engine.signatures.as_ref()),
                report.elapsed_ms.to_string(),
            ]);
        }
        output::show(&table)?;
    }
    if !story.attempt_history.is_empty() {
        let mut table = output::table(&["attempt", "worker", "began", "result", "error"]);
        for attempt in &story.attempt_history {
            table.add_row([
                attempt.fence.to_string(),
                attempt.worker.to_string(),
                format!("{:.0}", attempt.began_at),
                output::or_dash(attempt.result.as_ref()),
                output::or_dash(attempt.error.as_ref()),
            ]);
        }
        output::show(&table)?;
    }
    let mut table = output::table(&["when", "who", "what", "to", "reason", "detail"]);
    for record in &story.audit {
        table.add_row([
            Cell::new(format!("{:.0}", record.at)),
            Cell::new(&record.actor),
            Cell::new(&record.action),
            output::state(record.to),
            Cell::new(output::or_dash(record.reason)),
            Cell::new(output::or_dash(record.detail.as_ref())),
        ]);
    }
    output::show(&table)
}

fn facts(story: &Story) -> comfy_table::Table {
    let declared = &story.declared;
    let mut rows = vec![
        ("upload_id", story.upload_id.to_string()),
        ("state", story.state.to_string()),
        ("reason", output::or_dash(story.reason)),
        ("detail", output::or_dash(story.detail.as_ref())),
        ("tenant", story.tenant.clone()),
        ("file_name", story.file_name.clone()),
        ("declared", format!("{}, {} bytes", declared.media_type, declared.size)),
        ("quarantined", format!("{}/{}", story.bucket, story.key)),
    ];
    if let Some(source) = &story.source {
        let kind = output::or_dash(source.detected_type.as_ref());
        rows.push(("found", format!("{kind}, {} bytes, sha256 {}", source.size, output::or_dash(source.sha256))));
    }
    if let Some(published) = &story.published {
        rows.push(("published", format!("{}/{}", published.bucket, published.key)));
        rows.push(("", format!("{}, {} bytes", published.content_type, published.size)));
        rows.extend(published.image.iter().flat_map(image));
    }
    rows.push(("attempts", story.attempts.to_string()));
    rows.push(("created_at", format!("{:.0}", story.created_at)));
    rows.push(("expires_at", format!("{:.0}", story.expires_at)));
    if let Some(at) = story.original_deleted_at {
        rows.push(("original", format!("deleted {at:.0}")));
    }
    if let Some(at) = story.published_deleted_at {
        rows.push(("published copies", format!("deleted {at:.0}")));
    }
    output::pairs(rows)
}

fn image(image: &PublishedImage) -> Vec<(&'static str, String)> {
    let frames = if image.frames > 1 { format!(", {} frames", image.frames) } else { String::new() };
    let mut rows = vec![("", format!("{} x {} pixels{frames}", image.width, image.height))];
    rows.extend(image.thumbhash.iter().map(|hash| ("thumbhash", hash.clone())));
    for (index, variant) in image.variants.iter().enumerate() {
        rows.push((if index == 0 { "variants" } else { "" }, format!("{}: {}", variant.name, variant.key)));
        let PublishedVariant { content_type, size, width, height, .. } = variant;
        rows.push(("", format!("{content_type}, {size} bytes, {width} x {height} pixels")));
    }
    rows
}

fn finding(report: &ScanReport) -> String {
    let mut text = match &report.finding {
        Finding::Clean => "clean".to_owned(),
        Finding::Infected { signature } => format!("infected: {signature}"),
        Finding::Unscannable { reason, detail } => format!("{reason}: {detail}"),
    };
    if let Some(entry) = report.allowed_by {
        text = format!("{text}, allowed by list entry {entry}");
    }
    if let Some(upload) = report.reused_from {
        text = format!("{text}, as of upload {upload}");
    }
    text
}

#[cfg(test)]
mod tests {
    use lazaret_core::PublishedKey;

    use super::*;

    #[test]
    fn an_image_is_shown_with_its_variants() {
        let object = "01935f3e-0000-7000-8000-000000000001";
        let variant = |name: &str, width, height| PublishedVariant {
            name: name.parse().unwrap(),
            key: PublishedKey::from_key(format!("published/{object}/{name}").parse().unwrap()),
            sha256: lazaret_core::Sha256Digest::from_bytes([1; 32]),
            size: 4096,
            content_type: "image/webp".parse().unwrap(),
            width,
            height,
        };
        let animated = PublishedImage {
            width: 1224,
            height: 1632,
            frames: 6,
            thumbhash: Some("3OcRJYB4d3h/iIeHeEh3eIhw+j2w".to_owned()),
            variants: vec![variant("thumb", 192, 256), variant("web", 1200, 1600)],
        };
        let lines: Vec<_> = image(&animated).into_iter().map(|(name, text)| format!("{name:9} {text}")).collect();
        insta::assert_snapshot!(lines.join("\n"), @r"
                  1224 x 1632 pixels, 6 frames
        thumbhash 3OcRJYB4d3h/iIeHeEh3eIhw+j2w
        variants  thumb: published/01935f3e-0000-7000-8000-000000000001/thumb
                  image/webp, 4096 bytes, 192 x 256 pixels
                  web: published/01935f3e-0000-7000-8000-000000000001/web
                  image/webp, 4096 bytes, 1200 x 1600 pixels
        ");
        let still = PublishedImage { frames: 1, thumbhash: None, variants: Vec::new(), ..animated };
        assert_eq!(image(&still), [("", "1224 x 1632 pixels".to_owned())]);
    }
}
