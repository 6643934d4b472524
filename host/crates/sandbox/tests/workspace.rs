//! What becomes of reads and writes in the workspace, and sessions.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking, also in its helpers"
)]

mod tree;

use selfheal_domain::tools::{Ended, SessionError, ToolSession};
use selfheal_sandbox::{
    ASSETS_PATH, Access, CancelToken, Change, ChangeKind, Sandbox, SandboxSpec, collect_changes,
};
use std::path::Path;
use std::time::{Duration, Instant};
use tree::{Tree, run};

fn changes(upper: &Path, live: &Path) -> Vec<(String, ChangeKind)> {
    collect_changes(upper, live)
        .unwrap()
        .into_iter()
        .map(|Change { path, kind }| (path.to_str().unwrap().to_owned(), kind))
        .collect()
}

#[test]
fn a_command_runs_where_it_is_told() {
    let tree = Tree::new();
    let mut spec = tree.spec(Access::ReadOnly, "pwd; cat b.py; exit 7");
    spec.directory = "src/deep".into();
    let output = run(spec);
    assert_eq!(output.ended, Ended::Exit(7));
    assert_eq!(
        output.stdout,
        format!("{}/src/deep\nprint(2)\n", tree.root.display())
    );
    assert_eq!(output.stderr, "");
    assert!(!output.truncated);
}

#[test]
fn a_signal_is_told_from_an_exit() {
    let tree = Tree::new();
    let output = tree.run(Access::ReadOnly, "kill -SEGV $$");
    assert_eq!(output.ended, Ended::Signal(libc::SIGSEGV));
}

#[test]
fn read_only_refuses_writes_but_has_a_private_tmp() {
    let tree = Tree::new();
    let output = tree.run(
        Access::ReadOnly,
        "echo x > README; echo x > new; rm src/a.py; mkdir d; cat README; echo y > /tmp/y && cat /tmp/y",
    );
    assert_eq!(output.stdout, "read me\ny\n", "{output:?}");
    assert_eq!(output.stderr.matches("Read-only").count(), 4, "{output:?}");
}

#[test]
fn discarded_writes_are_seen_once_and_gone() {
    let tree = Tree::new();
    let output = tree.run(
        Access::Discard,
        "echo x > README; echo x > new; rm -rf src; cat README new; ls; echo t > /tmp/selfheal-left",
    );
    assert_eq!(output.stdout, "x\nx\nREADME\nnew\n", "{output:?}");
    assert_eq!(
        tree.run(
            Access::Discard,
            "cat README; [ -e /tmp/selfheal-left ] || echo gone"
        )
        .stdout,
        "read me\ngone\n"
    );
    assert!(!Path::new("/tmp/selfheal-left").exists());
}

#[test]
fn kept_writes_persist_in_the_layer_and_are_read_back_as_changes() {
    let tree = Tree::new();
    std::fs::write(tree.root.join("same"), "same").unwrap();
    std::fs::create_dir(tree.root.join("old")).unwrap();
    std::fs::write(tree.root.join("old/kept"), "1").unwrap();
    std::fs::write(tree.root.join("old/lost"), "2").unwrap();
    std::fs::write(tree.root.join("script"), "#!/bin/sh\n").unwrap();
    std::fs::write(tree.root.join("becomes-dir"), "f").unwrap();
    tree.remember();
    let (upper, work) = tree.layer();
    let keep = Access::Keep {
        upper: upper.clone(),
        work,
    };
    let first = tree.run(
        keep.clone(),
        "set -e; echo new > src/new.py; echo changed > README; rm src/a.py; touch same; \
         rm -r old; mkdir old; echo 1 > old/other; printf 1 > old/kept; chmod +x script; \
         rm becomes-dir; mkdir becomes-dir; echo in > becomes-dir/f; rm -r src/deep; echo file > src/deep; \
         ln -s README link; mkfifo pipe; mkdir empty",
    );
    assert!(first.ended.success(), "{first:?}");
    use ChangeKind::{Added, Deleted, Modified};
    let expected = [
        ("README", Modified),
        ("becomes-dir", Deleted),
        ("becomes-dir/f", Added),
        ("link", Added),
        ("old/lost", Deleted),
        ("old/other", Added),
        ("script", Modified),
        ("src/a.py", Deleted),
        ("src/deep", Added),
        ("src/deep/b.py", Deleted),
        ("src/new.py", Added),
    ]
    .map(|(path, kind)| (path.to_owned(), kind));
    assert_eq!(changes(&upper, &tree.root), expected);

    // The next command sees them: kept on, below a discarded layer, or read-only.
    let look =
        "cat README src/new.py; ls src/a.py old/lost 2>&1 | grep -c 'No such'; echo more >> README";
    let mut spec = tree.spec(Access::Discard, look);
    spec.workspace.layers = vec![upper.clone()];
    assert_eq!(run(spec.clone()).stdout, "changed\nnew\n2\n");
    spec.workspace.access = Access::ReadOnly;
    assert_eq!(run(spec).stdout, "changed\nnew\n2\n");
    assert_eq!(changes(&upper, &tree.root), expected);
    assert_eq!(tree.run(keep, look).stdout, "changed\nnew\n2\n");
    assert_eq!(
        std::fs::read_dir(tree.base.join("work")).unwrap().count(),
        0
    );
    assert_eq!(
        std::fs::read_to_string(upper.join("README")).unwrap(),
        "changed\nmore\n"
    );
}

#[test]
fn a_link_that_became_a_directory_is_not_followed() {
    let tree = Tree::new();
    std::os::unix::fs::symlink("/etc", tree.root.join("conf")).unwrap();
    tree.remember();
    let (upper, work) = tree.layer();
    let output = tree.run(
        Access::Keep {
            upper: upper.clone(),
            work,
        },
        "cp /etc/passwd p && rm conf && mkdir conf && mv p conf/passwd && echo x > conf/new",
    );
    assert!(output.ended.success(), "{output:?}");
    let expected = [
        ("conf", ChangeKind::Deleted),
        ("conf/new", ChangeKind::Added),
        ("conf/passwd", ChangeKind::Added),
    ]
    .map(|(path, kind)| (path.to_owned(), kind));
    assert_eq!(changes(&upper, &tree.root), expected);
}

#[test]
fn root_works_on_the_tree_of_another_user() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let tree = Tree::new();
    for place in ["", "README", "src", "src/deep", "src/a.py"] {
        std::os::unix::fs::chown(tree.root.join(place), Some(65534), Some(65534)).unwrap();
    }
    let output = tree.run(
        Access::Discard,
        "echo x > README && echo y > new && cat README new && stat -c %u README && rm src/a.py && \
         chmod 600 README && echo z >> README; echo x > /usr/x; cat /etc/shadow",
    );
    assert_eq!(output.stdout, "x\ny\n65534\n", "{output:?}");
    assert!(output.stderr.contains("Read-only"), "{output:?}");
    let (upper, work) = tree.layer();
    let output = tree.run(
        Access::Keep {
            upper: upper.clone(),
            work,
        },
        "echo x > README; echo y > src/new",
    );
    assert!(output.ended.success(), "{output:?}");
    assert_eq!(changes(&upper, &tree.root).len(), 2);
}

#[test]
fn whiteouts_written_by_root_are_read_too() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let tree = Tree::new();
    let (upper, _) = tree.layer();
    let opaque = upper.join("src");
    std::fs::create_dir(&opaque).unwrap();
    std::fs::write(opaque.join("a.py"), "print(1)\n").unwrap();
    if rustix::fs::setxattr(
        &opaque,
        "trusted.overlay.opaque",
        b"y",
        rustix::fs::XattrFlags::empty(),
    )
    .is_err()
    {
        return;
    }
    assert_eq!(
        changes(&upper, &tree.root),
        [("src/deep/b.py".to_owned(), ChangeKind::Deleted)]
    );
}

#[test]
fn a_workspace_outside_tmp_works_too() {
    let place = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let tree = Tree::at(place);
    let output = tree.run(
        Access::Discard,
        "echo x > README; cat README; pwd; ls -A .git; cat .git/config",
    );
    assert_eq!(
        output.stdout,
        format!("x\n{}\n", tree.root.display()),
        "{output:?}"
    );
    // The place around it is the host's, read-only (or private after all).
    tree.run(Access::Discard, "echo x > ../y");
    assert!(!tree.base.join("y").exists());
}

#[test]
fn a_workspace_inside_a_masked_directory_works() {
    let tree = Tree::new();
    std::fs::write(tree.base.join("key"), "PRIVATE").unwrap();
    let mut spec = tree.spec(Access::Discard, "cat README; ls -A ..; echo x > ../z");
    spec.masked.push(tree.base.clone());
    spec.visible.push(tree.base.clone());
    let output = run(spec);
    assert_eq!(output.stdout, "read me\napp\n", "{output:?}");
    assert!(output.stderr.contains("Read-only"), "{output:?}");
}

#[test]
fn assets_are_there_and_read_only() {
    let tree = Tree::new();
    let assets = tree.base.join("assets");
    std::fs::create_dir(&assets).unwrap();
    std::fs::write(assets.join("worker.py"), "print('from the asset')").unwrap();
    let mut spec = tree.spec(
        Access::Discard,
        &format!("python3 {ASSETS_PATH}/worker.py; echo x > {ASSETS_PATH}/worker.py"),
    );
    spec.assets = Some(assets);
    let output = run(spec);
    assert_eq!(output.stdout, "from the asset\n", "{output:?}");
    assert!(output.stderr.contains("Read-only"), "{output:?}");
}

#[test]
fn tool_chains_in_hidden_places_stay_visible() {
    let tree = Tree::new();
    let bin = tree.base.join("venv/bin");
    std::fs::create_dir_all(&bin).unwrap();
    std::fs::create_dir_all(tree.base.join("venv/lib")).unwrap();
    std::fs::write(tree.base.join("venv/lib/data"), "from the lib\n").unwrap();
    let tool = bin.join("tool");
    std::fs::write(&tool, "#!/bin/sh\ncat \"$(dirname \"$0\")/../lib/data\"\n").unwrap();
    std::fs::set_permissions(&tool, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let mut spec = tree.spec(Access::ReadOnly, "tool");
    let path = spec.environment.get_mut("PATH").unwrap();
    *path = format!("{}:{path}", bin.display());
    assert_eq!(run(spec).stdout, "from the lib\n");
}

#[test]
fn a_local_server_can_be_tested() {
    let tree = Tree::new();
    let script = "\
import http.server, threading, urllib.request\n\
server = http.server.HTTPServer(('localhost', 0), http.server.SimpleHTTPRequestHandler)\n\
threading.Thread(target=server.serve_forever, daemon=True).start()\n\
print(urllib.request.urlopen('http://localhost:%d/README' % server.server_port).read().decode())\n\
import multiprocessing as m\n\
with m.Pool(2) as p: print(p.map(abs, [-1, -2]))\n";
    let output = tree.python(Access::Discard, script);
    assert!(output.stdout.contains("read me"), "{output:?}");
    assert!(output.stdout.contains("[1, 2]"), "{output:?}");
}

#[test]
fn node_starts_within_the_limits() {
    let tree = Tree::new();
    let output = tree.run(
        Access::Discard,
        "command -v node >/dev/null || { echo none; exit 0; }; \
         node -e 'const w = new (require(\"worker_threads\").Worker)(\"1\", {eval: true}); w.on(\"exit\", () => console.log(\"fine\"))'",
    );
    assert!(
        ["fine", "none"].contains(&output.stdout.trim()),
        "{output:?}"
    );
}

#[test]
fn probing_tells_what_works() {
    let containment = Sandbox::probe();
    assert!(containment.is_sufficient(), "{containment}");
}

fn echo(tree: &Tree) -> SandboxSpec {
    tree.spec(
        Access::Discard,
        "echo ready; echo warning >&2; while read -r line; do echo \"got $line\"; done; echo end",
    )
}

#[test]
fn a_session_answers_line_by_line() {
    let tree = Tree::new();
    let mut session = Sandbox::new()
        .spawn(echo(&tree), &CancelToken::new())
        .unwrap();
    let wait = Duration::from_secs(10);
    assert_eq!(session.receive(wait).as_deref(), Ok("ready"));
    assert_eq!(
        session.receive(Duration::from_millis(10)),
        Err(SessionError::TimedOut)
    );
    for line in ["one", "two words", ""] {
        session.send(line).unwrap();
        assert_eq!(session.receive(wait), Ok(format!("got {line}")));
    }
    assert_eq!(session.stderr_tail(), "warning\n");
    let started = Instant::now();
    drop(session);
    assert!(started.elapsed() < Duration::from_secs(4));
    assert_eq!(tree.processes_inside(), 0);
    tree.assert_untouched();
}

#[test]
fn a_session_moves_more_than_pipes_hold() {
    let tree = Tree::new();
    let mut session = Sandbox::new()
        .spawn(tree.spec(Access::ReadOnly, "exec cat"), &CancelToken::new())
        .unwrap();
    let long = "x".repeat(3_000_000);
    for _ in 0..3 {
        session.send(&long).unwrap();
    }
    for _ in 0..3 {
        assert_eq!(
            session.receive(Duration::from_secs(10)).unwrap().len(),
            long.len()
        );
    }
}

#[test]
fn a_session_tells_its_end() {
    let tree = Tree::new();
    let wait = Duration::from_secs(10);
    let mut session = Sandbox::new()
        .spawn(
            tree.spec(Access::ReadOnly, "echo bye; exit 3"),
            &CancelToken::new(),
        )
        .unwrap();
    assert_eq!(session.receive(wait).as_deref(), Ok("bye"));
    assert_eq!(session.receive(wait), Err(SessionError::Gone));
    assert_eq!(session.send("x"), Err(SessionError::Gone));

    let cancel = CancelToken::new();
    let mut session = Sandbox::new().spawn(echo(&tree), &cancel).unwrap();
    assert_eq!(session.receive(wait).as_deref(), Ok("ready"));
    cancel.cancel();
    assert_eq!(session.receive(wait), Err(SessionError::Cancelled));

    let mut spec = echo(&tree);
    spec.limits.wall = Duration::from_millis(200);
    let mut session = Sandbox::new().spawn(spec, &CancelToken::new()).unwrap();
    assert_eq!(session.receive(wait).as_deref(), Ok("ready"));
    assert_eq!(session.receive(wait), Err(SessionError::Gone));
}

#[test]
fn many_at_the_same_time_do_not_disturb_each_other() {
    let tree = Tree::new();
    std::thread::scope(|scope| {
        for number in 0..8 {
            let spec = tree.spec(
                Access::Discard,
                &format!("echo {number} > README; cat README; pwd >/dev/null"),
            );
            scope.spawn(move || {
                for _ in 0..4 {
                    assert_eq!(run(spec.clone()).stdout, format!("{number}\n"));
                }
            });
        }
    });
    tree.assert_untouched();
}
