//! Signing and checking of requests to the hub: RFC 9421 with the device's ed25519 key.
//!
//! A request has one form: the same five components and the same parameters in a fixed order, and one label. Any
//! other form is refused before the signature is checked. The caller provides clock and randomness, and remembers
//! nonces.

use data_encoding::{BASE64, BASE64URL_NOPAD};
use ed25519_dalek::{Signature, Signer, VerifyingKey};
use httpsig::prelude::{
    AlgorithmName, HttpSigResult, HttpSignatureBase, HttpSignatureHeaders, HttpSignatureParams,
    message_component::{HttpMessageComponent, HttpMessageComponentId},
};
use podsync_core::{DeviceId, keys::DeviceSecret};
use reqwest::Url;
use sha2::{Digest, Sha256};

use super::HubErrorCode;

pub const CONTENT_DIGEST: &str = "content-digest";
pub const SIGNATURE_INPUT: &str = "signature-input";
pub const SIGNATURE: &str = "signature";

/// How far a request's `created` may be ahead of the hub's clock, in seconds.
pub const MAX_AHEAD: u64 = 60;
/// How long a request may be good for, in seconds.
pub const MAX_LIFETIME: u64 = 60;
/// Bytes of a nonce.
pub const NONCE_LEN: usize = 16;
/// Most bytes of one of the three headers: far more than they need.
const MAX_HEADER_LEN: usize = 1024;

const LABEL: &str = "sig1";
const COMPONENTS: [&str; 5] = ["@method", "@authority", "@path", "@query", CONTENT_DIGEST];

/// Used once by its device.
pub type Nonce = [u8; NONCE_LEN];

/// What a signature covers beside the body.
#[derive(Debug, Clone, Copy)]
pub struct Target<'a> {
    /// In capitals.
    pub method: &'a str,
    /// The hub's public address, see [`authority`].
    pub authority: &'a str,
    /// As it stands in the request, with its percent signs.
    pub path: &'a str,
    /// Without the question mark.
    pub query: Option<&'a str>,
}

/// The values of the three headers that a signed request has.
#[derive(Clone, PartialEq, Eq)]
pub struct SignatureHeaders {
    pub content_digest: String,
    pub signature_input: String,
    pub signature: String,
}

impl SignatureHeaders {
    /// Name and value of each.
    pub fn iter(&self) -> [(&'static str, &str); 3] {
        [
            (CONTENT_DIGEST, &self.content_digest),
            (SIGNATURE_INPUT, &self.signature_input),
            (SIGNATURE, &self.signature),
        ]
    }
}

impl std::fmt::Debug for SignatureHeaders {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SignatureHeaders(hidden)")
    }
}

/// Why a request's signature is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    #[error("the request is not signed as this hub wants it: {0}; update podsync")]
    Malformed(&'static str),
    #[error(
        "the signature doesn't fit the request: it was changed under way, or meant for a hub of another address"
    )]
    Forged,
    #[error("the body isn't the one that was signed")]
    OtherBody,
    #[error(
        "the request was signed at another time than this hub's clock says; set the clock right"
    )]
    Skewed,
}

impl RequestError {
    pub const fn code(&self) -> HubErrorCode {
        match self {
            Self::Malformed(_) | Self::Forged | Self::OtherBody => HubErrorCode::BadSignature,
            Self::Skewed => HubErrorCode::ClockSkew,
        }
    }
}

/// A request with a valid signature. [`Self::check_body`] checks whether its body is the signed one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedRequest {
    pub device: DeviceId,
    pub nonce: Nonce,
    /// Unix seconds, after which the request is refused anyway.
    pub expires: u64,
    content_digest: String,
}

impl SignedRequest {
    pub fn check_body(&self, body: &[u8]) -> Result<(), RequestError> {
        if content_digest(body) == self.content_digest {
            Ok(())
        } else {
            Err(RequestError::OtherBody)
        }
    }
}

/// Signs a request. `created` is the hub's time as far as it is known, in Unix seconds.
pub fn sign(
    target: &Target<'_>,
    body: &[u8],
    device: &DeviceSecret,
    created: u64,
    nonce: &Nonce,
) -> SignatureHeaders {
    let content_digest = content_digest(body);
    let params = HttpSignatureParams {
        created: Some(created),
        expires: Some(created.saturating_add(MAX_LIFETIME)),
        nonce: Some(BASE64URL_NOPAD.encode(nonce)),
        alg: Some(AlgorithmName::Ed25519.to_string()),
        keyid: Some(device.id().to_string()),
        tag: None,
        covered_components: covered(),
    };
    let headers = base(target, &content_digest, &params)
        .and_then(|base| base.build_signature_headers(&SigningKey(device), Some(LABEL)))
        .expect("five components that match their ids make a base, and ed25519 signs any bytes");
    SignatureHeaders {
        content_digest,
        signature_input: headers.signature_input_header_value(),
        signature: headers.signature_header_value(),
    }
}

/// Checks form, time and signature, in this order. `now` is in Unix seconds.
///
/// The hub may have several addresses: the signature has to fit one of them. The authority in `target` is ignored.
pub fn verify(
    target: &Target<'_>,
    authorities: &[impl AsRef<str>],
    headers: &SignatureHeaders,
    now: u64,
) -> Result<SignedRequest, RequestError> {
    let parsed = parse(headers)?;
    let params = parsed.signature_params();
    let (device, nonce) = identity(params)?;
    let expires = check_time(params, now)?;
    let key = VerifyingKey::from_bytes(device.as_bytes())
        .map(PublicKey)
        .map_err(|_| RequestError::Malformed("its keyid is no ed25519 key"))?;
    let signature = signature_bytes(&headers.signature)?;
    let fits = |authority: &str| {
        let target = Target {
            authority,
            ..*target
        };
        base(&target, &headers.content_digest, params)
            .is_ok_and(|base| key.holds(&base.as_bytes(), &signature))
    };
    if !authorities.iter().any(|authority| fits(authority.as_ref())) {
        return Err(RequestError::Forged);
    }
    Ok(SignedRequest {
        device,
        nonce,
        expires,
        content_digest: headers.content_digest.clone(),
    })
}

/// The `content-digest` of a body.
pub fn content_digest(body: &[u8]) -> String {
    format!("sha-256=:{}:", BASE64.encode(&Sha256::digest(body)))
}

/// What `@authority` is for a hub's URL: the host in lower case, and the port where it isn't the
/// scheme's own. None where the URL has no host.
pub fn authority(url: &Url) -> Option<String> {
    let host = url.host_str()?.to_ascii_lowercase();
    Some(match url.port() {
        Some(port) => format!("{host}:{port}"),
        None => host,
    })
}

fn parse(headers: &SignatureHeaders) -> Result<HttpSignatureHeaders, RequestError> {
    if headers
        .iter()
        .iter()
        .any(|(_, value)| value.len() > MAX_HEADER_LEN)
    {
        return Err(RequestError::Malformed(
            "a header of the signature is too long",
        ));
    }
    let mut parsed = HttpSignatureHeaders::try_parse(&headers.signature, &headers.signature_input)
        .map_err(|_| RequestError::Malformed("its signature headers don't parse"))?;
    let parsed = parsed
        .swap_remove(LABEL)
        .ok_or(RequestError::Malformed("it has no signature `sig1`"))?;
    if parsed.signature_params().covered_components != covered() {
        return Err(RequestError::Malformed(
            "its signature has to cover @method, @authority, @path, @query and content-digest",
        ));
    }
    // This also refuses further signatures, and parameters that nobody checks.
    if parsed.signature_input_header_value() != headers.signature_input
        || parsed.signature_header_value() != headers.signature
    {
        return Err(RequestError::Malformed(
            "its signature headers are spelled in another way",
        ));
    }
    Ok(parsed)
}

fn identity(params: &HttpSignatureParams) -> Result<(DeviceId, Nonce), RequestError> {
    if params.alg.as_deref() != Some(AlgorithmName::Ed25519.as_str()) || params.tag.is_some() {
        return Err(RequestError::Malformed("its algorithm isn't ed25519"));
    }
    let device = params
        .keyid
        .as_deref()
        .and_then(|id| id.parse().ok())
        .ok_or(RequestError::Malformed("its keyid isn't a device id"))?;
    let nonce = params
        .nonce
        .as_deref()
        .and_then(|nonce| BASE64URL_NOPAD.decode(nonce.as_bytes()).ok())
        .and_then(|nonce| nonce.try_into().ok())
        .ok_or(RequestError::Malformed("its nonce isn't 16 bytes"))?;
    Ok((device, nonce))
}

/// When the request expires. An error if it isn't valid now.
fn check_time(params: &HttpSignatureParams, now: u64) -> Result<u64, RequestError> {
    let (Some(created), Some(expires)) = (params.created, params.expires) else {
        return Err(RequestError::Malformed("it doesn't say when it expires"));
    };
    if expires <= created || expires - created > MAX_LIFETIME {
        return Err(RequestError::Malformed("it has to expire within 60 s"));
    }
    if created > now.saturating_add(MAX_AHEAD) || expires < now {
        return Err(RequestError::Skewed);
    }
    Ok(expires)
}

fn signature_bytes(header: &str) -> Result<[u8; 64], RequestError> {
    header
        .strip_prefix(LABEL)
        .and_then(|rest| rest.strip_prefix("=:"))
        .and_then(|rest| rest.strip_suffix(':'))
        .and_then(|text| BASE64.decode(text.as_bytes()).ok())
        .and_then(|bytes| bytes.try_into().ok())
        .ok_or(RequestError::Malformed("its signature isn't 64 bytes"))
}

fn covered() -> Vec<HttpMessageComponentId> {
    COMPONENTS
        .iter()
        .map(|name| HttpMessageComponentId::try_from(*name))
        .collect::<HttpSigResult<_>>()
        .expect("the names are RFC 9421's, or a header's")
}

fn base(
    target: &Target<'_>,
    content_digest: &str,
    params: &HttpSignatureParams,
) -> HttpSigResult<HttpSignatureBase> {
    let query = format!("?{}", target.query.unwrap_or_default());
    let values = [
        target.method,
        target.authority,
        target.path,
        &query,
        content_digest,
    ];
    let lines = covered()
        .iter()
        .zip(values)
        .map(|(id, value)| HttpMessageComponent::try_from((id, &[value.to_owned()][..])))
        .collect::<HttpSigResult<Vec<_>>>()?;
    HttpSignatureBase::try_new(&lines, params)
}

/// The device's key behind httpsig's trait.
struct SigningKey<'a>(&'a DeviceSecret);

impl httpsig::prelude::SigningKey for SigningKey<'_> {
    fn sign(&self, data: &[u8]) -> HttpSigResult<Vec<u8>> {
        Ok(self.0.signing_key().sign(data).to_bytes().to_vec())
    }

    fn key_id(&self) -> String {
        self.0.id().to_string()
    }

    fn alg(&self) -> AlgorithmName {
        AlgorithmName::Ed25519
    }
}

struct PublicKey(VerifyingKey);

impl PublicKey {
    fn holds(&self, data: &[u8], signature: &[u8; 64]) -> bool {
        self.0
            .verify_strict(data, &Signature::from_bytes(signature))
            .is_ok()
    }
}

#[cfg(test)]
mod tests;
