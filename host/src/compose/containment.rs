//! What follows when a layer of containment does not hold: agents get no commands, and
//! autonomy is capped at 1.

use selfheal_domain::risk::AutonomyLevel;
use selfheal_sandbox::{Probe, Sandbox, Thoroughness, all_hold};
use std::sync::OnceLock;

/// The layers of this machine, attacked once per process.
fn layers() -> &'static [Probe] {
    static PROBED: OnceLock<Vec<Probe>> = OnceLock::new();
    PROBED.get_or_init(|| Sandbox::new().attack(Thoroughness::Quick))
}

/// A sandbox that runs commands only where every layer holds.
pub(crate) fn sandbox() -> Sandbox {
    sandbox_behind(layers())
}

/// The highest level that this machine bears.
pub(crate) fn ceiling(configured: AutonomyLevel) -> AutonomyLevel {
    ceiling_behind(layers(), configured)
}

fn sandbox_behind(layers: &[Probe]) -> Sandbox {
    match missing(layers) {
        None => Sandbox::new(),
        Some(missing) => Sandbox::closed(&format!("{missing}; see `selfheal doctor`")),
    }
}

fn ceiling_behind(layers: &[Probe], configured: AutonomyLevel) -> AutonomyLevel {
    match missing(layers) {
        None => configured,
        Some(missing) => {
            tracing::warn!(
                "commands cannot be contained here ({missing}): agents get none, and autonomy is capped at 1 (SUGGEST); see `selfheal doctor`"
            );
            configured.min(AutonomyLevel::Suggest)
        }
    }
}

/// What does not hold, in a few words.
fn missing(layers: &[Probe]) -> Option<String> {
    if all_hold(layers) {
        return None;
    }
    let broken: Vec<String> = layers
        .iter()
        .filter(|probe| !probe.holds)
        .map(|probe| format!("{}: {}", probe.name, probe.detail))
        .collect();
    Some(if broken.is_empty() {
        "no layer could be probed".to_owned()
    } else {
        broken.join("; ")
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use selfheal_sandbox::{Access, CancelToken, SandboxError, SandboxSpec, Workspace};

    fn probe(name: &'static str, holds: bool) -> Probe {
        Probe {
            name,
            holds,
            detail: "as found".to_owned(),
            remedy: "",
        }
    }

    #[test]
    fn a_missing_layer_caps_autonomy_and_takes_commands_away() {
        let tree = tempfile::tempdir().unwrap();
        let run = |sandbox: Sandbox| {
            let workspace = Workspace::new(tree.path(), Access::ReadOnly);
            sandbox.run(SandboxSpec::new("true", workspace), &CancelToken::new())
        };
        let whole = [probe("network", true), probe("landlock", true)];
        assert_eq!(
            ceiling_behind(&whole, AutonomyLevel::AutoAll),
            AutonomyLevel::AutoAll
        );
        assert!(run(sandbox_behind(&whole)).unwrap().ended.success());
        for broken in [
            vec![probe("network", true), probe("landlock", false)],
            Vec::new(),
        ] {
            assert_eq!(
                ceiling_behind(&broken, AutonomyLevel::AutoAll),
                AutonomyLevel::Suggest
            );
            assert_eq!(
                ceiling_behind(&broken, AutonomyLevel::Observe),
                AutonomyLevel::Observe
            );
            let refused = run(sandbox_behind(&broken));
            assert!(
                matches!(refused, Err(SandboxError::NoContainment(_))),
                "{refused:?}"
            );
        }
    }
}
