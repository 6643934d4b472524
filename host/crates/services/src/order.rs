//! In which order services come up.

use crate::config::WrongService;
use std::collections::BTreeSet;

/// A service by its name, and those that come up before it.
pub(crate) type Item<'a> = (&'a str, &'a [String]);

/// Positions of `items` such that each comes after those it names, and otherwise in
/// the order in which they are given.
///
/// # Errors
/// A name that is none of them, or a cycle; the text names both ends, or all of it.
pub(crate) fn start_order(items: &[Item<'_>]) -> Result<Vec<usize>, WrongService> {
    for (name, after) in items {
        if let Some(missing) = after
            .iter()
            .find(|wanted| !items.iter().any(|(known, _)| known == wanted))
        {
            let known: Vec<&str> = items.iter().map(|(known, _)| *known).collect();
            return Err(WrongService {
                service: Some((*name).to_owned()),
                message: format!(
                    "`after` names {missing:?}, which is none of the services: {}",
                    known.join(", ")
                ),
            });
        }
    }
    let mut order = Vec::with_capacity(items.len());
    let mut up: BTreeSet<&str> = BTreeSet::new();
    while order.len() < items.len() {
        let next = items.iter().position(|(name, after)| {
            !up.contains(name) && after.iter().all(|wanted| up.contains(wanted.as_str()))
        });
        let Some(next) = next else {
            let message = format!(
                "services wait for each other: {}",
                cycle(items, &up).join(" after ")
            );
            return Err(WrongService {
                service: None,
                message,
            });
        };
        up.extend(items.get(next).map(|(name, _)| *name));
        order.push(next);
    }
    Ok(order)
}

/// A cycle among those that are not up: everyone there waits for another one there.
fn cycle<'a>(items: &[Item<'a>], up: &BTreeSet<&str>) -> Vec<&'a str> {
    let mut path: Vec<&str> = Vec::new();
    let mut at = items.iter().find(|(name, _)| !up.contains(name));
    while let Some((name, after)) = at {
        if let Some(start) = path.iter().position(|seen| seen == name) {
            let mut cycle = path.split_off(start);
            cycle.push(name);
            return cycle;
        }
        path.push(name);
        at = after
            .iter()
            .find(|wanted| !up.contains(wanted.as_str()))
            .and_then(|wanted| items.iter().find(|(name, _)| name == wanted));
    }
    path
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn order(items: &[(&str, &[&str])]) -> Result<Vec<String>, String> {
        let owned: Vec<(&str, Vec<String>)> = items
            .iter()
            .map(|(name, after)| (*name, after.iter().map(|it| (*it).to_owned()).collect()))
            .collect();
        let items: Vec<Item<'_>> = owned
            .iter()
            .map(|(name, after)| (*name, after.as_slice()))
            .collect();
        let order = start_order(&items).map_err(|error| error.to_string())?;
        Ok(order.into_iter().map(|at| items[at].0.to_owned()).collect())
    }

    #[test]
    fn order_is_kept_where_nothing_else_is_said_and_cycles_are_named() {
        assert_eq!(order(&[("b", &[]), ("a", &[])]).unwrap(), ["b", "a"]);
        assert_eq!(
            order(&[("web", &["db", "cache"]), ("db", &[]), ("cache", &["db"])]).unwrap(),
            ["db", "cache", "web"]
        );
        let error = order(&[("x", &["a"]), ("a", &["b"]), ("b", &["c"]), ("c", &["a"])]);
        assert_eq!(
            error.unwrap_err(),
            "services wait for each other: a after b after c after a"
        );
        assert!(order(&[("a", &["a"])]).unwrap_err().contains("a after a"));
        let error = order(&[("web", &["bd"]), ("db", &[])]).unwrap_err();
        assert!(
            error.contains("\"bd\"") && error.contains("web, db"),
            "{error}"
        );
    }

    proptest! {
        #[test]
        fn every_service_comes_after_those_it_names_or_a_real_cycle_is_named(
            edges in proptest::collection::vec((0_usize..8, 0_usize..8), 0..16),
        ) {
            let names: Vec<String> = (0..8).map(|n| format!("s{n}")).collect();
            let mut after: Vec<Vec<String>> = vec![Vec::new(); 8];
            for (from, to) in edges {
                after[from].push(names[to].clone());
            }
            let items: Vec<Item<'_>> = names.iter().zip(&after).map(|(n, a)| (n.as_str(), a.as_slice())).collect();
            match start_order(&items) {
                Ok(order) => {
                    let at = |name: &String| order.iter().position(|i| &names[*i] == name).unwrap();
                    prop_assert_eq!(order.len(), 8);
                    for (name, wanted) in names.iter().zip(&after) {
                        for earlier in wanted {
                            prop_assert!(at(earlier) < at(name));
                        }
                    }
                }
                Err(error) => {
                    let cycle: Vec<&str> = error.message.rsplit(": ").next().unwrap().split(" after ").collect();
                    prop_assert!(cycle.len() >= 2);
                    prop_assert_eq!(cycle.first(), cycle.last());
                    for pair in cycle.windows(2) {
                        let from = names.iter().position(|name| name == pair[0]).unwrap();
                        prop_assert!(after[from].iter().any(|it| it == pair[1]));
                    }
                }
            }
        }
    }
}
