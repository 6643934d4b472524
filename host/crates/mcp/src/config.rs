//! `[[agent.mcp]]` of `selfheal.toml`.

use crate::conversation::client;
use reqwest::{Certificate, Url};
use selfheal_domain::mcp::{McpReach, is_server_name};
use serde::Deserialize;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Longest wait that can be asked for.
const MAX_SECONDS: u64 = 600;

/// One server, as written.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
pub struct McpConfig {
    /// Its name in the names of its tools.
    pub name: String,
    /// Shell command that starts it, in the workspace's root and in the agent's sandbox.
    pub command: Option<String>,
    /// Address of a streamable HTTP server.
    pub url: Option<String>,
    /// Environment variable of the host with the bearer token for `url`.
    pub token_env: Option<String>,
    /// File of the host with it, instead.
    pub token_file: Option<PathBuf>,
    /// File with the certificates (PEM) of the authorities that sign the one of `url`,
    /// instead of those that the machine trusts.
    pub ca_file: Option<PathBuf>,
    /// Longest wait for one answer, in seconds; 1 to 600.
    #[serde(default = "usual_timeout")]
    pub timeout_seconds: u64,
}

fn usual_timeout() -> u64 {
    60
}

/// A server cannot be configured so.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum McpConfigError {
    /// The name cannot be part of the names of tools.
    #[error(
        "agent.mcp.name: {0:?} is none; 1 to 32 of A-Z a-z 0-9 _ -, without \"__\", not ending in \"_\""
    )]
    Name(String),
    /// Two servers have one name.
    #[error("agent.mcp.name: {0:?} is used twice")]
    Twice(String),
    /// It is reached in no way, or in two.
    #[error("agent.mcp {0:?}: it has either a command or a url")]
    Reach(String),
    /// The address is none that is allowed.
    #[error("agent.mcp {name:?}: url: {why}")]
    Address {
        /// The server.
        name: String,
        /// What is wrong.
        why: String,
    },
    /// The token is not there.
    #[error("agent.mcp {name:?}: {place} holds no token as text; set it, or take it out here")]
    Token {
        /// The server.
        name: String,
        /// The variable or file.
        place: String,
    },
    /// The token is in two places.
    #[error("agent.mcp {0:?}: it has token_env or token_file, not both")]
    TokenTwice(String),
    /// A process is given no token.
    #[error("agent.mcp {0:?}: a token is for servers with a url; a process reads none")]
    TokenOfProcess(String),
    /// What vouches for the certificate of an address is of no use.
    #[error("agent.mcp {name:?}: ca_file: {why}")]
    Authorities {
        /// The server.
        name: String,
        /// What is wrong.
        why: String,
    },
    /// The wait is none.
    #[error("agent.mcp {0:?}: timeout_seconds is 1 to {MAX_SECONDS}")]
    Timeout(String),
}

/// One server, checked.
#[derive(Clone)]
pub(crate) struct Known {
    pub(crate) name: String,
    pub(crate) way: Way,
    pub(crate) timeout: Duration,
}

/// How a server is reached.
#[derive(Clone)]
pub(crate) enum Way {
    Process {
        command: String,
    },
    Http {
        url: Url,
        token: Option<String>,
        authorities: Option<Authorities>,
    },
}

/// Who is trusted to sign a server's certificate, instead of whom the machine trusts.
#[derive(Clone)]
pub(crate) struct Authorities {
    pub(crate) file: PathBuf,
    pub(crate) certificates: Vec<Certificate>,
}

impl Authorities {
    fn read(file: &Path) -> Result<Self, String> {
        let text = std::fs::read(file).map_err(|error| format!("{}: {error}", file.display()))?;
        let certificates = Certificate::from_pem_bundle(&text).unwrap_or_default();
        let read = Self {
            file: file.to_owned(),
            certificates,
        };
        // One that makes no sense shows only when it is used.
        if read.certificates.is_empty() || client(None, Some(&read)).is_err() {
            return Err(format!(
                "{} does not hold certificates in PEM form: export the authority's \
                 certificate as -----BEGIN CERTIFICATE----- …",
                file.display()
            ));
        }
        Ok(read)
    }
}

impl Known {
    pub(crate) fn reach(&self) -> McpReach {
        match &self.way {
            Way::Process { command } => McpReach::Process {
                command: command.clone(),
            },
            Way::Http { url, .. } => McpReach::Http {
                host: host_and_port(url),
            },
        }
    }
}

fn host_and_port(url: &Url) -> String {
    format!(
        "{}:{}",
        url.host_str().unwrap_or_default(),
        url.port_or_known_default().unwrap_or_default()
    )
}

/// Checks all of them. `variable` reads the host's environment.
pub(crate) fn checked(
    all: &[McpConfig],
    variable: &dyn Fn(&str) -> Option<String>,
) -> Result<Vec<Known>, McpConfigError> {
    let mut known: Vec<Known> = Vec::new();
    for config in all {
        let name = config.name.clone();
        if !is_server_name(&name) {
            return Err(McpConfigError::Name(name));
        }
        if known.iter().any(|other| other.name == name) {
            return Err(McpConfigError::Twice(name));
        }
        if !(1..=MAX_SECONDS).contains(&config.timeout_seconds) {
            return Err(McpConfigError::Timeout(name));
        }
        let way = match (&config.command, &config.url) {
            (Some(command), None) if !command.trim().is_empty() => {
                if config.ca_file.is_some() {
                    return Err(McpConfigError::Authorities {
                        name,
                        why: "it is for servers with a url".to_owned(),
                    });
                }
                if config.token_env.is_some() || config.token_file.is_some() {
                    return Err(McpConfigError::TokenOfProcess(name));
                }
                Way::Process {
                    command: command.clone(),
                }
            }
            (None, Some(url)) => {
                let (found, place) = match (&config.token_env, &config.token_file) {
                    (None, None) => (None, None),
                    (Some(wanted), None) => (variable(wanted), Some(wanted.clone())),
                    (None, Some(file)) => (
                        std::fs::read_to_string(file).ok(),
                        Some(file.display().to_string()),
                    ),
                    (Some(_), Some(_)) => return Err(McpConfigError::TokenTwice(name)),
                };
                let token = found
                    .map(|token| token.trim().to_owned())
                    .filter(|token| !token.is_empty() && !token.contains(char::is_whitespace));
                if let (None, Some(place)) = (&token, place) {
                    return Err(McpConfigError::Token { name, place });
                }
                let url = address(url).map_err(|why| McpConfigError::Address {
                    name: name.clone(),
                    why,
                })?;
                let authorities = match &config.ca_file {
                    Some(_) if url.scheme() == "http" => {
                        Err("there are no certificates over http; use https".to_owned())
                    }
                    file => file.as_deref().map(Authorities::read).transpose(),
                };
                Way::Http {
                    url,
                    token,
                    authorities: authorities.map_err(|why| McpConfigError::Authorities {
                        name: name.clone(),
                        why,
                    })?,
                }
            }
            _ => return Err(McpConfigError::Reach(name)),
        };
        known.push(Known {
            name,
            way,
            timeout: Duration::from_secs(config.timeout_seconds),
        });
    }
    Ok(known)
}

/// An address that may be reached: nobody on the way can read or change what is said.
fn address(text: &str) -> Result<Url, String> {
    let url = Url::parse(text).map_err(|error| error.to_string())?;
    if !url.username().is_empty() || url.password().is_some() {
        return Err("a token belongs where token_env or token_file say".to_owned());
    }
    let loopback = matches!(url.host_str(), Some("127.0.0.1" | "[::1]" | "localhost"));
    match url.scheme() {
        "https" => Ok(url),
        "http" if loopback => Ok(url),
        "http" => Err("plain http is for 127.0.0.1, [::1] and localhost; use https".to_owned()),
        other => Err(format!("{other} is no way to an MCP server; use https")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Result<Vec<Known>, McpConfigError> {
        #[derive(Deserialize)]
        struct Document {
            mcp: Vec<McpConfig>,
        }
        let document: Document = toml::from_str(text).expect("TOML");
        checked(&document.mcp, &|name| {
            (name == "TICKETS_TOKEN").then(|| "t0ken".to_owned())
        })
    }

    #[test]
    fn servers_are_checked_before_they_are_used() {
        let known = parsed(
            "[[mcp]]\nname = \"a\"\ncommand = \"x\"\n\
             [[mcp]]\nname = \"b\"\nurl = \"https://b.example/mcp\"\ntoken_env = \"TICKETS_TOKEN\"\n\
             [[mcp]]\nname = \"c\"\nurl = \"http://127.0.0.1:9/mcp\"\n",
        )
        .unwrap_or_else(|error| panic!("{error}"));
        let reach: Vec<McpReach> = known.iter().map(Known::reach).collect();
        let host = |host: &str| McpReach::Http {
            host: host.to_owned(),
        };
        assert_eq!(
            reach,
            [
                McpReach::Process {
                    command: "x".to_owned()
                },
                host("b.example:443"),
                host("127.0.0.1:9")
            ]
        );
    }

    #[test]
    fn what_cannot_be_says_why() {
        for (text, why) in [
            ("name = \"a__b\"\ncommand = \"x\"", "is none"),
            ("name = \"\"\ncommand = \"x\"", "is none"),
            ("name = \"a\"", "either"),
            ("name = \"a\"\ncommand = \" \"", "either"),
            (
                "name = \"a\"\ncommand = \"x\"\nurl = \"https://x\"",
                "either",
            ),
            ("name = \"a\"\nurl = \"http://example.com/\"", "use https"),
            (
                "name = \"a\"\nurl = \"http://127.0.0.1.evil.example/\"",
                "use https",
            ),
            ("name = \"a\"\nurl = \"file:///etc/passwd\"", "use https"),
            ("name = \"a\"\nurl = \"https://u:p@x/\"", "token_env"),
            (
                "name = \"a\"\nurl = \"https://x/\"\ntoken_env = \"NONE\"",
                "holds no token",
            ),
            (
                "name = \"a\"\ncommand = \"x\"\ntoken_env = \"TICKETS_TOKEN\"",
                "reads none",
            ),
            (
                "name = \"a\"\ncommand = \"x\"\nca_file = \"/ca.pem\"",
                "with a url",
            ),
            (
                "name = \"a\"\nurl = \"http://127.0.0.1:9/\"\nca_file = \"/ca.pem\"",
                "use https",
            ),
            (
                "name = \"a\"\nurl = \"https://x/\"\nca_file = \"/nowhere/ca.pem\"",
                "/nowhere/ca.pem",
            ),
            (
                "name = \"a\"\nurl = \"https://x/\"\nca_file = \"/dev/null\"",
                "BEGIN CERTIFICATE",
            ),
            (
                "name = \"a\"\ncommand = \"x\"\ntimeout_seconds = 0",
                "1 to 600",
            ),
            (
                "name = \"a\"\ncommand = \"x\"\n[[mcp]]\nname = \"a\"\ncommand = \"y\"",
                "twice",
            ),
        ] {
            let error = parsed(&format!("[[mcp]]\n{text}\n"))
                .err()
                .unwrap_or_else(|| panic!("{text}"))
                .to_string();
            assert!(error.contains(why), "{text}: {error}");
            assert!(!error.contains("u:p"), "{error}");
        }
    }
}
