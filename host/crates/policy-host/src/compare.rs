//! What changes between two policies before anything is asked: what gets looser
//! whatever the question, what cannot, and what nobody can know.
//!
//! Answers merge towards the stricter, so a further enforced module can only
//! tighten, and taking one away can only loosen. One exception: where no module of a
//! kind is enforced, the answer is the strictest there is, so the first module of a
//! kind loosens.

use crate::config::{HostLimits, ModuleConfig, ModuleMode, PolicyConfig};
use crate::host::PreparedSet;
use crate::loader::LoadedModule;
use crate::set::strictness;
use selfheal_domain::policy::ModuleKind;
use selfheal_domain::policy_control::PolicyPlan;
use selfheal_policy_source::SourceRef;
use std::collections::BTreeSet;
use std::sync::Arc;

/// A policy with its loaded modules.
#[derive(Clone, Copy)]
pub(crate) struct Side<'a> {
    pub(crate) config: &'a PolicyConfig,
    pub(crate) set: &'a PreparedSet,
}

impl<'a> Side<'a> {
    fn loaded(&self, name: &str) -> Option<&'a Arc<LoadedModule>> {
        let mut modules = self.set.core.modules.iter();
        modules.find(|loaded| loaded.identity.name == name)
    }

    fn enforced(&self, kind: ModuleKind) -> usize {
        let modules = self.config.modules.iter();
        modules
            .filter(|module| module.kind == kind && module.mode == ModuleMode::Enforce)
            .count()
    }
}

/// The lists of a plan.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Structure {
    pub(crate) loosening: Vec<String>,
    pub(crate) tightening: Vec<String>,
    pub(crate) unproved: Vec<String>,
    /// Changes that touch no answer, such as what is watched for how long.
    pub(crate) other: Vec<String>,
}

impl Structure {
    /// Nothing changes but comments.
    pub(crate) fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Known to loosen nothing, as far as structure goes.
    pub(crate) fn only_tightens(&self) -> bool {
        self.loosening.is_empty() && self.unproved.is_empty()
    }

    /// Puts the lists into a plan.
    pub(crate) fn into_plan(self, plan: &mut PolicyPlan) {
        plan.structural_loosening = self.loosening;
        plan.structural_tightening = self.tightening;
        plan.unproved = self.unproved;
    }
}

/// Which way a change goes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    Looser,
    Stricter,
}

/// What changes from `before` to `after`.
pub(crate) fn compare(before: Side<'_>, after: Side<'_>) -> Structure {
    let mut found = Structure::default();
    scalars(before.config, after.config, &mut found);
    lists(&before.config.limits, &after.config.limits, &mut found);
    secrets(before.config, after.config, &mut found);
    trust(before.config, after.config, &mut found);
    for module in &before.config.modules {
        if module.mode == ModuleMode::Enforce && after.enforced(module.kind) == 0 {
            // Nobody of its kind has a voice any more, which is the strictest answer.
            found
                .other
                .push(format!("module `{}` is not enforced", module.name));
            continue;
        }
        match named(after.config, &module.name) {
            None => gone(module, &mut found),
            Some(now) => changed(module, now, before, after, &mut found),
        }
    }
    for module in &after.config.modules {
        if named(before.config, &module.name).is_none() {
            came(module, &mut found);
        }
    }
    for (kind, name) in [
        (ModuleKind::Guardrail, "guardrail"),
        (ModuleKind::Risk, "risk"),
        (ModuleKind::Autonomy, "autonomy"),
    ] {
        match (before.enforced(kind), after.enforced(kind)) {
            (0, 1..) => found.loosening.push(format!(
                "there was no enforced {name} module, so everything got the strictest answer"
            )),
            (1.., 0) => found.tightening.push(format!(
                "no {name} module is enforced any more, so everything gets the strictest answer"
            )),
            _ => {}
        }
    }
    found
}

fn named<'a>(config: &'a PolicyConfig, name: &str) -> Option<&'a ModuleConfig> {
    config.modules.iter().find(|module| module.name == name)
}

impl Structure {
    fn note(&mut self, way: Way, text: String) {
        match way {
            Way::Looser => self.loosening.push(text),
            Way::Stricter => self.tightening.push(text),
        }
    }

    fn ordered<T: PartialOrd + std::fmt::Display>(
        &mut self,
        what: &str,
        before: T,
        after: T,
        up: Way,
    ) {
        if before == after {
            return;
        }
        let way = match (after > before, up) {
            (true, way) => way,
            (false, Way::Looser) => Way::Stricter,
            (false, Way::Stricter) => Way::Looser,
        };
        let direction = if after > before { "rises" } else { "falls" };
        self.note(way, format!("{what} {direction} from {before} to {after}"));
    }

    fn subset(&mut self, what: &str, before: &[String], after: &[String], more: Way) {
        let (before, after): (BTreeSet<_>, BTreeSet<_>) =
            (before.iter().collect(), after.iter().collect());
        let less = if more == Way::Looser {
            Way::Stricter
        } else {
            Way::Looser
        };
        for new in after.difference(&before) {
            self.note(more, format!("{what} also has `{new}`"));
        }
        for old in before.difference(&after) {
            self.note(less, format!("{what} no longer has `{old}`"));
        }
    }
}

fn scalars(before: &PolicyConfig, after: &PolicyConfig, found: &mut Structure) {
    if before.environment != after.environment {
        let way = if strictness(after.environment) > strictness(before.environment) {
            Way::Stricter
        } else {
            Way::Looser
        };
        let name = |environment| format!("{environment:?}").to_lowercase();
        found.note(
            way,
            format!(
                "environment changes from {} to {}",
                name(before.environment),
                name(after.environment)
            ),
        );
    }
    match (before.four_eyes, after.four_eyes) {
        (true, false) => found.loosening.push("four_eyes is switched off".to_owned()),
        (false, true) => found.tightening.push("four_eyes is switched on".to_owned()),
        _ => {}
    }
    let levels = [
        ("the ceiling", before.ceiling, after.ceiling),
        ("the level of a new installation", before.level, after.level),
    ];
    for (what, before, after) in levels {
        found.ordered(what, u8::from(before), u8::from(after), Way::Looser);
    }
    if before.rollout != after.rollout {
        found.other.push("[rollout] changes".to_owned());
    }
    found.ordered(
        "faults before quarantine",
        before.quarantine.faults,
        after.quarantine.faults,
        Way::Looser,
    );
    if before.quarantine.window != after.quarantine.window {
        found
            .other
            .push("the window of [quarantine] changes".to_owned());
    }
}

fn lists(before: &HostLimits, after: &HostLimits, found: &mut Structure) {
    found.ordered("max_files", before.max_files, after.max_files, Way::Looser);
    found.ordered(
        "max_changed_lines",
        before.max_changed_lines,
        after.max_changed_lines,
        Way::Looser,
    );
    found.ordered(
        "max_surplus_calls",
        before.max_surplus_calls,
        after.max_surplus_calls,
        Way::Looser,
    );
    found.subset(
        "protected_paths",
        &before.protected_paths,
        &after.protected_paths,
        Way::Stricter,
    );
    found.subset(
        "secret_paths",
        &before.secret_paths,
        &after.secret_paths,
        Way::Stricter,
    );
}

fn secrets(before: &PolicyConfig, after: &PolicyConfig, found: &mut Structure) {
    found.subset(
        "[secrets] names",
        &before.secret_names,
        &after.secret_names,
        Way::Stricter,
    );
}

fn trust(before: &PolicyConfig, after: &PolicyConfig, found: &mut Structure) {
    found.subset(
        "[network] allow",
        &before.network,
        &after.network,
        Way::Looser,
    );
    match (before.trust.unsigned(), after.trust.unsigned()) {
        (false, true) => found
            .loosening
            .push("[trust] lets every module be unsigned".to_owned()),
        (true, false) => found
            .tightening
            .push("[trust] no longer lets modules be unsigned".to_owned()),
        _ => {}
    }
    let publishers = |config: &PolicyConfig| -> Vec<String> {
        let shown = config.trust.publishers().iter();
        shown
            .map(|publisher| format!("{} {}", publisher.name, publisher.key))
            .collect()
    };
    found.subset(
        "[[publisher]]",
        &publishers(before),
        &publishers(after),
        Way::Looser,
    );
    found.subset(
        "insecure_registries",
        before.trust.insecure_registries(),
        after.trust.insecure_registries(),
        Way::Looser,
    );
}

fn gone(module: &ModuleConfig, found: &mut Structure) {
    let name = &module.name;
    match module.mode {
        ModuleMode::Enforce => found.loosening.push(format!("module `{name}` is removed")),
        ModuleMode::Shadow | ModuleMode::Off => {
            found
                .other
                .push(format!("module `{name}`, not enforced, is removed"));
        }
    }
}

fn came(module: &ModuleConfig, found: &mut Structure) {
    let name = &module.name;
    match module.mode {
        ModuleMode::Enforce => found.tightening.push(format!("module `{name}` is added")),
        ModuleMode::Shadow | ModuleMode::Off => {
            found
                .other
                .push(format!("module `{name}` is added, not enforced"));
        }
    }
    if module.unsigned && !matches!(module.source, SourceRef::Bundled(_)) {
        found
            .loosening
            .push(format!("module `{name}` may be unsigned"));
    }
    if !module.capabilities.is_empty() {
        found.loosening.push(format!(
            "module `{name}` is granted {}",
            module.capabilities
        ));
    }
}

fn changed(
    before: &ModuleConfig,
    after: &ModuleConfig,
    old: Side<'_>,
    new: Side<'_>,
    found: &mut Structure,
) {
    let name = &after.name;
    match (before.mode, after.mode) {
        (ModuleMode::Enforce, ModuleMode::Enforce) => {}
        (ModuleMode::Enforce, mode) => {
            let mode = format!("{mode:?}").to_lowercase();
            found
                .loosening
                .push(format!("module `{name}` is {mode} from now on"));
        }
        (_, ModuleMode::Enforce) => found
            .tightening
            .push(format!("module `{name}` is enforced")),
        (before, after) if before != after => {
            found
                .other
                .push(format!("module `{name}` changes its mode"));
        }
        _ => {}
    }
    if before.kind != after.kind {
        found
            .loosening
            .push(format!("module `{name}` changes its kind"));
    }
    if !before.unsigned && after.unsigned && !matches!(after.source, SourceRef::Bundled(_)) {
        found
            .loosening
            .push(format!("module `{name}` may be unsigned"));
    }
    if before.unsigned && !after.unsigned {
        found
            .tightening
            .push(format!("module `{name}` must be signed"));
    }
    if before.publisher != after.publisher {
        match &after.publisher {
            None => found
                .loosening
                .push(format!("module `{name}` may be signed by any publisher")),
            Some(publisher) => {
                let text = format!("module `{name}` must be signed by {publisher}");
                let way = if before.publisher.is_none() {
                    Way::Stricter
                } else {
                    Way::Looser
                };
                found.note(way, text);
            }
        }
    }
    if before.pin.is_some() && after.pin.is_none() {
        found
            .loosening
            .push(format!("module `{name}` is no longer pinned"));
    }
    let granted = after.capabilities.beyond(before.capabilities);
    if !granted.is_empty() {
        found
            .loosening
            .push(format!("module `{name}` is granted {granted}"));
    }
    if !before.capabilities.beyond(after.capabilities).is_empty() {
        found.tightening.push(format!(
            "module `{name}` loses {}",
            before.capabilities.beyond(after.capabilities)
        ));
    }
    // What was not enforced could not loosen anything by being other than it was.
    if before.mode != ModuleMode::Enforce || after.mode != ModuleMode::Enforce {
        if before.settings != after.settings
            || before.source != after.source
            || before.limits != after.limits
        {
            found.other.push(format!("module `{name}` changes"));
        }
        return;
    }
    limits(before, after, found);
    if before.settings != after.settings {
        found.unproved.push(format!("settings of `{name}` change"));
    }
    let digest = |side: Side<'_>| side.loaded(name).map(|loaded| loaded.identity.digest);
    match (digest(old), digest(new)) {
        (Some(old), Some(new)) if old != new => {
            let short = |digest: String| digest.get(..12).unwrap_or_default().to_owned();
            found.unproved.push(format!(
                "`{name}` is another module: {} instead of {}",
                short(new.to_string()),
                short(old.to_string())
            ));
        }
        _ if before.source != after.source => {
            found
                .other
                .push(format!("`{name}` comes from {} now", after.source));
        }
        _ => {}
    }
}

fn limits(before: &ModuleConfig, after: &ModuleConfig, found: &mut Structure) {
    let name = &after.name;
    let (old, new) = (before.limits, after.limits);
    let what = |limit: &str| format!("{limit} of `{name}`");
    found.ordered(
        &what("the deadline in milliseconds"),
        old.deadline().as_millis(),
        new.deadline().as_millis(),
        Way::Looser,
    );
    found.ordered(&what("the memory"), old.memory(), new.memory(), Way::Looser);
    found.ordered(
        &what("the size of answers"),
        old.output(),
        new.output(),
        Way::Looser,
    );
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::set::SetCore;
    use selfheal_domain::digest::Digest;
    use std::path::Path;

    /// Without modules: what only their bytes tell is tested where there are some.
    fn compared(before: &str, after: &str) -> Structure {
        let read = |text: &str| {
            let config = PolicyConfig::parse(text, "policy.toml", Path::new("/etc")).unwrap();
            let set = PreparedSet {
                core: Arc::new(SetCore {
                    digest: Digest::of(text.as_bytes()),
                    environment: config.environment,
                    ceiling: config.ceiling,
                    quarantine: config.quarantine,
                    modules: Vec::new(),
                }),
            };
            (config, set)
        };
        let (before, after) = (read(before), read(after));
        fn side((config, set): &(PolicyConfig, PreparedSet)) -> Side<'_> {
            Side { config, set }
        }
        compare(side(&before), side(&after))
    }

    const BASE: &str = "environment = \"staging\"\nfour_eyes = true\n[autonomy]\nceiling = 2\nlevel = 1\n\
        [limits]\nmax_files = 5\nprotected_paths = [\"a\"]\nsecret_paths = [\"s\"]\n[secrets]\nnames = [\"T\"]\n\
        [[module]]\nname = \"one\"\nkind = \"guardrail\"\nsource = \"bundled:one\"\n\
        [[module]]\nname = \"two\"\nkind = \"guardrail\"\nsource = \"two.wasm\"\nlimits = { deadline_ms = 50 }\n";

    #[test]
    fn every_change_goes_one_way_and_back_the_other() {
        assert!(compared(BASE, BASE).is_empty());
        assert!(compared(BASE, &format!("# a comment\n{BASE}")).is_empty());
        for (old, new) in [
            ("\"staging\"", "\"dev\""),
            ("four_eyes = true", "four_eyes = false"),
            ("ceiling = 2", "ceiling = 3"),
            ("level = 1", "level = 2"),
            ("max_files = 5", "max_files = 6"),
            ("protected_paths = [\"a\"]", "protected_paths = []"),
            ("secret_paths = [\"s\"]", "secret_paths = []"),
            ("names = [\"T\"]", "names = []"),
            ("deadline_ms = 50", "deadline_ms = 60"),
            ("[secrets]", "[quarantine]\nfaults = 9\n[secrets]"),
            ("max_files = 5", "max_files = 5\nmax_surplus_calls = 9"),
            (
                "[secrets]",
                "[network]\nallow = [\"r.example:443\"]\n[secrets]",
            ),
            ("[secrets]", "[trust]\nunsigned = true\n[secrets]"),
            (
                "[secrets]",
                "[trust]\ninsecure_registries = [\"r:1\"]\n[secrets]",
            ),
            ("limits = {", "unsigned = true\nlimits = {"),
            ("limits = {", "capabilities = [\"wasi:clocks\"]\nlimits = {"),
            (
                "source = \"bundled:one\"\n",
                "source = \"bundled:one\"\nmode = \"shadow\"\n",
            ),
            (
                "source = \"bundled:one\"\n",
                "source = \"bundled:one\"\nmode = \"off\"\n",
            ),
        ] {
            let looser = BASE.replacen(old, new, 1);
            assert_ne!(looser, BASE, "{old}");
            let found = compared(BASE, &looser);
            assert_eq!(found.loosening.len(), 1, "{new}: {found:?}");
            assert!(found.tightening.is_empty(), "{new}: {found:?}");
            let found = compared(&looser, BASE);
            assert!(found.only_tightens(), "{old}: {found:?}");
            assert_eq!(found.tightening.len(), 1, "{old}: {found:?}");
        }
    }

    #[test]
    fn what_nobody_can_know_is_said_to_be_unproved() {
        let found = compared(BASE, &format!("{BASE}settings = {{ a = 1 }}\n"));
        assert_eq!(found.unproved, ["settings of `two` change"]);
        assert!(found.loosening.is_empty() && found.tightening.is_empty());
    }

    #[test]
    fn the_first_module_of_a_kind_loosens_and_the_last_one_tightens() {
        let none = BASE.split("[[module]]").next().unwrap();
        let found = compared(none, BASE);
        assert!(!found.only_tightens(), "{found:?}");
        let found = compared(BASE, none);
        assert!(found.only_tightens(), "{found:?}");
        let risk = "[[module]]\nname = \"r\"\nkind = \"risk\"\nsource = \"bundled:r\"\n";
        assert!(!compared(BASE, &format!("{BASE}{risk}")).only_tightens());
        let second =
            "[[module]]\nname = \"three\"\nkind = \"guardrail\"\nsource = \"bundled:three\"\n";
        assert!(compared(BASE, &format!("{BASE}{second}")).only_tightens());
        assert!(!compared(&format!("{BASE}{second}"), BASE).only_tightens());
    }
}
