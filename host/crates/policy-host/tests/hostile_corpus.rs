//! Every hostile guest of `tests/fixtures/policies/hostile`: the right fault or a
//! refusal that says why, a healthy module beside it that never notices, and
//! quarantine in the end.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test may stop at a surprise"
)]

mod support;

use selfheal_domain::policy::PolicySet;
use selfheal_domain::risk::{Admission, AutonomyAction, RiskScore};
use selfheal_domain::verdict::{Answer, Fault, Verdict};
use selfheal_policy_host::ActiveSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use support::{bash, config, context, encode, host_with, issue, patch};

/// What a healthy guest has in place of whatever a hostile one brings itself.
const PARTS: [(&str, &str); 8] = [
    (
        "cabi_realloc",
        "(param i32 i32 i32 i32) (result i32) (local $start i32)
           (local.set $start (i32.and (i32.add (global.get $next) (i32.const 15)) (i32.const -16)))
           (global.set $next (i32.add (local.get $start) (local.get 3)))
           (local.get $start)",
    ),
    ("describe", "(result i32) (i32.const 256)"),
    ("configure", "(param i32 i32) (result i32) (i32.const 512)"),
    (
        "selfheal:policy/judge@1.0.0#judge-tool-call",
        "(param i32) (result i32) (i32.const 1024)",
    ),
    (
        "selfheal:policy/judge@1.0.0#judge-patch",
        "(param i32) (result i32) (i32.const 1024)",
    ),
    (
        "selfheal:policy/assess@1.0.0#assess",
        "(param i32) (result i32) (i32.const 2048)",
    ),
    (
        "selfheal:policy/decide@1.0.0#decide",
        "(param i32) (result i32) (i32.const 2048)",
    ),
    (
        "selfheal:policy/decide@1.0.0#admit",
        "(param i32) (result i32) (i32.const 2048)",
    ),
];

/// One file of the corpus.
struct Hostile {
    name: String,
    kind: String,
    expect: String,
    bytes: Vec<u8>,
}

fn corpus() -> Vec<Hostile> {
    let directory =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../tests/fixtures/policies/hostile");
    let mut files: Vec<PathBuf> = std::fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "wat"))
        .collect();
    files.sort();
    let guests = files.iter().map(|path| hostile(path));
    guests
        .flat_map(|guest| [in_one_piece(&guest), guest])
        .collect()
}

/// The same guest, which says that it never gives memory back: it is handed its
/// questions in another way.
fn in_one_piece(guest: &Hostile) -> Hostile {
    let says = b"selfheal:keeps-memory";
    let mut bytes = guest.bytes.clone();
    bytes.extend([
        0,
        u8::try_from(says.len() + 2).unwrap(),
        u8::try_from(says.len()).unwrap(),
    ]);
    bytes.extend(says);
    bytes.push(b'1');
    Hostile {
        name: format!("{} (keeps memory)", guest.name),
        kind: guest.kind.clone(),
        expect: guest.expect.clone(),
        bytes,
    }
}

fn hostile(path: &Path) -> Hostile {
    let text = std::fs::read_to_string(path).unwrap();
    let head = |key: &str| {
        text.lines()
            .find_map(|line| line.strip_prefix(";; ")?.strip_prefix(key))
            .unwrap_or_else(|| panic!("{}: no `;; {key}`", path.display()))
            .trim()
            .to_owned()
    };
    let kind = head("kind:");
    let bytes = component(&kind, &text);
    Hostile {
        name: path.file_stem().unwrap().to_string_lossy().into_owned(),
        expect: head("expect:"),
        kind,
        bytes,
    }
}

/// The file's parts with the harmless ones that it does not replace.
fn component(kind: &str, text: &str) -> Vec<u8> {
    let (number, interface) = match kind {
        "guardrail" => (0, "judge"),
        "risk" => (1, "assess"),
        "autonomy" => (2, "decide"),
        other => panic!("no kind {other:?}"),
    };
    let (imports, parts): (Vec<&str>, Vec<&str>) =
        text.lines().partition(|line| line.starts_with("(import"));
    let harmless: String = PARTS
        .iter()
        .filter(|(export, _)| {
            let of_interface = export
                .strip_prefix("selfheal:policy/")
                .is_none_or(|name| name.starts_with(interface));
            of_interface && !text.contains(&format!("(export \"{export}\")"))
        })
        .map(|(export, function)| format!("(func (export \"{export}\") {function})\n"))
        .collect();
    let module = format!(
        r#"(module
  (import "selfheal:policy/host@1.0.0" "log" (func $log (param i32 i32 i32)))
  {imports}
  (memory (export "memory") 4)
  (global $next (mut i32) (i32.const 131072))
  (data (i32.const 16) "hostile")
  (data (i32.const 32) "1.0")
  (data (i32.const 48) "{{}}")
  (data (i32.const 64) "test.rule")
  (data (i32.const 256) "\10\00\00\00\07\00\00\00\20\00\00\00\03\00\00\00\{number:02x}\00\00\00\30\00\00\00\02\00\00\00\00\20\00\00\00\00\00\00")
  (data (i32.const 1088) "\02\00\00\00\40\00\00\00\09\00\00\00\40\00\00\00\09\00\00\00")
  {harmless}
  {parts})"#,
        imports = imports.join("\n"),
        parts = parts.join("\n"),
    );
    let mut resolve = wit_parser::Resolve::default();
    let wit = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../guest-sdk/wit/v1");
    let (package, _) = resolve.push_dir(wit).unwrap();
    encode(&module, &resolve, package, kind)
}

/// The hostile module beside a healthy one of each kind. Only who is expected to
/// miss its deadline has a short one: machines stall.
fn policy(hostile: &Hostile) -> String {
    let deadline = if hostile.expect.contains("deadline") {
        50
    } else {
        20_000
    };
    let module = |name: &str, kind: &str, deadline: u32| {
        format!(
            "[[module]]\nname = \"{name}\"\nkind = \"{kind}\"\nsource = \"bundled:{name}\"\n\
             limits = {{ deadline_ms = {deadline}, memory_bytes = 1048576, output_bytes = 65536 }}\n"
        )
    };
    "environment = \"dev\"\n[quarantine]\nfaults = 2\n".to_owned()
        + &module("hostile", &hostile.kind, deadline)
        + &["guardrail", "risk", "autonomy"]
            .map(|kind| module(kind, kind, 60_000))
            .concat()
}

/// Asks every question once; the faults that the hostile module answered with.
fn faults_of(set: &Arc<ActiveSet>, name: &str) -> Vec<Fault> {
    let mut faults = Vec::new();
    for judgement in [
        set.judge_tool_call(&context(), &bash("ls")),
        set.judge_patch(&context(), &patch("a.py", "a", "b")),
    ] {
        for answer in &judgement.answers {
            match (&answer.answer, answer.module.as_str()) {
                (Answer::Fault(fault), "hostile") => faults.push(fault.clone()),
                (_, "hostile") => {}
                (answer, _) => assert_eq!(answer, &Answer::Verdict(Verdict::Allow), "{name}"),
            }
        }
        let failed = judgement
            .answers
            .iter()
            .any(|answer| matches!(answer.answer, Answer::Fault(_)));
        if failed {
            let reason = judgement.verdict.reason().unwrap();
            assert_eq!(
                (judgement.verdict.strictness(), reason.rule.as_str()),
                (2, "host.fault"),
                "{name}"
            );
        }
    }
    let fix = patch("a.py", "a", "b");
    let assessment = set.assess(&context(), &fix);
    if let [(module, fault)] = assessment.faults.as_slice() {
        assert_eq!(
            (module.as_str(), assessment.score),
            ("hostile", RiskScore::MAX),
            "{name}"
        );
        faults.push(fault.clone());
    } else {
        assert_eq!(assessment.score, RiskScore::new(0).unwrap(), "{name}");
    }
    let decision = set.decide(&context(), &fix, &assessment);
    if let [(module, fault)] = decision.faults.as_slice() {
        assert_eq!(
            (module.as_str(), decision.action),
            ("hostile", AutonomyAction::Stop),
            "{name}"
        );
        faults.push(fault.clone());
    } else {
        assert_eq!(decision.action, AutonomyAction::Apply, "{name}");
    }
    if let Admission::NeedsAdmin(reason) = set.admit(&context(), &issue()) {
        assert_eq!(reason.rule, "host.fault", "{name}");
        // An admission carries no faults of its own; its sentence says which.
        if faults.is_empty() {
            faults.push(Fault::Trap {
                message: reason.message,
            });
        }
    }
    faults
}

fn word(fault: &Fault) -> &'static str {
    match fault {
        Fault::Deadline { .. } => "deadline",
        Fault::Memory { .. } => "memory",
        Fault::Trap { .. } => "trap",
        Fault::Output { .. } => "output",
        Fault::Nonsense { .. } => "nonsense",
        Fault::Quarantined { .. } => "quarantined",
        Fault::Silence => "silence",
    }
}

fn try_one(hostile: &Hostile) -> Result<(), String> {
    let healthy = |kind: &str| component(kind, "");
    let host = host_with(&[
        ("hostile", hostile.bytes.clone()),
        ("guardrail", healthy("guardrail")),
        ("risk", healthy("risk")),
        ("autonomy", healthy("autonomy")),
    ]);
    let (what, text) = match hostile.expect.split_once(':') {
        Some((what, text)) => (what.trim(), text.trim()),
        None => (hostile.expect.as_str(), ""),
    };
    let prepared = host.prepare(&config(&policy(hostile)));
    let set = match (prepared, what) {
        (Err(error), "refused") => {
            let said = error.to_string();
            if !said.contains("`hostile`") || !said.contains(text) {
                return Err(format!("refused, but with: {said}"));
            }
            return Ok(());
        }
        (Err(error), _) => return Err(format!("not prepared: {error}")),
        (Ok(_), "refused") => return Err("prepared".to_owned()),
        (Ok(prepared), _) => host.activate(prepared),
    };
    let faults = faults_of(&set, &hostile.name);
    if what == "harmless" {
        return if faults.is_empty() {
            Ok(())
        } else {
            Err(format!("{faults:?}"))
        };
    }
    let Some(fault) = faults.first() else {
        return Err("no fault".to_owned());
    };
    let wanted = what.strip_prefix("fault").unwrap_or_default().trim();
    if !(wanted.is_empty() || wanted == word(fault) || fault.to_string().contains(wanted)) {
        return Err(format!("{fault:?}"));
    }
    if !fault.to_string().contains(text) {
        return Err(format!("{fault}"));
    }
    // The limits are those that were configured.
    match fault {
        Fault::Deadline { milliseconds } if *milliseconds != 50 => return Err(fault.to_string()),
        Fault::Memory { bytes } if *bytes != 1 << 20 => return Err(fault.to_string()),
        _ => {}
    }
    // Quarantine: two faults in a row, or four among sound answers, and nobody asks
    // it any more; it is said why.
    let mut last = faults;
    for _ in 0..5 {
        last = faults_of(&set, &hostile.name);
    }
    match last.first() {
        Some(Fault::Quarantined { cause }) if cause.contains(text) => Ok(()),
        Some(Fault::Trap { message }) if message.contains("quarantine") => Ok(()),
        other => Err(format!("not in quarantine: {other:?}")),
    }
}

#[test]
fn every_hostile_guest_harms_nothing_but_its_own_answer() {
    let corpus = corpus();
    assert!(corpus.len() > 70, "{} files", corpus.len());
    let wrong: Vec<String> = corpus
        .iter()
        .filter_map(|hostile| {
            let error = try_one(hostile).err()?;
            Some(format!(
                "{} (expected {}): {error}",
                hostile.name, hostile.expect
            ))
        })
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_parts_that_stand_in_are_harmless() {
    for kind in ["guardrail", "risk", "autonomy"] {
        let hostile = Hostile {
            name: format!("a harmless {kind}"),
            kind: kind.to_owned(),
            expect: "harmless".to_owned(),
            bytes: component(kind, ""),
        };
        assert_eq!(try_one(&hostile), Ok(()), "{}", hostile.name);
    }
}
