//! Measures what containment costs: `start DIRECTORY [COMMAND]`.
#![expect(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a tool for people, not a part of the product"
)]

use selfheal_sandbox::{Access, CancelToken, Sandbox, SandboxSpec, Workspace, allowed_environment};
use std::time::Instant;

fn main() {
    let mut arguments = std::env::args().skip(1);
    let directory = arguments.next().unwrap_or_else(|| "/usr".to_owned());
    let command = arguments.next().unwrap_or_else(|| "true".to_owned());
    println!("{}", Sandbox::probe());
    for access in [Access::ReadOnly, Access::Discard] {
        let mut spec = SandboxSpec::new(&command, Workspace::new(&directory, access.clone()));
        spec.environment = allowed_environment(&[]);
        let mut times: Vec<f64> = (0..100)
            .map(|_| {
                let started = Instant::now();
                let output = Sandbox::new()
                    .run(spec.clone(), &CancelToken::new())
                    .unwrap();
                assert!(output.ended.success(), "{output:?}");
                started.elapsed().as_secs_f64() * 1000.0
            })
            .collect();
        times.sort_by(f64::total_cmp);
        let at = |part: usize| times.get(times.len() * part / 100).unwrap();
        println!("{access:?}: p50 {:.1} ms, p95 {:.1} ms", at(50), at(95));
    }
}
