//! A small live tree to attack, and ways to look at what is left.

use selfheal_domain::tools::CommandOutput;
use selfheal_sandbox::{Access, CancelToken, Sandbox, SandboxSpec, Workspace, allowed_environment};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

pub(crate) struct Tree {
    // Held for its removal at the end.
    _place: tempfile::TempDir,
    pub(crate) root: PathBuf,
    pub(crate) base: PathBuf,
    before: RefCell<BTreeMap<PathBuf, Vec<u8>>>,
}

pub(crate) fn run(spec: SandboxSpec) -> CommandOutput {
    Sandbox::new().run(spec, &CancelToken::new()).unwrap()
}

#[allow(dead_code, reason = "each test binary uses its part")]
impl Tree {
    pub(crate) fn new() -> Self {
        let place = tempfile::tempdir().unwrap();
        Self::at(place)
    }

    pub(crate) fn at(place: tempfile::TempDir) -> Self {
        let base = place.path().canonicalize().unwrap();
        let root = base.join("app");
        std::fs::create_dir_all(root.join(".git")).unwrap();
        std::fs::create_dir_all(root.join("src/deep")).unwrap();
        std::fs::write(root.join(".git/config"), "[core]\n").unwrap();
        std::fs::write(root.join("src/a.py"), "print(1)\n").unwrap();
        std::fs::write(root.join("src/deep/b.py"), "print(2)\n").unwrap();
        std::fs::write(root.join("README"), "read me\n").unwrap();
        let tree = Self {
            _place: place,
            root,
            base,
            before: RefCell::default(),
        };
        tree.remember();
        tree
    }

    /// A string that only commands of this tree have in their environment.
    pub(crate) fn marker(&self) -> &str {
        self.base.file_name().unwrap().to_str().unwrap()
    }

    pub(crate) fn spec(&self, access: Access, command: &str) -> SandboxSpec {
        let mut spec = SandboxSpec::new(command, Workspace::new(&self.root, access));
        spec.environment = allowed_environment(&[]);
        spec.environment
            .insert("TREE_MARKER".into(), self.marker().into());
        spec.masked = vec![self.root.join(".git")];
        spec.limits.wall = Duration::from_secs(20);
        spec
    }

    pub(crate) fn python_spec(&self, access: Access, script: &str) -> SandboxSpec {
        let mut spec = self.spec(access, "exec python3 -c \"$SCRIPT\"");
        spec.environment.insert("SCRIPT".into(), script.into());
        spec
    }

    /// Runs and checks that the live tree is untouched.
    pub(crate) fn run(&self, access: Access, command: &str) -> CommandOutput {
        let output = run(self.spec(access, command));
        self.assert_untouched();
        output
    }

    pub(crate) fn python(&self, access: Access, script: &str) -> CommandOutput {
        let output = run(self.python_spec(access, script));
        self.assert_untouched();
        output
    }

    pub(crate) fn layer(&self) -> (PathBuf, PathBuf) {
        let (upper, work) = (self.base.join("upper"), self.base.join("work"));
        std::fs::create_dir_all(&upper).unwrap();
        std::fs::create_dir_all(&work).unwrap();
        (upper, work)
    }

    pub(crate) fn remember(&self) {
        *self.before.borrow_mut() = content(&self.root);
    }

    pub(crate) fn assert_untouched(&self) {
        assert_eq!(*self.before.borrow(), content(&self.root));
    }

    /// Living processes anywhere on the host that came from this tree's commands.
    pub(crate) fn processes_inside(&self) -> usize {
        host_processes()
            .filter(|process| {
                std::fs::read(process.join("environ"))
                    .is_ok_and(|environ| find(&environ, self.marker().as_bytes()))
            })
            .count()
    }

    pub(crate) fn wait_for_processes(&self, command_line: &str) {
        let deadline = Instant::now() + Duration::from_secs(10);
        let wanted = command_line.replace(' ', "\0");
        while !host_processes().any(|process| {
            std::fs::read(process.join("cmdline")).is_ok_and(|line| find(&line, wanted.as_bytes()))
        }) {
            assert!(Instant::now() < deadline, "{command_line} never started");
            std::thread::yield_now();
        }
    }
}

fn find(haystack: &[u8], needle: &[u8]) -> bool {
    haystack
        .windows(needle.len())
        .any(|window| window == needle)
}

fn host_processes() -> impl Iterator<Item = PathBuf> {
    std::fs::read_dir("/proc")
        .unwrap()
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| {
            path.file_name()
                .and_then(|name| name.to_str())
                .is_some_and(|name| name.parse::<u32>().is_ok())
        })
}

fn content(directory: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in std::fs::read_dir(directory).unwrap().flatten() {
        let path = entry.path();
        let kind = entry.file_type().unwrap();
        if kind.is_dir() {
            found.insert(path.clone(), Vec::new());
            found.extend(content(&path));
        } else if kind.is_symlink() {
            let target = std::fs::read_link(&path).unwrap();
            found.insert(path, target.into_os_string().into_encoded_bytes());
        } else if kind.is_file() {
            let bytes = std::fs::read(&path).unwrap();
            found.insert(path, bytes);
        }
    }
    found
}
