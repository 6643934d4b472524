//! `index.html`: the evidence for people. No scripts, nothing from the network, and no
//! text of somebody else that is anything but text.

use crate::{Evidence, NamedCommit, name_of};
use selfheal_domain::verification::Verification;
use serde_json::Value;
use std::fmt::Write;

const HEAD: &str = "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src \
'unsafe-inline'; form-action 'none'; base-uri 'none'\">\
<meta name=\"referrer\" content=\"no-referrer\">\
<meta name=\"viewport\" content=\"width=device-width\">\
<style>body{font:16px/1.5 system-ui,sans-serif;max-width:70rem;margin:2rem auto;padding:0 1rem;\
color:#1a1a1a;background:#fff}h1{font-size:1.5rem}h2{font-size:1.2rem;margin-top:2rem;\
border-bottom:1px solid #ccc}table{border-collapse:collapse;width:100%}th,td{text-align:left;\
vertical-align:top;padding:.25rem .5rem;border-bottom:1px solid #ddd;overflow-wrap:anywhere}\
pre{white-space:pre-wrap;overflow-wrap:anywhere;background:#f5f5f5;padding:.5rem;\
border:1px solid #ddd}code{overflow-wrap:anywhere}.add{color:#116329}.del{color:#a40e26}\
.text{white-space:pre-wrap;unicode-bidi:isolate;overflow-wrap:anywhere}</style>";

/// Most characters of one text on the page; the files hold all of it.
const SHOWN: usize = 20_000;
/// Most rows of a table on the page.
const ROWS: usize = 2_000;

pub(crate) fn page(evidence: &Evidence<'_>, commits: &[NamedCommit]) -> String {
    let issue = evidence.issue;
    let mut out = Page(String::from(HEAD));
    let number = issue.number.0;
    out.raw(&format!(
        "<title>Evidence of issue {number}</title></head><body><main>"
    ));
    out.raw(&format!("<h1>Issue {number}: "));
    out.text(&issue.report.title);
    out.raw("</h1>");
    facts(&mut out, evidence.shown);
    for (title, key) in [
        ("What was reported", "description"),
        ("Steps", "stepsToReproduce"),
        ("Expected", "expectedBehavior"),
        ("Actual", "actualBehavior"),
        ("Cause", "rootCause"),
        ("Why this patch", "patchRationale"),
        ("Why it was rejected", "rejectionReason"),
    ] {
        if let Some(text) = evidence.shown.get(key).and_then(Value::as_str) {
            out.heading(title);
            out.block(text);
        }
    }
    runs(&mut out, evidence);
    decisions(&mut out, evidence.decisions);
    comments(&mut out, evidence.shown);
    timeline(&mut out, evidence);
    log(&mut out, evidence);
    commits_table(&mut out, commits);
    out.heading("How to check it");
    out.block(&crate::readme::readme(evidence, commits));
    out.raw("</main></body></html>\n");
    out.0
}

fn facts(out: &mut Page, shown: &Value) {
    out.raw("<table>");
    for (title, key) in [
        ("State", "status"),
        ("Severity", "severity"),
        ("Priority", "priority"),
        ("Reported by", "reportedBy"),
        ("Approved by", "approvedBy"),
        ("Service", "service"),
        ("Risk", "riskLevel"),
        ("Score of the risk", "riskScore"),
        ("Autonomy", "autonomyDecision"),
        ("Verification", "verificationResult"),
        ("Opened", "createdAt"),
        ("Resolved", "resolvedAt"),
    ] {
        if let Some(value) = shown.get(key) {
            out.row(&[title, &plain(value)]);
        }
    }
    out.raw("</table>");
}

fn runs(out: &mut Page, evidence: &Evidence<'_>) {
    for run in &evidence.issue.runs {
        out.heading(&format!("Run {}", run.number.0));
        out.raw("<table>");
        out.row(&["State", &format!("{:?}", run.status)]);
        out.row(&["Agent", &run.agent]);
        out.row(&["Policy generation", &run.policy_generation.to_string()]);
        if let Some(reason) = &run.end_reason {
            out.row(&["Why it ended", reason]);
        }
        out.raw("</table>");
        if let Some(diagnosis) = &run.diagnosis {
            out.raw("<h3>Diagnosis</h3>");
            out.block(&diagnosis.root_cause);
        }
        if let Some(draft) = &run.draft {
            out.raw("<h3>Patch</h3>");
            out.block(&draft.rationale);
            out.diff(&draft.patch.diff);
        }
        for (title, checked) in [
            ("Proof before it was applied", &run.proof),
            ("Verification after it was applied", &run.verification),
        ] {
            if let Some(checked) = checked {
                verification(out, title, checked);
            }
        }
    }
}

fn verification(out: &mut Page, title: &str, checked: &Verification) {
    out.raw("<h3>");
    out.text(&format!("{title}: {:?}", checked.result()));
    out.raw("</h3><table><tr><th>Check</th><th>Result</th><th>Seen</th></tr>");
    for check in &checked.checks {
        out.row(&[&check.name, &format!("{:?}", check.result), &check.detail]);
    }
    out.raw("</table>");
}

fn decisions(out: &mut Page, decisions: &[Value]) {
    if decisions.is_empty() {
        return;
    }
    out.heading("Decisions");
    out.raw("<p>With what the policies were asked with in <code>decisions.json</code>.</p><table>");
    out.raw("<tr><th>Record</th><th>What</th><th>Answer</th><th>Why</th></tr>");
    for decision in decisions.iter().take(ROWS) {
        let field = |keys: &[&str]| {
            let found = keys.iter().find_map(|key| decision.get(*key));
            found.map(plain).unwrap_or_default()
        };
        out.row(&[
            &field(&["seq"]),
            &format!("{} {}", field(&["kind", "type"]), field(&["tool"])),
            &field(&["verdict", "action", "answer"]),
            &field(&["reasons", "reason"]),
        ]);
    }
    out.raw("</table>");
    out.left_out(decisions.len());
}

fn comments(out: &mut Page, shown: &Value) {
    let comments = shown.get("comments").and_then(Value::as_array);
    let Some(comments) = comments.filter(|comments| !comments.is_empty()) else {
        return;
    };
    out.heading("Comments");
    out.raw("<table><tr><th>When</th><th>Who</th><th>What</th></tr>");
    for comment in comments.iter().take(ROWS) {
        let field = |key: &str| comment.get(key).map(plain).unwrap_or_default();
        out.row(&[&field("createdAt"), &field("author"), &field("content")]);
    }
    out.raw("</table>");
    out.left_out(comments.len());
}

fn timeline(out: &mut Page, evidence: &Evidence<'_>) {
    out.heading("What happened");
    out.raw("<table><tr><th>Record</th><th>When</th><th>Who</th><th>What</th></tr>");
    for event in evidence.timeline.iter().take(ROWS) {
        let field = |key: &str| event.get(key).map(plain).unwrap_or_default();
        out.row(&[
            &field("seq"),
            &field("at"),
            &field("actor"),
            &field("summary"),
        ]);
    }
    out.raw("</table>");
    out.left_out(evidence.timeline.len());
}

fn log(out: &mut Page, evidence: &Evidence<'_>) {
    out.heading("Its records in the audit log");
    out.raw("<table><tr><th>Record</th><th>Type</th><th>Hash</th><th>Proved under</th></tr>");
    for record in evidence.records.iter().take(ROWS) {
        let proof = evidence.proofs.iter().find(|it| it.index == record.seq);
        let head = proof.map_or_else(
            || "no proof".to_owned(),
            |proof| format!("{} records, root {}", proof.head.size, proof.head.root),
        );
        out.row(&[
            &record.seq.to_string(),
            &name_of(&record.event),
            &record.hash.to_string(),
            &head,
        ]);
    }
    out.raw("</table>");
    out.left_out(evidence.records.len());
}

fn commits_table(out: &mut Page, commits: &[NamedCommit]) {
    if commits.is_empty() {
        return;
    }
    out.heading("Commits");
    out.raw("<table><tr><th>Run</th><th>What</th><th>Commit</th></tr>");
    for NamedCommit { run, kind, commit } in commits {
        out.row(&[&run.to_string(), kind, &commit.to_string()]);
    }
    out.raw("</table>");
}

/// A value as text: strings as they are, the rest as JSON.
fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// The page so far. Everything but [`Page::raw`] escapes.
struct Page(String);

impl Page {
    /// Our own markup.
    fn raw(&mut self, markup: &str) {
        self.0.push_str(markup);
    }

    fn text(&mut self, text: &str) {
        let mut shown = 0;
        for c in text.chars() {
            shown += 1;
            if shown > SHOWN {
                self.0.push_str(" [cut; the files hold all of it]");
                return;
            }
            match c {
                '&' => self.0.push_str("&amp;"),
                '<' => self.0.push_str("&lt;"),
                '>' => self.0.push_str("&gt;"),
                '"' => self.0.push_str("&quot;"),
                '\'' => self.0.push_str("&#39;"),
                c => self.0.push_str(&visible(c)),
            }
        }
    }

    fn heading(&mut self, text: &str) {
        self.raw("<h2>");
        self.text(text);
        self.raw("</h2>");
    }

    fn block(&mut self, text: &str) {
        self.raw("<pre class=\"text\">");
        self.text(text);
        self.raw("</pre>");
    }

    fn row(&mut self, cells: &[&str]) {
        self.raw("<tr>");
        for cell in cells {
            self.raw("<td class=\"text\">");
            self.text(cell);
            self.raw("</td>");
        }
        self.raw("</tr>");
    }

    fn diff(&mut self, diff: &str) {
        self.raw("<pre>");
        for line in diff.lines().take(ROWS) {
            let class = match line.as_bytes().first() {
                Some(b'+') => "<span class=\"add\">",
                Some(b'-') => "<span class=\"del\">",
                _ => "<span>",
            };
            self.raw(class);
            self.text(line);
            self.raw("</span>\n");
        }
        self.raw("</pre>");
        self.left_out(diff.lines().count());
    }

    fn left_out(&mut self, rows: usize) {
        if let Some(more) = rows.checked_sub(ROWS).filter(|more| *more > 0) {
            // Writing to a string cannot fail.
            let _ = write!(self.0, "<p>{more} more in the files.</p>");
        }
    }
}

/// What steers a display instead of being shown is shown as its number: control
/// characters, and those that turn the direction of the text around them.
fn visible(c: char) -> String {
    let steers = matches!(
        c,
        '\u{200b}'..='\u{200f}'
            | '\u{202a}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}'
            | '\u{feff}'
            | '\u{e0000}'..='\u{e007f}'
    ) || (c.is_control() && !matches!(c, '\n' | '\t'));
    if steers {
        format!("\\u{{{:x}}}", u32::from(c))
    } else {
        c.to_string()
    }
}

/// One harmless line of plain text, for Markdown.
pub(crate) fn one_line(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_whitespace() { ' ' } else { c })
        .map(visible)
        .take(300)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_somebody_wrote_is_markup() {
        let mut page = Page(String::new());
        let hostile =
            "</pre><script>alert(1)</script><img src=x onerror='y'>&\"\u{202e}\u{1b}[2J\0";
        page.block(hostile);
        page.row(&[hostile]);
        page.diff(&format!("+{hostile}"));
        page.heading(hostile);
        assert!(
            !page.0.contains("<script") && !page.0.contains("<img"),
            "{}",
            page.0
        );
        assert!(!page.0.contains(['\u{202e}', '\u{1b}', '\0']));
        assert!(page.0.contains("&lt;script&gt;") && page.0.contains("\\u{202e}"));
        assert_eq!(one_line("a\n# b\u{202e}"), "a # b\\u{202e}");
    }
}
