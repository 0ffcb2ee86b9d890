//! Signing as AWS wants it, with whatever credentials the hub finds.
//!
//! A presigned URL dies with the credential that signed it, whatever it says itself: so it is signed for no
//! longer than that.

use std::{
    fmt,
    sync::{PoisonError, RwLock},
    time::{Duration, Instant},
};

use bytes::Bytes;
use http::request::Parts;
use reqsign::{
    Context, ErrorKind, SignRequest,
    aws::{Credential, DefaultCredentialProvider, RequestSigner, StaticCredentialProvider},
    default_context,
    time::Timestamp,
};
use tokio::time::timeout;

use super::answer::Refusal;

/// Finding credentials may take a request or two to AWS; where nothing answers at all this ends it.
const CREDENTIALS_PATIENCE: Duration = Duration::from_secs(20);
/// The least remaining life of a credential that is worth signing with.
const MIN_LIFE: Duration = Duration::from_secs(30);

/// Where the hub's credentials come from.
#[derive(Clone)]
pub enum Credentials {
    /// AWS's own order: environment, profile, SSO, web identity, process, ECS, instance metadata.
    Chain,
    /// One pair of keys: the embedded server's, or a test's.
    Static {
        access_key: String,
        secret_key: String,
    },
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Chain => "Chain",
            Self::Static { .. } => "Static(hidden)",
        })
    }
}

/// Credentials are looked for at the first use, again before they end, and again where they are refused.
#[derive(Debug)]
pub(super) struct Signer {
    credentials: Credentials,
    region: String,
    inner: RwLock<Inner>,
}

#[derive(Debug)]
struct Inner {
    signer: reqsign::Signer<Credential>,
    made: Instant,
}

impl Signer {
    pub(super) fn new(region: &str, credentials: &Credentials) -> Self {
        let inner = Inner {
            signer: look_for(region, credentials),
            made: Instant::now(),
        };
        Self {
            credentials: credentials.clone(),
            region: region.to_owned(),
            inner: RwLock::new(inner),
        }
    }

    /// Forgets the credentials, which were refused; false where others can't be expected yet: within `pause`.
    pub(super) fn renew(&self, pause: Duration) -> bool {
        let mut inner = self.inner.write().unwrap_or_else(PoisonError::into_inner);
        let is_fixed = matches!(self.credentials, Credentials::Static { .. });
        if is_fixed || inner.made.elapsed() < pause {
            return false;
        }
        *inner = Inner {
            signer: look_for(&self.region, &self.credentials),
            made: Instant::now(),
        };
        true
    }

    /// Signs a request that the hub sends now.
    pub(super) async fn sign(
        &self,
        request: Result<http::Request<Bytes>, http::Error>,
    ) -> Result<http::Request<Bytes>, Refusal> {
        let (mut parts, body) = request.map_err(Refusal::garbled)?.into_parts();
        self.apply(&mut parts, None).await?;
        Ok(http::Request::from_parts(parts, body))
    }

    /// Signs a request for somebody else; the URL, and how long it is good for.
    pub(super) async fn presign(
        &self,
        request: Result<http::Request<Bytes>, http::Error>,
        expires: Duration,
    ) -> Result<(String, Duration), Refusal> {
        let (mut parts, _) = request.map_err(Refusal::garbled)?.into_parts();
        self.apply(&mut parts, Some(expires)).await?;
        let good_for = expiry(parts.uri.query().unwrap_or_default())
            .ok_or_else(|| Refusal::garbled("a signed URL without an expiry"))?;
        Ok((parts.uri.to_string(), good_for))
    }

    async fn apply(&self, parts: &mut Parts, expires: Option<Duration>) -> Result<(), Refusal> {
        let signer = {
            let inner = self.inner.read().unwrap_or_else(PoisonError::into_inner);
            inner.signer.clone()
        };
        match timeout(CREDENTIALS_PATIENCE, signer.sign(parts, expires)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(no_credentials(&error)),
            Err(_) => Err(Refusal::busy("looking for credentials took too long")),
        }
    }
}

fn look_for(region: &str, credentials: &Credentials) -> reqsign::Signer<Credential> {
    let request_signer = WithinCredential(RequestSigner::new("s3", region));
    let context = default_context();
    match credentials {
        Credentials::Chain => {
            reqsign::Signer::new(context, DefaultCredentialProvider::new(), request_signer)
        }
        Credentials::Static {
            access_key,
            secret_key,
        } => {
            let keys = StaticCredentialProvider::new(access_key, secret_key);
            reqsign::Signer::new(context, keys, request_signer)
        }
    }
}

fn no_credentials(error: &reqsign::Error) -> Refusal {
    match error.kind() {
        ErrorKind::RateLimited => Refusal::busy(format!("no credentials yet: {error}")),
        ErrorKind::Unexpected if error.is_retryable() => {
            Refusal::busy(format!("no credentials yet: {error}"))
        }
        _ => Refusal::for_good(format!(
            "no credentials for the bucket ({error}): set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, a profile, or run where a role is attached"
        )),
    }
}

/// `X-Amz-Expires` of a signed URL.
fn expiry(query: &str) -> Option<Duration> {
    let seconds = query
        .split('&')
        .find_map(|pair| pair.strip_prefix("X-Amz-Expires="))?;
    seconds.parse().ok().map(Duration::from_secs)
}

/// SigV4, but never beyond the credential's end.
#[derive(Debug)]
struct WithinCredential(RequestSigner);

impl SignRequest for WithinCredential {
    type Credential = Credential;

    fn required_valid_until(&self, _: &Credential, _: Option<Duration>) -> Timestamp {
        Timestamp::now() + MIN_LIFE
    }

    async fn sign_request(
        &self,
        context: &Context,
        request: &mut Parts,
        credential: Option<&Credential>,
        expires: Option<Duration>,
    ) -> reqsign::Result<()> {
        let end = credential.and_then(|credential| credential.expires_in);
        let expires = match (expires, end) {
            (Some(expires), Some(end)) => Some(expires.min(left_until(end))),
            (expires, _) => expires,
        };
        self.0
            .sign_request(context, request, credential, expires)
            .await
    }
}

/// A second is kept back: the credential has to outlive what it signed.
fn left_until(end: Timestamp) -> Duration {
    let left = end
        .as_second()
        .saturating_sub(Timestamp::now().as_second())
        .saturating_sub(1);
    Duration::from_secs(left.try_into().unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Credentials that end so many seconds from now.
    #[derive(Debug)]
    struct Ending(u64);

    impl reqsign::ProvideCredential for Ending {
        type Credential = Credential;

        async fn provide_credential(&self, _: &Context) -> reqsign::Result<Option<Credential>> {
            Ok(Some(Credential {
                access_key_id: "AKEXAMPLE".to_owned(),
                secret_access_key: "secret".to_owned(),
                session_token: Some("token".to_owned()),
                expires_in: Some(Timestamp::now() + Duration::from_secs(self.0)),
            }))
        }
    }

    fn ending_in(seconds: u64) -> Signer {
        let signer = WithinCredential(RequestSigner::new("s3", "us-east-1"));
        let inner = Inner {
            signer: reqsign::Signer::new(Context::new(), Ending(seconds), signer),
            made: Instant::now(),
        };
        Signer {
            credentials: Credentials::Chain,
            region: "us-east-1".to_owned(),
            inner: RwLock::new(inner),
        }
    }

    fn request() -> Result<http::Request<Bytes>, http::Error> {
        http::Request::put("http://127.0.0.1:9/team/packs/ab.0")
            .header("if-none-match", "*")
            .body(Bytes::new())
    }

    #[tokio::test]
    async fn no_url_outlives_its_credential() {
        let asked = Duration::from_secs(900);
        let (url, good_for) = ending_in(300).presign(request(), asked).await.unwrap();
        assert!(good_for < Duration::from_secs(300), "{good_for:?}");
        assert!(good_for > Duration::from_secs(290), "{good_for:?}");
        assert!(url.contains("X-Amz-SignedHeaders=host%3Bif-none-match"));
        let (_, good_for) = ending_in(3600).presign(request(), asked).await.unwrap();
        assert_eq!(good_for, asked);
    }

    #[tokio::test]
    async fn a_credential_at_its_end_signs_nothing() {
        for expires in [None, Some(Duration::from_secs(900))] {
            let mut parts = request().unwrap().into_parts().0;
            let refusal = ending_in(10).apply(&mut parts, expires).await.unwrap_err();
            assert!(refusal.to_string().contains("no credentials"), "{refusal}");
        }
    }

    #[test]
    fn keys_do_not_show() {
        let keys = Credentials::Static {
            access_key: "AKEXAMPLE".to_owned(),
            secret_key: "secret".to_owned(),
        };
        assert_eq!(format!("{keys:?}"), "Static(hidden)");
    }
}
