//! TLS 1.3 between two devices that know each other's keys. Instead of certificates both sides show their
//! device keys themselves, as RFC 7250 has it.

use std::sync::Arc;

use libp2p::identity::Keypair;
use podsync_core::DeviceId;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, DistinguishedName, Error, ServerConfig,
    SignatureScheme, SupportedCipherSuite,
    client::{
        AlwaysResolvesClientRawPublicKeys, Resumption,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::{
        CryptoProvider, WebPkiSupportedAlgorithms,
        ring::{
            self,
            cipher_suite::{
                TLS13_AES_128_GCM_SHA256, TLS13_AES_256_GCM_SHA384, TLS13_CHACHA20_POLY1305_SHA256,
            },
        },
        verify_tls13_signature_with_raw_key,
    },
    pki_types::{
        CertificateDer, PrivatePkcs8KeyDer, ServerName, SubjectPublicKeyInfoDer, UnixTime,
    },
    server::{
        AlwaysResolvesServerRawPublicKeys,
        danger::{ClientCertVerified, ClientCertVerifier},
    },
    sign::CertifiedKey,
};
use zeroize::Zeroizing;

use super::offer::{SECRET_LEN, Secret};
use crate::config::SpawnError;

/// The ALPN protocol name.
const ALPN: &[u8] = b"podsync-lane/2";

/// What precedes the 32 bytes of an Ed25519 key in DER (RFC 8410): of a private key in PKCS #8, and of a public
/// key.
const PRIVATE_PREFIX: [u8; 16] =
    *b"\x30\x2e\x02\x01\x00\x30\x05\x06\x03\x2b\x65\x70\x04\x22\x04\x20";
const PUBLIC_PREFIX: [u8; 12] = *b"\x30\x2a\x30\x05\x06\x03\x2b\x65\x70\x03\x21\x00";

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
    key: Arc<CertifiedKey>,
    has_aes: bool,
}

impl Identity {
    pub(crate) fn new(key: &Keypair) -> Result<Self, SpawnError> {
        let setup = |error: &dyn std::fmt::Display| SpawnError::Setup(format!("lanes: {error}"));
        let has_aes = has_aes();
        let suites = if has_aes { WITH_AES } else { WITHOUT_AES };
        let provider = CryptoProvider {
            cipher_suites: suites.to_vec(),
            ..ring::default_provider()
        };
        let pair = key.clone().try_into_ed25519();
        let pair = pair.map_err(|error| setup(&error))?;
        let private = Zeroizing::new([&PRIVATE_PREFIX, pair.secret().as_ref()].concat());
        let private = ring::sign::any_eddsa_type(&PrivatePkcs8KeyDer::from(private.as_slice()));
        let private = private.map_err(|error| setup(&error))?;
        let public = public_key(&pair.public().to_bytes());
        let key = CertifiedKey::new(vec![CertificateDer::from(public)], private);
        Ok(Self {
            provider: Arc::new(provider),
            key: Arc::new(key),
            has_aes,
        })
    }

    /// For a lane that this device opens to `device`.
    pub(crate) fn client(&self, device: DeviceId) -> Result<Arc<ClientConfig>, Error> {
        let mut config = ClientConfig::builder_with_provider(Arc::clone(&self.provider))
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(self.only(device)))
            .with_client_cert_resolver(Arc::new(AlwaysResolvesClientRawPublicKeys::new(
                Arc::clone(&self.key),
            )));
        config.alpn_protocols = vec![ALPN.to_vec()];
        config.resumption = Resumption::disabled();
        config.enable_sni = false;
        Ok(Arc::new(config))
    }

    /// For a lane that `device` opens to this one.
    pub(crate) fn server(&self, device: DeviceId) -> Result<Arc<ServerConfig>, Error> {
        let mut config = ServerConfig::builder_with_provider(Arc::clone(&self.provider))
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .with_client_cert_verifier(Arc::new(self.only(device)))
            .with_cert_resolver(Arc::new(AlwaysResolvesServerRawPublicKeys::new(
                Arc::clone(&self.key),
            )));
        config.alpn_protocols = vec![ALPN.to_vec()];
        config.send_tls13_tickets = 0;
        // The client's preference wins, unless it is AES and this processor has no AES
        // instructions.
        config.ignore_client_order = !self.has_aes;
        Ok(Arc::new(config))
    }

    fn only(&self, device: DeviceId) -> Only {
        Only {
            key: public_key(device.as_bytes()),
            algorithms: self.provider.signature_verification_algorithms,
        }
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

/// A device's key as TLS shows it.
fn public_key(key: &[u8; 32]) -> Vec<u8> {
    [&PUBLIC_PREFIX, &key[..]].concat()
}

/// Accepts the key of one device only.
#[derive(Debug)]
struct Only {
    key: Vec<u8>,
    algorithms: WebPkiSupportedAlgorithms,
}

impl Only {
    fn check(&self, shown: &CertificateDer<'_>, more: &[CertificateDer<'_>]) -> Result<(), Error> {
        if shown.as_ref() != self.key || !more.is_empty() {
            return Err(CertificateError::ApplicationVerificationFailure.into());
        }
        Ok(())
    }

    fn check_signature(
        &self,
        message: &[u8],
        shown: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let key = SubjectPublicKeyInfoDer::from(shown.as_ref());
        verify_tls13_signature_with_raw_key(message, &key, signed, &self.algorithms)
    }
}

fn schemes() -> Vec<SignatureScheme> {
    vec![SignatureScheme::ED25519]
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
        self.check_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        schemes()
    }

    fn requires_raw_public_keys(&self) -> bool {
        true
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
        self.check_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        schemes()
    }

    fn requires_raw_public_keys(&self) -> bool {
        true
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
        let mut provider = ring::default_provider();
        provider
            .cipher_suites
            .retain(|suite| suite.tls13().is_some());
        let nameless = ClientConfig::builder_with_provider(Arc::new(provider))
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(alice.only(at_bob)))
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
