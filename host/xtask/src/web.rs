//! `build-web`: builds the page in `web/` into `web/dist`, which the server embeds and
//! which is committed, so that nobody needs npm to build the server. `ci` checks that
//! what is committed is what a build makes, and drives the page in a browser.

use crate::ci;
use anyhow::{Context, Result, bail};
use selfheal_guest_build::process::{attempt, run};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Marks of a whole page.
const MARKS: [&str; 4] = ["<!doctype html>", "<html lang=", "<title>", "</html>"];

/// Builds the page into `web/dist`.
pub(crate) fn build(root: &Path) -> Result<()> {
    let web = root.join("web");
    install(&web)?;
    build_into(&web, &web.join("dist"))
}

/// Checks types, style and that `web/dist` is what a build makes.
pub(crate) fn check(root: &Path) -> Result<()> {
    let web = root.join("web");
    install(&web)?;
    npm(&web, &["run", "--silent", "check"])?;
    // Beside the other one: what is named relative to it stays true.
    let fresh = web.join("test-results/dist");
    build_into(&web, &fresh)?;
    let differ = differences(&files(&web.join("dist"))?, &files(&fresh)?);
    if !differ.is_empty() {
        bail!(
            "web/dist is not what web/ builds (run `cargo xtask build-web` and commit it): {}",
            differ.join(", ")
        );
    }
    fs::remove_dir_all(&fresh).with_context(|| format!("cannot remove {}", fresh.display()))
}

/// How much of the browser's tests runs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Extent {
    /// All.
    Whole,
    /// Those tagged `@sample`.
    Sample,
}

/// Drives the page of the debug binary in a browser.
pub(crate) fn test(root: &Path, extent: Extent) -> Result<()> {
    let web = root.join("web");
    install(&web)?;
    let mut test = Command::new("npm");
    test.args(["run", "--silent", "test"]);
    if extent == Extent::Sample {
        test.args(["--", "--grep", "@sample"]);
    }
    test.env("SELFHEAL_BIN", ci::binary(root, "debug"))
        .current_dir(&web);
    Ok(run(&mut test)?)
}

/// Installs what the lock file names, unless that was done already.
fn install(web: &Path) -> Result<()> {
    if attempt(Command::new("npm").arg("--version")).is_none() {
        bail!(
            "needs npm (Node.js 20.19 or newer); the server itself builds without it, from web/dist"
        );
    }
    let changed = |path: PathBuf| fs::metadata(path).and_then(|found| found.modified()).ok();
    let installed = changed(web.join("node_modules/.package-lock.json"));
    if installed.is_some() && installed >= changed(web.join("package-lock.json")) {
        return Ok(());
    }
    npm(
        web,
        &[
            "ci",
            "--silent",
            "--ignore-scripts",
            "--no-audit",
            "--no-fund",
        ],
    )
}

fn npm(web: &Path, arguments: &[&str]) -> Result<()> {
    Ok(run(Command::new("npm").args(arguments).current_dir(web))?)
}

fn build_into(web: &Path, dist: &Path) -> Result<()> {
    let mut build = Command::new("npm");
    build
        .args(["run", "--silent", "build", "--", "--logLevel=warn"])
        .env("WEB_OUT", dist)
        .current_dir(web);
    run(&mut build)?;
    let page = dist.join("index.html");
    let page = fs::read_to_string(&page).with_context(|| format!("no {}", page.display()))?;
    for file in named(&page)? {
        if !dist.join(&file).is_file() {
            bail!("web/dist/index.html names {file}, which was not built");
        }
    }
    Ok(())
}

/// All files below a directory with their contents.
fn files(directory: &Path) -> Result<BTreeMap<PathBuf, Vec<u8>>> {
    let mut found = BTreeMap::new();
    let mut open = vec![directory.to_owned()];
    while let Some(next) = open.pop() {
        let entries = fs::read_dir(&next).with_context(|| format!("no {}", next.display()))?;
        for entry in entries {
            let path = entry?.path();
            if path.is_dir() {
                open.push(path);
            } else if let Ok(name) = path.strip_prefix(directory) {
                found.insert(name.to_owned(), fs::read(&path)?);
            }
        }
    }
    Ok(found)
}

/// Names of files that are not in both, or not equal.
fn differences(
    one: &BTreeMap<PathBuf, Vec<u8>>,
    other: &BTreeMap<PathBuf, Vec<u8>>,
) -> Vec<String> {
    let mut names: Vec<_> = one.keys().chain(other.keys()).collect();
    names.sort();
    names.dedup();
    names.retain(|name| one.get(*name) != other.get(*name));
    names
        .iter()
        .map(|name| name.display().to_string())
        .collect()
}

/// The local files that a page loads.
fn named(page: &str) -> Result<Vec<String>> {
    let lower = page.to_ascii_lowercase();
    if let Some(mark) = MARKS.iter().find(|mark| !lower.contains(*mark)) {
        bail!("the page has no {mark}");
    }
    let mut files = Vec::new();
    for tag in page
        .split('<')
        .filter(|tag| tag.starts_with("script") || tag.starts_with("link"))
    {
        let named = ["src=\"", "href=\""]
            .iter()
            .find_map(|attribute| tag.split_once(attribute));
        let Some(target) = named.and_then(|(_, rest)| rest.split('"').next()) else {
            continue;
        };
        // An installation works without a network, and a page that loads nothing leaks nothing.
        if target.contains("://") || target.starts_with("//") {
            bail!("the page loads {target}, which is outside this server");
        }
        if !target.starts_with("data:") {
            files.push(target.trim_start_matches('/').to_owned());
        }
    }
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_whole_and_keeps_to_itself() {
        let page = "<!doctype html><html lang=\"en\"><title>x</title><script src=\"/app.js\"></script></html>";
        assert_eq!(named(page).unwrap(), ["app.js"]);
        assert!(named(page.trim_end_matches("</html>")).is_err());
        assert!(named(&page.replace("/app.js", "https://cdn.example/x.js")).is_err());
        assert!(named(&page.replace("/app.js", "//cdn.example/x.js")).is_err());
    }

    #[test]
    fn what_was_built_differs_by_name_or_content() {
        let tree = |files: &[(&str, &str)]| {
            let pair =
                |(name, text): &(&str, &str)| (PathBuf::from(name), text.as_bytes().to_vec());
            files.iter().map(pair).collect::<BTreeMap<_, _>>()
        };
        let kept = tree(&[("a.js", "1"), ("b.js", "2")]);
        assert!(differences(&kept, &kept).is_empty());
        let fresh = tree(&[("a.js", "1"), ("c.js", "2")]);
        assert_eq!(differences(&kept, &fresh), ["b.js", "c.js"]);
        assert_eq!(
            differences(&kept, &tree(&[("a.js", "1"), ("b.js", "3")])),
            ["b.js"]
        );
    }
}
