//! `selfheal policy bench`: what decisions of a module cost, beside a guest that does
//! nothing.

use super::cases;
use super::module::{ModuleArguments, kind_name};
use super::question::{About, Question, Workspace, files_of, usual_context};
use super::sdk;
use crate::cli::output::{self, Colour};
use crate::failure::{Because, Exit, Failure};
use clap::Args;
use selfheal_domain::digest::Digest;
use selfheal_domain::policy::{ModuleKind, PatchFacts};
use selfheal_domain::risk::{Assessment, RiskScore};
use selfheal_policy_host::{CodeCache, Limits, ModuleProblem, PolicyEngine, RunAs, SingleModule};
use serde::Serialize;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Decisions before anything is measured.
const WARM_UP: usize = 50;
/// Most decisions of one measurement.
const MOST: usize = 100_000;
/// Longest deadline a limit may have: measuring must not end a slow decision.
const PATIENCE_MS: u64 = Limits::DEADLINE_MS.1;
/// Time that a module gets, beyond what compiling it took, to be made ready.
const PATIENCE: Duration = Duration::from_secs(2);
/// Memory is handed to guests in pages of this size, in bytes.
const PAGE: u64 = 64 << 10;

/// Measures decisions: latency, throughput, memory, compile time
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  selfheal policy bench no-docker.wasm
  selfheal policy bench . --budget-us 50        exit code 1 when a median is over it
  selfheal policy bench shell-guard --json | jq '.questions[].p50Us'

Each decision runs in a fresh instance, as in force. The floor is a guest that allows
at once: instantiating it and handing it the question, which every module costs. What a
module takes above it is its own work.")]
pub(crate) struct Bench {
    #[command(flatten)]
    arguments: ModuleArguments,
    /// Fail when the median of a question is over this, in microseconds
    #[arg(long, value_name = "MICROSECONDS")]
    budget_us: Option<f64>,
    /// Fail when the 99th percentile of a question is over this, in microseconds
    #[arg(long, value_name = "MICROSECONDS")]
    budget_p99_us: Option<f64>,
    /// Time for each measurement, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 1.0)]
    seconds: f64,
}

/// Times of one question.
#[derive(Serialize, Clone, Copy)]
#[serde(rename_all = "camelCase")]
struct Latency {
    p50_us: f64,
    p99_us: f64,
    decisions: usize,
}

/// Everything about one question.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Row {
    question: String,
    #[serde(flatten)]
    latency: Latency,
    /// The guest that does nothing, on the same question.
    floor: Latency,
    /// Median over the floor's median.
    times_floor: f64,
    per_second: f64,
    per_second_all_threads: f64,
    /// Least memory under which the module answers, in bytes.
    memory_bytes: Option<u64>,
}

impl Bench {
    pub(crate) fn run(self) -> Result<Exit, Failure> {
        if !(0.01..=60.0).contains(&self.seconds) {
            return Err(Failure::new(Exit::Usage, "--seconds is 0.01 to 60"));
        }
        let target = self.arguments.target()?;
        let settings = self.arguments.settings()?.to_string();
        let run_as = RunAs {
            limits: limits(Limits::DEFAULT.memory())?,
            settings,
            ..self.arguments.run_as(&target)?
        };
        let engine = PolicyEngine::new().because(Exit::Unavailable)?;
        let not_loaded = |problem: ModuleProblem| {
            Failure::new(
                Exit::NotSo,
                format!("{} cannot be measured: {problem}", target.name),
            )
        };
        let load = |cache: &CodeCache| {
            let started = Instant::now();
            SingleModule::load(&engine, cache, &target.bytes, run_as.clone())
                .map(|module| (module, started.elapsed()))
        };
        let (_, cold) = load(&CodeCache::none()).map_err(not_loaded)?;
        let home = tempfile::tempdir().because(Exit::Unavailable)?;
        let cache = CodeCache::in_directory(home.path().join("code"));
        load(&cache).map_err(not_loaded)?;
        let (module, cached) = load(&cache).map_err(not_loaded)?;
        let described = module.describe().map_err(not_loaded)?;
        let settling = Instant::now();
        module
            .settle(&cache, &target.bytes, &run_as.settings)
            .map_err(not_loaded)?;
        while !module.settled() && settling.elapsed() < PATIENCE + cold * 3 {
            std::thread::sleep(Duration::from_millis(5));
        }

        let idle = idle(&engine, &cache)?;
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        let budget = Duration::from_secs_f64(self.seconds);
        let mut rows = Vec::new();
        for (name, question) in questions(module.kind())? {
            output::progress(format!("measuring: {name}"));
            // A fault would be measured as an answer.
            cases::ask(&module, &question).map_err(|fault| {
                Failure::new(Exit::NotSo, format!("{name}: the module {fault}"))
            })?;
            let taken = latency(&module, &question, budget);
            // An autonomy module's question is put to it as one about the patch.
            let floor = latency(&idle, &question, budget);
            rows.push(Row {
                times_floor: taken.p50_us / floor.p50_us.max(f64::MIN_POSITIVE),
                per_second: throughput(&module, &question, 1, budget),
                per_second_all_threads: throughput(&module, &question, threads, budget),
                memory_bytes: least_memory(&module, &run_as, &question)?,
                question: name,
                latency: taken,
                floor,
            });
        }
        let over: Vec<&Row> = rows.iter().filter(|row| self.over(&row.latency)).collect();
        if self.arguments.json {
            output::json(&serde_json::json!({
                "module": target.name, "version": described.version, "kind": kind_name(module.kind()),
                "sha256": module.anatomy().digest.to_string(), "bytes": target.bytes.len(),
                "compileMs": milliseconds(cold), "fromCacheMs": milliseconds(cached),
                "configuredBeforehand": module.settled(),
                "threads": threads, "debugBuild": cfg!(debug_assertions), "questions": rows,
                "overBudget": over.iter().map(|row| &row.question).collect::<Vec<_>>(),
                "ok": over.is_empty(),
            }));
        } else {
            output::line(format!(
                "{} {}: {}, {} KiB; compiled in {:.0} ms, from the cache in {:.2} ms",
                output::coloured(Colour::Bold, &target.name),
                described.version,
                kind_name(module.kind()),
                target.bytes.len().div_ceil(1024),
                milliseconds(cold),
                milliseconds(cached)
            ));
            print(&rows, threads);
            for row in &over {
                let text = format!(
                    "over budget: {} ({:.1} µs, p99 {:.1} µs)",
                    row.question, row.latency.p50_us, row.latency.p99_us
                );
                output::line(output::coloured(Colour::Red, text));
            }
        }
        Ok(if over.is_empty() {
            Exit::Done
        } else {
            Exit::NotSo
        })
    }

    fn over(&self, latency: &Latency) -> bool {
        self.budget_us.is_some_and(|most| latency.p50_us > most)
            || self.budget_p99_us.is_some_and(|most| latency.p99_us > most)
    }
}

fn print(rows: &[Row], threads: usize) {
    output::line(format!(
        "  {:<28} {:>9} {:>9} {:>9} {:>7} {:>10} {:>10} {:>9}",
        "question",
        "p50 µs",
        "p99 µs",
        "floor µs",
        "×floor",
        "1/s",
        format!("{threads}×/s"),
        "memory"
    ));
    for row in rows {
        let memory = row
            .memory_bytes
            .map_or_else(|| "?".to_owned(), |bytes| format!("{} KiB", bytes >> 10));
        output::line(format!(
            "  {:<28} {:>9.1} {:>9.1} {:>9.1} {:>7.1} {:>10.0} {:>10.0} {memory:>9}",
            row.question,
            row.latency.p50_us,
            row.latency.p99_us,
            row.floor.p50_us,
            row.times_floor,
            row.per_second,
            row.per_second_all_threads
        ));
    }
    output::line(
        "  floor: a guest that allows at once, asked the same; memory: the least that suffices",
    );
    if cfg!(debug_assertions) {
        output::line(output::coloured(
            Colour::Yellow,
            "  this selfheal is a debug build: handing over questions takes several times as long",
        ));
    }
}

fn limits(memory: u64) -> Result<Limits, Failure> {
    Limits::new(PATIENCE_MS, memory, Limits::DEFAULT.output())
        .map_err(|message| Failure::new(Exit::Unavailable, message))
}

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

/// The guest that does nothing, made ready in the same way.
fn idle(engine: &PolicyEngine, cache: &CodeCache) -> Result<SingleModule, Failure> {
    let wit = tempfile::tempdir().because(Exit::Unavailable)?;
    for (name, text) in sdk::contract() {
        std::fs::write(wit.path().join(name), text).because(Exit::Unavailable)?;
    }
    let bytes = selfheal_guest_build::idle_guardrail(wit.path()).because(Exit::Unavailable)?;
    let run_as = RunAs {
        name: "idle".to_owned(),
        settings: "{}".to_owned(),
        limits: limits(Limits::DEFAULT.memory())?,
        capabilities: selfheal_policy_host::Capabilities::NONE,
    };
    let idle = SingleModule::load(engine, cache, &bytes, run_as).because(Exit::Unavailable)?;
    idle.settle(cache, &bytes, "{}")
        .because(Exit::Unavailable)?;
    let settling = Instant::now();
    while !idle.settled() && settling.elapsed() < PATIENCE {
        std::thread::sleep(Duration::from_millis(5));
    }
    Ok(idle)
}

/// What a module of a kind is asked in practice.
fn questions(kind: ModuleKind) -> Result<Vec<(String, Question)>, Failure> {
    let context = usual_context();
    let ask = |about| Question {
        context: context.clone(),
        about,
    };
    let small = patch("return a - b\n", "return a + b\n")?;
    let long: String = (0..300)
        .map(|line| format!("    total = total + prices[{line}] * 0.19\n"))
        .collect();
    let large = patch(&long, &long.replace("0.19", "0.07"))?;
    let assessed = |patch: PatchFacts| -> Result<About, Failure> {
        let score = RiskScore::new(15).because(Exit::Unavailable)?;
        let assessment = Assessment {
            score,
            factors: Vec::new(),
            faults: Vec::new(),
            generation: 0,
            asked: None,
        };
        Ok(About::Assessed(patch, assessment))
    };
    Ok(match kind {
        ModuleKind::Guardrail => {
            let files = BTreeMap::from([("shop/cart.py".to_owned(), long.clone())]);
            let workspace = Workspace::new(&files, &[], &[])?;
            let names: String = (0..40)
                .map(|test| format!(" tests/test_cart.py::test_case_{test:02}"))
                .collect();
            let bash = workspace.command(&format!(
                "cd shop && python3 -m pytest -q{}",
                names.get(..980).unwrap_or(&names)
            ));
            let edit = workspace.edit("shop/cart.py", &long);
            vec![
                ("Bash call, 1 KiB".to_owned(), bash),
                ("Edit call, 16 KiB".to_owned(), edit),
                ("patch, 1 line".to_owned(), ask(About::Patch(small))),
                ("patch, 300 lines".to_owned(), ask(About::Patch(large))),
            ]
        }
        ModuleKind::Risk => vec![
            ("patch, 1 line".to_owned(), ask(About::Patch(small))),
            ("patch, 300 lines".to_owned(), ask(About::Patch(large))),
        ],
        ModuleKind::Autonomy => vec![
            ("assessed patch, 1 line".to_owned(), ask(assessed(small)?)),
            (
                "assessed patch, 300 lines".to_owned(),
                ask(assessed(large)?),
            ),
        ],
    })
}

/// A patch that replaces `removed` by `added` in one file.
fn patch(removed: &str, added: &str) -> Result<PatchFacts, Failure> {
    let prefixed = |text: &str, mark: char| -> String {
        text.lines().map(|line| format!("{mark}{line}\n")).collect()
    };
    let (old, new) = (removed.lines().count(), added.lines().count());
    let diff = format!(
        "--- a/shop/cart.py\n+++ b/shop/cart.py\n@@ -1,{old} +1,{new} @@\n{}{}",
        prefixed(removed, '-'),
        prefixed(added, '+')
    );
    Ok(PatchFacts {
        digest: Digest::of(diff.as_bytes()),
        files: files_of(&diff)?,
        diff,
        claimed_confidence: 0.9,
        reproduction_proved: true,
        rivals: 0,
        severity: "MEDIUM".to_owned(),
    })
}

fn latency(module: &SingleModule, question: &Question, budget: Duration) -> Latency {
    for _ in 0..WARM_UP {
        let _ = std::hint::black_box(cases::ask(module, question));
    }
    let started = Instant::now();
    let mut times = Vec::new();
    while times.len() < MOST && (started.elapsed() < budget || times.is_empty()) {
        let asked = Instant::now();
        let _ = std::hint::black_box(cases::ask(module, question));
        times.push(asked.elapsed());
    }
    times.sort_unstable();
    let at = |part: f64| {
        let index = ((times.len() as f64 - 1.0) * part).round() as usize;
        times
            .get(index)
            .map_or(0.0, |time| time.as_secs_f64() * 1e6)
    };
    Latency {
        p50_us: at(0.5),
        p99_us: at(0.99),
        decisions: times.len(),
    }
}

/// Decisions per second on so many threads.
fn throughput(module: &SingleModule, question: &Question, threads: usize, budget: Duration) -> f64 {
    let over = AtomicBool::new(false);
    let started = Instant::now();
    let decisions: u64 = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads)
            .map(|_| {
                scope.spawn(|| {
                    let mut count = 0u64;
                    while !over.load(Ordering::Relaxed) {
                        let _ = std::hint::black_box(cases::ask(module, question));
                        count += 1;
                        if started.elapsed() >= budget {
                            over.store(true, Ordering::Relaxed);
                        }
                    }
                    count
                })
            })
            .collect();
        workers
            .into_iter()
            .filter_map(|worker| worker.join().ok())
            .sum()
    });
    decisions as f64 / started.elapsed().as_secs_f64()
}

/// The least memory limit under which the module answers, to the page; none if it
/// does not even under the largest.
fn least_memory(
    module: &SingleModule,
    run_as: &RunAs,
    question: &Question,
) -> Result<Option<u64>, Failure> {
    let answers = |pages: u64| -> Result<bool, Failure> {
        let tight = RunAs {
            limits: limits(pages * PAGE)?,
            ..run_as.clone()
        };
        Ok(module
            .again(tight)
            .is_ok_and(|module| cases::ask(&module, question).is_ok()))
    };
    let (least, most) = (Limits::MEMORY_BYTES.0 / PAGE, Limits::MEMORY_BYTES.1 / PAGE);
    if !answers(most)? {
        return Ok(None);
    }
    let (mut low, mut high) = (least.max(1), most);
    while low < high {
        let middle = low.midpoint(high);
        if answers(middle)? {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    Ok(Some(high * PAGE))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_is_asked_something() {
        for kind in [
            ModuleKind::Guardrail,
            ModuleKind::Risk,
            ModuleKind::Autonomy,
        ] {
            assert!(questions(kind).unwrap().len() >= 2);
        }
    }

    #[test]
    fn a_guest_that_does_nothing_is_measured() {
        let engine = PolicyEngine::new().unwrap();
        let idle = idle(&engine, &CodeCache::none()).unwrap();
        let (_, question) = questions(ModuleKind::Guardrail).unwrap().remove(0);
        let said = cases::ask(&idle, &question).unwrap();
        assert_eq!(said.word, "allow");
        let measured = latency(&idle, &question, Duration::ZERO);
        assert_eq!(measured.decisions, 1);
        assert!(measured.p50_us > 0.0);
        let run_as = RunAs {
            name: "idle".to_owned(),
            settings: "{}".to_owned(),
            limits: Limits::DEFAULT,
            capabilities: selfheal_policy_host::Capabilities::NONE,
        };
        // Four pages of its own.
        assert_eq!(
            least_memory(&idle, &run_as, &question).unwrap(),
            Some(4 * PAGE)
        );
    }
}
