//! `podsync team`: lists, invites and removes members.

mod invite;
pub(crate) mod membership;

use clap::Subcommand;
use podsync_api::ApiError;

use self::{
    invite::Invite,
    membership::{Create, Join, Leave, Recover, Remove, SetHub, SetRole},
};
use crate::context::Context;

#[derive(Debug, Subcommand)]
pub(crate) enum Team {
    /// Create a team. This device becomes its first admin
    Create(Create),
    /// Print a ticket that lets somebody join. List and revoke tickets
    Invite(Invite),
    /// Join a team with a ticket
    Join(Join),
    /// Leave the team with this device
    Leave(Leave),
    /// List the members and their devices
    Members,
    /// Remove a member with all devices, or one device
    Remove(Remove),
    /// Change what a member may do
    Role(SetRole),
    /// Make this device an admin with the recovery key
    Recover(Recover),
    /// Set the team's hub, which stores shared versions in a bucket
    SetHub(SetHub),
}

pub(crate) async fn run(context: &Context, command: Team) -> Result<(), ApiError> {
    match command {
        Team::Create(create) => membership::create(context, create).await,
        Team::Invite(invite) => invite::run(context, invite).await,
        Team::Join(join) => membership::join(context, join).await,
        Team::Leave(leave) => membership::leave(context, leave).await,
        Team::Members => membership::list(context).await,
        Team::Remove(remove) => membership::remove(context, remove).await,
        Team::Role(role) => membership::set_role(context, role).await,
        Team::Recover(recover) => membership::recover(context, recover).await,
        Team::SetHub(hub) => membership::set_hub(context, hub).await,
    }
}
