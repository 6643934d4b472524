//! Every trap that a repository can set for whoever runs git in it. The end-to-end tests
//! include this file as well.

use std::fmt::Write as _;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

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
fn marks(app: &Path) -> PathBuf {
    app.join("../marks")
}

/// Marks that are there, by the trap that left them.
pub(crate) fn sprung(app: &Path) -> Vec<String> {
    let mut names: Vec<String> = std::fs::read_dir(marks(app))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

/// A program that leaves a mark and passes its input on.
fn program(app: &Path, trap: &str) -> String {
    let name: String = trap
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() { c } else { '_' })
        .collect();
    let path = app.join(format!("../traps/{name}"));
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

fn hooks(app: &Path, directory: &Path, kind: &str) {
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

/// Sets every trap in the repository at `app`, whose directory holds nothing else.
/// `run_git` runs git there, whether it succeeds or not.
pub(crate) fn lay(app: &Path, run_git: &dyn Fn(&[&str]) -> String) {
    std::fs::create_dir(marks(app)).unwrap();
    let git = app.join(".git");
    hooks(app, &git.join("hooks"), "hook");
    hooks(app, &app.join("../traps/hooks-path"), "hooksPath");
    let mut config = std::fs::read_to_string(git.join("config")).unwrap();
    for key in PROGRAMS {
        let program = program(app, key);
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
        let path = app.join("../traps").join(name);
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
            &program(app, &format!("{name} fsmonitor")),
        );
        std::fs::write(path(name), evil).unwrap();
        config.push_str(&setting(key, &path(name)));
    }
    let ext = program(app, "ext transport");
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
    write(app, ".gitattributes", attributes);
    std::fs::create_dir_all(git.join("info")).unwrap();
    std::fs::write(git.join("info/attributes"), attributes).unwrap();
    std::fs::write(path("attributes"), attributes).unwrap();
    std::fs::write(path("excludes"), "nothing\n").unwrap();
    write(
        app,
        ".gitmodules",
        &format!(
            "[submodule \"evil\"]\n\tpath = evil\n\turl = ext::{ext} %S repo\n\tupdate = !{ext}\n"
        ),
    );
    lies(app, run_git);
}

fn write(app: &Path, name: &str, text: &str) {
    std::fs::write(app.join(name), text).unwrap();
}

/// History that is not what it seems: other objects, replaced commits, grafts, indexes
/// of packs and of commits that are garbage.
fn lies(app: &Path, run_git: &dyn Fn(&[&str]) -> String) {
    let git = app.join(".git");
    let other = app.join("../traps/other.git");
    run_git(&["init", "-q", "--bare", other.to_str().unwrap()]);
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
    let head = app.join(".git/refs/heads/main");
    let head = std::fs::read_to_string(head).unwrap();
    let head = head.trim();
    let false_commit = run_git(&[
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
