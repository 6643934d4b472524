//! gitleaks' rules as tables; `build.rs` makes them from `rules/gitleaks.json`.

use selfheal_policy_sdk::text::Needles;

/// One rule.
pub(super) struct Rule {
    /// gitleaks' id.
    pub(super) id: &'static str,
    pub(super) pattern: &'static str,
    /// A secret has more bits per character than this; 0 where it does not matter.
    pub(super) entropy: f64,
    /// The group that holds the secret; 0 where the first one does.
    pub(super) group: usize,
    /// Pattern of the paths that it is about; empty for all.
    pub(super) path: &'static str,
    /// Every match has a run of at least so many token characters.
    pub(super) run: u32,
    /// Lines before and after the keyword that belong to it.
    pub(super) around: usize,
    /// The secret has something other than letters.
    pub(super) mixed: bool,
    pub(super) allow: &'static [Allow],
}

/// What is no secret although a rule matches.
pub(super) struct Allow {
    /// All of its lists must agree; else one is enough.
    pub(super) all: bool,
    /// What its patterns look at.
    pub(super) target: Target,
    pub(super) regexes: &'static [&'static str],
    pub(super) paths: &'static [&'static str],
    pub(super) stopwords: &'static [&'static str],
}

/// What the patterns of an [`Allow`] look at.
#[derive(Clone, Copy)]
pub(super) enum Target {
    Secret,
    Match,
    Line,
}

include!(concat!(env!("OUT_DIR"), "/rules.rs"));
