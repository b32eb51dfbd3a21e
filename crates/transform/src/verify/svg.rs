//! A drawing once more: it is what this program writes, and nothing in it acts or leads elsewhere.

use roxmltree::{Document, Node, ParsingOptions};

use super::expected::Expected;
use crate::sanitise::svg::{self, SVG, is_allowed_attribute, is_allowed_element};

/// Looks at the whole file; the error says what is wrong with it.
pub(crate) fn verify(bytes: &[u8]) -> Result<(), String> {
    let mut expected = Expected::new(bytes);
    svg::write_anew(bytes, &mut expected).map_err(|failure| format!("it changes when written anew: {failure}"))?;
    expected.end()?;
    let text = std::str::from_utf8(bytes).map_err(|error| error.to_string())?;
    // By itself, without the walk that decided what comes through, and without document types.
    let document = Document::parse_with_options(text, ParsingOptions::default()).map_err(|error| error.to_string())?;
    if document.root().children().any(|node| !node.is_element() && !node.is_text()) || text.contains("<!") {
        return Err("something stands beside its root".to_owned());
    }
    document.descendants().filter(Node::is_element).try_for_each(check)
}

fn check(node: Node<'_, '_>) -> Result<(), String> {
    let name = node.tag_name();
    if name.namespace() != Some(SVG) || !is_allowed_element(name.name()) {
        return Err(format!("an element {} is left in it", name.name()));
    }
    for attribute in node.attributes() {
        let (name, value) = (attribute.name(), attribute.value());
        let lower = value.to_ascii_lowercase();
        let leads_out = lower.contains("javascript:") || lower.contains("data:") || !urls_stay(&lower);
        let is_known = match name {
            "href" => value.starts_with('#'),
            "style" | "space" | "lang" => true,
            name => is_allowed_attribute(name),
        };
        if leads_out || !is_known || name.starts_with("on") {
            return Err(format!("an attribute {name} is left in it"));
        }
    }
    let sheet = (name.name() == "style").then(|| node.text().unwrap_or_default().to_ascii_lowercase());
    if sheet.is_some_and(|sheet| sheet.contains(['@', '\\']) || !urls_stay(&sheet)) {
        return Err("a style sheet in it leads elsewhere".to_owned());
    }
    Ok(())
}

fn urls_stay(lower: &str) -> bool {
    // Functions that take an address as a string.
    if ["image(", "image-set(", "src("].iter().any(|function| lower.contains(function)) {
        return false;
    }
    let inner = lower.split("url(").skip(1).map(|rest| rest.trim_start_matches([' ', '\t', '\n', '\'', '"']));
    inner.into_iter().all(|rest| rest.starts_with('#'))
}
