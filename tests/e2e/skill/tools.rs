//! The same with the tools of `selfheal mcp`.

use super::skill;
use crate::programs::cart;
use selfheal_tests::{Project, TestHost, binary, foreign_command};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Stdio};

/// A client of the server, whose person can be asked or not.
struct Client {
    process: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
    calls: u64,
    /// What the person was asked.
    asked: Vec<String>,
}

impl Client {
    fn start(project: &Project, url: &str, token: &str, capabilities: &Value) -> Self {
        let mut process = project
            .command(&project.outside(), &["mcp"])
            .env("SELFHEAL_URL", url)
            .env("SELFHEAL_TOKEN", token)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut client = Self {
            input: process.stdin.take().unwrap(),
            output: BufReader::new(process.stdout.take().unwrap()),
            process,
            calls: 0,
            asked: Vec::new(),
        };
        let hello = json!({
            "protocolVersion": "2025-06-18", "capabilities": capabilities,
            "clientInfo": { "name": "test", "version": "1" },
        });
        let said = client.request("initialize", &hello, None);
        assert!(said["instructions"].as_str().unwrap().contains("plain yes"));
        client.write(&json!({ "jsonrpc": "2.0", "method": "notifications/initialized" }));
        client
    }

    fn write(&mut self, message: &Value) {
        writeln!(self.input, "{message}").unwrap();
        self.input.flush().unwrap();
    }

    /// The result; where the server asks the person meanwhile, they say `word`.
    fn request(&mut self, method: &str, parameters: &Value, word: Option<bool>) -> Value {
        self.calls += 1;
        let id = json!(self.calls);
        self.write(&json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": parameters }));
        loop {
            let mut line = String::new();
            assert_ne!(self.output.read_line(&mut line).unwrap(), 0, "it ended");
            let message: Value = serde_json::from_str(&line).unwrap();
            if message["method"] == "elicitation/create" {
                let question = message["params"]["message"].as_str().unwrap();
                self.asked.push(question.to_owned());
                let answer = match word.expect("nobody is asked here") {
                    true => json!({ "action": "accept", "content": { "yes": true } }),
                    false => json!({ "action": "decline" }),
                };
                self.write(&json!({ "jsonrpc": "2.0", "id": message["id"], "result": answer }));
                continue;
            }
            assert_eq!(message["id"], id, "{message}");
            return message["result"].clone();
        }
    }

    /// What a tool says, and whether it did what it was asked for.
    fn call(&mut self, tool: &str, arguments: &Value, word: Option<bool>) -> (bool, String) {
        let call = json!({ "name": tool, "arguments": arguments });
        let result = self.request("tools/call", &call, word);
        let text = result["content"][0]["text"].as_str().unwrap().to_owned();
        (result["isError"] != true, text)
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The code of a report that a tool showed.
fn code_in(text: &str) -> Option<&str> {
    let (_, code) = text.split_once("Code of this report: ")?;
    Some(code.trim())
}

#[test]
fn the_golden_run_with_the_tools_is_true() {
    let project = cart();
    let host = TestHost::start(&project, |_, _| {});
    let token = host.user(&project, "ada", "user");
    let forms = json!({ "elicitation": {} });
    let mut client = Client::start(&project, host.url(), &token, &forms);
    let text = std::fs::read_to_string(skill().join("references/golden-run-mcp.md")).unwrap();
    let mut parts = text.split("\n```");
    parts.next();
    let (mut code, mut came, mut ran) = (String::new(), None, 0);
    while let Some(part) = parts.next() {
        let (kind, body) = part.split_once('\n').unwrap();
        let words: Vec<_> = kind.split(' ').collect();
        match words.as_slice() {
            ["call", tool, rest @ ..] => {
                let word = match rest {
                    ["yes"] => Some(true),
                    ["no"] => Some(false),
                    _ => None,
                };
                let arguments: Value = serde_json::from_str(&body.replace("CODE", &code)).unwrap();
                let before = client.asked.len();
                came = Some(client.call(tool, &arguments, word));
                assert_eq!(client.asked.len() - before, usize::from(word.is_some()));
                // Whoever is asked sees every word of it.
                if let Some(question) = client.asked.get(before) {
                    let fields = arguments.as_object().unwrap().iter();
                    let texts = fields.filter(|(field, text)| *field != "code" && text.is_string());
                    for (_, text) in texts {
                        assert!(question.contains(text.as_str().unwrap()), "{question}");
                    }
                }
                ran += 1;
            }
            [outcome @ ("said" | "refused")] => {
                let (done, text) = came.take().expect("a call before it");
                if let Some(new) = code_in(&text) {
                    code = new.to_owned();
                }
                let expected = body.replace("CODE", &code);
                let expected = expected.replace("http://HOST", host.url());
                assert_eq!(text.trim_end(), expected.trim_end());
                assert_eq!(done, *outcome == "said", "{text}");
            }
            other => panic!("{other:?}"),
        }
        // What follows the closing fence is conversation.
        parts.next();
    }
    assert_eq!(ran, 11, "calls of the golden run");

    let issue = host.admin("GET", "/issues/1", None);
    for (field, text) in [
        ("source", "skill"),
        ("reportedBy", "ada"),
        ("title", "Totals are wrong when an order has a discount"),
        ("description", "Since Monday. Seen on order 1001."),
        ("stepsToReproduce", "Open order 1001 (100.00 with 10 %)."),
        ("expectedBehavior", "The total is 90.00."),
        ("actualBehavior", "The total is 100.00."),
    ] {
        assert_eq!(issue[field], text, "{field}");
    }
    assert_eq!(issue["comments"].as_array().map(Vec::len), Some(1));
    let all = host.admin("GET", "/issues", None);
    assert_eq!(all["items"].as_array().map(Vec::len), Some(1));
}

/// Whoever has the tools may what a reporter may, whoever they are.
#[test]
fn the_tools_report_and_decide_nothing() {
    let project = cart();
    let host = TestHost::start(&project, |_, _| {});
    let report = json!({
        "title": "The logo is gone", "description": "Since today.",
        "stepsToReproduce": "Open the page.", "expectedBehavior": "A logo.",
        "actualBehavior": "None.",
    });
    let with = |code: &str| {
        let mut report = report.clone();
        report["code"] = json!(code);
        report
    };

    // A client that cannot ask: the code alone says what was shown.
    let mut admin = Client::start(&project, host.url(), &host.admin, &json!({}));
    let tools = admin.request("tools/list", &json!({}), None);
    let tools: Vec<_> = (tools["tools"].as_array().unwrap().iter())
        .map(|tool| tool["name"].as_str().unwrap())
        .collect();
    assert_eq!(
        tools,
        [
            "options",
            "show_report",
            "send_report",
            "comment_on_issue",
            "follow_issue",
            "list_issues"
        ]
    );
    let (shown, text) = admin.call("show_report", &report, None);
    assert!(shown);
    let code = code_in(&text).unwrap().to_owned();
    let (sent, _) = admin.call("send_report", &with("0123456789ab"), None);
    assert!(!sent);
    for _ in 0..2 {
        let (sent, text) = admin.call("send_report", &with(&code), None);
        assert!(sent && text.starts_with("Sent as issue 1:"), "{text}");
    }
    for field in ["severity", "priority", "source", "fingerprint"] {
        let mut more = with(&code);
        more[field] = json!("HIGH");
        let (sent, text) = admin.call("send_report", &more, None);
        assert!(!sent && text.contains("is no field of a report"), "{text}");
    }
    // A code is good in the server that gave it.
    let mut other = Client::start(&project, host.url(), &host.admin, &json!({}));
    assert!(!other.call("send_report", &with(&code), None).0);

    let auditor = host.user(&project, "audrey", "auditor");
    let mut auditor = Client::start(&project, host.url(), &auditor, &json!({}));
    let (_, text) = auditor.call("show_report", &report, None);
    let code = code_in(&text).unwrap().to_owned();
    let (sent, why) = auditor.call("send_report", &with(&code), None);
    assert!(!sent && why.contains("only a user or an admin"), "{why}");
    let ada = host.user(&project, "ada", "user");
    let mut ada = Client::start(&project, host.url(), &ada, &json!({}));
    assert!(!ada.call("follow_issue", &json!({ "number": 1 }), None).0);
    let comment = json!({ "number": 1, "content": "mine?" });
    assert!(!ada.call("comment_on_issue", &comment, None).0);
    let all = host.admin("GET", "/issues", None);
    assert_eq!(all["items"].as_array().map(Vec::len), Some(1));

    for url in ["http://selfheal.example", "ftp://127.0.0.1", "x"] {
        let environment = [("SELFHEAL_URL", url), ("SELFHEAL_TOKEN", "sfh_secret")];
        let ran = project.selfheal_with(&project.outside(), &["mcp"], &environment);
        assert_eq!(ran.code, 2, "{ran:?}");
        assert!(ran.stderr.contains("must be https"), "{ran:?}");
        assert!(!ran.stderr.contains("sfh_secret"));
    }
}

/// The official client, where it is installed: `pip install --target target/mcp-sdk -r
/// host/crates/mcp/tests/server/requirements.txt`.
#[test]
fn the_official_client_reports_with_the_tools() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let python = || {
        let mut command = foreign_command("python3");
        command
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("PYTHONPATH", root.join("../target/mcp-sdk"))
            .env("PYTHONDONTWRITEBYTECODE", "1");
        command
    };
    let found = python().args(["-c", "import mcp"]).output().unwrap();
    if !found.status.success() {
        let ci = std::env::var("CI").as_deref() == Ok("true");
        assert!(!ci, "the official MCP SDK is missing");
        println!("skipped: the official MCP SDK is not installed");
        return;
    }
    let project = cart();
    let host = TestHost::start(&project, |_, _| {});
    let report = json!({
        "title": "The logo is gone", "description": "Since today.",
        "stepsToReproduce": "Open the page.", "expectedBehavior": "A logo.",
        "actualBehavior": "None.",
    });
    let ran = python()
        .env("SELFHEAL_URL", host.url())
        .env("SELFHEAL_TOKEN", host.user(&project, "ada", "user"))
        .arg(root.join("e2e/skill/client.py"))
        .arg(binary())
        .arg(report.to_string())
        .output()
        .unwrap();
    let error = String::from_utf8_lossy(&ran.stderr);
    assert!(ran.status.success(), "{error}");
    let told: Value = serde_json::from_slice(&ran.stdout).unwrap();
    assert_eq!(told["refused"], false, "{told}");
    let asked = told["asked"].as_array().unwrap();
    assert_eq!(asked.len(), 1, "{told}");
    assert!(asked[0].as_str().unwrap().contains("A logo."), "{told}");
    let followed = told["followed"].as_str().unwrap();
    assert!(followed.starts_with("1  OPEN  The logo is gone"), "{told}");
}
