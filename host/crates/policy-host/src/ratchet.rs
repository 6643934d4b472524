//! The stricter of both: what is in force while a change that might loosen waits for
//! a second admin. The enforced modules of both sets, the stricter of every number,
//! all protected paths and secrets of both; as a text of `policy.toml`, so that it is
//! kept, shown and edited like any other generation.
//!
//! Trust is not widened: a module that only the candidate's publishers vouch for, or
//! that wants new capabilities, is left out.

use crate::compare::Side;
use crate::config::{ModuleConfig, ModuleMode, PolicyConfig};
use crate::edit::{self, EditProblem};
use crate::loader::LoadedModule;
use crate::set::strictness;
use selfheal_domain::policy::ModuleKind;
use selfheal_policy_source::Trust;
use std::sync::Arc;
use toml_edit::{Array, DocumentMut, Item, Table, Value};

/// A policy, as text and as what it comes to.
#[derive(Clone, Copy)]
pub(crate) struct Written<'a> {
    pub(crate) text: &'a str,
    pub(crate) side: Side<'a>,
}

/// The text of the stricter of both. Equal to the text in force where the candidate
/// tightens nothing.
pub(crate) fn stricter_of(
    in_force: Written<'_>,
    candidate: Written<'_>,
) -> Result<String, EditProblem> {
    let mut document = edit::parsed(in_force.text)?;
    let (before, after) = (in_force.side.config, candidate.side.config);
    numbers(&mut document, before, after);
    let mut theirs = edit::parsed(candidate.text)?;
    for kind in [
        ModuleKind::Guardrail,
        ModuleKind::Risk,
        ModuleKind::Autonomy,
    ] {
        let enforced = |config: &PolicyConfig| {
            let mut modules = config.modules.iter();
            modules.any(|module| module.kind == kind && module.mode == ModuleMode::Enforce)
        };
        match (enforced(before), enforced(after)) {
            // Silence is the strictest answer there is: a module could only loosen it.
            (false, _) => {}
            (true, false) => silence(&mut document, before, kind)?,
            (true, true) => add(
                &mut document,
                &mut theirs,
                in_force.side,
                candidate.side,
                kind,
            )?,
        }
    }
    Ok(document.to_string())
}

fn numbers(document: &mut DocumentMut, before: &PolicyConfig, after: &PolicyConfig) {
    let root = document.as_table_mut();
    if strictness(after.environment) > strictness(before.environment) {
        edit::set(
            root,
            "environment",
            &format!("{:?}", after.environment).to_lowercase(),
        );
    }
    if after.four_eyes && !before.four_eyes {
        edit::put(root, "four_eyes", Value::from(true));
    }
    let least = [
        (
            "autonomy",
            "ceiling",
            u8::from(before.ceiling).into(),
            u8::from(after.ceiling).into(),
        ),
        (
            "autonomy",
            "level",
            u8::from(before.level).into(),
            u8::from(after.level).into(),
        ),
        (
            "limits",
            "max_files",
            before.limits.max_files,
            after.limits.max_files,
        ),
        (
            "limits",
            "max_changed_lines",
            before.limits.max_changed_lines,
            after.limits.max_changed_lines,
        ),
        (
            "limits",
            "max_surplus_calls",
            before.limits.max_surplus_calls,
            after.limits.max_surplus_calls,
        ),
        (
            "quarantine",
            "faults",
            before.quarantine.faults,
            after.quarantine.faults,
        ),
    ];
    for (section, key, old, new) in least {
        if new < old {
            part(root, section, |table| {
                edit::put(table, key, Value::from(i64::from(new)));
            });
        }
    }
    // A level above a ceiling that fell would be refused.
    let ceiling = before.ceiling.min(after.ceiling);
    if before.level.min(after.level) > ceiling {
        let level = Value::from(i64::from(u8::from(ceiling)));
        part(root, "autonomy", |table| edit::put(table, "level", level));
    }
    if before
        .network
        .iter()
        .any(|one| !after.network.contains(one))
    {
        let both = before
            .network
            .iter()
            .filter(|one| after.network.contains(one));
        let both: Array = both.collect();
        part(root, "network", |table| {
            edit::put(table, "allow", Value::Array(both));
        });
    }
    let more = [
        (
            "limits",
            "protected_paths",
            &before.limits.protected_paths,
            &after.limits.protected_paths,
        ),
        (
            "limits",
            "secret_paths",
            &before.limits.secret_paths,
            &after.limits.secret_paths,
        ),
        (
            "secrets",
            "names",
            &before.secret_names,
            &after.secret_names,
        ),
    ];
    for (section, key, old, new) in more {
        let fresh: Vec<&String> = new.iter().filter(|one| !old.contains(one)).collect();
        if fresh.is_empty() {
            continue;
        }
        part(root, section, |table| {
            let list = table
                .entry(key)
                .or_insert_with(|| Item::Value(Value::Array(Array::new())));
            if let Some(list) = list.as_array_mut() {
                list.extend(fresh);
            }
        });
    }
}

/// Changes a section, made where there is none; an inline one becomes a section.
fn part(root: &mut Table, name: &str, change: impl FnOnce(&mut Table)) {
    let item = root
        .entry(name)
        .or_insert_with(|| Item::Table(Table::new()));
    if let Some(inline) = item.as_inline_table() {
        *item = Item::Table(inline.clone().into_table());
    }
    // Anything else was refused when the text was read.
    if let Some(table) = item.as_table_mut() {
        change(table);
    }
}

/// Takes the voice of all modules of a kind.
fn silence(
    document: &mut DocumentMut,
    before: &PolicyConfig,
    kind: ModuleKind,
) -> Result<(), EditProblem> {
    let modules = edit::modules(document)?;
    for module in before.modules.iter().filter(|module| module.kind == kind) {
        if module.mode == ModuleMode::Enforce
            && let Some(table) =
                edit::position(modules, &module.name).and_then(|at| modules.get_mut(at))
        {
            edit::set(table, "mode", "shadow");
        }
    }
    Ok(())
}

/// Adds the candidate's enforced modules of a kind that are not in force already.
fn add(
    document: &mut DocumentMut,
    theirs: &mut DocumentMut,
    in_force: Side<'_>,
    candidate: Side<'_>,
    kind: ModuleKind,
) -> Result<(), EditProblem> {
    let theirs = edit::modules(theirs)?;
    let ours = edit::modules(document)?;
    let wanted = candidate.config.modules.iter();
    for module in wanted.filter(|one| one.kind == kind && one.mode == ModuleMode::Enforce) {
        let Some(loaded) = loaded(candidate, &module.name) else {
            continue;
        };
        let mut all = in_force.set.core.modules.iter();
        if all.any(|one| one.mode == ModuleMode::Enforce && one.fingerprint == loaded.fingerprint) {
            continue;
        }
        let before = in_force
            .config
            .modules
            .iter()
            .find(|one| one.name == module.name);
        if !trusted(in_force.config, before, module, loaded) {
            continue;
        }
        let Some(table) = edit::position(theirs, &module.name).and_then(|at| theirs.get(at)) else {
            continue;
        };
        let mut table = table.clone();
        // The same module, tried so far: from now on it counts.
        let tried = in_force
            .set
            .core
            .modules
            .iter()
            .find(|one| one.identity.name == module.name);
        if let Some(at) = edit::position(ours, &module.name) {
            let same = tried.is_some_and(|one| one.fingerprint == loaded.fingerprint);
            let off = before.is_some_and(|one| one.mode != ModuleMode::Enforce);
            if same || off {
                if let Some(slot) = ours.get_mut(at) {
                    *slot = table;
                }
                continue;
            }
            let Some(free) = free_name(&module.name, |name| edit::position(ours, name).is_some())
            else {
                continue;
            };
            edit::set(&mut table, "name", &free);
        }
        table.set_position(None);
        table
            .decor_mut()
            .set_prefix("\n# Waits for a second admin; until then it counts beside the others.\n");
        ours.push(table);
    }
    Ok(())
}

fn loaded<'a>(side: Side<'a>, name: &str) -> Option<&'a Arc<LoadedModule>> {
    let mut modules = side.set.core.modules.iter();
    modules.find(|loaded| loaded.identity.name == name)
}

/// Whether the policy in force lets the module run.
fn trusted(
    config: &PolicyConfig,
    before: Option<&ModuleConfig>,
    module: &ModuleConfig,
    loaded: &LoadedModule,
) -> bool {
    let granted = before.map(|before| before.capabilities).unwrap_or_default();
    if !module.capabilities.beyond(granted).is_empty() {
        return false;
    }
    match &loaded.trust {
        Trust::Bundled => true,
        Trust::Signed(by) => {
            let mut publishers = config.trust.publishers().iter();
            publishers.any(|publisher| publisher.name == by.publisher && publisher.key == by.key)
        }
        Trust::Unsigned => config.trust.unsigned() || before.is_some_and(|before| before.unsigned),
    }
}

fn free_name(name: &str, taken: impl Fn(&str) -> bool) -> Option<String> {
    let stem = name.get(..name.len().min(56))?;
    let mut names = (1..100).map(|number| match number {
        1 => format!("{stem}.next"),
        number => format!("{stem}.next{number}"),
    });
    names.find(|name| !taken(name))
}
