//! A host under watch, somebody who uses it meanwhile, and what must be true after it
//! died and was started again.

use crate::programs::{cart, healed_cart};
use selfheal_faults::{Fault, Trace, Traced};
use selfheal_tests::{Project, TestHost, signal};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

/// What the service runs; nobody else runs that.
const SERVICE: &str = "sleep 86391";
/// A heal takes some seconds; everything stands still that long only if it hangs.
const PATIENCE: Duration = Duration::from_secs(180);
/// How long somebody tries again once there is space; a host that still refuses then has
/// to be started again.
const GOES_ON: Duration = Duration::from_secs(2);

/// What the host said yes to.
#[derive(Debug, Default)]
pub(crate) struct Acknowledged {
    issue: Option<u64>,
    approved: bool,
    comments: Vec<String>,
    /// What it said when there was no space.
    pub(crate) refusals: Vec<String>,
    /// It refused on when there was space again.
    pub(crate) in_doubt: bool,
}

/// An application, and a data directory that a host has run on before.
pub(crate) struct World {
    pub(crate) project: Project,
    admin: String,
    before: String,
    status: String,
    _installation: Arc<(Project, String)>,
}

/// Data and configuration of an installation at level 3, and its admin's token; shared,
/// since compiling the policies takes longer than everything else.
fn installation() -> Arc<(Project, String)> {
    static MADE: Mutex<Weak<(Project, String)>> = Mutex::new(Weak::new());
    let mut made = MADE.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(made) = made.upgrade() {
        return made;
    }
    let project = cart();
    let host = TestHost::start(&project, |config, _| {
        *config = config.replace("watch_seconds = 2.0", "watch_seconds = 0.2");
        config.push_str(&format!(
            "\n[[service]]\nname = \"shop\"\ncommand = \"exec {SERVICE}\"\n"
        ));
    });
    host.level(3);
    signal("TERM", host.pid());
    let admin = host.ended();
    let installed = Arc::new((project, admin));
    *made = Arc::downgrade(&installed);
    installed
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let (path, target) = (entry.path(), to.join(entry.file_name()));
        if path.is_dir() {
            copy(&path, &target);
        } else if path.is_file() {
            std::fs::copy(&path, &target).unwrap();
        }
    }
}

impl World {
    pub(crate) fn new() -> Self {
        let installation = installation();
        let (made, admin) = installation.as_ref();
        let project = cart();
        for name in ["data", "selfheal.toml", "policy.toml", "state"] {
            let (from, to) = (made.outside().join(name), project.outside().join(name));
            if from.is_dir() {
                copy(&from, &to);
            } else if from.exists() {
                std::fs::copy(&from, &to).unwrap();
            }
        }
        // Work that nobody has committed must come through everything.
        project.write("notes.txt", "one\nmine, uncommitted\n");
        let (before, status) = (
            project.read("cart.py"),
            project.git(&["status", "--porcelain"]),
        );
        Self {
            admin: admin.clone(),
            before,
            status,
            project,
            _installation: installation,
        }
    }

    pub(crate) fn root(&self) -> PathBuf {
        self.project.outside()
    }

    /// Runs a host that `fault` happens to, reports an issue, approves it, comments on it
    /// until it is healed, and stops the host. Gives what was acknowledged.
    pub(crate) fn walk(&self, fault: Option<Fault>) -> (Trace, Acknowledged) {
        let mut command = self
            .project
            .command(&self.root(), &["serve", "--listen", "127.0.0.1:0"]);
        let log = std::fs::File::options()
            .create(true)
            .append(true)
            .open(self.root().join("host.log"))
            .unwrap();
        command.stderr(log);
        let is_full = matches!(fault, Some(Fault::Full { .. }));
        let (traced, stdout) = Traced::start(command, &self.root(), fault).unwrap();
        let mut acknowledged = Acknowledged::default();
        let url = BufReader::new(stdout)
            .lines()
            .map_while(Result::ok)
            .find_map(|line| line.strip_prefix("listening on ").map(str::to_owned));
        if let Some(url) = url {
            let client = Client {
                url,
                token: self.admin.clone(),
                agent: ureq::Agent::config_builder()
                    .http_status_as_error(false)
                    .timeout_global(Some(PATIENCE))
                    .proxy(None)
                    .build()
                    .into(),
                traced: &traced,
                refusals: Default::default(),
            };
            let used = use_host(&client, &mut acknowledged);
            acknowledged.refusals = client.refusals.into_inner();
            acknowledged.in_doubt = used.is_none() && !traced.is_gone() && is_full;
            if (used.is_some() || acknowledged.in_doubt) && !traced.is_gone() {
                signal("TERM", traced.pid());
            }
        }
        // What waits for space would wait for ever.
        traced.make_space();
        let begun = Instant::now();
        while !traced.is_gone() && begun.elapsed() < PATIENCE {
            std::thread::sleep(Duration::from_millis(10));
        }
        assert!(traced.is_gone(), "the host hangs: {}", self.log());
        (traced.wait(), acknowledged)
    }

    /// Starts a host on what is left and holds it to everything that was acknowledged;
    /// `what` is for messages.
    pub(crate) fn recovers(&self, acknowledged: &Acknowledged, what: &str) {
        let now = self.project.read("cart.py");
        assert!(
            now == self.before || now == healed_cart(),
            "{what}: a file is half written:\n{now}"
        );
        let host = TestHost::restart(&self.project, self.admin.clone());
        let issues = host.admin("GET", "/issues", None);
        let issues = issues["items"].as_array().cloned().unwrap_or_default();
        let mut end = String::new();
        if let Some(number) = acknowledged.issue {
            let path = format!("/issues/{number}");
            let issue = host.admin("GET", &path, None);
            let said: Vec<&str> = issue["comments"]
                .as_array()
                .map(|all| all.iter().filter_map(|it| it["content"].as_str()).collect())
                .unwrap_or_default();
            for comment in &acknowledged.comments {
                let kept = said.iter().filter(|it| **it == comment).count();
                assert_eq!(kept, 1, "{what}: comment {comment:?} in {issue}");
            }
            let open = issue["status"] == "OPEN";
            assert!(!(acknowledged.approved && open), "{what}: approved {issue}");
            if open {
                host.admin("PATCH", &format!("{path}/approve"), None);
            }
            let issue = host.wait_for(number, &["RESOLVED", "ESCALATED", "FAILED"]);
            end = issue.to_string();
        } else {
            // One that was not acknowledged may be there or not; it is never approved.
            assert!(issues.len() <= 1, "{what}: {issues:?}");
            assert!(issues.iter().all(|it| it["status"] == "OPEN"), "{what}");
        }
        assert_eq!(self.services(), 1, "{what}: one service runs");
        let last = host.pid();
        signal("TERM", last);
        host.ended();
        assert_eq!(self.services(), 0, "{what}: none outlives its host");
        let healed = if end.contains("\"status\":\"RESOLVED\"") {
            healed_cart()
        } else {
            self.before.clone()
        };
        assert_eq!(self.project.read("cart.py"), healed, "{what}: {end}");
        self.is_clean(what, last);
    }

    /// Log and repository hold, and nothing lies about that was not there before the host
    /// with this process id, the last one.
    fn is_clean(&self, what: &str, last: u32) {
        let project = &self.project;
        let verified = project.selfheal_in(&self.root(), &["audit", "verify"]);
        assert_eq!(verified.code, 0, "{what}: {verified:?}");
        let status = project.git(&["status", "--porcelain"]);
        assert_eq!(status, self.status, "{what}: uncommitted work is as it was");
        assert_eq!(
            project.read("notes.txt"),
            "one\nmine, uncommitted\n",
            "{what}"
        );
        assert_eq!(project.git(&["stash", "list"]), "", "{what}");
        let worktrees = project.git(&["worktree", "list"]);
        assert_eq!(worktrees.lines().count(), 1, "{what}: {worktrees}");
        project.git(&["fsck", "--strict", "--no-dangling"]);
        let mut debris = Vec::new();
        find(&self.root(), &mut debris, &|name| {
            name.ends_with(".lock")
                || name.ends_with(".new")
                || name.starts_with(".selfheal-")
                || name.starts_with("index.selfheal")
                || name.contains("_git2_")
        });
        // The lock of a service's keeper is a file that stays; only holding it counts.
        let kept = self.root().join("data/services");
        debris.retain(|path| path.parent() != Some(kept.as_path()));
        // A host does not wait for what it compiles ahead; the next one sweeps it.
        let compiled = self.root().join("data/compiled");
        let of_last = format!(".{last}-");
        debris.retain(|path| {
            path.parent() != Some(compiled.as_path())
                || !path.display().to_string().contains(&of_last)
        });
        assert!(debris.is_empty(), "{what}: {debris:?}");
    }

    /// How many services run.
    fn services(&self) -> usize {
        let app = self.root().join("app");
        let runs = |process: &std::fs::DirEntry| {
            let path = process.path();
            std::fs::read_link(path.join("cwd")).is_ok_and(|cwd| cwd == app)
                && std::fs::read(path.join("cmdline"))
                    .is_ok_and(|line| line == format!("{SERVICE}\0").replace(' ', "\0").as_bytes())
        };
        std::fs::read_dir("/proc")
            .unwrap()
            .flatten()
            .filter(runs)
            .count()
    }

    pub(crate) fn log(&self) -> String {
        let log = std::fs::read_to_string(self.root().join("host.log")).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(40)..].join("\n")
    }
}

fn find(directory: &Path, found: &mut Vec<PathBuf>, wanted: &dyn Fn(&str) -> bool) {
    for entry in std::fs::read_dir(directory).into_iter().flatten().flatten() {
        let path = entry.path();
        if wanted(&entry.file_name().to_string_lossy()) {
            found.push(path.clone());
        }
        if path.is_dir() && !path.is_symlink() {
            find(&path, found, wanted);
        }
    }
}

/// Everything that people do with the host; none as soon as it no longer answers.
fn use_host(client: &Client, acknowledged: &mut Acknowledged) -> Option<()> {
    let report = json!({ "title": "The discount starts too late", "description": "See title." });
    let issue = client.insist("POST", "/issues", Some(report))?;
    let number = issue["number"].as_u64()?;
    acknowledged.issue = Some(number);
    let path = format!("/issues/{number}");
    client.insist("PATCH", &format!("{path}/approve"), None)?;
    acknowledged.approved = true;
    let begun = Instant::now();
    loop {
        let content = format!("comment {}", acknowledged.comments.len());
        let comment = json!({ "content": content });
        client.insist("POST", &format!("{path}/comments"), Some(comment))?;
        acknowledged.comments.push(content);
        let issue = client.insist("GET", &path, None)?;
        if matches!(issue["status"].as_str(), Some("RESOLVED" | "ESCALATED")) {
            return Some(());
        }
        assert!(begun.elapsed() < PATIENCE, "it does not end: {issue}");
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// Somebody who gives up when nobody answers, and makes space where there is none.
struct Client<'a> {
    url: String,
    token: String,
    agent: ureq::Agent,
    traced: &'a Traced,
    refusals: std::cell::RefCell<Vec<String>>,
}

impl Client<'_> {
    /// Asks until the answer is yes; none when the host is gone or in doubt.
    fn insist(&self, method: &str, path: &str, body: Option<Value>) -> Option<Value> {
        let begun = Instant::now();
        loop {
            let (is_yes, answer) = self.send(method, path, body.as_ref())?;
            if is_yes {
                return Some(answer);
            }
            // The one reason to refuse any of this is a disk that is full.
            assert!(self.traced.is_hit(), "{method} {path}: {answer}");
            let detail = answer["detail"].as_str().unwrap_or_default().to_owned();
            assert!(!detail.is_empty(), "a refusal says why: {answer}");
            self.refusals.borrow_mut().push(detail);
            self.traced.make_space();
            if begun.elapsed() > GOES_ON {
                return None;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    fn send(&self, method: &str, path: &str, body: Option<&Value>) -> Option<(bool, Value)> {
        let request = ureq::http::Request::builder()
            .method(method)
            .uri(format!("{}/api/v1{path}", self.url))
            .header("authorization", format!("Bearer {}", self.token))
            .header("content-type", "application/json")
            .body(body.map(ToString::to_string).unwrap_or_default())
            .ok()?;
        let mut response = self.agent.run(request).ok()?;
        let is_yes = response.status().is_success();
        let text = response.body_mut().read_to_string().ok()?;
        Some((is_yes, serde_json::from_str(&text).ok()?))
    }
}
