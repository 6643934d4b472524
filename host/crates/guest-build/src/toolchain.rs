//! A compiler for `wasm32-unknown-unknown`, by the first way that works: the
//! active toolchain has the target; a private standard library built earlier; the
//! compiler and library sources that Debian ships. rustup is never touched.

use crate::Say;
use crate::error::{BuildError, on_file};
use crate::process::{attempt, cargo, output, run_aside, tool, which};
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The guests' target.
pub const TARGET: &str = "wasm32-unknown-unknown";
/// Oldest compiler that builds this workspace, as (major, minor).
const OLDEST: (u32, u32) = (1, 95);
/// What step 3 installs.
const PACKAGES: [&str; 3] = ["rustc-web", "rust-web-src", "libstd-rust-web-dev"];

/// How the guests get compiled.
#[derive(Clone, Debug)]
pub struct Toolchain {
    /// For people: which way it took.
    pub way: String,
    rustc: Option<PathBuf>,
    sysroot: Option<PathBuf>,
    linker: Option<PathBuf>,
}

impl Toolchain {
    /// `cargo build` in `root` for the guests' target with this compiler.
    pub(crate) fn cargo_build(&self, root: &Path) -> Command {
        let mut flags: Vec<String> = vec![
            "-Ctarget-feature=+simd128".into(),
            "-Clink-arg=-zstack-size=131072".into(),
            format!("--remap-path-prefix={}=/selfheal", root.display()),
        ];
        if let Some(home) = cargo_home() {
            flags.push(format!("--remap-path-prefix={}=/cargo", home.display()));
        }
        if let Some(sysroot) = &self.sysroot {
            flags.push(format!("--sysroot={}", sysroot.display()));
        }
        let mut command = tool(cargo());
        command
            .args(["build", "--target", TARGET])
            .current_dir(root);
        command.env("CARGO_ENCODED_RUSTFLAGS", flags.join("\u{1f}"));
        command.env_remove("RUSTFLAGS");
        command
            .env_remove("RUSTC_WRAPPER")
            .env_remove("RUSTC_WORKSPACE_WRAPPER");
        if let Some(rustc) = &self.rustc {
            command.env("RUSTC", rustc);
        }
        if let Some(linker) = &self.linker {
            command.env("CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER", linker);
        }
        command
    }
}

/// Takes the first way that works.
///
/// # Errors
/// There is none; the text says how to get one.
pub fn find(root: &Path, say: Say<'_>) -> Result<Toolchain, BuildError> {
    let active = active_rustc();
    if has_target(&active, root) {
        let version = attempt(tool(&active).arg("--version").current_dir(root)).unwrap_or_default();
        return Ok(Toolchain {
            way: format!("the active toolchain has {TARGET} ({})", version.trim()),
            rustc: None,
            sysroot: None,
            linker: None,
        });
    }
    say(&format!("way 1 (active toolchain): it has no {TARGET}"));
    let linker = linker(&active, root);
    match debian_rustc() {
        Some(rustc) => from_compiler(&rustc, linker, say),
        None => {
            install(say)?;
            let rustc = debian_rustc().ok_or_else(|| {
                missing("rustc-web is installed, but its compiler cannot be found or is too old")
            })?;
            from_compiler(&rustc, linker, say)
        }
    }
}

/// Ways 2 and 3, which differ in whether the private standard library is there.
fn from_compiler(
    rustc: &Path,
    linker: Option<PathBuf>,
    say: Say<'_>,
) -> Result<Toolchain, BuildError> {
    let Some(linker) = linker else {
        return Err(missing(
            "no linker for WebAssembly: neither the active toolchain's rust-lld nor wasm-ld was found; \
             install one, for instance with `apt-get install lld`",
        ));
    };
    let version = output(tool(rustc).arg("-vV"))?;
    let release = version.lines().next().unwrap_or_default().to_owned();
    let sysroot = sysroot_directory(&version)?;
    let toolchain = |way: String| Toolchain {
        way,
        rustc: Some(rustc.to_owned()),
        sysroot: Some(sysroot.clone()),
        linker: Some(linker.clone()),
    };
    if fs::read_to_string(sysroot.join("rustc-version")).is_ok_and(|built| built == version) {
        return Ok(toolchain(format!(
            "private standard library in {} ({release})",
            sysroot.display()
        )));
    }
    say(&format!(
        "way 2 (private standard library): none for {release}"
    ));
    build_std(rustc, &linker, &sysroot, &version, say)?;
    Ok(toolchain(format!(
        "standard library built from Debian's sources ({release})"
    )))
}

fn active_rustc() -> PathBuf {
    std::env::var_os("RUSTC").map_or_else(|| "rustc".into(), PathBuf::from)
}

/// rustup's proxies choose by the directory they run in.
fn has_target(rustc: &Path, root: &Path) -> bool {
    let directory = attempt(
        tool(rustc)
            .args(["--print", "target-libdir", "--target", TARGET])
            .current_dir(root),
    );
    let Some(entries) = directory.and_then(|directory| fs::read_dir(directory.trim()).ok()) else {
        return false;
    };
    entries
        .flatten()
        .any(|entry| entry.file_name().to_string_lossy().starts_with("libcore-"))
}

/// rustup's rust-lld, or an installed wasm-ld.
fn linker(active: &Path, root: &Path) -> Option<PathBuf> {
    let ask = |arguments: &[&str]| attempt(tool(active).args(arguments).current_dir(root));
    let sysroot = ask(&["--print", "sysroot"]);
    let host = ask(&["-vV"]);
    let host = host
        .as_deref()
        .and_then(|text| text.lines().find_map(|line| line.strip_prefix("host: ")));
    let bundled = sysroot.zip(host).map(|(sysroot, host)| {
        Path::new(sysroot.trim())
            .join("lib/rustlib")
            .join(host)
            .join("bin/rust-lld")
    });
    bundled
        .filter(|file| file.is_file())
        .or_else(|| which("wasm-ld"))
        .or_else(|| which("rust-lld"))
}

/// The compiler of Debian's rustc-web, when installed with its sources and new enough.
fn debian_rustc() -> Option<PathBuf> {
    for package in PACKAGES {
        attempt(tool("dpkg-query").args(["-W", "-f=${Status}", package]))
            .filter(|status| status.contains("install ok installed"))?;
    }
    let files = attempt(tool("dpkg-query").args(["-L", "rustc-web"]))?;
    let rustc = files
        .lines()
        .map(Path::new)
        .find(|file| file.ends_with("bin/rustc"))?;
    let version = attempt(tool(rustc).arg("--version"))?;
    (release(&version)? >= OLDEST).then(|| rustc.to_owned())
}

/// `(1, 96)` in `rustc 1.96.0 (…)` or `1.96.0+dfsg1-1`.
fn release(text: &str) -> Option<(u32, u32)> {
    let number = text
        .split_whitespace()
        .find(|word| word.starts_with(|c: char| c.is_ascii_digit()))?;
    let mut parts = number.split('.');
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

/// Way 3's packages: installed where we may, else the command to run.
fn install(say: Say<'_>) -> Result<(), BuildError> {
    let by_hand = format!(
        "apt-get update && apt-get install -y --no-install-recommends {}",
        PACKAGES.join(" ")
    );
    let other_ways = format!(
        "Any of these makes it possible to build the policy modules:\n  \
         - a toolchain with the target, for instance `rustup target add {TARGET}`\n  \
         - on Debian 12 with its security suite: {by_hand}"
    );
    if which("apt-get").is_none() || which("dpkg-query").is_none() {
        return Err(missing(format!("no compiler for {TARGET}.\n{other_ways}")));
    }
    if !is_root() {
        return Err(missing(format!(
            "no compiler for {TARGET}, and packages can only be installed as root.\n{other_ways}"
        )));
    }
    if candidate().is_none_or(|version| version < OLDEST) {
        say("way 3 (Debian's compiler): updating the package lists");
        run_aside(tool("apt-get").args(["update", "-qq"]))?;
    }
    match candidate() {
        Some(version) if version >= OLDEST => {}
        Some((major, minor)) => {
            return Err(missing(format!(
                "Debian offers rustc-web {major}.{minor}, and {}.{} is the oldest that works: is the \
                 security suite among the package sources?\n{other_ways}",
                OLDEST.0, OLDEST.1
            )));
        }
        None => {
            return Err(missing(format!(
                "no compiler for {TARGET}, and no package rustc-web.\n{other_ways}"
            )));
        }
    }
    say(&format!(
        "way 3 (Debian's compiler): installing {}",
        PACKAGES.join(", ")
    ));
    run_aside(
        tool("apt-get")
            .args([
                "install",
                "-y",
                "-qq",
                "--no-install-recommends",
                "-o=Dpkg::Use-Pty=0",
            ])
            .args(PACKAGES)
            .env("DEBIAN_FRONTEND", "noninteractive"),
    )
}

/// The version of rustc-web that apt would install.
fn candidate() -> Option<(u32, u32)> {
    let policy = attempt(tool("apt-cache").args(["policy", "rustc-web"]))?;
    release(
        policy
            .lines()
            .find_map(|line| line.trim().strip_prefix("Candidate:"))?,
    )
}

fn is_root() -> bool {
    attempt(tool("id").arg("-u")).is_some_and(|id| id.trim() == "0")
}

fn cargo_home() -> Option<PathBuf> {
    std::env::var_os("CARGO_HOME")
        .map(PathBuf::from)
        .or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cargo")))
}

/// Outside any checkout, so that other ones and a `cargo clean` find it again.
fn sysroot_directory(version: &str) -> Result<PathBuf, BuildError> {
    let release = version.split_whitespace().nth(1).unwrap_or("unknown");
    Ok(crate::cache_directory()?
        .join("guest-sysroot")
        .join(release))
}

fn missing(text: impl Into<String>) -> BuildError {
    BuildError::Missing(text.into())
}

/// Compiles the standard library once, from an empty crate, and keeps its parts.
fn build_std(
    rustc: &Path,
    linker: &Path,
    sysroot: &Path,
    version: &str,
    say: Say<'_>,
) -> Result<(), BuildError> {
    say("way 3 (Debian's compiler): building its standard library, about a minute");
    let work = sysroot.with_extension("building");
    if work.exists() {
        fs::remove_dir_all(&work).map_err(on_file("remove", &work))?;
    }
    let write = |name: &str, text: &str| {
        let path = work.join(name);
        fs::write(&path, text).map_err(on_file("write", path))
    };
    fs::create_dir_all(work.join("src")).map_err(on_file("make", &work))?;
    // Bitcode stays in, so that guests can be optimised as a whole.
    let manifest = "[package]\nname = \"empty\"\nversion = \"0.0.0\"\nedition = \"2024\"\n\n\
                    [workspace]\n\n[profile.release]\npanic = \"abort\"\nopt-level = 3\n";
    write("Cargo.toml", manifest)?;
    write("src/lib.rs", "")?;
    run_aside(
        tool(cargo())
            .args([
                "build",
                "--quiet",
                "--release",
                "--target",
                TARGET,
                "-Zbuild-std=std,panic_abort",
            ])
            .current_dir(&work)
            .env("RUSTC", rustc)
            .env("RUSTC_BOOTSTRAP", "1")
            .env("CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER", linker)
            .env("CARGO_TARGET_DIR", work.join("target"))
            .env(
                "CARGO_ENCODED_RUSTFLAGS",
                "-Cembed-bitcode=yes\u{1f}-Ctarget-feature=+simd128",
            )
            .env_remove("RUSTFLAGS"),
    )?;
    let libraries = work.join("sysroot/lib/rustlib").join(TARGET).join("lib");
    fs::create_dir_all(&libraries).map_err(on_file("make", &libraries))?;
    let built = work.join("target").join(TARGET).join("release/deps");
    let mut kept = 0;
    for entry in fs::read_dir(&built).map_err(on_file("list", &built))? {
        let entry = entry.map_err(on_file("list", &built))?;
        let name: OsString = entry.file_name();
        let text = name.to_string_lossy();
        if text.ends_with(".rlib") && !text.starts_with("libempty-") {
            let kept_as = libraries.join(&name);
            fs::copy(entry.path(), &kept_as).map_err(on_file("write", kept_as))?;
            kept += 1;
        }
    }
    if kept == 0 {
        return Err(missing(format!(
            "the standard library left no .rlib in {}",
            built.display()
        )));
    }
    write("sysroot/rustc-version", version)?;
    if sysroot.exists() {
        fs::remove_dir_all(sysroot).map_err(on_file("replace", sysroot))?;
    }
    fs::rename(work.join("sysroot"), sysroot).map_err(on_file("make", sysroot))?;
    fs::remove_dir_all(&work).map_err(on_file("remove", &work))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn releases_are_read_from_compilers_and_packages() {
        assert_eq!(
            release("rustc 1.96.0 (ac68faa20 2026-07-06) (built from a source tarball)"),
            Some((1, 96))
        );
        assert_eq!(release(" 1.85.0+dfsg3-1~deb12u3"), Some((1, 85)));
        assert_eq!(release(" (none)"), None);
    }
}
