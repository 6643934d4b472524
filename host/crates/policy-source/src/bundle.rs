//! Modules in one file, to be carried to a host without a network: an OCI image
//! layout in a tar archive, as `skopeo`, `oras` and `crane` read and write it.
//!
//! ```text
//! oci-layout                {"imageLayoutVersion":"1.0.0"}
//! index.json                one manifest per module, with its name and source
//! blobs/sha256/<digest>     manifests, configs, modules
//! ```
//!
//! Loading runs and unpacks nothing: every entry is a plain file with one of these
//! names, nothing is compressed, everything is bounded, and every blob is what its
//! name says before the first one is kept. Signatures travel along and are judged
//! when a module is loaded, as ever.

use crate::component::HEADER;
use crate::fetch::{Pulled, SourceProblem, Sources};
use crate::files::{self, Contents};
use crate::manifest::{
    BadManifest, Descriptor, LARGEST_CONFIG, MANIFEST_TYPE, ModuleManifest, artifact,
};
use crate::source::SourceRef;
use crate::store::{LARGEST_MANIFEST, ModuleStore, StoreProblem};
use crate::{LARGEST_BUNDLE, LARGEST_MODULE};
use selfheal_domain::digest::Digest;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::io::{self, Read, Write};

const LAYOUT: &str = "oci-layout";
const INDEX: &str = "index.json";
const BLOBS: &str = "blobs/sha256/";
const INDEX_TYPE: &str = "application/vnd.oci.image.index.v1+json";
const NAME: &str = "org.opencontainers.image.ref.name";
const SOURCE: &str = "dev.selfheal.policy.source";
/// Most modules of one bundle.
const MOST_MODULES: usize = 256;
/// Most entries: three blobs per module, the two files, two directories.
const MOST_ENTRIES: usize = 3 * MOST_MODULES + 4;
const LARGEST_INDEX: u64 = 1 << 20;

/// A bundle cannot be written or read.
#[derive(Debug, thiserror::Error)]
pub enum BundleProblem {
    /// A module could not be had.
    #[error("the module {name} could not be fetched")]
    Fetch {
        /// Of the module.
        name: String,
        /// Why.
        source: Box<SourceProblem>,
    },
    /// A text module is compiled where it is loaded, and cannot be in a registry.
    #[error("the module {0} is no WebAssembly component (a .wat?); build it as .wasm first")]
    NotAComponent(String),
    /// The bundle's file.
    #[error("the bundle cannot be read or written")]
    File(#[source] io::Error),
    /// More than a bundle may hold.
    #[error("the bundle is too large: {0}")]
    TooLarge(String),
    /// An entry that has no place in a bundle: a link, a device, a path elsewhere.
    #[error("the bundle has an entry {path:?} that does not belong there: {why}")]
    Entry {
        /// As written in the archive.
        path: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// A blob has other bytes than its name says.
    #[error("the bundle's blob {0} has other bytes than its name says")]
    Changed(Digest),
    /// A blob that is needed is not there, or has another length than announced.
    #[error("the bundle does not hold the blob {0} as its index says")]
    Missing(Digest),
    /// The layout file or the index is not as it has to be.
    #[error("the bundle is no OCI image layout: {0}")]
    Layout(String),
    /// One of its images is no policy module.
    #[error("the bundle's image {name} is no policy module")]
    Manifest {
        /// As the index calls it.
        name: String,
        /// Why not.
        source: BadManifest,
    },
    /// The modules could not be kept.
    #[error("the modules of the bundle could not be kept")]
    Store(#[from] StoreProblem),
}

/// A module of a bundle.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Bundled {
    /// As `policy.toml` calls it.
    pub name: String,
    /// Where it came from, as written when it was saved; for showing only.
    pub source: String,
    /// SHA-256 of the module.
    pub digest: Digest,
    /// SHA-256 of its manifest.
    pub manifest: Digest,
    /// Whether a detached signature is with it.
    pub detached_signature: bool,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Layout {
    image_layout_version: String,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Index {
    schema_version: u32,
    #[serde(default)]
    media_type: Option<String>,
    manifests: Vec<Descriptor>,
}

/// Fetches modules, each by its name and source, and writes them as one bundle.
/// Bundled modules have no place in it. The same modules make the same bytes.
///
/// # Errors
/// A module cannot be had or is no component, or `out` fails.
pub fn save(
    modules: &[(String, SourceRef)],
    sources: &Sources,
    out: impl Write,
) -> Result<Vec<Bundled>, BundleProblem> {
    if modules.len() > MOST_MODULES {
        return Err(BundleProblem::TooLarge(format!(
            "more than {MOST_MODULES} modules"
        )));
    }
    let mut blobs = BTreeMap::new();
    let mut manifests = Vec::new();
    let mut saved = Vec::new();
    for (name, source) in modules {
        let pulled = whole(name, source, sources)?;
        let mut descriptor = Descriptor::new(MANIFEST_TYPE, &pulled.manifest);
        let notes = [(NAME, name.clone()), (SOURCE, source.to_string())];
        descriptor.annotations = notes
            .into_iter()
            .map(|(key, value)| (key.to_owned(), value))
            .collect();
        manifests.push(descriptor);
        saved.push(Bundled {
            name: name.clone(),
            source: source.to_string(),
            digest: pulled.module.digest,
            manifest: Digest::of(&pulled.manifest),
            detached_signature: pulled.module.signature.is_some(),
        });
        for bytes in [pulled.manifest, pulled.config, pulled.module.bytes] {
            blobs.insert(Digest::of(&bytes), bytes);
        }
    }
    let layout = Layout {
        image_layout_version: "1.0.0".to_owned(),
    };
    let index = Index {
        schema_version: 2,
        media_type: Some(INDEX_TYPE.to_owned()),
        manifests,
    };
    let mut archive = tar::Builder::new(out);
    let mut append = |path: &str, bytes: &[u8]| -> io::Result<()> {
        let mut header = tar::Header::new_ustar();
        header.set_size(u64::try_from(bytes.len()).unwrap_or(u64::MAX));
        header.set_mode(0o644);
        header.set_mtime(0);
        archive.append_data(&mut header, path, bytes)
    };
    let json = |value: Result<Vec<u8>, serde_json::Error>| {
        value.map_err(|error| BundleProblem::File(io::Error::other(error)))
    };
    append(LAYOUT, &json(serde_json::to_vec(&layout))?).map_err(BundleProblem::File)?;
    append(INDEX, &json(serde_json::to_vec(&index))?).map_err(BundleProblem::File)?;
    for (digest, bytes) in &blobs {
        append(&format!("{BLOBS}{digest}"), bytes).map_err(BundleProblem::File)?;
    }
    let mut out = archive.into_inner().map_err(BundleProblem::File)?;
    out.flush().map_err(BundleProblem::File)?;
    Ok(saved)
}

/// A module with a manifest: the registry's own where it comes from one, so that a
/// pinned reference stays good; else the one that pushing it would make.
fn whole(name: &str, source: &SourceRef, sources: &Sources) -> Result<Pulled, BundleProblem> {
    let failed = |source| BundleProblem::Fetch {
        name: name.to_owned(),
        source: Box::new(source),
    };
    if let SourceRef::Oci(reference) = source {
        return sources.pull(reference).map_err(failed);
    }
    let module = sources.fetch(source).map_err(failed)?;
    let artifact = artifact(&module.bytes, module.signature.as_deref())
        .ok_or_else(|| BundleProblem::NotAComponent(name.to_owned()))?;
    Ok(Pulled {
        manifest: artifact.manifest,
        config: artifact.config,
        module,
    })
}

/// Reads a bundle and keeps its modules. Nothing is kept unless all of it is right.
///
/// # Errors
/// Something about the bundle is not right, or the store cannot be used.
pub fn load(bundle: impl Read, store: &ModuleStore) -> Result<Vec<Bundled>, BundleProblem> {
    let Contained {
        layout,
        index,
        blobs,
    } = contained(bundle)?;
    let wrong = |why: &str| BundleProblem::Layout(why.to_owned());
    let layout: Layout = serde_json::from_slice(&layout.ok_or_else(|| wrong("no oci-layout"))?)
        .map_err(|error| wrong(&error.to_string()))?;
    if !layout.image_layout_version.starts_with("1.") {
        return Err(wrong("its version is not 1"));
    }
    let index: Index = serde_json::from_slice(&index.ok_or_else(|| wrong("no index.json"))?)
        .map_err(|error| wrong(&error.to_string()))?;
    if index.schema_version != 2 {
        return Err(wrong("its index's version is not 2"));
    }
    if index.manifests.len() > MOST_MODULES {
        return Err(BundleProblem::TooLarge(format!(
            "more than {MOST_MODULES} modules"
        )));
    }
    let blob = |digest: &Digest, size: u64| match blobs.get(digest) {
        Some(bytes) if bytes.len() as u64 == size => Ok(bytes),
        _ => Err(BundleProblem::Missing(*digest)),
    };
    let mut found = Vec::new();
    for descriptor in &index.manifests {
        let note = |key| printable(descriptor.annotations.get(key));
        let place = descriptor
            .blob()
            .filter(|_| descriptor.media_type == MANIFEST_TYPE)
            .ok_or_else(|| wrong("its index names something else than images"))?;
        let manifest = blob(&place.digest, place.size)?;
        let read = ModuleManifest::read(manifest).map_err(|source| BundleProblem::Manifest {
            name: note(NAME),
            source,
        })?;
        let module = blob(&read.module.digest, read.module.size)?;
        let config = blob(&read.config.digest, read.config.size)?;
        if config.len() as u64 > LARGEST_CONFIG {
            return Err(BundleProblem::TooLarge("a config".to_owned()));
        }
        if !module.starts_with(&HEADER) {
            return Err(BundleProblem::NotAComponent(note(NAME)));
        }
        let bundled = Bundled {
            name: note(NAME),
            source: note(SOURCE),
            digest: read.module.digest,
            manifest: place.digest,
            detached_signature: read.signature.is_some(),
        };
        found.push((bundled, manifest, config, module, read.signature));
    }
    let mut kept = Vec::new();
    for (bundled, manifest, config, module, signature) in found {
        store.put(module, signature.as_deref())?;
        store.put_config(config)?;
        store.put_manifest(manifest)?;
        kept.push(bundled);
    }
    Ok(kept)
}

#[derive(Default)]
struct Contained {
    layout: Option<Vec<u8>>,
    index: Option<Vec<u8>>,
    blobs: BTreeMap<Digest, Vec<u8>>,
}

/// Reads the archive into memory, entry by entry.
fn contained(bundle: impl Read) -> Result<Contained, BundleProblem> {
    let mut archive = tar::Archive::new(bundle.take(LARGEST_BUNDLE.saturating_add(1)));
    let mut found = Contained::default();
    let mut total = 0u64;
    // Raw: an extension header is an entry like any other, and belongs to no bundle.
    let entries = archive.entries().map_err(BundleProblem::File)?.raw(true);
    for (count, entry) in entries.enumerate() {
        if count >= MOST_ENTRIES {
            return Err(BundleProblem::TooLarge(format!(
                "more than {MOST_ENTRIES} entries"
            )));
        }
        let mut entry = entry.map_err(BundleProblem::File)?;
        let path = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        let name = path.strip_prefix("./").unwrap_or(&path).to_owned();
        let odd = |why| BundleProblem::Entry {
            path: printable(Some(&path)),
            why,
        };
        let kind = entry.header().entry_type();
        if kind.is_dir()
            && ["", "blobs/", "blobs", "blobs/sha256/", "blobs/sha256"].contains(&name.as_str())
        {
            continue;
        }
        if kind != tar::EntryType::Regular {
            return Err(odd("it is no plain file"));
        }
        let (limit, place) = match name.as_str() {
            LAYOUT => (LARGEST_MANIFEST, Place::Layout),
            INDEX => (LARGEST_INDEX, Place::Index),
            other => {
                let digest = other
                    .strip_prefix(BLOBS)
                    .and_then(|hex| hex.parse::<Digest>().ok().filter(|d| d.to_string() == hex))
                    .ok_or_else(|| odd("it has no such place"))?;
                (LARGEST_MODULE, Place::Blob(digest))
            }
        };
        let announced = entry.size();
        let bytes = match files::contents(&mut entry, limit).map_err(BundleProblem::File)? {
            Contents::Whole(bytes) => bytes,
            Contents::TooLarge => {
                return Err(BundleProblem::TooLarge(format!(
                    "{} has more than {limit} bytes",
                    printable(Some(&path))
                )));
            }
        };
        if bytes.len() as u64 != announced {
            return Err(odd("it is cut off"));
        }
        total = total.saturating_add(announced);
        if total > LARGEST_BUNDLE {
            return Err(BundleProblem::TooLarge(format!(
                "more than {LARGEST_BUNDLE} bytes"
            )));
        }
        let earlier = match place {
            Place::Layout => found.layout.replace(bytes),
            Place::Index => found.index.replace(bytes),
            Place::Blob(digest) => {
                if Digest::of(&bytes) != digest {
                    return Err(BundleProblem::Changed(digest));
                }
                found.blobs.insert(digest, bytes)
            }
        };
        if earlier.is_some() {
            return Err(odd("it is there twice"));
        }
    }
    Ok(found)
}

enum Place {
    Layout,
    Index,
    Blob(Digest),
}

/// Text from a bundle, fit for a terminal.
fn printable(text: Option<&String>) -> String {
    let text = text.map(String::as_str).unwrap_or_default();
    text.chars()
        .map(|c| if c.is_control() { '?' } else { c })
        .take(200)
        .collect()
}

#[cfg(test)]
#[path = "bundle_tests.rs"]
mod tests;
