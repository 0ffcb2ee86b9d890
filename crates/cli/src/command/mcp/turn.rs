//! One call of a tool: its arguments become a call to the daemon, whose answer is the tool's.

use std::collections::BTreeSet;

use podsync_api::{ApiError, Call, Consent, ErrorCode, contents, pods};
use rmcp::model::{CallToolResult, JsonObject};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::{
    arguments::{Diff, Forecast, List, Load, Save, Share, Show, Undo, absolute},
    calls::Calls,
};
use crate::{
    arguments::auth_token,
    context::{Connection, Context, Needs},
};

pub(super) struct Turn<'a> {
    pub(super) context: &'a Context,
    pub(super) endpoint: &'a str,
    /// The consents given for all calls.
    pub(super) allowed: &'a BTreeSet<Consent>,
    pub(super) calls: &'a Calls,
    /// The client doesn't want it any more.
    pub(super) cancelled: CancellationToken,
}

impl Turn<'_> {
    pub(super) async fn carry_out(
        &self,
        tool: &str,
        given: JsonObject,
    ) -> Result<CallToolResult, ApiError> {
        match tool {
            "list" => self.list(read(given)?).await,
            "show" => self.show(read(given)?).await,
            "diff" => self.diff(read(given)?).await,
            "forecast" => self.forecast(read(given)?).await,
            "save" => self.save(read(given)?).await,
            "load" => self.load(read(given)?).await,
            "undo" => self.undo(read(given)?).await,
            "share" => self.share(read(given)?).await,
            other => Err(ApiError::new(
                ErrorCode::Internal,
                format!("the tool {other} does nothing"),
            )
            .hint("report this as a defect of podsync")),
        }
    }

    async fn list(&self, list: List) -> Result<CallToolResult, ApiError> {
        let limit = list.limit.lines();
        match list.pod {
            None => {
                let mut pods = self.ask(&pods::ListPods {}).await?;
                let left_out = cut(&mut pods, limit);
                success(&json!({"pods": pods, "left_out": left_out}))
            }
            Some(pod) => {
                let mut versions = self.ask(&pods::ListVersions { pod }).await?;
                let left_out = cut(&mut versions, limit);
                success(&json!({"versions": versions, "left_out": left_out}))
            }
        }
    }

    async fn show(&self, show: Show) -> Result<CallToolResult, ApiError> {
        let limit = show.limit.lines();
        let request = pods::Show {
            reference: show.version.0,
            contents: show.contents,
        };
        let mut shown = self.ask(&request).await?;
        if let Some(resources) = &mut shown.resources {
            shown.left_out = shown.left_out.saturating_add(cut(resources, limit));
        }
        if let Some(entries) = &mut shown.entries {
            shown.left_out = shown.left_out.saturating_add(cut(entries, limit));
        }
        success(&shown)
    }

    async fn diff(&self, diff: Diff) -> Result<CallToolResult, ApiError> {
        let limit = diff.limit.lines();
        let request = contents::Diff {
            before: diff.before.0,
            after: diff.after.0,
        };
        let mut differences = self.ask(&request).await?;
        differences.changes.list.truncate(limit);
        success(&differences)
    }

    async fn forecast(&self, asked: Forecast) -> Result<CallToolResult, ApiError> {
        let limit = asked.limit.lines();
        let request = contents::ForecastLoad {
            reference: asked.version.0,
            endpoint: self.endpoint.to_owned(),
            token: auth_token(),
            merge: asked.merge.to_string(),
            services: asked.services.0,
            wait_s: asked.wait_s.seconds(),
            until_shared: false,
        };
        let mut forecast = self.ask(&request).await?;
        if let Some(changes) = &mut forecast.changes {
            changes.list.truncate(limit);
        }
        success(&forecast)
    }

    async fn save(&self, save: Save) -> Result<CallToolResult, ApiError> {
        let from = match save.from {
            Some(path) => pods::StateSource::Path(absolute(path)?),
            None => pods::StateSource::Endpoint(self.endpoint.to_owned()),
        };
        let request = pods::Save {
            pod: save.pod,
            message: save.message,
            from,
            token: auth_token(),
            services: save.services.0,
            share: save.share,
            durable: false,
            consents: self.allowed.clone(),
            allow_secrets: false,
        };
        success(&self.ask(&request).await?)
    }

    async fn load(&self, load: Load) -> Result<CallToolResult, ApiError> {
        let request = pods::Load {
            reference: load.version.0,
            endpoint: self.endpoint.to_owned(),
            token: auth_token(),
            merge: load.merge.to_string(),
            wait_s: load.wait_s.seconds(),
            until_shared: false,
            services: load.services.0,
            consents: self.allowed.clone(),
            once: false,
            sources: pods::Sources::Any,
        };
        let loaded = self.ask(&request).await?;
        answer(&loaded, !loaded.failed.is_empty())
    }

    async fn undo(&self, _: Undo) -> Result<CallToolResult, ApiError> {
        let request = pods::Undo {
            endpoint: self.endpoint.to_owned(),
            token: auth_token(),
        };
        let undone = self.ask(&request).await?;
        answer(&undone, !undone.failed.is_empty())
    }

    async fn share(&self, share: Share) -> Result<CallToolResult, ApiError> {
        let request = pods::Share {
            reference: share.version.0,
            durable: false,
            consents: self.allowed.clone(),
        };
        success(&self.ask(&request).await?)
    }

    /// Each call opens a connection: the daemon may have been restarted since the last one.
    async fn ask<C: Call>(&self, call: &C) -> Result<C::Answer, ApiError> {
        let _place = tokio::select! {
            place = self.calls.place() => place.ok_or_else(cancelled)?,
            () = self.cancelled.cancelled() => return Err(cancelled()),
        };
        let connection = Connection::open(self.context, Needs::Network).await?;
        let answer = tokio::select! {
            answer = connection.watch(call) => answer,
            () = self.cancelled.cancelled() => Err(cancelled()),
        };
        connection.close().await;
        answer
    }
}

/// Arguments as the tool takes them.
fn read<T: DeserializeOwned>(given: JsonObject) -> Result<T, ApiError> {
    serde_json::from_value(Value::Object(given)).map_err(|error| {
        ApiError::new(
            ErrorCode::Invalid,
            format!("the tool does not take these arguments: {error}"),
        )
        .hint("the tool's schema says what it takes")
    })
}

/// Leaves `limit` of a list; how many are gone.
fn cut<T>(list: &mut Vec<T>, limit: usize) -> u64 {
    let more = list.len().saturating_sub(limit);
    list.truncate(limit);
    more as u64
}

fn success<T: Serialize>(value: &T) -> Result<CallToolResult, ApiError> {
    answer(value, false)
}

/// An answer, which may be that not everything went well.
fn answer<T: Serialize>(value: &T, failed: bool) -> Result<CallToolResult, ApiError> {
    let value = serde_json::to_value(value).map_err(|error| {
        ApiError::new(
            ErrorCode::Internal,
            format!("the answer is no JSON: {error}"),
        )
        .hint("report this as a defect of podsync")
    })?;
    Ok(match failed {
        false => CallToolResult::structured(value),
        true => CallToolResult::structured_error(value),
    })
}

fn cancelled() -> ApiError {
    ApiError::new(ErrorCode::Cancelled, "the call was cancelled")
        .hint("call the tool again: podsync keeps what it fetched")
}
