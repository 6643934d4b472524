//! Machine code of policy modules that a host of one test leaves to those of the
//! next: compiling the bundled ones takes a debug build many seconds. The first host
//! of a machine starts without it.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

fn left_behind() -> PathBuf {
    std::env::temp_dir().join("selfheal-e2e-cache/compiled")
}

/// Gives a new data directory what earlier hosts compiled.
pub(crate) fn hand_over(data: &Path) {
    copy_missing(&left_behind(), &data.join("compiled"));
}

/// Takes what a host compiled that is gone.
pub(crate) fn leave_behind(data: &Path) {
    copy_missing(&data.join("compiled"), &left_behind());
}

/// Without it tests are slow and no less right: the host checks what it finds.
fn copy_missing(from: &Path, to: &Path) {
    let copied = || -> io::Result<()> {
        DirBuilder::new().recursive(true).mode(0o700).create(to)?;
        for entry in fs::read_dir(from)? {
            let (path, name) = entry.map(|entry| (entry.path(), entry.file_name()))?;
            let whole = path
                .extension()
                .is_some_and(|end| end == "cwasm" || end == "note");
            if !whole || to.join(&name).exists() {
                continue;
            }
            // Nobody sees half a file; others may bring the same one.
            let fresh = tempfile::NamedTempFile::new_in(to)?;
            fs::copy(&path, fresh.path())?;
            fresh.persist(to.join(&name)).map_err(|error| error.error)?;
        }
        Ok(())
    };
    let _ = copied();
}
