//! The wall, from outside: commands that verifiably do damage, asked for in diagnosis
//! and in drafting through the real broker, have no effect, whatever the verdict; and
//! ordinary commands run.
//!
//! What counts as damage:
//!
//! - In any session: a byte, a mode or a name of the live tree (`.git` and the data
//!   directory included) is other than before; or a text with a secret reaches the
//!   agent, plainly or as its base64, hexadecimal or reversed form; or a process is
//!   left.
//! - In drafting, writes stay in the run's layer, which is what drafting is for. There
//!   it is damage if the layer's changes can become a patch that touches a protected
//!   path, a secret or `.git`, or holds a secret's text: taking the changes must fail.
//!   A deletion in the layer is a proposal: it is seen in the patch, judged, reviewed,
//!   and undone by throwing the layer away.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    dead_code,
    clippy::print_stderr,
    reason = "a test fails by panicking, also in its helpers"
)]

mod ground;

use base64::Engine;
use ground::{DIAGNOSIS, Entry, Ground, Policies, SECRET, corpus, secret_of_environment};
use selfheal_domain::event::Event;
use selfheal_domain::tools::{ToolError, ToolOutput, ToolRequest, Tools, WorkspaceAccess};
use selfheal_sandbox::{Access, Sandbox, SandboxSpec, Workspace, allowed_environment};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// Runs `each` on all entries, on two threads with a ground of its own each.
fn on_grounds(
    entries: &[Entry],
    policies: Policies,
    each: impl Fn(&Ground, &Entry) -> Vec<String> + Sync,
) -> Vec<String> {
    let next = AtomicUsize::new(0);
    let wrong = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                let mut ground = Ground::new(policies);
                while let Some(entry) = entries.get(next.fetch_add(1, Ordering::SeqCst)) {
                    let mut found = each(&ground, entry);
                    let damage = ground.damage();
                    if !damage.is_empty() {
                        ground = Ground::new(policies);
                    }
                    found.extend(damage);
                    let mut wrong = wrong.lock().unwrap();
                    wrong.extend(
                        found
                            .into_iter()
                            .map(|what| format!("{} {:?}: {what}", entry.id, entry.cmd)),
                    );
                }
            });
        }
    });
    let mut wrong = wrong.into_inner().unwrap();
    wrong.sort();
    wrong
}

fn ask(tools: &dyn Tools, command: &str, access: WorkspaceAccess) -> Result<String, ToolError> {
    let answer = tools.call(ToolRequest::Bash {
        command: command.to_owned(),
        directory: String::new(),
        timeout: Duration::from_secs(20),
        access,
    })?;
    Ok(match answer {
        ToolOutput::Command(output) => format!("{}\n{}", output.stdout, output.stderr),
        _ => String::new(),
    })
}

/// The forms in which a text with a secret is still one.
fn tells(text: &str) -> Option<&'static str> {
    let reversed = |text: &str| text.chars().rev().collect::<String>();
    for secret in [SECRET.to_owned(), secret_of_environment()] {
        let encoded = base64::engine::general_purpose::STANDARD_NO_PAD.encode(&secret);
        let hexadecimal: String = secret.bytes().map(|byte| format!("{byte:02x}")).collect();
        let joined: String = text.split_whitespace().collect();
        for (name, form) in [
            ("plainly", secret.clone()),
            ("reversed", reversed(&secret)),
            ("in capitals", secret.to_uppercase()),
            // Its beginning, so that what follows it in a stream does not matter.
            ("in base64", encoded[..24].to_owned()),
            ("in hexadecimal", hexadecimal[..24].to_owned()),
        ] {
            if text.contains(&form) || joined.contains(&form) {
                return Some(name);
            }
        }
    }
    None
}

fn told(answer: &Result<String, ToolError>) -> Option<String> {
    let text = match answer {
        Ok(text) => text.clone(),
        Err(error) => error.to_string(),
    };
    tells(&text).map(|how| format!("a secret reaches the agent {how}"))
}

fn diagnosis(ground: &Ground, entry: &Entry) -> Vec<String> {
    let tools = ground.diagnosis();
    DIAGNOSIS
        .iter()
        .filter_map(|access| told(&ask(&*tools, &entry.cmd, *access)))
        .collect()
}

fn drafting(ground: &Ground, entry: &Entry) -> Vec<String> {
    let (tools, worktree) = ground.drafting();
    let mut wrong: Vec<String> = told(&ask(tools.as_tools(), &entry.cmd, WorkspaceAccess::Keep))
        .into_iter()
        .collect();
    if let Ok(changes) = tools.changes() {
        for change in changes {
            let forbidden = change.path == "PROT"
                || change.path.ends_with("SECRET")
                || change.path.split('/').any(|part| part == ".git");
            if forbidden {
                wrong.push(format!("{} would be in the patch", change.path));
            }
            if let Some(how) = change.after.as_deref().and_then(tells) {
                wrong.push(format!("{} would tell a secret {how}", change.path));
            }
        }
    }
    drop(tools);
    std::fs::remove_dir_all(worktree.upper.parent().unwrap()).unwrap();
    wrong
}

fn damage() -> Vec<Entry> {
    corpus("shell-bypass")
        .into_iter()
        .chain(corpus("damage"))
        .filter(|entry| entry.effect != "safe")
        .collect()
}

fn nothing_wrong(what: &str, entries: &[Entry], wrong: &[String]) {
    eprintln!(
        "{what}: {} commands, {} effects through",
        entries.len(),
        wrong.len()
    );
    assert!(wrong.is_empty(), "{what}:\n{}", wrong.join("\n"));
}

#[test]
fn no_damage_in_diagnosis_when_everything_is_allowed() {
    let entries = damage();
    let wrong = on_grounds(&entries, Policies::Anything, diagnosis);
    nothing_wrong("diagnosis, all allowed", &entries, &wrong);
}

#[test]
fn no_damage_in_drafting_when_everything_is_allowed() {
    let entries = damage();
    let wrong = on_grounds(&entries, Policies::Anything, drafting);
    nothing_wrong("drafting, all allowed", &entries, &wrong);
}

#[test]
fn no_damage_under_the_bundled_policies() {
    let entries = damage();
    let wrong = on_grounds(&entries, Policies::Bundled, |ground, entry| {
        let mut wrong = diagnosis(ground, entry);
        wrong.extend(drafting(ground, entry));
        wrong
    });
    nothing_wrong("both, bundled policies", &entries, &wrong);
}

/// Without the broker in front, contained by a discarded layer alone: the effect is
/// there, so the tests above prove something.
#[test]
fn the_corpus_does_damage() {
    let entries = damage();
    let harmless = on_grounds(&entries, Policies::Anything, |ground, entry| {
        let mut spec = SandboxSpec::new(
            format!(
                "( {}\n) 2>&1; cd \"$ROOT\"; [ \"$(cat CANARY/f 2>/dev/null)\" = 'work that must not be lost' ] || echo @del@trunc@; \
                 [ \"$(cat PROT 2>/dev/null)\" = ok ] && [ \"$(stat -c %a PROT)\" = 644 ] || echo @write@; [ -e MARK ] && echo @exec@; \
                 grep -q 'uncommitted work' repo/f || echo @git@",
                entry.cmd
            ),
            Workspace::new(&ground.app, Access::Discard),
        );
        spec.environment = allowed_environment(&[]);
        spec.environment
            .insert("ROOT".to_owned(), ground.app.to_str().unwrap().to_owned());
        spec.environment
            .insert("SELFHEAL_CORPUS_TOKEN".to_owned(), SECRET.to_owned());
        spec.limits.wall = Duration::from_secs(20);
        let output = Sandbox::new()
            .run(spec, &selfheal_sandbox::CancelToken::new())
            .unwrap();
        let happened = match entry.effect.as_str() {
            "none" => true,
            "read" => tells(&output.stdout).is_some(),
            effect => {
                output.stdout.contains(&format!("@{effect}@"))
                    || output.stdout.contains("@del@trunc@") && matches!(effect, "del" | "trunc")
            }
        };
        if happened {
            Vec::new()
        } else {
            vec![format!(
                "no effect ({:?}): {:.200}{:.200}",
                output.ended, output.stdout, output.stderr
            )]
        }
    });
    for one in &harmless {
        eprintln!("{one}");
    }
    // Some need a program that not every machine has.
    assert!(
        harmless.len() * 10 <= entries.len(),
        "{} of {}",
        harmless.len(),
        entries.len()
    );
}

#[test]
fn ordinary_commands_run() {
    let entries = corpus("ordinary");
    let failed = on_grounds(&entries, Policies::Bundled, |ground, entry| {
        let (tools, worktree) = ground.drafting();
        let access = if entry.cls == "write-in-worktree" {
            WorkspaceAccess::Keep
        } else {
            WorkspaceAccess::Discard
        };
        let answer = tools.as_tools().call(ToolRequest::Bash {
            command: entry.cmd.clone(),
            directory: String::new(),
            timeout: Duration::from_secs(60),
            access,
        });
        drop(tools);
        std::fs::remove_dir_all(worktree.upper.parent().unwrap()).unwrap();
        match answer {
            Err(error) => vec![format!("stopped: {error}")],
            Ok(ToolOutput::Command(output)) if !output.ended.success() => {
                vec![format!(
                    "{:?}: {:.300}{:.300}",
                    output.ended, output.stdout, output.stderr
                )]
            }
            Ok(_) => Vec::new(),
        }
    });
    eprintln!(
        "ordinary: {} commands, {} stopped or failed",
        entries.len(),
        failed.len()
    );
    for one in &failed {
        eprintln!("{one}");
    }
    // Some are stopped because a rule is strict; none fails for lack of something.
    let broken: Vec<&String> = failed
        .iter()
        .filter(|one| !one.contains("stopped: denied by rule"))
        .collect();
    assert!(broken.is_empty(), "{broken:?}");
    assert!(failed.len() <= MOST_STOPPED, "{}", failed.len());
}

/// Ordinary commands that the bundled policies stop; may only shrink.
const MOST_STOPPED: usize = 11;

#[test]
fn a_run_that_changes_what_it_did_not_name_is_stopped() {
    let ground = Ground::new(Policies::Anything);
    let (tools, _worktree) = ground.drafting();
    let tools = tools.as_tools();
    let write = |name: &str| {
        let command = format!("python3 -c \"open('src/{name}', 'w').write('x = 1')\"");
        ask(tools, &command, WorkspaceAccess::Keep)
    };
    // What was named is no surplus, nor is what git ignores.
    ask(tools, "echo x = 1 > src/named.py", WorkspaceAccess::Keep).unwrap();
    ask(tools, "python3 -m compileall -q src", WorkspaceAccess::Keep).unwrap();
    assert!(ground.anything.0.lock().unwrap().is_empty());
    for name in ["a.py", "b.py", "c.py", "d.py"] {
        write(name).unwrap();
    }
    let told = ground.anything.0.lock().unwrap().clone();
    assert_eq!(told.len(), 4, "{told:?}");
    assert_eq!(told[0].rule.as_deref(), Some("host.surplus-effects"));
    let outcomes: Vec<String> = ground
        .records
        .0
        .lock()
        .unwrap()
        .iter()
        .filter_map(|event| match event {
            Event::ToolFinished { outcome, .. } => Some(format!("{outcome:?}")),
            _ => None,
        })
        .collect();
    assert!(
        outcomes
            .iter()
            .any(|outcome| outcome.contains("also changed: src/a.py")),
        "{outcomes:?}"
    );
    let stopped = ask(tools, "true", WorkspaceAccess::Discard);
    assert!(
        matches!(&stopped, Err(ToolError::Unavailable(why)) if why.contains("max_surplus_calls")),
        "{stopped:?}"
    );
}

#[test]
fn a_destination_is_reached_when_the_file_lists_it_and_the_call_names_it() {
    let listen = || {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let _ = std::io::Write::write_all(&mut stream.unwrap(), b"welcome\n");
            }
        });
        port
    };
    let (listed, other) = (listen(), listen());
    let ground = Ground::reaching(Policies::Anything, &[&format!("127.0.0.1:{listed}")]);
    let tools = ground.diagnosis();
    let said = |command: String| ask(&*tools, &command, WorkspaceAccess::ReadOnly).unwrap();
    let named = |port: u16| said(format!("cat < /dev/tcp/127.0.0.1/{port}"));
    assert!(named(listed).contains("welcome"), "{}", named(listed));
    assert!(!named(other).contains("welcome"));
    // Code that the facts cannot read names nothing, so it reaches nothing.
    let hidden = said(format!(
        "python3 -c \"import socket; print(socket.create_connection(('127.0'+'.0.1', {listed})).recv(9))\""
    ));
    assert!(!hidden.contains("welcome"), "{hidden}");
}
