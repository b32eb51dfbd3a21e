//! The arrows between the crates, as `cargo metadata` has them.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result};
use cargo_metadata::{DependencyKind, Metadata, MetadataCommand, Package, PackageId};

/// Each crate with the crates of this workspace it may depend on.
const ARROWS: &[(&str, &[&str])] = &[
    ("lazaret-amqp", &["lazaret-core"]),
    ("lazaret-core", &[]),
    ("lazaret-events", &["lazaret-core"]),
    ("lazaret-queue", &["lazaret-amqp", "lazaret-core"]),
    ("lazaret-objects", &["lazaret-core"]),
    ("lazaret-sessions", &["lazaret-core"]),
    ("lazaret-scanners", &["lazaret-core"]),
    ("lazaret-sinks", &["lazaret-amqp", "lazaret-core"]),
    ("lazaret-sandbox", &["lazaret-core"]),
    ("lazaret-pipeline", &["lazaret-core"]),
    ("lazaret-transform", &["lazaret-sandbox", "lazaret-core"]),
    (
        "lazaret",
        &[
            "lazaret-core",
            "lazaret-events",
            "lazaret-queue",
            "lazaret-objects",
            "lazaret-sessions",
            "lazaret-scanners",
            "lazaret-sandbox",
            "lazaret-sinks",
            "lazaret-pipeline",
        ],
    ),
    ("lazaret-testkit", &["lazaret-core"]),
    ("xtask", &[]),
    ("lazaret-tests", &["lazaret-core", "lazaret-sessions", "lazaret-testkit"]),
];

/// What a crate's own tests may use beside: the fakes, the core's words, and here and there a real neighbour.
const TESTS_OF_ALL: &[&str] = &["lazaret-testkit", "lazaret-core"];
const TESTS_OF: &[(&str, &str)] = &[
    ("lazaret-pipeline", "lazaret-queue"),
    ("lazaret-pipeline", "lazaret-sessions"),
    ("lazaret-scanners", "lazaret-sandbox"),
];

/// Crates that read images, by their names or what those begin with.
const DECODERS: &[&str] = &["image", "png", "gif", "webp", "libwebp-sys", "tiff", "moxcms", "lcms2", "turbojpeg"];
const DECODER_FAMILIES: &[&str] = &[
    "zune-",
    "image-webp",
    "jpeg-",
    "mozjpeg",
    "libheif",
    "dav1d",
    "rav1",
    "re_rav1d",
    "resvg",
    "usvg",
    "tiny-skia",
    "lopdf",
];

/// What reaches the network, the disk or a vendor.
const VENDORS: &[&str] = &[
    "aws-",
    "axum",
    "clamav",
    "hyper",
    "landlock",
    "lapin",
    "libc",
    "reqwest",
    "rusqlite",
    "rustix",
    "s3s",
    "seccompiler",
    "sqlx",
    "yara",
];
const RUNTIMES: &[&str] = &["tokio", "async-std", "smol", "mio"];

#[test]
fn crates_depend_on_each_other_as_the_design_says() -> Result<()> {
    let metadata = metadata()?;
    let ours: BTreeSet<&str> = metadata.workspace_packages().iter().map(|package| package.name.as_str()).collect();
    let listed: BTreeSet<&str> = ARROWS.iter().map(|(name, _)| *name).collect();
    assert_eq!(ours, listed, "every crate of the workspace has its line in this test");
    for (name, allowed) in ARROWS {
        for dependency in &package(&metadata, name)?.dependencies {
            let target = dependency.name.as_str();
            let for_tests = dependency.kind == DependencyKind::Development
                && (TESTS_OF_ALL.contains(&target) || TESTS_OF.contains(&(name, target)));
            let arrow = for_tests || allowed.contains(&target);
            assert!(arrow || !ours.contains(target), "{name} must not depend on {target}");
        }
    }
    Ok(())
}

#[test]
fn the_testkit_is_for_tests_only() -> Result<()> {
    let metadata = metadata()?;
    // That one is nothing but tests.
    for package in metadata.workspace_packages().into_iter().filter(|package| package.name.as_str() != "lazaret-tests")
    {
        assert!(!normal(package).any(|name| name == "lazaret-testkit"), "{} uses it", package.name);
    }
    Ok(())
}

#[test]
fn the_core_does_no_io_and_the_pipeline_names_no_vendor() -> Result<()> {
    let metadata = metadata()?;
    for (name, forbidden) in [("lazaret-core", [VENDORS, RUNTIMES].concat()), ("lazaret-pipeline", VENDORS.to_vec())] {
        for dependency in normal(package(&metadata, name)?) {
            assert!(!forbidden.iter().any(|start| dependency.starts_with(start)), "{name} depends on {dependency}");
        }
    }
    Ok(())
}

#[test]
fn images_are_decoded_in_the_jail_only() -> Result<()> {
    let metadata = metadata()?;
    for package in metadata.workspace_packages() {
        let decoders: Vec<_> = normal(package).filter(|name| is_decoder(name)).collect();
        let allowed = package.name.as_str() == "lazaret-transform";
        assert!(allowed || decoders.is_empty(), "{} depends on {decoders:?}", package.name);
        assert!(!allowed || !decoders.is_empty(), "the list of decoders knows none of {}'s", package.name);
    }
    Ok(())
}

/// Not even through somebody else's crate.
#[test]
fn the_program_holds_no_decoder() -> Result<()> {
    let metadata = metadata()?;
    let reached = reachable(&metadata, "lazaret")?;
    assert!(reached.contains("tokio"), "the graph was not followed: {reached:?}");
    let decoders: Vec<_> = reached.iter().filter(|name| is_decoder(name)).collect();
    assert!(decoders.is_empty(), "lazaret holds {decoders:?}");
    assert!(reachable(&metadata, "lazaret-transform")?.iter().any(|name| is_decoder(name)));
    Ok(())
}

fn is_decoder(name: &str) -> bool {
    DECODERS.contains(&name) || DECODER_FAMILIES.iter().any(|start| name.starts_with(start))
}

fn metadata() -> Result<Metadata> {
    let options = ["--locked", "--filter-platform", "x86_64-unknown-linux-gnu"].map(str::to_owned).to_vec();
    Ok(MetadataCommand::new().current_dir(env!("CARGO_MANIFEST_DIR")).other_options(options).exec()?)
}

fn package<'a>(metadata: &'a Metadata, name: &str) -> Result<&'a Package> {
    let packages = metadata.workspace_packages();
    packages.into_iter().find(|package| package.name.as_str() == name).with_context(|| format!("no crate {name}"))
}

fn normal(package: &Package) -> impl Iterator<Item = &str> {
    let tests = DependencyKind::Development;
    package.dependencies.iter().filter(move |dependency| dependency.kind != tests).map(|found| found.name.as_str())
}

/// Everything that is linked into `name`.
fn reachable(metadata: &Metadata, name: &str) -> Result<BTreeSet<String>> {
    let graph = metadata.resolve.as_ref().context("no resolved graph")?;
    let nodes: BTreeMap<&PackageId, _> = graph.nodes.iter().map(|node| (&node.id, node)).collect();
    let mut open = vec![&package(metadata, name)?.id];
    let mut seen = BTreeSet::new();
    while let Some(id) = open.pop() {
        if !seen.insert(id) {
            continue;
        }
        let linked = |dependency: &&cargo_metadata::NodeDep| {
            dependency.dep_kinds.iter().any(|kind| kind.kind == DependencyKind::Normal)
        };
        open.extend(nodes.get(id).into_iter().flat_map(|node| &node.deps).filter(linked).map(|found| &found.pkg));
    }
    Ok(seen.into_iter().map(|id| metadata[id].name.to_string()).collect())
}
