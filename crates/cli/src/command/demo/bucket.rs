//! The last act: everyone goes offline but the hub, and a newcomer joins through it.

use std::{collections::BTreeSet, path::Path, time::Instant};

use podsync_api::{ApiError, ErrorCode, pods, team};

use super::{
    POD, Team, Teller,
    home::DemoHome,
    hub::{DemoHub, Program},
    rate, sources,
    state::State,
};

/// `shared` is how many sealed bytes the team has shared so far.
pub(super) async fn act(
    teller: &Teller<'_>,
    team: Team,
    state: &State,
    shared: u64,
    folder: &Path,
    program: &Program,
) -> Result<(), ApiError> {
    let hub = DemoHub::start(program, folder).await?;
    let at = Instant::now();
    let set = team::SetHub {
        url: Some(hub.url().to_owned()),
    };
    team.alice.client().call(&set).await?;
    let share = pods::Share {
        reference: POD.to_owned(),
        durable: true,
        consents: BTreeSet::new(),
    };
    team.alice.client().call(&share).await?;
    teller.say(format_args!(
        "a hub starts with a bucket on this disk, and alice uploads all that she shared; {}",
        rate(shared, at)
    ));

    let ticket = team.alice.invite(1).await?;
    team.go_offline().await;
    teller.say("everyone goes offline except the hub");
    let dave = DemoHome::start(folder, "dave", &[]).await?;
    dave.join(&ticket).await?;
    teller.say("dave, a new member, joins through the hub with alice's ticket");

    let at = Instant::now();
    let pulled = dave.pull(POD, |_| ()).await?;
    teller.say(format_args!(
        "dave pulls {}: {}; {}",
        pulled.reference,
        sources(&pulled),
        rate(pulled.fetched, at)
    ));
    if pulled.sources.iter().any(|source| source.device.is_some()) {
        let text = "dave got data from a device that is offline";
        return Err(ApiError::new(ErrorCode::Internal, text));
    }
    let dave_sees = folder.join("dave-sees");
    dave.export(POD, &dave_sees).await?;
    state.assert_equal(&dave_sees)?;
    teller.say("dave's copy is byte for byte what alice saved");
    dave.stop().await;
    hub.end();
    Ok(())
}
