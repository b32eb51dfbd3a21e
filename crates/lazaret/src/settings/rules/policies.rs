//! What the keys of a `[[policy]]` ask of each other and of the rest.

use std::collections::BTreeSet;

use lazaret_core::{Action, Animation, Colour, MAX_VARIANTS, OutputFormat};

use super::{Outcome, Settings, ensure};
use crate::settings::{
    Policy,
    policy::{SANITISABLE, is_re_encodable, re_encodable},
};

/// The longest side of what is made, in pixels.
pub(in crate::settings) const MAX_SIDE: u32 = 16_384;

/// The longest side of a WebP (<https://developers.google.com/speed/webp/faq>).
const MAX_WEBP_SIDE: u32 = 16_383;

/// Bytes of a pixel of the picture between decoder and encoder.
const PIXEL_BYTES: u64 = 4;

pub(super) fn check(settings: &Settings) -> Outcome {
    ensure(
        !settings.policies().is_empty(),
        "policy",
        "without a policy nothing could be published: add one, or leave the key out for the built-in ones",
    )?;
    ensure(
        settings.policies.is_some() || !settings.scanners.is_empty(),
        "scanner",
        "without a scanner nothing may be published: add a [[scanner]], such as clamd",
    )?;
    let mut names = BTreeSet::new();
    for (index, policy) in settings.policies().iter().enumerate() {
        let key = |field: &str| format!("policy[{index}].{field}");
        ensure(
            !policy.name.is_empty() && names.insert(policy.name.clone()),
            key("name"),
            format!("{:?} is empty or used twice: give each policy its own name", policy.name),
        )?;
        scanners(settings, policy, &key)?;
        types(policy, &key)?;
        input(settings, policy, &key)?;
        match (policy.action, policy.first_image_key()) {
            (Action::ReEncode, _) => images(settings, policy, &key)?,
            (Action::Sanitise | Action::AsIs | Action::Reject, Some(unused)) => {
                let message = "only images that are encoded anew have it: action = \"re-encode\"";
                ensure(false, key(unused), message)?;
            }
            (Action::Sanitise | Action::AsIs | Action::Reject, None) => {}
        }
    }
    Ok(())
}

fn scanners(settings: &Settings, policy: &Policy, key: &impl Fn(&str) -> String) -> Outcome {
    ensure(
        policy.action == Action::Reject || !policy.scanners.is_empty(),
        key("scanners"),
        "at least one scanner is expected: nothing is published unscanned",
    )?;
    for name in &policy.scanners {
        ensure(
            settings.scanners.iter().any(|scanner| scanner.name == *name),
            key("scanners"),
            format!("there is no [[scanner]] named {:?}", name.as_str()),
        )?;
    }
    Ok(())
}

fn types(policy: &Policy, key: &impl Fn(&str) -> String) -> Outcome {
    ensure(!policy.types.is_empty(), key("types"), "at least one media type is expected")?;
    for pattern in &policy.types {
        let text = pattern.to_string();
        match policy.action {
            Action::ReEncode => ensure(
                is_re_encodable(&text),
                key("types"),
                format!("{text} cannot be re-encoded: only {}", re_encodable()),
            )?,
            Action::Sanitise => ensure(
                SANITISABLE.contains(&text.as_str()),
                key("types"),
                format!("{text} cannot be sanitised: only {}", SANITISABLE.join(", ")),
            )?,
            Action::AsIs | Action::Reject => {}
        }
    }
    Ok(())
}

/// What is let in fits into the jail.
fn input(settings: &Settings, policy: &Policy, key: &impl Fn(&str) -> String) -> Outcome {
    let is_made_anew = matches!(policy.action, Action::ReEncode | Action::Sanitise);
    let (most, room) = (policy.max_size, settings.sandbox.max_input);
    ensure(
        !is_made_anew || most.is_none_or(|size| size <= room),
        key("max_size"),
        format!("more than sandbox.max_input of {room} is never made anew: lower this one or raise that one"),
    )
}

fn images(settings: &Settings, policy: &Policy, key: &impl Fn(&str) -> String) -> Outcome {
    output(policy, key)?;
    sizes(policy, key)?;
    let (picture, pixels) = (settings.sandbox.max_picture, policy.max_pixels.unwrap_or(0));
    ensure(
        pixels.saturating_mul(PIXEL_BYTES) <= picture.bytes(),
        key("max_pixels"),
        format!("{pixels} pixels of {PIXEL_BYTES} bytes do not fit into sandbox.max_picture of {picture}"),
    )
}

/// What a format does not have is not set for it.
fn output(policy: &Policy, key: &impl Fn(&str) -> String) -> Outcome {
    use OutputFormat::{Gif, Jpeg, Png};

    let output = policy.output;
    ensure(
        policy.quality.is_none_or(|quality| (1..=100).contains(&quality)),
        key("quality"),
        "a quality of 1 to 100 is expected",
    )?;
    ensure(
        policy.quality.is_none() || !matches!(output, Some(Png | Gif)),
        key("quality"),
        "only \"jpeg\" and \"webp\" are lossy: leave it out, or choose another output",
    )?;
    ensure(
        policy.background.is_none() || output == Some(Jpeg),
        key("background"),
        "it is seen where transparent images become JPEG: output = \"jpeg\"",
    )?;
    ensure(
        policy.animation != Some(Animation::Keep) || output != Some(Jpeg),
        key("animation"),
        "a JPEG has one frame: choose another output, or \"first-frame\"",
    )?;
    ensure(
        policy.colour != Some(Colour::Keep) || output != Some(Gif),
        key("colour"),
        "a GIF has no colour profile: choose another output, or \"srgb\"",
    )?;
    ensure(
        policy.pages.is_none() || policy.types.iter().any(|pattern| pattern.to_string() == "image/tiff"),
        key("pages"),
        "only image/tiff has pages, which is not among the types",
    )
}

fn sizes(policy: &Policy, key: &impl Fn(&str) -> String) -> Outcome {
    let most = if policy.output == Some(OutputFormat::WebP) { MAX_WEBP_SIDE } else { MAX_SIDE };
    let in_range = |field: &str, side: u32| {
        let message = format!("{side} pixels: 1 to {most} are expected");
        ensure((1..=most).contains(&side), key(field), message)
    };
    if let Some(side) = policy.resize_to {
        in_range("resize_to", side)?;
    }
    let Some(variants) = &policy.variants else { return Ok(()) };
    ensure(
        (1..=MAX_VARIANTS).contains(&variants.len()),
        key("variants"),
        format!("{} variants: 1 to {MAX_VARIANTS} are expected", variants.len()),
    )?;
    for (name, side) in variants {
        let field = format!("variants.{name}");
        in_range(&field, *side)?;
        let whole = policy.resize_to.unwrap_or(most);
        let message = format!("{side} pixels are more than the image itself has: resize_to = {whole}");
        ensure(*side <= whole, key(&field), message)?;
    }
    Ok(())
}
