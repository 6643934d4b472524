//! Spend without progress: whether the answers of a model still bring anything new.

use crate::limits::ModelLimits;
use selfheal_domain::digest::Digest;
use std::collections::{HashMap, HashSet};

/// What became of one call, as far as progress goes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Step {
    /// The call, by name and input.
    pub(crate) call: Digest,
    /// What came back.
    pub(crate) result: Digest,
    /// Denied, invalid or refused: nothing was learned but that.
    pub(crate) failed: bool,
    /// It may have changed files of the worktree.
    pub(crate) writes: bool,
}

/// What to do about it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Advice {
    /// Go on.
    Continue,
    /// Tell the model that it runs in circles.
    Warn,
    /// It must submit what it has.
    Stop,
}

/// Remembers what was seen since the tree last changed.
#[derive(Debug, Default)]
pub(crate) struct Stall {
    calls: HashMap<Digest, u32>,
    results: HashSet<Digest>,
    /// Calls that may have changed the tree, ever: the same one again changes nothing
    /// that matters.
    writes: HashSet<Digest>,
    idle: u32,
}

impl Stall {
    /// How often this call was made since the tree last changed, this time included.
    pub(crate) fn repeated(&self, call: &Digest) -> u32 {
        self.calls.get(call).copied().unwrap_or(0)
    }

    /// Takes in one answer's calls; an answer without any brings nothing.
    pub(crate) fn turn(&mut self, steps: &[Step], limits: &ModelLimits) -> Advice {
        let mut progress = false;
        for step in steps {
            if step.writes && !step.failed && self.writes.insert(step.call) {
                // A test may now say something else: what was known is old.
                self.calls.clear();
                self.results.clear();
                progress |= self.results.insert(step.result);
            }
            let times = self.calls.entry(step.call).or_insert(0);
            *times += 1;
            progress |= *times == 1 && self.results.insert(step.result) && !step.failed;
        }
        if progress {
            self.idle = 0;
        } else {
            self.idle += 1;
        }
        if self.idle >= limits.idle_stop {
            Advice::Stop
        } else if self.idle >= limits.idle_warning {
            Advice::Warn
        } else {
            Advice::Continue
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(call: &str, result: &str) -> Step {
        Step {
            call: Digest::of(call.as_bytes()),
            result: Digest::of(result.as_bytes()),
            failed: false,
            writes: false,
        }
    }

    #[test]
    fn the_same_call_and_the_same_output_are_no_progress() {
        let limits = ModelLimits::default();
        let mut stall = Stall::default();
        assert_eq!(stall.turn(&[step("a", "1")], &limits), Advice::Continue);
        // A clock makes new output for ever, but not a new call.
        let advice: Vec<Advice> = (2..8)
            .map(|n| stall.turn(&[step("a", &n.to_string())], &limits))
            .collect();
        use Advice::{Continue, Stop, Warn};
        assert_eq!(advice, [Continue, Continue, Warn, Warn, Warn, Stop]);
        let mut stall = Stall::default();
        stall.turn(&[step("a", "1")], &limits);
        for n in 0..2 {
            stall.turn(&[step(&format!("b{n}"), "1")], &limits);
        }
        assert_eq!(stall.turn(&[step("b3", "1")], &limits), Warn);
    }

    #[test]
    fn a_changed_tree_makes_everything_worth_asking_again() {
        let limits = ModelLimits::default();
        let mut stall = Stall::default();
        for round in 0..20 {
            let write = Step {
                writes: true,
                ..step(&format!("write {round}"), "written")
            };
            assert_eq!(stall.turn(&[write], &limits), Advice::Continue);
            let test = step("test", "red");
            assert_eq!(stall.turn(&[test], &limits), Advice::Continue);
        }
    }

    #[test]
    fn writing_the_same_again_is_no_progress() {
        let limits = ModelLimits::default();
        let mut stall = Stall::default();
        let advice = (0..20).map(|n| {
            let write = Step {
                writes: true,
                ..step(["a", "b"][n % 2], "written")
            };
            stall.turn(&[write], &limits)
        });
        assert_eq!(advice.last(), Some(Advice::Stop));
    }

    #[test]
    fn denials_are_no_progress() {
        let limits = ModelLimits::default();
        let mut stall = Stall::default();
        let advice = (0..6).map(|n| {
            let denied = Step {
                failed: true,
                ..step(&format!("a{n}"), &format!("denied {n}"))
            };
            stall.turn(&[denied], &limits)
        });
        assert_eq!(advice.last(), Some(Advice::Stop));
    }
}
