//! Real services: a web server in Python, shell scripts that crash or hang.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking, also in its helpers"
)]

use chrono::{DateTime, Utc};
use selfheal_domain::ports::{Clock, ServiceError, ServiceStatus, Services};
use selfheal_domain::verification::VerificationResult;
use selfheal_services::{Health, RestartPolicy, ServiceConfig, ServiceManager, ServicePlaces};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

struct Fixed;

impl Clock for Fixed {
    fn now(&self) -> DateTime<Utc> {
        DateTime::UNIX_EPOCH
    }
}

const SERVER: &str = r"
import http.server, os, sys
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        if self.path == '/crash': os._exit(9)
        self.send_response(200 if os.path.exists('well') else 500)
        self.end_headers()
        self.wfile.write(open('answer').read().encode())
print('starting', os.environ.get('APP_MODE'), flush=True)
http.server.HTTPServer(('127.0.0.1', int(sys.argv[1])), Handler).serve_forever()
";

struct App {
    _place: tempfile::TempDir,
    base: PathBuf,
}

impl App {
    fn new() -> Self {
        let place = tempfile::tempdir().unwrap();
        let base = place.path().canonicalize().unwrap();
        std::fs::create_dir(base.join("app")).unwrap();
        std::fs::write(base.join("app/server.py"), SERVER).unwrap();
        std::fs::write(base.join("app/answer"), "first").unwrap();
        std::fs::write(base.join("app/well"), "").unwrap();
        Self {
            _place: place,
            base,
        }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.base.join("app").join(name)
    }

    fn manager(&self, configs: Vec<ServiceConfig>) -> ServiceManager {
        let places = ServicePlaces {
            application: self.base.join("app"),
            logs: self.base.join("logs"),
            records: self.base.join("records"),
        };
        ServiceManager::new(configs, &places, Arc::new(Fixed)).unwrap()
    }
}

/// A port that nobody listens on now.
fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port()
}

fn web(port: u16) -> ServiceConfig {
    let mut config = ServiceConfig::new("web", format!("exec python3 server.py {port}"));
    config.environment.insert("APP_MODE".into(), "test".into());
    config.start_timeout = Duration::from_secs(20);
    config.health = Some(Health::Http {
        url: format!("http://127.0.0.1:{port}/"),
        expect_status: 200,
        timeout: Duration::from_secs(5),
    });
    config
}

fn eventually<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "never: {what}");
        std::thread::yield_now();
    }
}

fn status(manager: &ServiceManager, name: &str) -> ServiceStatus {
    manager
        .status()
        .into_iter()
        .find(|status| status.name == name)
        .unwrap()
}

fn alive(pid: u32) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z "))
}

fn get(port: u16, path: &str) -> String {
    use std::io::{Read, Write};
    let mut stream = std::net::TcpStream::connect(("127.0.0.1", port)).unwrap();
    write!(stream, "GET {path} HTTP/1.0\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn a_web_service_starts_restarts_recovers_and_stops() {
    let app = App::new();
    let port = free_port();
    let manager = app.manager(vec![web(port)]);
    assert_eq!(status(&manager, "web").state, "stopped");
    assert_eq!(manager.health("web").result, VerificationResult::Fail);

    for (name, result) in manager.start_all() {
        result.unwrap_or_else(|error| panic!("{name}: {error}"));
    }
    let first = status(&manager, "web");
    assert_eq!(
        (first.state.as_str(), first.restarts, first.healthy),
        ("running", 0, Some(true))
    );
    assert!(get(port, "/").ends_with("first"));
    assert_eq!(manager.health("web").result, VerificationResult::Pass);
    assert_eq!(
        manager.log_since("web", 0, 1000).lines().next(),
        Some("starting test")
    );

    // Restarted: another process, and its log can be read from here on.
    let position = manager.log_position("web");
    manager.restart("web").unwrap();
    let second = status(&manager, "web");
    assert_ne!(second.pid, first.pid);
    assert_eq!(second.restarts, 1);
    assert!(!alive(first.pid.unwrap()));
    assert!(
        manager
            .log_since("web", position, 1000)
            .contains("starting test")
    );

    // Unwell without crashing.
    std::fs::remove_file(app.file("well")).unwrap();
    let evidence = manager.health("web");
    assert_eq!(evidence.result, VerificationResult::Fail);
    assert!(
        evidence.detail.contains("answered 500"),
        "{}",
        evidence.detail
    );
    assert_eq!(status(&manager, "web").healthy, Some(false));
    std::fs::write(app.file("well"), "").unwrap();

    // Crashed: started again by itself.
    let _ = get(port, "/crash");
    let third = eventually("a new process", || {
        let now = status(&manager, "web");
        (now.state == "running" && now.pid != second.pid).then_some(now)
    });
    assert_eq!(third.restarts, 2);

    let pid = third.pid.unwrap();
    drop(manager);
    assert!(!alive(pid));
    assert!(
        std::fs::read_dir(app.base.join("records"))
            .unwrap()
            .next()
            .is_none()
    );
}

#[test]
fn a_service_that_never_gets_ready_is_stopped_and_says_why() {
    let app = App::new();
    let mut config = ServiceConfig::new("web", "echo stuck >&2; echo $$ > pid; exec sleep 98765");
    config.start_timeout = Duration::from_millis(700);
    config.health = Some(Health::Tcp {
        address: format!("127.0.0.1:{}", free_port()),
        timeout: Duration::from_secs(1),
    });
    let manager = app.manager(vec![config]);
    let error = manager.restart("web").unwrap_err().to_string();
    assert!(
        error.contains("not ready") && error.contains("stuck"),
        "{error}"
    );
    assert_eq!(status(&manager, "web").state, "failed");
    let pid: u32 = std::fs::read_to_string(app.file("pid"))
        .unwrap()
        .trim()
        .parse()
        .unwrap();
    assert!(!alive(pid));
}

#[test]
fn an_answer_from_somebody_else_does_not_count() {
    let app = App::new();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut config = ServiceConfig::new("web", "exec sleep 98765");
    config.health = Some(Health::Tcp {
        address: taken.local_addr().unwrap().to_string(),
        timeout: Duration::from_secs(1),
    });
    let manager = app.manager(vec![config]);
    let error = manager.restart("web").unwrap_err().to_string();
    assert!(error.contains("something else"), "{error}");
    assert_eq!(manager.health("web").result, VerificationResult::Fail);
}

#[test]
fn a_crash_at_the_start_is_an_error_with_its_output_and_is_tried_again() {
    let app = App::new();
    let config = ServiceConfig::new(
        "web",
        "[ -e ok ] && exec sleep 98765; echo 'no configuration' >&2; exit 4",
    );
    let manager = app.manager(vec![config]);
    let error = manager.restart("web").unwrap_err().to_string();
    assert!(
        error.contains("exited with 4") && error.contains("no configuration"),
        "{error}"
    );
    assert_eq!(status(&manager, "web").state, "backing-off");
    std::fs::write(app.file("ok"), "").unwrap();
    eventually("running", || {
        (status(&manager, "web").state == "running").then_some(())
    });
    assert_eq!(manager.health("web").result, VerificationResult::Pass);
}

#[test]
fn the_restart_policy_is_kept() {
    let app = App::new();
    let script = "echo x >> $0.count; [ $(wc -l < $0.count) -gt 2 ] && exec sleep 98765; exit ";
    let config = |name: &str, code: u32, restart| {
        let mut config = ServiceConfig::new(name, script.replace("$0", name) + &code.to_string());
        config.restart = restart;
        config
    };
    let manager = app.manager(vec![
        config("never", 1, RestartPolicy::Never),
        config("failure", 0, RestartPolicy::OnFailure),
        config("always", 0, RestartPolicy::Always),
    ]);
    for (_, result) in manager.start_all() {
        result.unwrap_err();
    }
    eventually("always", || {
        (status(&manager, "always").state == "running").then_some(())
    });
    assert_eq!(status(&manager, "always").restarts, 2);
    assert_eq!(status(&manager, "never").state, "failed");
    assert_eq!(status(&manager, "failure").state, "stopped");
    let count = |name: &str| {
        std::fs::read_to_string(app.file(&format!("{name}.count")))
            .unwrap()
            .lines()
            .count()
    };
    assert_eq!(
        (count("never"), count("failure"), count("always")),
        (1, 1, 3)
    );
}

#[test]
fn commands_check_health_where_the_service_lives() {
    let app = App::new();
    std::fs::create_dir(app.file("sub")).unwrap();
    let mut config = ServiceConfig::new("worker", "exec sleep 98765");
    config.directory = "sub".into();
    config.environment.insert("WANTED".into(), "yes".into());
    config.health = Some(Health::Command {
        run: "test -e ready || { echo \"$WANTED, but not ready in $(basename $PWD)\"; exit 1; }"
            .into(),
        timeout: Duration::from_secs(5),
    });
    config.start_timeout = Duration::from_secs(10);
    std::fs::write(app.file("sub/ready"), "").unwrap();
    let manager = app.manager(vec![config]);
    manager.restart("worker").unwrap();
    std::fs::remove_file(app.file("sub/ready")).unwrap();
    let evidence = manager.health("worker");
    assert_eq!(evidence.result, VerificationResult::Fail);
    assert!(
        evidence.detail.contains("yes, but not ready in sub"),
        "{}",
        evidence.detail
    );
}

#[test]
fn a_service_of_somebody_else_is_restarted_by_their_command() {
    let app = App::new();
    let mut config = ServiceConfig::new("foreign", "");
    config.restart_command = Some("echo again >> restarted; [ ! -e broken ]".into());
    let manager = app.manager(vec![config]);
    assert!(manager.start_all().is_empty());
    assert_eq!(manager.health("foreign").result, VerificationResult::Pass);
    manager.restart("foreign").unwrap();
    assert_eq!(
        std::fs::read_to_string(app.file("restarted")).unwrap(),
        "again\n"
    );
    std::fs::write(app.file("broken"), "").unwrap();
    assert!(manager.restart("foreign").is_err());
    assert_eq!(manager.health("foreign").result, VerificationResult::Fail);
}

#[test]
fn what_a_crashed_host_left_is_stopped() {
    let app = App::new();
    let mut config = ServiceConfig::new("web", "exec sleep 98765");
    // The first host plays the crashed one: it must not start it again.
    config.restart = RestartPolicy::Never;
    let first = app.manager(vec![config.clone()]);
    first.restart("web").unwrap();
    let pid = status(&first, "web").pid.unwrap();
    let _second = app.manager(vec![config]);
    assert!(!alive(pid));
}

#[test]
fn unknown_names_and_wrong_configurations_are_told() {
    let app = App::new();
    let manager = app.manager(vec![ServiceConfig::new("web", "x")]);
    assert_eq!(manager.names(), ["web"]);
    let error = manager.restart("wep").unwrap_err();
    assert!(matches!(error, ServiceError::Unknown { .. }), "{error}");
    assert_eq!(
        manager.health("wep").result,
        VerificationResult::Inconclusive
    );
    assert_eq!(manager.log_tail("wep", 10), "");
    let places = ServicePlaces {
        application: app.base.clone(),
        logs: app.base.join("logs"),
        records: app.base.join("records"),
    };
    let twice = vec![ServiceConfig::new("a", "x"), ServiceConfig::new("a", "y")];
    for configs in [twice, vec![ServiceConfig::new("../a", "x")]] {
        assert!(ServiceManager::new(configs, &places, Arc::new(Fixed)).is_err());
    }
    assert!(Path::new(&app.base).exists());
}

#[test]
fn secrets_of_the_host_are_not_inherited() {
    let app = App::new();
    let mut config = ServiceConfig::new("web", "env > env; exec sleep 98765");
    config.inherit = vec!["CARGO_MANIFEST_DIR".into()];
    let manager = app.manager(vec![config]);
    manager.restart("web").unwrap();
    let env = std::fs::read_to_string(app.file("env")).unwrap();
    assert!(env.contains("CARGO_MANIFEST_DIR="), "{env}");
    assert!(!env.contains("CARGO_PKG_NAME="), "{env}");
    assert!(!env.contains("SELFHEAL"), "{env}");
}
