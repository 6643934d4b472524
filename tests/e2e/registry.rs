//! Modules that publishers sign, that travel through a real registry or in a file to a
//! host without a network, and that hosts admit or refuse.

use crate::policy_host::{append, denied, diagnosed, generation, names, once, policies};
use crate::policy_host::{policy, policy_file};
use crate::programs::cart;
use selfheal_tests::{Project, Ran, Registry, TestHost};
use serde_json::Value;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// A guardrail that was built once and for all; denies what contains a word.
const MODULE: &str = "no-python.wasm";

fn run(project: &Project, arguments: &[&str]) -> Ran {
    let all: Vec<&str> = std::iter::once("policy")
        .chain(arguments.iter().copied())
        .collect();
    project.selfheal_in(&project.outside(), &all)
}

/// Runs a command that has to succeed.
fn done(project: &Project, arguments: &[&str]) -> Ran {
    let ran = run(project, arguments);
    assert_eq!(ran.code, 0, "{arguments:?}: {ran:?}");
    ran
}

/// Puts the module into the directory that commands run in.
pub(crate) fn module(project: &Project) -> PathBuf {
    let built = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("fixtures/policies/line-1/line-1-guardrail.wasm");
    let file = project.outside().join(MODULE);
    std::fs::copy(built, &file).unwrap();
    file
}

/// Makes a key pair in `NAME.pem`; gives what policy.toml says about it.
fn publisher(project: &Project, name: &str) -> String {
    let file = format!("{name}.pem");
    done(project, &["keygen", &file, "--name", name]).stdout
}

fn key_of(publisher: &str) -> &str {
    let (_, rest) = publisher.split_once("key = \"").unwrap();
    rest.split_once('"').unwrap().0
}

fn entry(source: &str, more: &str) -> String {
    format!(
        "\n[[module]]\nname = \"no-python\"\nkind = \"guardrail\"\nsource = \"{source}\"\n{more}\n\
         settings = {{ word = \"python3\" }}\n"
    )
}

fn listed<'a>(set: &'a Value, name: &str) -> &'a Value {
    let items = set["items"].as_array().unwrap();
    items.iter().find(|it| it["name"] == name).unwrap()
}

#[test]
fn keys_are_kept_secret_and_signatures_hold_for_exactly_these_bytes() {
    let project = cart();
    let file = module(&project);
    let alice = publisher(&project, "alice");
    let secret = project.outside().join("alice.pem");
    let mode = std::fs::metadata(&secret).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let before = std::fs::read(&secret).unwrap();
    let again = run(&project, &["keygen", "alice.pem"]);
    assert_eq!(again.code, 2, "a key is never replaced: {again:?}");
    assert_eq!(std::fs::read(&secret).unwrap(), before);
    let bob = publisher(&project, "bob");
    let (alice, bob) = (key_of(&alice), key_of(&bob));

    let unsigned = run(&project, &["verify", MODULE, "--key", alice]);
    assert_eq!(unsigned.code, 1, "{unsigned:?}");
    assert!(unsigned.stdout.contains("not signed"), "{unsigned:?}");

    let signed = done(&project, &["sign", MODULE, "--key", "alice.pem", "--json"]).json();
    assert_eq!(signed["embedded"], false, "{signed}");
    let report = done(&project, &["verify", MODULE, "--key", alice, "--json"]).json();
    assert_eq!(report["signed"]["placement"], "detached", "{report}");
    assert_eq!(report["sha256"], signed["sha256"]);
    let other = run(&project, &["verify", MODULE, "--key", bob]);
    assert_eq!(other.code, 1, "another publisher's word: {other:?}");

    let embed = ["--embed", "--output", "embedded.wasm", "--json"];
    let sign = [&["sign", MODULE, "--key", "alice.pem"][..], &embed].concat();
    let signed = done(&project, &sign).json();
    let report = done(
        &project,
        &["verify", "embedded.wasm", "--key", alice, "--json"],
    );
    let report = report.json();
    assert_eq!(report["signed"]["placement"], "embedded", "{report}");
    assert_eq!(report["sha256"], signed["sha256"]);

    for name in [MODULE, "embedded.wasm"] {
        let path = file.with_file_name(name);
        let mut bytes = std::fs::read(&path).unwrap();
        let last = bytes.last_mut().unwrap();
        *last ^= 1;
        std::fs::write(&path, bytes).unwrap();
        let tampered = run(&project, &["verify", name, "--key", alice]);
        assert_eq!(tampered.code, 1, "{name}: {tampered:?}");
        assert!(tampered.stdout.contains("was changed"), "{tampered:?}");
    }
    let nobody = run(&project, &["sign", MODULE, "--key", "carol.pem"]);
    assert_eq!(nobody.code, 2, "{nobody:?}");
}

#[test]
fn a_signed_module_travels_through_a_registry_to_hosts_with_and_without_a_network() {
    let Some(registry) = Registry::start(None) else {
        return;
    };
    let project = cart();
    module(&project);
    let alice = publisher(&project, "alice");
    done(&project, &["sign", MODULE, "--key", "alice.pem"]);

    let place = format!("oci://{}/team/no-python:1.0", registry.address);
    let pushed = done(&project, &["push", MODULE, &place, "--json"]).json();
    assert_eq!(pushed["detachedSignature"], true, "{pushed}");
    let reference = pushed["reference"].as_str().unwrap().to_owned();
    assert!(reference.contains("@sha256:"), "{reference}");
    let resolved = done(&project, &["resolve", &place]);
    assert_eq!(resolved.stdout.trim(), reference);
    let nothing = format!("oci://{}/team/nothing:1.0", registry.address);
    let missing = run(&project, &["resolve", &nothing]);
    assert_eq!(missing.code, 1, "{missing:?}");
    let verify = ["verify", &reference, "--key", key_of(&alice)];
    done(&project, &verify);

    let wanted = format!("{alice}{}", entry(&reference, "publisher = \"alice\""));
    let host = TestHost::start(&project, |_, policy| policy.push_str(&wanted));
    let set = policies(&host);
    let ours = listed(&set, "no-python");
    assert_eq!(ours["publisher"], "alice", "{ours}");
    assert_eq!(ours["source"], reference.as_str(), "{ours}");
    let ann = host.user(&project, "ann", "user");
    let (_, issue) = diagnosed(&host, &ann);
    assert_eq!(issue["status"], "ESCALATED", "{issue}");
    let decision = denied(&host);
    assert_eq!(decision["reason"]["rule"], "line-1.word", "{decision}");
    another_module_is_asked_the_same(&project, &host, &decision);

    let bundle = done(&project, &["save", "--output", "policies.tar", "--json"]);
    assert_eq!(
        bundle.json()["modules"].as_array().map(Vec::len),
        Some(1),
        "what is bundled with hosts does not travel: {bundle:?}"
    );
    let bundle = project.outside().join("policies.tar");
    drop(registry);
    let unreachable = run(&project, &["resolve", &place]);
    assert_eq!(unreachable.code, 4, "{unreachable:?}");
    host_without_a_network(&bundle, &reference, &wanted);

    // What was pulled once, the first host has.
    let admin = host.kill();
    let host = TestHost::restart(&project, admin);
    let set = policies(&host);
    assert!(set["notInForce"].is_null(), "{set}");
    assert!(names(&set).contains(&"no-python"));
}

/// `policy explain` puts the recorded question to other modules: the same one with
/// other settings, another one from a file, a whole other policy.toml.
fn another_module_is_asked_the_same(project: &Project, host: &TestHost, decision: &Value) {
    let id = decision["id"].as_str().unwrap();
    let explain = |more: &[&str]| {
        let arguments = [&["explain", id, "--json"][..], more].concat();
        let ran = policy(project, host, "", &arguments);
        assert_eq!(ran.code, 0, "{ran:?}");
        ran.json()
    };
    let told = explain(&[]);
    assert_eq!(told["same"], true, "{told}");
    assert_eq!(told["answer"], "deny line-1.word", "{told}");
    assert!(told["modules"].to_string().contains("no-python"), "{told}");

    let settings = ["--module", "no-python", "--settings", "{\"word\":\"ruby\"}"];
    let told = explain(&settings);
    assert_eq!(
        (&told["same"], &told["answer"]),
        (&false.into(), &"allow".into())
    );

    let sign = ["sign", MODULE, "--key", "alice.pem", "--embed", "--output"];
    done(project, &[&sign[..], &["other.wasm"]].concat());
    let other = ["--module", "other=other.wasm", "--kind", "guardrail"];
    let told = explain(&other);
    let again = told["again"].to_string();
    assert!(again.contains("\"other\""), "it was asked too: {told}");

    let before = std::fs::read_to_string(policy_file(project)).unwrap();
    let lax = before.replace("word = \"python3\"", "word = \"perl\"");
    assert_ne!(lax, before);
    std::fs::write(project.outside().join("lax.toml"), lax).unwrap();
    let told = explain(&["--under", "lax.toml"]);
    assert_eq!(
        (&told["same"], &told["answer"]),
        (&false.into(), &"allow".into())
    );
    let set = policies(host);
    assert!(!names(&set).contains(&"other"), "only asked: {set}");

    let unknown = policy(project, host, "", &["explain", "999999"]);
    assert_eq!(unknown.code, 1, "{unknown:?}");
    let nonsense = policy(project, host, "", &["explain", "../audit"]);
    assert_eq!(nonsense.code, 2, "{nonsense:?}");
}

/// A second installation, whose registry cannot be reached.
fn host_without_a_network(bundle: &Path, reference: &str, wanted: &str) {
    let project = cart();
    let host = TestHost::start(&project, |_, _| {});
    let first = policies(&host);
    append(&policy_file(&project), wanted);
    let set = once(&host, "the module cannot be had", |set| {
        set["notInForce"].is_string()
    });
    let why = set["notInForce"].as_str().unwrap();
    assert!(
        why.contains("no-python") && why.contains(reference),
        "{why}"
    );
    assert_eq!(set["generation"], first["generation"]);

    // A bundle that was changed on its way is not taken, not even in part.
    let modules = project.outside().join("data/policies/modules");
    let kept = || std::fs::read_dir(&modules).unwrap().count();
    let before = kept();
    let bytes = std::fs::read(bundle).unwrap();
    let changed = project.outside().join("changed.tar");
    let at = bytes
        .windows(8)
        .position(|part| part == b"\0asm\x0d\0\x01\0");
    let mut other = bytes;
    other[at.unwrap() + 2_000] ^= 1;
    std::fs::write(&changed, other).unwrap();
    let load = |file: &Path| run(&project, &["load", &file.display().to_string()]);
    let refused = load(&changed);
    assert_eq!(refused.code, 1, "{refused:?}");
    assert_eq!(kept(), before, "nothing of it was kept");

    let loaded = load(bundle);
    assert_eq!(loaded.code, 0, "{loaded:?}");
    assert!(loaded.stdout.contains(reference), "{loaded:?}");
    assert_eq!(policies(&host)["generation"], first["generation"]);
    append(&policy_file(&project), "# it is here now\n");
    let set = once(&host, "the loaded module is in force", |set| {
        names(set).contains(&"no-python")
    });
    assert!(set["notInForce"].is_null(), "{set}");
    assert_eq!(listed(&set, "no-python")["publisher"], "alice");
    let ann = host.user(&project, "ann", "user");
    diagnosed(&host, &ann);
    assert_eq!(denied(&host)["reason"]["rule"], "line-1.word");
}

#[test]
fn what_nobody_trusted_vouches_for_is_refused_by_a_running_host() {
    let project = cart();
    let file = module(&project);
    let [alice, bob] = ["alice", "bob"].map(|name| publisher(&project, name));
    publisher(&project, "mallory");
    let signature = file.with_file_name(format!("{MODULE}.sig"));
    let sign = |name: &str| {
        let key = format!("{name}.pem");
        done(&project, &["sign", MODULE, "--key", &key]);
    };
    let host = TestHost::start(&project, |_, policy| {
        policy.push_str(&format!("{alice}{bob}"));
    });
    let first = policies(&host);
    let base = std::fs::read_to_string(policy_file(&project)).unwrap();
    let mut attempt = 0;
    let mut refused = |what: &str, more: &str, why: &str| {
        // Each has a name of its own, so that no answer is an earlier one's. Who names
        // a publisher that there is none of is told the line instead.
        attempt += 1;
        let name = format!("attempt-{attempt}");
        let text = format!(
            "{base}{}",
            entry(MODULE, more).replace("no-python\"", &format!("{name}\""))
        );
        std::fs::write(policy_file(&project), text).unwrap();
        let set = once(&host, what, |set| {
            let told = set["notInForce"].as_str().unwrap_or_default();
            told.contains(why) && (told.contains(&name) || told.contains("line "))
        });
        assert_eq!(set["generation"], first["generation"], "{what}");
        assert!(!names(&set).contains(&name.as_str()), "{what}");
    };
    refused("unsigned", "", "not signed");
    sign("mallory");
    refused("a stranger's", "", "no [[publisher]] has");
    sign("bob");
    let wants_alice = "publisher = \"alice\"";
    refused("the wrong publisher's", wants_alice, "only alice may sign");
    refused("nobody's", "publisher = \"carol\"", "carol");
    sign("alice");
    let other = format!("{wants_alice}\nsha256 = \"{}\"", "0".repeat(64));
    refused("another than pinned", &other, "pins");
    let right = std::fs::read(&file).unwrap();
    let mut tampered = right.clone();
    *tampered.last_mut().unwrap() ^= 1;
    std::fs::write(&file, tampered).unwrap();
    refused("tampered", wants_alice, "changed after alice signed");
    // Saying that it may be unsigned does not make a broken signature good.
    refused("tampered, lax", "unsigned = true", "changed after alice");

    std::fs::write(&file, right).unwrap();
    let text = format!("{base}{}", entry(MODULE, wants_alice));
    std::fs::write(policy_file(&project), text).unwrap();
    let set = once(&host, "what alice signed is in force", |set| {
        names(set).contains(&"no-python")
    });
    assert_eq!(generation(&set), generation(&first) + 1);
    assert!(signature.is_file());
    let audit = project.selfheal_in(&project.outside(), &["audit", "log", "--json"]);
    let refusals = audit.stdout.matches("\"policy.refused\"").count();
    assert!(refusals >= 7, "each refusal is on record: {refusals}");
}
