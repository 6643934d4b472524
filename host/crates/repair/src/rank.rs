//! Which survivor is likeliest right, not merely passing.

use crate::candidate::Candidate;
use crate::source::Source;

/// Lower is better.
pub(crate) fn score(candidate: &Candidate, source: &Source) -> f64 {
    let mut score = candidate.priority();
    score += match candidate.template {
        // Bypassing what fails is how tests are satisfied without a repair.
        "delete" | "disable-condition" | "drop-branch" => 1.0,
        "drop-operand" | "drop-argument" | "drop-filter" | "unwrap" | "drop-subscript"
        | "drop-attribute" => 0.5,
        "replace-condition" => 0.7,
        "guard-return" | "constant-for-variable" | "guard-jump" => 0.3,
        "constant-donor" | "string-donor" | "variable-global" | "constant-scale" => 0.3,
        "did-you-mean" | "missing-import" | "mutable-default" | "missing-await" | "add-self" => {
            -0.4
        }
        "operator" | "range" | "swap-arguments" | "variable" => -0.1,
        _ => 0.0,
    };
    // Small changes are likelier than large ones.
    let size: usize = candidate
        .edits
        .iter()
        .map(|edit| {
            let before = source.text.get(edit.range.clone()).unwrap_or_default();
            changed(before, &edit.text)
        })
        .sum();
    score + 0.008 * (size.min(120) as f64)
}

/// Characters that differ between two texts, less what they share at both ends.
fn changed(before: &str, after: &str) -> usize {
    let front = before
        .bytes()
        .zip(after.bytes())
        .take_while(|(a, b)| a == b)
        .count();
    let back = before
        .bytes()
        .rev()
        .zip(after.bytes().rev())
        .take_while(|(a, b)| a == b)
        .count();
    let shared = (front + back).min(before.len()).min(after.len());
    before.len().max(after.len()) - shared
}

/// How sure to be of the best of several survivors.
pub(crate) fn confidence(scores: &[f64], tests: usize) -> f64 {
    let Some(best) = scores.first() else {
        return 0.0;
    };
    let rivals: f64 = scores
        .iter()
        .skip(1)
        .map(|score| (-(score - best).max(0.0) * 1.6).exp())
        .sum();
    let base = if *best < 2.0 {
        0.92
    } else if *best < 3.5 {
        0.8
    } else {
        0.62
    };
    let few = if tests < 3 { 0.12 } else { 0.0 };
    ((base - few) / (1.0 + 0.22 * rivals)).clamp(0.05, 0.97)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::candidate::Edit;

    fn candidate(template: &'static str, cost: f64, text: &str) -> Candidate {
        Candidate {
            path: "a.py".into(),
            edits: vec![Edit {
                range: 4..5,
                text: text.into(),
            }],
            template,
            cost,
            heat: 1.0,
            line: 1,
        }
    }

    #[test]
    fn deletion_ranks_behind_a_change_of_the_same_cost() {
        let source = Source::new("a.py", "a = b + c\n").unwrap();
        let changed = score(&candidate("operator", 2.0, "d"), &source);
        let deleted = score(&candidate("delete", 2.0, ""), &source);
        assert!(changed < deleted);
    }

    #[test]
    fn rivals_and_few_tests_lower_confidence() {
        assert!(confidence(&[1.0], 10) > confidence(&[1.0, 1.1, 1.2], 10));
        assert!(confidence(&[1.0], 10) > confidence(&[1.0], 1));
        assert!(confidence(&[1.0, 5.0], 10) > confidence(&[1.0, 1.0], 10));
        assert_eq!(confidence(&[], 10), 0.0);
    }
}
