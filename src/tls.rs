//! TLS to servers that are called over HTTP.

use std::sync::Arc;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::pki_types::pem::{self, PemObject};
use tokio_rustls::rustls::{self, ClientConfig, RootCertStore};

/// Why a text with certificates of authorities is of no use.
#[derive(Debug)]
pub enum Unusable {
    /// It is not PEM.
    Text(pem::Error),
    /// One of its certificates cannot be trusted.
    Certificate(rustls::Error),
    /// It has no certificate.
    Empty,
}

/// The authorities that browsers trust.
pub fn authorities() -> RootCertStore {
    let mut roots = RootCertStore::empty();
    roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    roots
}

/// Trusts the authorities of a PEM text, too.
///
/// # Errors
/// Why none of it is trusted, or not all.
pub fn trust(roots: &mut RootCertStore, text: &[u8]) -> Result<(), Unusable> {
    let mut is_empty = true;
    for certificate in CertificateDer::pem_slice_iter(text) {
        let certificate = certificate.map_err(Unusable::Text)?;
        roots.add(certificate).map_err(Unusable::Certificate)?;
        is_empty = false;
    }
    match is_empty {
        true => Err(Unusable::Empty),
        false => Ok(()),
    }
}

/// A client that trusts these authorities, and shows no certificate of its own.
///
/// # Errors
/// When TLS cannot be had.
pub fn client(roots: RootCertStore) -> Result<ClientConfig, rustls::Error> {
    let client = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(client)
}
