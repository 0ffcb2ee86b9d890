//! Secrets that travel with a call. None shows in a log.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The emulator's auth token, from `LOCALSTACK_AUTH_TOKEN` in the caller's environment. The daemon's own
/// environment may come from another shell.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(transparent)]
pub struct AuthToken(String);

impl AuthToken {
    pub fn new(token: impl Into<String>) -> Self {
        Self(token.into())
    }

    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for AuthToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AuthToken(hidden)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_auth_token_hides_itself() {
        let token = AuthToken::new("ls-secret");
        assert!(!format!("{:?} {:#?}", Some(&token), token).contains("ls-secret"));
        assert_eq!(serde_json::to_string(&token).unwrap(), "\"ls-secret\"");
    }
}
