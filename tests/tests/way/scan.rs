//! `lazaret scan` on folders of files.

use std::{fs, path::Path};

use anyhow::Result;
use lazaret_tests::{
    objects::{eicar, fixture},
    station::Station,
};
use serde_json::Value;
use tempfile::TempDir;

#[tokio::test]
async fn a_folder_gives_an_exit_code_and_a_line_for_each_file() -> Result<()> {
    let station = Station::new().await?;
    let clean = folder(&["photo-gps-rotated.jpg", "page.pdf", "notes.txt"])?;
    let held = folder(&["notes.txt", "encrypted.zip"])?;
    let rejected = folder(&["notes.txt", "encrypted.zip", "eicar-nested.zip.b64", "program.png"])?;
    fs::write(rejected.path().join("eicar.txt"), eicar())?;

    for (folder, code, outcomes) in [
        (&clean, 0, [("notes.txt", "clean"), ("page.pdf", "clean"), ("photo-gps-rotated.jpg", "clean")].as_slice()),
        (&held, 4, &[("encrypted.zip", "held/encrypted"), ("notes.txt", "clean")]),
        (
            &rejected,
            3,
            &[
                ("eicar-nested.zip", "rejected/infected"),
                ("eicar.txt", "rejected/infected"),
                ("encrypted.zip", "held/encrypted"),
                ("notes.txt", "clean"),
                ("program.png", "rejected/"),
            ],
        ),
    ] {
        let path = folder.path().to_string_lossy().into_owned();
        let json = station.run(&["scan", "--output", "json", &path])?;
        assert_eq!(json.code, Some(code), "{json:?}");
        let findings: Vec<Value> = serde_json::from_str(&json.stdout)?;
        let found: Vec<_> = findings.iter().map(|finding| (name(finding), outcome(finding))).collect();
        assert_eq!(found.len(), outcomes.len(), "{found:?}");
        for ((name, outcome), (expected_name, expected)) in found.iter().zip(outcomes) {
            assert!(name == expected_name && outcome.starts_with(expected), "{name} {outcome}, not {expected}");
        }
        let table = station.run(&["scan", &path])?;
        assert_eq!(table.code, Some(code), "{table:?}");
        for (name, outcome) in outcomes {
            let line = table.stdout.lines().find(|line| line.contains(&format!("/{name} "))).unwrap_or_default();
            let (outcome, reason) = outcome.split_once('/').unwrap_or((outcome, ""));
            assert!(line.contains(outcome) && line.contains(reason), "{name} {outcome}: {}", table.stdout);
        }
    }
    assert!(station.store.keys("").await?.is_empty(), "nothing is stored");
    Ok(())
}

#[tokio::test]
async fn a_declared_type_is_held_against_the_bytes() -> Result<()> {
    let station = Station::new().await?;
    let folder = folder(&["notes.txt"])?;
    let path = folder.path().join("notes.txt").to_string_lossy().into_owned();
    let ended = station.run(&["scan", "--output", "json", "--content-type", "image/png", &path])?;
    assert_eq!(ended.code, Some(3), "{ended:?}");
    let findings: Vec<Value> = serde_json::from_str(&ended.stdout)?;
    assert_eq!(outcome(&findings[0]), "rejected/type-mismatch");
    Ok(())
}

fn folder(names: &[&str]) -> Result<TempDir> {
    let folder = tempfile::tempdir()?;
    for name in names {
        fs::write(folder.path().join(name.trim_end_matches(".b64")), fixture(name)?)?;
    }
    Ok(folder)
}

fn name(finding: &Value) -> String {
    let path = Path::new(finding["file"].as_str().unwrap_or_default());
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

fn outcome(finding: &Value) -> String {
    let text = |key: &str| finding[key].as_str().unwrap_or_default().to_owned();
    let (outcome, reason) = (text("outcome"), text("reason"));
    if reason.is_empty() { outcome } else { format!("{outcome}/{reason}") }
}
