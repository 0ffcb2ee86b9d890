//! How much happened in a world.

use std::{fmt, time::Duration};

/// How much happened.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Figures {
    pub steps: u64,
    /// Virtual time.
    pub passed: Duration,
    pub published: u64,
    pub transfers: u64,
    pub crashes: u64,
}

impl std::ops::AddAssign for Figures {
    fn add_assign(&mut self, other: Self) {
        self.steps += other.steps;
        self.passed += other.passed;
        self.published += other.published;
        self.transfers += other.transfers;
        self.crashes += other.crashes;
    }
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            steps,
            passed,
            published,
            transfers,
            crashes,
        } = self;
        let hours = passed.as_secs_f64() / 3600.0;
        write!(
            f,
            "{steps} steps in {hours:.1} virtual hours: {published} versions shared, {transfers} pulled, {crashes} crashes"
        )
    }
}
