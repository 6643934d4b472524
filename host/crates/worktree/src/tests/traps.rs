//! One repository with every trap that is known: whatever of git's runs programs, reads
//! other places or lies about history is set, and leaves a mark where it works.

use super::fixture::{FixedClock, Fixture, message, patch, run};
use crate::{MachineIdentity, discover, heal_commit_now, is_dirty};
use selfheal_domain::ports::{ReadLimits, Repository, RepositoryError};
use std::fmt::Write as _;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// All hooks of git's manual.
const HOOKS: &[&str] = &[
    "applypatch-msg",
    "commit-msg",
    "fsmonitor-watchman",
    "p4-changelist",
    "p4-post-changelist",
    "p4-pre-submit",
    "p4-prepare-changelist",
    "post-applypatch",
    "post-checkout",
    "post-commit",
    "post-index-change",
    "post-merge",
    "post-receive",
    "post-rewrite",
    "post-update",
    "pre-applypatch",
    "pre-auto-gc",
    "pre-commit",
    "pre-merge-commit",
    "pre-push",
    "pre-rebase",
    "pre-receive",
    "prepare-commit-msg",
    "proc-receive",
    "push-to-checkout",
    "reference-transaction",
    "sendemail-validate",
    "update",
];

/// Settings whose value is a program. Each leaves its own mark.
const PROGRAMS: &[&str] = &[
    "core.fsmonitor",
    "core.sshCommand",
    "core.gitProxy",
    "core.pager",
    "core.editor",
    "core.askPass",
    "core.alternateRefsCommand",
    "sequence.editor",
    "pager.log",
    "pager.diff",
    "gpg.program",
    "gpg.openpgp.program",
    "gpg.ssh.program",
    "gpg.x509.program",
    "gpg.ssh.defaultKeyCommand",
    "credential.helper",
    "credential.https://example.org.helper",
    "filter.evil.clean",
    "filter.evil.smudge",
    "filter.evil.process",
    "diff.external",
    "diff.evil.textconv",
    "diff.evil.command",
    "merge.evil.driver",
    "interactive.diffFilter",
    "difftool.evil.cmd",
    "mergetool.evil.cmd",
    "trailer.evil.command",
    "trailer.evil.cmd",
    "uploadpack.packObjectsHook",
    "remote.origin.uploadpack",
    "remote.origin.receivepack",
    "submodule.evil.update",
    "browser.evil.cmd",
    "man.evil.cmd",
    "web.browser",
    "sendemail.sendmailCmd",
    "tar.evil.command",
    "alias.status",
    "alias.commit",
    "alias.add",
];

/// Where marks are left.
fn marks(app: &Fixture) -> PathBuf {
    app.root.join("../marks")
}

/// Marks that are there, by the trap that left them.
fn sprung(app: &Fixture) -> Vec<String> {
    let mut names: Vec<String> = std::fs::read_dir(marks(app))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

/// A program that leaves a mark and passes its input on.
fn program(app: &Fixture, trap: &str) -> String {
    let name: String = trap
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() { c } else { '_' })
        .collect();
    let path = app.root.join(format!("../traps/{name}"));
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    let mark = marks(app).join(&name);
    // A transport that only listens would wait for git, and git for it.
    let passes_on = if trap.starts_with("ext") { "" } else { "cat\n" };
    std::fs::write(
        &path,
        format!("#!/bin/sh\necho x >> '{}'\n{passes_on}", mark.display()),
    )
    .unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    path.canonicalize().unwrap().to_str().unwrap().to_owned()
}

fn hooks(app: &Fixture, directory: &Path, kind: &str) {
    std::fs::create_dir_all(directory).unwrap();
    for hook in HOOKS {
        let made = program(app, &format!("{kind} {hook}"));
        std::fs::copy(made, directory.join(hook)).unwrap();
    }
}

/// A section of a configuration file with one value.
fn setting(key: &str, value: &str) -> String {
    let (section, name) = key.rsplit_once('.').unwrap();
    let section = match section.split_once('.') {
        Some((section, sub)) => format!("{section} \"{sub}\""),
        None => section.to_owned(),
    };
    let value = value.replace('\\', "\\\\").replace('"', "\\\"");
    format!("[{section}]\n\t{name} = \"{value}\"\n")
}

/// Sets every trap.
fn trapped() -> Fixture {
    let app = Fixture::new(&[
        ("code.py", "a\nb\nc\n"),
        ("data.bin", "data\n"),
        ("z", "z\n"),
        (".git-hooks/pre-commit", "#!/bin/sh\nexit 1\n"),
    ]);
    std::fs::create_dir(marks(&app)).unwrap();
    let git = app.root.join(".git");
    hooks(&app, &git.join("hooks"), "hook");
    hooks(&app, &app.root.join("../traps/hooks-path"), "hooksPath");
    let mut config = std::fs::read_to_string(git.join("config")).unwrap();
    for key in PROGRAMS {
        let program = program(&app, key);
        let value = match *key {
            // These say in their own way that they are commands.
            "submodule.evil.update" | "alias.status" | "alias.commit" | "alias.add" => {
                format!("!{program}")
            }
            _ => program,
        };
        config.push_str(&setting(key, &value));
    }
    let path = |name: &str| {
        let path = app.root.join("../traps").join(name);
        path.to_str().unwrap().to_owned()
    };
    // Everything that leads to another file of settings, all conditions true.
    for (name, key) in [
        ("included", "include.path"),
        ("included-dir", "includeIf.gitdir:**.path"),
        ("included-branch", "includeIf.onbranch:main.path"),
        ("included-remote", "includeIf.hasconfig:remote.*.url:*.path"),
    ] {
        let evil = setting(
            "core.fsmonitor",
            &program(&app, &format!("{name} fsmonitor")),
        );
        std::fs::write(path(name), evil).unwrap();
        config.push_str(&setting(key, &path(name)));
    }
    let ext = program(&app, "ext transport");
    for (key, value) in [
        ("core.hooksPath", path("hooks-path")),
        ("core.attributesFile", path("attributes")),
        ("core.excludesFile", path("excludes")),
        ("commit.gpgSign", "true".to_owned()),
        ("tag.gpgSign", "true".to_owned()),
        ("filter.evil.required", "true".to_owned()),
        ("protocol.ext.allow", "always".to_owned()),
        ("remote.origin.url", format!("ext::{ext} %S repo")),
        ("submodule.evil.url", format!("ext::{ext} %S repo")),
        ("submodule.evil.active", "true".to_owned()),
        ("submodule.recurse", "true".to_owned()),
        ("fetch.recurseSubmodules", "true".to_owned()),
        ("diff.submodule", "diff".to_owned()),
        ("status.submoduleSummary", "true".to_owned()),
        ("branch.main.remote", "origin".to_owned()),
        ("branch.main.merge", "refs/heads/main".to_owned()),
        ("gc.auto", "1".to_owned()),
        ("maintenance.auto", "true".to_owned()),
        ("core.untrackedCache", "true".to_owned()),
        ("init.templateDir", path("hooks-path")),
        ("safe.directory", "*".to_owned()),
        ("diff.orderFile", path("excludes")),
        ("mailmap.file", path("excludes")),
        ("core.commitGraph", "true".to_owned()),
        ("core.multiPackIndex", "true".to_owned()),
    ] {
        config.push_str(&setting(key, &value));
    }
    std::fs::write(git.join("config"), config).unwrap();
    // Attributes in every place that they are read from. What a patch touches is left
    // alone here: a file that git converts is refused, which other tests show.
    let attributes = "*.bin filter=evil diff=evil merge=evil\n* diff=evil merge=evil\n";
    app.write(".gitattributes", attributes);
    std::fs::create_dir_all(git.join("info")).unwrap();
    std::fs::write(git.join("info/attributes"), attributes).unwrap();
    std::fs::write(path("attributes"), attributes).unwrap();
    std::fs::write(path("excludes"), "nothing\n").unwrap();
    app.write(
        ".gitmodules",
        &format!(
            "[submodule \"evil\"]\n\tpath = evil\n\turl = ext::{ext} %S repo\n\tupdate = !{ext}\n"
        ),
    );
    lies(&app);
    app
}

/// History that is not what it seems: other objects, replaced commits, grafts, indexes
/// of packs and of commits that are garbage.
fn lies(app: &Fixture) {
    let git = app.root.join(".git");
    let other = app.root.join("../traps/other.git");
    app.git(&["init", "-q", "--bare", other.to_str().unwrap()]);
    let info = git.join("objects/info");
    std::fs::create_dir_all(&info).unwrap();
    std::fs::write(
        info.join("alternates"),
        format!("{}\n/proc/self/root\n", other.join("objects").display()),
    )
    .unwrap();
    std::fs::write(info.join("commit-graph"), [b'C'; 4096]).unwrap();
    std::fs::create_dir_all(git.join("objects/pack")).unwrap();
    std::fs::write(git.join("objects/pack/multi-pack-index"), [b'M'; 4096]).unwrap();
    let head = app.root.join(".git/refs/heads/main");
    let head = std::fs::read_to_string(head).unwrap();
    let head = head.trim();
    let (_, false_commit) = app.try_git(&[
        "-c",
        "commit.gpgSign=false",
        "commit-tree",
        &format!("{head}^{{tree}}"),
        "-m",
        "replaced",
    ]);
    let replaced = git.join("refs/replace");
    std::fs::create_dir_all(&replaced).unwrap();
    std::fs::write(replaced.join(head), false_commit).unwrap();
    let mut grafts = String::new();
    writeln!(grafts, "{head}").unwrap();
    std::fs::write(git.join("info/grafts"), grafts).unwrap();
}

/// Does everything that the host does to a repository.
fn everything(app: &Fixture) {
    let repo = app.open();
    let patch = patch(&[("code.py", Some("a\nb\nc\n"), Some("a\nB\nc\n"))]);
    let snapshot = repo.snapshot(run(1), &message("snapshot")).unwrap();
    repo.is_tracked("code.py").unwrap();
    repo.list_tracked().unwrap();
    let limits = ReadLimits {
        files: 100,
        bytes: 1 << 20,
        file_bytes: 1 << 16,
        time: Duration::from_secs(60),
    };
    repo.read_files(&snapshot.commit, limits, &|_| true, &mut |_, _| {})
        .unwrap();
    repo.open_layer(run(1), &snapshot.commit).unwrap();
    repo.commit_draft_run(run(1), &snapshot.commit, &patch, &message("x"))
        .unwrap();
    repo.check_fits(&snapshot, &patch).unwrap();
    repo.rehearse_rollback(&snapshot, &patch).unwrap();
    repo.apply_run(run(1), &snapshot, &patch, &message("x"))
        .unwrap();
    repo.roll_back_run(run(1), &snapshot, &patch, &message("x"))
        .unwrap();
    repo.close_worktree(run(1)).unwrap();
    discover(&app.root).unwrap();
    is_dirty(&app.root, &["code.py".to_owned()]).unwrap();
    heal_commit_now(
        &app.root,
        &patch,
        &message("x"),
        MachineIdentity::of_host("test"),
        Arc::new(FixedClock),
    )
    .unwrap();
}

#[test]
fn no_trap_is_sprung_by_anything_that_the_host_does() {
    let app = trapped();
    app.write("data.bin", "data, dirty\n");
    app.write("z", "z dirty\n");
    everything(&app);
    assert_eq!(sprung(&app), Vec::<String>::new());
    assert_eq!(app.read("code.py"), "a\nB\nc\n");
    assert_eq!(app.read("z"), "z dirty\n");
    // The traps are real: git itself steps into them.
    let _ = app.try_git(&["status"]);
    let _ = app.try_git(&["add", "data.bin"]);
    let _ = app.try_git(&["commit", "-m", "x"]);
    let _ = app.try_git(&["diff"]);
    let _ = app.try_git(&["fetch"]);
    let _ = app.try_git(&["checkout", "-q", "-b", "side"]);
    let sprung = sprung(&app);
    for trap in ["fsmonitor", "filter_evil", "ext_transport"] {
        assert!(
            sprung.iter().any(|name| name.contains(trap)),
            "{trap}: {sprung:?}"
        );
    }
}

/// What is written goes into the repository, whatever its own parts point to.
#[test]
fn parts_of_git_that_lead_elsewhere_are_refused() {
    for part in [
        "refs",
        "refs/heads",
        "refs/selfheal",
        "objects",
        "objects/pack",
        "logs",
        "logs/refs",
        "index",
        "HEAD",
    ] {
        let app = Fixture::new(&[("code.py", "a\nb\nc\n")]);
        let git = app.root.join(".git");
        let elsewhere = app.root.parent().unwrap().join("elsewhere");
        let at = git.join(part);
        if at.exists() {
            std::fs::rename(&at, &elsewhere).unwrap();
        } else {
            std::fs::create_dir(&elsewhere).unwrap();
        }
        symlink(&elsewhere, &at).unwrap();
        let before = picture(&elsewhere);
        let opened = crate::GitRepository::open(
            &app.root,
            &app.state,
            MachineIdentity::of_host("test"),
            Arc::new(FixedClock),
        );
        let why = match opened.and_then(|repo| repo.snapshot(run(1), &message("snapshot"))) {
            Err(RepositoryError::Unsupported(why)) => why,
            other => panic!("{part}: {other:?}"),
        };
        assert!(why.contains(part), "{part}: {why}");
        assert_eq!(picture(&elsewhere), before, "{part}");
    }
}

#[test]
fn a_git_file_that_points_to_a_repository_of_others_is_refused() {
    let other = Fixture::new(&[("code.py", "other\n")]);
    let app = Fixture::new(&[("code.py", "a\nb\nc\n")]);
    std::fs::remove_dir_all(app.root.join(".git")).unwrap();
    app.write(
        ".git",
        &format!("gitdir: {}\n", other.root.join(".git").display()),
    );
    let seen = other.seen();
    let refused = discover(&app.root);
    assert!(
        matches!(&refused, Err(RepositoryError::Unsupported(why)) if why.contains("another tree")),
        "{refused:?}"
    );
    assert_eq!(other.seen(), seen);
    // A linked worktree is known to its repository.
    let linked = other.root.parent().unwrap().join("linked");
    other.git(&["worktree", "add", "-q", linked.to_str().unwrap()]);
    discover(&linked).unwrap();
}

/// Names and contents, for comparison.
fn picture(at: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut found = Vec::new();
    let mut waiting = vec![at.to_owned()];
    while let Some(path) = waiting.pop() {
        if path.is_dir() {
            for entry in std::fs::read_dir(&path).unwrap() {
                waiting.push(entry.unwrap().path());
            }
            found.push((path, Vec::new()));
        } else {
            let content = std::fs::read(&path).unwrap_or_default();
            found.push((path, content));
        }
    }
    found.sort();
    found
}
