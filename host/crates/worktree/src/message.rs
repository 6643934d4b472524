//! What commits of ours say, who makes them, and the one place that builds them.

use crate::fail::failed;
use git2::{Commit, ObjectType, Oid, Repository, Signature, Time, Tree};
use selfheal_domain::ids::RunRef;
use selfheal_domain::ports::{Clock, CommitMessage, RepositoryError};
use std::sync::Arc;

/// Longest value of a trailer, in characters; the rest is cut.
const LONGEST_TRAILER: usize = 1_000;
/// Longest subject, in characters.
const LONGEST_SUBJECT: usize = 200;

/// Author and committer of every commit of ours.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MachineIdentity {
    /// Such as `Selfheal`.
    pub name: String,
    /// Such as `selfheal@build-7`.
    pub email: String,
}

impl MachineIdentity {
    /// `Selfheal <selfheal@host>`; an empty or unusable host name becomes `localhost`.
    pub fn of_host(host: &str) -> Self {
        let host: String = host
            .chars()
            .filter(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-'))
            .take(100)
            .collect();
        let host = if host.is_empty() { "localhost" } else { &host };
        Self {
            name: "Selfheal".to_owned(),
            email: format!("selfheal@{host}"),
        }
    }
}

/// Signs commits.
pub trait CommitSigner: Send + Sync {
    /// Armoured signature (SSH or PGP) over exactly these bytes, for the `gpgsig` header.
    ///
    /// # Errors
    /// The key cannot be used; then no commit is made.
    fn sign(&self, commit: &[u8]) -> Result<String, Box<dyn std::error::Error + Send + Sync>>;
}

/// Makes commit objects; moves no ref.
#[derive(Clone)]
pub(crate) struct Committer {
    pub(crate) identity: MachineIdentity,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) signer: Option<Arc<dyn CommitSigner>>,
}

impl Committer {
    /// Writes the commit object into `repo`'s object store.
    pub(crate) fn commit(
        &self,
        repo: &Repository,
        message: &str,
        tree: &Tree<'_>,
        parents: &[&Commit<'_>],
    ) -> Result<Oid, RepositoryError> {
        let time = Time::new(self.clock.now().timestamp(), 0);
        let who = Signature::new(&self.identity.name, &self.identity.email, &time)
            .map_err(failed("naming the author"))?;
        let buffer = repo
            .commit_create_buffer(&who, &who, message, tree, parents)
            .map_err(failed("building the commit"))?;
        match &self.signer {
            None => repo
                .odb()
                .and_then(|odb| odb.write(ObjectType::Commit, &buffer))
                .map_err(failed("writing the commit")),
            Some(signer) => {
                let signature = signer
                    .sign(&buffer)
                    .map_err(|source| RepositoryError::Failed {
                        doing: "signing the commit".to_owned(),
                        source,
                    })?;
                let text =
                    std::str::from_utf8(&buffer).map_err(failed("building the signed commit"))?;
                repo.commit_signed(text, &signature, None)
                    .map_err(failed("writing the signed commit"))
            }
        }
    }
}

/// What a commit is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    Snapshot,
    Draft,
    Heal,
    Rollback,
}

impl Kind {
    fn trailers(self) -> &'static [(&'static str, &'static str)] {
        match self {
            Self::Snapshot => &[("Selfheal-Kind", "snapshot")],
            Self::Draft => &[("Selfheal-Kind", "heal"), ("Selfheal-Draft", "yes")],
            Self::Heal => &[("Selfheal-Kind", "heal")],
            Self::Rollback => &[("Selfheal-Kind", "rollback")],
        }
    }
}

/// The whole text of a commit: subject, body, trailers. Nothing that was passed in
/// can add a trailer, end a paragraph or pretend to be another commit's.
pub(crate) fn compose(
    message: &CommitMessage,
    run: Option<RunRef>,
    kind: Kind,
    extra: &[(&str, &str)],
) -> String {
    let subject = one_line(&message.subject, LONGEST_SUBJECT);
    let mut text = if subject.is_empty() {
        "Selfheal".to_owned()
    } else {
        subject
    };
    text.push_str("\n\n");
    let body = message
        .body
        .lines()
        .map(|line| {
            let line: String = line
                .chars()
                .map(|c| if c.is_control() { ' ' } else { c })
                .collect();
            // A line of the body must not read as a trailer of ours.
            if is_ours(&line) {
                format!("  {}", line.trim())
            } else {
                line.trim_end().to_owned()
            }
        })
        .collect::<Vec<_>>()
        .join("\n");
    let body = body.trim_matches('\n');
    if !body.is_empty() {
        text.push_str(body);
        text.push_str("\n\n");
    }
    let mut trailer = |key: &str, value: &str| {
        let key: String = key
            .chars()
            .filter(|c| c.is_ascii_alphanumeric() || *c == '-')
            .collect();
        let value = one_line(value, LONGEST_TRAILER);
        if !key.is_empty() && !value.is_empty() {
            text.push_str(&key);
            text.push_str(": ");
            text.push_str(&value);
            text.push('\n');
        }
    };
    if let Some(run) = run {
        trailer("Selfheal-Issue", &run.issue.to_string());
        trailer("Selfheal-Run", &run.run.to_string());
        trailer("Selfheal-Run-Id", &run.id.to_string());
    }
    for (key, value) in kind.trailers().iter().chain(extra) {
        trailer(key, value);
    }
    for (key, value) in &message.trailers {
        let reserved = [
            "Selfheal-Issue",
            "Selfheal-Run",
            "Selfheal-Run-Id",
            "Selfheal-Kind",
            "Selfheal-Draft",
            "Selfheal-Origin",
            "Selfheal-Reverts",
            "Signed-off-by",
        ];
        if !reserved.iter().any(|taken| taken.eq_ignore_ascii_case(key)) {
            trailer(key, value);
        }
    }
    text
}

fn is_ours(line: &str) -> bool {
    let start = line.trim_start().to_ascii_lowercase();
    start.starts_with("selfheal-") || start.starts_with("signed-off-by")
}

/// `text` as one line of at most `longest` characters.
fn one_line(text: &str, longest: usize) -> String {
    let flat: String = text
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect();
    let mut flat: String = flat.split_whitespace().collect::<Vec<_>>().join(" ");
    if let Some((cut, _)) = flat.char_indices().nth(longest) {
        flat.truncate(cut);
    }
    flat
}

/// The trailers: lines `key: value` of the last paragraph.
pub(crate) fn trailers(message: &str) -> impl Iterator<Item = (&str, &str)> {
    let block = message.trim_end().rsplit("\n\n").next();
    block.into_iter().flat_map(str::lines).filter_map(|line| {
        let (name, value) = line.split_once(": ")?;
        Some((name, value.trim()))
    })
}

/// Value of a trailer.
pub(crate) fn trailer<'a>(message: &'a str, key: &str) -> Option<&'a str> {
    trailers(message).find_map(|(name, value)| name.eq_ignore_ascii_case(key).then_some(value))
}

/// The commit is this run's, of this kind.
pub(crate) fn is_of(message: &str, run: RunRef, kind: Kind) -> bool {
    trailer(message, "Selfheal-Run-Id") == Some(run.id.to_string().as_str())
        && trailer(message, "Selfheal-Draft").is_some() == (kind == Kind::Draft)
        && kind
            .trailers()
            .iter()
            .all(|(key, value)| trailer(message, key) == Some(value))
}
