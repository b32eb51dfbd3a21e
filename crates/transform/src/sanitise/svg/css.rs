//! Style sheets: rules with selectors and properties that are known. What is not understood is left out.

use super::allowed::{is_allowed_property, is_allowed_value};

/// The rules of a style sheet that come through, one a line. Nothing of a sheet with escapes does.
pub(super) fn sheet(text: &str) -> String {
    let Some(text) = without_comments(text) else { return String::new() };
    let mut written = String::new();
    let mut rest = text.trim_start();
    while !rest.is_empty() {
        if rest.starts_with('@') {
            rest = behind_at_rule(rest).trim_start();
            continue;
        }
        let Some((selector, block)) = rest.split_once('{') else { break };
        let Some((declarations_text, behind)) = block.split_once('}') else { break };
        rest = behind.trim_start();
        let selector = selector.trim();
        let kept = declarations(declarations_text);
        if is_allowed_selector(selector) && !kept.is_empty() {
            written.extend([selector, "{", &kept, "}\n"]);
        }
    }
    written
}

/// The declarations that come through.
pub(super) fn declarations(text: &str) -> String {
    let Some(text) = without_comments(text) else { return String::new() };
    let kept = text.split(';').filter_map(|declaration| {
        let (name, value) = declaration.split_once(':')?;
        let (name, value) = (name.trim(), value.trim());
        let is_allowed = is_allowed_property(name) && !value.is_empty() && is_allowed_value(value) && is_closed(value);
        is_allowed.then(|| format!("{name}:{value}"))
    });
    kept.collect::<Vec<_>>().join(";")
}

/// The text without comments, or `None` where it has escapes, with which anything can be spelled.
fn without_comments(text: &str) -> Option<String> {
    if text.contains('\\') {
        return None;
    }
    let text = text.replace("<!--", " ").replace("-->", " ");
    let mut kept = String::with_capacity(text.len());
    let mut rest = text.as_str();
    while let Some((before, comment)) = rest.split_once("/*") {
        kept.push_str(before);
        // Not glued together: a comment ends a word.
        kept.push(' ');
        rest = comment.split_once("*/").map_or("", |(_, behind)| behind);
    }
    kept.push_str(rest);
    Some(kept)
}

/// What follows a rule such as `@import` or `@font-face`.
fn behind_at_rule(text: &str) -> &str {
    let mut depth = 0_usize;
    for (at, c) in text.char_indices() {
        match c {
            ';' if depth == 0 => return &text[at + 1..],
            '{' => depth += 1,
            '}' if depth <= 1 => return &text[at + 1..],
            '}' => depth -= 1,
            _ => {}
        }
    }
    ""
}

fn is_allowed_selector(selector: &str) -> bool {
    let plain = |c: char| c.is_alphanumeric() || c.is_whitespace() || "_-.#*,>+~:()[]=\"'|^$".contains(c);
    let is_plain = !selector.is_empty() && selector.chars().all(plain);
    is_plain && is_allowed_value(selector) && !selector.to_ascii_lowercase().contains("url(") && is_closed(selector)
}

/// Whether its quotes and brackets are closed. What follows an open one would mean something else than was looked at: a
/// selector could become a property that leads elsewhere.
fn is_closed(text: &str) -> bool {
    let (mut quote, mut brackets) = (None, Vec::new());
    for c in text.chars() {
        match (quote, c) {
            (Some(_), '\n' | '\r') => return false,
            (Some(mark), c) if c == mark => quote = None,
            (None, '"' | '\'') => quote = Some(c),
            (None, '(') => brackets.push(')'),
            (None, '[') => brackets.push(']'),
            (None, ')' | ']') if brackets.pop() != Some(c) => return false,
            _ => {}
        }
    }
    quote.is_none() && brackets.is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_that_draw_stay() {
        let text = "@import url(x);@font-face{src:url(y)} /* c */ .a, #b > c:hover { fill : red ; stroke:url(#g)} \
                    d{behavior:url(z)} e{fill:url(http://example.org)} @media x{f{fill:red}} g{opacity:.5}";
        assert_eq!(sheet(text), ".a, #b > c:hover{fill:red;stroke:url(#g)}\ng{opacity:.5}\n");
        assert_eq!(sheet(".a{fill:\\72 ed}"), "");
        assert_eq!(sheet("<!-- .a{fill:red} -->"), ".a{fill:red}\n");
        assert_eq!(sheet(".a{fill:red"), "");
        assert_eq!(declarations("fill:red;;on:1; -moz-binding:url(x);font-family:'A b'"), "fill:red;font-family:'A b'");
    }

    #[test]
    fn a_selector_does_not_become_a_property() {
        let text = "svg{fill:'x}q{fill:red}background:image-set('http:example.org#{fill:a' 1x);stroke:red}";
        assert_eq!(sheet(text), "q{fill:red}\n");
        let text = "svg{fill:(}filter:url(http:example.org#{fill:a);stroke:red}a[x=\"{fill:red}b{fill:url(#a') x')}";
        assert_eq!(sheet(text), "");
        assert_eq!(sheet("a[b='c']:not(.d){font-family:'x (y'}"), "a[b='c']:not(.d){font-family:'x (y'}\n");
    }

    #[test]
    fn a_second_pass_changes_nothing() {
        let once = sheet(".a /* x */ b{fill:red}.c{fill:blue;}");
        assert_eq!(sheet(&once), once);
    }
}
