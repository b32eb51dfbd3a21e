//! How large a document becomes when its references are followed: `use` copies what it names, which may use more.

use std::collections::HashMap;

use roxmltree::{Document, Node, NodeId};

use super::{
    MAX_DEPTH,
    allowed::{SVG, XLINK},
    unparsable,
};
use crate::failure::Failure;

/// How many elements a drawing may be made of.
const MAX_ELEMENTS: u64 = 200_000;

/// Refuses documents that unfold to too many elements, or without end.
pub(super) fn check(document: &Document<'_>) -> Result<(), Failure> {
    let mut by_id = HashMap::new();
    for node in document.descendants().filter(Node::is_element) {
        if let Some(id) = node.attribute("id") {
            by_id.entry(id).or_insert([node; 2])[1] = node;
        }
    }
    let count = Unfolding { by_id, known: HashMap::new() }.count(document.root_element(), 0)?;
    if count > MAX_ELEMENTS {
        return Err(unparsable(format_args!("its references unfold to more than {MAX_ELEMENTS} elements")));
    }
    Ok(())
}

struct Unfolding<'a, 'input> {
    /// The first element of this name, which browsers take, and the last, which `usvg` takes.
    by_id: HashMap<&'a str, [Node<'a, 'input>; 2]>,
    /// What an element unfolds to; `None` while that is being counted.
    known: HashMap<NodeId, Option<u64>>,
}

impl<'a, 'input> Unfolding<'a, 'input> {
    fn count(&mut self, node: Node<'a, 'input>, depth: usize) -> Result<u64, Failure> {
        // A chain of references goes down like elements do.
        if depth > 2 * MAX_DEPTH {
            return Err(unparsable("its references are too deep within each other"));
        }
        match self.known.get(&node.id()) {
            Some(Some(count)) => return Ok(*count),
            Some(None) => return Err(unparsable("an element uses itself")),
            None => {}
        }
        self.known.insert(node.id(), None);
        let mut count = 1_u64;
        for child in node.children().filter(Node::is_element) {
            count = count.saturating_add(self.count(child, depth + 1)?);
        }
        if node.tag_name().name() == "use" && node.tag_name().namespace() == Some(SVG) {
            let reference = node.attribute("href").or_else(|| node.attribute((XLINK, "href")));
            let targets =
                reference.and_then(|it| it.trim().strip_prefix('#')).and_then(|id| self.by_id.get(id).copied());
            let mut most = 0;
            for target in targets.into_iter().flatten() {
                most = self.count(target, depth + 1)?.max(most);
            }
            count = count.saturating_add(most);
        }
        self.known.insert(node.id(), Some(count));
        Ok(count)
    }
}
