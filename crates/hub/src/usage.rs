//! How many bytes a team's bucket holds, as far as the hub can know: pods' names are sealed, so it tells by kind
//! and age.

use std::{
    collections::BTreeMap,
    fmt::Write,
    time::{Duration, SystemTime},
};

use podsync_api::hub::ObjectKind;

use crate::{
    keys::{CONDEMNED, ObjectKey},
    storage::{Listed, Storage, StorageError, list_all},
};

const DAY: Duration = Duration::from_secs(24 * 3600);
/// The age groups of the report, by their upper ends.
const AGES: [(&str, u32); 4] = [
    ("younger than a day", 1),
    ("younger than a week", 7),
    ("younger than 30 days", 30),
    ("older", u32::MAX),
];

/// What a listing of a bucket says.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Usage {
    rows: BTreeMap<(ObjectKind, usize), Counted>,
    /// Of the rest, what the collector will delete.
    condemned: Counted,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
struct Counted {
    objects: u64,
    bytes: u64,
}

impl Counted {
    fn add(&mut self, bytes: u64) {
        self.objects += 1;
        self.bytes += bytes;
    }
}

impl Usage {
    /// Lists the bucket. Nothing is written.
    pub async fn of(bucket: &dyn Storage) -> Result<Self, StorageError> {
        let mut lists = Vec::new();
        for kind in ObjectKey::KINDS {
            lists.push((kind, list_all(bucket, ObjectKey::folder(kind)).await?));
        }
        let condemned = list_all(bucket, CONDEMNED).await?;
        Ok(Self::count(&lists, &condemned, SystemTime::now()))
    }

    fn count(lists: &[(ObjectKind, Vec<Listed>)], condemned: &[Listed], now: SystemTime) -> Self {
        let marked = condemned.iter().filter_map(|marker| {
            let key = ObjectKey::of_marker(&marker.key)?;
            Some(key.to_string())
        });
        let marked: std::collections::BTreeSet<_> = marked.collect();
        let mut usage = Self::default();
        for (kind, object) in lists
            .iter()
            .flat_map(|(kind, list)| list.iter().map(move |object| (*kind, object)))
        {
            let age = now.duration_since(object.modified).unwrap_or_default();
            let younger = |(_, days): &(&str, u32)| age < DAY.saturating_mul(*days);
            let row = AGES.iter().position(younger).unwrap_or(AGES.len() - 1);
            usage.rows.entry((kind, row)).or_default().add(object.len);
            if marked.contains(&object.key) {
                usage.condemned.add(object.len);
            }
        }
        usage
    }

    /// A row for each kind and age, and sums.
    pub fn table(&self, quota: Option<u64>) -> String {
        let mut text = String::new();
        let mut row = |what: &str, age: &str, counted: Counted| {
            let Counted { objects, bytes } = counted;
            // Writing to a string doesn't fail.
            let _ = writeln!(
                text,
                "{what:<10} {age:<22} {objects:>8} objects {bytes:>16} bytes"
            );
        };
        let mut all = Counted::default();
        for ((kind, age), counted) in &self.rows {
            let what = ObjectKey::folder(*kind).trim_end_matches('/');
            row(what, AGES[*age].0, *counted);
            all.objects += counted.objects;
            all.bytes += counted.bytes;
        }
        row("all", "", all);
        row("condemned", "will be deleted", self.condemned);
        if let Some(quota) = quota {
            let percent = (all.bytes * 100).checked_div(quota).unwrap_or_default();
            let _ = writeln!(text, "quota      {quota} bytes, {percent} % of it used");
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use podsync_api::hub::Sha256;

    use super::*;

    #[test]
    fn bytes_are_told_by_kind_and_age() {
        let now = SystemTime::UNIX_EPOCH + DAY * 1000;
        let pack = |number: u8, days: u32, len| {
            let key = ObjectKey {
                kind: ObjectKind::Pack,
                sha256: Sha256::from_bytes([number; 32]),
                generation: 0,
            };
            let modified = now - DAY * days;
            let object = Listed {
                key: key.to_string(),
                len,
                modified,
            };
            let marker = Listed {
                key: key.marker(),
                len: 0,
                modified,
            };
            (object, marker)
        };
        let (young, _) = pack(1, 0, 100);
        let (older, marker) = pack(2, 8, 20);
        let lists = [(ObjectKind::Pack, vec![young, older])];
        let usage = Usage::count(&lists, &[marker], now);
        let table = usage.table(Some(240));
        for part in [
            "packs      younger than a day            1 objects              100 bytes",
            "packs      younger than 30 days          1 objects               20 bytes",
            "all                                      2 objects              120 bytes",
            "condemned  will be deleted               1 objects               20 bytes",
            "quota      240 bytes, 50 % of it used",
        ] {
            assert!(table.contains(part), "{part}\n{table}");
        }
    }
}
