//! A candidate patch: small text edits of one file, and what they cost.

use crate::source::Source;
use sha2::{Digest as _, Sha256};
use std::ops::Range;

/// Replaces the bytes of `range` of the original text.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Edit {
    pub(crate) range: Range<usize>,
    pub(crate) text: String,
}

/// One way to change the program.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Candidate {
    pub(crate) path: String,
    /// In any order, never overlapping.
    pub(crate) edits: Vec<Edit>,
    /// Name of the template.
    pub(crate) template: &'static str,
    /// How unusual such a bug is: 1 is common, 6 is rare.
    pub(crate) cost: f64,
    /// Suspicion of the place, 0 to 1.
    pub(crate) heat: f64,
    /// Line of the change, 1-based.
    pub(crate) line: u32,
}

impl Candidate {
    /// What the search sorts by: cheap changes in hot places first.
    pub(crate) fn priority(&self) -> f64 {
        self.cost + 2.6 * (1.0 - self.heat)
    }

    /// The file with the edits applied; none when they do not fit.
    pub(crate) fn apply(&self, text: &str) -> Option<String> {
        apply(text, &self.edits)
    }

    /// Stable name of the resulting text.
    pub(crate) fn key(&self, source: &Source) -> Option<[u8; 32]> {
        let after = self.apply(&source.text)?;
        if after == source.text {
            return None;
        }
        let mut hash = Sha256::new();
        hash.update(self.path.as_bytes());
        hash.update([0]);
        hash.update(after.as_bytes());
        Some(hash.finalize().into())
    }
}

/// Two candidates of one file as one; none when they touch each other.
pub(crate) fn combine(a: &Candidate, b: &Candidate) -> Option<Candidate> {
    if a.path != b.path {
        return None;
    }
    let apart = a.edits.iter().all(|x| {
        b.edits.iter().all(|y| {
            x.range != y.range && (x.range.end <= y.range.start || y.range.end <= x.range.start)
        })
    });
    if !apart {
        return None;
    }
    let mut edits = a.edits.clone();
    edits.extend(b.edits.iter().cloned());
    Some(Candidate {
        path: a.path.clone(),
        edits,
        template: if a.template == b.template {
            a.template
        } else {
            "two-changes"
        },
        cost: a.cost + b.cost,
        heat: a.heat.min(b.heat),
        line: a.line.min(b.line),
    })
}

/// Applies edits of one original text.
pub(crate) fn apply(text: &str, edits: &[Edit]) -> Option<String> {
    let mut sorted: Vec<&Edit> = edits.iter().collect();
    sorted.sort_by_key(|edit| (edit.range.start, edit.range.end));
    let mut out = String::with_capacity(text.len() + 64);
    let mut at = 0;
    for edit in sorted {
        out.push_str(text.get(at..edit.range.start)?);
        out.push_str(&edit.text);
        at = edit.range.end;
    }
    out.push_str(text.get(at..)?);
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn edits_apply_in_order_of_place() {
        let edits = [
            Edit {
                range: 4..5,
                text: "X".into(),
            },
            Edit {
                range: 0..1,
                text: String::new(),
            },
        ];
        assert_eq!(apply("abcdef", &edits).as_deref(), Some("bcdXf"));
    }

    #[test]
    fn edits_that_overlap_do_not_apply() {
        let edits = [
            Edit {
                range: 0..3,
                text: "X".into(),
            },
            Edit {
                range: 2..4,
                text: String::new(),
            },
        ];
        assert_eq!(apply("abcdef", &edits), None);
    }
}
