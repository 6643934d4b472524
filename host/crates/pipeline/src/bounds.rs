//! Bounds on what goes into events. Agents, services, probes and errors hand over
//! texts and numbers of any size and kind; the log takes none of them unmeasured,
//! because a record that cannot be written, or not be read again, stops the host.

use selfheal_domain::agent::{Diagnosis, Draft, Proposal};
use selfheal_domain::patch::Patch;
use selfheal_domain::verification::CheckEvidence;

/// Most bytes of an account for people, such as a diagnosis's log.
pub(crate) const ACCOUNT: usize = 64 * 1024;
/// Most bytes of what a check saw, and of a reason.
pub(crate) const DETAIL: usize = 8 * 1024;
/// Most bytes of a line in a commit message.
pub(crate) const LINE: usize = 240;
/// Most bytes of a name or path in a list.
const NAME: usize = 1024;
/// Most entries of a list of names, proposals or rival diffs.
const ENTRIES: usize = 64;
/// Most bytes of files and diff of a patch: contents are recorded whole, and an
/// event must stay well below what the log takes.
pub(crate) const PATCH_BYTES: usize = 8 * 1024 * 1024;

/// `text`, cut at a character to at most `most` bytes, with a mark where it was cut.
pub(crate) fn clip(mut text: String, most: usize) -> String {
    const CUT: &str = "\n[cut]";
    if text.len() <= most {
        return text;
    }
    let mut end = most.saturating_sub(CUT.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.truncate(end);
    text.push_str(CUT);
    text
}

/// One line of at most [`LINE`] bytes.
pub(crate) fn line(text: &str) -> String {
    let first = text.lines().next().unwrap_or_default();
    let mut end = first.len().min(LINE);
    while !first.is_char_boundary(end) {
        end -= 1;
    }
    first.get(..end).unwrap_or_default().trim().to_owned()
}

/// A share between 0 and 1; what is no number counts as 0, because the log could
/// not be read again with it.
fn share(claim: f64) -> f64 {
    if claim.is_finite() {
        claim.clamp(0.0, 1.0)
    } else {
        0.0
    }
}

fn seconds(time: f64) -> f64 {
    if time.is_finite() { time.max(0.0) } else { 0.0 }
}

fn names(mut names: Vec<String>) -> Vec<String> {
    names.truncate(ENTRIES);
    names.into_iter().map(|name| clip(name, NAME)).collect()
}

/// Bytes of a patch as it is recorded.
pub(crate) fn patch_bytes(patch: &Patch) -> usize {
    let side = |text: &Option<String>| text.as_ref().map_or(0, String::len);
    let files = patch
        .files
        .iter()
        .map(|file| file.path.len() + side(&file.before) + side(&file.after));
    patch.diff.len() + files.sum::<usize>()
}

/// A check's name as evidence holds it.
pub(crate) fn evidence_name(name: String) -> String {
    clip(name, NAME)
}

/// Evidence that fits into an event.
pub(crate) fn evidence(found: CheckEvidence) -> CheckEvidence {
    CheckEvidence {
        name: evidence_name(found.name),
        result: found.result,
        detail: clip(found.detail, DETAIL),
        seconds: seconds(found.seconds),
    }
}

/// A diagnosis that fits into an event; proposals beyond the bound are left out.
pub(crate) fn diagnosis(mut found: Diagnosis) -> Diagnosis {
    found.root_cause = clip(found.root_cause, DETAIL);
    found.suggested_fix = clip(found.suggested_fix, ACCOUNT);
    found.log = clip(found.log, ACCOUNT);
    found.confidence = share(found.confidence);
    found.effort.seconds = seconds(found.effort.seconds);
    found.affected_files = names(found.affected_files);
    found.affected_services = names(found.affected_services);
    found.proposals.truncate(ENTRIES);
    let mut bytes = 0;
    found.proposals.retain_mut(|proposal: &mut Proposal| {
        proposal.rationale = clip(std::mem::take(&mut proposal.rationale), DETAIL);
        proposal.confidence = share(proposal.confidence);
        bytes += patch_bytes(&proposal.patch);
        bytes <= PATCH_BYTES
    });
    found
}

/// A draft's claims that fit into an event.
pub(crate) fn draft(mut draft: Draft) -> Draft {
    draft.rationale = clip(draft.rationale, ACCOUNT);
    draft.log = clip(draft.log, ACCOUNT);
    draft.confidence = share(draft.confidence);
    draft.rivals.truncate(ENTRIES);
    for rival in &mut draft.rivals {
        *rival = clip(std::mem::take(rival), ACCOUNT);
    }
    draft
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_cut_at_characters_and_numbers_stay_numbers() {
        assert_eq!(clip("short".to_owned(), 10), "short");
        let cut = clip("ä".repeat(100), 21);
        assert!(cut.len() <= 21 && cut.starts_with("ää") && cut.ends_with("[cut]"));
        assert_eq!(line("one\ntwo"), "one");
        assert!(line(&"ü".repeat(500)).len() <= LINE);
        assert_eq!(share(f64::NAN), 0.0);
        assert_eq!(share(f64::INFINITY), 0.0);
        assert_eq!(share(7.0), 1.0);
        assert_eq!(seconds(f64::NEG_INFINITY), 0.0);
    }
}
