//! Services and the host's own commands: started, stopped, never left behind.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking, also in its helpers"
)]

use selfheal_domain::tools::Ended;
use selfheal_sandbox::{
    ManagedProcess, ManagedSpec, SandboxError, TrustedCommand, run_trusted, signal_number,
};
use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

const GRACE: Duration = Duration::from_secs(5);

fn environment() -> BTreeMap<String, String> {
    BTreeMap::from([("PATH".to_owned(), "/usr/bin:/bin".to_owned())])
}

fn spec(place: &Path, command: &str) -> ManagedSpec {
    ManagedSpec {
        argv: ManagedSpec::shell(command),
        directory: place.to_owned(),
        environment: environment(),
        log_file: place.join("log"),
        grace: GRACE,
        stop_signal: libc::SIGTERM,
        orphan: None,
        record: Some(place.join("record")),
    }
}

/// Waits for a condition that another process brings about.
fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(15);
    while !condition() {
        assert!(Instant::now() < deadline, "never: {what}");
        std::thread::yield_now();
    }
}

fn alive(pid: u32) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z "))
}

fn noted(place: &Path, name: &str) -> u32 {
    let mut pid = None;
    eventually(name, || {
        pid = std::fs::read_to_string(place.join(name))
            .ok()
            .filter(|text| text.ends_with('\n'))
            .and_then(|text| text.trim().parse().ok());
        pid.is_some()
    });
    pid.unwrap()
}

#[test]
fn it_runs_logs_and_ends() {
    let place = tempfile::tempdir().unwrap();
    let mut process = ManagedProcess::spawn(&spec(
        place.path(),
        "echo started; pwd; echo warned >&2; exit 3",
    ))
    .unwrap();
    let mut ended = None;
    eventually("end", || {
        ended = process.try_wait();
        ended.is_some()
    });
    assert_eq!(ended, Some(Ended::Exit(3)));
    let log = std::fs::read_to_string(place.path().join("log")).unwrap();
    let here = place.path().canonicalize().unwrap();
    assert_eq!(log, format!("started\n{}\nwarned\n", here.display()));
    assert!(!place.path().join("record").exists());
}

#[test]
fn a_program_that_does_not_exist_is_an_error() {
    let place = tempfile::tempdir().unwrap();
    let mut wrong = spec(place.path(), "");
    wrong.argv = vec!["/does/not/exist".to_owned()];
    let error = ManagedProcess::spawn(&wrong).unwrap_err();
    assert!(matches!(error, SandboxError::Setup(_)), "{error}");
}

#[test]
fn stopping_is_polite_first() {
    let place = tempfile::tempdir().unwrap();
    let mut process = ManagedProcess::spawn(&spec(
        place.path(),
        "trap 'echo polite; exit 0' TERM; echo $$ > ready; while :; do sleep 0.01; done",
    ))
    .unwrap();
    assert_eq!(noted(place.path(), "ready"), process.pid());
    assert_eq!(process.stop(GRACE), Ended::Exit(0));
    let log = std::fs::read_to_string(place.path().join("log")).unwrap();
    assert!(log.contains("polite"), "{log}");
}

#[test]
fn what_does_not_listen_is_killed_with_its_daemons() {
    let place = tempfile::tempdir().unwrap();
    let mut process = ManagedProcess::spawn(&spec(
        place.path(),
        "trap '' TERM; (setsid sh -c 'trap \"\" TERM; echo $$ > daemon; exec sleep 98765' &) ; \
         sh -c 'trap \"\" TERM; echo $$ > child; exec sleep 98765'",
    ))
    .unwrap();
    let daemon = noted(place.path(), "daemon");
    let child = noted(place.path(), "child");
    assert_eq!(
        process.stop(Duration::from_millis(100)),
        Ended::Signal(libc::SIGKILL)
    );
    assert!(!alive(daemon));
    assert!(!alive(child));
}

#[test]
fn what_a_program_leaves_behind_is_stopped_at_its_end() {
    let place = tempfile::tempdir().unwrap();
    let mut process = ManagedProcess::spawn(&spec(
        place.path(),
        "setsid sh -c 'echo $$ > daemon; exec sleep 98765' & while ! [ -s daemon ]; do :; done; exit 0",
    ))
    .unwrap();
    eventually("end", || process.try_wait().is_some());
    assert!(!alive(noted(place.path(), "daemon")));
}

#[test]
fn dropping_stops() {
    let place = tempfile::tempdir().unwrap();
    let process = ManagedProcess::spawn(&spec(place.path(), "exec sleep 98765")).unwrap();
    let pid = process.pid();
    assert!(alive(pid));
    drop(process);
    assert!(!alive(pid));
}

#[test]
fn a_leftover_is_found_by_its_record_and_stopped() {
    let place = tempfile::tempdir().unwrap();
    let mut process = ManagedProcess::spawn(&spec(place.path(), "exec sleep 98765")).unwrap();
    let record = place.path().join("record");
    // As a host would that starts after another one crashed.
    let stopped = ManagedProcess::stop_leftover(&record, GRACE).unwrap();
    assert_eq!(stopped, Some(process.pid()));
    assert!(!alive(process.pid()));
    assert!(!record.exists());
    assert!(process.try_wait().is_some());
    assert_eq!(ManagedProcess::stop_leftover(&record, GRACE).unwrap(), None);
}

#[test]
fn a_recycled_process_id_is_left_alone() {
    let place = tempfile::tempdir().unwrap();
    let mut process = ManagedProcess::spawn(&spec(place.path(), "exec sleep 98765")).unwrap();
    let record = place.path().join("record");
    // The same ids, but started at another time.
    let text = std::fs::read_to_string(&record).unwrap();
    let mut value: serde_json::Value = serde_json::from_str(&text).unwrap();
    for who in ["keeper", "program"] {
        value[who]["started"] = 1.into();
    }
    std::fs::write(&record, value.to_string()).unwrap();
    assert_eq!(ManagedProcess::stop_leftover(&record, GRACE).unwrap(), None);
    assert!(alive(process.pid()));
    process.stop(GRACE);
}

#[test]
fn a_killed_keeper_takes_the_program_along() {
    let place = tempfile::tempdir().unwrap();
    let mut process = ManagedProcess::spawn(&spec(place.path(), "exec sleep 98765")).unwrap();
    let text = std::fs::read_to_string(place.path().join("record")).unwrap();
    let value: serde_json::Value = serde_json::from_str(&text).unwrap();
    let keeper = i32::try_from(value["keeper"]["pid"].as_i64().unwrap()).unwrap();
    // SAFETY: a plain system call on a process that this test started.
    #[allow(unsafe_code, reason = "the standard library cannot kill by id")]
    unsafe {
        libc::kill(keeper, libc::SIGKILL);
    }
    eventually("end", || process.try_wait().is_some());
    eventually("the program's end", || !alive(process.pid()));
}

fn orphan(place: &Path, patience: Duration) -> ManagedSpec {
    ManagedSpec {
        orphan: Some(patience),
        ..spec(place, "echo $$ > service; exec sleep 98765")
    }
}

#[test]
fn a_service_that_outlived_its_host_is_adopted_once_and_by_its_identity() {
    let place = tempfile::tempdir().unwrap();
    let orphan = orphan(place.path(), Duration::from_secs(60));
    let process = ManagedProcess::spawn(&orphan).unwrap();
    let pid = process.pid();
    process.leave();
    assert!(alive(pid));
    // Not with other words than it was started with.
    let other = ManagedSpec {
        directory: "/".into(),
        ..orphan.clone()
    };
    assert!(ManagedProcess::adopt(&other).is_none());
    let mut adopted = ManagedProcess::adopt(&orphan).unwrap();
    assert_eq!(adopted.pid(), pid);
    assert!(adopted.is_adopted() && adopted.try_wait().is_none());
    let (usage, _) = adopted.tree().usage().unwrap();
    assert!(usage.processes >= 1 && usage.resident_bytes > 0 && usage.open_files > 0);
    // And again by the one after that, which stops it in order.
    adopted.leave();
    let mut adopted = ManagedProcess::adopt(&orphan).unwrap();
    assert_eq!(adopted.stop(GRACE), Ended::Signal(libc::SIGTERM));
    assert!(!alive(pid));
    assert!(!place.path().join("record").exists());
    assert!(ManagedProcess::adopt(&orphan).is_none());
}

#[test]
fn nobody_adopts_a_recycled_process_id() {
    let place = tempfile::tempdir().unwrap();
    let orphan = orphan(place.path(), Duration::from_secs(60));
    let process = ManagedProcess::spawn(&orphan).unwrap();
    let pid = process.pid();
    process.leave();
    let record = place.path().join("record");
    let text = std::fs::read_to_string(&record).unwrap();
    for who in ["keeper", "program"] {
        let mut value: serde_json::Value = serde_json::from_str(&text).unwrap();
        value[who]["started"] = 1.into();
        std::fs::write(&record, value.to_string()).unwrap();
        assert!(ManagedProcess::adopt(&orphan).is_none(), "{who}");
    }
    std::fs::write(&record, &text).unwrap();
    ManagedProcess::stop_leftover(&record, GRACE).unwrap();
    assert!(!alive(pid));
}

#[test]
fn one_that_nobody_comes_for_is_stopped() {
    let place = tempfile::tempdir().unwrap();
    let process = ManagedProcess::spawn(&orphan(place.path(), Duration::from_millis(300))).unwrap();
    let pid = process.pid();
    process.leave();
    eventually("its end", || !alive(pid));
}

#[test]
fn there_are_never_two_copies_even_without_a_record() {
    let place = tempfile::tempdir().unwrap();
    let orphan = orphan(place.path(), Duration::from_millis(500));
    let first = ManagedProcess::spawn(&orphan).unwrap();
    let pid = first.pid();
    first.leave();
    std::fs::remove_file(place.path().join("record")).unwrap();
    assert!(ManagedProcess::adopt(&orphan).is_none());
    assert_eq!(
        ManagedProcess::stop_leftover(&place.path().join("record"), GRACE).unwrap(),
        None
    );
    // Waits until the keeper of the first one is gone.
    let second = ManagedProcess::spawn(&orphan).unwrap();
    assert!(!alive(pid));
    drop(second);
}

#[test]
fn a_signal_reaches_the_program_and_the_signal_to_stop_can_be_chosen() {
    let place = tempfile::tempdir().unwrap();
    let mut spec = spec(
        place.path(),
        "trap 'echo again' HUP; trap 'echo interrupted; exit 0' INT; echo $$ > ready; \
         while :; do sleep 0.01; done",
    );
    spec.stop_signal = signal_number("SIGINT").unwrap();
    let mut process = ManagedProcess::spawn(&spec).unwrap();
    noted(place.path(), "ready");
    process.signal(signal_number("HUP").unwrap()).unwrap();
    let log = || std::fs::read_to_string(place.path().join("log")).unwrap();
    eventually("the reload", || log().contains("again"));
    assert_eq!(process.stop(GRACE), Ended::Exit(0));
    assert!(log().contains("interrupted"));
    assert_eq!(signal_number("KILL"), None);
}

fn trusted(command: &str) -> TrustedCommand {
    TrustedCommand {
        argv: ManagedSpec::shell(command),
        directory: "/".into(),
        environment: environment(),
        timeout: Duration::from_secs(10),
        output_bytes: 1000,
    }
}

#[test]
fn a_trusted_command_gives_its_output() {
    let output = run_trusted(&trusted("echo out; echo err >&2; env; exit 4")).unwrap();
    assert_eq!(output.ended, Ended::Exit(4));
    assert!(output.stdout.starts_with("out\n"));
    assert!(!output.stdout.contains("CARGO"), "{output:?}");
    assert_eq!(output.stderr, "err\n");
}

#[test]
fn a_trusted_command_is_killed_in_time_and_with_its_group() {
    let place = tempfile::tempdir().unwrap();
    let mut command = trusted("sh -c 'echo $$ > child; exec sleep 98765' & sleep 98765");
    command.directory = place.path().to_owned();
    command.timeout = Duration::from_millis(500);
    let output = run_trusted(&command).unwrap();
    assert_eq!(output.ended, Ended::TimedOut);
    let child = noted(place.path(), "child");
    eventually("the child's end", || !alive(child));
    let mut command = trusted("sleep 98765 >/dev/null 2>&1 & echo $!");
    command.output_bytes = 100;
    let output = run_trusted(&command).unwrap();
    let left: u32 = output.stdout.trim().parse().unwrap();
    eventually("the background job's end", || !alive(left));
    assert!(matches!(
        run_trusted(&TrustedCommand {
            argv: vec!["/does/not/exist".into()],
            ..command
        }),
        Err(SandboxError::Host { .. })
    ));
}

#[test]
#[ignore = "run by `a_killed_host_takes_its_services_along` in a process of its own"]
fn host_that_gets_killed() {
    let place = std::path::PathBuf::from(std::env::var("PLACE").unwrap());
    let mut spec = spec(
        &place,
        "setsid sh -c 'echo $$ > daemon; exec sleep 98765' & echo $$ > service; exec sleep 98765",
    );
    spec.grace = Duration::from_millis(200);
    let _process = ManagedProcess::spawn(&spec).unwrap();
    std::thread::park();
}

#[test]
fn a_killed_host_takes_its_services_along() {
    let place = tempfile::tempdir().unwrap();
    #[expect(clippy::disallowed_methods, reason = "plays the host itself")]
    let mut host = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "host_that_gets_killed", "--ignored"])
        .env("PLACE", place.path())
        .spawn()
        .unwrap();
    let pids = [
        noted(place.path(), "service"),
        noted(place.path(), "daemon"),
    ];
    host.kill().unwrap();
    host.wait().unwrap();
    eventually("the services' end", || !pids.iter().any(|pid| alive(*pid)));
}
