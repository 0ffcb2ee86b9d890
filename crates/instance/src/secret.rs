//! The auth token that a licensed LocalStack may want.
//!
//! It leaves this type only as a header marked sensitive; `Debug` never shows it.

use std::fmt;

use reqwest::header::HeaderValue;
use zeroize::{Zeroize, Zeroizing};

/// Longer than any token, far below what servers accept as a header.
const MAX_TOKEN_LEN: usize = 2048;

/// An auth token, as in `LOCALSTACK_AUTH_TOKEN`; wiped when dropped.
#[derive(Clone)]
pub struct Secret(Zeroizing<String>);

/// A token that cannot be one. What it was is not repeated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "LOCALSTACK_AUTH_TOKEN is not a token: it must be 1 to {MAX_TOKEN_LEN} printable ASCII characters without spaces; copy it again, or unset it"
)]
pub struct SecretError;

impl Secret {
    pub fn new(token: impl Into<String>) -> Result<Self, SecretError> {
        let token = Zeroizing::new(token.into());
        let plain = token.bytes().all(|byte| byte.is_ascii_graphic());
        if token.is_empty() || token.len() > MAX_TOKEN_LEN || !plain {
            return Err(SecretError);
        }
        Ok(Self(token))
    }

    /// `Basic base64(":" + token)`.
    pub(crate) fn authorization(&self) -> HeaderValue {
        let mut text = Zeroizing::new(String::from("Basic "));
        let mut plain = format!(":{}", self.0.as_str());
        data_encoding::BASE64.encode_append(plain.as_bytes(), &mut text);
        plain.zeroize();
        let mut value =
            HeaderValue::from_str(&text).expect("base64 consists of characters that headers allow");
        value.set_sensitive(true);
        value
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(hidden)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_checked_encoded_and_hidden() {
        for bad in [
            "",
            "a b",
            "line\nbreak",
            "ü",
            &"x".repeat(MAX_TOKEN_LEN + 1),
        ] {
            assert!(Secret::new(bad).is_err(), "{bad:?}");
        }
        let secret = Secret::new("ls-token").unwrap();
        assert_eq!(
            secret.authorization().to_str().unwrap(),
            "Basic OmxzLXRva2Vu"
        );
        let shown = format!("{secret:?} {:?}", secret.authorization());
        assert!(
            !shown.contains("ls-token") && !shown.contains("OmxzLXRva2Vu"),
            "{shown}"
        );
    }
}
