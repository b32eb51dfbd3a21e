//! A PDF once more: it is what this program writes, and nothing in it acts.

use lopdf::{Dictionary, Document, LoadOptions, Object};

use super::expected::Expected;
use crate::sanitise::{
    pdf::{
        self,
        rules::{ANNOTATIONS, FORBIDDEN_ACTIONS, FORBIDDEN_KEYS, FORBIDDEN_TYPES, is_safe_link},
    },
    spelled,
};

/// Looks at the whole file; the error says what is wrong with it.
pub(crate) fn verify(bytes: &[u8]) -> Result<(), String> {
    if let Some(word) = spelled::find(bytes) {
        return Err(format!("it spells {word:?}"));
    }
    // No object, byte or order of its own came through: to write it anew changes nothing, to its last byte.
    let mut expected = Expected::new(bytes);
    pdf::write_anew(bytes, &mut expected).map_err(|failure| format!("it changes when written anew: {failure}"))?;
    expected.end()?;
    let options = LoadOptions { strict: true, max_decompressed_size: Some(0), ..LoadOptions::default() };
    let document = Document::load_mem_with_options(bytes, options).map_err(|error| error.to_string())?;
    document.objects.values().try_for_each(|object| check(&document, object))
}

fn check(document: &Document, object: &Object) -> Result<(), String> {
    match object {
        Object::Array(items) => items.iter().try_for_each(|item| check(document, item)),
        Object::Dictionary(dict) => check_dictionary(document, dict),
        Object::Stream(stream) => check_dictionary(document, &stream.dict),
        _ => Ok(()),
    }
}

/// By itself, without the walk that decided what comes through.
fn check_dictionary(document: &Document, dict: &Dictionary) -> Result<(), String> {
    let name = |key: &[u8]| dict.get_deref(key, document).ok().and_then(|value| value.as_name().ok());
    let is_one_of = |key: &[u8], forbidden: &[&[u8]]| name(key).is_some_and(|name| forbidden.contains(&name));
    if is_one_of(b"S", FORBIDDEN_ACTIONS) || is_one_of(b"Type", FORBIDDEN_TYPES) {
        return Err("an action or a file is left in it".to_owned());
    }
    if name(b"Type") == Some(b"Annot") && name(b"Subtype").is_none_or(|kind| !ANNOTATIONS.contains(&kind)) {
        return Err("an annotation is left in it that is more than seen".to_owned());
    }
    if let Ok(Object::String(uri, _)) = dict.get_deref(b"URI", document)
        && !is_safe_link(uri)
    {
        return Err("a link is left in it that leads to no web page".to_owned());
    }
    for (key, value) in dict {
        if FORBIDDEN_KEYS.contains(&key.as_slice()) && !is_drawn(document, value) {
            return Err(format!("{} is left in it", String::from_utf8_lossy(key)));
        }
        check(document, value)?;
    }
    Ok(())
}

/// Whether a value is a font, an image or the like, which may have any name.
fn is_drawn(document: &Document, value: &Object) -> bool {
    let value = match value {
        Object::Reference(id) => document.get_object(*id).ok(),
        direct => Some(direct),
    };
    let is = |dict: &Dictionary, key: &[u8], names: &[&[u8]]| {
        dict.get_deref(key, document).ok().and_then(|value| value.as_name().ok()).is_some_and(|it| names.contains(&it))
    };
    match value {
        Some(Object::Stream(stream)) => is(&stream.dict, b"Subtype", &[b"Image", b"Form"]),
        Some(Object::Dictionary(dict)) if dict.has(b"S") || dict.has(b"F") => false,
        Some(Object::Dictionary(dict)) => is(dict, b"Type", &[b"Font", b"ExtGState", b"Pattern"]),
        _ => false,
    }
}
