//! The last act: everyone goes offline but the hub, and a newcomer joins through it.

use std::{collections::BTreeSet, path::Path, time::Instant};

use podsync_api::{ApiError, ErrorCode, pods, team};

use super::{
    POD, STOPPING, Team,
    home::DemoHome,
    hub::{DemoHub, Program},
    rate, sources,
    state::State,
    teller::Teller,
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
    let hub = DemoHub::start(program, folder);
    let hub = teller.during("a hub starts", hub).await?;
    let at = Instant::now();
    let set = team::SetHub {
        url: Some(hub.url().to_owned()),
    };
    let share = pods::Share {
        reference: POD.to_owned(),
        durable: true,
        consents: BTreeSet::new(),
    };
    let upload = async {
        team.alice.client().call(&set).await?;
        team.alice.client().call(&share).await
    };
    let what = "alice uploads all that she shared to the hub's bucket";
    teller.during(what, upload).await?;
    teller.say(format_args!(
        "a hub starts with a bucket on this disk, and alice uploads all that she shared; {}",
        rate(shared, at)
    ));

    let ticket = team.alice.invite(1).await?;
    teller.during(STOPPING, team.go_offline()).await;
    teller.say("everyone goes offline except the hub");
    let join = async {
        let dave = DemoHome::start(folder, "dave", &[]).await?;
        dave.join(&ticket).await?;
        Ok::<_, ApiError>(dave)
    };
    let what = "dave starts, finds nobody but the hub, and joins there";
    let dave = teller.during(what, join).await?;
    teller.say("dave, a new member, joins through the hub with alice's ticket");

    let at = Instant::now();
    let pulled = dave.pull(POD, |_| ());
    let pulled = teller.during("dave pulls from the bucket", pulled).await?;
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
    let compare = async {
        dave.export(POD, &dave_sees).await?;
        state.assert_equal(&dave_sees).await
    };
    let what = "writing dave's copy out, to compare it with alice's state";
    teller.during(what, compare).await?;
    teller.say("dave's copy is byte for byte what alice saved");
    teller.during(STOPPING, dave.stop()).await;
    hub.end();
    Ok(())
}
