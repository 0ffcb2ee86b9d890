//! Reports problems of the daemon's machine, and the settings that the daemon runs with.

use std::sync::Arc;

use podsync_api::node;

use crate::{
    call::{Context, Handle},
    doctor::examine,
    error::Failure,
    settings::Settings,
};

pub(crate) struct Machine {
    pub(crate) settings: Arc<Settings>,
}

impl Handle<node::Examine> for Machine {
    async fn handle(
        self: Arc<Self>,
        call: node::Examine,
        _: Arc<Context>,
    ) -> Result<Vec<node::Finding>, Failure> {
        Ok(examine(&self.settings, &call.endpoint, call.token.as_ref()).await)
    }
}

impl Handle<node::ReadSettings> for Machine {
    async fn handle(
        self: Arc<Self>,
        _: node::ReadSettings,
        _: Arc<Context>,
    ) -> Result<node::SettingsInForce, Failure> {
        Ok(node::SettingsInForce {
            file: self.settings.file(),
            toml: self.settings.to_toml(),
        })
    }
}
