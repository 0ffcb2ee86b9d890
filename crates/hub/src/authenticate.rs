//! Who asks: signature, nonce, limits, and then the body. What a device may do is its team's to say.
//!
//! The order matters: nothing is buffered for a request whose signature doesn't hold. Nonces are defence in
//! depth and each replica's own, since a request that is sent twice changes nothing.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use axum::{
    RequestPartsExt,
    extract::{FromRequest, Path, Request},
    http::{HeaderMap, header, request::Parts},
};
use bytes::{Bytes, BytesMut};
use futures::StreamExt;
use podsync_api::hub::{
    HubError, HubErrorCode, MAX_BODY_LEN,
    signature::{
        CONTENT_DIGEST, MAX_AHEAD, MAX_LIFETIME, Nonce, SIGNATURE, SIGNATURE_INPUT,
        SignatureHeaders, SignedRequest, Target, verify,
    },
};
use podsync_core::{DeviceId, TeamId};
use serde::de::DeserializeOwned;

use crate::{
    failure::{Failure, unsigned},
    hub::{Hub, now_ms},
    team::Team,
    teams::unknown_team,
};

/// The most nonces of one half of the cache: 16 MiB together.
const MAX_NONCES: usize = 1 << 16;

/// What one hub takes at once.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Signed requests in all: with the longest bodies, 2 GiB.
    pub in_flight: usize,
    /// Signed requests of one device.
    pub per_device: usize,
    /// Signed requests of devices that aren't in the team: newcomers, and whoever else has a key.
    pub strangers: usize,
    /// How long a body may take to arrive.
    pub body: Duration,
    /// How long a request may take in all: a commit looks for thousands of objects.
    pub whole: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            in_flight: 256,
            per_device: 16,
            strangers: 32,
            body: Duration::from_secs(30),
            whole: Duration::from_secs(120),
        }
    }
}

/// The signed requests that are being answered, by device.
#[derive(Debug, Default)]
pub struct InFlight(Arc<Mutex<HashMap<Flyer, usize>>>);

/// Whose requests are counted together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Flyer {
    Member(DeviceId),
    Stranger,
}

impl InFlight {
    /// Keys cost nothing, so who isn't a member shares its places with all others that aren't.
    fn take(&self, device: DeviceId, is_member: bool, limits: &Limits) -> Result<Permit, HubError> {
        let (flyer, most) = if is_member {
            (Flyer::Member(device), limits.per_device)
        } else {
            (Flyer::Stranger, limits.strangers)
        };
        let mut flying = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let all: usize = flying.values().sum();
        let own = flying.get(&flyer).copied().unwrap_or_default();
        if own >= most || all >= limits.in_flight {
            return Err(HubError::new(
                HubErrorCode::TooManyRequests,
                "too many requests at once; try again in a second",
            ));
        }
        flying.insert(flyer, own + 1);
        Ok(Permit {
            flyer,
            flying: self.0.clone(),
        })
    }
}

/// A place among the requests in flight.
#[derive(Debug)]
struct Permit {
    flyer: Flyer,
    flying: Arc<Mutex<HashMap<Flyer, usize>>>,
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut flying = self.flying.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(own) = flying.get_mut(&self.flyer) {
            *own -= 1;
            if *own == 0 {
                flying.remove(&self.flyer);
            }
        }
    }
}

/// The nonces of the last minutes, in two halves of which the older one is forgotten.
#[derive(Debug, Default)]
pub struct Nonces(Mutex<Halves>);

#[derive(Debug, Default)]
struct Halves {
    newer: HashSet<(DeviceId, Nonce)>,
    older: HashSet<(DeviceId, Nonce)>,
    turned: Option<Instant>,
}

impl Nonces {
    /// Whether a nonce is new. Where more come than are kept, the oldest are forgotten early.
    fn is_new(&self, device: DeviceId, nonce: Nonce) -> bool {
        /// After this a request is refused for its time.
        const LIFETIME: Duration = Duration::from_secs(MAX_AHEAD + MAX_LIFETIME);
        let mut halves = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let due = halves
            .turned
            .is_none_or(|turned| turned.elapsed() > LIFETIME);
        if due || halves.newer.len() >= MAX_NONCES {
            halves.older = std::mem::take(&mut halves.newer);
            halves.turned = Some(Instant::now());
        }
        let key = (device, nonce);
        !halves.older.contains(&key) && halves.newer.insert(key)
    }
}

/// A request of a device that signed it, with its body.
#[derive(Debug)]
pub(crate) struct Signed {
    pub(crate) hub: Arc<Hub>,
    pub(crate) team: Arc<Team>,
    pub(crate) device: DeviceId,
    pub(crate) headers: HeaderMap,
    body: Bytes,
    _permit: Permit,
}

impl Signed {
    pub(crate) fn json<T: DeserializeOwned>(&self) -> Result<T, HubError> {
        serde_json::from_slice(&self.body).map_err(|error| malformed(error.to_string()))
    }
}

impl FromRequest<Arc<Hub>> for Signed {
    type Rejection = Failure;

    async fn from_request(request: Request, hub: &Arc<Hub>) -> Result<Self, Failure> {
        let (mut parts, body) = request.into_parts();
        let signed = check(&parts, hub)?;
        let team = team_of(&mut parts, hub).await?;
        let is_member = team.seems_member(&signed.device).await;
        let permit = hub.in_flight.take(signed.device, is_member, &hub.limits)?;
        let length = parts.headers.get(header::CONTENT_LENGTH);
        let length = length.and_then(|length| length.to_str().ok()?.parse::<usize>().ok());
        if length.is_some_and(|length| length > MAX_BODY_LEN) {
            return Err(too_large().into());
        }
        let body = tokio::time::timeout(hub.limits.body, read(body))
            .await
            .map_err(|_| malformed("the body took too long to arrive"))??;
        signed
            .check_body(&body)
            .map_err(|error| unsigned(&error, now_ms()))?;
        if !hub.nonces.is_new(signed.device, signed.nonce) {
            let error = "this request was here before; sign it anew";
            return Err(Failure::new(HubErrorCode::Replayed, error));
        }
        Ok(Self {
            hub: hub.clone(),
            team,
            device: signed.device,
            headers: parts.headers,
            body,
            _permit: permit,
        })
    }
}

fn check(parts: &Parts, hub: &Hub) -> Result<SignedRequest, HubError> {
    let headers = SignatureHeaders {
        content_digest: only(&parts.headers, CONTENT_DIGEST)?,
        signature_input: only(&parts.headers, SIGNATURE_INPUT)?,
        signature: only(&parts.headers, SIGNATURE)?,
    };
    let identity = hub.identity();
    let host = match &identity.authorities[..] {
        [] => vec![only(&parts.headers, header::HOST.as_str())?.to_ascii_lowercase()],
        known => known.to_vec(),
    };
    let target = Target {
        method: parts.method.as_str(),
        authority: "",
        path: parts.uri.path(),
        query: parts.uri.query(),
    };
    let now_ms = now_ms();
    verify(&target, &host, &headers, now_ms / 1000).map_err(|error| unsigned(&error, now_ms))
}

/// The value of a header that is there once.
fn only(headers: &HeaderMap, name: &str) -> Result<String, HubError> {
    let mut values = headers.get_all(name).iter();
    match (values.next().map(|value| value.to_str()), values.next()) {
        (Some(Ok(value)), None) => Ok(value.to_owned()),
        _ => Err(HubError::new(
            HubErrorCode::BadSignature,
            format!(
                "the request has to have one header {name}: it isn't signed as docs/hub-protocol.md says"
            ),
        )),
    }
}

async fn team_of(parts: &mut Parts, hub: &Hub) -> Result<Arc<Team>, HubError> {
    let params = parts.extract::<Path<HashMap<String, String>>>().await;
    let team = params
        .ok()
        .and_then(|Path(params)| params.get("team")?.parse::<TeamId>().ok());
    hub.teams.get(team.ok_or_else(unknown_team)?)
}

async fn read(body: axum::body::Body) -> Result<Bytes, HubError> {
    let mut stream = body.into_data_stream();
    let mut bytes = BytesMut::new();
    while let Some(part) = stream.next().await {
        let part = part.map_err(|_| malformed("the body broke off"))?;
        if bytes.len() + part.len() > MAX_BODY_LEN {
            return Err(too_large());
        }
        bytes.extend_from_slice(&part);
    }
    Ok(bytes.freeze())
}

fn too_large() -> HubError {
    HubError::new(
        HubErrorCode::TooLarge,
        format!("a request has at most {MAX_BODY_LEN} bytes; send less at a time"),
    )
}

pub(crate) fn malformed(what: impl std::fmt::Display) -> HubError {
    HubError::new(
        HubErrorCode::Malformed,
        format!("the request means nothing to this hub: {what}"),
    )
}
