//! Latency of decisions with the bundled modules, against an instance that does
//! nothing and against compiling.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a bench, like a test, may stop at a surprise"
)]

#[path = "../tests/support/mod.rs"]
mod support;

use criterion::{Criterion, criterion_group, criterion_main};
use selfheal_domain::policy::PolicySet;
use selfheal_policy_host::{BundledModules, CodeCache, PolicyEngine, WasmPolicyHost};
use std::borrow::Cow;
use std::hint::black_box;
use std::path::Path;
use support::{bash, config, context, guardrail, host_with, one, patch};

fn bundled() -> BundledModules {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../target/policies");
    let names = [
        "shell-guard",
        "path-guard",
        "patch-guard",
        "risk-score",
        "autonomy",
    ];
    let read = |name: &str| std::fs::read(directory.join(name).with_extension("wasm")).unwrap();
    BundledModules(
        names
            .map(|name| (name.to_owned(), Cow::Owned(read(name))))
            .into(),
    )
}

fn module(name: &str, kind: &str) -> String {
    format!(
        "environment = \"dev\"\n[[module]]\nname = \"{name}\"\nkind = \"{kind}\"\nsource = \"bundled:{name}\"\n"
    )
}

fn decisions(criterion: &mut Criterion) {
    let long = "python3 -m pytest -q tests/".to_owned() + &"x".repeat(1_000);
    let call = bash(&long);
    let floor = host_with(&[("allows", guardrail("(i32.const 1024)", ""))]);
    let floor = floor.activate(floor.prepare(&config(&one("allows", "guardrail"))).unwrap());
    criterion.bench_function("tool call 1 KiB, guest that does nothing", |bencher| {
        bencher.iter(|| black_box(floor.judge_tool_call(&context(), &call)));
    });
    let host = WasmPolicyHost::new(PolicyEngine::new().unwrap(), CodeCache::none(), bundled());
    for name in ["shell-guard", "path-guard"] {
        let set = host.activate(host.prepare(&config(&module(name, "guardrail"))).unwrap());
        criterion.bench_function(&format!("tool call 1 KiB, {name}"), |bencher| {
            bencher.iter(|| black_box(set.judge_tool_call(&context(), &call)));
        });
    }
    let fix = patch("shop/cart.py", "return a - b", "return a + b");
    let set = host.activate(
        host.prepare(&config(&module("patch-guard", "guardrail")))
            .unwrap(),
    );
    criterion.bench_function("patch of one line, patch-guard", |bencher| {
        bencher.iter(|| black_box(set.judge_patch(&context(), &fix)));
    });
    let set = host.activate(
        host.prepare(&config(&module("risk-score", "risk")))
            .unwrap(),
    );
    criterion.bench_function("patch of one line, risk-score", |bencher| {
        bencher.iter(|| black_box(set.assess(&context(), &fix)));
    });
}

fn loading(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("loading");
    group.sample_size(10);
    let text = module("shell-guard", "guardrail");
    let host = WasmPolicyHost::new(PolicyEngine::new().unwrap(), CodeCache::none(), bundled());
    group.bench_function("prepare shell-guard, compiled", |bencher| {
        bencher.iter(|| black_box(host.prepare(&config(&text)).unwrap()));
    });
    let home = tempfile::tempdir().unwrap();
    let cache = CodeCache::in_directory(home.path().join("code"));
    let host = WasmPolicyHost::new(PolicyEngine::new().unwrap(), cache, bundled());
    group.bench_function("prepare shell-guard, cached", |bencher| {
        bencher.iter(|| black_box(host.prepare(&config(&text)).unwrap()));
    });
}

criterion_group!(benches, decisions, loading);
criterion_main!(benches);
