//! `build-web`: checks the page that the server embeds from `web/`. It needs no
//! build yet; what can go wrong is a page that was cut off, a file it names that is
//! not there, or something that it would load from elsewhere.

use anyhow::{Context, Result, bail};
use std::fs;
use std::path::Path;

/// Marks of a whole page.
const MARKS: [&str; 4] = ["<!doctype html>", "<html lang=", "<title>", "</html>"];

/// Checks `web/index.html` and the files it names.
pub(crate) fn build(root: &Path) -> Result<()> {
    let web = root.join("web");
    let page = fs::read_to_string(web.join("index.html")).context("cannot read web/index.html")?;
    let files = check(&page)?;
    for file in &files {
        let text = fs::read_to_string(web.join(file))
            .with_context(|| format!("web/index.html names {file}"))?;
        if text.contains("@import") || text.contains("from \"http") || text.contains("url(http") {
            bail!("web/{file} loads something from outside this server");
        }
    }
    println!(
        "web: index.html and {} are in order, and are embedded as they stand",
        files.join(", ")
    );
    Ok(())
}

/// The local files that a page loads.
fn check(page: &str) -> Result<Vec<String>> {
    let lower = page.to_ascii_lowercase();
    if let Some(mark) = MARKS.iter().find(|mark| !lower.contains(*mark)) {
        bail!("web/index.html has no {mark}");
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
            bail!("web/index.html loads {target}, which is outside this server");
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
        assert_eq!(check(page).unwrap(), ["app.js"]);
        assert!(check(page.trim_end_matches("</html>")).is_err());
        assert!(check(&page.replace("/app.js", "https://cdn.example/x.js")).is_err());
        assert!(check(&page.replace("/app.js", "//cdn.example/x.js")).is_err());
    }
}
