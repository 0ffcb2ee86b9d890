//! Where a command runs: its home, its printer, its robot, and the way to a daemon.
//!
//! The same client reaches every daemon over the same socket: one that runs, one started in the background,
//! or one inside this process. There is no second code path.

mod client;
mod home;
mod hosting;
pub(crate) mod robot;
mod upkeep;

use podsync_api::TeamChoice;
use tokio_util::sync::CancellationToken;

use self::robot::Robot;
use crate::{arguments::Global, output::Printer};

pub(crate) use self::{
    client::{Connection, Needs},
    home::home_of,
    upkeep::is_outdated,
};

pub(crate) struct Context {
    pub(crate) global: Global,
    pub(crate) printer: Printer,
    /// The robot that the command runs as, if it has a token.
    robot: Option<Robot>,
    /// Cancelled by a signal: a daemon inside this process ends in good order.
    pub(crate) stop: CancellationToken,
}

impl Context {
    pub(crate) fn new(global: Global, printer: Printer, robot: Option<Robot>) -> Self {
        Self {
            global,
            printer,
            robot,
            stop: CancellationToken::new(),
        }
    }

    pub(crate) fn is_robot(&self) -> bool {
        self.robot.is_some()
    }

    fn team(&self) -> TeamChoice {
        let named = self.global.team.clone();
        named.map_or(TeamChoice::Only, TeamChoice::Named)
    }
}
