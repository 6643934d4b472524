//! The evidence pack of an issue: one ZIP archive with everything that is on record
//! about it, a page that a person can read without network or scripts, and the commands
//! by which its parts are checked with tools that are not ours.
//!
//! ```text
//! index.html            the page: open it in any browser
//! README.md             what is in here and how to check it
//! MANIFEST.sha256       digests of all other files, for `sha256sum --check`
//! issue.json            the issue as the API shows it
//! timeline.json         what happened, in plain words
//! records.jsonl         the records of the audit log, complete, one per line
//! decisions.json        every decision with what the policies were asked with
//! commits.json          the commits that belong to it
//! run-1/patch.diff      the patch of the first run, and so on
//! run-1/verification.json  its proof, and what was checked once it was applied
//! proof/inclusion.json  for each record the path to the root of the log
//! proof/checkpoint-17.txt  the signed head with 17 records
//! ```
//!
//! Pure: it gets what it packs. Texts of reporters, agents, services and repositories
//! are data: on the page they are escaped, and what would change the direction or look
//! of the text around them is made visible.

mod archive;
mod page;
mod proof;
mod readme;

use archive::Archive;
use selfheal_domain::event::{Event, Record};
use selfheal_domain::ids::CommitId;
use selfheal_domain::issue::Issue;
use selfheal_domain::ports::InclusionProof;
use serde_json::{Value, json};

/// Most bytes of a pack before compression.
pub const MOST_BYTES: u64 = 128 * 1024 * 1024;

/// What goes into a pack.
#[derive(Clone, Debug)]
pub struct Evidence<'a> {
    /// The issue.
    pub issue: &'a Issue,
    /// The issue as the API shows it to admins and auditors.
    pub shown: &'a Value,
    /// Its events in plain words, oldest first, as the API shows them.
    pub timeline: &'a [Value],
    /// Decisions with their inputs, as the API shows them.
    pub decisions: &'a [Value],
    /// Its records in the audit log, oldest first.
    pub records: &'a [Record],
    /// Proof for each record that there is one of.
    pub proofs: &'a [InclusionProof],
    /// Version of the host.
    pub version: &'a str,
}

/// No pack could be made.
#[derive(Debug, thiserror::Error)]
pub enum PackError {
    /// There is too much to say.
    #[error(
        "the evidence has more than {} MiB; `selfheal audit export` has no bound",
        MOST_BYTES / (1024 * 1024)
    )]
    TooLarge,
    /// Something has no JSON form.
    #[error("a part could not be written as JSON")]
    Json(#[from] serde_json::Error),
    /// The archive could not be written.
    #[error("the archive could not be written")]
    Archive(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// A commit that belongs to an issue, and what it is for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct NamedCommit {
    run: u32,
    kind: &'static str,
    commit: CommitId,
}

/// Makes the archive. The same evidence gives the same bytes.
///
/// # Errors
/// See [`PackError`].
pub fn pack(evidence: &Evidence<'_>) -> Result<Vec<u8>, PackError> {
    let commits = commits_of(evidence.issue);
    let mut archive = Archive::default();
    archive.add("index.html", page::page(evidence, &commits))?;
    archive.add("README.md", readme::readme(evidence, &commits))?;
    archive.add("issue.json", pretty(evidence.shown)?)?;
    archive.add("timeline.json", pretty(evidence.timeline)?)?;
    let mut lines = String::new();
    for record in evidence.records {
        lines.push_str(&serde_json::to_string(record)?);
        lines.push('\n');
    }
    archive.add("records.jsonl", lines)?;
    archive.add("decisions.json", pretty(evidence.decisions)?)?;
    let listed: Vec<Value> = commits
        .iter()
        .map(|it| json!({ "run": it.run, "kind": it.kind, "commit": it.commit }))
        .collect();
    archive.add("commits.json", pretty(&listed)?)?;
    for run in &evidence.issue.runs {
        let place = format!("run-{}", run.number.0);
        if let Some(draft) = &run.draft {
            archive.add(&format!("{place}/patch.diff"), draft.patch.diff.clone())?;
        }
        let checked = json!({ "proof": run.proof, "verification": run.verification });
        archive.add(&format!("{place}/verification.json"), pretty(&checked)?)?;
    }
    for (name, text) in proof::files(evidence.proofs)? {
        archive.add(&name, text)?;
    }
    archive.finish()
}

fn pretty<T: serde::Serialize + ?Sized>(value: &T) -> Result<String, PackError> {
    let mut text = serde_json::to_string_pretty(value)?;
    text.push('\n');
    Ok(text)
}

fn commits_of(issue: &Issue) -> Vec<NamedCommit> {
    let mut commits = Vec::new();
    for run in &issue.runs {
        let named = [
            ("base", Some(&run.base_commit)),
            ("snapshot", Some(&run.snapshot)),
            ("draft", run.draft.as_ref().map(|draft| &draft.commit)),
            ("heal", run.heal_commit.as_ref()),
            ("rollback", run.rollback_commit.as_ref()),
        ];
        commits.extend(named.into_iter().filter_map(|(kind, commit)| {
            Some(NamedCommit {
                run: run.number.0,
                kind,
                commit: commit?.clone(),
            })
        }));
    }
    commits
}

/// Name of an event on the wire, as in `issue.opened`.
pub(crate) fn name_of(event: &Event) -> String {
    let value = serde_json::to_value(event).unwrap_or_default();
    let name = value.get("type").and_then(Value::as_str);
    name.unwrap_or_default().to_owned()
}
