//! Changes of `policy.toml` as an editor would make them: comments and order stay.

use selfheal_domain::policy_control::ModuleEdit;
use serde_json::Value as Json;
use toml_edit::{Array, ArrayOfTables, DocumentMut, InlineTable, Item, Table, Value};

/// An edit that cannot be made.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub(crate) enum EditProblem {
    /// The text in force is not TOML; it was, so somebody changed it in memory.
    #[error("the policy in force cannot be edited: {0}")]
    Text(String),
    /// It is neither there nor fully described.
    #[error("there is no module `{0}`; to add one, name its kind and its source")]
    Missing(String),
    /// JSON knows more than TOML.
    #[error("settings of `{module}`: {what} cannot be written in TOML")]
    Settings {
        /// The module.
        module: String,
        /// What does not fit.
        what: &'static str,
    },
    /// Nothing to do.
    #[error("there is nothing to change")]
    Nothing,
}

/// `text` with the edits made.
pub(crate) fn edited(text: &str, edits: &[ModuleEdit]) -> Result<String, EditProblem> {
    if edits.is_empty() {
        return Err(EditProblem::Nothing);
    }
    let mut document = parsed(text)?;
    for edit in edits {
        apply(&mut document, edit)?;
    }
    Ok(document.to_string())
}

pub(crate) fn parsed(text: &str) -> Result<DocumentMut, EditProblem> {
    text.parse::<DocumentMut>()
        .map_err(|error| EditProblem::Text(error.to_string()))
}

/// The `[[module]]` tables, made where there are none. An inline array of tables is
/// turned into tables first.
pub(crate) fn modules(document: &mut DocumentMut) -> Result<&mut ArrayOfTables, EditProblem> {
    let item = document
        .entry("module")
        .or_insert_with(|| Item::ArrayOfTables(ArrayOfTables::new()));
    if let Some(array) = item.as_array() {
        let tables = array
            .iter()
            .filter_map(|value| value.as_inline_table().cloned())
            .map(InlineTable::into_table);
        *item = Item::ArrayOfTables(tables.collect());
    }
    item.as_array_of_tables_mut()
        .ok_or_else(|| EditProblem::Text("`module` is not a list of tables".to_owned()))
}

/// Position of the module with this name.
pub(crate) fn position(modules: &ArrayOfTables, name: &str) -> Option<usize> {
    modules
        .iter()
        .position(|table| table.get("name").and_then(Item::as_str) == Some(name))
}

fn apply(document: &mut DocumentMut, edit: &ModuleEdit) -> Result<(), EditProblem> {
    let missing = || EditProblem::Missing(edit.name.clone());
    let modules = modules(document)?;
    let found = position(modules, &edit.name);
    if edit.remove {
        modules.remove(found.ok_or_else(missing)?);
        return Ok(());
    }
    let at = match found {
        Some(at) => at,
        None => {
            if edit.kind.is_none() || edit.source.is_none() {
                return Err(missing());
            }
            let mut table = Table::new();
            table.insert("name", toml_edit::value(edit.name.as_str()));
            table.decor_mut().set_prefix("\n");
            modules.push(table);
            modules.len() - 1
        }
    };
    let table = modules.get_mut(at).ok_or_else(missing)?;
    if let Some(kind) = edit.kind {
        set(table, "kind", crate::abi::kind_name(kind));
    }
    if let Some(source) = &edit.source {
        set(table, "source", source);
    }
    if let Some(mode) = &edit.mode {
        set(table, "mode", mode);
    }
    if let Some(settings) = &edit.settings {
        let value = toml_value(&edit.name, settings)?;
        let inline = value.as_inline_table().cloned();
        let inline = inline.ok_or(EditProblem::Settings {
            module: edit.name.clone(),
            what: "what is not an object",
        })?;
        if inline.is_empty() {
            table.remove("settings");
        } else if table.get("settings").is_some_and(Item::is_table) {
            table.insert("settings", Item::Table(inline.into_table()));
        } else {
            put(table, "settings", Value::InlineTable(inline));
        }
    }
    Ok(())
}

/// Sets a text; what stands around an earlier value stays.
pub(crate) fn set(table: &mut Table, key: &str, text: &str) {
    put(table, key, Value::from(text));
}

/// Sets a value; what stands around an earlier one stays.
pub(crate) fn put(table: &mut Table, key: &str, mut value: Value) {
    if let Some(before) = table.get(key).and_then(Item::as_value) {
        *value.decor_mut() = before.decor().clone();
    }
    table.insert(key, Item::Value(value));
}

fn toml_value(module: &str, json: &Json) -> Result<Value, EditProblem> {
    let wrong = |what| EditProblem::Settings {
        module: module.to_owned(),
        what,
    };
    Ok(match json {
        Json::Null => return Err(wrong("null")),
        Json::Bool(truth) => Value::from(*truth),
        Json::Number(number) => match (number.as_i64(), number.as_f64()) {
            (Some(integer), _) => Value::from(integer),
            (None, Some(float)) if !number.is_u64() => Value::from(float),
            _ => return Err(wrong("a number beyond 64 bits with sign")),
        },
        Json::String(text) => Value::from(text.as_str()),
        Json::Array(items) => {
            let items: Result<Array, _> =
                items.iter().map(|item| toml_value(module, item)).collect();
            Value::Array(items?)
        }
        Json::Object(fields) => {
            let mut table = InlineTable::new();
            for (key, field) in fields {
                table.insert(key, toml_value(module, field)?);
            }
            Value::InlineTable(table)
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{DEFAULT_POLICY_TOML, ModuleMode, PolicyConfig};
    use selfheal_domain::policy::ModuleKind;
    use std::path::Path;

    fn read(text: &str) -> PolicyConfig {
        PolicyConfig::parse(text, "policy.toml", Path::new("/etc")).unwrap()
    }

    #[test]
    fn comments_stay_and_only_what_is_named_changes() {
        let edits = [
            ModuleEdit {
                name: "shell-guard".to_owned(),
                mode: Some("shadow".to_owned()),
                settings: Some(
                    serde_json::json!({"deny": ["docker"], "most": 3, "deep": {"a": true}}),
                ),
                ..ModuleEdit::default()
            },
            ModuleEdit {
                name: "no-docker".to_owned(),
                kind: Some(ModuleKind::Guardrail),
                source: Some("no-docker.wasm".to_owned()),
                ..ModuleEdit::default()
            },
            ModuleEdit {
                name: "patch-guard".to_owned(),
                remove: true,
                ..ModuleEdit::default()
            },
        ];
        let text = edited(DEFAULT_POLICY_TOML, &edits).unwrap();
        for line in DEFAULT_POLICY_TOML.lines().take(60) {
            assert!(text.contains(line), "{line}");
        }
        let (before, after) = (read(DEFAULT_POLICY_TOML), read(&text));
        assert_eq!(before.modules.len(), after.modules.len());
        let shell = &after.modules[0];
        assert_eq!(shell.mode, ModuleMode::Shadow);
        assert_eq!(shell.settings, edits[0].settings.clone().unwrap());
        assert_eq!(before.modules[1], after.modules[1]);
        assert!(
            after
                .modules
                .iter()
                .any(|module| module.name == "no-docker")
        );
        assert!(
            !after
                .modules
                .iter()
                .any(|module| module.name == "patch-guard")
        );
        // And back again.
        let back = ModuleEdit {
            name: "shell-guard".to_owned(),
            mode: Some("enforce".to_owned()),
            settings: Some(serde_json::json!({})),
            ..ModuleEdit::default()
        };
        let text = edited(&text, &[back]).unwrap();
        assert_eq!(read(&text).modules[0], before.modules[0]);
    }

    #[test]
    fn what_cannot_be_done_says_why() {
        let unknown = ModuleEdit {
            name: "nobody".to_owned(),
            mode: Some("off".to_owned()),
            ..ModuleEdit::default()
        };
        let error = edited(DEFAULT_POLICY_TOML, &[unknown]).unwrap_err();
        assert_eq!(error, EditProblem::Missing("nobody".to_owned()));
        let null = ModuleEdit {
            name: "shell-guard".to_owned(),
            settings: Some(serde_json::json!({"a": null})),
            ..ModuleEdit::default()
        };
        assert!(edited(DEFAULT_POLICY_TOML, &[null]).is_err());
        assert_eq!(edited("", &[]).unwrap_err(), EditProblem::Nothing);
    }
}
