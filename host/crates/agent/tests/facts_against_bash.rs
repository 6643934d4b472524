//! Facts beside the real thing: commands made up by a grammar are run by bash in the
//! sandbox, where the programs they start are stubs that write down their names. What
//! was started must stand in the facts, unless the facts say that they are not sure.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that cannot set itself up should stop where it is"
)]

use selfheal_agent::{FactPreview, PreviewConfig};
use selfheal_domain::policy::ToolCallFacts;
use selfheal_domain::tools::{ToolRequest, WorkspaceAccess};
use selfheal_sandbox::{Access, CancelToken, Sandbox, SandboxSpec, Workspace};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

/// Programs that no machine has.
const STUBS: [&str; 4] = ["alpha", "bravo", "carol", "delta"];

/// Commands made up and run.
const COMMANDS: u64 = 600;

/// A small generator of pseudo-random numbers (xorshift), so that a failure can be
/// made again.
struct Dice(u64);

impl Dice {
    fn below(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % sides as u64).expect("small")
    }

    fn of<'a>(&mut self, texts: &[&'a str]) -> &'a str {
        texts[self.below(texts.len())]
    }

    fn program(&mut self) -> String {
        let name = self.of(&STUBS);
        let (first, rest) = name.split_at(2);
        match self.below(12) {
            0 => format!("'{name}'"),
            1 => format!("\"{name}\""),
            2 => format!("{first}\\{rest}"),
            3 => format!("{first}\"\"{rest}"),
            4 => format!("$'{first}'{rest}"),
            5 => format!("$(echo {name})"),
            6 => format!("{first}${{nothing}}{rest}"),
            7 => format!("{{{name},x}}"),
            _ => name.to_owned(),
        }
    }

    fn simple(&mut self) -> String {
        let program = self.program();
        match self.below(9) {
            0 => format!("A=1 {program} x"),
            1 => format!("{program} x > /dev/null"),
            2 => format!("</dev/null {program}"),
            3 => format!("P={}; $P y", self.of(&STUBS)),
            4 => format!("a=({} z); \"${{a[@]}}\"", self.of(&STUBS)),
            5 => format!("{program} \"$(echo {})\"", self.of(&STUBS)),
            _ => format!("{program} --flag 'a b'"),
        }
    }

    fn quoted(&mut self, depth: u32) -> String {
        format!("'{}'", self.command(depth).replace('\'', "'\\''"))
    }

    fn command(&mut self, depth: u32) -> String {
        if depth == 0 {
            return self.simple();
        }
        let deeper = depth - 1;
        match self.below(36) {
            0 => format!("{}; {}", self.command(deeper), self.command(deeper)),
            1 => format!("{} && {}", self.command(deeper), self.command(deeper)),
            2 => format!("{} || {}", self.command(deeper), self.command(deeper)),
            3 => format!("{} | {}", self.command(deeper), self.command(deeper)),
            4 => format!("( {} )", self.command(deeper)),
            5 => format!("{{ {}; }}", self.command(deeper)),
            6 => format!(
                "if {}; then {}; fi",
                self.command(deeper),
                self.command(deeper)
            ),
            7 => format!("for i in 1; do {}; done", self.command(deeper)),
            8 => format!("while {}; do break; done", self.command(deeper)),
            9 => format!("case x in x) {};; esac", self.command(deeper)),
            10 => format!("f() {{ {}; }}; f", self.command(deeper)),
            11 => format!("echo \"$({})\"", self.command(deeper)),
            12 => format!("echo `{}`", self.simple().replace(['`', '\\', '$'], "")),
            13 => format!("cat <({})", self.command(deeper)),
            14 => format!("cat <<EOF\n$({})\nEOF\n", self.command(deeper)),
            15 => format!("env A=1 {}", self.simple()),
            16 => format!("timeout 5 {}", self.simple()),
            17 => format!("nice -n 1 {}", self.program()),
            18 => format!("command {}", self.program()),
            19 => format!("exec {}", self.program()),
            20 => format!("sh -c {}", self.quoted(deeper)),
            21 => format!("bash -c {}", self.quoted(deeper)),
            22 => format!("eval {}", self.quoted(deeper)),
            23 => format!("echo {} | sh", self.quoted(deeper)),
            24 => format!("bash <<< {}", self.quoted(deeper)),
            25 => format!("echo x | xargs {}", self.program()),
            26 => format!("find . -maxdepth 0 -exec {} \\;", self.program()),
            27 => format!("! {}", self.command(deeper)),
            28 => format!("time {}", self.command(deeper)),
            29 => format!("[[ -n $({}) ]]", self.command(deeper)),
            30 => format!("x=${{y:-$({})}}", self.command(deeper)),
            31 => format!("trap {} EXIT", self.quoted(deeper)),
            32 => format!("{} & wait", self.command(deeper)),
            33 => format!(": $(( 1 + $({} | wc -l) ))", self.command(deeper)),
            34 => format!("echo {} > /tmp/s; . /tmp/s", self.quoted(deeper)),
            _ => self.simple(),
        }
    }
}

/// Facts that vouch for being complete.
fn sure(facts: &ToolCallFacts) -> bool {
    facts.parsed && facts.commands.iter().all(|command| command.certain)
}

fn listed(facts: &ToolCallFacts) -> BTreeSet<&str> {
    facts
        .commands
        .iter()
        .map(|command| {
            let text = command.program.text.as_str();
            text.rsplit('/').next().unwrap_or(text)
        })
        .collect()
}

#[test]
fn what_bash_starts_is_listed_or_uncertain() {
    let top = tempfile::tempdir().expect("temporary directory");
    let base = top.path().canonicalize().expect("canonical");
    let (tree, bin) = (base.join("tree"), base.join("tools/bin"));
    fs::create_dir_all(tree.join("commands")).expect("directory");
    fs::create_dir_all(&bin).expect("directory");
    for name in STUBS {
        let stub = bin.join(name);
        fs::write(&stub, format!("#!/bin/sh\necho {name} >> \"$STARTED\"\n")).expect("stub");
        fs::set_permissions(&stub, fs::Permissions::from_mode(0o755)).expect("mode");
    }
    let path = format!("{}:/usr/bin:/bin", bin.display());
    let preview = FactPreview::new(PreviewConfig {
        root: tree.clone(),
        environment_variables: BTreeMap::from([("PATH".to_owned(), path.clone())]),
        secret_paths: Vec::new(),
        protected_paths: Vec::new(),
        tracked: BTreeSet::new(),
    })
    .expect("preview");
    let mut commands = Vec::new();
    for seed in 0..COMMANDS {
        let mut dice = Dice(0x9E37_79B9_7F4A_7C15 ^ (seed + 1).wrapping_mul(0xD129_0FB3));
        let command = dice.command(3);
        fs::write(tree.join(format!("commands/{seed:04}")), &command).expect("command");
        commands.push(command);
    }
    // A list for each command: what one leaves running must not show in the next.
    let script = "for file in commands/*; do export STARTED=/tmp/started-${file#commands/}; : > $STARTED; \
                  ( timeout 10 bash -c \"$(cat \"$file\")\" ) > /dev/null 2>&1 < /dev/null; \
                  echo \"${file#commands/} $(sort -u $STARTED | tr '\\n' ' ')\"; done";
    let mut spec = SandboxSpec::new(script, Workspace::new(&tree, Access::ReadOnly));
    spec.environment.insert("PATH".to_owned(), path);
    spec.visible = vec![base.join("tools")];
    spec.limits.wall = Duration::from_secs(240);
    spec.limits.cpu = Duration::from_secs(240);
    let output = Sandbox::new()
        .run(spec, &CancelToken::new())
        .expect("the sandbox runs");
    assert!(output.ended.success(), "{output:?}");
    let (mut ran, mut vouched) = (0, 0);
    for line in output.stdout.lines() {
        let mut words = line.split(' ').filter(|word| !word.is_empty());
        let seed: usize = words
            .next()
            .and_then(|word| word.parse().ok())
            .expect("number");
        let started: BTreeSet<&str> = words.collect();
        let command = &commands[seed];
        let facts = preview.facts(&ToolRequest::Bash {
            command: command.clone(),
            directory: String::new(),
            timeout: Duration::from_secs(10),
            access: WorkspaceAccess::ReadOnly,
        });
        ran += usize::from(!started.is_empty());
        if sure(&facts) {
            vouched += 1;
            let listed = listed(&facts);
            let missing: Vec<_> = started.difference(&listed).collect();
            assert!(
                missing.is_empty(),
                "bash started {missing:?}, which the facts of {command:?} do not list: {:?}",
                facts.commands
            );
        }
    }
    // The test proves nothing if nothing runs, or if nothing is ever certain.
    assert!(ran > 300, "{ran} commands started something");
    assert!(vouched > 60, "the facts of {vouched} commands are certain");
}
