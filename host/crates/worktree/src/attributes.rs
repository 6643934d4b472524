//! git attributes of the files that a patch touches.
//!
//! They stand in files of the live tree and, where one is missing there, in the index.
//! libgit2 reads the whole index for that, checksum and all: in a large repository longer
//! than everything else that a commit takes. So it gets an index which has nothing but the
//! attribute files that the user's index names.

use crate::fail::failed;
use crate::hardened::{reopen, unsupported};
use git2::{AttrCheckFlags, AttrValue, Index, IndexEntry, IndexTime, Oid, Repository};
use selfheal_domain::ports::RepositoryError;
use std::io::ErrorKind;
use std::path::Path;

/// Name of the files with attributes.
const FILE: &[u8] = b".gitattributes";

/// The attributes as they are now.
pub(crate) struct Attributes {
    repo: Repository,
}

impl Attributes {
    pub(crate) fn of(repo: &Repository) -> Result<Self, RepositoryError> {
        let doing = "reading git attributes";
        let repo = reopen(repo)?;
        let content = match std::fs::read(repo.path().join("index")) {
            Ok(content) => content,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Self { repo }),
            Err(error) => return Err(failed(doing)(error)),
        };
        // What is not understood here is read by libgit2.
        if let Some(entries) = attribute_files(&content) {
            let mut index = Index::new().map_err(failed(doing))?;
            for (path, mode, id) in entries {
                index.add(&entry(path, mode, id)).map_err(failed(doing))?;
            }
            repo.set_index(&mut index).map_err(failed(doing))?;
        }
        Ok(Self { repo })
    }

    /// Refuses a file whose content git would not store byte by byte: then what is in
    /// the tree and what is in history differ, and neither could be restored exactly.
    pub(crate) fn refuse_conversion(
        &self,
        path: &str,
        contents: &[Option<&[u8]>],
    ) -> Result<(), RepositoryError> {
        let attribute = |name: &str| {
            self.repo
                .get_attr(Path::new(path), name, AttrCheckFlags::FILE_THEN_INDEX)
                .map(|value| match AttrValue::from_string(value) {
                    AttrValue::True => Some("true".to_owned()),
                    AttrValue::String(text) => Some(text.to_owned()),
                    AttrValue::False | AttrValue::Unspecified | AttrValue::Bytes(_) => None,
                })
                .map_err(failed(format!("reading git attributes of {path}")))
        };
        for name in ["filter", "ident", "working-tree-encoding"] {
            if let Some(value) = attribute(name)? {
                return Err(unsupported(format!(
                    "{path} has the git attribute {name}={value}; its content is converted on its way \
                     to and from history (LFS, keywords, encodings), which Selfheal does not do"
                )));
            }
        }
        let carriage_returns = contents
            .iter()
            .flatten()
            .any(|content| content.windows(2).any(|pair| pair == b"\r\n"));
        if carriage_returns {
            let configured = self
                .repo
                .config()
                .and_then(|config| config.get_string("core.autocrlf"))
                .is_ok_and(|value| !matches!(value.as_str(), "false" | "no" | "off" | "0"));
            let converted = configured
                || attribute("text")?.is_some()
                || attribute("eol")?.is_some()
                || attribute("crlf")?.is_some();
            if converted {
                return Err(unsupported(format!(
                    "{path} has CRLF line ends that git is told to convert"
                )));
            }
        }
        Ok(())
    }
}

fn entry(path: &[u8], mode: u32, id: Oid) -> IndexEntry {
    IndexEntry {
        ctime: IndexTime::new(0, 0),
        mtime: IndexTime::new(0, 0),
        dev: 0,
        ino: 0,
        mode,
        uid: 0,
        gid: 0,
        file_size: 0,
        id,
        flags: 0,
        flags_extended: 0,
        path: path.to_vec(),
    }
}

/// Path, mode and blob of an entry.
pub(crate) type Named<'a> = (&'a [u8], u32, Oid);

/// The entries of files with attributes in an index of version 2 or 3 (the format is
/// git's `gitformat-index`); none where it is of another version, split, or not whole.
/// Nothing else of it is checked: whoever changes the index reads it with libgit2.
pub(crate) fn attribute_files(index: &[u8]) -> Option<Vec<Named<'_>>> {
    /// Before the name: times, device, inode, mode, owner, size; id; flags.
    const MODE: usize = 24;
    const ID: usize = 40;
    const FLAGS: usize = 60;
    const NAME: usize = 62;
    const EXTENDED: u16 = 0x4000;
    const STAGE: u16 = 0x3000;
    const CHECKSUM: usize = 20;

    let rest = index.strip_prefix(b"DIRC")?;
    let (version, rest) = rest.split_first_chunk()?;
    let (count, mut rest) = rest.split_first_chunk()?;
    if !matches!(u32::from_be_bytes(*version), 2 | 3) {
        return None;
    }
    let mut found = Vec::new();
    for _ in 0..u32::from_be_bytes(*count) {
        let flags = u16::from_be_bytes(*rest.get(FLAGS..)?.first_chunk()?);
        let name = if flags & EXTENDED == 0 {
            NAME
        } else {
            NAME + 2
        };
        let path = rest.get(name..)?;
        let length = path.iter().position(|byte| *byte == 0)?;
        let path = path.get(..length)?;
        let is_named = path
            .strip_suffix(FILE)
            .is_some_and(|above| above.is_empty() || above.ends_with(b"/"));
        if is_named && flags & STAGE == 0 {
            let mode = u32::from_be_bytes(*rest.get(MODE..)?.first_chunk()?);
            let id = Oid::from_bytes(rest.get(ID..FLAGS)?).ok()?;
            found.push((path, mode, id));
        }
        // One to eight zeros follow the name, to a multiple of eight.
        rest = rest.get((name + length + 8) & !7..)?;
    }
    while rest.len() > CHECKSUM {
        let (name, after) = rest.split_first_chunk::<4>()?;
        let (length, after) = after.split_first_chunk()?;
        if name == b"link" {
            return None;
        }
        rest = after.get(usize::try_from(u32::from_be_bytes(*length)).ok()?..)?;
    }
    (rest.len() == CHECKSUM).then_some(found)
}
