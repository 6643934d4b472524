//! Who vouches for a provider's certificate, where the machine's own authorities do not.

use reqwest::Certificate;
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use std::io::Read;
use std::path::{Path, PathBuf};

/// Longest file, in bytes; all public authorities together are a quarter of it.
const LONGEST_FILE: u64 = 1024 * 1024;

/// The authorities of one file. They count instead of the machine's, not besides them.
#[derive(Debug)]
pub(crate) struct Authorities {
    pub(crate) file: PathBuf,
    pub(crate) certificates: Vec<Certificate>,
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
    /// See [`AuthoritiesError`]. One certificate that makes no sense spoils the file:
    /// left out silently, it would be missed where nobody looks.
    pub(crate) fn read(path: &Path) -> Result<Self, AuthoritiesError> {
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
        let wrong = || AuthoritiesError::NoCertificate(path.to_owned());
        let mut store = RootCertStore::empty();
        let mut certificates = Vec::new();
        for certificate in CertificateDer::pem_slice_iter(&text) {
            let der = certificate.map_err(|_| wrong())?;
            store.add(der.clone()).map_err(|_| wrong())?;
            certificates.push(Certificate::from_der(&der).map_err(|_| wrong())?);
        }
        if certificates.is_empty() || text.len() as u64 > LONGEST_FILE {
            return Err(wrong());
        }
        Ok(Self {
            file: path.to_owned(),
            certificates,
        })
    }
}

/// What is wrong with the certificate that an address showed, and what to do; `None`
/// where `error` is about something else.
pub(crate) fn refusal(
    error: &(dyn std::error::Error + 'static),
    file: Option<&Path>,
) -> Option<String> {
    let mut next = Some(error);
    while let Some(cause) = next {
        if let Some(rustls::Error::InvalidCertificate(why)) = cause.downcast_ref() {
            return Some(match (why, file) {
                (rustls::CertificateError::UnknownIssuer, Some(file)) => format!(
                    "its certificate is signed by none of the authorities in {}: put the \
                     certificate (PEM) of the one that signs it into that file",
                    file.display()
                ),
                (rustls::CertificateError::UnknownIssuer, None) => {
                    "its certificate is signed by no authority that this machine trusts: \
                     where the authority is your own, name a file with its certificate (PEM) \
                     as ca_file"
                        .to_owned()
                }
                (why, _) => format!("its certificate is not valid: {why}"),
            });
        }
        // What an I/O error holds is not its source: that is the source of what it holds.
        next = match cause.downcast_ref().and_then(std::io::Error::get_ref) {
            Some(held) => Some(held),
            None => cause.source(),
        };
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_holds_certificates_and_nothing_that_is_none() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("ca.pem");
        let good = include_str!("../tests/tls/authority.pem");
        std::fs::write(&path, format!("our authority\n{good}")).expect("written");
        let read = Authorities::read(&path).expect("authorities");
        assert_eq!(read.certificates.len(), 1);
        let broken = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        let key = include_str!("../tests/tls/server.key.pem");
        for bad in ["", "not PEM", key, broken, &format!("{good}{broken}")] {
            std::fs::write(&path, bad).expect("written");
            let error = Authorities::read(&path).expect_err(bad).to_string();
            assert!(
                error.contains("ca.pem does not hold certificates"),
                "{error}"
            );
        }
    }
}
