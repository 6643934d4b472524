//! What a registry says about a module: an OCI image manifest in the "Wasm OCI
//! Artifact" layout, as `wkg`, wasmtime's and wasmCloud's tools push and pull it.
//!
//! - config: `application/vnd.wasm.config.v0+json`
//! - one layer, the component: `application/wasm`
//! - a detached signature is the annotation `dev.selfheal.policy.signature` of the
//!   manifest, in Base64. It is no second layer, because other tools refuse these.
//!
//! A reference pins the manifest's digest; the manifest pins the module's and holds
//! the signature, so nothing about a pinned module can change.

use crate::store::LARGEST_MANIFEST;
use crate::{LARGEST_MODULE, LARGEST_SIGNATURE};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use selfheal_domain::digest::Digest;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use wasmparser::{Encoding, Parser, Payload};

/// Media type of the manifest.
pub(crate) const MANIFEST_TYPE: &str = "application/vnd.oci.image.manifest.v1+json";
pub(crate) const CONFIG_TYPE: &str = "application/vnd.wasm.config.v0+json";
pub(crate) const MODULE_TYPE: &str = "application/wasm";
const INDEX_TYPE: &str = "application/vnd.oci.image.index.v1+json";
const SIGNATURE: &str = "dev.selfheal.policy.signature";
/// Largest config, in bytes; nothing in it is used.
pub(crate) const LARGEST_CONFIG: u64 = 1 << 20;

/// A manifest that is no policy module's.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum BadManifest {
    /// Larger than manifests are.
    #[error("its manifest is larger than {LARGEST_MANIFEST} bytes")]
    TooLarge,
    /// Not JSON, or not a manifest.
    #[error("its manifest cannot be read: {0}")]
    Unreadable(String),
    /// A list of manifests for several platforms.
    #[error("it is a list of images for several platforms; a policy module is one image")]
    Index,
    /// Something else than a module: a container image, a chart.
    #[error("it is no WebAssembly module: {0}")]
    NotAModule(String),
    /// The module is larger than modules may be.
    #[error("the module has {0} bytes, more than {LARGEST_MODULE}")]
    ModuleTooLarge(u64),
    /// The signature's annotation is not Base64 or too long.
    #[error("its annotation {SIGNATURE} holds no signature")]
    Signature,
}

/// A manifest, as far as it matters.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct ModuleManifest {
    pub(crate) module: Blob,
    pub(crate) config: Blob,
    pub(crate) signature: Option<Vec<u8>>,
}

/// Bytes in a registry.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Blob {
    pub(crate) digest: Digest,
    pub(crate) size: u64,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Raw {
    schema_version: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    media_type: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    config: Option<Descriptor>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    layers: Vec<Descriptor>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    annotations: BTreeMap<String, String>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Descriptor {
    pub(crate) media_type: String,
    pub(crate) digest: String,
    pub(crate) size: u64,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) annotations: BTreeMap<String, String>,
}

impl Descriptor {
    pub(crate) fn new(media_type: &str, bytes: &[u8]) -> Self {
        Self {
            media_type: media_type.to_owned(),
            digest: format!("sha256:{}", Digest::of(bytes)),
            size: u64::try_from(bytes.len()).unwrap_or(u64::MAX),
            annotations: BTreeMap::new(),
        }
    }

    /// What it describes, if by SHA-256.
    pub(crate) fn blob(&self) -> Option<Blob> {
        let hex = self.digest.strip_prefix("sha256:")?;
        let digest: Digest = hex.parse().ok()?;
        (digest.to_string() == hex).then_some(Blob {
            digest,
            size: self.size,
        })
    }
}

impl ModuleManifest {
    pub(crate) fn read(bytes: &[u8]) -> Result<Self, BadManifest> {
        if u64::try_from(bytes.len()).unwrap_or(u64::MAX) > LARGEST_MANIFEST {
            return Err(BadManifest::TooLarge);
        }
        let raw: Raw = serde_json::from_slice(bytes)
            .map_err(|error| BadManifest::Unreadable(error.to_string()))?;
        if raw.schema_version != 2 {
            let version = raw.schema_version;
            return Err(BadManifest::Unreadable(format!("its version is {version}")));
        }
        match raw.media_type.as_deref() {
            None | Some(MANIFEST_TYPE) => {}
            Some(INDEX_TYPE) => return Err(BadManifest::Index),
            Some(other) => return Err(BadManifest::NotAModule(format!("it is {other:?}"))),
        }
        let not = |message: &str| BadManifest::NotAModule(message.to_owned());
        let config = raw.config.ok_or_else(|| not("it has no config"))?;
        if config.media_type != CONFIG_TYPE {
            return Err(BadManifest::NotAModule(format!(
                "its config is {:?}, not {CONFIG_TYPE:?}",
                config.media_type
            )));
        }
        let [layer] = raw.layers.as_slice() else {
            return Err(BadManifest::NotAModule(format!(
                "it has {} layers, not one",
                raw.layers.len()
            )));
        };
        if layer.media_type != MODULE_TYPE {
            return Err(BadManifest::NotAModule(format!(
                "its layer is {:?}, not {MODULE_TYPE:?}",
                layer.media_type
            )));
        }
        let wrong_digest = || not("a digest is no SHA-256");
        let module = layer.blob().ok_or_else(wrong_digest)?;
        if module.size > LARGEST_MODULE {
            return Err(BadManifest::ModuleTooLarge(module.size));
        }
        let config = config.blob().ok_or_else(wrong_digest)?;
        let signature = match raw.annotations.get(SIGNATURE) {
            None => None,
            Some(text) => Some(
                STANDARD
                    .decode(text)
                    .ok()
                    .filter(|bytes| bytes.len() as u64 <= LARGEST_SIGNATURE)
                    .ok_or(BadManifest::Signature)?,
            ),
        };
        Ok(Self {
            module,
            config,
            signature,
        })
    }
}

/// A module as it is pushed: the same bytes for the same module and signature, always.
pub(crate) struct Artifact {
    pub(crate) manifest: Vec<u8>,
    pub(crate) config: Vec<u8>,
}

/// Writes config and manifest of a module. `None` if it is no component.
pub(crate) fn artifact(module: &[u8], signature: Option<&[u8]>) -> Option<Artifact> {
    #[derive(Serialize)]
    struct Interface {
        exports: BTreeSet<String>,
        imports: BTreeSet<String>,
    }
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Config {
        created: &'static str,
        architecture: &'static str,
        os: &'static str,
        layer_digests: [String; 1],
        component: Interface,
    }
    let (imports, exports) = interface(module)?;
    let config = Config {
        // No clock: who pushes the same module twice gets the same digest twice.
        created: "1970-01-01T00:00:00Z",
        architecture: "wasm",
        os: "wasip2",
        layer_digests: [format!("sha256:{}", Digest::of(module))],
        component: Interface { exports, imports },
    };
    let config = serde_json::to_vec(&config).ok()?;
    let annotations = signature
        .map(|bytes| (SIGNATURE.to_owned(), STANDARD.encode(bytes)))
        .into_iter()
        .collect();
    let manifest = Raw {
        schema_version: 2,
        media_type: Some(MANIFEST_TYPE.to_owned()),
        config: Some(Descriptor::new(CONFIG_TYPE, &config)),
        layers: vec![Descriptor::new(MODULE_TYPE, module)],
        annotations,
    };
    Some(Artifact {
        manifest: serde_json::to_vec(&manifest).ok()?,
        config,
    })
}

/// Names of what a component imports and exports.
fn interface(module: &[u8]) -> Option<(BTreeSet<String>, BTreeSet<String>)> {
    let (mut imports, mut exports) = (BTreeSet::new(), BTreeSet::new());
    let mut depth = 0u32;
    for payload in Parser::new(0).parse_all(module) {
        match payload.ok()? {
            Payload::Version { encoding, .. } if depth == 0 && encoding != Encoding::Component => {
                return None;
            }
            Payload::ModuleSection { .. } | Payload::ComponentSection { .. } => depth += 1,
            Payload::End(_) => depth = depth.saturating_sub(1),
            Payload::ComponentImportSection(section) if depth == 0 => {
                for import in section {
                    imports.insert(import.ok()?.name.name.to_owned());
                }
            }
            Payload::ComponentExportSection(section) if depth == 0 => {
                for export in section {
                    exports.insert(export.ok()?.name.name.to_owned());
                }
            }
            _ => {}
        }
    }
    Some((imports, exports))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::component::HEADER;
    use proptest::prelude::*;
    use serde_json::{Value, json};

    fn manifest(signature: Option<&[u8]>) -> Vec<u8> {
        artifact(&HEADER, signature).unwrap().manifest
    }

    fn changed(change: impl FnOnce(&mut Value)) -> Result<ModuleManifest, BadManifest> {
        let mut value = serde_json::from_slice(&manifest(None)).unwrap();
        change(&mut value);
        ModuleManifest::read(&serde_json::to_vec(&value).unwrap())
    }

    #[test]
    fn what_is_pushed_reads_back_and_is_the_same_each_time() {
        let bytes = manifest(Some(b"signed"));
        assert_eq!(bytes, manifest(Some(b"signed")));
        let read = ModuleManifest::read(&bytes).unwrap();
        assert_eq!(read.module.digest, Digest::of(&HEADER));
        assert_eq!(read.module.size, 8);
        assert_eq!(read.signature.as_deref(), Some(&b"signed"[..]));
        assert_eq!(
            ModuleManifest::read(&manifest(None)).unwrap().signature,
            None
        );
        assert!(artifact(b"\0asm\x01\0\0\0", None).is_none());
        assert!(artifact(b"(component)", None).is_none());
    }

    #[test]
    fn the_config_names_what_goes_in_and_out() {
        // (component (type (component)) (import "in" (component (type 0))) (export "out" (component 0)))
        let mut module = HEADER.to_vec();
        module.extend([7, 3, 1, 0x41, 0]);
        module.extend([10, 7, 1, 0, 2, b'i', b'n', 4, 0]);
        module.extend([11, 9, 1, 0, 3, b'o', b'u', b't', 4, 0, 0]);
        let config = artifact(&module, None).unwrap().config;
        let config: Value = serde_json::from_slice(&config).unwrap();
        assert_eq!(
            config["component"],
            json!({"exports": ["out"], "imports": ["in"]})
        );
    }

    #[test]
    fn what_is_no_modules_manifest_is_refused() {
        assert!(changed(|_| {}).is_ok());
        for change in [
            (|value: &mut Value| value["schemaVersion"] = json!(1)) as fn(&mut Value),
            |value| value["mediaType"] = json!(INDEX_TYPE),
            |value| {
                value["mediaType"] = json!("application/vnd.docker.distribution.manifest.v2+json")
            },
            |value| {
                value["config"]["mediaType"] = json!("application/vnd.oci.image.config.v1+json")
            },
            |value| value["config"] = Value::Null,
            |value| value["layers"] = json!([]),
            |value| value["layers"] = json!([value["layers"][0], value["layers"][0]]),
            |value| {
                value["layers"][0]["mediaType"] = json!("application/vnd.oci.image.layer.v1.tar")
            },
            |value| value["layers"][0]["digest"] = json!("sha512:00"),
            |value| value["layers"][0]["digest"] = json!("sha256:../../x"),
            |value| value["layers"][0]["size"] = json!(LARGEST_MODULE + 1),
            |value| value["layers"][0]["size"] = json!(-1),
            |value| value["annotations"] = json!({SIGNATURE: "*"}),
            |value| value["annotations"] = json!({SIGNATURE: "A".repeat(8000)}),
            |value| value["annotations"] = json!({"x": "A".repeat(70_000)}),
        ] {
            assert!(changed(change).is_err());
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes: Vec<u8>, text: String) {
            let _ = ModuleManifest::read(&bytes);
            let _ = ModuleManifest::read(text.as_bytes());
            let _ = artifact(&[&HEADER[..], &bytes].concat(), None);
        }
    }
}
