//! A throw-away repository with something to lose, and a workbench on it.

use chrono::{DateTime, Utc};
use selfheal_agent::{
    DEFAULT_PROTECTED_PATHS, DEFAULT_SECRET_PATHS, SandboxWorkbench, WorkbenchConfig,
};
use selfheal_domain::digest::Digest;
use selfheal_domain::event::Event;
use selfheal_domain::ids::RunRef;
use selfheal_domain::policy::{
    IssueFacts, ModuleIdentity, PastCall, PatchFacts, PolicyContext, PolicyHost, PolicySet,
    ToolCallFacts, TrackRecord,
};
use selfheal_domain::ports::{
    CallRecorder, CancelToken, Clock, DraftingTools, IdSource, RecordRefused, RunWorktree,
    ToolSessionSpec, Workbench,
};
use selfheal_domain::risk::{Admission, Assessment, AutonomyDecision, AutonomyLevel};
use selfheal_domain::tools::{Tools, WorkspaceAccess};
use selfheal_domain::user::{Actor, TrustClass};
use selfheal_domain::verdict::{Judgement, Verdict};
use selfheal_policy_host::{
    BundledModules, CodeCache, DEFAULT_POLICY_TOML, PolicyConfig, PolicyEngine, WasmPolicyHost,
};
use selfheal_sandbox::{Limits, Sandbox, TrustedCommand, run_trusted};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;
use uuid::Uuid;

include!(concat!(env!("OUT_DIR"), "/bundled_policies.rs"));

/// What must never reach an agent. In the environment of the host it is the value of a
/// variable that cargo sets for every test.
pub(crate) const SECRET: &str = "orchid-7141-not-for-agents";

/// Value of a variable of this process that no command may see.
pub(crate) fn secret_of_environment() -> String {
    std::env::var("CARGO_PKG_DESCRIPTION").unwrap()
}

/// One command of a corpus.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Entry {
    pub(crate) id: String,
    pub(crate) cls: String,
    pub(crate) effect: String,
    pub(crate) cmd: String,
}

/// The commands of `tests/fixtures/corpora/NAME.jsonl`.
pub(crate) fn corpus(name: &str) -> Vec<Entry> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../tests/fixtures/corpora")
        .join(format!("{name}.jsonl"));
    fs::read_to_string(&file)
        .unwrap_or_else(|error| panic!("{}: {error}", file.display()))
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

struct Still;

impl Clock for Still {
    fn now(&self) -> DateTime<Utc> {
        DateTime::UNIX_EPOCH
    }
}

#[derive(Default)]
struct Counting(AtomicU64);

impl IdSource for Counting {
    fn uuid(&self) -> Uuid {
        Uuid::from_u128(u128::from(self.0.fetch_add(1, Ordering::SeqCst)) + 1)
    }
}

/// What was recorded.
#[derive(Default)]
pub(crate) struct Records(pub(crate) Mutex<Vec<Event>>, Mutex<Option<fs::File>>);

impl Records {
    /// Each record is also appended to a file and synced, as a journal does.
    pub(crate) fn sync_to(&self, file: &Path) {
        *self.1.lock().unwrap() = Some(fs::File::create(file).unwrap());
    }
}

impl CallRecorder for Records {
    fn record(&self, _: &Actor, event: Event) -> Result<(), RecordRefused> {
        if let Some(file) = &mut *self.1.lock().unwrap() {
            serde_json::to_writer(&*file, &event).unwrap();
            file.sync_data().unwrap();
            return Ok(());
        }
        self.0.lock().unwrap().push(event);
        Ok(())
    }
    fn progress(&self, _: &str) {}
}

/// Allows everything: what holds then holds whatever the verdict.
#[derive(Clone, Default)]
pub(crate) struct Anything(pub(crate) Arc<Mutex<Vec<PastCall>>>);

impl PolicyHost for Anything {
    fn current(&self) -> Arc<dyn PolicySet> {
        Arc::new(self.clone())
    }
    fn observed(&self, _: Option<RunRef>, what: PastCall) {
        self.0.lock().unwrap().push(what);
    }
}

impl PolicySet for Anything {
    fn generation(&self) -> u64 {
        1
    }
    fn digest(&self) -> Digest {
        Digest::of(b"anything")
    }
    fn modules(&self) -> Vec<ModuleIdentity> {
        Vec::new()
    }
    fn judge_tool_call(&self, _: &PolicyContext, _: &ToolCallFacts) -> Judgement {
        Judgement {
            verdict: Verdict::Allow,
            answers: Vec::new(),
            generation: 1,
            granted: Vec::new(),
            asked: None,
        }
    }
    fn judge_patch(&self, _: &PolicyContext, _: &PatchFacts) -> Judgement {
        Judgement::merge(1, Vec::new())
    }
    fn assess(&self, _: &PolicyContext, _: &PatchFacts) -> Assessment {
        unreachable!("a broker never assesses")
    }
    fn decide(&self, _: &PolicyContext, _: &PatchFacts, _: &Assessment) -> AutonomyDecision {
        unreachable!("a broker never decides")
    }
    fn admit(&self, _: &PolicyContext, _: &IssueFacts) -> Admission {
        unreachable!("a broker never admits")
    }
}

/// Whose verdicts count.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Policies {
    /// Everything is allowed.
    Anything,
    /// What a new installation has.
    Bundled,
}

impl Policies {
    fn host(self, anything: Anything) -> Arc<dyn PolicyHost> {
        static BUNDLED_HOST: OnceLock<Arc<WasmPolicyHost>> = OnceLock::new();
        match self {
            Self::Anything => Arc::new(anything),
            Self::Bundled => Arc::clone(BUNDLED_HOST.get_or_init(|| {
                assert!(
                    !BUNDLED.is_empty(),
                    "run `cargo xtask build-policies` first"
                );
                let engine = PolicyEngine::new().unwrap();
                let host = WasmPolicyHost::new(
                    engine,
                    CodeCache::none(),
                    BundledModules::from_static(BUNDLED),
                );
                let config = PolicyConfig::parse(
                    DEFAULT_POLICY_TOML,
                    "the bundled policy.toml",
                    Path::new("/"),
                )
                .unwrap();
                let prepared = host.prepare(&config).unwrap();
                host.activate(prepared);
                Arc::new(host)
            })) as Arc<dyn PolicyHost>,
        }
    }
}

/// The repository, its data directory, and a workbench on them.
pub(crate) struct Ground {
    _top: tempfile::TempDir,
    pub(crate) base: PathBuf,
    pub(crate) app: PathBuf,
    workbench: SandboxWorkbench,
    pub(crate) records: Arc<Records>,
    /// What policies that allow everything were told.
    pub(crate) anything: Anything,
    before: BTreeMap<PathBuf, Vec<u8>>,
    layers: AtomicU64,
}

impl Ground {
    pub(crate) fn new(policies: Policies) -> Self {
        Self::reaching(policies, &[])
    }

    /// With these destinations in `policy.toml`.
    pub(crate) fn reaching(policies: Policies, network: &[&str]) -> Self {
        let anything = Anything::default();
        let policies = policies.host(anything.clone());
        let top = tempfile::tempdir().unwrap();
        let base = top.path().canonicalize().unwrap();
        let app = base.join("app");
        lay_out(&app);
        fs::create_dir_all(base.join("data/layers")).unwrap();
        fs::write(base.join("data/journal"), SECRET).unwrap();
        let own = |globs: &[&str], more: &str| {
            let mut globs: Vec<String> = globs.iter().map(ToString::to_string).collect();
            globs.push(more.to_owned());
            globs
        };
        let config = WorkbenchConfig {
            secret_paths: own(DEFAULT_SECRET_PATHS, "**/SECRET"),
            protected_paths: own(DEFAULT_PROTECTED_PATHS, "PROT"),
            limits: Limits {
                wall: Duration::from_secs(60),
                ..Limits::default()
            },
            tracked: Arc::new(|path| !path.starts_with("build") && !path.contains("__pycache__")),
            network: network.iter().map(ToString::to_string).collect(),
            ..WorkbenchConfig::narrow(app.clone(), &base.join("data"))
        };
        let workbench = SandboxWorkbench::new(
            config,
            policies,
            Sandbox::new(),
            Arc::new(Counting::default()),
            Arc::new(Still),
        )
        .unwrap();
        let before = picture(&app);
        Self {
            _top: top,
            base,
            app,
            workbench,
            records: Arc::default(),
            anything,
            before,
            layers: AtomicU64::new(0),
        }
    }

    fn session(&self) -> ToolSessionSpec {
        ToolSessionSpec {
            run: None,
            actor: Actor::Agent("model:scripted".to_owned()),
            trust: TrustClass::Member,
            level: AutonomyLevel::default(),
            service: None,
            earned: TrackRecord::default(),
            recorder: Arc::clone(&self.records) as Arc<dyn CallRecorder>,
            cancel: CancelToken::default(),
        }
    }

    pub(crate) fn diagnosis(&self) -> Box<dyn Tools> {
        self.workbench.for_diagnosis(self.session())
    }

    /// A drafting session on a worktree of its own.
    pub(crate) fn drafting(&self) -> (Box<dyn DraftingTools>, RunWorktree) {
        let number = self.layers.fetch_add(1, Ordering::SeqCst);
        let place = self.base.join(format!("data/layers/{number}"));
        let worktree = RunWorktree {
            upper: place.join("upper"),
            work: place.join("work"),
        };
        fs::create_dir_all(&worktree.upper).unwrap();
        fs::create_dir_all(&worktree.work).unwrap();
        (
            self.workbench.for_drafting(self.session(), &worktree),
            worktree,
        )
    }

    /// What is different in the live tree.
    pub(crate) fn damage(&self) -> Vec<String> {
        let after = picture(&self.app);
        let mut found: Vec<String> = Vec::new();
        for (path, content) in &self.before {
            match after.get(path) {
                None => found.push(format!("{} is gone", path.display())),
                Some(now) if now != content => found.push(format!("{} changed", path.display())),
                Some(_) => {}
            }
        }
        for path in after.keys().filter(|path| !self.before.contains_key(*path)) {
            found.push(format!("{} is new", path.display()));
        }
        found
    }
}

/// Every path with its mode, and content where it is a file.
pub(crate) fn picture(top: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    use std::os::unix::fs::MetadataExt;
    let mut found = BTreeMap::new();
    let mut pending = vec![top.to_owned()];
    while let Some(directory) = pending.pop() {
        for entry in fs::read_dir(&directory).unwrap() {
            let entry = entry.unwrap();
            let metadata = entry.metadata().unwrap();
            let mut content = metadata.mode().to_le_bytes().to_vec();
            if metadata.is_file() {
                content.extend(fs::read(entry.path()).unwrap());
            } else if metadata.is_dir() {
                pending.push(entry.path());
            }
            found.insert(entry.path(), content);
        }
    }
    found
}

/// How a call asks for its writes.
pub(crate) const DIAGNOSIS: &[WorkspaceAccess] =
    &[WorkspaceAccess::ReadOnly, WorkspaceAccess::Discard];

fn lay_out(app: &Path) {
    for (path, text) in [
        ("CANARY/f", "work that must not be lost\n"),
        ("PROT", "ok\n"),
        ("SECRET", SECRET),
        ("src/__init__.py", ""),
        (
            "src/cart.py",
            "def total(prices, discount=0):\n    \"\"\"Sum of prices.\"\"\"\n    return sum(prices) - discount\n",
        ),
        ("src/data.csv", "name,price\na,1\nb,2\n"),
        ("shop/cart.py", "def total(a, b):\n    return a + b\n"),
        ("tests/__init__.py", ""),
        (
            "tests/test_cart.py",
            "import os, sys, unittest\nsys.path.insert(0, os.getcwd())\nfrom src.cart import total\n\n\nclass Cart(unittest.TestCase):\n    def test_total(self):\n        self.assertEqual(total([1, 2]), 3)\n\n\nif __name__ == '__main__':\n    unittest.main()\n",
        ),
        ("web/app.js", "exports.sum = (a, b) => a + b;\n"),
        (
            "web/app.test.js",
            "const test = require('node:test');\nconst assert = require('node:assert');\nconst { sum } = require('./app.js');\ntest('sum', () => assert.equal(sum(1, 2), 3));\n",
        ),
        (
            "package.json",
            "{\"name\":\"shop\",\"version\":\"1.0.0\",\"scripts\":{\"test\":\"node --test web/\",\"lint\":\"node --check web/app.js\"}}\n",
        ),
        (
            "Makefile",
            "test:\n\tpython3 -m unittest tests.test_cart\nlint:\n\tpython3 -m py_compile src/cart.py\n.PHONY: test lint\n",
        ),
        ("run.sh", "#!/bin/sh\necho running\n"),
        ("script.pl", "print \"ok\\n\";\n"),
        (
            "c/hello.c",
            "#include <stdio.h>\nint main(void) { puts(\"hello\"); return 0; }\n",
        ),
        (
            "rs/Cargo.toml",
            "[package]\nname = \"shop\"\nversion = \"0.1.0\"\nedition = \"2021\"\n[workspace]\n",
        ),
        (
            "rs/src/lib.rs",
            "pub fn total(a: u32, b: u32) -> u32 {\n    a + b\n}\n#[test]\nfn adds() {\n    assert_eq!(total(1, 2), 3);\n}\n",
        ),
        (
            "fix.patch",
            "--- a/src/cart.py\n+++ b/src/cart.py\n@@ -1,3 +1,3 @@\n def total(prices, discount=0):\n     \"\"\"Sum of prices.\"\"\"\n-    return sum(prices) - discount\n+    return max(0, sum(prices) - discount)\n",
        ),
        (
            ".gitignore",
            "build/\n__pycache__/\n*.pyc\n/repo/\n/SECRET\n",
        ),
        ("repo/f", "first\n"),
    ] {
        let path = app.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    let history = "set -e
        chmod +x run.sh
        cp SECRET .env; git init -q -b main . && git add -A && git commit -qm 'first'
        echo \"staged once: $(cat SECRET)\" > staged.txt && git add staged.txt && git rm -qf --cached staged.txt && rm staged.txt
        git rm -qf .env && git commit -qm 'no secrets'
        echo '# more' >> shop/cart.py && git commit -qam 'shop: more'
        cd repo && git init -q -b main .
        for i in 1 2 3 4; do echo $i >> f; git add f; git commit -qm \"f $i\"; done
        echo 'uncommitted work' >> f";
    let environment = [
        ("PATH", std::env::var("PATH").unwrap()),
        ("HOME", "/nonexistent".to_owned()),
        ("GIT_CONFIG_NOSYSTEM", "1".to_owned()),
        ("GIT_AUTHOR_NAME", "A".to_owned()),
        ("GIT_AUTHOR_EMAIL", "a@example.org".to_owned()),
        ("GIT_COMMITTER_NAME", "A".to_owned()),
        ("GIT_COMMITTER_EMAIL", "a@example.org".to_owned()),
    ];
    let output = run_trusted(&TrustedCommand {
        argv: ["sh", "-c", history].map(str::to_owned).to_vec(),
        directory: app.to_owned(),
        environment: environment
            .map(|(name, value)| (name.to_owned(), value))
            .into(),
        timeout: Duration::from_secs(30),
        output_bytes: 10_000,
    })
    .unwrap();
    assert!(output.ended.success(), "{output:?}");
}
