//! The policy set that a command asks about: a whole file, or one module of the set
//! in force changed. Modules that are files here are sent to the host first, which
//! keeps them under their digest and brings nothing into force by that.

use super::host::{Body, Host};
use crate::failure::{Because, Exit, Failure};
use clap::Args;
use serde_json::{Map, Value, json};
use std::path::{Path, PathBuf};
use toml_edit::{DocumentMut, Item};

/// Largest module that a host takes, in bytes.
const LARGEST_MODULE: usize = 16 * 1024 * 1024;

/// Which set.
#[derive(Args, Debug)]
pub(super) struct CandidateArguments {
    /// A whole policy.toml
    #[arg(value_name = "FILE.toml", conflicts_with = "module")]
    file: Option<PathBuf>,
    #[command(flatten)]
    edit: EditArguments,
}

/// A change of one module of the set in force.
#[derive(Args, Debug)]
pub(super) struct EditArguments {
    /// Changes or adds one module: SOURCE is a file here, bundled:NAME, sha256:HEX or oci://…
    #[arg(long, value_name = "NAME[=SOURCE]")]
    module: Option<String>,
    /// Kind of a new module: guardrail, risk or autonomy
    #[arg(long, requires = "module")]
    kind: Option<String>,
    /// Replaces its settings: a JSON object, or @FILE
    #[arg(long, value_name = "JSON", requires = "module")]
    settings: Option<String>,
    /// enforce, shadow or off
    #[arg(long, requires = "module")]
    mode: Option<String>,
    /// Takes the module out
    #[arg(long, requires = "module", conflicts_with_all = ["kind", "settings", "mode"])]
    remove: bool,
}

/// The set of `--under`, or of `--module`.
#[derive(Args, Debug)]
pub(super) struct OtherSet {
    /// Asks the set of this policy.toml instead of the one in force
    #[arg(long, value_name = "FILE.toml", conflicts_with = "module")]
    under: Option<PathBuf>,
    #[command(flatten)]
    edit: EditArguments,
}

impl CandidateArguments {
    /// The candidate as the API takes it, its modules sent ahead.
    pub(super) fn body(&self, host: &Host) -> Result<Map<String, Value>, Failure> {
        candidate(self.file.as_deref(), &self.edit, host)?.ok_or_else(|| {
            Failure::new(
                Exit::Usage,
                "say which set: a policy.toml, or --module NAME=SOURCE",
            )
        })
    }
}

impl OtherSet {
    /// The same; none when no other set is named.
    pub(super) fn body(&self, host: &Host) -> Result<Option<Map<String, Value>>, Failure> {
        candidate(self.under.as_deref(), &self.edit, host)
    }
}

fn candidate(
    file: Option<&Path>,
    edit: &EditArguments,
    host: &Host,
) -> Result<Option<Map<String, Value>>, Failure> {
    let mut body = Map::new();
    if let Some(file) = file {
        body.insert("text".to_owned(), json!(whole(file, host)?));
    } else if let Some(module) = &edit.module {
        body.insert("edits".to_owned(), json!([edited(module, edit, host)?]));
    } else {
        return Ok(None);
    }
    Ok(Some(body))
}

fn edited(module: &str, edit: &EditArguments, host: &Host) -> Result<Value, Failure> {
    let (name, source) = match module.split_once('=') {
        Some((name, source)) => (name, Some(source)),
        None => (module, None),
    };
    let mut object = Map::new();
    object.insert("name".to_owned(), json!(name));
    if let Some(source) = source {
        let source = if is_file(source) {
            sent(Path::new(source), host)?
        } else {
            source.to_owned()
        };
        object.insert("source".to_owned(), json!(source));
    }
    if let Some(settings) = &edit.settings {
        object.insert("settings".to_owned(), parsed(settings)?);
    }
    for (key, value) in [("kind", &edit.kind), ("mode", &edit.mode)] {
        if let Some(value) = value {
            object.insert(key.to_owned(), json!(value));
        }
    }
    if edit.remove {
        object.insert("remove".to_owned(), json!(true));
    }
    if object.len() == 1 {
        let message =
            "--module NAME needs =SOURCE, --settings, --mode or --remove: what shall change?";
        return Err(Failure::new(Exit::Usage, message));
    }
    Ok(Value::Object(object))
}

fn parsed(settings: &str) -> Result<Value, Failure> {
    let text = match settings.strip_prefix('@') {
        Some(file) => {
            read(Path::new(file)).and_then(|bytes| String::from_utf8(bytes).because(Exit::Usage))?
        }
        None => settings.to_owned(),
    };
    let value: Value = serde_json::from_str(&text)
        .map_err(|error| Failure::new(Exit::Usage, format!("--settings is not JSON: {error}")))?;
    if value.is_object() {
        Ok(value)
    } else {
        Err(Failure::new(
            Exit::Usage,
            "--settings must be a JSON object, as in '{\"denied_programs\": [\"docker\"]}'",
        ))
    }
}

/// Neither bundled, nor kept by the host, nor in a registry.
fn is_file(source: &str) -> bool {
    !source.starts_with("bundled:") && !source.starts_with("sha256:") && !source.contains("://")
}

fn read(file: &Path) -> Result<Vec<u8>, Failure> {
    std::fs::read(file).map_err(|error| Failure {
        exit: Exit::Usage,
        error: anyhow::Error::new(error).context(format!("{} cannot be read", file.display())),
    })
}

/// Sends a module to the host, with the signature beside it; how a candidate names it
/// then.
fn sent(file: &Path, host: &Host) -> Result<String, Failure> {
    let bytes = read(file)?;
    if bytes.len() > LARGEST_MODULE {
        let message = format!(
            "{} has {} bytes; a module has at most {LARGEST_MODULE}",
            file.display(),
            bytes.len()
        );
        return Err(Failure::new(Exit::Usage, message));
    }
    let mut beside = file.as_os_str().to_owned();
    beside.push(".sig");
    let signature = std::fs::read(beside).ok();
    let body = Body::Module(&bytes, signature.as_deref());
    let answer = host.send("POST", "/policies/modules", body)?;
    let source = answer.get("source").and_then(Value::as_str);
    source.map(str::to_owned).ok_or_else(|| {
        Failure::new(
            Exit::Unavailable,
            "the host did not say under which digest it keeps the module",
        )
    })
}

/// The text of a `policy.toml`. Modules that lie beside it are sent ahead, unless it
/// is the host's own, which finds them itself.
fn whole(file: &Path, host: &Host) -> Result<String, Failure> {
    let text = String::from_utf8(read(file)?)
        .map_err(|_| Failure::new(Exit::Usage, format!("{} is not UTF-8", file.display())))?;
    let own = host.policy_file();
    if own.is_some() && file.canonicalize().ok() == own {
        return Ok(text);
    }
    // What is wrong with the text, the host says better.
    let Ok(mut document) = text.parse::<DocumentMut>() else {
        return Ok(text);
    };
    let directory = file.parent().unwrap_or(Path::new(""));
    let Some(modules) = document
        .get_mut("module")
        .and_then(Item::as_array_of_tables_mut)
    else {
        return Ok(text);
    };
    let mut changed = false;
    for module in modules.iter_mut() {
        let Some(source) = module.get("source").and_then(Item::as_str) else {
            continue;
        };
        let path = directory.join(source);
        if is_file(source) && path.is_file() {
            let kept = sent(&path, host)?;
            if let Some(item) = module.get_mut("source") {
                *item = toml_edit::value(kept);
                changed = true;
            }
        }
    }
    Ok(if changed { document.to_string() } else { text })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_that_the_host_finds_itself_are_not_sent() {
        for source in ["bundled:shell-guard", "sha256:ab", "oci://r/x@sha256:ab"] {
            assert!(!is_file(source), "{source}");
        }
        assert!(is_file("modules/no-docker.wasm"));
    }

    #[test]
    fn settings_are_an_object() {
        assert_eq!(parsed("{\"a\": 1}").unwrap(), json!({"a": 1}));
        for wrong in ["[]", "1", "{", "@/nowhere-at-all"] {
            let failure = parsed(wrong).unwrap_err();
            assert_eq!(failure.exit, Exit::Usage, "{wrong}");
        }
    }
}
