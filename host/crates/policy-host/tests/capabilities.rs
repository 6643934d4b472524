//! What a module can be granted, and what it gets: nothing that is real.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test may stop at a surprise"
)]

mod support;

use selfheal_domain::policy::{PolicyContext, PolicySet};
use selfheal_domain::verdict::{Answer, Fault, Verdict};
use selfheal_policy_host::ActiveSet;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use support::{bash, config, context, host_with, one, patch};

/// What several tests import, in core WebAssembly.
const NOW: &str = r#"(import "wasi:clocks/monotonic-clock@0.2.12" "now" (func $now (result i64)))"#;
const WALL: &str = r#"(import "wasi:clocks/wall-clock@0.2.12" "now" (func $wall (param i32)))"#;
const SLEEP: &str = r#"
  (import "wasi:clocks/monotonic-clock@0.2.12" "subscribe-duration" (func $sleep (param i64) (result i32)))
  (import "wasi:io/poll@0.2.12" "[method]pollable.block" (func $block (param i32)))
  (import "wasi:io/poll@0.2.12" "[method]pollable.ready" (func $ready (param i32) (result i32)))
  (import "wasi:io/poll@0.2.12" "[resource-drop]pollable" (func $forget (param i32)))
  (import "wasi:io/poll@0.2.12" "poll" (func $poll (param i32 i32 i32)))"#;
const RANDOM: &str = r#"
  (import "wasi:random/random@0.2.12" "get-random-u64" (func $random (result i64)))
  (import "wasi:random/random@0.2.12" "get-random-bytes" (func $bytes (param i64 i32)))
  (import "wasi:random/insecure-seed@0.2.12" "insecure-seed" (func $seed (param i32)))"#;
const STDOUT: &str = r#"
  (import "wasi:cli/stdout@0.2.12" "get-stdout" (func $stdout (result i32)))
  (import "wasi:io/streams@0.2.12" "[method]output-stream.blocking-write-and-flush" (func $write (param i32 i32 i32 i32)))"#;
const STDIN: &str = r#"
  (import "wasi:cli/stdin@0.2.12" "get-stdin" (func $stdin (result i32)))
  (import "wasi:io/streams@0.2.12" "[method]input-stream.blocking-read" (func $read (param i32 i64 i32)))"#;
const ENVIRONMENT: &str = r#"
  (import "wasi:cli/environment@0.2.12" "get-environment" (func $environment (param i32)))
  (import "wasi:cli/environment@0.2.12" "get-arguments" (func $arguments (param i32)))"#;
const EXIT: &str = r#"(import "wasi:cli/exit@0.2.12" "exit" (func $exit (param i32)))"#;
const FILES: &str = r#"
  (import "wasi:filesystem/preopens@0.2.12" "get-directories" (func $directories (param i32)))
  (import "wasi:filesystem/types@0.2.12" "[method]descriptor.sync" (func $sync (param i32 i32)))"#;
const SOCKETS: &str = r#"(import "wasi:sockets/instance-network@0.2.12" "instance-network" (func $network (result i32)))"#;

/// Writes a number as 16 letters into the message of the denial.
const SAY: &str = r#"
  (func $say (param $number i64) (result i32)
    (local $place i32)
    (loop $more
      (i32.store8 (i32.add (i32.const 3000) (local.get $place))
        (i32.add (i32.const 97) (i32.wrap_i64 (i64.and (local.get $number) (i64.const 15)))))
      (local.set $number (i64.shr_u (local.get $number) (i64.const 4)))
      (local.set $place (i32.add (local.get $place) (i32.const 1)))
      (br_if $more (i32.lt_u (local.get $place) (i32.const 16))))
    (i32.store (i32.const 1100) (i32.const 3000))
    (i32.store (i32.const 1104) (i32.const 16))
    (i32.const 1088))"#;

/// A guardrail with WASI `imports` that can say numbers.
fn guest(imports: &str, body: &str) -> Vec<u8> {
    support::importing(imports, body, SAY)
}

fn granted(capabilities: &[&str]) -> String {
    let all: Vec<String> = capabilities
        .iter()
        .map(|one| format!("\"{one}\""))
        .collect();
    one("guest", "guardrail") + &format!("capabilities = [{}]\n", all.join(", "))
}

fn active(bytes: Vec<u8>, capabilities: &[&str]) -> Arc<ActiveSet> {
    let host = host_with(&[("guest", bytes)]);
    let prepared = host.prepare(&config(&granted(capabilities)));
    host.activate(prepared.unwrap_or_else(|error| panic!("{error}")))
}

fn refusal(bytes: Vec<u8>, capabilities: &[&str]) -> String {
    let host = host_with(&[("guest", bytes)]);
    let error = host.prepare(&config(&granted(capabilities))).err();
    error
        .unwrap_or_else(|| panic!("{capabilities:?} was enough"))
        .to_string()
}

fn asked(set: &ActiveSet, context: &PolicyContext) -> Verdict {
    set.judge_tool_call(context, &bash("ls")).verdict
}

/// What a guest says through `$say`.
fn said(set: &ActiveSet, context: &PolicyContext) -> String {
    match asked(set, context) {
        Verdict::Deny(reason) if reason.rule == "test.rule" => reason.message,
        other => panic!("{other:?}"),
    }
}

/// The number in what a guest says.
fn number(said: &str) -> u64 {
    said.bytes()
        .rev()
        .fold(0, |number, letter| number << 4 | u64::from(letter - b'a'))
}

fn fault(set: &ActiveSet) -> String {
    let judgement = set.judge_tool_call(&context(), &bash("ls"));
    match judgement
        .answers
        .into_iter()
        .next()
        .map(|answer| answer.answer)
    {
        Some(Answer::Fault(Fault::Trap { message })) => message,
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_is_not_granted_is_refused_by_its_name() {
    let allow = "(i32.const 1024)";
    for (imports, body, needed, import) in [
        (
            NOW,
            "(drop (call $now))",
            &["wasi:clocks"][..],
            "wasi:clocks/monotonic-clock",
        ),
        (
            RANDOM,
            "(drop (call $random))",
            &["wasi:random"],
            "wasi:random/random",
        ),
        (
            STDOUT,
            "(drop (call $stdout))",
            &["wasi:cli", "wasi:io"],
            "wasi:cli/stdout",
        ),
        (
            FILES,
            "(call $directories (i32.const 2048))",
            &["wasi:filesystem"],
            "wasi:filesystem/preopens",
        ),
    ] {
        let bytes = guest(imports, &format!("{body} {allow}"));
        let message = refusal(bytes.clone(), &[]);
        assert!(message.contains(&format!("`{import}@0.2.12`")), "{message}");
        for capability in needed {
            assert!(message.contains(&format!("\"{capability}\"")), "{message}");
        }
        // The others do not help, and what it needs does.
        let message = refusal(bytes.clone(), &["wasi:io"]);
        assert!(message.contains(import), "{message}");
        let every = [
            "wasi:cli",
            "wasi:clocks",
            "wasi:filesystem",
            "wasi:io",
            "wasi:random",
        ];
        assert_eq!(asked(&active(bytes, &every), &context()), Verdict::Allow);
    }
}

#[test]
fn nothing_grants_sockets() {
    let every = [
        "wasi:cli",
        "wasi:clocks",
        "wasi:filesystem",
        "wasi:io",
        "wasi:random",
    ];
    let bytes = guest(SOCKETS, "(drop (call $network)) (i32.const 1024)");
    let message = refusal(bytes, &every);
    assert!(
        message.contains("`wasi:sockets/instance-network@0.2.12`")
            && message.contains("no capability grants")
            && message.contains("wasi:random"),
        "{message}"
    );
    let text = granted(&["wasi:sockets"]);
    let error = selfheal_policy_host::PolicyConfig::parse(&text, "policy.toml", Path::new("/"));
    let error = error.err().unwrap().to_string();
    assert!(
        error.contains("unknown capability `wasi:sockets`") && error.contains("wasi:clocks"),
        "{error}"
    );
}

#[test]
fn an_older_patch_of_wasi_is_served_too() {
    // Names have the same length, so the older one can stand in the binary's place.
    let bytes = guest(NOW, "(drop (call $now)) (i32.const 1024)");
    let (new, old) = (b"monotonic-clock@0.2.12", b"monotonic-clock@0.2.10");
    let mut older = bytes.clone();
    for at in 0..bytes.len() - new.len() {
        if bytes[at..].starts_with(new) {
            older[at..at + new.len()].copy_from_slice(old);
        }
    }
    assert_ne!(older, bytes);
    assert_eq!(
        asked(&active(older, &["wasi:clocks"]), &context()),
        Verdict::Allow
    );
}

#[test]
fn clocks_tell_the_age_of_the_run_and_nothing_else() {
    let set = active(guest(NOW, "(call $say (call $now))"), &["wasi:clocks"]);
    let mut context = context();
    context.counters.seconds = 90;
    let first = said(&set, &context);
    assert_eq!(number(&first), 90_000_001_000);
    assert_eq!(
        said(&set, &context),
        first,
        "asked again, it is the same time"
    );
    context.counters.seconds = 91;
    assert_eq!(number(&said(&set, &context)), 91_000_001_000);

    let wall = "(call $wall (i32.const 2048)) (call $say (i64.load (i32.const 2048)))";
    let set = active(guest(WALL, wall), &["wasi:clocks"]);
    assert_eq!(number(&said(&set, &context)), 91);
}

/// Each of these would keep the test for an hour if it took any.
#[test]
fn waiting_takes_no_time() {
    let hour = 3_600_000_000_000_u64;
    let block = format!("(call $block (call $sleep (i64.const {hour}))) (call $say (call $now))");
    let set = active(
        guest(&[NOW, SLEEP].concat(), &block),
        &["wasi:clocks", "wasi:io"],
    );
    assert!(number(&said(&set, &context())) >= hour);
    // Of two, the earlier one is ready first.
    let poll = format!(
        "(i32.store (i32.const 2048) (call $sleep (i64.const {hour})))
         (i32.store (i32.const 2052) (call $sleep (i64.const 1000000)))
         (call $poll (i32.const 2048) (i32.const 2) (i32.const 2064))
         (if (i32.ne (i32.load (i32.const 2068)) (i32.const 1)) (then unreachable))
         (call $say (i64.load32_u (i32.load (i32.const 2064))))"
    );
    let set = active(
        guest(&[NOW, SLEEP].concat(), &poll),
        &["wasi:clocks", "wasi:io"],
    );
    assert_eq!(number(&said(&set, &context())), 1);
    // Who looks again and again instead of waiting gets on as well.
    let spin = "(local $timer i32) (local.set $timer (call $sleep (i64.const 1000000)))
         (loop $again (br_if $again (i32.eqz (call $ready (local.get $timer)))))
         (call $forget (local.get $timer)) (i32.const 1024)";
    let set = active(guest(SLEEP, spin), &["wasi:clocks", "wasi:io"]);
    assert_eq!(asked(&set, &context()), Verdict::Allow);
}

#[test]
fn waiting_for_nothing_or_for_everything_is_a_fault() {
    let nothing = "(call $poll (i32.const 2048) (i32.const 0) (i32.const 2064)) (i32.const 1024)";
    let set = active(guest(SLEEP, nothing), &["wasi:clocks", "wasi:io"]);
    assert!(fault(&set).contains("waits for nothing"));
    let everything = "(loop $more (drop (call $sleep (i64.const 1))) (br $more)) unreachable";
    let set = active(guest(SLEEP, everything), &["wasi:clocks", "wasi:io"]);
    assert!(fault(&set).contains("more than 256 things"));
}

#[test]
fn randomness_follows_from_the_question() {
    let set = active(
        guest(RANDOM, "(call $say (call $random))"),
        &["wasi:random"],
    );
    let first = said(&set, &context());
    assert_eq!(said(&set, &context()), first, "asked again, it is the same");
    let other = set.judge_tool_call(&context(), &bash("ls -l")).verdict;
    let other = other.reason().unwrap().message.clone();
    assert_ne!(other, first);
    let mut later = context();
    later.counters.seconds += 1;
    assert_ne!(said(&set, &later), first);
    let patched = set
        .judge_patch(&context(), &patch("a.py", "a", "b"))
        .verdict;
    assert_ne!(patched.reason().unwrap().message, first);
    // One number after another, not the same one for ever.
    let two = "(call $say (i64.xor (call $random) (call $random)))";
    let set = active(guest(RANDOM, two), &["wasi:random"]);
    assert_ne!(number(&said(&set, &context())), 0);

    let seed = "(call $seed (i32.const 2048)) (call $say (i64.load (i32.const 2048)))";
    let set = active(guest(RANDOM, seed), &["wasi:random"]);
    assert_eq!(said(&set, &context()), said(&set, &context()));

    let flood = "(call $bytes (i64.const 1000000000000) (i32.const 2048)) (i32.const 1024)";
    let set = active(guest(RANDOM, flood), &["wasi:random"]);
    assert!(fault(&set).contains("random bytes at once"));
}

#[test]
fn the_command_line_is_empty_and_exit_is_a_fault() {
    let empty = "(call $environment (i32.const 2048)) (call $arguments (i32.const 2056))
         (call $say (i64.extend_i32_u (i32.add (i32.load (i32.const 2052)) (i32.load (i32.const 2060)))))";
    let set = active(guest(ENVIRONMENT, empty), &["wasi:cli"]);
    assert_eq!(number(&said(&set, &context())), 0);
    // Standard input: an error (1), and that it is closed (1).
    let read = "(call $read (call $stdin) (i64.const 100) (i32.const 2048))
         (call $say (i64.extend_i32_u (i32.add (i32.load8_u (i32.const 2048)) (i32.load8_u (i32.const 2052)))))";
    let set = active(guest(STDIN, read), &["wasi:cli", "wasi:io"]);
    assert_eq!(number(&said(&set, &context())), 2);
    let exit = "(call $exit (i32.const 0)) (i32.const 1024)";
    let set = active(guest(EXIT, exit), &["wasi:cli"]);
    assert!(fault(&set).contains("ended itself"));
}

#[test]
fn the_file_system_is_empty() {
    let list = "(call $directories (i32.const 2048)) (call $say (i64.load32_u (i32.const 2052)))";
    let set = active(guest(FILES, list), &["wasi:filesystem"]);
    assert_eq!(number(&said(&set, &context())), 0);
    // A handle that was never given out is not one.
    let forged = "(call $sync (i32.const 3) (i32.const 2048)) (i32.const 1024)";
    let set = active(guest(FILES, forged), &["wasi:filesystem", "wasi:io"]);
    let judgement = set.judge_tool_call(&context(), &bash("ls"));
    assert!(
        matches!(
            judgement.answers.first().map(|answer| &answer.answer),
            Some(Answer::Fault(_))
        ),
        "{judgement:?}"
    );
}

/// Counts what is logged on this thread.
struct Counter(Arc<AtomicU32>);

impl tracing::Subscriber for Counter {
    fn enabled(&self, metadata: &tracing::Metadata<'_>) -> bool {
        metadata.target().starts_with("selfheal_policy_host")
    }
    fn new_span(&self, _span: &tracing::span::Attributes<'_>) -> tracing::span::Id {
        tracing::span::Id::from_u64(1)
    }
    fn record(&self, _span: &tracing::span::Id, _values: &tracing::span::Record<'_>) {}
    fn record_follows_from(&self, _span: &tracing::span::Id, _follows: &tracing::span::Id) {}
    fn event(&self, _event: &tracing::Event<'_>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
    fn enter(&self, _span: &tracing::span::Id) {}
    fn exit(&self, _span: &tracing::span::Id) {}
}

#[test]
fn a_flood_of_output_is_cut() {
    // Lines of eight bytes, ten thousand of them; then without end.
    let print = "(call $write (local.get $out) (i32.const 16) (i32.const 8) (i32.const 2048))";
    let body = format!(
        "(local $left i32) (local $out i32)
         (i32.store8 (i32.const 23) (i32.const 10))
         (local.set $left (i32.const 10000)) (local.set $out (call $stdout))
         (loop $more {print}
           (br_if $more (local.tee $left (i32.sub (local.get $left) (i32.const 1)))))
         (i32.const 1024)"
    );
    let set = active(guest(STDOUT, &body), &["wasi:cli", "wasi:io"]);
    let lines = Arc::new(AtomicU32::new(0));
    let verdict =
        tracing::subscriber::with_default(Counter(Arc::clone(&lines)), || asked(&set, &context()));
    assert_eq!(verdict, Verdict::Allow);
    assert_eq!(lines.load(Ordering::Relaxed), 16);

    let endless = "(loop $more (call $write (call $stdout) (i32.const 16) (i32.const 8) (i32.const 2048)) (br $more)) unreachable";
    let set = active(guest(STDOUT, endless), &["wasi:cli", "wasi:io"]);
    assert!(fault(&set).contains("calls of WASI"));
}

#[test]
fn grants_are_part_of_what_the_set_is() {
    let host = host_with(&[("guest", guest("", "(i32.const 1024)"))]);
    let digest = |capabilities: &[&str]| {
        let prepared = host.prepare(&config(&granted(capabilities)));
        prepared.unwrap_or_else(|error| panic!("{error}")).digest()
    };
    assert_ne!(digest(&[]), digest(&["wasi:clocks"]));
    assert_ne!(digest(&["wasi:random"]), digest(&["wasi:clocks"]));
    assert_eq!(
        digest(&["wasi:random", "wasi:clocks"]),
        digest(&["wasi:clocks", "wasi:random"])
    );
}
