//! Real services: a web server in Python, shell scripts that crash or hang.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking, also in its helpers"
)]

use chrono::{DateTime, Utc};
use selfheal_domain::ledger::Seen;
use selfheal_domain::ports::{Clock, ServiceError, ServiceStatus, Services};
use selfheal_domain::service::{ServiceNotice, ServiceOperation};
use selfheal_domain::verification::VerificationResult;
use selfheal_services::{
    Health, Kind, Ready, RestartPolicy, ServiceConfig, ServiceHooks, ServiceManager, ServicePlaces,
};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
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
        self.manager_with(configs, ServiceHooks::default())
    }

    fn manager_with(&self, configs: Vec<ServiceConfig>, hooks: ServiceHooks) -> ServiceManager {
        let places = places(&self.base);
        ServiceManager::new(configs, &places, Arc::new(Fixed), hooks).unwrap()
    }
}

fn places(base: &Path) -> ServicePlaces {
    ServicePlaces {
        application: base.join("app"),
        logs: base.join("logs"),
        records: base.join("records"),
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
    assert!(!app.base.join("records/web.json").exists());
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
    for (_, result) in manager.start_all() {
        result.unwrap();
    }
    assert!(!app.file("restarted").exists());
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
    config.orphan = Duration::ZERO;
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
        assert!(
            ServiceManager::new(configs, &places, Arc::new(Fixed), ServiceHooks::default())
                .is_err()
        );
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

type Noticed = Arc<Mutex<Vec<(String, ServiceNotice)>>>;

fn notices() -> (ServiceHooks, Noticed) {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let heard = Arc::clone(&seen);
    let hooks = ServiceHooks {
        notice: Arc::new(move |name, notice| heard.lock().unwrap().push((name.to_owned(), notice))),
        mask: Arc::new(|text| text.replace("s3cret", "[masked]")),
    };
    (hooks, seen)
}

#[test]
fn services_come_up_after_those_they_name_and_go_down_before_them() {
    let app = App::new();
    let service = |name: &str, after: &[&str]| {
        let script = "trap 'echo NAME down >> order; exit 0' TERM; echo NAME up >> order; \
                      echo ready; while :; do sleep 0.02; done";
        let mut config = ServiceConfig::new(name, script.replace("NAME", name));
        config.after = after.iter().map(|it| (*it).to_owned()).collect();
        config.ready = Some(Ready::Log("ready".into()));
        config
    };
    let manager = app.manager(vec![
        service("web", &["api"]),
        service("api", &["db"]),
        service("db", &[]),
    ]);
    assert_eq!(manager.names(), ["db", "api", "web"]);
    for (_, result) in manager.start_all() {
        result.unwrap();
    }
    drop(manager);
    assert_eq!(
        std::fs::read_to_string(app.file("order")).unwrap(),
        "db up\napi up\nweb up\nweb down\napi down\ndb down\n"
    );
}

#[test]
fn a_port_shows_that_a_service_is_ready() {
    let app = App::new();
    let mut config = web(free_port());
    let Some(Health::Http { url, .. }) = config.health.take() else {
        panic!("it has one");
    };
    let port: u16 = url
        .rsplit(':')
        .next()
        .unwrap()
        .trim_matches('/')
        .parse()
        .unwrap();
    config.ready = Some(Ready::Port(port));
    let manager = app.manager(vec![config]);
    manager.restart("web").unwrap();
    assert!(get(port, "/").ends_with("first"));
}

#[test]
fn a_crash_loop_opens_the_circuit_breaker_which_tells_and_lets_one_start_through() {
    let app = App::new();
    let mut config = ServiceConfig::new(
        "web",
        "echo x >> starts; [ -e ok ] && exec sleep 98765; exit 3",
    );
    config.backoff = Duration::from_millis(10);
    config.crash_limit = 2;
    config.breaker = Duration::from_secs(3);
    config.stable = Duration::from_millis(500);
    let (hooks, seen) = notices();
    let manager = app.manager_with(vec![config], hooks);
    manager.start_all()[0].1.as_ref().unwrap_err();
    eventually("the breaker opens", || {
        manager.details("web").unwrap().circuit_open.then_some(())
    });
    let standing = status(&manager, "web");
    assert_eq!(standing.state, "failed");
    assert!(
        standing.detail.contains("circuit breaker is open"),
        "{standing:?}"
    );
    std::fs::write(app.file("ok"), "").unwrap();
    eventually("the breaker closes", || {
        let closed = ServiceNotice::CircuitClosed;
        seen.lock()
            .unwrap()
            .iter()
            .any(|(_, notice)| *notice == closed)
            .then_some(())
    });
    assert!(!manager.details("web").unwrap().circuit_open);
    assert_eq!(status(&manager, "web").state, "running");
    let seen = seen.lock().unwrap();
    assert!(
        matches!(
            &seen[..3],
            [
                (_, ServiceNotice::Ended { .. }),
                (_, ServiceNotice::Ended { .. }),
                (
                    _,
                    ServiceNotice::CircuitOpened {
                        crashes: 3,
                        retry_seconds: Some(3),
                        ..
                    }
                ),
            ]
        ),
        "{seen:?}"
    );
}

#[test]
fn a_service_is_operated_as_it_was_seen() {
    let app = App::new();
    let config = ServiceConfig::new("web", "while :; do sleep 0.02; done");
    let (hooks, _) = notices();
    let manager = app.manager_with(vec![config], hooks);
    let restart = |seen: &Seen| manager.operate("web", ServiceOperation::Restart, Some(seen));
    let seen = || Seen::new([status(&manager, "web").version()]);
    restart(&seen()).unwrap();
    let (first, saw) = (status(&manager, "web").pid, seen());
    // Of many who saw the same, one has it restarted.
    let done = std::thread::scope(|scope| {
        let threads = [(); 4].map(|()| scope.spawn(|| restart(&saw)));
        let ends = threads.map(|thread| thread.join().unwrap());
        for end in &ends {
            assert!(
                matches!(end, Ok(()) | Err(ServiceError::Stale(_))),
                "{end:?}"
            );
        }
        ends.iter().filter(|end| end.is_ok()).count()
    });
    assert_eq!(done, 1);
    assert_ne!(status(&manager, "web").pid, first);
    let now = status(&manager, "web").pid;
    assert!(matches!(restart(&saw), Err(ServiceError::Stale(_))));
    assert_eq!(status(&manager, "web").pid, now, "nothing was done");
}

#[test]
fn a_service_is_stopped_started_and_reloaded_on_somebodys_word() {
    let app = App::new();
    let mut config = ServiceConfig::new(
        "web",
        "trap 'echo reloaded s3cret' HUP; echo up; while :; do sleep 0.02; done",
    );
    config.reload = Some("HUP".into());
    config.restart = RestartPolicy::Always;
    let (hooks, _) = notices();
    let manager = app.manager_with(vec![config], hooks);
    assert!(
        manager
            .operate("web", ServiceOperation::Reload, None)
            .is_err()
    );
    manager
        .operate("web", ServiceOperation::Start, None)
        .unwrap();
    let first = status(&manager, "web").pid;
    manager
        .operate("web", ServiceOperation::Start, None)
        .unwrap();
    manager.reload_or_restart("web").unwrap();
    assert_eq!(status(&manager, "web").pid, first, "not restarted");
    eventually("the reload", || {
        manager
            .log_tail("web", 1000)
            .contains("reloaded [masked]")
            .then_some(())
    });
    let details = manager.details("web").unwrap();
    let usage = details.usage.unwrap();
    assert!(usage.processes >= 1 && usage.resident_bytes > 0 && usage.open_files > 0);
    assert!(details.started_at.is_some() && details.reloads && details.kind == "process");
    manager
        .operate("web", ServiceOperation::Stop, None)
        .unwrap();
    assert!(!alive(first.unwrap()));
    assert_eq!(status(&manager, "web").state, "stopped");
    manager
        .operate("web", ServiceOperation::Restart, None)
        .unwrap();
    assert_ne!(status(&manager, "web").pid, first);
}

#[test]
fn systemd_is_told_by_systemctl() {
    let app = App::new();
    let bin = app.base.join("bin");
    std::fs::create_dir(&bin).unwrap();
    let script = "#!/bin/sh\necho \"$*\" >> calls\nfor last; do :; done\n[ \"$last\" = web@1.service ] || exit 5\n\
        case \"$*\" in\n*show*) [ -e up ] && s=active || s=inactive; [ -e broken ] && s=failed\n\
        printf 'LoadState=loaded\\nActiveState=%s\\nSubState=x\\nMainPID=%s\\nResult=exit-code\\n' $s $$;;\n\
        *' stop '*) rm -f up;;\n*start*) [ -e refuse ] && { echo 'Job failed' >&2; exit 1; }; touch up;;\nesac\n";
    let systemctl = bin.join("systemctl");
    std::fs::write(&systemctl, script).unwrap();
    std::fs::set_permissions(
        &systemctl,
        std::os::unix::fs::PermissionsExt::from_mode(0o755),
    )
    .unwrap();
    let mut config = ServiceConfig::new("web", "");
    config.kind = Kind::Systemd;
    config.unit = Some("web@1.service".into());
    let path = std::env::var("PATH").unwrap();
    config
        .environment
        .insert("PATH".into(), format!("{}:{path}", bin.display()));
    config.start_timeout = Duration::from_secs(10);
    let manager = app.manager(vec![config]);
    manager.start_all()[0].1.as_ref().unwrap();
    assert!(app.file("up").exists());
    let standing = status(&manager, "web");
    assert!(
        standing.state == "running" && standing.pid.is_some(),
        "{standing:?}"
    );
    manager.restart("web").unwrap();
    manager
        .operate("web", ServiceOperation::Stop, None)
        .unwrap();
    assert_eq!(status(&manager, "web").state, "stopped");
    assert_eq!(manager.health("web").result, VerificationResult::Fail);
    std::fs::write(app.file("refuse"), "").unwrap();
    let error = manager.restart("web").unwrap_err().to_string();
    assert!(error.contains("Job failed"), "{error}");
    let calls = std::fs::read_to_string(app.file("calls")).unwrap();
    for call in [
        "start web@1.service",
        "restart web@1.service",
        "stop web@1.service",
    ] {
        assert!(
            calls.contains(&format!("--no-ask-password {call}")),
            "{calls}"
        );
    }
}

#[test]
fn commands_of_the_owner_run_a_service_of_kind_command() {
    let app = App::new();
    let mut config = ServiceConfig::new("queue", "");
    config.kind = Kind::Command;
    config.start_command = Some("echo start >> calls; touch up".into());
    config.stop_command = Some("echo stop >> calls; rm -f up".into());
    config.status_command = Some("[ -e up ] || exit 3".into());
    config.watch_logs = vec!["queue.log".into()];
    config.start_timeout = Duration::from_secs(10);
    config.backoff = Duration::from_millis(10);
    let manager = app.manager(vec![config]);
    manager.start_all()[0].1.as_ref().unwrap();
    manager.restart("queue").unwrap();
    assert_eq!(manager.new_errors("queue").unwrap(), []);
    std::fs::write(app.file("queue.log"), "ERROR job 3 lost\n").unwrap();
    assert_eq!(
        manager.new_errors("queue").unwrap()[0].line,
        "ERROR job 3 lost"
    );
    manager
        .operate("queue", ServiceOperation::Stop, None)
        .unwrap();
    let calls = std::fs::read_to_string(app.file("calls")).unwrap();
    assert_eq!(calls, "start\nstop\nstart\nstop\n");
    assert!(
        manager
            .operate("queue", ServiceOperation::Reload, None)
            .is_err()
    );
}

#[test]
fn errors_that_are_new_since_the_restart_are_told_with_their_line() {
    let app = App::new();
    let script = "echo 'ERROR order 1 lost'; [ -e bad ] && python3 -c 'print({}[\"s3cret\"])'; \
                  echo ready; exec sleep 98765";
    let mut config = ServiceConfig::new("web", script);
    config.ready = Some(Ready::Log("ready".into()));
    let (hooks, _) = notices();
    let manager = app.manager_with(vec![config], hooks);
    manager.start_all()[0].1.as_ref().unwrap();
    manager.restart("web").unwrap();
    assert_eq!(manager.new_errors("web").unwrap(), []);
    std::fs::write(app.file("bad"), "").unwrap();
    manager.restart("web").unwrap();
    let errors = manager.new_errors("web").unwrap();
    assert_eq!(errors.len(), 1, "{errors:?}");
    assert_eq!(errors[0].line, "KeyError: '[masked]'");
    assert!(errors[0].text.contains("Traceback"), "{errors:?}");
    assert!(manager.new_errors("wep").is_err());
}

#[test]
#[ignore = "run by `services_outlive_a_killed_host_and_are_adopted` in a process of its own"]
fn host_that_gets_killed() {
    let base = PathBuf::from(std::env::var("PLACE").unwrap());
    let places = places(&base);
    let configs = vec![lasting()];
    let manager =
        ServiceManager::new(configs, &places, Arc::new(Fixed), ServiceHooks::default()).unwrap();
    manager.start_all()[0].1.as_ref().unwrap();
    std::fs::write(
        base.join("up"),
        status(&manager, "web").pid.unwrap().to_string(),
    )
    .unwrap();
    std::thread::park();
}

fn lasting() -> ServiceConfig {
    let mut config = ServiceConfig::new("web", "echo x >> starts; exec sleep 98765");
    config.orphan = Duration::from_secs(60);
    config
}

#[test]
fn services_outlive_a_killed_host_and_are_adopted() {
    let app = App::new();
    #[expect(clippy::disallowed_methods, reason = "plays the host itself")]
    let mut host = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "host_that_gets_killed", "--ignored"])
        .env("PLACE", &app.base)
        .spawn()
        .unwrap();
    let pid: u32 = eventually("the first host is up", || {
        std::fs::read_to_string(app.base.join("up"))
            .ok()?
            .parse()
            .ok()
    });
    host.kill().unwrap();
    host.wait().unwrap();
    let (hooks, seen) = notices();
    let manager = app.manager_with(vec![lasting()], hooks);
    manager.start_all()[0].1.as_ref().unwrap();
    assert_eq!(status(&manager, "web").pid, Some(pid));
    assert!(manager.details("web").unwrap().adopted);
    assert_eq!(
        seen.lock().unwrap().as_slice(),
        [("web".into(), ServiceNotice::Adopted { pid })]
    );
    // It is ours in every respect.
    manager.restart("web").unwrap();
    assert!(!alive(pid));
    let starts = std::fs::read_to_string(app.file("starts")).unwrap();
    assert_eq!(starts, "x\nx\n");
}
