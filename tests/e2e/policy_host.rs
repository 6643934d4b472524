//! The policies of a running host: edited, planned, swapped, confirmed, rolled back,
//! explained, broken open, and proved to be obeyed.

use crate::programs::cart;
use selfheal_tests::{Project, Ran, TestHost, eventually};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(60);

/// Denies what every diagnosis here needs.
const NO_PYTHON: &str = r#"package rules

deny contains {
	"id": "team.no-python",
	"message": "no Python in this team",
	"evidence": "python3",
	"alternative": "git status --short",
} if {
	some command in input.call.commands
	contains(command.program.text, "python")
}
"#;

fn no_python() -> String {
    format!(
        "\n[[module]]\nname = \"team-rules\"\nkind = \"guardrail\"\nsource = \"bundled:rules\"\nsettings = {{ rules = '''\n{NO_PYTHON}''' }}\n"
    )
}

pub(crate) fn policy_file(project: &Project) -> PathBuf {
    project.outside().join("policy.toml")
}

pub(crate) fn append(file: &Path, text: &str) {
    let before = std::fs::read_to_string(file).unwrap();
    std::fs::write(file, format!("{before}{text}")).unwrap();
}

pub(crate) fn generation(set: &Value) -> u64 {
    set["generation"].as_u64().expect("a generation")
}

pub(crate) fn policies(host: &TestHost) -> Value {
    host.admin("GET", "/policies", None)
}

pub(crate) fn names(set: &Value) -> Vec<&str> {
    let items = set["items"].as_array().expect("modules");
    items.iter().filter_map(|it| it["name"].as_str()).collect()
}

/// The set once `ready` says so.
pub(crate) fn once(host: &TestHost, what: &str, ready: impl Fn(&Value) -> bool) -> Value {
    eventually(what, PATIENCE, || {
        let set = policies(host);
        ready(&set).then_some(set)
    })
}

/// `selfheal policy …` as the admin with this token; without one, beside the host.
pub(crate) fn policy(project: &Project, host: &TestHost, token: &str, arguments: &[&str]) -> Ran {
    let mut all = vec!["policy"];
    all.extend(arguments);
    if !token.is_empty() {
        all.extend(["--url", host.url(), "--token", token]);
    }
    project.selfheal_in(&project.outside(), &all)
}

/// Reports, approves, and waits until the diagnosis is over.
pub(crate) fn diagnosed(host: &TestHost, reporter: &str) -> (u64, Value) {
    let number = host.report(reporter, "The discount starts too late");
    host.admin("PATCH", &format!("/issues/{number}/approve"), None);
    let issue = host.wait_for(number, &["DIAGNOSED", "ESCALATED"]);
    (number, issue)
}

/// The latest decision that somebody denied.
pub(crate) fn denied(host: &TestHost) -> Value {
    let page = host.admin("GET", "/decisions?limit=200", None);
    let items = page
        .get("items")
        .and_then(Value::as_array)
        .expect("decisions")
        .iter()
        .rev();
    let found = items.into_iter().find(|it| it["verdict"] == "deny");
    found.expect("a denied call").clone()
}

#[test]
fn an_edited_policy_decides_next_and_a_broken_one_never() {
    let project = cart();
    let host = TestHost::start(&project, |_, _| {});
    let ann = host.user(&project, "ann", "user");
    let first = policies(&host);
    let proof = &first["enforcement"];
    assert_eq!(proof["proved"], true, "{proof}");
    assert_eq!(proof["generation"], first["generation"]);
    assert!(proof["points"].as_array().unwrap().len() > 20, "{proof}");

    append(&policy_file(&project), &no_python());
    let set = once(&host, "the edit is in force", |set| {
        names(set).contains(&"team-rules")
    });
    assert_eq!(generation(&set), generation(&first) + 1);
    assert_eq!(set["source"], "file");
    let (_, issue) = diagnosed(&host, &ann);
    assert_eq!(issue["status"], "ESCALATED", "{issue}");
    let decision = denied(&host);
    assert_eq!(decision["reason"]["rule"], "team.no-python", "{decision}");
    assert_eq!(decision["policyGeneration"], set["generation"]);
    once(&host, "the new generation is proved to be obeyed", |set| {
        set["enforcement"]["proved"] == true
            && set["enforcement"]["generation"] == set["generation"]
    });

    let id = decision["id"].as_str().unwrap();
    let told = policy(&project, &host, "", &["explain", id]);
    assert_eq!(told.code, 0, "{told:?}");
    for part in [
        "team.no-python",
        "no Python in this team",
        "git status --short",
    ] {
        assert!(told.stdout.contains(part), "{part}: {told:?}");
    }
    let seq = decision["seq"].as_u64().unwrap().to_string();
    let without = [
        "explain",
        &seq,
        "--module",
        "team-rules",
        "--remove",
        "--json",
    ];
    let told = policy(&project, &host, &host.admin, &without).json();
    assert_eq!(told["same"], false, "{told}");
    assert_eq!(told["answer"], "allow", "{told}");

    append(&policy_file(&project), "\ncolour = [\n");
    let set = once(&host, "the broken edit is noticed", |set| {
        set["notInForce"].is_string()
    });
    assert_eq!(
        generation(&set),
        generation(&first) + 1,
        "what was in force stays"
    );
    let status = policy(&project, &host, "", &["status"]);
    assert!(status.stdout.contains("NOT in force"), "{status:?}");
    assert!(status.stdout.contains("enforcement: proved"), "{status:?}");
    let doctor = project.selfheal_in(&project.outside(), &["doctor"]);
    assert_eq!(doctor.code, 1, "{doctor:?}");
    assert!(doctor.stdout.contains("not in force"), "{doctor:?}");

    let admin = host.kill();
    let host = TestHost::restart(&project, admin);
    let set = policies(&host);
    assert_eq!(
        names(&set),
        names(&first)
            .into_iter()
            .chain(["team-rules"])
            .collect::<Vec<_>>()
    );
    assert_eq!(generation(&set), generation(&first) + 1);
    assert!(set["notInForce"].is_string(), "{set}");
    assert_eq!(set["enforcement"]["proved"], true, "{set}");
}

#[test]
fn a_kept_generation_outlives_a_kill_and_its_module_file() {
    let project = cart();
    let module = project.outside().join("strict.wat");
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/policies");
    std::fs::copy(fixtures.join("trap.wat"), &module).unwrap();
    let host = TestHost::start(&project, |_, policy| {
        policy.push_str("\n[[module]]\nname = \"strict\"\nkind = \"guardrail\"\nsource = \"strict.wat\"\nunsigned = true\n");
    });
    let before = policies(&host);
    assert!(names(&before).contains(&"strict"));
    let admin = host.kill();
    std::fs::remove_file(&module).unwrap();
    let host = TestHost::restart(&project, admin);
    let set = policies(&host);
    assert_eq!(set["generation"], before["generation"]);
    assert_eq!(set["digest"], before["digest"]);
    let why = set["notInForce"].as_str().expect("the status says why");
    assert!(why.contains("strict.wat"), "{why}");
    let doctor = project.selfheal_in(&project.outside(), &["doctor"]);
    assert!(doctor.stdout.contains("strict is not signed"), "{doctor:?}");
}

#[test]
fn changes_are_planned_activated_confirmed_by_other_eyes_and_rolled_back() {
    let project = cart();
    let host = TestHost::start(&project, |_, policy| {
        *policy = policy.replace("four_eyes = false", "four_eyes = true");
    });
    let ann = host.user(&project, "ann", "user");
    let bo = host.user(&project, "bo", "admin");
    let (_, issue) = diagnosed(&host, &ann);
    assert_eq!(issue["status"], "DIAGNOSED", "{issue}");
    let first = policies(&host);
    assert_eq!(first["fourEyes"], true);

    let settings = json!({ "rules": NO_PYTHON }).to_string();
    let add = [
        "--module",
        "team-rules=bundled:rules",
        "--kind",
        "guardrail",
        "--settings",
        &settings,
    ];
    let run = |token: &str, command: &[&str], rest: &[&str]| {
        let arguments: Vec<&str> = command.iter().chain(rest).copied().collect();
        policy(&project, &host, token, &arguments)
    };
    let planned = run(&bo, &["plan"], &add);
    assert_eq!(planned.code, 0, "{planned:?}");
    assert!(
        planned.stdout.contains("recorded decisions change"),
        "{planned:?}"
    );
    assert!(
        planned.stdout.contains(" stricter, 0 looser"),
        "{planned:?}"
    );
    assert!(planned.stdout.contains("team.no-python"), "{planned:?}");
    let plan = run(&bo, &["plan", "--json", "--fail-on-loosening"], &add);
    assert_eq!(plan.code, 0, "{plan:?}");
    let plan = plan.json();
    assert_eq!(plan["reproduced"], plan["replayed"], "{plan}");
    assert!(plan["tightened"].as_u64() > Some(0), "{plan}");
    assert_eq!(
        policies(&host)["generation"],
        first["generation"],
        "a plan changes nothing"
    );

    let tightened = run(&bo, &["activate", "--reason", "agreed", "--json"], &add);
    assert_eq!(tightened.code, 0, "{tightened:?}");
    assert_eq!(
        tightened.json()["outcome"],
        "activated",
        "one admin may tighten"
    );
    let text = std::fs::read_to_string(policy_file(&project)).unwrap();
    assert!(text.contains("team-rules") && text.contains("# Policy of this installation"));

    let remove = ["--module", "team-rules", "--remove"];
    let refused = run(&bo, &["plan", "--fail-on-loosening"], &remove);
    assert_eq!(refused.code, 1, "{refused:?}");
    let proposed = run(&bo, &["activate", "--reason", "too much"], &remove);
    assert_eq!(proposed.code, 0, "{proposed:?}");
    assert!(
        proposed.stdout.contains("selfheal policy confirm"),
        "{proposed:?}"
    );
    let set = policies(&host);
    assert!(names(&set).contains(&"team-rules"), "it waits");
    let number = set["proposals"][0]["number"]
        .as_u64()
        .expect("a proposal")
        .to_string();
    let alone = run(&bo, &["confirm", &number], &[]);
    assert_eq!(alone.code, 3, "not the same admin: {alone:?}");
    let operator = run("", &["confirm", &number], &[]);
    assert_eq!(
        operator.code, 3,
        "nor whoever sits at the machine: {operator:?}"
    );
    let confirmed = run(&host.admin, &["confirm", &number], &[]);
    assert_eq!(confirmed.code, 0, "{confirmed:?}");
    assert!(!names(&policies(&host)).contains(&"team-rules"));
    assert_eq!(run(&bo, &["confirm", &number], &[]).code, 1, "it is gone");

    let back = run(&bo, &["rollback", "--reason", "it was right"], &[]);
    assert_eq!(back.code, 0, "{back:?}");
    let set = policies(&host);
    assert!(names(&set).contains(&"team-rules"), "{set}");
    assert!(
        generation(&set) > generation(&first) + 1,
        "a new number: {set}"
    );

    let second = json!({ "rules": NO_PYTHON.replace("no-python", "nor-this") }).to_string();
    let shadow = [
        "--module",
        "tried=bundled:rules",
        "--kind",
        "guardrail",
        "--settings",
        &second,
        "--shadow",
    ];
    let tried = run(
        &bo,
        &["activate", "--reason", "only look", "--json"],
        &shadow,
    );
    assert_eq!(tried.code, 0, "{tried:?}");
    assert_eq!(tried.json()["outcome"], "onTrial", "{tried:?}");
    let looked_at = policies(&host);
    assert_eq!(looked_at["trial"]["rollout"], "shadow", "{looked_at}");
    assert_eq!(
        looked_at["generation"], set["generation"],
        "nothing obeys it"
    );
    let ended = run(&bo, &["end-trial", "--reason", "seen enough"], &[]);
    assert_eq!(ended.code, 0, "{ended:?}");
    assert!(policies(&host)["trial"].is_null());

    let auditor = host.user(&project, "audra", "auditor");
    let look = run(&auditor, &["list", "--json"], &[]);
    assert_eq!(look.code, 0, "{look:?}");
    let touch = run(&auditor, &["rollback", "--reason", "no"], &[]);
    assert_eq!(touch.code, 3, "{touch:?}");
    let audit = project.selfheal_in(&project.outside(), &["audit", "log", "--json"]);
    for kind in ["policy.changed", "policy.proposed", "enforcement.checked"] {
        assert!(audit.stdout.contains(kind), "{kind} is on record");
    }
}

/// What policy.toml says beside its modules counts from the moment on in which it comes
/// into force, without a restart.
#[test]
fn limits_ceiling_and_four_eyes_follow_an_edit() {
    let project = cart();
    let host = TestHost::start(&project, |_, _| {});
    let ann = host.user(&project, "ann", "user");
    host.level(1);
    let before = std::fs::read_to_string(policy_file(&project)).unwrap();
    let edit = |text: &str| {
        let last = generation(&policies(&host));
        std::fs::write(policy_file(&project), text).unwrap();
        once(&host, "the edit is in force", |set| generation(set) > last)
    };
    let paths = "protected_paths = [";
    let strict = before
        .replace("ceiling = 3", "ceiling = 1")
        .replace("four_eyes = false", "four_eyes = true")
        .replace(paths, &format!("{paths}\n  \"cart.py\","));
    edit(&strict);

    let switch = host.admin("GET", "/autonomy", None);
    assert_eq!(
        (&switch["level"], &switch["ceiling"]),
        (&json!(1), &json!(1))
    );
    let above = json!({ "level": 2, "reason": "x" });
    let above = host.send(&host.admin, "PUT", "/autonomy", Some(above));
    assert_eq!(above.status, 422, "{above:?}");
    let own = host.report(&host.admin, "My own");
    let own = host.send(
        &host.admin,
        "PATCH",
        &format!("/issues/{own}/approve"),
        None,
    );
    assert_eq!(own.status, 403, "{own:?}");
    let heal = |wanted: &[&str]| {
        let number = host.report(&ann, "The discount starts too late");
        host.admin("PATCH", &format!("/issues/{number}/approve"), None);
        host.wait_for(number, &["PATCH_PENDING", "ESCALATED", "FAILED"]);
        let issue = host.wait_for(number, wanted);
        assert!(wanted.contains(&issue["status"].as_str().unwrap()));
    };
    heal(&["ESCALATED"]);

    // Looser again: that is for two admins now, until one of them says so.
    let bo = host.user(&project, "bo", "admin");
    std::fs::write(policy_file(&project), &before).unwrap();
    let set = once(&host, "the looser text waits", |set| {
        set["proposals"]
            .as_array()
            .is_some_and(|all| !all.is_empty())
    });
    let number = set["proposals"][0]["number"].as_u64().unwrap().to_string();
    let confirmed = policy(&project, &host, &bo, &["confirm", &number]);
    assert_eq!(confirmed.code, 0, "{confirmed:?}");
    assert_eq!(host.admin("GET", "/autonomy", None)["ceiling"], 3);
    heal(&["PATCH_PENDING"]);
}

#[test]
fn broken_glass_opens_one_rule_for_a_while_and_is_seen_everywhere() {
    let project = cart();
    let host = TestHost::start(&project, |_, policy| policy.push_str(&no_python()));
    let ann = host.user(&project, "ann", "user");
    let (number, issue) = diagnosed(&host, &ann);
    assert_eq!(issue["status"], "ESCALATED", "{issue}");

    let own = ["grant", "host.marker", "--minutes", "5", "--reason", "x"];
    let refused = policy(&project, &host, &host.admin, &own);
    assert_ne!(refused.code, 0, "the host's own rules stay: {refused:?}");
    let issue_number = number.to_string();
    let grant = [
        "grant",
        "team.no-python",
        "--minutes",
        "30",
        "--issue",
        &issue_number,
        "--reason",
        "only today",
    ];
    let granted = policy(&project, &host, &host.admin, &grant);
    assert_eq!(granted.code, 0, "{granted:?}");
    host.admin("POST", &format!("/issues/{number}/retry"), None);
    let issue = host.wait_for(number, &["DIAGNOSED", "ESCALATED"]);
    assert_eq!(issue["status"], "DIAGNOSED", "{issue}");
    let page = host.admin("GET", "/decisions?limit=200", None);
    let used = page["items"].as_array().unwrap().iter();
    let used = used.filter(|it| it["granted"] == json!(["team.no-python"]));
    assert!(used.count() > 0, "every decision that used it says so");
    let set = policies(&host);
    assert!(
        set["grants"][0]["used"].as_u64() > Some(0),
        "{}",
        set["grants"]
    );
    let doctor = project.selfheal_in(&project.outside(), &["doctor"]);
    assert!(
        doctor
            .stdout
            .contains("the glass over team.no-python is broken"),
        "{doctor:?}"
    );
    assert!(doctor.stdout.contains("enforcement: proved"), "{doctor:?}");

    let grant = set["grants"][0]["number"].as_u64().unwrap().to_string();
    let revoked = policy(
        &project,
        &host,
        &host.admin,
        &["revoke", &grant, "--reason", "done"],
    );
    assert_eq!(revoked.code, 0, "{revoked:?}");
    let set = policies(&host);
    assert_eq!(set["grants"], json!([]), "{set}");
}
