//! Modules that would harm the host before they run at all: by what compiling them
//! costs, by what they are made of, by what they import. Refused by what they are,
//! so that preparing a set stays bounded by the size of its modules.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test may stop at a surprise"
)]

mod support;

use selfheal_domain::policy::PolicySet;
use selfheal_domain::verdict::Verdict;
use selfheal_policy_host::PrepareError;
use support::{bash, config, context, guardrail, host_with, one};

/// Each component makes two of the one before it: 2 to the power of `levels`.
fn doubling(levels: usize) -> String {
    let mut text = String::from(
        "(component (component $c0 (core module $m) (core instance (instantiate $m)))\n",
    );
    for level in 1..=levels {
        text.push_str(&format!(
            "(component $c{level} (alias outer 1 {before} (component $c)) (instance (instantiate $c)) (instance (instantiate $c)))\n",
            before = level - 1
        ));
    }
    text + &format!("(instance (instantiate $c{levels})))")
}

/// Each type is twice the one before it.
fn doubling_types(levels: usize) -> String {
    let mut text = String::from("(component (type $t0 (tuple u64 u64))\n");
    for level in 1..=levels {
        let before = level - 1;
        text.push_str(&format!("(type $t{level} (tuple $t{before} $t{before}))\n"));
    }
    text + ")"
}

fn core(module: &str) -> String {
    format!("(component (core module $m {module}) (core instance (instantiate $m)))")
}

#[test]
fn what_would_explode_is_refused_by_what_it_is() {
    let function = |body: String| core(&format!("(func {body})"));
    let bombs = [
        ("instances", doubling(40), "instances of each other"),
        ("types", doubling_types(40), "size"),
        (
            "depth",
            "(component ".repeat(50) + &")".repeat(50),
            "nested deeper",
        ),
        (
            "function",
            function("(nop)".repeat(2 << 20)),
            "a function has at most",
        ),
        (
            "locals",
            function("(local i64)".repeat(40_000)),
            "variables",
        ),
        (
            "functions",
            core(&"(func)".repeat(100_001)),
            "more than 100000 functions",
        ),
        ("memory", core("(memory 65536)"), "memory"),
        ("memory64", core("(memory i64 1)"), "memory"),
        ("shared", core("(memory 1 2 shared)"), "thread"),
        ("table", core("(table 4294967295 funcref)"), "table"),
        (
            "values",
            "(component (import \"c\" (component)))".to_owned(),
            "passes components around",
        ),
    ];
    let mut modules: Vec<(&str, Vec<u8>)> = bombs
        .iter()
        .map(|(name, text, _)| (*name, wat::parse_str(text).unwrap()))
        .collect();
    // As text, too: it is what it says, not how it is written.
    modules.push(("as-text", doubling(40).into_bytes()));
    modules.push(("healthy", guardrail("(i32.const 1024)", "")));
    let host = host_with(&modules);
    let expected = bombs
        .iter()
        .map(|(name, _, part)| (*name, *part))
        .chain([("as-text", "instances of each other")]);
    for (name, part) in expected {
        match host.prepare(&config(&one(name, "guardrail"))) {
            Ok(_) => panic!("{name} was prepared"),
            Err(error @ PrepareError::Module { .. }) => {
                let message = error.to_string();
                assert!(
                    message.contains(&format!("`{name}`")) && message.contains(part),
                    "{name}: {message:?} does not say {part:?}"
                );
            }
        }
    }
    assert_eq!(host.active().generation(), 0);
    let set = host.activate(host.prepare(&config(&one("healthy", "guardrail"))).unwrap());
    let judgement = set.judge_tool_call(&context(), &bash("ls"));
    assert_eq!(judgement.verdict, Verdict::Allow);
}

#[test]
fn what_was_not_granted_is_not_there() {
    let imports = [
        "wasi:sockets/tcp@0.2.0",
        "wasi:filesystem/types@0.2.0",
        "wasi:http/outgoing-handler@0.2.0",
        "wasi:cli/environment@0.2.0",
        "wasi:random/random@0.2.0",
        "evil:corp/anything",
    ];
    let text = |import: &str| {
        format!("(component (import \"{import}\" (instance (export \"f\" (func)))))")
    };
    let modules: Vec<(String, Vec<u8>)> = imports
        .iter()
        .enumerate()
        .map(|(at, import)| (format!("m{at}"), wat::parse_str(text(import)).unwrap()))
        .collect();
    let named: Vec<(&str, Vec<u8>)> = modules
        .iter()
        .map(|(name, bytes)| (name.as_str(), bytes.clone()))
        .collect();
    let host = host_with(&named);
    for ((name, _), import) in modules.iter().zip(imports) {
        let message = host
            .prepare(&config(&one(name, "guardrail")))
            .err()
            .unwrap()
            .to_string();
        assert!(message.contains(import), "{import}: {message:?}");
    }
    // An interface, and a function of an interface, that the contract does not have.
    for more in [
        "(component (import \"selfheal:policy/files@1.0.0\" (instance (export \"read\" (func)))))",
        "(component (import \"selfheal:policy/host@1.0.0\" (instance (export \"spawn\" (func)))))",
    ] {
        let host = host_with(&[("more", wat::parse_str(more).unwrap())]);
        let message = host
            .prepare(&config(&one("more", "guardrail")))
            .err()
            .unwrap()
            .to_string();
        assert!(message.contains("`more`"), "{message:?}");
    }
}
