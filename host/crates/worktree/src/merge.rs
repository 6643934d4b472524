//! Carrying the change `from → to` over to a third version of the same file.

use git2::{MergeFileInput, MergeFileOptions, MergeFileResult};

/// The change does not carry over.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Clash;

/// A version of a file; none where there is no such file.
pub(crate) type Version = Option<Vec<u8>>;

/// What `onto` becomes when the change `from → to` is made to it too.
///
/// # Errors
/// [`Clash`]: both changed the same place, or one of them is not text.
pub(crate) fn carry(from: &Version, to: &Version, onto: &Version) -> Result<Version, Clash> {
    if onto == from {
        return Ok(to.clone());
    }
    if onto == to || from == to {
        return Ok(onto.clone());
    }
    match (from, to, onto) {
        (Some(from), Some(to), Some(onto)) => merge(from, onto, to).map(Some),
        _ => Err(Clash),
    }
}

fn merge(ancestor: &[u8], ours: &[u8], theirs: &[u8]) -> Result<Vec<u8>, Clash> {
    if [ancestor, ours, theirs]
        .iter()
        .any(|content| content.contains(&0))
    {
        return Err(Clash);
    }
    // git2 does not see to this in its free functions.
    libgit2_sys::init();
    let mut inputs = [ancestor, ours, theirs].map(|content| {
        let mut input = MergeFileInput::new();
        input.content(content);
        input
    });
    for input in &mut inputs {
        input.path("file");
    }
    let [ancestor, ours, theirs] = &inputs;
    let result: MergeFileResult =
        git2::merge_file(ancestor, ours, theirs, Some(&mut MergeFileOptions::new()))
            .map_err(|_| Clash)?;
    if result.is_automergeable() {
        Ok(result.content().to_vec())
    } else {
        Err(Clash)
    }
}

#[cfg(test)]
mod tests {
    use super::{Clash, Version, carry};

    fn text(content: &str) -> Version {
        Some(content.as_bytes().to_vec())
    }

    #[test]
    fn carries_a_change_over_to_another_version() {
        let from = text("a\nb\nc\nd\ne\nf\n");
        let to = text("A\nb\nc\nd\ne\nf\n");
        let onto = text("a\nb\nc\nd\ne\nF\n");
        assert_eq!(carry(&from, &to, &onto), Ok(text("A\nb\nc\nd\ne\nF\n")));
        assert_eq!(carry(&from, &to, &from), Ok(to.clone()));
        assert_eq!(carry(&from, &to, &to), Ok(to.clone()));
    }

    #[test]
    fn clashes_rather_than_guesses() {
        let from = text("a\nb\n");
        assert_eq!(carry(&from, &text("x\nb\n"), &text("y\nb\n")), Err(Clash));
        assert_eq!(carry(&from, &text("x\nb\n"), &None), Err(Clash));
        assert_eq!(carry(&from, &None, &text("y\nb\n")), Err(Clash));
        assert_eq!(carry(&None, &text("x"), &text("y")), Err(Clash));
        assert_eq!(
            carry(
                &text("a\0\nb\nc\n"),
                &text("a\0\nb\nC\n"),
                &text("A\0\nb\nc\n")
            ),
            Err(Clash)
        );
    }
}
