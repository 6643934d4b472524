//! Credentials for registries, from where other tools keep them: `DOCKER_AUTH_CONFIG`
//! (JSON), `REGISTRY_AUTH_FILE`, `DOCKER_CONFIG/config.json`, `~/.docker/config.json`.
//! The first that exists counts. They belong to the registry that they are listed
//! under and go to no other; `policy.toml` never holds any.

use crate::files::{self, Contents, Links};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

const LARGEST_FILE: u64 = 1 << 20;
/// Docker Hub is listed under the address of its first version.
const HUB: [&str; 3] = ["docker.io", "index.docker.io", "registry-1.docker.io"];
const HUB_KEY: &str = "https://index.docker.io/v1/";

/// User names and passwords by registry. Never shown.
#[derive(Clone, Default)]
pub struct Credentials(BTreeMap<String, Login>);

#[derive(Clone)]
struct Login {
    user: String,
    password: String,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

/// Credentials are there but cannot be read. Their content is not repeated.
#[derive(Debug, thiserror::Error)]
pub enum CredentialsProblem {
    /// The file cannot be read.
    #[error("the credentials in {} cannot be read", path.display())]
    File {
        /// Of the file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It is not in Docker's format.
    #[error(
        "the credentials in {from} are not in the format of Docker's config.json (line {line})"
    )]
    Format {
        /// File or variable.
        from: String,
        /// Where.
        line: usize,
    },
    /// A user name and password are not written as such.
    #[error("the credentials for {registry} in {from} are no \"user:password\" in Base64")]
    Login {
        /// File or variable.
        from: String,
        /// Under which they are listed.
        registry: String,
    },
}

#[derive(Deserialize)]
struct DockerConfig {
    #[serde(default)]
    auths: BTreeMap<String, DockerAuth>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct DockerAuth {
    auth: Option<String>,
    username: Option<String>,
    password: Option<String>,
}

impl Credentials {
    /// Those of whoever runs this process; none if nothing is configured.
    ///
    /// # Errors
    /// They are configured but cannot be read.
    pub fn from_environment() -> Result<Self, CredentialsProblem> {
        Self::from_variables(|name| std::env::var_os(name).filter(|value| !value.is_empty()))
    }

    fn from_variables(
        variable: impl Fn(&str) -> Option<OsString>,
    ) -> Result<Self, CredentialsProblem> {
        if let Some(text) = variable("DOCKER_AUTH_CONFIG") {
            return Self::parse(text.as_encoded_bytes(), "DOCKER_AUTH_CONFIG");
        }
        if let Some(path) = variable("REGISTRY_AUTH_FILE") {
            return Self::read(Path::new(&path)).map(Option::unwrap_or_default);
        }
        let directory = variable("DOCKER_CONFIG")
            .map(PathBuf::from)
            .or_else(|| variable("HOME").map(|home| PathBuf::from(home).join(".docker")));
        match directory {
            Some(directory) => {
                Self::read(&directory.join("config.json")).map(Option::unwrap_or_default)
            }
            None => Ok(Self::default()),
        }
    }

    fn read(path: &Path) -> Result<Option<Self>, CredentialsProblem> {
        let failed = |source| CredentialsProblem::File {
            path: path.to_owned(),
            source,
        };
        match files::read(path, LARGEST_FILE, Links::Follow) {
            Ok(Contents::Whole(bytes)) => {
                Self::parse(&bytes, &path.display().to_string()).map(Some)
            }
            Ok(Contents::TooLarge) => Err(failed(io::Error::from(io::ErrorKind::FileTooLarge))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(failed(error)),
        }
    }

    /// Reads the JSON of Docker's `config.json`. `from` is for error messages.
    ///
    /// # Errors
    /// It is something else.
    pub fn parse(json: &[u8], from: &str) -> Result<Self, CredentialsProblem> {
        let config: DockerConfig =
            serde_json::from_slice(json).map_err(|error| CredentialsProblem::Format {
                from: from.to_owned(),
                line: error.line(),
            })?;
        let mut logins = BTreeMap::new();
        for (registry, auth) in config.auths {
            let login = match auth {
                DockerAuth {
                    username: Some(user),
                    password: Some(password),
                    ..
                } => Some(Login { user, password }),
                DockerAuth {
                    auth: Some(auth), ..
                } if !auth.is_empty() => {
                    let login = decode(&auth).ok_or_else(|| CredentialsProblem::Login {
                        from: from.to_owned(),
                        registry: registry.clone(),
                    })?;
                    Some(login)
                }
                // Kept by a credential helper, which is not run.
                _ => None,
            };
            if let Some(login) = login {
                logins.insert(registry, login);
            }
        }
        Ok(Self(logins))
    }

    /// User name and password for a registry, as `HOST[:PORT]`.
    pub(crate) fn get(&self, registry: &str) -> Option<(String, String)> {
        let mut keys = vec![registry.to_owned(), format!("https://{registry}")];
        if HUB.contains(&registry) {
            keys.push(HUB_KEY.to_owned());
        }
        keys.iter()
            .find_map(|key| self.0.get(key))
            .map(|login| (login.user.clone(), login.password.clone()))
    }
}

fn decode(auth: &str) -> Option<Login> {
    let text = String::from_utf8(STANDARD.decode(auth).ok()?).ok()?;
    let (user, password) = text.split_once(':')?;
    Some(Login {
        user: user.to_owned(),
        password: password.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    const JSON: &str = r#"{"auths": {
        "ghcr.io": {"auth": "YWxpY2U6c2VjcmV0"},
        "https://index.docker.io/v1/": {"username": "bob", "password": "hidden"},
        "kept.example": {}
    }, "credsStore": "desktop"}"#;

    #[test]
    fn credentials_belong_to_their_registry_and_are_not_shown() {
        let credentials = Credentials::parse(JSON.as_bytes(), "test").unwrap();
        let login = |user: &str, password: &str| Some((user.to_owned(), password.to_owned()));
        assert_eq!(credentials.get("ghcr.io"), login("alice", "secret"));
        assert_eq!(credentials.get("docker.io"), login("bob", "hidden"));
        assert_eq!(credentials.get("kept.example"), None);
        assert_eq!(credentials.get("ghcr.io.evil.example"), None);
        let shown = format!("{credentials:?}");
        assert!(
            !shown.contains("secret") && !shown.contains("alice"),
            "{shown}"
        );
    }

    #[test]
    fn the_first_place_that_has_them_counts() {
        let home = tempfile::tempdir().unwrap();
        let docker = home.path().join(".docker");
        let variables = |pairs: &[(&str, &Path)]| {
            let pairs: BTreeMap<String, OsString> = pairs
                .iter()
                .map(|(name, value)| ((*name).to_owned(), value.as_os_str().to_owned()))
                .collect();
            Credentials::from_variables(move |name| pairs.get(name).cloned())
        };
        assert!(variables(&[("HOME", home.path())]).unwrap().0.is_empty());
        fs::create_dir(&docker).unwrap();
        fs::write(docker.join("config.json"), JSON).unwrap();
        assert_eq!(variables(&[("HOME", home.path())]).unwrap().0.len(), 2);
        assert_eq!(variables(&[("DOCKER_CONFIG", &docker)]).unwrap().0.len(), 2);
        let none = Path::new("{}");
        let both = variables(&[("HOME", home.path()), ("DOCKER_AUTH_CONFIG", none)]);
        assert!(both.unwrap().0.is_empty());
        assert!(variables(&[]).unwrap().0.is_empty());
        fs::write(
            docker.join("config.json"),
            "{\"auths\": {\"a\": {\"auth\": \"*\"}}}",
        )
        .unwrap();
        let error = variables(&[("HOME", home.path())]).unwrap_err();
        assert!(matches!(error, CredentialsProblem::Login { .. }));
        fs::write(docker.join("config.json"), "secret").unwrap();
        let error = variables(&[("HOME", home.path())]).unwrap_err();
        assert!(!format!("{error} {error:?}").contains("secret"));
    }
}
