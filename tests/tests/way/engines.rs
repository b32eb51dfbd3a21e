//! Scanners of every kind, and what becomes of objects that an engine does not look at.

#[cfg(feature = "yara")]
use std::time::Duration;
use std::{
    fs,
    io::{Cursor, Write},
    os::unix::fs::PermissionsExt,
    path::Path,
};

use anyhow::{Context, Result};
use lazaret_tests::{
    clamd::{CANARY, MARKER, MARKER_SIGNATURE, OwnClamd},
    objects::{Upload, eicar},
    station::Station,
    wait::until_true,
};

use crate::SETTLED_WITHIN;

const SIGNATURES: [(&str, &str); 2] = [("test.ndb", MARKER_SIGNATURE), ("canary.ndb", CANARY)];

/// Every way past an engine's limits that clamd with stock settings answers with `OK`.
async fn nothing_is_published_that_clamd_passes_over(lines: &[&str]) -> Result<()> {
    let clamd = OwnClamd::start(&SIGNATURES, lines).await?;
    let mut station = Station::new().await?;
    station.set("scanner.0.address", clamd.address());
    station.set("scanner.0.max_size", "25MiB");
    station.set("policy", "[{ name = \"all\", types = [\"*/*\"], action = \"as-is\", scanners = [\"clamd\"] }]");
    let worker = station.worker("worker").await?;
    let mut cases = Vec::new();
    for (upload, outcomes) in hidden()? {
        cases.push((station.submit(&upload).await?, upload, outcomes));
    }
    for (created, upload, outcomes) in &cases {
        let shown = station.settled(&created.upload_id, SETTLED_WITHIN).await?;
        let detail = shown.story.get("detail").and_then(|detail| detail.as_str()).unwrap_or_default();
        println!("{}: {}, {detail}", upload.file_name, shown.outcome());
        assert!(outcomes.contains(&shown.outcome().as_str()), "{}: {}, {detail}", upload.file_name, shown.outcome());
        assert!(shown.published.is_none() && !detail.is_empty(), "{}", upload.file_name);
    }
    assert!(station.store.published().await?.is_empty());
    drop(worker);
    Ok(())
}

/// The marker where no engine with stock settings finds it, and what may become of it.
fn hidden() -> Result<Vec<(Upload, &'static [&'static str])>> {
    const LIMITS: &[&str] = &["held/scan-limits"];
    const ENCRYPTED: &[&str] = &["held/encrypted"];
    // clamd may look at what lies behind the bomb, and then it finds it.
    const LIMITS_OR_FOUND: &[&str] = &["held/scan-limits", "rejected/infected"];
    const ZIP: &str = "application/zip";
    let archive = |name: &str, media_type: &str| -> Result<Upload> {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures/archives").join(name);
        Ok(Upload::new(name, media_type, fs::read(&path).with_context(|| path.display().to_string())?))
    };
    let behind = [vec![b' '; 30_000_000], MARKER.to_vec()].concat();
    let mut deep = MARKER.to_vec();
    for _ in 0..25 {
        deep = zip_of(&[("inside", &deep)])?;
    }
    let bomb = zip_of(&[("bomb", &vec![0; 300_000_000]), ("inside", MARKER)])?;
    Ok(vec![
        (Upload::new("behind.txt", "text/plain", behind), LIMITS),
        (Upload::new("25-deep.zip", ZIP, deep), LIMITS),
        (Upload::new("behind-a-bomb.zip", ZIP, bomb), LIMITS_OR_FOUND),
        (archive("encrypted-aes.zip", ZIP)?, ENCRYPTED),
        (archive("encrypted.7z", "application/x-7z-compressed")?, ENCRYPTED),
        (archive("encrypted-headers.7z", "application/x-7z-compressed")?, ENCRYPTED),
        (archive("encrypted-4.rar", "application/vnd.rar")?, ENCRYPTED),
        (archive("encrypted-5.rar", "application/vnd.rar")?, ENCRYPTED),
        // Debian's clamd unpacks no RAR and calls each one clean.
        (archive("stored-5.rar", "application/vnd.rar")?, LIMITS),
    ])
}

fn zip_of(members: &[(&str, &[u8])]) -> Result<Vec<u8>> {
    let mut writer = zip::ZipWriter::new(Cursor::new(Vec::new()));
    for (name, bytes) in members {
        writer.start_file(*name, zip::write::SimpleFileOptions::default())?;
        writer.write_all(bytes)?;
    }
    Ok(writer.finish()?.into_inner())
}

#[tokio::test]
async fn what_a_stock_clamd_passes_over_is_held() -> Result<()> {
    nothing_is_published_that_clamd_passes_over(&[]).await
}

#[tokio::test]
async fn what_a_clamd_with_alerts_passes_over_is_held() -> Result<()> {
    nothing_is_published_that_clamd_passes_over(&["AlertExceedsMax yes", "AlertEncrypted yes"]).await
}

/// clamd stops looking after its `MaxScanTime` and says `OK`.
#[tokio::test]
async fn what_clamd_had_no_time_for_is_held() -> Result<()> {
    for lines in [&["MaxScanTime 200"][..], &["MaxScanTime 200", "AlertExceedsMax yes"]] {
        let lines = [lines, &["MaxFileSize 100M", "MaxScanSize 100M", "StreamMaxLength 100M"]].concat();
        let clamd = OwnClamd::start(&[("test.ndb", MARKER_SIGNATURE)], &lines).await?;
        let mut station = Station::new().await?;
        station.set("scanner.0.address", clamd.address());
        station.set("scanner.0.max_size", "100MiB");
        station.set("scanner.0.max_scan_time", "200ms");
        let worker = station.worker("worker").await?;
        let slow = [b"text without an end\n".repeat(4_000_000), MARKER.to_vec()].concat();
        let created = station.submit(&Upload::new("slow.txt", "text/plain", slow)).await?;
        let shown = station.settled(&created.upload_id, SETTLED_WITHIN).await?;
        assert!(["held/scan-limits", "rejected/infected"].contains(&shown.outcome().as_str()), "{:?}", shown.story);
        println!("{lines:?}: {}, {:?}", shown.outcome(), shown.story.get("detail"));
        assert!(station.store.published().await?.is_empty());
        drop(worker);
    }
    Ok(())
}

#[tokio::test]
async fn a_clamd_that_loses_the_canary_calls_nothing_clean() -> Result<()> {
    let clamd = OwnClamd::start(&SIGNATURES, &["AlertExceedsMax yes", "AlertEncrypted yes"]).await?;
    let mut station = Station::new().await?;
    station.set("scanner.0.address", clamd.address());
    station.set("scanner.0.max_size", "25MiB");
    station.set("scanner.0.canaries", "required");
    let worker = station.worker("worker").await?;
    let before = station.submit(&Upload::text("before the reload")).await?;
    assert_eq!(station.settled(&before.upload_id, SETTLED_WITHIN).await?.outcome(), "published");

    clamd.reload(&[("test.ndb", MARKER_SIGNATURE)])?;
    until_true("it is not ready, and says why", SETTLED_WITHIN, async || {
        let (status, body) = station.get("/readyz").await?;
        Ok(status == 503 && body.contains("canary"))
    })
    .await?;
    let meanwhile = station.submit(&Upload::text("while the canary is missing")).await?;
    let doctor = station.run(&["doctor", "--output", "json"])?;
    assert_eq!(doctor.code, Some(1), "{doctor:?}");
    assert!(doctor.stdout.contains("canary"), "{}", doctor.stdout);
    let shown = station.show(&meanwhile.upload_id)?;
    assert!(!shown.is_settled(), "{:?}", shown.story);

    clamd.reload(&SIGNATURES)?;
    let shown = station.settled(&meanwhile.upload_id, SETTLED_WITHIN).await?;
    assert_eq!(shown.outcome(), "published");
    assert_eq!(shown.story["attempts"], 1, "no attempt was burnt: {:?}", shown.story);
    assert_eq!(station.store.published().await?.len(), 2);
    drop(worker);
    Ok(())
}

/// A program that an operator wrote finds what it looks for; one that misbehaves holds its objects and no others.
#[tokio::test]
async fn a_program_scans_without_a_rebuild() -> Result<()> {
    let mut station = Station::new().await?;
    let example = concat!(env!("CARGO_MANIFEST_DIR"), "/../crates/scanners/examples/eicar.py");
    let program = station.folder.path().join("eicar.py");
    fs::copy(example, &program).context(example)?;
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755))?;
    station.set("scanner.1.name", "mine");
    station.set("scanner.1.kind", "exec");
    station.set("scanner.1.command", format!("[{:?}]", program.display().to_string()));
    let worker = station.worker("worker").await?;
    let clean = station.submit(&Upload::text("nothing in here")).await?;
    let infected = station.submit(&Upload::new("eicar.com.txt", "text/plain", eicar())).await?;
    let shown = station.settled(&clean.upload_id, SETTLED_WITHIN).await?;
    assert_eq!(shown.outcome(), "published", "{:?}", shown.story);
    let scanners: Vec<_> = shown.records("verdicts").iter().map(|verdict| verdict["scanner"].clone()).collect();
    assert_eq!(scanners, ["clamd", "mine"]);
    assert_eq!(station.settled(&infected.upload_id, SETTLED_WITHIN).await?.outcome(), "rejected/infected");
    drop(worker);
    Ok(())
}

/// What a scanner that misbehaves does to its objects.
#[tokio::test]
async fn a_program_that_misbehaves_publishes_nothing_and_harms_nobody() -> Result<()> {
    const PROGRAMS: [(&str, &str); 5] = [
        ("nonsense", "#!/bin/sh\necho nonsense\n"),
        ("crash", "#!/bin/sh\nkill -SEGV $$\n"),
        ("hang", "#!/bin/sh\nwhile :; do :; done\n"),
        ("flood", "#!/bin/sh\nwhile :; do echo xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx; done\n"),
        ("fork", "#!/bin/sh\n/bin/true && echo '{\"verdict\":\"clean\"}'\n"),
    ];
    for (name, text) in PROGRAMS {
        let mut station = Station::new().await?;
        let program = station.folder.path().join(name);
        // It answers what is asked of it when no object is there, as a scanner that works does.
        let text = text.replacen('\n', "\n[ \"$1\" = --version ] && { echo \"bad 1\"; exit 0; }\n", 1);
        fs::write(&program, text)?;
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755))?;
        station.set("scanner.1.name", "mine");
        station.set("scanner.1.kind", "exec");
        station.set("scanner.1.timeout", "2s");
        station.set("scanner.1.command", format!("[{:?}]", program.display().to_string()));
        station.set("worker.max_attempts", "2");
        let policies = "[{ name = \"both\", types = [\"text/*\"], action = \"as-is\", scanners = [\"clamd\", \"mine\"] }, \
                        { name = \"one\", types = [\"image/png\"], action = \"re-encode\", scanners = [\"clamd\"] }]";
        station.set("policy", policies);
        let worker = station.worker("worker").await?;
        let held = station.submit(&Upload::text(name)).await?;
        let other = station.submit(&Upload::fixture("16-bit.png", "image/png")?).await?;
        assert_eq!(station.settled(&other.upload_id, SETTLED_WITHIN).await?.outcome(), "published", "beside {name}");
        let shown = station.settled(&held.upload_id, SETTLED_WITHIN).await?;
        println!("{name}: {}, {:?}", shown.outcome(), shown.records("attempts").last());
        assert_eq!(shown.outcome(), "held/scanner-error", "{name}: {:?}", shown.story);
        assert_eq!(station.store.published().await?.len(), 1, "{name}");
        drop(worker);
    }
    Ok(())
}

#[cfg(feature = "yara")]
#[tokio::test]
async fn yara_rules_are_in_force_within_seconds_and_broken_ones_are_not() -> Result<()> {
    const NEW: &str = "rule tulip : reject { meta: author = \"a team\" strings: $a = \"tulip\" condition: $a }\n";
    let mut station = Station::new().await?;
    let rules = station.folder.path().join("rules");
    fs::create_dir(&rules)?;
    fs::write(rules.join("first.yar"), "rule rose : hold { strings: $a = \"rose\" condition: $a }\n")?;
    station.set("scanner.1.name", "rules");
    station.set("scanner.1.kind", "yara");
    station.set("scanner.1.rules", rules.display().to_string());
    let worker = station.worker("worker").await?;
    let outcome = async |text: &str| -> Result<String> {
        let created = station.submit(&Upload::text(text)).await?;
        Ok(station.settled(&created.upload_id, SETTLED_WITHIN).await?.outcome())
    };
    assert_eq!(outcome("a rose").await?, "held/flagged");
    assert_eq!(outcome("a tulip").await?, "published");

    fs::write(rules.join("second.yar"), NEW)?;
    let mut count = 0;
    until_true("the new rule is in force", Duration::from_secs(10), async || {
        count += 1;
        Ok(outcome(&format!("tulip {count}")).await? == "rejected/infected")
    })
    .await?;

    fs::write(rules.join("third.yar"), "rule broken {\n  condition: nothing_of_that_name\n}\n")?;
    until_true("it says where the rules are broken", Duration::from_secs(10), async || {
        let (status, body) = station.get("/readyz").await?;
        Ok(status == 503 && body.contains("third.yar:2"))
    })
    .await?;
    assert_eq!(outcome("another tulip").await?, "rejected/infected", "the rules before are in force");
    assert_eq!(outcome("another rose").await?, "held/flagged");
    let doctor = station.run(&["doctor", "--output", "json"])?;
    assert_eq!(doctor.code, Some(1), "{doctor:?}");
    assert!(doctor.stdout.contains("third.yar:2"), "{}", doctor.stdout);

    fs::remove_file(rules.join("third.yar"))?;
    until_true("it is ready again", Duration::from_secs(20), async || Ok(station.get("/readyz").await?.0 == 200))
        .await?;
    drop(worker);
    Ok(())
}

/// What was published under yesterday's signatures and is found by today's is withdrawn, and nothing else is.
#[tokio::test]
async fn a_rescan_revokes_what_new_signatures_find_and_nothing_else() -> Result<()> {
    let alerts = ["AlertExceedsMax yes", "AlertEncrypted yes"];
    let clamd = OwnClamd::start(&SIGNATURES, &alerts).await?;
    let mut station = Station::new().await?;
    station.set("scanner.0.address", clamd.address());
    station.set("scanner.0.max_size", "25MiB");
    let worker = station.worker("worker").await?;
    let mut sent = Vec::new();
    for text in ["a rose is a rose", "a tulip, unknown yesterday", "a daisy", "more of the tulip, unknown yesterday"] {
        let created = station.submit(&Upload::text(text)).await?;
        assert_eq!(station.settled(&created.upload_id, SETTLED_WITHIN).await?.outcome(), "published");
        sent.push((created, text.contains("tulip")));
    }
    assert_eq!(station.run(&["rescan"])?.code, Some(0), "nothing is new");

    let new = format!("Tulip-Test:0:*:{}\n", hex::encode("tulip, unknown yesterday"));
    clamd.reload(&[SIGNATURES[0], SIGNATURES[1], ("new.ndb", &new)])?;
    until_true("clamd knows the new signature", SETTLED_WITHIN, async || {
        Ok(station.run(&["rescan", "--dry-run"])?.code == Some(3))
    })
    .await?;
    assert_eq!(station.store.published().await?.len(), sent.len(), "a dry run withdraws nothing");
    let rescanned = station.run(&["rescan", "--output", "json"])?;
    assert_eq!(rescanned.code, Some(3), "{rescanned:?}");
    for (created, is_found) in &sent {
        let shown = station.show(&created.upload_id)?;
        let expected = if *is_found { "revoked/infected" } else { "published" };
        assert_eq!(shown.outcome(), expected, "{:?}", shown.story);
    }
    assert_eq!(station.store.published().await?.len(), 2);
    assert_eq!(station.run(&["rescan"])?.code, Some(0), "what is revoked is not looked at again");
    drop(worker);
    Ok(())
}
