//! How long a transfer waits while no provider has what is missing, and which providers failed.

use std::{collections::BTreeSet, time::Duration};

use super::{Account, Action, Fetch, INTERRUPTION, Provider, STARVED_AFTER, Slots, Transfer};
use crate::engine::error::EngineError;

impl Transfer {
    pub(super) fn watch_starvation(&mut self, now: Duration, slots: &mut Slots) {
        if self.can_come() {
            self.starved = None;
            return;
        }
        let (since, said) = self.starved.unwrap_or((now, false));
        // A fetch at a provider that sends nothing has not arrived either.
        let (arrived, total) = self.progress();
        let missing = total - arrived;
        if now >= self.gives_up_at(since) {
            let mut blobs = self.blobs.iter();
            let lacking = blobs.find(|(_, work)| !work.pending.is_empty());
            let Some((blob, _)) = lacking.or_else(|| self.blobs.iter().next()) else {
                return;
            };
            let blob = *blob;
            // Fetches at providers that failed before may still be open. Free their slots for others.
            self.cancel(slots);
            self.actions.push(Action::Failed {
                why: EngineError::NoProvider {
                    missing,
                    blob,
                    failed: self.who_went_away(),
                    lied: self.those(Account::has_lied),
                    damaged: self.those(Account::has_damage),
                },
            });
        } else if !said && now.saturating_sub(since) >= STARVED_AFTER {
            self.actions.push(Action::Starved { missing });
            self.starved = Some((since, true));
        } else {
            self.starved = Some((since, said));
        }
    }

    /// When a transfer fails that is starved since then.
    pub(super) fn gives_up_at(&self, since: Duration) -> Duration {
        (since + self.patience()).max(self.answers_by.unwrap_or_default())
    }

    fn patience(&self) -> Duration {
        let is_believed = |provider: &Provider| {
            let account = self.providers.get(provider);
            account.is_none_or(|account| !account.banned)
        };
        if self.interrupted.iter().any(is_believed) {
            self.patience.max(INTERRUPTION)
        } else {
            self.patience
        }
    }

    /// Whether a provider can be expected to send something. One that failed last time is retried
    /// but does not count: a device with a broken disk would offer everything and deliver nothing
    /// for ever.
    fn can_come(&self) -> bool {
        self.fetches.values().any(|fetch| self.is_expected(fetch))
            || self
                .providers
                .values()
                .any(|account| account.promises() && self.is_of_use(account))
    }

    /// Whether a fetch has brought something, or its provider did not fail last time.
    pub(super) fn is_expected(&self, fetch: &Fetch) -> bool {
        let account = self.providers.get(&fetch.provider);
        !fetch.arrived().is_empty() || account.is_none_or(Account::promises)
    }

    /// Providers that stopped sending, or sent something and disconnected. They are not at fault.
    fn who_went_away(&self) -> Vec<Provider> {
        let mut away: BTreeSet<_> = self.those(Account::has_failed).into_iter().collect();
        let gone = self.interrupted.iter().copied();
        let lied = self.those(Account::has_lied);
        away.extend(gone.filter(|provider| !lied.contains(provider)));
        away.into_iter().collect()
    }

    fn those(&self, matches: fn(&Account) -> bool) -> Vec<Provider> {
        self.providers
            .iter()
            .filter(|(_, account)| matches(account))
            .map(|(provider, _)| *provider)
            .collect()
    }
}
