//! Language models as agents: a scripted one over the Anthropic Messages API walks the
//! real binary through a real repair; one that is down leaves it to the engine.

use crate::programs::{cart, healed_cart, hopeless};
use selfheal_tests::{ModelServer, Project, TestHost, Turn, answers, calls, offered, says};
use serde_json::{Value, json};

const ROMAN: &str = "\
def to_roman(number):
    signs = [
        (1000, 'M'), (900, 'CM'), (500, 'D'), (400, 'CD'), (100, 'C'), (90, 'XC'),
        (50, 'L'), (40, 'XL'), (10, 'X'), (9, 'IX'), (5, 'V'), (4, 'IV'), (1, 'I'),
    ]
    text = ''
    for value, sign in signs:
        while number >= value:
            text += sign
            number -= value
    return text
";

/// Knows how to write the function that no template can invent.
fn able(request: &Value) -> Turn {
    let tools = offered(request);
    let blocks = match (tools.contains(&"submit_patch"), answers(request)) {
        (false, 0) => vec![
            says("I look at the failing function."),
            calls("Read", json!({ "file_path": "roman.py" })),
            calls(
                "Bash",
                json!({ "command": "python3 -m unittest -q", "timeout": 60_000 }),
            ),
            calls(
                "Grep",
                json!({ "pattern": "to_roman", "path": ".", "glob": "*.py" }),
            ),
            calls("Bash", json!({ "command": "echo no > roman.py" })),
            calls(
                "Grep",
                json!({ "pattern": "raise", "path": "roman.py", "output_mode": "content" }),
            ),
        ],
        (false, 1) => vec![calls("submit_diagnosis", json!({ "root_cause": "?" }))],
        (false, _) => vec![calls(
            "submit_diagnosis",
            json!({
                "root_cause": "to_roman in roman.py was never written: it only raises NotImplementedError.",
                "confidence": 0.95, "affected_files": ["roman.py"], "affected_services": [],
                "suggested_fix": "Write it: subtract the largest sign that fits, until nothing is left.",
            }),
        )],
        (true, 0) => vec![calls(
            "Write",
            json!({ "file_path": "roman.py", "content": ROMAN }),
        )],
        (true, 1) => vec![calls(
            "Bash",
            json!({ "command": "python3 -m unittest -q" }),
        )],
        (true, _) => vec![calls(
            "submit_patch",
            json!({ "rationale": "Writes to_roman. It subtracts the largest sign that fits.", "confidence": 0.9 }),
        )],
    };
    Turn::Blocks(blocks)
}

fn model(url: &str, name: &str) -> String {
    format!("\n[[agent.model]]\nkind = \"anthropic\"\nmodel = \"{name}\"\nbase_url = \"{url}\"\n")
}

fn use_models(config: &mut String, models: &str) {
    *config = config.replacen("provider = \"builtin\"", "provider = \"model\"", 1);
    config.push_str(models);
}

/// What a tool answered in this request, with the error mark.
fn results(request: &Value) -> Vec<(String, bool)> {
    let messages = request["messages"].as_array().unwrap();
    let content = messages.last().unwrap()["content"].as_array().unwrap();
    content
        .iter()
        .filter(|block| block["type"] == "tool_result")
        .map(|block| {
            (
                block["content"].to_string(),
                block["is_error"] == Value::Bool(true),
            )
        })
        .collect()
}

#[test]
fn a_model_diagnoses_and_drafts_what_no_template_can() {
    let server = ModelServer::start(able);
    let project = hopeless();
    let host = TestHost::start(&project, |config, _| {
        use_models(config, &model(&server.url(), "scripted"));
    });
    host.level(1);
    let number = host.report(&host.admin.clone(), "Roman numerals do not work");
    host.admin("PATCH", &format!("/issues/{number}/approve"), None);
    let issue = host.wait_for(number, &["PATCH_PENDING", "FAILED", "ESCALATED"]);
    assert_eq!(issue["status"], "PATCH_PENDING", "{issue}");
    assert_eq!(
        issue["rootCause"].as_str().unwrap().find("to_roman"),
        Some(0)
    );
    assert_eq!(issue["affectedFiles"], json!(["roman.py"]));

    let seen = server.seen();
    let brief = seen[0]["messages"][0]["content"].to_string();
    assert!(
        brief.contains("NotImplementedError") && brief.contains("trust="),
        "{brief}"
    );
    let told = results(&seen[1]);
    assert!(told[0].0.contains("raise NotImplementedError"), "{told:?}");
    assert!(told[1].0.contains("Exit code 1"), "{told:?}");
    assert!(told[2].0.contains("roman.py") && told[2].0.contains("test_roman.py"));
    assert!(
        !told[3].0.contains("Exit code 0"),
        "nothing is written in a diagnosis: {told:?}"
    );
    assert!(
        told[4].0.contains("roman.py:2:") && !told[4].0.contains("test_"),
        "{told:?}"
    );
    assert!(results(&seen[2])[0].0.contains("missing field") && results(&seen[2])[0].1);

    let log = issue["diagnosticLog"].as_str().unwrap();
    let place = log
        .lines()
        .find_map(|line| line.strip_prefix("full transcript: "))
        .unwrap();
    let (file, digest) = place.split_once(" sha256:").unwrap();
    let transcript = project.outside().join("data").join(file);
    let text = std::fs::read_to_string(&transcript).unwrap();
    assert!(text.contains("I look at the failing function."));
    assert_eq!(digest.len(), 64);

    let patch = host.admin("GET", &format!("/issues/{number}/patch"), None);
    let body = json!({ "patchDigest": patch["patchDigest"] });
    host.admin(
        "PATCH",
        &format!("/issues/{number}/patch/approve"),
        Some(body),
    );
    let issue = host.wait_for(number, &["RESOLVED", "FAILED", "ESCALATED"]);
    assert_eq!(issue["status"], "RESOLVED", "{issue}");
    assert_eq!(project.read("roman.py"), ROMAN);
    let message = project.git(&["log", "-1", "--format=%B", "main"]);
    assert!(
        message.contains("Assisted-by: anthropic:scripted"),
        "{message}"
    );
    let log = project.selfheal_in(
        &project.outside(),
        &["audit", "log", "--issue", &number.to_string()],
    );
    assert!(log.stdout.contains("anthropic:scripted"), "{log:?}");
    let verified = project.selfheal_in(&project.outside(), &["audit", "verify", "--json"]);
    assert_eq!(verified.code, 0, "{verified:?}");
}

/// Out of credit, then breaking off: neither is a reason not to heal.
#[test]
fn where_no_model_answers_the_built_in_engine_heals() {
    let broke = ModelServer::start(|_| {
        let error = json!({ "type": "billing_error", "message": "Your credit balance is too low" });
        Turn::Refuse(402, error)
    });
    let broken = ModelServer::start(|_| Turn::BreakOff);
    let project = cart();
    let host = TestHost::start(&project, |config, _| {
        let models = model(&broke.url(), "broke") + &model(&broken.url(), "broken");
        use_models(config, &models);
    });
    host.level(1);
    let number = host.report(&host.admin.clone(), "The discount starts too late");
    host.admin("PATCH", &format!("/issues/{number}/approve"), None);
    let issue = host.wait_for(number, &["PATCH_PENDING", "FAILED", "ESCALATED"]);
    assert_eq!(issue["status"], "PATCH_PENDING", "{issue}");
    assert!(!broke.seen().is_empty() && !broken.seen().is_empty());
    let comments = issue["comments"].to_string();
    for said in [
        "anthropic:broke has no budget left; anthropic:broken takes over.",
        "anthropic:broken broke off or talked nonsense; engine:builtin takes over.",
    ] {
        assert!(comments.contains(said), "{said}: {comments}");
    }
    assert_eq!(issue["runs"][0]["agent"], "engine:builtin", "{issue}");
    let patch = host.admin("GET", &format!("/issues/{number}/patch"), None);
    let body = json!({ "patchDigest": patch["patchDigest"] });
    host.admin(
        "PATCH",
        &format!("/issues/{number}/patch/approve"),
        Some(body),
    );
    let issue = host.wait_for(number, &["RESOLVED", "FAILED", "ESCALATED"]);
    assert_eq!(issue["status"], "RESOLVED", "{issue}");
    assert_eq!(project.read("cart.py"), healed_cart());
    let message = project.git(&["log", "-1", "--format=%B", "main"]);
    assert!(
        message.contains("Assisted-by: engine:builtin") && !message.contains("anthropic"),
        "{message}"
    );
}

/// A thousand calls at once, the same call for ever, never a proper answer.
#[test]
fn a_model_that_runs_wild_is_stopped_and_the_engine_heals() {
    let wild = ModelServer::start(|request| {
        Turn::Blocks(match answers(request) {
            // The API itself says how many calls an answer may hold.
            0 => (0..100)
                .map(|n| calls("Bash", json!({ "command": format!("echo {n}") })))
                .collect(),
            1 => vec![
                calls("Bash", json!({ "command": 7 })),
                calls("Delete", json!({ "everything": true })),
                calls("submit_diagnosis", json!({ "grade": "A" })),
            ],
            _ => vec![calls("Read", json!({ "file_path": "cart.py" }))],
        })
    });
    let project = cart();
    let host = TestHost::start(&project, |config, _| {
        use_models(config, &model(&wild.url(), "wild"));
    });
    let number = host.report(&host.admin.clone(), "The discount starts too late");
    host.admin("PATCH", &format!("/issues/{number}/approve"), None);
    let issue = host.wait_for(number, &["DIAGNOSED", "ESCALATED"]);
    assert_eq!(issue["status"], "DIAGNOSED", "{issue}");
    let said = "anthropic:wild came to no answer: it made no progress any more; engine:builtin takes over.";
    assert!(issue["comments"].to_string().contains(said), "{issue}");
    assert!(wild.seen().len() < 20, "{} questions", wild.seen().len());
    let told = results(&wild.seen()[1]);
    let ran = told.iter().filter(|(text, _)| text.contains("Exit code 0"));
    assert_eq!((told.len(), ran.count()), (20, 20), "{told:?}");
    let log = issue["diagnosticLog"].as_str().unwrap();
    assert!(log.contains("Before: anthropic:wild"), "{log}");
}

#[test]
fn an_abort_reaches_a_model_that_does_not_answer() {
    let silent = ModelServer::start(|_| Turn::Stall);
    let project = cart();
    let host = TestHost::start(&project, |config, _| {
        use_models(config, &model(&silent.url(), "silent"));
    });
    let number = host.report(&host.admin.clone(), "The discount starts too late");
    host.admin("PATCH", &format!("/issues/{number}/approve"), None);
    selfheal_tests::eventually(
        "the model is asked",
        std::time::Duration::from_secs(60),
        || (!silent.seen().is_empty()).then_some(()),
    );
    let body = json!({ "reason": "it hangs" });
    host.admin("POST", &format!("/issues/{number}/abort"), Some(body));
    let issue = host.wait_for(number, &["ABORTED"]);
    assert_eq!(silent.seen().len(), 1, "nobody is asked again: {issue}");
}

/// What one agent left half done is not the next one's.
#[test]
fn half_a_draft_does_not_get_into_the_patch() {
    let fading = ModelServer::start(|request| {
        let drafting = offered(request).contains(&"submit_patch");
        Turn::Blocks(match (drafting, answers(request)) {
            (false, _) => vec![calls(
                "submit_diagnosis",
                json!({
                    "root_cause": "total in cart.py compares with > where >= is meant.",
                    "confidence": 0.9, "affected_files": ["cart.py"], "affected_services": [],
                    "suggested_fix": "Compare with >=.",
                }),
            )],
            (true, 0) => vec![
                calls(
                    "Write",
                    json!({ "file_path": "junk.py", "content": "x = 1\n" }),
                ),
                calls(
                    "Bash",
                    json!({ "command": "rm test_cart.py; echo junk > cart.py" }),
                ),
            ],
            (true, _) => {
                let error =
                    json!({ "type": "billing_error", "message": "Your credit balance is too low" });
                return Turn::Refuse(402, error);
            }
        })
    });
    let project = cart();
    let host = TestHost::start(&project, |config, _| {
        use_models(config, &model(&fading.url(), "fading"));
    });
    host.level(1);
    let number = host.report(&host.admin.clone(), "The discount starts too late");
    host.admin("PATCH", &format!("/issues/{number}/approve"), None);
    let issue = host.wait_for(number, &["PATCH_PENDING", "FAILED", "ESCALATED"]);
    assert_eq!(issue["status"], "PATCH_PENDING", "{issue}");
    assert_eq!(
        issue["runs"][0]["agent"], "anthropic:fading, engine:builtin",
        "both did their part"
    );
    let patch = host.admin("GET", &format!("/issues/{number}/patch"), None);
    let diff = patch.to_string();
    assert!(diff.contains("amount >= discount_from"), "{diff}");
    assert!(
        !diff.contains("junk") && !diff.contains("test_cart.py"),
        "{diff}"
    );
}

fn configured(project: &Project, models: &str) -> String {
    let file = project.outside().join("models.toml");
    let text =
        format!("[application]\nrepository = \"app\"\n[agent]\nprovider = \"model\"\n{models}");
    std::fs::write(&file, text).unwrap();
    file.display().to_string()
}

#[test]
fn one_command_is_healed_by_a_model_when_asked_to() {
    let server = ModelServer::start(able);
    let project = hopeless();
    let config = configured(&project, &model(&server.url(), "scripted"));
    let before = project.state();
    let command = ["--", "python3", "-m", "unittest", "-q"];
    let mut arguments = vec!["heal", "--json", "--timeout", "120", "--config", &config];
    arguments.extend(command);
    let ran = project.selfheal(&arguments);
    assert_eq!(ran.code, 0, "{ran:?}");
    let answer = ran.json();
    assert_eq!(answer["agents"], json!(["anthropic:scripted"]), "{answer}");
    assert_eq!(answer["verification"]["result"], "PASS");
    assert_eq!(project.state(), before, "the tree is as it was");

    // Nothing is sent anywhere unless the caller says so.
    let asked = server.seen().len();
    std::fs::copy(&config, project.app().join("selfheal.toml")).unwrap();
    let mut arguments = vec!["heal", "--json", "--timeout", "20"];
    arguments.extend(command);
    let ran = project.selfheal(&arguments);
    assert_eq!(ran.code, 1, "the engine alone cannot: {ran:?}");
    assert_eq!(server.seen().len(), asked);
    let ran = project.selfheal(&["heal", "--agent", "model", "--", "false"]);
    assert_eq!(ran.code, 2, "{ran:?}");
    assert!(ran.stderr.contains("--config"), "{ran:?}");
}
