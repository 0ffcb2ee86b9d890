//! Signed envelopes: the only way to turn received bytes into trusted values.
//!
//! Only this module can make a [`Verified`]. It proves who signed and for which team, never that
//! the signer had the right to: membership decides that. The payload is signed as bytes and those
//! bytes are kept, so nothing is re-encoded to be checked or forwarded.

use std::sync::Arc;

use ed25519_dalek::{Signature, Signer, SigningKey, VerifyingKey};
use serde::{Deserialize, Serialize};

use crate::{
    codec::{CodecError, Format},
    id::{DeviceId, TeamId},
};

/// The most bytes of an envelope: a key rotation to a full team needs about 120 KiB.
pub const MAX_ENVELOPE_LEN: usize = 256 << 10;

/// The most bytes that an envelope adds to its payload.
pub const ENVELOPE_OVERHEAD: usize = 1 + 1 + 32 + 32 + 3 + 1 + 64;

/// The most bytes of a payload, so that its envelope stays in bounds.
pub const MAX_PAYLOAD_LEN: usize = MAX_ENVELOPE_LEN - ENVELOPE_OVERHEAD;

const SIGNED_PREFIX: &[u8] = b"podsync-signed-1\0";

/// The purpose of a signature. It is part of the signed bytes, so a signature for one purpose is
/// invalid for another.
///
/// The number is the one on the wire. Numbers are never reused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[repr(u8)]
pub enum Domain {
    /// A membership operation.
    Operation = 0,
    /// The head of a device's feed.
    Head = 1,
    /// A daemon's hourly statement that it was online, with a digest of the heads it knew.
    Liveness = 2,
    /// The addresses at which a device can be reached.
    AddressRecord = 3,
    /// A newcomer's details, signed by the invite's key.
    InviteProof = 4,
    /// A hub's word where the team's hub is now.
    HubMoved = 5,
}

/// A format that travels in an envelope.
pub trait SignedPayload: Format {
    const DOMAIN: Domain;

    /// Checks this payload beyond the signature: bounds, and signatures inside it. Runs once, when
    /// the envelope is verified.
    fn check(&self, _team: &TeamId, _signer: &DeviceId) -> Result<(), SignatureError> {
        Ok(())
    }
}

/// Why an envelope is rejected.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    #[error(transparent)]
    Codec(#[from] CodecError),
    #[error("signed for another purpose: {found:?} instead of {expected:?}; drop it")]
    WrongDomain { expected: Domain, found: Domain },
    #[error(
        "the signature of device {signer} does not fit: the bytes were changed or forged; \
         drop them and ask another peer"
    )]
    Forged { signer: DeviceId },
    #[error(
        "{format}: {what}; device {signer} signed what no podsync writes, so drop it and update that device"
    )]
    OutOfRules {
        format: &'static str,
        what: &'static str,
        signer: DeviceId,
    },
}

/// A payload whose signature holds.
#[derive(Debug, Clone)]
pub struct Verified<T> {
    value: T,
    team: TeamId,
    signer: DeviceId,
    bytes: Arc<[u8]>,
}

impl<T> Verified<T> {
    pub fn value(&self) -> &T {
        &self.value
    }

    /// The team that the signer named.
    pub fn team(&self) -> TeamId {
        self.team
    }

    pub fn signer(&self) -> DeviceId {
        self.signer
    }

    /// The envelope as received: what is stored, hashed and passed on.
    pub fn bytes(&self) -> &Arc<[u8]> {
        &self.bytes
    }

    pub fn into_value(self) -> T {
        self.value
    }
}

/// Signs `value` for `team`: the bytes of the envelope.
pub fn sign<T: SignedPayload>(key: &SigningKey, team: TeamId, value: &T) -> Vec<u8> {
    let signer = DeviceId::from_bytes(key.verifying_key().to_bytes());
    let payload = value.encode();
    let signature = key.sign(&signed_bytes(T::DOMAIN, &team, &signer, &payload));
    Envelope {
        domain: T::DOMAIN,
        team,
        signer,
        payload,
        signature: signature.to_bytes(),
    }
    .encode()
}

/// Opens an envelope. Checks bounds, purpose and signature, then the payload's own rules.
pub fn verify<T: SignedPayload>(bytes: &[u8]) -> Result<Verified<T>, SignatureError> {
    let envelope = Envelope::decode(bytes)?;
    // The hash of an envelope is its id, so one signature must have only one encoding.
    if envelope.encode() != bytes {
        return Err(CodecError::Malformed {
            format: Envelope::NAME,
        }
        .into());
    }
    let Envelope {
        domain,
        team,
        signer,
        payload,
        ..
    } = &envelope;
    if *domain != T::DOMAIN {
        return Err(SignatureError::WrongDomain {
            expected: T::DOMAIN,
            found: *domain,
        });
    }
    if !signature_holds(&envelope) {
        return Err(SignatureError::Forged { signer: *signer });
    }
    let value = T::decode(payload)?;
    value.check(team, signer)?;
    Ok(Verified {
        value,
        team: *team,
        signer: *signer,
        bytes: bytes.into(),
    })
}

#[derive(Serialize, Deserialize)]
struct Envelope {
    domain: Domain,
    team: TeamId,
    signer: DeviceId,
    #[serde(with = "serde_bytes")]
    payload: Vec<u8>,
    #[serde(with = "serde_bytes")]
    signature: [u8; 64],
}

impl Format for Envelope {
    const NAME: &'static str = "signed envelope";
    const VERSION: u8 = 1;
    const MAX_LEN: usize = MAX_ENVELOPE_LEN;
}

fn signature_holds(envelope: &Envelope) -> bool {
    let Envelope {
        domain,
        team,
        signer,
        payload,
        signature,
    } = envelope;
    let message = signed_bytes(*domain, team, signer, payload);
    let holds = VerifyingKey::from_bytes(signer.as_bytes())
        .and_then(|key| key.verify_strict(&message, &Signature::from_bytes(signature)))
        .is_ok();
    holds || cfg!(podsync_planted = "skip-signature")
}

fn signed_bytes(domain: Domain, team: &TeamId, signer: &DeviceId, payload: &[u8]) -> Vec<u8> {
    [
        SIGNED_PREFIX,
        &[domain as u8],
        team.as_bytes(),
        signer.as_bytes(),
        payload,
    ]
    .concat()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
    struct Note(String);

    impl Format for Note {
        const NAME: &'static str = "note";
        const VERSION: u8 = 1;
        const MAX_LEN: usize = 64;
    }

    impl SignedPayload for Note {
        const DOMAIN: Domain = Domain::Liveness;

        fn check(&self, _: &TeamId, signer: &DeviceId) -> Result<(), SignatureError> {
            if self.0 == "bad" {
                return Err(SignatureError::OutOfRules {
                    format: Self::NAME,
                    what: "it is bad",
                    signer: *signer,
                });
            }
            Ok(())
        }
    }

    #[derive(Debug, Serialize, Deserialize)]
    struct HeadNote(String);

    impl Format for HeadNote {
        const NAME: &'static str = "note";
        const VERSION: u8 = 1;
        const MAX_LEN: usize = 64;
    }

    impl SignedPayload for HeadNote {
        const DOMAIN: Domain = Domain::Head;
    }

    fn key() -> SigningKey {
        SigningKey::from_bytes(&[7; 32])
    }

    fn team() -> TeamId {
        TeamId::of(b"team")
    }

    fn signed(text: &str) -> Vec<u8> {
        sign(&key(), team(), &Note(text.into()))
    }

    #[test]
    fn what_was_signed_is_believed() {
        let bytes = signed("hello");
        let verified = verify::<Note>(&bytes).unwrap();
        assert_eq!(verified.value(), &Note("hello".into()));
        assert_eq!(verified.team(), team());
        assert_eq!(
            verified.signer().as_bytes(),
            &key().verifying_key().to_bytes()
        );
        assert_eq!(&verified.bytes()[..], &bytes);
    }

    #[test]
    fn a_flipped_bit_or_a_missing_byte_is_refused() {
        let bytes = signed("hello");
        for at in 0..bytes.len() {
            for bit in 0..8 {
                let mut bad = bytes.clone();
                bad[at] ^= 1 << bit;
                assert!(verify::<Note>(&bad).is_err(), "byte {at}, bit {bit}");
            }
            assert!(verify::<Note>(&bytes[..at]).is_err(), "cut at {at}");
        }
        assert!(verify::<Note>(&[&bytes[..], b"x"].concat()).is_err());
    }

    #[test]
    fn a_signature_serves_one_purpose() {
        let error = verify::<HeadNote>(&signed("hello")).unwrap_err();
        assert_eq!(
            error,
            SignatureError::WrongDomain {
                expected: Domain::Head,
                found: Domain::Liveness
            }
        );
    }

    #[test]
    fn a_signature_serves_one_team_and_one_signer() {
        let mut other_team = Envelope::decode(&signed("hello")).unwrap();
        other_team.team = TeamId::of(b"another");
        let mut other_signer = Envelope::decode(&signed("hello")).unwrap();
        other_signer.signer =
            DeviceId::from_bytes(SigningKey::from_bytes(&[8; 32]).verifying_key().to_bytes());
        for envelope in [other_team, other_signer] {
            assert!(matches!(
                verify::<Note>(&envelope.encode()),
                Err(SignatureError::Forged { .. })
            ));
        }
    }

    #[test]
    fn one_signature_has_one_spelling() {
        let bytes = signed("hello");
        // The domain as a two-byte varint: the same number, other bytes, the same signature.
        let respelled = [&bytes[..1], &[bytes[1] | 0x80, 0], &bytes[2..]].concat();
        assert!(Envelope::decode(&respelled).is_ok());
        assert!(matches!(
            verify::<Note>(&respelled),
            Err(SignatureError::Codec(_))
        ));
    }

    #[test]
    fn a_payload_has_its_own_rules() {
        assert!(matches!(
            verify::<Note>(&signed("bad")),
            Err(SignatureError::OutOfRules { .. })
        ));
    }

    #[test]
    fn bounds_leave_room_for_the_envelope() {
        let envelope = Envelope {
            domain: Domain::Operation,
            team: team(),
            signer: DeviceId::from_bytes([1; 32]),
            payload: vec![0; MAX_PAYLOAD_LEN],
            signature: [0; 64],
        };
        assert_eq!(envelope.encode().len(), MAX_ENVELOPE_LEN);
    }

    proptest! {
        #[test]
        fn any_bytes_are_refused_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            prop_assert!(verify::<Note>(&bytes).is_err());
        }

        #[test]
        fn any_payload_round_trips(text in ".{0,15}", seed in any::<[u8; 32]>(), team in any::<[u8; 32]>()) {
            prop_assume!(text != "bad");
            let team = TeamId::from_bytes(team);
            let bytes = sign(&SigningKey::from_bytes(&seed), team, &Note(text.clone()));
            let verified = verify::<Note>(&bytes).unwrap();
            prop_assert_eq!(verified.team(), team);
            prop_assert_eq!(verified.into_value(), Note(text));
        }
    }
}
