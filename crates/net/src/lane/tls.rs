//! TLS 1.3 between two devices that know each other's keys. Only certificates in libp2p's form are
//! accepted.
//!
//! A certificate has a fresh key at each start; the device key signs it in an extension. A handshake with
//! any other device's certificate fails.

use std::sync::Arc;

use libp2p::{PeerId, identity::Keypair, tls::certificate};
use podsync_core::DeviceId;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, DistinguishedName, Error, ServerConfig,
    SignatureScheme, SupportedCipherSuite,
    client::{
        Resumption,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::{
        CryptoProvider,
        aws_lc_rs::{
            self,
            cipher_suite::{
                TLS13_AES_128_GCM_SHA256, TLS13_AES_256_GCM_SHA384, TLS13_CHACHA20_POLY1305_SHA256,
            },
        },
    },
    pki_types::{CertificateDer, ServerName, UnixTime},
    server::danger::{ClientCertVerified, ClientCertVerifier},
    sign::{CertifiedKey, SingleCertAndKey},
};

use super::offer::{SECRET_LEN, Secret};
use crate::{config::SpawnError, peer_id::peer_of};

/// The ALPN protocol name.
const ALPN: &[u8] = b"podsync-lane/1";

/// With AES instructions in the processor.
const WITH_AES: [SupportedCipherSuite; 3] = [
    TLS13_AES_128_GCM_SHA256,
    TLS13_AES_256_GCM_SHA384,
    TLS13_CHACHA20_POLY1305_SHA256,
];
/// Without them AES is slow and its timing leaks key bits.
const WITHOUT_AES: [SupportedCipherSuite; 3] = [
    TLS13_CHACHA20_POLY1305_SHA256,
    TLS13_AES_128_GCM_SHA256,
    TLS13_AES_256_GCM_SHA384,
];

/// This device's side of handshakes.
#[derive(Debug, Clone)]
pub(crate) struct Identity {
    provider: Arc<CryptoProvider>,
    certificate: Arc<SingleCertAndKey>,
    has_aes: bool,
}

impl Identity {
    pub(crate) fn new(key: &Keypair) -> Result<Self, SpawnError> {
        let setup = |error: &dyn std::fmt::Display| SpawnError::Setup(format!("lanes: {error}"));
        let has_aes = has_aes();
        let suites = if has_aes { WITH_AES } else { WITHOUT_AES };
        let provider = CryptoProvider {
            cipher_suites: suites.to_vec(),
            ..aws_lc_rs::default_provider()
        };
        let (certificate, its_key) = certificate::generate(key).map_err(|error| setup(&error))?;
        let its_key = aws_lc_rs::sign::any_ecdsa_type(&its_key).map_err(|error| setup(&error))?;
        let certified = CertifiedKey::new(vec![certificate], its_key);
        Ok(Self {
            provider: Arc::new(provider),
            certificate: Arc::new(SingleCertAndKey::from(certified)),
            has_aes,
        })
    }

    /// For a lane that this device opens to `device`.
    pub(crate) fn client(&self, device: DeviceId) -> Result<Arc<ClientConfig>, Error> {
        let mut config = ClientConfig::builder_with_provider(Arc::clone(&self.provider))
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Only(peer_of(device))))
            .with_client_cert_resolver(Arc::clone(&self.certificate) as _);
        config.alpn_protocols = vec![ALPN.to_vec()];
        config.resumption = Resumption::disabled();
        config.enable_sni = false;
        Ok(Arc::new(config))
    }

    /// For a lane that `device` opens to this one.
    pub(crate) fn server(&self, device: DeviceId) -> Result<Arc<ServerConfig>, Error> {
        let mut config = ServerConfig::builder_with_provider(Arc::clone(&self.provider))
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .with_client_cert_verifier(Arc::new(Only(peer_of(device))))
            .with_cert_resolver(Arc::clone(&self.certificate) as _);
        config.alpn_protocols = vec![ALPN.to_vec()];
        config.send_tls13_tickets = 0;
        // The client's preference wins, unless it is AES and this processor has no AES
        // instructions.
        config.ignore_client_order = !self.has_aes;
        Ok(Arc::new(config))
    }

    /// A fresh secret. None if the system gives no random numbers.
    pub(crate) fn fresh_secret(&self) -> Option<Secret> {
        let mut bytes = [0; SECRET_LEN];
        self.provider.secure_random.fill(&mut bytes).ok()?;
        Some(Secret::from_bytes(bytes))
    }
}

/// Handshakes name no host; this stands in its place and is never sent.
pub(crate) fn no_name() -> ServerName<'static> {
    std::net::Ipv4Addr::UNSPECIFIED.into()
}

#[cfg(any(target_arch = "x86_64", target_arch = "x86"))]
fn has_aes() -> bool {
    std::arch::is_x86_feature_detected!("aes") && std::arch::is_x86_feature_detected!("pclmulqdq")
}

#[cfg(target_arch = "aarch64")]
fn has_aes() -> bool {
    std::arch::is_aarch64_feature_detected!("aes")
}

#[cfg(not(any(target_arch = "x86_64", target_arch = "x86", target_arch = "aarch64")))]
fn has_aes() -> bool {
    false
}

/// Accepts the certificate of one device only.
#[derive(Debug)]
struct Only(PeerId);

impl Only {
    fn check(
        &self,
        presented: &CertificateDer<'_>,
        more: &[CertificateDer<'_>],
    ) -> Result<(), Error> {
        let theirs = certificate::parse(presented)?.peer_id();
        if theirs != self.0 || !more.is_empty() {
            return Err(CertificateError::ApplicationVerificationFailure.into());
        }
        Ok(())
    }

    fn check_signature(
        message: &[u8],
        presented: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        certificate::parse(presented)?.verify_signature(
            signed.scheme,
            message,
            signed.signature(),
        )?;
        Ok(HandshakeSignatureValid::assertion())
    }
}

/// The signature schemes of libp2p's certificates.
fn schemes() -> Vec<SignatureScheme> {
    vec![SignatureScheme::ECDSA_NISTP256_SHA256]
}

/// TLS 1.2 is never spoken.
fn too_old() -> Result<HandshakeSignatureValid, Error> {
    Err(Error::General("TLS 1.2 is not spoken on lanes".to_owned()))
}

impl ServerCertVerifier for Only {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        self.check(end_entity, intermediates)?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        too_old()
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Self::check_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        schemes()
    }
}

impl ClientCertVerifier for Only {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        self.check(end_entity, intermediates)?;
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        too_old()
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Self::check_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        schemes()
    }
}

#[cfg(test)]
mod tests {
    use tokio_rustls::{TlsAcceptor, TlsConnector};

    use super::*;
    use crate::peer_id::device_of;

    fn side(seed: u8) -> (Identity, DeviceId) {
        let key = Keypair::ed25519_from_bytes([seed; 32]).unwrap();
        let device = device_of(&key.public().to_peer_id()).unwrap();
        (Identity::new(&key).unwrap(), device)
    }

    /// Whether the handshake succeeds on both sides: of a client that expects `sought` and a server that
    /// expects `awaited`.
    async fn meet(
        (client, server): (&Identity, &Identity),
        (sought, awaited): (DeviceId, DeviceId),
    ) -> (bool, bool) {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let (near, far) = tokio::io::duplex(64 * 1024);
        let connector = TlsConnector::from(client.client(sought).unwrap());
        let acceptor = TlsAcceptor::from(server.server(awaited).unwrap());
        let client = async {
            let mut stream = connector.connect(no_name(), near).await.ok()?;
            let mut byte = [0];
            stream.read_exact(&mut byte).await.ok()
        };
        let server = async {
            let mut stream = acceptor.accept(far).await.ok()?;
            stream.write_all(&[1]).await.ok()?;
            stream.flush().await.ok()
        };
        let (client, server) = tokio::join!(client, server);
        (client.is_some(), server.is_some())
    }

    #[tokio::test]
    async fn only_the_two_devices_meant_come_through() {
        let (alice, at_alice) = side(1);
        let (bob, at_bob) = side(2);
        let (_, at_carol) = side(3);
        let sides = (&alice, &bob);
        assert_eq!(meet(sides, (at_bob, at_alice)).await, (true, true));
        let (client, _) = meet(sides, (at_carol, at_alice)).await;
        assert!(!client, "the provider is somebody else");
        let (client, server) = meet(sides, (at_bob, at_carol)).await;
        assert!(!client && !server, "the asker is somebody else");
    }

    #[tokio::test]
    async fn tls_1_2_and_nameless_clients_are_turned_away() {
        let (alice, at_alice) = side(1);
        let (bob, at_bob) = side(2);
        let mut provider = aws_lc_rs::default_provider();
        provider
            .cipher_suites
            .retain(|suite| suite.tls13().is_some());
        let nameless = ClientConfig::builder_with_provider(Arc::new(provider))
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Only(peer_of(at_bob))))
            .with_no_client_auth();
        let (near, far) = tokio::io::duplex(64 * 1024);
        let acceptor = TlsAcceptor::from(bob.server(at_alice).unwrap());
        let (_, accepted) = tokio::join!(
            TlsConnector::from(Arc::new(nameless)).connect(no_name(), near),
            acceptor.accept(far)
        );
        assert!(accepted.is_err());
        let config = alice.client(at_bob).unwrap();
        assert!(
            config
                .crypto_provider()
                .cipher_suites
                .iter()
                .all(|suite| suite.tls13().is_some())
        );
    }
}
