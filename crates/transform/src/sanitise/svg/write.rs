//! The one form in which drawings are written.

use roxmltree::{Attribute, Document, Node};

use super::{
    MAX_DEPTH,
    allowed::{SVG, XLINK, XML, is_allowed_attribute, is_allowed_element, is_allowed_value, is_fragment},
    css, unparsable,
};
use crate::failure::Failure;

/// Writes the root and what is in it.
pub(super) fn write(document: &Document<'_>, output: &mut String) -> Result<(), Failure> {
    element(document.root_element(), "svg", output, 0)?;
    output.push('\n');
    Ok(())
}

fn element(node: Node<'_, '_>, name: &str, output: &mut String, depth: usize) -> Result<(), Failure> {
    if depth > MAX_DEPTH {
        return Err(unparsable(format_args!("more than {MAX_DEPTH} elements are within each other")));
    }
    output.push('<');
    output.push_str(name);
    if depth == 0 {
        output.extend([" xmlns=\"", SVG, "\" xmlns:xlink=\"", XLINK, "\""]);
    }
    // The newer of two references counts (SVG 2, 16.1.6); a link that became a group has none.
    let is_link = node.tag_name().name() == "a";
    let has_reference = node.attributes().any(|it| it.name() == "href" && it.namespace().is_none());
    for attribute in node.attributes() {
        let is_reference = attribute.name() == "href";
        if !(is_reference && (is_link || (has_reference && attribute.namespace().is_some()))) {
            write_attribute(&attribute, output);
        }
    }
    let start = output.len();
    output.push('>');
    if name == "style" {
        let text = node.children().filter_map(|child| child.text()).collect::<String>();
        escape(&css::sheet(&text), false, output);
    } else {
        children(node, name, output, depth)?;
    }
    if output.len() == start + 1 {
        output.truncate(start);
        output.push_str("/>");
    } else {
        output.extend(["</", name, ">"]);
    }
    Ok(())
}

fn children(node: Node<'_, '_>, name: &str, output: &mut String, depth: usize) -> Result<(), Failure> {
    for child in node.children() {
        if let Some(text) = child.text().filter(|_| child.is_text()) {
            escape(text, false, output);
        } else if child.is_element() && child.tag_name().namespace() == Some(SVG) {
            match child.tag_name().name() {
                // What a link shows stays.
                "a" => element(child, if is_text(name) { "tspan" } else { "g" }, output, depth + 1)?,
                name if is_allowed_element(name) => element(child, name, output, depth + 1)?,
                _ => {}
            }
        }
    }
    Ok(())
}

fn is_text(name: &str) -> bool {
    matches!(name, "text" | "tspan" | "textPath")
}

fn write_attribute(attribute: &Attribute<'_, '_>, output: &mut String) {
    let (name, value) = (attribute.name(), attribute.value());
    let written = match (attribute.namespace(), name) {
        (None | Some(XLINK), "href") => is_fragment(value.trim()).then(|| ("xlink:href", value.trim().to_owned())),
        (None, "style") => Some(("style", css::declarations(value))).filter(|(_, value)| !value.is_empty()),
        (None, name) => (is_allowed_attribute(name) && is_allowed_value(value)).then(|| (name, value.to_owned())),
        (Some(XML), "space") => Some(("xml:space", value.to_owned())),
        (Some(XML), "lang") => Some(("xml:lang", value.to_owned())),
        _ => None,
    };
    if let Some((name, value)) = written {
        output.extend([" ", name, "=\""]);
        escape(&value, true, output);
        output.push('"');
    }
}

fn escape(text: &str, is_attribute: bool, output: &mut String) {
    for c in text.chars() {
        match c {
            '&' => output.push_str("&amp;"),
            '<' => output.push_str("&lt;"),
            '>' => output.push_str("&gt;"),
            '"' => output.push_str("&quot;"),
            // Written as they are, they would be read as something else (XML 1.0, 2.11 and 3.3.3).
            '\r' => output.push_str("&#13;"),
            '\n' if is_attribute => output.push_str("&#10;"),
            '\t' if is_attribute => output.push_str("&#9;"),
            c => output.push(c),
        }
    }
}
