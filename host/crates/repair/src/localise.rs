//! Where the cause may be: stack frames, coverage of failing and passing tests.

use crate::command::{is_foreign, is_witness};
use crate::observe::{Profile, Ready};
use crate::source::{
    CLASSES, FUNCTIONS, Lang, Source, all_nodes, field, last_line_of, line_of, up,
};
use std::collections::{BTreeMap, BTreeSet};

/// Lines considered at most: uncapped generation takes minutes.
const LINES: usize = 60;

/// Suspicion per file and line, 0 to 1.
pub(crate) type Heat = BTreeMap<String, BTreeMap<u32, f64>>;

/// May the engine change this file?
pub(crate) fn editable(path: &str, ready: &Ready) -> bool {
    if is_foreign(path) || Lang::of(path).is_none() {
        return false;
    }
    if ready.main.as_deref() == Some(path) {
        return !ready.witness;
    }
    !is_witness(path) && !ready.witnesses.iter().any(|witness| witness == path)
}

/// Combines everything that was seen. Ochiai over coverage; frames of the
/// failing tests on top.
pub(crate) fn heat(profile: &Profile, ready: &Ready) -> Heat {
    let mut heat = Heat::new();
    let total = f64::from(profile.failing.max(1));
    let watched = profile
        .spectrum
        .values()
        .flat_map(BTreeMap::values)
        .map(|counts| counts.2)
        .max();
    let tests = f64::from(watched.unwrap_or(1).max(1));
    for (path, lines) in &profile.spectrum {
        if !editable(path, ready) {
            continue;
        }
        for (line, (failing, passing, failed, passed)) in lines {
            let Ok(line) = line.parse::<u32>() else {
                continue;
            };
            let [failing, passing, failed, passed] =
                [failing, passing, failed, passed].map(|count| f64::from(*count));
            if failing + failed <= 0.0 {
                continue;
            }
            let own = failing / (total * (failing + passing).max(1.0)).sqrt();
            // What went before in a failing test may have spoilt the state.
            let earlier = failed / (tests * (failed + passed)).max(1.0).sqrt();
            let score = own.min(1.0).max(0.8 * earlier.min(1.0));
            heat.entry(path.clone())
                .or_default()
                .insert(line, 0.7 * score);
        }
    }
    for test in profile.failures() {
        let mut bonus = 0.3;
        for (path, line, _) in test.frames.iter().rev() {
            if !editable(path, ready) {
                continue;
            }
            let cell = heat
                .entry(path.clone())
                .or_default()
                .entry(*line)
                .or_insert(0.25);
            *cell = (*cell + bonus).min(1.0);
            bonus *= 0.6;
            if bonus < 0.05 {
                break;
            }
        }
    }
    normalise(&mut heat);
    heat
}

fn normalise(heat: &mut Heat) {
    let most = heat
        .values()
        .flat_map(|lines| lines.values())
        .copied()
        .fold(0.0, f64::max);
    if most <= 0.0 {
        return;
    }
    let mut all: Vec<(f64, String, u32)> = heat
        .iter()
        .flat_map(|(path, lines)| {
            lines
                .iter()
                .map(|(line, score)| (score / most, path.clone(), *line))
        })
        .collect();
    all.sort_by(|a, b| {
        b.0.total_cmp(&a.0)
            .then_with(|| a.1.cmp(&b.1))
            .then(a.2.cmp(&b.2))
    });
    all.truncate(LINES);
    heat.clear();
    for (score, path, line) in all {
        heat.entry(path).or_default().insert(line, score);
    }
}

/// What does not end is a loop (or a recursion): its head and body come first.
pub(crate) fn loops_first(heat: &mut Heat, sources: &BTreeMap<String, Source>) {
    for (path, lines) in heat.iter_mut() {
        let Some(source) = sources.get(path) else {
            continue;
        };
        let mut looping: BTreeSet<u32> = BTreeSet::new();
        for node in all_nodes(source.root()) {
            if matches!(
                node.kind(),
                "while_statement" | "do_statement" | "for_statement"
            ) {
                looping.extend(line_of(node)..=last_line_of(node));
            }
        }
        if lines.keys().any(|line| looping.contains(line)) {
            for (line, score) in lines.iter_mut() {
                if !looping.contains(line) {
                    *score *= 0.8;
                }
            }
        }
    }
}

/// Adds module-level and class-level statements that hot functions lean on:
/// tables, constants, patterns, defaults. They ran at import, for everybody.
pub(crate) fn widen(heat: &mut Heat, sources: &BTreeMap<String, Source>) {
    let mut used: BTreeSet<String> = BTreeSet::new();
    for (path, lines) in heat.iter() {
        let Some(source) = sources.get(path) else {
            continue;
        };
        let mut functions: BTreeSet<usize> = BTreeSet::new();
        for node in all_nodes(source.root()) {
            if lines.contains_key(&line_of(node))
                && let Some(function) = up(node, FUNCTIONS)
                && functions.insert(function.start_byte())
            {
                for inner in all_nodes(function) {
                    if matches!(inner.kind(), "identifier" | "property_identifier") {
                        used.insert(source.at(inner).to_owned());
                    }
                }
            }
        }
    }
    for (path, source) in sources {
        for node in all_nodes(source.root()) {
            if !matches!(node.kind(), "assignment" | "variable_declarator")
                || up(node, FUNCTIONS).is_some()
            {
                continue;
            }
            let Some(target) = field(node, "left").or_else(|| field(node, "name")) else {
                continue;
            };
            if !used.contains(source.at(target)) {
                continue;
            }
            let in_class = up(node, CLASSES).is_some();
            for line in line_of(node)..=last_line_of(node).min(line_of(node) + 30) {
                heat.entry(path.clone())
                    .or_default()
                    .entry(line)
                    .or_insert(if in_class { 0.4 } else { 0.45 });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observe::TestOutcome;

    fn profile() -> Profile {
        let mut profile = Profile {
            failing: 1,
            passing: 3,
            ..Profile::default()
        };
        let lines = [
            ("2".to_owned(), (1, 3, 1, 3)),
            ("3".to_owned(), (0, 3, 0, 3)),
            ("5".to_owned(), (1, 0, 1, 0)),
        ];
        profile
            .spectrum
            .insert("a.py".into(), lines.into_iter().collect());
        profile.spectrum.insert(
            "test_a.py".into(),
            [("1".to_owned(), (1, 0, 1, 0))].into_iter().collect(),
        );
        profile
    }

    #[test]
    fn lines_that_only_failing_tests_run_are_hottest() {
        let heat = heat(&profile(), &Ready::default());
        let lines = heat.get("a.py").unwrap();
        assert_eq!(lines.get(&5), Some(&1.0));
        assert!(lines.get(&2).unwrap() < &0.6);
        assert!(!lines.contains_key(&3), "never ran in a failing test");
        assert!(!heat.contains_key("test_a.py"), "tests are witnesses");
    }

    #[test]
    fn the_innermost_frame_outweighs_coverage() {
        let mut profile = profile();
        profile.tests.push(TestOutcome {
            outcome: "fail".into(),
            frames: vec![
                ("test_a.py".into(), 1, "t".into()),
                ("a.py".into(), 2, "f".into()),
            ],
            ..TestOutcome::default()
        });
        let before = *heat(&self::profile(), &Ready::default())
            .get("a.py")
            .unwrap()
            .get(&2)
            .unwrap();
        let after = *heat(&profile, &Ready::default())
            .get("a.py")
            .unwrap()
            .get(&2)
            .unwrap();
        assert!(after > before);
    }

    #[test]
    fn constants_that_hot_functions_use_are_added() {
        let source = Source::new(
            "a.py",
            "RATE = 2\nOTHER = 3\ndef f(x):\n    return x * RATE\n",
        )
        .unwrap();
        let mut heat: Heat = [("a.py".to_owned(), [(4, 1.0)].into_iter().collect())]
            .into_iter()
            .collect();
        widen(
            &mut heat,
            &[("a.py".to_owned(), source)].into_iter().collect(),
        );
        let lines = heat.get("a.py").unwrap();
        assert!(lines.contains_key(&1) && !lines.contains_key(&2));
    }
}
