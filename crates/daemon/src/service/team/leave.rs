//! Leaving a team.

use std::sync::Arc;

use podsync_api::{Consent, team};
use podsync_core::engine::{Command, EngineError};

use super::{
    Team,
    admins::{check_admin_stays, leaves},
    records,
};
use crate::{
    call::{Context, Handle},
    error::Failure,
    service::choose::team_of,
};

impl Handle<team::Leave> for Team {
    async fn handle(
        self: Arc<Self>,
        call: team::Leave,
        context: Arc<Context>,
    ) -> Result<team::Left, Failure> {
        let team = team_of(&self.node, &context).await?;
        let (name, records) = self
            .node
            .read(move |engine| {
                let name = engine.roster(&team).map(|roster| roster.name().clone());
                (name, records(engine, &team))
            })
            .await?;
        let name = name.ok_or(EngineError::UnknownTeam(team))?;
        let device = self.device;
        if !records.iter().any(|record| record.device == device) {
            return Err(EngineError::Expelled(name).into());
        }
        check_admin_stays(&name, &records, device, &[device], &call.consents)?;
        if !call.consents.contains(&Consent::Leave) {
            return Err(leaves(&name).into());
        }
        self.node
            .command(Command::Remove { team, device })
            .await??;
        self.hubs.tell_hub(team).await;
        Ok(team::Left { team, name })
    }
}
