//! Where each agent keeps its hooks, and how ours stand among what is there already.
//! Whatever else a file holds stays as it is.

use selfheal_domain::external::ExternalAgent;
use serde_json::{Map, Value, json};
use std::path::{Path, PathBuf};

/// The agent's own time limit, in seconds: above ours, so that our denial comes first.
pub(super) const AGENT_SECONDS: u64 = 30;
const _: () = assert!(super::ask::DEADLINE < AGENT_SECONDS);

/// Whose settings.
#[derive(Clone, Copy, PartialEq, Eq, Debug, clap::ValueEnum, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Scope {
    /// Everything that this user does with the agent
    User,
    /// What is done with it in one repository, on this machine
    Project,
}

/// How the agent reaches the host.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Way {
    /// It starts this command, for `sh -c`.
    Command(String),
    /// It posts to this address, with this token.
    Http {
        /// Address of the hook.
        url: String,
        /// Its token.
        token: String,
    },
}

/// The file that holds an agent's hooks.
pub(super) fn file_of(
    agent: ExternalAgent,
    scope: Scope,
    project: &Path,
) -> Result<PathBuf, String> {
    let home = |variable: &str, below: &str| {
        let named = std::env::var_os(variable).map(PathBuf::from);
        named
            .filter(|path| path.is_absolute())
            .or_else(|| Some(home()?.join(below)))
            .ok_or_else(|| "there is no home directory; use --scope project".to_owned())
    };
    Ok(match (agent, scope) {
        (ExternalAgent::ClaudeCode, Scope::User) => {
            home("CLAUDE_CONFIG_DIR", ".claude")?.join("settings.json")
        }
        // The file that git does not share: command and credentials are this machine's.
        (ExternalAgent::ClaudeCode, Scope::Project) => project.join(".claude/settings.local.json"),
        (ExternalAgent::Codex, Scope::User) => home("CODEX_HOME", ".codex")?.join("hooks.json"),
        (ExternalAgent::Codex, Scope::Project) => project.join(".codex/hooks.json"),
        (ExternalAgent::Gemini, Scope::User) => {
            home("GEMINI_CLI_HOME_DIR", ".gemini")?.join("settings.json")
        }
        (ExternalAgent::Gemini, Scope::Project) => project.join(".gemini/settings.json"),
    })
}

pub(super) fn home() -> Option<PathBuf> {
    let home = std::env::var_os("HOME").map(PathBuf::from);
    home.filter(|home| home.is_absolute())
}

/// Events that we answer, and whether the call waits for the answer.
fn events(agent: ExternalAgent) -> &'static [(&'static str, bool)] {
    match agent {
        ExternalAgent::ClaudeCode => &[
            ("PreToolUse", true),
            ("PostToolUse", false),
            ("PostToolUseFailure", false),
            ("ConfigChange", true),
        ],
        ExternalAgent::Codex => &[("PreToolUse", true), ("PostToolUse", false)],
        ExternalAgent::Gemini => &[("BeforeTool", true), ("AfterTool", false)],
    }
}

fn entry(agent: ExternalAgent, way: &Way, event: &str, decides: bool) -> Value {
    let mut hook = Map::new();
    let mut say = |key: &str, value: Value| {
        hook.insert(key.to_owned(), value);
    };
    match way {
        Way::Command(command) => {
            say("type", json!("command"));
            say("command", json!(command));
        }
        Way::Http { url, token } => {
            say("type", json!("http"));
            say("url", json!(url));
            let headers = json!({ "Authorization": format!("Bearer {token}") });
            say("headers", headers);
        }
    }
    let matcher = match agent {
        ExternalAgent::ClaudeCode => {
            say("timeout", json!(AGENT_SECONDS));
            if decides {
                // Its default lets the call happen when a hook fails.
                say("onFailure", json!("block"));
            }
            (event != "ConfigChange").then_some("*")
        }
        ExternalAgent::Codex => {
            say("timeout", json!(AGENT_SECONDS));
            Some(".*")
        }
        ExternalAgent::Gemini => {
            say("name", json!("selfheal"));
            say("timeout", json!(AGENT_SECONDS * 1_000));
            Some("*")
        }
    };
    let mut group = Map::new();
    if let Some(matcher) = matcher {
        group.insert("matcher".to_owned(), json!(matcher));
    }
    group.insert("hooks".to_owned(), json!([hook]));
    Value::Object(group)
}

/// Puts our hooks in, in place of earlier ones of ours.
///
/// # Errors
/// What is there is not what this agent's settings look like.
pub(super) fn insert(
    agent: ExternalAgent,
    scope: Scope,
    settings: &mut Value,
    way: &Way,
) -> Result<(), String> {
    remove(agent, settings)?;
    let fields = settings
        .as_object_mut()
        .ok_or("the settings are no JSON object")?;
    if agent == ExternalAgent::ClaudeCode {
        if fields.get("disableAllHooks") == Some(&json!(true)) && scope == Scope::User {
            return Err("disableAllHooks is set; take it out first".to_owned());
        }
        if scope == Scope::Project {
            // The repository's own settings count less than these.
            fields.insert("disableAllHooks".to_owned(), json!(false));
        }
    }
    let hooks = fields.entry("hooks").or_insert_with(|| json!({}));
    let hooks = hooks.as_object_mut().ok_or("hooks is no JSON object")?;
    for (event, decides) in events(agent) {
        let groups = hooks.entry(*event).or_insert_with(|| json!([]));
        let groups = groups
            .as_array_mut()
            .ok_or_else(|| format!("hooks.{event} is no list"))?;
        groups.push(entry(agent, way, event, *decides));
    }
    Ok(())
}

/// Takes our hooks out; says whether there were any.
///
/// # Errors
/// What is there is not what this agent's settings look like.
pub(super) fn remove(agent: ExternalAgent, settings: &mut Value) -> Result<bool, String> {
    let fields = settings
        .as_object_mut()
        .ok_or("the settings are no JSON object")?;
    let Some(hooks) = fields.get_mut("hooks") else {
        return Ok(false);
    };
    let hooks = hooks.as_object_mut().ok_or("hooks is no JSON object")?;
    let mut found = false;
    for groups in hooks.values_mut().filter_map(Value::as_array_mut) {
        groups.retain_mut(|group| {
            let Some(list) = group.get_mut("hooks").and_then(Value::as_array_mut) else {
                return true;
            };
            let before = list.len();
            list.retain(|hook| way_of(agent, hook).is_none());
            let ours = list.len() < before;
            found |= ours;
            !(ours && list.is_empty())
        });
    }
    if found {
        hooks.retain(|_, groups| groups.as_array().is_none_or(|groups| !groups.is_empty()));
        if hooks.is_empty() {
            fields.remove("hooks");
        }
    }
    Ok(found)
}

/// How our hook for the event that decides reaches the host, as the settings say.
pub(super) fn installed(agent: ExternalAgent, settings: &Value) -> Option<Way> {
    let event = selfheal_api::hook::asking_event(agent);
    let groups = settings.get("hooks")?.get(event)?.as_array()?;
    let hooks = groups
        .iter()
        .filter_map(|group| group.get("hooks")?.as_array())
        .flatten();
    hooks.filter_map(|hook| way_of(agent, hook)).next()
}

/// A hook of ours.
fn way_of(agent: ExternalAgent, hook: &Value) -> Option<Way> {
    let text = |key: &str| hook.get(key)?.as_str();
    match text("type")? {
        "command" => {
            let command = text("command")?;
            let ours = format!(" hook --agent {agent} --credentials ");
            command
                .contains(&ours)
                .then(|| Way::Command(command.to_owned()))
        }
        "http" => {
            let url = text("url")?;
            let path = format!("/api/v1/hook/{agent}");
            let token = hook.pointer("/headers/Authorization")?.as_str()?;
            url.ends_with(&path).then(|| Way::Http {
                url: url.to_owned(),
                token: token.trim_start_matches("Bearer ").to_owned(),
            })
        }
        _ => None,
    }
}

/// What this way of being asked cannot close.
pub(super) fn warnings(agent: ExternalAgent, scope: Scope) -> Vec<&'static str> {
    match (agent, scope) {
        (ExternalAgent::ClaudeCode, Scope::User) => vec![
            "Claude Code before 2.1.329 does not know \"onFailure\": there a hook that is killed or too slow lets the call happen; update it",
            "a repository's own .claude/settings.json can switch hooks off; start Claude Code with --setting-sources user where you do not trust it, or install with --scope project",
            "--bare and --safe-mode skip all hooks",
        ],
        (ExternalAgent::ClaudeCode, Scope::Project) => vec![
            "Claude Code before 2.1.329 does not know \"onFailure\": there a hook that is killed or too slow lets the call happen; update it",
            "--bare, --safe-mode and --setting-sources without local skip these hooks",
        ],
        (ExternalAgent::Codex, _) => vec![
            "Codex runs a hook only after you trusted it: start codex once and agree under /hooks",
            "Codex has no setting that denies when a hook is killed or too slow; keep its own approvals and sandbox on",
        ],
        (ExternalAgent::Gemini, _) => vec![
            "Gemini CLI has no setting that denies when a hook is killed or too slow; keep its own approvals on (no --yolo)",
        ],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn command() -> Way {
        Way::Command("/usr/bin/selfheal hook --agent claude-code --credentials /c".to_owned())
    }

    #[test]
    fn ours_are_added_and_taken_out_and_the_rest_stays() {
        let before = json!({
            "model": "opus",
            "permissions": { "allow": ["Bash"] },
            "hooks": {
                "PreToolUse": [{ "matcher": "Bash", "hooks": [{ "type": "command", "command": "other" }] }],
                "Stop": [{ "hooks": [{ "type": "command", "command": "bell" }] }],
            },
            "later": [1, { "x": null }],
        });
        let mut settings = before.clone();
        insert(
            ExternalAgent::ClaudeCode,
            Scope::User,
            &mut settings,
            &command(),
        )
        .unwrap();
        assert_eq!(
            settings["hooks"]["PreToolUse"][0],
            before["hooks"]["PreToolUse"][0]
        );
        let ours = &settings["hooks"]["PreToolUse"][1]["hooks"][0];
        assert_eq!(ours["onFailure"], "block");
        assert_eq!(ours["timeout"], AGENT_SECONDS);
        assert_eq!(
            installed(ExternalAgent::ClaudeCode, &settings),
            Some(command())
        );
        // Again: not twice.
        let once = settings.clone();
        insert(
            ExternalAgent::ClaudeCode,
            Scope::User,
            &mut settings,
            &command(),
        )
        .unwrap();
        assert_eq!(settings, once);
        assert!(remove(ExternalAgent::ClaudeCode, &mut settings).unwrap());
        assert_eq!(settings, before);
        assert!(!remove(ExternalAgent::ClaudeCode, &mut settings).unwrap());
        assert_eq!(installed(ExternalAgent::ClaudeCode, &settings), None);
    }

    #[test]
    fn every_agent_gets_its_events_in_its_units() {
        for agent in ExternalAgent::ALL {
            for way in [
                Way::Command(format!("/b hook --agent {agent} --credentials /c")),
                Way::Http {
                    url: format!("http://127.0.0.1:7700/api/v1/hook/{agent}"),
                    token: "sfh_x".to_owned(),
                },
            ] {
                let mut settings = json!({});
                insert(agent, Scope::Project, &mut settings, &way).unwrap();
                assert_eq!(installed(agent, &settings), Some(way));
                let event = selfheal_api::hook::asking_event(agent);
                let timeout = &settings["hooks"][event][0]["hooks"][0]["timeout"];
                let unit = if agent == ExternalAgent::Gemini {
                    1_000
                } else {
                    1
                };
                assert_eq!(*timeout, AGENT_SECONDS * unit);
                let off = settings.get("disableAllHooks") == Some(&json!(false));
                assert_eq!(off, agent == ExternalAgent::ClaudeCode);
            }
        }
    }

    #[test]
    fn what_is_not_understood_is_left_alone() {
        let agent = ExternalAgent::ClaudeCode;
        for wrong in [
            json!([]),
            json!({ "hooks": [] }),
            json!({ "hooks": { "PreToolUse": {} } }),
            json!({ "disableAllHooks": true }),
        ] {
            let mut settings = wrong.clone();
            assert!(
                insert(agent, Scope::User, &mut settings, &command()).is_err(),
                "{wrong}"
            );
        }
    }
}
