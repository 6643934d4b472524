//! Who vouches for the endpoint's certificate, where the machine's own authorities do not.

use std::io::Read;
use std::path::{Path, PathBuf};
use ureq::tls::{Certificate, PemItem, RootCerts, TlsConfig, parse_pem};

/// Longest file, in bytes; all public authorities together are a quarter of it.
const LONGEST_FILE: u64 = 1024 * 1024;

/// The authorities of one file. They count instead of the machine's, not besides them.
#[derive(Clone, Debug)]
pub struct Authorities {
    file: PathBuf,
    certificates: Vec<Certificate<'static>>,
}

/// A file of authorities cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum AuthoritiesError {
    /// It cannot be read.
    #[error("cannot read {}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// It holds no certificate, or something that is none, or more than 1 MiB.
    #[error(
        "{} does not hold certificates in PEM form: export the authority's certificate as \
         -----BEGIN CERTIFICATE----- …", .0.display()
    )]
    NoCertificate(PathBuf),
}

impl Authorities {
    /// All certificates of a file.
    ///
    /// # Errors
    /// See [`AuthoritiesError`].
    pub fn read(path: &Path) -> Result<Self, AuthoritiesError> {
        let failed = |source| AuthoritiesError::File {
            path: path.to_owned(),
            source,
        };
        let mut text = Vec::new();
        std::fs::File::open(path)
            .map_err(failed)?
            .take(LONGEST_FILE + 1)
            .read_to_end(&mut text)
            .map_err(failed)?;
        let mut certificates = Vec::new();
        for item in parse_pem(&text) {
            match item {
                Ok(PemItem::Certificate(certificate)) => certificates.push(certificate),
                _ => return Err(AuthoritiesError::NoCertificate(path.to_owned())),
            }
        }
        if certificates.is_empty() || text.len() as u64 > LONGEST_FILE {
            return Err(AuthoritiesError::NoCertificate(path.to_owned()));
        }
        Ok(Self {
            file: path.to_owned(),
            certificates,
        })
    }
}

/// Trust in `authorities`, or in those of the machine.
pub fn tls(authorities: Option<&Authorities>) -> TlsConfig {
    let roots = authorities.map_or(RootCerts::PlatformVerifier, |known| {
        RootCerts::new_with_certs(&known.certificates)
    });
    TlsConfig::builder().root_certs(roots).build()
}

/// Why the endpoint does not answer, and what to do where its certificate is why;
/// `setting` is what names a file of authorities.
pub fn explained(error: &ureq::Error, authorities: Option<&Authorities>, setting: &str) -> String {
    let said = error.to_string();
    if !said.contains("UnknownIssuer") {
        return said;
    }
    match authorities {
        Some(known) => format!(
            "its certificate is signed by none of the authorities in {}: put the certificate \
             (PEM) of the one that signs it into that file",
            known.file.display()
        ),
        None => format!(
            "its certificate is signed by no authority that this machine trusts: where the \
             authority is your own, name a file with its certificate (PEM) as {setting}"
        ),
    }
}
