//! `build-policies`: compiles every crate in `policies/` for WebAssembly and makes
//! it a component in `target/policies`.

use crate::stamp;
use anyhow::{Context, Result, bail};
use selfheal_guest_build::{Guests, componentise};
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

/// Prefix of the guests' package names.
const PREFIX: &str = "selfheal-policy-";

/// What may be kept of an earlier build.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reuse {
    /// Everything, when no input changed.
    Unchanged,
    /// Nothing.
    Nothing,
}

/// Builds what changed and says which way it took.
pub(crate) fn build(root: &Path, reuse: Reuse) -> Result<()> {
    let started = Instant::now();
    let names = names(root)?;
    let packages: Vec<String> = names.iter().map(|name| format!("{PREFIX}{name}")).collect();
    let out = root.join("target/policies");
    let inputs = stamp::inputs(root, &packages)?;
    if reuse == Reuse::Unchanged
        && let Some(way) = unchanged(&out, &names, &inputs)
    {
        println!(
            "{} policy modules unchanged in target/policies (built with: {way})",
            names.len()
        );
        return Ok(());
    }

    let toolchain = selfheal_guest_build::find(root, &|line| println!("{line}"))?;
    println!(
        "building {} policy modules; way taken: {}",
        names.len(),
        toolchain.way
    );
    let guests = Guests {
        directory: root,
        profile: "guest",
        target_dir: &root.join("target/guest"),
        packages: &packages,
    };
    let modules = guests
        .compile(&toolchain)
        .context("the policy modules do not build")?;

    fs::create_dir_all(&out).with_context(|| format!("cannot make {}", out.display()))?;
    let mut digests = serde_json::Map::new();
    for (name, package) in names.iter().zip(&packages) {
        let module = modules
            .get(&package.replace('-', "_"))
            .with_context(|| format!("{package} left no module"))?;
        let component = componentise(package, module)?;
        let target = component_path(&out, name);
        // Written beside and renamed: a host that builds meanwhile sees the old or the new one.
        let fresh = target.with_extension("new");
        fs::write(&fresh, &component)
            .with_context(|| format!("cannot write {}", fresh.display()))?;
        fs::rename(&fresh, &target)
            .with_context(|| format!("cannot write {}", target.display()))?;
        println!("  {name:<12} {:>4} KiB", component.len().div_ceil(1024));
        digests.insert(name.clone(), Value::String(stamp::of_file(&target)?));
    }
    remove_strangers(&out, &names)?;
    let record = json!({ "inputs": inputs, "way": toolchain.way, "modules": digests });
    fs::write(out.join("stamp.json"), record.to_string()).context("cannot write the stamp")?;
    println!("done in {:.1} s", started.elapsed().as_secs_f64());
    Ok(())
}

/// Directories of `policies/` with a manifest, sorted.
pub(crate) fn names(root: &Path) -> Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(root.join("policies")).context("cannot list policies/")? {
        let entry = entry?;
        if entry.path().join("Cargo.toml").is_file() {
            names.push(entry.file_name().to_string_lossy().into_owned());
        }
    }
    if names.is_empty() {
        bail!("there is no policy in policies/");
    }
    names.sort();
    Ok(names)
}

fn component_path(out: &Path, name: &str) -> PathBuf {
    out.join(format!("{name}.wasm"))
}

/// The way an earlier build took, when inputs and outputs are still the same.
fn unchanged(out: &Path, names: &[String], inputs: &str) -> Option<String> {
    let record: Value =
        serde_json::from_str(&fs::read_to_string(out.join("stamp.json")).ok()?).ok()?;
    let same = record.get("inputs")?.as_str()? == inputs
        && names.iter().all(|name| {
            let expected = record
                .get("modules")
                .and_then(|modules| modules.get(name))
                .and_then(Value::as_str);
            expected.is_some()
                && stamp::of_file(&component_path(out, name)).ok().as_deref() == expected
        });
    same.then(|| {
        record
            .get("way")
            .and_then(Value::as_str)
            .unwrap_or("unknown")
            .to_owned()
    })
}

/// Modules of policies that no longer exist must not be embedded.
fn remove_strangers(out: &Path, names: &[String]) -> Result<()> {
    for entry in fs::read_dir(out)? {
        let path = entry?.path();
        let name = path
            .file_stem()
            .map(|stem| stem.to_string_lossy().into_owned())
            .unwrap_or_default();
        if path
            .extension()
            .is_some_and(|extension| extension == "wasm")
            && !names.contains(&name)
        {
            fs::remove_file(&path).with_context(|| format!("cannot remove {}", path.display()))?;
        }
    }
    Ok(())
}
