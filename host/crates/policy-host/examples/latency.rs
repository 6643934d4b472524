//! Prints what decisions cost beside the same rules as native code, all in one run:
//!
//! ```text
//! cargo xtask build-policies
//! cargo run --release -p selfheal-policy-host --example latency [ROUNDS [ONLY]]
//! ```
//!
//! Rows take turns, so that noise of the machine falls on all of them. "Native" has
//! no isolation at all: it begins with the facts in the policies' own words and ends
//! with the verdict. The host begins with its own facts and ends with a judgement
//! that is ready to be recorded; the row about a guest that does nothing tells how
//! much of its time that takes.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::indexing_slicing,
    reason = "a measurement prints and may stop at a surprise"
)]

#[path = "../tests/support/mod.rs"]
mod support;
#[path = "../benches/workload/mod.rs"]
mod workload;

use selfheal_domain::policy::{PolicySet, ToolCallFacts};
use selfheal_policy_host::{ActiveSet, CodeCache, PolicyEngine, WasmPolicyHost};
use selfheal_policy_sdk::ToolCall;
use std::hint::black_box;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use support::{config, context, guardrail, one};
use workload::{GUARDRAILS, Native};

/// Decisions of one turn.
const TURN: usize = 200;

struct Row {
    name: String,
    /// Index of the row that this one is compared with.
    floor: usize,
    run: Box<dyn FnMut() -> Duration>,
    nanos: Vec<u64>,
}

#[derive(Default)]
struct Rows(Vec<Row>);

impl Rows {
    fn add(&mut self, name: &str, floor: usize, run: impl FnMut() -> Duration + 'static) {
        self.0.push(Row {
            name: name.to_owned(),
            floor,
            run: Box::new(run),
            nanos: Vec::new(),
        });
    }

    fn native(
        &mut self,
        name: &str,
        native: &Arc<Native>,
        call: &Arc<ToolCall>,
        judge: impl Fn(&Native, &ToolCall) -> selfheal_policy_sdk::Verdict + 'static,
    ) -> usize {
        let (native, call) = (Arc::clone(native), Arc::clone(call));
        let at = self.0.len();
        self.add(name, at, move || timed(|| black_box(judge(&native, &call))));
        at
    }

    fn host(&mut self, name: &str, floor: usize, set: &Arc<ActiveSet>, call: &Arc<ToolCallFacts>) {
        let (set, call, context) = (Arc::clone(set), Arc::clone(call), context());
        self.add(name, floor, move || {
            timed(|| black_box(set.judge_tool_call(&context, &call)))
        });
    }

    /// Every decision finds a spare of each of `modules`, waiting for it untimed.
    fn spare(
        &mut self,
        name: &str,
        floor: usize,
        set: &Arc<ActiveSet>,
        modules: usize,
        call: &Arc<ToolCallFacts>,
    ) {
        let (set, call, context) = (Arc::clone(set), Arc::clone(call), context());
        self.add(name, floor, move || {
            // Spinning, as sleeping would measure cold caches.
            if set.spares() < modules * SPARES / 2 {
                set.judge_tool_call(&context, &call);
                while set.spares() < modules * SPARES {
                    std::hint::spin_loop();
                }
                set.judge_tool_call(&context, &call);
            }
            timed(|| black_box(set.judge_tool_call(&context, &call)))
        });
    }
}

/// Spares of each module where decisions find some.
const SPARES: usize = 8;

fn timed<T>(work: impl FnOnce() -> T) -> Duration {
    let started = Instant::now();
    work();
    started.elapsed()
}

fn micros(sorted: &[u64], share: f64) -> f64 {
    sorted[((sorted.len() - 1) as f64 * share) as usize] as f64 / 1000.0
}

fn host(spares: usize, code: &Path) -> WasmPolicyHost {
    WasmPolicyHost::new(
        PolicyEngine::with_spares(spares).unwrap(),
        CodeCache::in_directory(code.to_owned()),
        workload::bundled(),
    )
}

fn active(host: &WasmPolicyHost, names: &[&str]) -> Arc<ActiveSet> {
    settled(host.activate(host.prepare(&workload::chain_of(names)).unwrap()))
}

fn settled(set: Arc<ActiveSet>) -> Arc<ActiveSet> {
    while !set.settled() {
        std::thread::sleep(Duration::from_millis(5));
    }
    set
}

fn main() {
    let rounds = std::env::args()
        .nth(1)
        .map_or(40, |rounds| rounds.parse().unwrap());
    let only = std::env::args().nth(2).unwrap_or_default();
    let home = tempfile::tempdir().unwrap();
    let code = home.path().join("code");

    if !only.is_empty() {
        return latency(rounds, &only, &code);
    }
    loading(&code);
    latency(rounds, &only, &code);
    throughput(&code);
    swapping(&code);
    memory(&code);
}

fn latency(rounds: usize, only: &str, code: &Path) {
    let (bash, edit) = (Arc::new(workload::bash()), Arc::new(workload::edit()));
    let bash_facts = Arc::new(workload::in_host_words(&bash));
    let edit_facts = Arc::new(workload::in_host_words(&edit));
    let native = Arc::new(Native::new());
    println!(
        "\nBash: {} bytes, {} programs; Edit: {} bytes; native verdicts {:?} and {:?}",
        bash.input.len(),
        bash.commands.len(),
        edit.input.len(),
        native.chain(&bash),
        native.chain(&edit)
    );
    let nothing = {
        let allows = guardrail("(i32.const 1024)", "");
        let modules = [("allows".to_owned(), allows.into())].into();
        let host = WasmPolicyHost::new(
            PolicyEngine::with_spares(0).unwrap(),
            CodeCache::in_directory(code.to_owned()),
            selfheal_policy_host::BundledModules(modules),
        );
        settled(host.activate(host.prepare(&config(&one("allows", "guardrail"))).unwrap()))
    };
    let without = host(0, code);
    let shell = active(&without, &["shell-guard"]);
    let chain = active(&without, &GUARDRAILS);
    let with = host(SPARES, code);
    let shell_spare = active(&with, &["shell-guard"]);
    let chain_spare = active(&with, &GUARDRAILS);

    let mut rows = Rows::default();
    let floor = rows.native("Bash  native shell-guard", &native, &bash, Native::shell);
    rows.host(
        "Bash  guest that does nothing, fresh",
        floor,
        &nothing,
        &bash_facts,
    );
    let short = Arc::new(support::bash("pytest -q"));
    rows.host(
        "Bash  two words, guest that does nothing, fresh",
        floor,
        &nothing,
        &short,
    );
    rows.host("Bash  shell-guard, fresh", floor, &shell, &bash_facts);
    rows.spare(
        "Bash  shell-guard, spare",
        floor,
        &shell_spare,
        1,
        &bash_facts,
    );
    let floor = rows.native("Bash  native chain of three", &native, &bash, Native::chain);
    rows.host("Bash  chain of three, fresh", floor, &chain, &bash_facts);
    rows.spare(
        "Bash  chain of three, spares",
        floor,
        &chain_spare,
        3,
        &bash_facts,
    );
    let floor = rows.native("Edit  native chain of three", &native, &edit, Native::chain);
    rows.host(
        "Edit  guest that does nothing, fresh",
        floor,
        &nothing,
        &edit_facts,
    );
    rows.host("Edit  shell-guard, fresh", floor, &shell, &edit_facts);
    rows.host("Edit  chain of three, fresh", floor, &chain, &edit_facts);
    rows.spare(
        "Edit  chain of three, spares",
        floor,
        &chain_spare,
        3,
        &edit_facts,
    );

    for _ in 0..rounds {
        for row in rows.0.iter_mut().filter(|row| row.name.contains(only)) {
            for turn in 0..TURN + 10 {
                let took = (row.run)();
                // The first ones of a turn find cold caches.
                if turn >= 10 {
                    row.nanos.push(u64::try_from(took.as_nanos()).unwrap());
                }
            }
        }
    }
    println!(
        "\n{:<48}{:>9}{:>9}{:>9}{:>10}",
        "microseconds", "p50", "p90", "p99", "x native"
    );
    for row in &mut rows.0 {
        row.nanos.sort_unstable();
    }
    for row in rows.0.iter().filter(|row| !row.nanos.is_empty()) {
        let at = |share| micros(&row.nanos, share);
        let floor = &rows.0[row.floor].nanos;
        let ratio = if floor.is_empty() {
            f64::NAN
        } else {
            at(0.5) / micros(floor, 0.5)
        };
        println!(
            "{:<48}{:>9.2}{:>9.2}{:>9.2}{:>10.2}",
            row.name,
            at(0.5),
            at(0.9),
            at(0.99),
            ratio
        );
    }
}

fn loading(code: &Path) {
    println!(
        "\n{:<40}{:>9}{:>12}{:>12}{:>12}",
        "prepare, milliseconds", "KiB", "cold", "from cache", "settled"
    );
    for (name, bytes) in workload::bundled().0 {
        let kind = match name.as_str() {
            "risk-score" => "risk",
            "autonomy" => "autonomy",
            _ => "guardrail",
        };
        let text = format!(
            "environment = \"dev\"\n[[module]]\nname = \"{name}\"\nkind = \"{kind}\"\nsource = \"bundled:{name}\"\n"
        );
        let policy = config(&text);
        let prepare = || {
            let host = host(0, code);
            timed(|| host.prepare(&policy).unwrap()).as_secs_f64() * 1000.0
        };
        let cold = prepare();
        // What is made later, of which nobody waits, so that it is in the cache.
        let later = Instant::now();
        let keeps = host(0, code);
        settled(keeps.activate(keeps.prepare(&policy).unwrap()));
        let later = later.elapsed().as_secs_f64() * 1000.0;
        let mut cached: Vec<f64> = (0..5).map(|_| prepare()).collect();
        cached.sort_by(f64::total_cmp);
        println!(
            "{:<40}{:>9}{:>12.1}{:>12.2}{:>12.1}",
            name,
            bytes.len() / 1024,
            cold,
            cached[2],
            later
        );
    }
}

fn throughput(code: &Path) {
    println!(
        "\n{:<40}{:>12}{:>12}{:>9}",
        "decisions per second", "1 thread", "2 threads", "scaling"
    );
    let call = workload::in_host_words(&workload::bash());
    for names in [&GUARDRAILS[..1], &GUARDRAILS[..]] {
        let host = host(2, code);
        let set = active(&host, names);
        let rate = |threads: usize| {
            let (done, count) = (AtomicBool::new(false), AtomicU64::new(0));
            let started = Instant::now();
            std::thread::scope(|scope| {
                for _ in 0..threads {
                    scope.spawn(|| {
                        let context = context();
                        while !done.load(Ordering::Relaxed) {
                            black_box(set.judge_tool_call(&context, &call));
                            count.fetch_add(1, Ordering::Relaxed);
                        }
                    });
                }
                std::thread::sleep(Duration::from_millis(1500));
                done.store(true, Ordering::Relaxed);
            });
            count.load(Ordering::Relaxed) as f64 / started.elapsed().as_secs_f64()
        };
        let (single, double) = (rate(1), rate(2));
        let name = format!("Bash  {}", names.join(" + "));
        println!(
            "{name:<40}{single:>12.0}{double:>12.0}{:>9.2}",
            double / single
        );
    }
}

/// Activating what was prepared, while two threads judge.
fn swapping(code: &Path) {
    let host = host(2, code);
    active(&host, &GUARDRAILS);
    let prepared = Mutex::new(Vec::new());
    for _ in 0..200 {
        let set = host.prepare(&workload::chain_of(&GUARDRAILS)).unwrap();
        prepared.lock().unwrap().push(set);
    }
    let call = workload::in_host_words(&workload::bash());
    let done = AtomicBool::new(false);
    let mut nanos: Vec<u64> = std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    black_box(host.active().judge_tool_call(&context(), &call));
                }
            });
        }
        let mut swaps = Vec::new();
        while let Some(set) = prepared.lock().unwrap().pop() {
            swaps.push(u64::try_from(timed(|| host.activate(set)).as_nanos()).unwrap());
            std::thread::sleep(Duration::from_millis(2));
        }
        done.store(true, Ordering::Relaxed);
        swaps
    });
    nanos.sort_unstable();
    println!(
        "\nswap of a prepared chain under load: p50 {:.2}, p99 {:.2}, largest {:.2} microseconds",
        micros(&nanos, 0.5),
        micros(&nanos, 0.99),
        micros(&nanos, 1.0)
    );
}

/// Resident memory of this process, in KiB.
fn resident() -> i64 {
    let pages = std::fs::read_to_string("/proc/self/statm").unwrap();
    let pages: i64 = pages.split(' ').nth(1).unwrap().parse().unwrap();
    pages * 4
}

fn memory(code: &Path) {
    const MODULES: i64 = 16;
    let host = host(0, code);
    active(&host, &["shell-guard"]);
    let before = resident();
    // Different settings: nothing of one is shared with another.
    let sets: Vec<_> = (0..MODULES)
        .map(|n| {
            let text = format!(
                "environment = \"dev\"\n[[module]]\nname = \"shell-guard\"\nkind = \"guardrail\"\nsource = \"bundled:shell-guard\"\nsettings = {{ denied_programs = [\"x{n}\"] }}\n"
            );
            settled(host.activate(host.prepare(&config(&text)).unwrap()))
        })
        .collect();
    let modules = (resident() - before) / MODULES;
    drop(sets);
    let many = self::host(16, code);
    let set = active(&many, &["shell-guard"]);
    let call = workload::in_host_words(&workload::bash());
    set.judge_tool_call(&context(), &call);
    let before = resident();
    while set.spares() < 16 {
        std::thread::sleep(Duration::from_millis(4));
    }
    let spare = (resident() - before) / 16;
    println!(
        "\nresident memory: {modules} KiB per idle module (shell-guard), {spare} KiB per spare"
    );
}
