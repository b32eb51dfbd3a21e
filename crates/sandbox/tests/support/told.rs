//! What a cell was told of the ends of its children.

use lazaret_sandbox::ExitCause;

use crate::cell::Cell;

/// The same ends, in any order: a child whose answer is short is waited for while the next one works.
pub(crate) fn assert_ends(cell: &Cell, expected: &[ExitCause]) {
    let sorted = |ends: &[ExitCause]| {
        let mut names: Vec<_> = ends.iter().map(|end| end.name()).collect();
        names.sort_unstable();
        names
    };
    assert_eq!(sorted(&cell.ends()), sorted(expected));
}
