//! What the host tells the supervisor and what it hears back, over the control
//! socket: one length-prefixed order, then reports as lines of JSON.

use crate::masks;
use crate::{Access, Containment, SandboxError, SandboxSpec};
use selfheal_domain::tools::Ended;
use serde::{Deserialize, Serialize};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Component, Path, PathBuf};

/// Everything the supervisor needs; all paths canonical and existing.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Order {
    pub(crate) spec: SandboxSpec,
    /// Whether a session's standard input comes along with the order.
    pub(crate) stdin: bool,
    /// Interactive shell of `-c`: `/bin/bash` or `/bin/sh`.
    pub(crate) shell: PathBuf,
    /// We are root and the workspace belongs to somebody else.
    pub(crate) foreign: bool,
}

/// What the supervisor says.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum Report {
    /// The sandbox stands and the command is about to start.
    Ready(Containment),
    /// It could not be built; the last report.
    Failed(Failure),
    /// The command and everything it started are gone; the last report.
    Ended {
        /// How the command itself ended.
        ended: Ended,
        /// Which limit it was killed for.
        note: Option<String>,
    },
}

/// Why a sandbox could not be built.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Failure {
    /// The system lacks something, as opposed to a bad request.
    pub(crate) containment: bool,
    /// What failed and why.
    pub(crate) text: String,
}

impl From<Failure> for SandboxError {
    fn from(failure: Failure) -> Self {
        if failure.containment {
            Self::NoContainment(failure.text)
        } else {
            Self::Setup(failure.text)
        }
    }
}

impl Order {
    /// Checks the request and resolves its paths once, on the host's side.
    pub(crate) fn new(mut spec: SandboxSpec) -> Result<Self, SandboxError> {
        spec.workspace.root = directory(&spec.workspace.root, "workspace")?;
        if spec.workspace.root == Path::new("/") {
            return Err(invalid("the workspace cannot be the whole file system"));
        }
        if !spec
            .directory
            .components()
            .all(|part| matches!(part, Component::Normal(_) | Component::CurDir))
        {
            return Err(invalid("the directory must be relative, without `..`"));
        }
        for layer in &mut spec.workspace.layers {
            *layer = directory(layer, "layer")?;
        }
        if let Access::Keep { upper, work } = &mut spec.workspace.access {
            *upper = directory(upper, "upper directory")?;
            *work = directory(work, "work directory")?;
            if upper.starts_with(&spec.workspace.root) {
                return Err(invalid("the upper directory is inside the live tree"));
            }
            resemble(upper, &spec.workspace.root)?;
        }
        for replacement in &mut spec.replaced {
            replacement.path = directory(&replacement.path, "replaced directory")?;
            replacement.with = directory(&replacement.with, "replacing directory")?;
            if replacement.path == spec.workspace.root
                || !replacement.path.starts_with(&spec.workspace.root)
            {
                return Err(invalid("a replaced directory is inside the workspace"));
            }
        }
        crate::grant::check(&spec.grants)?;
        if let Some(assets) = &mut spec.assets {
            *assets = directory(assets, "assets directory")?;
        }
        if spec.environment.iter().any(|(name, value)| {
            name.is_empty() || name.contains(['=', '\0']) || value.contains('\0')
        }) || spec.command.contains('\0')
        {
            return Err(invalid("a NUL byte or an impossible variable name"));
        }
        let owner = spec
            .workspace
            .root
            .metadata()
            .map_err(SandboxError::host("looking at the workspace"))?
            .uid();
        spec.masked = masks::masked(&spec);
        spec.visible = masks::visible(&spec);
        Ok(Self {
            foreign: rustix::process::geteuid().is_root() && owner != 0,
            spec,
            stdin: false,
            shell: PathBuf::from(if Path::new("/bin/bash").exists() {
                "/bin/bash"
            } else {
                "/bin/sh"
            }),
        })
    }
}

fn invalid(text: &str) -> SandboxError {
    SandboxError::Invalid(text.to_owned())
}

fn directory(path: &Path, what: &str) -> Result<PathBuf, SandboxError> {
    if !path.is_absolute() {
        return Err(SandboxError::Invalid(format!(
            "the {what} must be an absolute path: {}",
            path.display()
        )));
    }
    match path.canonicalize() {
        Ok(found) if found.is_dir() => Ok(found),
        Ok(_) => Err(SandboxError::Invalid(format!(
            "the {what} is not a directory: {}",
            path.display()
        ))),
        Err(error) => Err(SandboxError::Invalid(format!(
            "the {what} {}: {error}",
            path.display()
        ))),
    }
}

/// The root of an overlay has mode and owner of its upper directory, so that one
/// must look like the live tree's.
fn resemble(upper: &Path, root: &Path) -> Result<(), SandboxError> {
    let host = SandboxError::host("preparing the upper directory");
    let (have, want) = match (upper.metadata(), root.metadata()) {
        (Ok(have), Ok(want)) => (have, want),
        (Err(error), _) | (_, Err(error)) => return Err(host(error)),
    };
    if (have.uid(), have.gid()) != (want.uid(), want.gid()) {
        // Only root can; for others the tree is their own.
        let _ = std::os::unix::fs::chown(upper, Some(want.uid()), Some(want.gid()));
    }
    if have.mode() & 0o7777 != want.mode() & 0o7777 {
        std::fs::set_permissions(upper, std::fs::Permissions::from_mode(want.mode() & 0o7777))
            .map_err(host)?;
    }
    Ok(())
}
