//! Where a command runs: its home, its printer, its robot, and the way to a daemon.
//!
//! The same client reaches every daemon over the same socket: one that runs, one started in the background,
//! or one inside this process. There is no second code path.

mod client;
mod course;
mod home;
mod hosting;
pub(crate) mod robot;
mod upkeep;

use podsync_api::TeamChoice;
use tokio_util::sync::CancellationToken;

use self::{
    course::Course,
    robot::{Place, Robot},
};
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
    pub(crate) course: Course,
}

impl Context {
    pub(crate) fn new(global: Global, printer: Printer, robot: Option<Robot>) -> Self {
        Self {
            global,
            printer,
            robot,
            stop: CancellationToken::new(),
            course: Course::default(),
        }
    }

    pub(crate) fn is_robot(&self) -> bool {
        self.robot.is_some()
    }

    /// Whether what the command downloads goes with it: a robot's home without a cache.
    pub(crate) fn keeps_nothing(&self) -> bool {
        let place = self.robot.as_ref().map(|robot| &robot.place);
        matches!(place, Some(Place::Scratch(_)))
    }

    fn team(&self) -> TeamChoice {
        let named = self.global.team.clone();
        named.map_or(TeamChoice::Only, TeamChoice::Named)
    }
}
