//! Writing a proved proposal into the run's worktree.

use selfheal_domain::agent::{AgentError, Diagnosis, DiagnosisBrief, Draft, Effort};
use selfheal_domain::patch::FileChange;
use selfheal_domain::tools::{ToolOutput, ToolRequest, Tools, WorkspaceAccess};
use std::time::Instant;

/// Writes the best proposal that was not excluded and runs the check on it.
pub(crate) fn draft(
    brief: &DiagnosisBrief,
    diagnosis: &Diagnosis,
    tools: &dyn Tools,
) -> Result<Draft, AgentError> {
    let started = Instant::now();
    let not_found = |summary: String| AgentError::NotFound {
        summary,
        log: diagnosis.log.clone(),
        effort: Effort {
            candidates: 0,
            seconds: started.elapsed().as_secs_f64(),
        },
    };
    let Some(proposal) = diagnosis
        .proposals
        .iter()
        .find(|proposal| !brief.excluded.contains(&proposal.patch.digest))
    else {
        return Err(not_found(
            "Every patch that was found has been rejected already".to_owned(),
        ));
    };
    for file in &proposal.patch.files {
        write(file, tools)?;
    }
    if let Some(check) = diagnosis
        .reproduction
        .as_ref()
        .or_else(|| brief.checks.first())
    {
        tools.progress("Running the check on the patch");
        let output = tools.call(ToolRequest::Bash {
            command: check.command.clone(),
            directory: check.directory.clone(),
            timeout: check.timeout,
            access: WorkspaceAccess::Discard,
        })?;
        if let ToolOutput::Command(output) = output
            && !output.ended.success()
        {
            return Err(not_found(format!(
                "`{}` succeeded with this patch before, and fails with it now: it is flaky, so no patch can be proved",
                check.command
            )));
        }
    }
    let rivals = diagnosis
        .proposals
        .iter()
        .filter(|other| {
            other.patch.digest != proposal.patch.digest
                && !brief.excluded.contains(&other.patch.digest)
        })
        .map(|other| other.patch.diff.clone())
        .collect();
    Ok(Draft {
        rationale: proposal.rationale.clone(),
        confidence: proposal.confidence,
        files: proposal.patch.files.clone(),
        rivals,
        log: String::new(),
    })
}

/// One file: as small an edit as is unambiguous, or the whole file.
fn write(file: &FileChange, tools: &dyn Tools) -> Result<(), AgentError> {
    let Some(after) = &file.after else {
        return Ok(());
    };
    if let Some((old, new)) = file
        .before
        .as_ref()
        .and_then(|before| passage(before, after))
    {
        tools.call(ToolRequest::edit(&file.path, old, new))?;
    } else {
        tools.call(ToolRequest::Write {
            path: file.path.clone(),
            content: after.clone(),
        })?;
    }
    Ok(())
}

/// The lines that change, with as much context as makes them unique.
fn passage(before: &str, after: &str) -> Option<(String, String)> {
    let old: Vec<&str> = before.split_inclusive('\n').collect();
    let new: Vec<&str> = after.split_inclusive('\n').collect();
    let front = old.iter().zip(&new).take_while(|(a, b)| a == b).count();
    let most = old.len().min(new.len()) - front;
    let back = old
        .iter()
        .rev()
        .zip(new.iter().rev())
        .take(most)
        .take_while(|(a, b)| a == b)
        .count();
    for context in 0..=old.len() {
        let start = front.saturating_sub(context);
        let tail = back.saturating_sub(context);
        let from = old.get(start..old.len() - tail)?.concat();
        let to = new.get(start..new.len() - tail)?.concat();
        if !from.is_empty() && before.find(&from) == before.rfind(&from) {
            return Some((from, to));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passages_are_small_and_unique() {
        let cases = [
            ("a\nb\nc\n", "a\nX\nc\n"),
            ("a\na\na\n", "a\na\nb\n"),
            ("a\n", "a\nb\n"),
            ("x\ny\nx\ny\n", "x\ny\nx\nz\n"),
            ("a\nb\n", "b\n"),
        ];
        for (before, after) in cases {
            let (old, new) = passage(before, after).unwrap();
            assert_eq!(before.matches(old.as_str()).count(), 1, "{before:?}");
            assert_eq!(before.replacen(old.as_str(), &new, 1), after, "{before:?}");
        }
        assert_eq!(passage("a\nb\nc\n", "a\nX\nc\n").unwrap().0, "b\n");
    }
}
