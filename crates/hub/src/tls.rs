//! A certificate chain and its key from PEM files. Whatever is wrong with them is told with the file that it is in.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use rustls::{
    InconsistentKeys, ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    sign::{CertifiedKey, SingleCertAndKey},
};

use crate::regular;

/// The most bytes of a PEM file.
pub(crate) const MAX_PEM_LEN: u64 = 1 << 20;

/// The PEM files of a certificate chain and of its key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tls {
    pub certificate: PathBuf,
    pub key: PathBuf,
}

/// Why they can't be served.
#[derive(Debug, thiserror::Error)]
#[error("{key} = {}: {why}", .file.display())]
pub struct TlsError {
    /// That of the settings.
    pub key: &'static str,
    pub file: PathBuf,
    pub why: String,
}

impl Tls {
    /// The settings of a server with this certificate.
    pub fn read(&self) -> Result<ServerConfig, TlsError> {
        let certificate = |why: String| TlsError {
            key: "certificate",
            file: self.certificate.clone(),
            why,
        };
        let key = |why: String| TlsError {
            key: "key",
            file: self.key.clone(),
            why,
        };
        let chain = read(&self.certificate).and_then(|pem| chain(&pem));
        let chain = chain.map_err(certificate)?;
        let private = read(&self.key).and_then(|pem| private_key(&pem));
        let private = private.map_err(key)?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let signing = provider.key_provider.load_private_key(private);
        let signing =
            signing.map_err(|error| key(format!("the hub can't use this key: {error}")))?;
        let certified = CertifiedKey::new(chain, signing);
        match certified.keys_match() {
            Ok(()) | Err(rustls::Error::InconsistentKeys(InconsistentKeys::Unknown)) => {}
            Err(rustls::Error::InconsistentKeys(_)) => {
                let other = self.certificate.display();
                return Err(key(format!(
                    "it is not the key of the certificate in {other}"
                )));
            }
            Err(error) => {
                let why = format!("its first certificate can't be read: {error}");
                return Err(certificate(why));
            }
        }
        let builder = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| key(error.to_string()))?;
        let resolver = Arc::new(SingleCertAndKey::from(certified));
        let mut config = builder.with_no_client_auth().with_cert_resolver(resolver);
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(config)
    }
}

fn read(file: &Path) -> Result<Vec<u8>, String> {
    regular::read(file, MAX_PEM_LEN).map_err(|error| format!("it can't be read: {error}"))
}

fn chain(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    let chain = CertificateDer::pem_slice_iter(pem).collect::<Result<Vec<_>, _>>();
    let chain = chain.map_err(|error| format!("it is no PEM file: {error}"))?;
    if chain.is_empty() {
        return Err("it holds no certificate, which begins with BEGIN CERTIFICATE".to_owned());
    }
    Ok(chain)
}

fn private_key(pem: &[u8]) -> Result<PrivateKeyDer<'static>, String> {
    let text = String::from_utf8_lossy(pem);
    if text.contains("BEGIN ENCRYPTED") || text.contains("4,ENCRYPTED") {
        let why =
            "its key is encrypted, and the hub asks for no passphrase; `openssl pkey` decrypts it";
        return Err(why.to_owned());
    }
    let keys = PrivateKeyDer::pem_slice_iter(pem).collect::<Result<Vec<_>, _>>();
    let mut keys = keys.map_err(|error| format!("it is no PEM file: {error}"))?;
    match (keys.pop(), keys.is_empty()) {
        (Some(key), true) => Ok(key),
        (Some(_), false) => Err("it holds several keys, and the hub uses one".to_owned()),
        (None, _) => Err("it holds no private key, which begins with BEGIN PRIVATE KEY".to_owned()),
    }
}
