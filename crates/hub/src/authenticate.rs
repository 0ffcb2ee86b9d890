//! Who asks: signature, nonce, limits, and then the body. The team decides what a device may do.
//!
//! The order matters: the hub buffers nothing for a request whose signature doesn't hold.

use std::{collections::HashMap, sync::Arc};

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
        CONTENT_DIGEST, Nonce, SIGNATURE, SIGNATURE_INPUT, SignatureHeaders, SignedRequest, Target,
        verify,
    },
};
use podsync_core::{DeviceId, TeamId};
use serde::de::DeserializeOwned;

use crate::{
    failure::{Failure, malformed, unknown_team, unsigned},
    hub::{Hub, now_ms},
    limits::Permit,
    team::Team,
};

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
        let team = team_of(&mut parts, hub, signed.nonce).await?;
        // Of the request.
        tracing::Span::current().record("bucket", team.bucket());
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
            let error = "the hub has seen this request before; sign it again";
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

/// The team of the request's path; where it is now, if this hub serves it no more.
async fn team_of(parts: &mut Parts, hub: &Hub, nonce: Nonce) -> Result<Arc<Team>, HubError> {
    let params = parts.extract::<Path<HashMap<String, String>>>().await;
    let team = params
        .ok()
        .and_then(|Path(params)| params.get("team")?.parse::<TeamId>().ok());
    let team = team.ok_or_else(unknown_team)?;
    hub.teams.get(team).map_err(|error| {
        let identity = hub.identity();
        let witness = identity.witness.as_ref();
        let moved = identity.moved.answer(team, witness, Some(nonce));
        moved.unwrap_or(error)
    })
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
