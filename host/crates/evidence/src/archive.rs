//! The ZIP archive: bounded, the same bytes for the same files, with a manifest.

use crate::{MOST_BYTES, PackError};
use sha2::{Digest, Sha256};
use std::io::{Cursor, Write};
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, DateTime, ZipWriter};

/// Files in the order in which they were added.
#[derive(Default)]
pub(crate) struct Archive {
    files: Vec<(String, String)>,
    bytes: u64,
}

impl Archive {
    /// Adds a file; names are ours, never somebody's text.
    pub(crate) fn add(&mut self, name: &str, text: String) -> Result<(), PackError> {
        self.bytes = self.bytes.saturating_add(text.len() as u64);
        if self.bytes > MOST_BYTES {
            return Err(PackError::TooLarge);
        }
        self.files.push((name.to_owned(), text));
        Ok(())
    }

    /// The bytes, with a manifest of all files.
    pub(crate) fn finish(mut self) -> Result<Vec<u8>, PackError> {
        let manifest: String = self
            .files
            .iter()
            .map(|(name, text)| {
                let digest = hex::encode(Sha256::digest(text.as_bytes()));
                format!("{digest}  {name}\n")
            })
            .collect();
        self.add("MANIFEST.sha256", manifest)?;
        let failed = |error: zip::result::ZipError| PackError::Archive(Box::new(error));
        let options = SimpleFileOptions::default()
            .compression_method(CompressionMethod::Deflated)
            .last_modified_time(DateTime::default())
            .unix_permissions(0o644);
        let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
        for (name, text) in &self.files {
            writer.start_file(name.as_str(), options).map_err(failed)?;
            writer
                .write_all(text.as_bytes())
                .map_err(|error| PackError::Archive(Box::new(error)))?;
        }
        Ok(writer.finish().map_err(failed)?.into_inner())
    }
}
