//! What the broker costs per call, beside the same command without it: facts, decision
//! of the bundled policies and both records (each synced to disk) on one side, a
//! contained and a bare start of the same shell on the other.
//!
//! `cargo bench --package selfheal --bench broker`
#![allow(
    missing_docs,
    dead_code,
    clippy::unwrap_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a bench, like a test, may stop at a surprise; the bare start is what is compared with"
)]

#[path = "../tests/wall/ground.rs"]
mod ground;

use criterion::{Criterion, criterion_group, criterion_main};
use ground::{Ground, Policies};
use selfheal_domain::tools::{ToolRequest, WorkspaceAccess};
use selfheal_sandbox::{Access, CancelToken, Sandbox, SandboxSpec, Workspace, allowed_environment};
use std::hint::black_box;
use std::time::Duration;

const COMMAND: &str = "grep -rn 'def total' src | head -5";
/// Judged and recorded like any other, and denied: all that the broker itself does.
const DENIED: &str = "rm -rf CANARY";

fn request(command: &str) -> ToolRequest {
    ToolRequest::Bash {
        command: command.to_owned(),
        directory: String::new(),
        timeout: Duration::from_secs(20),
        access: WorkspaceAccess::ReadOnly,
    }
}

fn calls(criterion: &mut Criterion) {
    let ground = Ground::new(Policies::Bundled);
    ground.records.sync_to(&ground.base.join("data/journal"));
    let tools = ground.diagnosis();
    let mut group = criterion.benchmark_group("broker");
    group
        .sample_size(40)
        .measurement_time(Duration::from_secs(6));
    // The first call finds the secret files; that is once per session.
    tools.call(request(COMMAND)).unwrap();
    group.bench_function("judged, recorded, denied", |bencher| {
        bencher.iter(|| black_box(tools.call(request(DENIED)).is_err()));
    });
    group.bench_function("judged, recorded, run contained", |bencher| {
        bencher.iter(|| black_box(tools.call(request(COMMAND)).unwrap()));
    });
    group.bench_function("run contained, no broker", |bencher| {
        let mut spec = SandboxSpec::new(COMMAND, Workspace::new(&ground.app, Access::ReadOnly));
        spec.environment = allowed_environment(&[]);
        let sandbox = Sandbox::new();
        bencher.iter(|| black_box(sandbox.run(spec.clone(), &CancelToken::new()).unwrap()));
    });
    group.bench_function("bare start of the same command", |bencher| {
        bencher.iter(|| {
            let output = std::process::Command::new("/bin/bash")
                .args(["-c", COMMAND])
                .current_dir(&ground.app)
                .output();
            black_box(output.unwrap())
        });
    });
    group.finish();
}

criterion_group!(benches, calls);
criterion_main!(benches);
