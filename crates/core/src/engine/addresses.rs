//! The addresses of members' devices, from the address record that each device signs.
//!
//! A record proves only that its device signed it. Records are kept in memory. The daemon remembers
//! at which addresses a device was really reached.

use std::time::Duration;

use serde_bytes::ByteBuf;

use super::{Engine, Output, output::Event};
use crate::{
    bounded::Bounded,
    codec::Format,
    id::{DeviceId, TeamId},
    signed::{self, Verified},
    wire::{AddressRecord, Gossip, MAX_ADDRESS_RECORDS},
};

/// Listening addresses arrive one by one: those within this time go into one record.
const GATHERED_FOR: Duration = Duration::from_secs(1);

impl Engine {
    pub(super) fn on_listening(&mut self, addresses: Vec<String>) {
        self.listening = addresses;
        let at = self.now.mono + GATHERED_FOR;
        for state in self.teams.values_mut() {
            state.addresses_at = Some(at);
        }
    }

    pub(super) fn say_addresses_when_due(&mut self, team: TeamId) {
        let now = self.now.mono;
        let Some(state) = self.teams.get_mut(&team) else {
            return;
        };
        if state.addresses_at.take_if(|at| *at <= now).is_none()
            || self.listening.is_empty()
            || !state.team.is_member(&self.secret.id())
            || state.team.membership.state().is_robot(&self.secret.id())
        {
            return;
        }
        let mut there = self.connected.keys();
        state.addresses_unheard = !there.any(|device| state.gated.contains(device));
        let record = AddressRecord {
            time_ms: self.now.wall_ms,
            addresses: Bounded::first(self.listening.iter().cloned()),
        };
        let bytes = self.secret.sign(team, &record);
        if let Ok(record) = signed::verify(&bytes) {
            self.take_addresses(team, record);
        }
        let message = Gossip::Addresses(ByteBuf::from(bytes));
        self.outputs.push_back(Output::Gossip {
            team,
            bytes: message.encode(),
        });
    }

    /// When the first member connects, repeats a record that was sent while no member was
    /// connected.
    pub(super) fn say_addresses_to_first(&mut self, team: TeamId) {
        let at = self.now.mono + GATHERED_FOR;
        if let Some(state) = self.teams.get_mut(&team)
            && std::mem::take(&mut state.addresses_unheard)
        {
            state.addresses_at.get_or_insert(at);
        }
    }

    /// Keeps a record if it is the newest of its device. The device's own clock decides and may be
    /// hours off.
    pub(super) fn take_addresses(&mut self, team: TeamId, record: Verified<AddressRecord>) -> bool {
        let device = record.signer();
        let Some(state) = self.teams.get_mut(&team) else {
            return false;
        };
        let known = state.team.addresses.get(&device);
        let known = known.map_or(0, |known| known.value().time_ms);
        let time = record.value().time_ms;
        if record.team() != team || !state.team.is_member(&device) || time <= known {
            return false;
        }
        if device != self.secret.id() {
            self.outputs.push_back(Output::Event(Event::AddressesHeard {
                device,
                addresses: record.value().addresses.to_vec(),
            }));
        }
        state.team.addresses.insert(device, record);
        true
    }

    /// The records in an answer to `asker`: our own, and those of members connected to us.
    pub(super) fn addresses_for(
        &self,
        team: TeamId,
        asker: DeviceId,
    ) -> Bounded<ByteBuf, MAX_ADDRESS_RECORDS> {
        let me = self.secret.id();
        let known = self.teams.get(&team).map(|state| &state.team.addresses);
        let devices = std::iter::once(&me).chain(self.connected.keys());
        let records = devices
            .filter(|device| **device != asker)
            .filter_map(|device| known?.get(device));
        Bounded::first(records.map(|record| ByteBuf::from(&record.bytes()[..])))
    }
}
