//! A compiler for `wasm32-unknown-unknown`, by the first way that works: the
//! active toolchain has the target; a private standard library built earlier; the
//! compiler and library sources that Debian ships. rustup is never touched.

use crate::process::{attempt, cargo, output, run, which};
use anyhow::{Context, Result, bail};
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The guests' target.
pub(crate) const TARGET: &str = "wasm32-unknown-unknown";
/// Oldest compiler that builds this workspace, as (major, minor).
const OLDEST: (u32, u32) = (1, 95);
/// What step 3 installs.
const PACKAGES: [&str; 3] = ["rustc-web", "rust-web-src", "libstd-rust-web-dev"];

/// How the guests get compiled.
pub(crate) struct Toolchain {
    /// For people: which way it took.
    pub(crate) way: String,
    rustc: Option<PathBuf>,
    sysroot: Option<PathBuf>,
    linker: Option<PathBuf>,
}

impl Toolchain {
    /// `cargo build` for the guests' target with this compiler.
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
        let mut command = Command::new(cargo());
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
pub(crate) fn find(root: &Path) -> Result<Toolchain> {
    let active = active_rustc();
    if has_target(&active) {
        let version = attempt(Command::new(&active).arg("--version")).unwrap_or_default();
        return Ok(Toolchain {
            way: format!("the active toolchain has {TARGET} ({})", version.trim()),
            rustc: None,
            sysroot: None,
            linker: None,
        });
    }
    println!("way 1 (active toolchain): it has no {TARGET}");
    let linker = linker(&active);
    match debian_rustc() {
        Some(rustc) => from_compiler(root, &rustc, linker),
        None => {
            install()?;
            let rustc = debian_rustc().context(
                "rustc-web is installed, but its compiler cannot be found or is too old",
            )?;
            from_compiler(root, &rustc, linker)
        }
    }
}

/// Ways 2 and 3, which differ in whether the private standard library is there.
fn from_compiler(root: &Path, rustc: &Path, linker: Option<PathBuf>) -> Result<Toolchain> {
    let Some(linker) = linker else {
        bail!(
            "no linker for WebAssembly: neither the active toolchain's rust-lld nor wasm-ld was found; \
             install one, for instance with `apt-get install lld`"
        );
    };
    let version = output(Command::new(rustc).arg("-vV"))?;
    let release = version.lines().next().unwrap_or_default().to_owned();
    let sysroot = sysroot_directory(root, &version);
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
    println!("way 2 (private standard library): none for {release}");
    build_std(rustc, &linker, &sysroot, &version)?;
    Ok(toolchain(format!(
        "standard library built from Debian's sources ({release})"
    )))
}

fn active_rustc() -> PathBuf {
    std::env::var_os("RUSTC").map_or_else(|| "rustc".into(), PathBuf::from)
}

fn has_target(rustc: &Path) -> bool {
    let directory =
        attempt(Command::new(rustc).args(["--print", "target-libdir", "--target", TARGET]));
    let Some(entries) = directory.and_then(|directory| fs::read_dir(directory.trim()).ok()) else {
        return false;
    };
    entries
        .flatten()
        .any(|entry| entry.file_name().to_string_lossy().starts_with("libcore-"))
}

/// rustup's rust-lld, or an installed wasm-ld.
fn linker(active: &Path) -> Option<PathBuf> {
    let sysroot = attempt(Command::new(active).args(["--print", "sysroot"]));
    let host = attempt(Command::new(active).arg("-vV"));
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
        attempt(Command::new("dpkg-query").args(["-W", "-f=${Status}", package]))
            .filter(|status| status.contains("install ok installed"))?;
    }
    let files = attempt(Command::new("dpkg-query").args(["-L", "rustc-web"]))?;
    let rustc = files
        .lines()
        .map(Path::new)
        .find(|file| file.ends_with("bin/rustc"))?;
    let version = attempt(Command::new(rustc).arg("--version"))?;
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
fn install() -> Result<()> {
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
        bail!("no compiler for {TARGET}.\n{other_ways}");
    }
    if !is_root() {
        bail!(
            "no compiler for {TARGET}, and packages can only be installed as root.\n{other_ways}"
        );
    }
    if candidate().is_none_or(|version| version < OLDEST) {
        println!("way 3 (Debian's compiler): updating the package lists");
        run(Command::new("apt-get").args(["update", "-qq"]))?;
    }
    match candidate() {
        Some(version) if version >= OLDEST => {}
        Some((major, minor)) => bail!(
            "Debian offers rustc-web {major}.{minor}, and {}.{} is the oldest that works: is the security suite \
             among the package sources?\n{other_ways}",
            OLDEST.0,
            OLDEST.1
        ),
        None => bail!("no compiler for {TARGET}, and no package rustc-web.\n{other_ways}"),
    }
    println!(
        "way 3 (Debian's compiler): installing {}",
        PACKAGES.join(", ")
    );
    run(Command::new("apt-get")
        .args([
            "install",
            "-y",
            "-qq",
            "--no-install-recommends",
            "-o=Dpkg::Use-Pty=0",
        ])
        .args(PACKAGES)
        .env("DEBIAN_FRONTEND", "noninteractive"))
}

/// The version of rustc-web that apt would install.
fn candidate() -> Option<(u32, u32)> {
    let policy = attempt(Command::new("apt-cache").args(["policy", "rustc-web"]))?;
    release(
        policy
            .lines()
            .find_map(|line| line.trim().strip_prefix("Candidate:"))?,
    )
}

fn is_root() -> bool {
    attempt(Command::new("id").arg("-u")).is_some_and(|id| id.trim() == "0")
}

fn cargo_home() -> Option<PathBuf> {
    std::env::var_os("CARGO_HOME")
        .map(PathBuf::from)
        .or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cargo")))
}

/// Outside the checkout where there is a cache directory, so that other clones
/// and a `cargo clean` find it again.
fn sysroot_directory(root: &Path, version: &str) -> PathBuf {
    let cache = std::env::var_os("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cache")))
        .map_or_else(|| root.join("target"), |cache| cache.join("selfheal"));
    let release = version.split_whitespace().nth(1).unwrap_or("unknown");
    cache.join("guest-sysroot").join(release)
}

/// Compiles the standard library once, from an empty crate, and keeps its parts.
fn build_std(rustc: &Path, linker: &Path, sysroot: &Path, version: &str) -> Result<()> {
    println!(
        "way 3 (Debian's compiler): building its standard library for {TARGET}, about a minute"
    );
    let work = sysroot.with_extension("building");
    if work.exists() {
        fs::remove_dir_all(&work).context("cannot remove the remains of an earlier build")?;
    }
    fs::create_dir_all(work.join("src"))
        .with_context(|| format!("cannot make {}", work.display()))?;
    // Bitcode stays in, so that guests can be optimised as a whole.
    let manifest = "[package]\nname = \"empty\"\nversion = \"0.0.0\"\nedition = \"2024\"\n\n\
                    [workspace]\n\n[profile.release]\npanic = \"abort\"\nopt-level = 3\n";
    fs::write(work.join("Cargo.toml"), manifest)?;
    fs::write(work.join("src/lib.rs"), "")?;
    run(Command::new(cargo())
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
        .env_remove("RUSTFLAGS"))
    .context("building the standard library failed")?;

    let libraries = work.join("sysroot/lib/rustlib").join(TARGET).join("lib");
    fs::create_dir_all(&libraries)?;
    let built = work.join("target").join(TARGET).join("release/deps");
    let mut kept = 0;
    for entry in fs::read_dir(&built).context("the standard library left nothing behind")? {
        let entry = entry?;
        let name: OsString = entry.file_name();
        let text = name.to_string_lossy();
        if text.ends_with(".rlib") && !text.starts_with("libempty-") {
            fs::copy(entry.path(), libraries.join(&name))?;
            kept += 1;
        }
    }
    if kept == 0 {
        bail!("the standard library left no .rlib in {}", built.display());
    }
    fs::write(work.join("sysroot/rustc-version"), version)?;
    if sysroot.exists() {
        fs::remove_dir_all(sysroot).context("cannot replace the old private standard library")?;
    }
    fs::rename(work.join("sysroot"), sysroot)
        .context("cannot put the private standard library in place")?;
    fs::remove_dir_all(&work).context("cannot clean up after building the standard library")
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
