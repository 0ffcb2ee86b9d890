//! Names of devices for people: `alice/laptop`.

use std::collections::BTreeMap;

use podsync_core::{DeviceId, engine::Engine};

use crate::{error::Stopped, node::handle::Node};

/// `1.5 MB`.
pub(crate) fn bytes(len: u64) -> String {
    const UNITS: [&str; 4] = ["kB", "MB", "GB", "TB"];
    let (mut tenths, mut unit) = (len.saturating_mul(10), None);
    for name in UNITS {
        if tenths < 10_000 {
            break;
        }
        (tenths, unit) = (tenths / 1000, Some(name));
    }
    match unit {
        None => format!("{len} bytes"),
        Some(unit) => format!("{}.{} {unit}", tenths / 10, tenths % 10),
    }
}

/// `3 h`, `2 days`: a duration in the largest fitting unit.
pub(crate) fn duration(seconds: u64) -> String {
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7200 => format!("{} min", seconds / 60),
        7200..172_800 => format!("{} h", seconds / 3600),
        _ => format!("{} days", seconds / 86_400),
    }
}

/// The names of every device of every team.
#[derive(Debug, Clone, Default)]
pub(crate) struct DeviceNames(BTreeMap<DeviceId, String>);

impl DeviceNames {
    pub(crate) fn of(engine: &Engine) -> Self {
        let rosters = engine
            .teams()
            .filter_map(|team| engine.membership(&team))
            .map(|membership| membership.state());
        let named = rosters
            .flat_map(|roster| roster.devices())
            .map(|record| (record.device, format!("{}/{}", record.member, record.label)));
        Self(named.collect())
    }

    pub(crate) async fn read(node: &Node) -> Result<Self, Stopped> {
        node.read(Self::of).await
    }

    /// The beginning of its id where no team lists the device.
    pub(crate) fn name(&self, device: &DeviceId) -> String {
        self.0
            .get(device)
            .cloned()
            .unwrap_or_else(|| device.short())
    }

    pub(crate) fn into_inner(self) -> BTreeMap<DeviceId, String> {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_for_people() {
        for (len, text) in [
            (0, "0 bytes"),
            (999, "999 bytes"),
            (1000, "1.0 kB"),
            (12_345_678, "12.3 MB"),
            (2_000_000_000_000, "2.0 TB"),
        ] {
            assert_eq!(bytes(len), text);
        }
    }
}
