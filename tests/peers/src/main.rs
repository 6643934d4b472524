//! Decisions of other policy engines beside ours, in one run: about ten rules each
//! (`rules/`), the same two questions, everything from the facts to the answer.
//!
//! ```text
//! cargo xtask build-policies
//! cargo run --release --manifest-path tests/peers/Cargo.toml [ROUNDS]
//! ```
//!
//! It has a workspace and a lock file of its own, as none of the peers belongs to the
//! product; the first build compiles two versions of wasmtime. The first row is the
//! physical limit: the same rules as ours in native code, without any isolation. The
//! rows take turns, so that what else the machine does falls on all of them; what
//! counts is the last column. `SELFHEAL_POLICIES_DIR` names other modules than those
//! in `target/policies`.
//!
//! What is compared is not equal: ours and the native rows run the bundled
//! guardrails, which judge more than ten rules; Extism runs a plugin that does
//! nothing, so its row is the cost of its isolation alone.

#[path = "../../../host/crates/policy-host/benches/workload/mod.rs"]
mod workload;

use cedar_policy::{Authorizer, Context, Entities, PolicySet as CedarSet, Request};
use extism::{CompiledPlugin, Manifest, Plugin, PluginBuilder, Wasm};
use selfheal_domain::policy::{PolicyContext, PolicySet, ToolCallFacts};
use selfheal_policy_host::{CodeCache, PolicyEngine, WasmPolicyHost};
use serde_json::json;
use std::hint::black_box;
use std::io::Write;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

struct Row {
    name: &'static str,
    /// Questions of one turn.
    turn: usize,
    run: Box<dyn FnMut()>,
    nanos: Vec<u64>,
}

fn row(name: &'static str, turn: usize, run: impl FnMut() + 'static) -> Row {
    Row {
        name,
        turn,
        run: Box::new(run),
        nanos: Vec::new(),
    }
}

/// The facts as the engines that take JSON are given them.
fn facts(call: &ToolCallFacts) -> serde_json::Value {
    let commands: Vec<_> = call
        .commands
        .iter()
        .map(|command| {
            let arguments: Vec<_> = command
                .arguments
                .iter()
                .map(|word| word.text.as_str())
                .collect();
            json!({"program": command.program.text, "arguments": arguments})
        })
        .collect();
    json!({"tool": call.tool, "text": call.input, "commands": commands})
}

fn rego(call: Arc<ToolCallFacts>) -> impl FnMut() {
    let mut engine = regorus::Engine::new();
    engine
        .add_policy(
            "guard.rego".to_owned(),
            include_str!("../rules/guard.rego").to_owned(),
        )
        .unwrap();
    let policy = engine
        .compile_with_entrypoint(&"data.guard.deny".into())
        .unwrap();
    move || {
        let input = regorus::Value::from(facts(&call));
        let denied = policy.eval_with_input(input).unwrap();
        assert_eq!(denied, regorus::Value::from(false));
    }
}

fn cedar(call: Arc<ToolCallFacts>) -> impl FnMut() {
    let policies: CedarSet = include_str!("../rules/guard.cedar").parse().unwrap();
    let authorizer = Authorizer::new();
    let entities = Entities::empty();
    move || {
        let programs: Vec<_> = call
            .commands
            .iter()
            .map(|command| command.program.text.as_str())
            .collect();
        let context = json!({"text": call.input.to_lowercase(), "programs": programs});
        let request = Request::new(
            "Agent::\"engine\"".parse().unwrap(),
            "Action::\"call\"".parse().unwrap(),
            "Tool::\"Bash\"".parse().unwrap(),
            Context::from_json_value(context, None).unwrap(),
            None,
        )
        .unwrap();
        let answer = authorizer.is_authorized(&request, &policies, &entities);
        assert_eq!(answer.decision(), cedar_policy::Decision::Allow);
    }
}

fn extism_row(call: Arc<ToolCallFacts>) -> impl FnMut() {
    let module = wat::parse_str("(module (memory (export \"memory\") 4) (func (export \"judge\") (result i32) (i32.const 0)))").unwrap();
    let plugin =
        CompiledPlugin::new(PluginBuilder::new(Manifest::new([Wasm::data(module)]))).unwrap();
    move || {
        let mut plugin = Plugin::new_from_compiled(&plugin).unwrap();
        let _: Vec<u8> = plugin.call("judge", facts(&call).to_string()).unwrap();
    }
}

fn hook(call: Arc<ToolCallFacts>) -> impl FnMut() {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/rules/hook.py");
    move || {
        let mut child = Command::new("python3")
            .arg(script)
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        child
            .stdin
            .take()
            .unwrap()
            .write_all(facts(&call).to_string().as_bytes())
            .unwrap();
        assert!(child.wait().unwrap().success());
    }
}

fn ours(call: Arc<ToolCallFacts>, names: &[&str], spares: usize) -> impl FnMut() {
    let home = tempfile::tempdir().unwrap();
    let code = CodeCache::in_directory(home.path().join("code"));
    let host = WasmPolicyHost::new(
        PolicyEngine::with_spares(spares).unwrap(),
        code,
        workload::bundled(),
    );
    let set = host.activate(host.prepare(&workload::chain_of(names)).unwrap());
    while !set.settled() {
        std::thread::sleep(Duration::from_millis(5));
    }
    let context: PolicyContext = workload::context();
    move || {
        black_box(set.judge_tool_call(&context, &call));
    }
}

fn main() {
    let rounds: usize = std::env::args()
        .nth(1)
        .map_or(20, |rounds| rounds.parse().unwrap());
    for (title, call) in [
        ("1 KiB Bash", workload::bash()),
        ("16 KiB Edit", workload::edit()),
    ] {
        let call = Arc::new(call);
        let facts = Arc::new(workload::in_host_words(&call));
        let native = workload::Native::new();
        let mut rows = vec![
            row("native, the bundled guardrails", 200, move || {
                black_box(native.chain(&call));
            }),
            row(
                "ours, shell-guard",
                200,
                ours(Arc::clone(&facts), &workload::GUARDRAILS[..1], 0),
            ),
            row(
                "ours, the bundled guardrails",
                200,
                ours(Arc::clone(&facts), &workload::GUARDRAILS, 0),
            ),
            row(
                "regorus, compiled, ten rules",
                100,
                rego(Arc::clone(&facts)),
            ),
            row("cedar-policy, ten rules", 100, cedar(Arc::clone(&facts))),
            row(
                "Extism, fresh plugin that does nothing",
                20,
                extism_row(Arc::clone(&facts)),
            ),
            row(
                "Python hook process, ten rules",
                2,
                hook(Arc::clone(&facts)),
            ),
        ];
        for _ in 0..rounds {
            for row in &mut rows {
                for _ in 0..row.turn {
                    let started = Instant::now();
                    (row.run)();
                    row.nanos
                        .push(u64::try_from(started.elapsed().as_nanos()).unwrap());
                }
            }
        }
        println!(
            "\n{title:<44}{:>10}{:>10}{:>12}",
            "p50 us", "p99 us", "x native"
        );
        let mut floor = None;
        for row in &mut rows {
            row.nanos.sort_unstable();
            let at = |share: f64| {
                row.nanos[((row.nanos.len() - 1) as f64 * share) as usize] as f64 / 1000.0
            };
            let floor = *floor.get_or_insert(at(0.5));
            println!(
                "{:<44}{:>10.1}{:>10.1}{:>12.1}",
                row.name,
                at(0.5),
                at(0.99),
                at(0.5) / floor
            );
        }
    }
}
