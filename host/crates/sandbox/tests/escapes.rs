//! Real attempts to get out of the sandbox, and what a command may rely on.

use selfheal_domain::tools::{CommandOutput, Ended};
use selfheal_sandbox::{Access, CancelToken, Sandbox, SandboxSpec, Workspace, allowed_environment};
use std::path::{Path, PathBuf};
use std::time::Duration;

struct Tree {
    // Held for its removal at the end.
    _place: tempfile::TempDir,
    root: PathBuf,
    base: PathBuf,
}

impl Tree {
    fn new() -> Self {
        let place = tempfile::tempdir().unwrap();
        let base = place.path().canonicalize().unwrap();
        let root = base.join("app");
        std::fs::create_dir_all(root.join(".git")).unwrap();
        std::fs::create_dir_all(root.join("src/deep")).unwrap();
        std::fs::write(root.join(".git/config"), "[core]\n").unwrap();
        std::fs::write(root.join("src/a.py"), "print(1)\n").unwrap();
        std::fs::write(root.join("src/deep/b.py"), "print(2)\n").unwrap();
        std::fs::write(root.join("README"), "read me\n").unwrap();
        Self {
            _place: place,
            root,
            base,
        }
    }

    fn spec(&self, access: Access, command: &str) -> SandboxSpec {
        let mut spec = SandboxSpec::new(command, Workspace::new(&self.root, access));
        spec.environment = allowed_environment(&[]);
        spec.masked = vec![self.root.join(".git")];
        spec.limits.wall = Duration::from_secs(20);
        spec
    }

    fn run(&self, access: Access, command: &str) -> CommandOutput {
        run(self.spec(access, command))
    }
}

fn run(spec: SandboxSpec) -> CommandOutput {
    Sandbox::new().run(spec, &CancelToken::new()).unwrap()
}

#[test]
fn it_runs() {
    let tree = Tree::new();
    let output = tree.run(Access::Discard, "pwd; cat README; echo x > new && cat new; id -u; ls -la / /dev /proc | head -80; mount; cat /proc/self/status | grep -E 'Cap|Sec|NoNew'");
    eprintln!("{output:#?}\n{}\n{}", output.stdout, output.stderr);
    assert_eq!(output.ended, Ended::Exit(0));
    let _ = (&tree.base, Path::new("/"));
}
