//! Decisions of the bundled guardrails beside the same rules as native code, beside
//! a guest that does nothing, and what loading costs. `examples/latency.rs` prints
//! the tail, spares, throughput and memory as well.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a bench, like a test, may stop at a surprise"
)]

#[path = "../tests/support/mod.rs"]
mod support;
mod workload;

use criterion::{Criterion, criterion_group, criterion_main};
use selfheal_domain::policy::PolicySet;
use selfheal_policy_host::{ActiveSet, BundledModules, CodeCache, PolicyEngine, WasmPolicyHost};
use selfheal_policy_sdk::Verdict;
use std::hint::black_box;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use support::{config, context, guardrail, importing, one, patch};
use workload::{GUARDRAILS, Native};

fn host(code: &Path, modules: BundledModules) -> WasmPolicyHost {
    let cache = CodeCache::in_directory(code.to_owned());
    WasmPolicyHost::new(PolicyEngine::with_spares(0).unwrap(), cache, modules)
}

const DEV: &str = "environment = \"dev\"\n";

fn entry(name: &str, kind: &str) -> String {
    format!("[[module]]\nname = \"{name}\"\nkind = \"{kind}\"\nsource = \"bundled:{name}\"\n")
}

fn module(name: &str, kind: &str) -> String {
    format!("{DEV}{}", entry(name, kind))
}

/// In force, with its fastest form.
fn active(host: &WasmPolicyHost, text: &str) -> Arc<ActiveSet> {
    let set = host.activate(host.prepare(&config(text)).unwrap());
    while !set.settled() {
        std::thread::sleep(Duration::from_millis(5));
    }
    set
}

fn decisions(criterion: &mut Criterion) {
    let home = tempfile::tempdir().unwrap();
    let code = home.path().join("code");
    let native = Native::new();
    let nothing = BundledModules(
        [(
            "allows".to_owned(),
            guardrail("(i32.const 1024)", "").into(),
        )]
        .into(),
    );
    let nothing = host(&code, nothing);
    let nothing = active(&nothing, &one("allows", "guardrail"));
    let host = host(&code, workload::bundled());
    let shell = active(&host, &module("shell-guard", "guardrail"));
    let entries = GUARDRAILS.map(|name| entry(name, "guardrail")).concat();
    let chain = active(&host, &format!("{DEV}{entries}"));
    for (title, call) in [
        ("Bash 1 KiB", workload::bash()),
        ("Edit 16 KiB", workload::edit()),
    ] {
        let facts = workload::in_host_words(&call);
        let mut group = criterion.benchmark_group(title);
        group.bench_function("native shell-guard", |bencher| {
            bencher.iter(|| black_box(native.shell(&call)));
        });
        group.bench_function("native chain", |bencher| {
            bencher.iter(|| black_box(native.chain(&call)));
        });
        for (name, set) in [
            ("guest that does nothing", &nothing),
            ("shell-guard", &shell),
            ("chain", &chain),
        ] {
            group.bench_function(name, |bencher| {
                bencher.iter(|| black_box(set.judge_tool_call(&context(), &facts)));
            });
        }
        group.finish();
    }
    let fix = patch("shop/cart.py", "return a - b", "return a + b");
    let set = active(&host, &module("patch-guard", "guardrail"));
    criterion.bench_function("patch of one line, patch-guard", |bencher| {
        bencher.iter(|| black_box(set.judge_patch(&context(), &fix)));
    });
    let large = workload::patch();
    let large_facts = workload::patch_in_host_words(&large);
    assert_eq!(native.finished(&large), Verdict::Allow);
    let title = format!("patch of {} bytes", large.diff.len());
    let mut group = criterion.benchmark_group(title);
    group.bench_function("native patch-guard", |bencher| {
        bencher.iter(|| black_box(native.finished(&large)));
    });
    group.bench_function("patch-guard", |bencher| {
        bencher.iter(|| black_box(set.judge_patch(&context(), &large_facts)));
    });
    group.bench_function("all guardrails", |bencher| {
        bencher.iter(|| black_box(chain.judge_patch(&context(), &large_facts)));
    });
    group.finish();
    let set = active(&host, &module("risk-score", "risk"));
    criterion.bench_function("patch of one line, risk-score", |bencher| {
        bencher.iter(|| black_box(set.assess(&context(), &fix)));
    });
}

/// What it costs a guest that does nothing to be granted a clock, and to read it.
fn capability(criterion: &mut Criterion) {
    const NOW: &str =
        r#"(import "wasi:clocks/monotonic-clock@0.2.12" "now" (func $now (result i64)))"#;
    let home = tempfile::tempdir().unwrap();
    let code = home.path().join("code");
    // A local of the function that is never true: imported, and never called.
    let never =
        "(if (i32.lt_u (local.get 0) (i32.const 0)) (then (drop (call $now)))) (i32.const 1024)";
    let called = "(drop (call $now)) (i32.const 1024)";
    let facts = workload::in_host_words(&workload::bash());
    let mut group = criterion.benchmark_group("capability");
    for (name, bytes, granted) in [
        ("none", guardrail("(i32.const 1024)", ""), false),
        ("a clock, not read", importing(NOW, never, ""), true),
        ("a clock, read once", importing(NOW, called, ""), true),
    ] {
        let guests = BundledModules([("allows".to_owned(), bytes.into())].into());
        let host = host(&code, guests);
        let mut text = one("allows", "guardrail");
        if granted {
            text.push_str("capabilities = [\"wasi:clocks\"]\n");
        }
        let set = active(&host, &text);
        group.bench_function(name, |bencher| {
            bencher.iter(|| black_box(set.judge_tool_call(&context(), &facts)));
        });
    }
    group.finish();
}

fn loading(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("loading");
    group.sample_size(10);
    let text = module("shell-guard", "guardrail");
    let cold = WasmPolicyHost::new(
        PolicyEngine::with_spares(0).unwrap(),
        CodeCache::none(),
        workload::bundled(),
    );
    group.bench_function("prepare shell-guard, compiled", |bencher| {
        bencher.iter(|| black_box(cold.prepare(&config(&text)).unwrap()));
    });
    let home = tempfile::tempdir().unwrap();
    let kept = host(&home.path().join("code"), workload::bundled());
    active(&kept, &text);
    // Another host, so that nothing is taken over from the one that compiled it.
    let kept = host(&home.path().join("code"), workload::bundled());
    group.bench_function("prepare shell-guard, cached", |bencher| {
        bencher.iter(|| black_box(kept.prepare(&config(&text)).unwrap()));
    });
}

criterion_group!(benches, decisions, capability, loading);
criterion_main!(benches);
