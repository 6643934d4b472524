//! Scripts into components. The componentizers come from their registries in
//! versions that are pinned with their digests, once per user, into a directory of
//! their own: nothing of the machine's npm or Python is changed.

use crate::error::{BuildError, on_file};
use crate::process::{run_aside, shown, tool, which};
use crate::{Say, cache_directory};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Componentizer of JavaScript, with its version.
pub const QJS: &str = "componentize-qjs-0.4.5";
/// Componentizer of Python, with its version.
pub const PY: &str = "componentize-py-0.25.1";
const PACKAGE: &str = include_str!("../componentizers/package.json");
const LOCK: &str = include_str!("../componentizers/package-lock.json");
const REQUIREMENTS: &str = include_str!("../componentizers/requirements.txt");

/// A script that exports one world of the contract.
#[derive(Clone, Copy, Debug)]
pub struct Script<'a> {
    /// Directory of the project; imports are resolved in it.
    pub directory: &'a Path,
    /// The script, relative to `directory`.
    pub source: &'a str,
    /// Directory of the interface descriptions.
    pub wit: &'a Path,
    /// World, as in `guardrail`.
    pub world: &'a str,
}

/// Makes a JavaScript module a component that imports `host` only.
///
/// # Errors
/// The componentizer cannot be installed or refuses the script.
pub fn javascript(script: Script<'_>, say: Say<'_>) -> Result<Vec<u8>, BuildError> {
    let node = needed("node", "nodejs")?;
    let home = installed(QJS, say, |place| {
        let npm = needed("npm", "npm")?;
        write(&place.join("package.json"), PACKAGE)?;
        write(&place.join("package-lock.json"), LOCK)?;
        let mut command = tool(npm);
        command
            .args([
                "install",
                "--ignore-scripts",
                "--no-audit",
                "--no-fund",
                "--loglevel=error",
            ])
            .current_dir(place);
        from_registry(command, QJS, "the npm registry")
    })?;
    into_component(script, |output| {
        let mut command = tool(node);
        command
            .arg(home.join("node_modules/componentize-qjs/bin/componentize-qjs"))
            // WASI stubbed: a module has no clock, files or randomness. Synchronous: a
            // decision is one call.
            .args(["--stub-wasi", "--sync", "--module-root", ".", "--js"])
            .arg(script.source)
            .arg("--wit")
            .arg(script.wit)
            .args(["--world", script.world, "--output"])
            .arg(output);
        command
    })
}

/// Makes a Python module a component that imports `host` only.
///
/// # Errors
/// The componentizer cannot be installed or refuses the script.
pub fn python(script: Script<'_>, say: Say<'_>) -> Result<Vec<u8>, BuildError> {
    let python = needed("python3", "python3")?;
    let home = installed(PY, say, |place| {
        let requirements = place.join("requirements.txt");
        write(&requirements, REQUIREMENTS)?;
        let mut command = tool(&python);
        command
            .args([
                "-m",
                "pip",
                "install",
                "--quiet",
                "--disable-pip-version-check",
                "--no-input",
                "--no-deps",
                "--only-binary=:all:",
                "--require-hashes",
                "--root-user-action=ignore",
                "--requirement",
            ])
            .arg(&requirements)
            .arg("--target")
            .arg(place.join("lib"));
        from_registry(command, PY, "PyPI")
    })?;
    let module = script.source.trim_end_matches(".py").replace('/', ".");
    into_component(script, |output| {
        let mut command = tool(&python);
        command
            .args([
                "-c",
                "import sys; from componentize_py import script; sys.exit(script())",
            ])
            .env("PYTHONPATH", home.join("lib"))
            .env_remove("VIRTUAL_ENV")
            .arg("--quiet")
            .arg("--wit-path")
            .arg(script.wit)
            .args([
                "--world",
                script.world,
                "componentize",
                "--stub-wasi",
                "--python-path",
                ".",
            ])
            .arg(&module)
            .arg("--output")
            .arg(output);
        command
    })
}

fn into_component(
    script: Script<'_>,
    command: impl FnOnce(&Path) -> Command,
) -> Result<Vec<u8>, BuildError> {
    let output = script
        .directory
        .join(format!(".component-{}.wasm", std::process::id()));
    let ran = run_aside(command(&output).current_dir(script.directory));
    let built = ran.and_then(|()| fs::read(&output).map_err(on_file("read", &output)));
    // It may never have been made.
    let _ = fs::remove_file(&output);
    built
}

fn needed(program: &str, package: &str) -> Result<PathBuf, BuildError> {
    which(program).ok_or_else(|| {
        BuildError::Missing(format!(
            "{program} is not on the path; install it, for instance with `apt-get install {package}`"
        ))
    })
}

/// Where a componentizer is installed, once it is. Built beside and renamed, so that
/// one that was interrupted does not count.
fn installed(
    name: &str,
    say: Say<'_>,
    install: impl FnOnce(&Path) -> Result<(), BuildError>,
) -> Result<PathBuf, BuildError> {
    let place = cache_directory()?.join("componentizers").join(name);
    if place.is_dir() {
        return Ok(place);
    }
    say(&format!("installing {name} into {}", place.display()));
    let fresh = place.with_extension(format!("{}.new", std::process::id()));
    if fresh.exists() {
        fs::remove_dir_all(&fresh).map_err(on_file("remove", &fresh))?;
    }
    fs::create_dir_all(&fresh).map_err(on_file("make", &fresh))?;
    let done = install(&fresh).and_then(|()| match fs::rename(&fresh, &place) {
        // Somebody else was faster, which is as good.
        Err(_) if place.is_dir() => Ok(()),
        renamed => renamed.map_err(on_file("make", &place)),
    });
    if fresh.exists() {
        fs::remove_dir_all(&fresh).map_err(on_file("remove", &fresh))?;
    }
    done.map(|()| place)
}

fn from_registry(
    mut command: Command,
    name: &str,
    registry: &'static str,
) -> Result<(), BuildError> {
    run_aside(&mut command).map_err(|source| BuildError::Registry {
        tool: name.to_owned(),
        registry,
        command: shown(&command),
        source: Box::new(source),
    })
}

fn write(path: &Path, text: &str) -> Result<(), BuildError> {
    fs::write(path, text).map_err(on_file("write", path))
}
