//! The single factors of the score. Each is named, has a most of points, and never
//! falls when a patch gets a further file or line, except where a line puts back
//! what another one takes away.

pub(crate) mod areas;
pub(crate) mod circumstances;
pub(crate) mod code;
pub(crate) mod nature;
pub(crate) mod reach;

use selfheal_policy_sdk::Patch;

/// Added and removed lines of all files.
fn lines(patch: &Patch) -> impl Iterator<Item = &str> {
    patch
        .files
        .iter()
        .flat_map(|file| file.added.iter().chain(&file.removed))
        .map(String::as_str)
}

/// A line for people.
fn clipped(line: &str) -> String {
    line.trim().chars().take(120).collect()
}
