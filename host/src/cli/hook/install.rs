//! `selfheal hook install`, `status`, `uninstall`: writes the hooks into an agent's
//! settings, and proves that they deny.

use super::host::{Credentials, installed_credentials, read_credentials};
use super::prove::prove;
use super::settings::{self, Scope, Way};
use crate::cli::output::{self, Colour};
use crate::compose;
use crate::config::Config;
use crate::failure::{Because, Exit, Failure};
use clap::Args;
use selfheal_domain::digest::Digest;
use selfheal_domain::external::ExternalAgent;
use selfheal_domain::user::{Role, UserName};
use serde_json::{Value, json};
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// Accounts tried for one agent before giving up on a free name.
const MOST_ACCOUNTS: u32 = 1_000;
/// Largest settings file that is read, in bytes.
const MOST_SETTINGS: u64 = 8 * 1024 * 1024;

/// Which settings.
#[derive(Args, Debug)]
pub(super) struct Target {
    /// claude-code, codex or gemini
    #[arg(long)]
    agent: ExternalAgent,
    /// Settings of the user, or of the repository in this directory
    #[arg(long, value_enum, default_value = "user")]
    scope: Scope,
    /// Print what was done as JSON
    #[arg(long)]
    json: bool,
}

/// Writes the hooks and proves that they work.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  selfheal hook install --agent claude-code                  for everything you do with it
  selfheal hook install --agent gemini --scope project       in the repository here
  selfheal hook install --agent claude-code --http --dry-run show it, write nothing
  selfheal hook install --agent codex --url http://heal.example.org:7700 --token TOKEN

Makes a token that can do nothing but ask, writes it and the host's address to a file that
only you can read, adds the hooks to the agent's settings (everything else stays; a backup
is kept), and sends a call that every policy denies down exactly that way. \"proved\" means
that it was denied by the policies of the running host. Exit 1: not proved.")]
pub(super) struct Install {
    #[command(flatten)]
    target: Target,
    /// Let the agent post to the host in place of starting a command (Claude Code only)
    #[arg(long)]
    http: bool,
    /// Show what would be written
    #[arg(long)]
    dry_run: bool,
    /// Address of the host, where it is not the one that the configuration names
    #[arg(long, env = "SELFHEAL_URL")]
    url: Option<String>,
    /// Authorities (PEM) of its certificate, in place of those that this machine trusts
    #[arg(long, env = "SELFHEAL_CA_FILE", value_name = "FILE")]
    ca_file: Option<PathBuf>,
    /// A token made by `selfheal user add NAME --role hook`, for a host on another machine
    #[arg(long)]
    token: Option<String>,
    /// Configuration of the host on this machine; by default selfheal.toml here, unless
    /// it lies in a repository or belongs to somebody else: then name it
    #[arg(long, value_name = "FILE", env = "SELFHEAL_CONFIG")]
    config: Option<PathBuf>,
}

impl Install {
    pub(super) fn run(self) -> Result<Exit, Failure> {
        let agent = self.target.agent;
        if self.http && agent != ExternalAgent::ClaudeCode {
            let message = format!("{} has no hooks over HTTP; leave --http out", agent.title());
            return Err(Failure::new(Exit::Usage, message));
        }
        let place = Place::of(&self.target)?;
        let mut document = place.read()?;
        let before = document.clone();
        let (credentials, account) = self.credentials(&place)?;
        let way = self.way(&place, &credentials)?;
        settings::insert(agent, self.target.scope, &mut document, &way)
            .map_err(|why| place.wrong(&why))?;
        if self.dry_run {
            let shown = serde_json::to_string_pretty(&document).because(Exit::Usage)?;
            if self.target.json {
                output::json(&json!({
                    "agent": agent.as_str(), "settings": place.file, "wouldWrite": document,
                }));
            } else {
                output::line(format!("would write {}:\n{shown}", place.file.display()));
            }
            return Ok(Exit::Done);
        }
        if !self.http {
            write_private(&place.credentials, &json!(credentials), 0o600)?;
        }
        let backup = if document == before && place.file.exists() {
            None
        } else {
            place.write(&document, self.http)?
        };
        let mut report = Report::new(&self.target, &place);
        report.backup = backup;
        report.account = account;
        report.prove(&way);
        Ok(report.show(self.target.json))
    }

    /// Address and token: the ones given, the ones of an earlier installation, or new
    /// ones from the host on this machine.
    fn credentials(&self, place: &Place) -> Result<(Credentials, Option<String>), Failure> {
        let url = match &self.url {
            Some(url) => url.clone(),
            None => host_here(self.config.as_deref())?.url(),
        };
        let ca_file = self.ca_file.as_ref().map(|file| file.canonicalize());
        let ca_file = ca_file.transpose().because(Exit::Usage)?;
        let with = |token: String, account: Option<String>| Credentials {
            url: url.clone(),
            token,
            account,
            ca_file: ca_file.clone(),
        };
        if let Some(token) = &self.token {
            return Ok((with(token.clone(), None), None));
        }
        if let Ok(earlier) = read_credentials(&place.credentials)
            && (&earlier.url, &earlier.ca_file) == (&url, &ca_file)
            && prove(place.agent, &earlier.way(place.agent), &place.project).is_ok()
        {
            return Ok((earlier, None));
        }
        if self.dry_run {
            return Ok((with("sfh_…".to_owned(), None), None));
        }
        let config = host_here(self.config.as_deref()).map_err(|failure| Failure {
            error: failure
                .error
                .context("no token is given, and no host on this machine can make one"),
            ..failure
        })?;
        for number in 1..=MOST_ACCOUNTS {
            let name =
                UserName::new(format!("hook-{}-{number}", place.agent)).because(Exit::Usage)?;
            match compose::accounts::save_user(&config.data, &name, Role::Hook, None) {
                Ok(token) => {
                    let account = Some(name.to_string());
                    return Ok((with(token, account.clone()), account));
                }
                Err(failure) if is_taken(&failure) => {}
                Err(failure) => return Err(failure),
            }
        }
        Err(Failure::new(
            Exit::Unavailable,
            "no free name for another hook's account; give --token",
        ))
    }

    fn way(&self, place: &Place, credentials: &Credentials) -> Result<Way, Failure> {
        if self.http {
            return Ok(credentials.way(place.agent));
        }
        let binary = std::env::current_exe().because(Exit::Unavailable)?;
        let quoted = |path: &Path| {
            let text = path.to_str().ok_or_else(|| {
                Failure::new(Exit::Usage, format!("{} is no plain name", path.display()))
            })?;
            let quoted = shlex::try_quote(text).because(Exit::Usage)?;
            Ok::<_, Failure>(quoted.into_owned())
        };
        Ok(Way::Command(format!(
            "{} hook --agent {} --credentials {}",
            quoted(&binary)?,
            place.agent,
            quoted(&place.credentials)?
        )))
    }
}

/// The host on this machine. What nobody named must be ours: a repository can bring a
/// `selfheal.toml` along that leads to a host which allows everything.
fn host_here(named: Option<&Path>) -> Result<Config, Failure> {
    if let Some(file) = named {
        return Config::read(file).because(Exit::Usage);
    }
    let file = Path::new("selfheal.toml");
    if let Some(why) = not_ours(file) {
        return Err(Failure::new(
            Exit::Usage,
            format!(
                "{} {why}; if it is yours, name it: --config {0}",
                file.display()
            ),
        ));
    }
    Config::read(file).because(Exit::Usage)
}

/// Why a configuration that nobody named is not believed; one that is not there is for
/// the reader to complain of.
fn not_ours(file: &Path) -> Option<String> {
    let found = file.canonicalize().ok()?;
    let owner = found.metadata().ok()?.uid();
    if owner != 0 && owner != rustix::process::geteuid().as_raw() {
        return Some(format!("belongs to another user ({owner})"));
    }
    found
        .ancestors()
        .skip(1)
        .find(|directory| directory.join(".git").exists())
        .map(|repository| format!("lies in the repository {}", repository.display()))
}

fn is_taken(failure: &Failure) -> bool {
    let text = failure.error.to_string();
    text.contains("already")
}

impl Credentials {
    fn way(&self, agent: ExternalAgent) -> Way {
        Way::Http {
            url: format!("{}/api/v1/hook/{agent}", self.url.trim_end_matches('/')),
            token: self.token.clone(),
        }
    }
}

/// Proves again what is installed.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  selfheal hook status --agent claude-code
  selfheal hook status --agent codex --scope project --json

Exit codes: 0 installed and proved; 1 not installed, or not proved.")]
pub(super) struct Status {
    #[command(flatten)]
    target: Target,
}

impl Status {
    pub(super) fn run(self) -> Result<Exit, Failure> {
        let place = Place::of(&self.target)?;
        let mut report = Report::new(&self.target, &place);
        match settings::installed(self.target.agent, &place.read()?) {
            Some(way) => report.prove(&way),
            None => report.failure = Some("no hook of ours is in these settings".to_owned()),
        }
        Ok(report.show(self.target.json))
    }
}

/// Takes our hooks out of the settings, and closes the account that was made for them.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  selfheal hook uninstall --agent gemini
  selfheal hook uninstall --agent gemini --keep-account

The account is closed where its host runs on this machine: its token is good for nothing
from then on, and what it asked stays on record. On another machine, `selfheal user close
NAME` does it there; the name is printed.")]
pub(super) struct Uninstall {
    #[command(flatten)]
    target: Target,
    /// Leave the account that `hook install` made as it is
    #[arg(long)]
    keep_account: bool,
    /// Configuration of the host on this machine; found as `hook install` finds it
    #[arg(long, value_name = "FILE", env = "SELFHEAL_CONFIG")]
    config: Option<PathBuf>,
}

impl Uninstall {
    pub(super) fn run(self) -> Result<Exit, Failure> {
        let place = Place::of(&self.target)?;
        let mut document = place.read()?;
        let found =
            settings::remove(self.target.agent, &mut document).map_err(|why| place.wrong(&why))?;
        let backup = if found {
            place.write(&document, false)?
        } else {
            None
        };
        let account = read_credentials(&place.credentials)
            .ok()
            .and_then(|credentials| credentials.account);
        match std::fs::remove_file(&place.credentials) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(error).because(Exit::Unavailable);
            }
            Ok(()) | Err(_) => {}
        }
        let open = match &account {
            Some(_) if self.keep_account => Some("as you asked".to_owned()),
            Some(name) => self
                .close(name)
                .err()
                .map(|failure| format!("{:#}", failure.error)),
            None => None,
        };
        if self.target.json {
            output::json(&json!({
                "agent": place.agent.as_str(), "settings": place.file, "removed": found,
                "backup": backup, "account": account,
                "accountClosed": account.is_some() && open.is_none(), "accountOpen": open,
            }));
        } else if found {
            output::line(format!("taken out of {}", place.file.display()));
        } else {
            output::line(format!("no hook of ours is in {}", place.file.display()));
        }
        if let Some(account) = account.filter(|_| !self.target.json) {
            output::line(match open {
                None => format!("the account {account} is closed: its token is good for nothing"),
                Some(why) => format!(
                    "the account {account} stays open, {why}; `selfheal user close {account}` on \
                     the host's machine closes it"
                ),
            });
        }
        Ok(if found { Exit::Done } else { Exit::NotSo })
    }

    /// The name comes from a file that anybody may have written who runs as this user: an
    /// account that is no hook's is left alone.
    fn close(&self, account: &str) -> Result<(), Failure> {
        let name = UserName::new(account).because(Exit::Usage)?;
        let config = host_here(self.config.as_deref())?;
        compose::accounts::close_user(&config.data, &name, Some(Role::Hook))
    }
}

/// The files of one installation.
struct Place {
    agent: ExternalAgent,
    project: PathBuf,
    file: PathBuf,
    credentials: PathBuf,
}

impl Place {
    fn of(target: &Target) -> Result<Self, Failure> {
        let here = std::env::current_dir().because(Exit::Unavailable)?;
        let project = match target.scope {
            Scope::User => here,
            Scope::Project => compose::repository_root(&here)?,
        };
        let usage = |why: String| Failure::new(Exit::Usage, why);
        let file = settings::file_of(target.agent, target.scope, &project).map_err(usage)?;
        let name = match target.scope {
            Scope::User => target.agent.to_string(),
            Scope::Project => {
                let digest = Digest::of(project.as_os_str().as_encoded_bytes()).to_string();
                let short = digest.get(..16).unwrap_or(&digest);
                format!("{}-{short}", target.agent)
            }
        };
        Ok(Self {
            agent: target.agent,
            credentials: installed_credentials(&name).ok_or_else(|| {
                usage("there is no home directory to keep the token in".to_owned())
            })?,
            project,
            file,
        })
    }

    /// The settings; empty where there are none.
    fn read(&self) -> Result<Value, Failure> {
        let text = match std::fs::metadata(&self.file) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(json!({})),
            Err(error) => return Err(error).because(Exit::Unavailable),
            Ok(file) if file.len() > MOST_SETTINGS => return Err(self.wrong("it is too large")),
            Ok(_) => std::fs::read_to_string(&self.file).because(Exit::Unavailable)?,
        };
        if text.trim().is_empty() {
            return Ok(json!({}));
        }
        serde_json::from_str(&text).map_err(|error| self.wrong(&error.to_string()))
    }

    fn wrong(&self, why: &str) -> Failure {
        let message = format!("{}: {why}; nothing was changed", self.file.display());
        Failure::new(Exit::Usage, message)
    }

    /// Writes the settings; gives the backup of what was there.
    fn write(&self, document: &Value, secret: bool) -> Result<Option<PathBuf>, Failure> {
        let mode = std::fs::metadata(&self.file).map(|file| file.permissions().mode() & 0o777);
        let backup = match &mode {
            Ok(_) => {
                let mut name = self.file.clone().into_os_string();
                name.push(".before-selfheal");
                let backup = PathBuf::from(name);
                std::fs::copy(&self.file, &backup).because(Exit::Unavailable)?;
                Some(backup)
            }
            Err(_) => None,
        };
        let mode = if secret { 0o600 } else { mode.unwrap_or(0o644) };
        write_private(&self.file, document, mode)?;
        Ok(backup)
    }
}

/// Writes a file whole or not at all.
fn write_private(file: &Path, document: &Value, mode: u32) -> Result<(), Failure> {
    // A link stays a link: people keep their settings elsewhere.
    let file = file.canonicalize().unwrap_or_else(|_| file.to_owned());
    let directory = file.parent().unwrap_or(Path::new("/"));
    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(true).mode(0o700);
    builder.create(directory).because(Exit::Unavailable)?;
    let mut text = serde_json::to_string_pretty(document).because(Exit::Unavailable)?;
    text.push('\n');
    let mut fresh = tempfile::NamedTempFile::new_in(directory).because(Exit::Unavailable)?;
    fresh
        .write_all(text.as_bytes())
        .because(Exit::Unavailable)?;
    let permissions = std::fs::Permissions::from_mode(mode);
    fresh
        .as_file()
        .set_permissions(permissions)
        .because(Exit::Unavailable)?;
    fresh.as_file().sync_all().because(Exit::Unavailable)?;
    fresh.persist(&file).because(Exit::Unavailable)?;
    Ok(())
}

/// What an installation came to.
struct Report<'a> {
    target: &'a Target,
    place: &'a Place,
    backup: Option<PathBuf>,
    account: Option<String>,
    way: Option<&'static str>,
    failure: Option<String>,
}

impl<'a> Report<'a> {
    fn new(target: &'a Target, place: &'a Place) -> Self {
        Self {
            target,
            place,
            backup: None,
            account: None,
            way: None,
            failure: None,
        }
    }

    fn prove(&mut self, way: &Way) {
        self.way = Some(match way {
            Way::Command(_) => "command",
            Way::Http { .. } => "http",
        });
        self.failure = prove(self.place.agent, way, &self.place.project).err();
    }

    fn show(&self, as_json: bool) -> Exit {
        let proved = self.failure.is_none();
        let warnings = settings::warnings(self.target.agent, self.target.scope);
        if as_json {
            output::json(&json!({
                "agent": self.place.agent.as_str(),
                "scope": self.target.scope,
                "settings": self.place.file,
                "backup": self.backup,
                "account": self.account,
                "way": self.way,
                "proved": proved,
                "failure": self.failure,
                "warnings": warnings,
            }));
        } else {
            output::line(format!("settings  {}", self.place.file.display()));
            if let Some(backup) = &self.backup {
                output::line(format!("backup    {}", backup.display()));
            }
            if let Some(account) = &self.account {
                output::line(format!("account   {account} (can ask, and nothing else)"));
            }
            match &self.failure {
                None => output::line(format!(
                    "{}    a call that every policy denies was denied down this way",
                    output::coloured(Colour::Green, "proved")
                )),
                Some(why) => output::line(format!(
                    "{} {why}",
                    output::coloured(Colour::Red, "not proved")
                )),
            }
            for warning in warnings {
                output::line(format!("note      {warning}"));
            }
        }
        if proved { Exit::Done } else { Exit::NotSo }
    }
}
