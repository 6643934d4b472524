//! Where a shell ends a command and the grammar reads on: at the end of a line.

use tree_sitter::{Node, Tree};

/// Nodes whose parts stand on one line of the shell, continuations aside.
const ONE_LINE: &[&str] = &[
    "command",
    "declaration_command",
    "file_redirect",
    "herestring_redirect",
    "redirected_statement",
    "unset_command",
    "variable_assignment",
];

/// Whether the grammar joined what a line break keeps apart: it takes the word on
/// the next line for the target of a `>` that has none.
pub(super) fn joined(tree: &Tree, source: &str) -> bool {
    let mut cursor = tree.walk();
    loop {
        let node = cursor.node();
        if ONE_LINE.contains(&node.kind()) && breaks(node, source) {
            return true;
        }
        if cursor.goto_first_child() {
            continue;
        }
        while !cursor.goto_next_sibling() {
            if !cursor.goto_parent() {
                return false;
            }
        }
    }
}

fn breaks(node: Node<'_>, source: &str) -> bool {
    let mut cursor = node.walk();
    let mut end = None;
    node.children(&mut cursor).any(|child| {
        let from = end.replace(child.end_byte()).unwrap_or(child.start_byte());
        // Parts may lie within each other; a gap that is no text is not understood.
        let gap = source.get(from..child.start_byte().max(from));
        gap.is_none_or(|gap| gap.replace("\\\n", "").contains('\n'))
    })
}
