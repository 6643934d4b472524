//! A source file with its syntax tree, and the questions templates ask of it.

use tree_sitter::{Node, Parser, Tree};

/// Languages whose syntax the templates know.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Lang {
    Python,
    JavaScript,
}

impl Lang {
    /// By file name; none for anything else.
    pub(crate) fn of(path: &str) -> Option<Self> {
        let extension = path.rsplit('.').next().unwrap_or_default();
        match extension {
            "py" => Some(Self::Python),
            "js" | "mjs" | "cjs" => Some(Self::JavaScript),
            _ => None,
        }
    }

    pub(crate) fn is_python(self) -> bool {
        self == Self::Python
    }

    fn grammar(self) -> tree_sitter::Language {
        match self {
            Self::Python => tree_sitter_python::LANGUAGE.into(),
            Self::JavaScript => tree_sitter_javascript::LANGUAGE.into(),
        }
    }
}

/// One file.
pub(crate) struct Source {
    pub(crate) path: String,
    pub(crate) text: String,
    pub(crate) lang: Lang,
    tree: Tree,
}

impl Source {
    /// Parses; none for unknown languages or when the parser gives up.
    pub(crate) fn new(path: &str, text: &str) -> Option<Self> {
        let lang = Lang::of(path)?;
        let mut parser = Parser::new();
        parser.set_language(&lang.grammar()).ok()?;
        let tree = parser.parse(text, None)?;
        Some(Self {
            path: path.to_owned(),
            text: text.to_owned(),
            lang,
            tree,
        })
    }

    pub(crate) fn root(&self) -> Node<'_> {
        self.tree.root_node()
    }

    pub(crate) fn at(&self, node: Node<'_>) -> &str {
        self.text.get(node.byte_range()).unwrap_or_default()
    }

    /// One line's text, 1-based; empty when there is none.
    pub(crate) fn line(&self, number: u32) -> &str {
        self.text
            .lines()
            .nth(number.saturating_sub(1) as usize)
            .unwrap_or_default()
    }

    /// Leading white space of the line on which the byte stands.
    pub(crate) fn indent_at(&self, byte: usize) -> &str {
        let start = self.line_start(byte);
        let line = self.text.get(start..).unwrap_or_default();
        let width = line.len() - line.trim_start_matches([' ', '\t']).len();
        line.get(..width).unwrap_or_default()
    }

    /// First byte of the line on which `byte` stands.
    pub(crate) fn line_start(&self, byte: usize) -> usize {
        self.text
            .get(..byte)
            .and_then(|before| before.rfind('\n'))
            .map_or(0, |at| at + 1)
    }

    /// First byte of the line after the one on which `byte` stands.
    pub(crate) fn next_line(&self, byte: usize) -> usize {
        self.text
            .get(byte..)
            .and_then(|rest| rest.find('\n'))
            .map_or(self.text.len(), |at| byte + at + 1)
    }

    /// The unit by which this file indents.
    pub(crate) fn indent_unit(&self) -> &'static str {
        let mut best = if self.lang.is_python() { "    " } else { "  " };
        for line in self.text.lines().take(400) {
            let width = line.len() - line.trim_start_matches(' ').len();
            if line.starts_with('\t') {
                best = "\t";
                break;
            }
            if width == 2 {
                best = "  ";
                break;
            }
            if width == 4 {
                best = "    ";
                break;
            }
        }
        best
    }
}

/// 1-based line on which a node begins.
pub(crate) fn line_of(node: Node<'_>) -> u32 {
    u32::try_from(node.start_position().row).unwrap_or(u32::MAX - 1) + 1
}

/// 1-based line on which a node ends.
pub(crate) fn last_line_of(node: Node<'_>) -> u32 {
    u32::try_from(node.end_position().row).unwrap_or(u32::MAX - 1) + 1
}

/// A field's node.
pub(crate) fn field<'t>(node: Node<'t>, name: &str) -> Option<Node<'t>> {
    node.child_by_field_name(name)
}

/// Named children in order.
pub(crate) fn named<'t>(node: Node<'t>) -> Vec<Node<'t>> {
    let mut cursor = node.walk();
    node.named_children(&mut cursor)
        .filter(|child| !child.is_extra())
        .collect()
}

/// All children in order.
pub(crate) fn children<'t>(node: Node<'t>) -> Vec<Node<'t>> {
    let mut cursor = node.walk();
    node.children(&mut cursor).collect()
}

/// Nearest ancestor (or the node itself) of one of the kinds.
pub(crate) fn up<'t>(node: Node<'t>, kinds: &[&str]) -> Option<Node<'t>> {
    let mut current = Some(node);
    while let Some(here) = current {
        if kinds.contains(&here.kind()) {
            return Some(here);
        }
        current = here.parent();
    }
    None
}

/// Every node below and including this one, parents first.
pub(crate) fn all_nodes(root: Node<'_>) -> Vec<Node<'_>> {
    let mut out = Vec::new();
    let mut stack = vec![root];
    while let Some(node) = stack.pop() {
        out.push(node);
        let mut inner = children(node);
        inner.reverse();
        stack.extend(inner);
    }
    out
}

/// Function-like nodes of both languages.
pub(crate) const FUNCTIONS: &[&str] = &[
    "function_definition",
    "function_declaration",
    "function_expression",
    "arrow_function",
    "method_definition",
    "generator_function",
    "generator_function_declaration",
];

/// Class-like nodes of both languages.
pub(crate) const CLASSES: &[&str] = &["class_definition", "class_declaration", "class"];

/// Is this node a statement that stands in a block?
pub(crate) fn is_statement(node: Node<'_>) -> bool {
    node.is_named()
        && node.parent().is_some_and(|parent| {
            matches!(
                parent.kind(),
                "block"
                    | "module"
                    | "program"
                    | "statement_block"
                    | "switch_case"
                    | "switch_default"
            )
        })
        && !matches!(node.kind(), "comment")
}

/// The operator and both sides of a two-sided expression of any kind.
pub(crate) fn binary<'t>(node: Node<'t>) -> Option<(Node<'t>, Node<'t>, Node<'t>)> {
    match node.kind() {
        "binary_operator" | "boolean_operator" | "binary_expression" => Some((
            field(node, "left")?,
            field(node, "operator")?,
            field(node, "right")?,
        )),
        "comparison_operator" if node.child_count() == 3 => {
            Some((node.child(0)?, node.child(1)?, node.child(2)?))
        }
        "comparison_operator" if node.child_count() == 4 => None,
        _ => None,
    }
}

/// The condition of a statement or conditional expression, without its parentheses.
pub(crate) fn condition<'t>(node: Node<'t>) -> Option<Node<'t>> {
    let found = match node.kind() {
        "if_statement" | "elif_clause" | "while_statement" | "do_statement"
        | "ternary_expression" | "for_statement" => field(node, "condition")?,
        "conditional_expression" => node.named_child(1)?,
        "if_clause" | "assert_statement" => node.named_child(0)?,
        _ => return None,
    };
    if found.kind() == "parenthesized_expression" {
        found.named_child(0)
    } else {
        Some(found)
    }
}
