//! Real attempts to get out of the sandbox. Each test is an attack, and asserts
//! both that it failed and that the live tree is byte for byte what it was.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking, also in its helpers"
)]

mod tree;

use selfheal_domain::tools::{Ended, ToolSession};
use selfheal_sandbox::{Access, CancelToken, Sandbox, SandboxError};
use std::io::Write;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::time::{Duration, Instant};
use tree::{Tree, run};

#[test]
fn the_rest_of_the_host_is_read_only() {
    let tree = Tree::new();
    for place in [
        "/usr/selfheal-was-here",
        "/etc/selfheal-was-here",
        "/selfheal-was-here",
        "/proc/sys/kernel/core_pattern",
    ] {
        let output = tree.run(Access::Discard, &format!("echo x > {place}"));
        assert!(!output.ended.success(), "{place}: {output:?}");
        assert!(
            output.stderr.contains("Read-only") || output.stderr.contains("ermission denied"),
            "{place}: {output:?}"
        );
    }
    assert!(!std::path::Path::new("/usr/selfheal-was-here").exists());
    assert!(!std::path::Path::new("/selfheal-was-here").exists());
}

#[test]
fn beside_the_workspace_nothing_can_be_written() {
    let tree = Tree::new();
    let victim = tree.base.join("victim");
    std::fs::write(&victim, "precious").unwrap();
    // Below `/tmp` the place does not even exist inside; what is written is private.
    tree.run(
        Access::Discard,
        "cd ..; echo gone > victim; rm -rf ../* 2>/dev/null; ln -s / root-link; echo x > root-link/x; true",
    );
    assert_eq!(std::fs::read_to_string(&victim).unwrap(), "precious");
}

#[test]
fn symbolic_links_lead_nowhere_new() {
    let tree = Tree::new();
    let secret = tree.base.join("secret");
    std::fs::write(&secret, "s3cret").unwrap();
    std::os::unix::fs::symlink(&secret, tree.root.join("link")).unwrap();
    std::os::unix::fs::symlink("/etc", tree.root.join("etc-link")).unwrap();
    tree.remember();
    let output = tree.run(
        Access::Discard,
        "cat link; echo changed > link; echo x > etc-link/selfheal-x; ln README /etc/selfheal-hard; true",
    );
    assert!(!output.stdout.contains("s3cret"), "{output:?}");
    assert_eq!(std::fs::read_to_string(&secret).unwrap(), "s3cret");
    assert!(!std::path::Path::new("/etc/selfheal-x").exists());
}

#[test]
fn masked_places_read_as_empty_and_cannot_be_written() {
    let tree = Tree::new();
    let home = tree.base.join("home");
    std::fs::create_dir_all(home.join(".ssh")).unwrap();
    std::fs::write(home.join(".ssh/id"), "PRIVATE").unwrap();
    std::fs::write(home.join(".netrc"), "PRIVATE").unwrap();
    let mut spec = tree.spec(
        Access::Discard,
        &format!(
            "cat .git/config {0}/.ssh/id {0}/.netrc config.secret; ls -A .git {0}/.ssh; \
             echo x > .git/hooks; echo x > .git/config; rm -rf .git; mv .git git2; echo y > config.secret; true",
            home.display()
        ),
    );
    std::fs::write(tree.root.join("config.secret"), "PRIVATE").unwrap();
    tree.remember();
    spec.visible = vec![home.clone()];
    spec.masked.extend([
        home.join(".ssh"),
        home.join(".netrc"),
        tree.root.join("config.secret"),
        tree.root.join("does/not/exist"),
    ]);
    let output = run(spec);
    assert!(!output.stdout.contains("PRIVATE"), "{output:?}");
    assert!(!output.stdout.contains("core"), "{output:?}");
    assert!(
        output.stderr.contains("Read-only") || output.stderr.contains("busy"),
        "{output:?}"
    );
    tree.assert_untouched();
}

#[test]
fn system_secrets_read_as_empty() {
    let tree = Tree::new();
    let output = tree.run(
        Access::ReadOnly,
        "cat /etc/shadow /etc/gshadow 2>/dev/null | wc -c",
    );
    assert_eq!(output.stdout.trim(), "0", "{output:?}");
}

#[test]
fn no_socket_of_the_host_can_be_reached() {
    let tree = Tree::new();
    let tcp = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = tcp.local_addr().unwrap().port();
    // Bound in the workspace: its name is visible inside, the listener must not be.
    let path = tree.root.join("host.sock");
    let _unix = UnixListener::bind(&path).unwrap();
    let script = format!(
        "import socket\n\
         def attempt(name, family, address):\n\
         \x20   try:\n\
         \x20       s = socket.socket(family); s.settimeout(2); s.connect(address); print(name, 'REACHED')\n\
         \x20   except OSError as e: print(name, 'refused')\n\
         attempt('tcp', socket.AF_INET, ('127.0.0.1', {port}))\n\
         attempt('unix', socket.AF_UNIX, {:?})\n\
         attempt('out', socket.AF_INET, ('192.0.2.1', 80))\n\
         for family in (16, 17, 38):\n\
         \x20   try: socket.socket(family, socket.SOCK_RAW, 4); print('family', family, 'REACHED')\n\
         \x20   except OSError: pass\n",
        path.to_str().unwrap()
    );
    // An overlay hides the listener behind a name by itself; a read-only view of
    // the live tree does not.
    for access in [Access::Discard, Access::ReadOnly] {
        let output = tree.python(access, &script);
        assert!(!output.stdout.contains("REACHED"), "{output:?}");
        assert_eq!(output.stdout.lines().count(), 3, "{output:?}");
    }
}

/// Whoever begins to listen while a command runs is out of its reach as well, in the
/// workspace, in what it gets to see, and elsewhere on the host.
#[test]
fn no_socket_that_comes_later_can_be_reached() {
    let attempts = "
import socket, sys
for line in sys.stdin:
    s = socket.socket(socket.AF_UNIX); s.settimeout(5)
    try:
        s.connect(line.strip()); print('REACHED', flush=True)
    except OSError as error: print(type(error).__name__, flush=True)
";
    let tree = Tree::new();
    let shown = tree.base.join("shown");
    std::fs::create_dir(&shown).unwrap();
    // Not below a place that is hidden anyway.
    let home = std::env::home_dir().unwrap();
    let elsewhere = tempfile::tempdir_in(home).unwrap();
    for access in [Access::ReadOnly, Access::Discard] {
        let mut spec = tree.python_spec(access.clone(), attempts);
        spec.visible = vec![shown.clone()];
        let mut session = Sandbox::new().spawn(spec, &CancelToken::new()).unwrap();
        let patience = Duration::from_secs(60);
        let mut attempt = |path: &Path| {
            session.send(path.to_str().unwrap()).unwrap();
            session.receive(patience).unwrap()
        };
        let nothing = attempt(&tree.root.join("nothing"));
        assert_eq!(nothing, "FileNotFoundError");
        for place in [&tree.root, &shown, elsewhere.path()] {
            let path = place.join("later.sock");
            let listener = UnixListener::bind(&path).unwrap();
            // It is really there.
            UnixStream::connect(&path).unwrap();
            let refused = attempt(&path);
            assert_ne!(refused, "REACHED", "{access:?}: {}", path.display());
            drop(listener);
            std::fs::remove_file(&path).unwrap();
        }
    }
}

/// What a command itself listens on, it reaches.
#[test]
fn sockets_of_its_own_work() {
    let tree = Tree::new();
    let script = "
import os, socket
for place in ('own.sock', '/tmp/own.sock', os.environ.get('HOME', '/tmp') + '/own.sock'):
    try: listener = socket.socket(socket.AF_UNIX); listener.bind(place)
    except OSError: print('nowhere to bind'); continue
    listener.listen()
    socket.socket(socket.AF_UNIX).connect(place)
    print('reached')
";
    let output = tree.python(Access::Discard, script);
    assert!(
        output.stdout.starts_with("reached\nreached\n"),
        "{output:?}"
    );
}

#[test]
fn no_process_of_the_host_is_seen_or_signalled() {
    let tree = Tree::new();
    let us = std::process::id();
    let output = tree.run(
        Access::ReadOnly,
        &format!("kill -9 {us} 2>&1; kill -9 -1; ls /proc | grep -c '^[0-9]'; cat /proc/1/environ | wc -c"),
    );
    // `kill -1` reaches at most our own shell; we are alive to see it.
    assert!(
        output.stdout.contains("o such process") || matches!(output.ended, Ended::Signal(9)),
        "{output:?}"
    );
}

#[test]
fn the_first_process_cannot_be_looked_into() {
    let tree = Tree::new();
    let output = tree.run(Access::ReadOnly, "cat /proc/1/environ /proc/1/maps /proc/1/mem /proc/1/fd/* | wc -c; ls /proc/1/root; kill -9 1; echo alive");
    assert_eq!(output.stdout.trim(), "0\nalive", "{output:?}");
}

#[test]
fn a_fork_bomb_ends() {
    let tree = Tree::new();
    let mut spec = tree.spec(Access::Discard, ":(){ :|:& };:; wait; sleep 60");
    spec.limits.processes = 64;
    spec.limits.wall = Duration::from_secs(8);
    let started = Instant::now();
    let output = run(spec);
    assert!(!output.ended.success(), "{output:?}");
    assert!(started.elapsed() < Duration::from_secs(20));
    assert_eq!(tree.processes_inside(), 0);
}

#[test]
fn a_daemon_does_not_outlive_the_call() {
    let tree = Tree::new();
    let started = Instant::now();
    let output = tree.run(
        Access::Discard,
        &format!(
            "(setsid sh -c 'trap \"\" TERM HUP INT; exec sleep 987654' </dev/null >/dev/null 2>&1 &) ; \
             nohup setsid sleep 987654 >/dev/null 2>&1 & echo {}",
            tree.marker()
        ),
    );
    assert!(output.ended.success(), "{output:?}");
    assert!(started.elapsed() < Duration::from_secs(10));
    assert_eq!(tree.processes_inside(), 0);
}

#[test]
fn memory_of_one_and_of_all_together_is_limited() {
    let tree = Tree::new();
    let hog = "b = []\nwhile True: b.append(bytearray(8 << 20))";
    let mut spec = tree.python_spec(Access::Discard, hog);
    spec.limits.memory_bytes = 256 << 20;
    let output = run(spec);
    assert!(!output.ended.success(), "{output:?}");
    assert!(output.stderr.contains("MemoryError"), "{output:?}");

    let many = "import os, time\n\
        for _ in range(6):\n\
        \x20   if os.fork() == 0:\n\
        \x20       b = bytearray(os.urandom(1 << 20)) * 150\n\
        \x20       time.sleep(60)\n\
        time.sleep(60)";
    let mut spec = tree.python_spec(Access::Discard, many);
    spec.limits.memory_bytes = 400 << 20;
    let output = run(spec);
    assert_eq!(output.ended, Ended::Signal(9), "{output:?}");
    assert!(output.stderr.contains("MiB of memory"), "{output:?}");
}

#[test]
fn endless_output_is_cut_in_the_middle() {
    let tree = Tree::new();
    let mut spec = tree.spec(
        Access::ReadOnly,
        "echo first; head -c 50000000 /dev/zero | tr '\\0' x; echo; echo last; yes >&2",
    );
    spec.limits.output_bytes = 10_000;
    spec.limits.wall = Duration::from_secs(2);
    let output = run(spec);
    assert_eq!(output.ended, Ended::TimedOut, "{output:?}");
    assert!(output.truncated);
    assert!(output.stdout.starts_with("first\nx"));
    assert!(output.stdout.ends_with("x\nlast\n"));
    assert!(output.stdout.len() < 10_100);
    assert!(output.stderr.len() < 10_100);
}

#[test]
fn disks_cannot_be_filled() {
    let tree = Tree::new();
    let (upper, work) = tree.layer();
    let mut spec = tree.spec(
        Access::Keep { upper, work },
        "i=0; while :; do head -c 4000000 /dev/zero > big$i || exit 3; i=$((i+1)); done",
    );
    spec.limits.tmp_bytes = 64 << 20;
    let output = run(spec);
    assert_eq!(output.ended, Ended::Signal(9), "{output:?}");
    assert!(output.stderr.contains("MiB written"), "{output:?}");

    // Too deep to be measured is too much.
    let (upper, work) = tree.layer();
    let deep = "import os, time\nfor _ in range(40):\n  os.mkdir('d' * 200); os.chdir('d' * 200)\ntime.sleep(60)";
    let mut spec = tree.python_spec(Access::Keep { upper, work }, deep);
    spec.limits.wall = Duration::from_secs(10);
    let output = run(spec);
    assert!(output.stderr.contains("[sandbox] killed"), "{output:?}");

    let mut spec = tree.spec(Access::Discard, "head -c 200000000 /dev/zero > /tmp/big");
    spec.limits.tmp_bytes = 16 << 20;
    assert!(!run(spec).ended.success());
    let mut spec = tree.spec(Access::Discard, "head -c 200000000 /dev/zero > big");
    spec.limits.file_bytes = 1 << 20;
    assert!(!run(spec).ended.success());
}

#[test]
fn system_calls_that_open_doors_are_refused() {
    let tree = Tree::new();
    let output = tree.run(
        Access::Discard,
        "mkdir m; mount -t tmpfs none m; mount --bind / m; umount .git; umount /tmp; \
         unshare -Ur id; unshare -m id; chroot / id; mknod n c 1 1; date -s 2001-01-01; hostname evil; true",
    );
    for line in output.stdout.lines() {
        assert!(!line.contains("uid="), "{output:?}");
    }
    assert_eq!(
        tree.run(Access::Discard, "cat .git/config | wc -c")
            .stdout
            .trim(),
        "0"
    );
    let script = r#"
import ctypes, os
libc = ctypes.CDLL(None, use_errno=True)
names = dict(ptrace=101, unshare=272, setns=308, bpf=321, keyctl=250, add_key=248,
    perf_event_open=298, kexec_load=246, init_module=175, io_uring_setup=425,
    userfaultfd=323, open_by_handle_at=304, reboot=169, mount=165, pivot_root=155,
    process_vm_readv=310, fsopen=430, open_tree=428, mount_setattr=442, chroot=161)
for name, number in names.items():
    ctypes.set_errno(0)
    result = libc.syscall(number, 0, 0, 0, 0, 0, 0)
    if not (result == -1 and ctypes.get_errno() == 1):
        print(name, 'PASSED', result, ctypes.get_errno())
for flag in (0x10000000, 0x20000, 0x20000000, 0x40000000, 0x8000000, 0x4000000, 0x2000000):
    if libc.syscall(56, flag | 17, 0, 0, 0, 0) != -1: print('clone', hex(flag), 'PASSED')
if not (libc.syscall(435, 0, 0) == -1 and ctypes.get_errno() == 38): print('clone3 PASSED')
if libc.syscall(0x40000000 | 165, 0, 0, 0, 0, 0) != -1: print('x32 PASSED')
if libc.syscall(302, 1, 7, 0, 0) != -1: print('prlimit PASSED')
if libc.syscall(302, 0, 7, 0, 0) != 0: print('prlimit of itself refused')
if libc.personality(0x0200000) != -1: print('personality PASSED')
print('done')
"#;
    if cfg!(target_arch = "x86_64") {
        let output = tree.python(Access::Discard, script);
        assert_eq!(output.stdout.trim(), "done", "{output:?}");
    }
}

#[test]
fn no_privilege_is_left() {
    let tree = Tree::new();
    let output = tree.run(
        Access::Discard,
        "grep -E '^(Cap(Inh|Prm|Eff|Bnd|Amb)|NoNewPrivs|Seccomp):' /proc/self/status | tr -d '\\t'",
    );
    for line in output.stdout.lines() {
        let (name, value) = line.split_once(':').unwrap();
        match name {
            "NoNewPrivs" => assert_eq!(value, "1"),
            "Seccomp" => assert_eq!(value, "2"),
            _ => assert_eq!(u64::from_str_radix(value, 16).unwrap(), 0, "{name}"),
        }
    }
    assert_eq!(output.stdout.lines().count(), 7, "{output:?}");
}

#[test]
fn a_time_limit_kills_everything() {
    let tree = Tree::new();
    let mut spec = tree.spec(
        Access::Discard,
        "trap '' TERM INT HUP; (trap '' TERM; sleep 987655) & while :; do sleep 987655; done",
    );
    spec.limits.wall = Duration::from_millis(300);
    let output = run(spec);
    assert_eq!(output.ended, Ended::TimedOut, "{output:?}");
    assert!(output.seconds < 5.0);
    assert_eq!(tree.processes_inside(), 0);
}

#[test]
fn processor_time_is_limited() {
    let tree = Tree::new();
    let mut spec = tree.spec(Access::ReadOnly, "while :; do :; done");
    spec.limits.cpu = Duration::from_secs(1);
    let output = run(spec);
    assert!(matches!(output.ended, Ended::Signal(_)), "{output:?}");
}

#[test]
fn cancelling_kills_and_refuses() {
    let tree = Tree::new();
    let cancel = CancelToken::new();
    let spec = tree.spec(Access::Discard, "sleep 987656");
    let (output, waited) = std::thread::scope(|scope| {
        let running = scope.spawn(|| Sandbox::new().run(spec.clone(), &cancel));
        tree.wait_for_processes("sleep 987656");
        let started = Instant::now();
        cancel.cancel();
        (running.join().unwrap().unwrap(), started.elapsed())
    });
    assert_eq!(output.ended, Ended::Cancelled);
    assert!(waited < Duration::from_secs(2));
    assert_eq!(tree.processes_inside(), 0);
    assert!(matches!(
        Sandbox::new().run(spec, &cancel),
        Err(SandboxError::Cancelled)
    ));
}

#[test]
fn secrets_of_our_environment_do_not_travel() {
    let tree = Tree::new();
    let mut spec = tree.spec(
        Access::ReadOnly,
        "env; cat /proc/*/environ | tr '\\0' '\\n'",
    );
    spec.environment.clear();
    spec.environment
        .insert("PATH".into(), "/usr/bin:/bin".into());
    let output = run(spec);
    assert!(!output.stdout.contains("HOME="), "{output:?}");
    assert!(!output.stdout.contains("CARGO"), "{output:?}");
    assert!(!output.stdout.contains("SELFHEAL"), "{output:?}");
}

#[test]
fn descriptors_of_the_host_do_not_travel() {
    let tree = Tree::new();
    let mut held = tempfile::tempfile().unwrap();
    held.write_all(b"held").unwrap();
    let output = tree.run(
        Access::ReadOnly,
        "ls /proc/self/fd | wc -l; readlink /proc/self/fd/0",
    );
    // 0, 1, 2 and the directory that `ls` reads.
    assert_eq!(output.stdout, "4\n/dev/null\n", "{output:?}");
}

#[test]
fn a_binary_that_is_no_launcher_is_reported() {
    let tree = Tree::new();
    let error = Sandbox::with_launcher("/bin/true")
        .run(tree.spec(Access::ReadOnly, "true"), &CancelToken::new())
        .unwrap_err();
    assert!(matches!(error, SandboxError::Setup(_)), "{error}");
}

#[test]
fn impossible_requests_are_refused() {
    let tree = Tree::new();
    let mut escape = tree.spec(Access::ReadOnly, "true");
    escape.directory = "../..".into();
    let mut absolute = tree.spec(Access::ReadOnly, "true");
    absolute.directory = "/etc".into();
    let mut whole = tree.spec(Access::ReadOnly, "true");
    whole.workspace.root = "/".into();
    let mut missing = tree.spec(Access::ReadOnly, "true");
    missing.workspace.root = tree.base.join("missing");
    let mut inside = tree.spec(Access::ReadOnly, "true");
    inside.workspace.access = Access::Keep {
        upper: tree.root.join("src"),
        work: tree.root.join("src"),
    };
    for spec in [escape, absolute, whole, missing, inside] {
        let result = Sandbox::new().run(spec, &CancelToken::new());
        assert!(
            matches!(result, Err(SandboxError::Invalid(_))),
            "{result:?}"
        );
    }
}

#[test]
#[ignore = "run by `nothing_outlives_a_killed_host` in a process of its own"]
fn host_that_gets_killed() {
    let tree = Tree::new();
    let mut spec = tree.spec(Access::Discard, "setsid sleep 987657 & sleep 987657");
    spec.environment
        .insert("HOST_MARKER".into(), std::env::var("HOST_MARKER").unwrap());
    run(spec);
}

#[test]
fn nothing_outlives_a_killed_host() {
    let tree = Tree::new();
    #[expect(clippy::disallowed_methods, reason = "plays the host itself")]
    let mut host = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "host_that_gets_killed", "--ignored"])
        .env("HOST_MARKER", tree.marker())
        .env("TMPDIR", &tree.base)
        .spawn()
        .unwrap();
    // The host and its two sleeps carry the marker (bash replaces itself or not).
    let deadline = Instant::now() + Duration::from_secs(20);
    while tree.processes_inside() < 3 {
        assert!(Instant::now() < deadline, "the commands never started");
        std::thread::yield_now();
    }
    host.kill().unwrap();
    host.wait().unwrap();
    let deadline = Instant::now() + Duration::from_secs(10);
    while tree.processes_inside() > 0 {
        assert!(Instant::now() < deadline, "something outlived the host");
        std::thread::yield_now();
    }
}
