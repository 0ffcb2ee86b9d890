//! What people are told of a fetch that no provider could complete.

use podsync_api::{ApiError, ErrorCode};
use podsync_core::engine::Provider;

use crate::service::names::bytes;

/// The hint on how providers that sent wrong bytes can repair their copy.
pub(super) fn mending(lied: &[Provider], liars: &str) -> String {
    let mut hint = "podsync kept no wrong bytes: try again when another device that holds the version is online"
        .to_owned();
    if lied.contains(&Provider::Bucket) {
        hint.push_str(
            "; `podsync verify --bucket --repair` on a machine that holds the version puts right ones into the bucket",
        );
    }
    if lied.iter().any(|provider| *provider != Provider::Bucket) {
        hint = format!("{hint}; `podsync verify` tells what is damaged, at {liars}");
    }
    hint
}

/// What is known of the team's bucket.
#[derive(Default)]
pub(super) struct AtTheBucket {
    /// Whether the hub answers, but its bucket lacks the missing parts.
    pub(super) lacks_it: bool,
    /// Why the hub can't be used.
    pub(super) trouble: Option<String>,
    /// What the bucket's server said instead of sending, and what to do about it.
    pub(super) refusal: Option<(String, Option<&'static str>)>,
}

/// A fetch that no reached provider could complete.
pub(super) struct Lack<'a> {
    pub(super) wanted: &'a str,
    pub(super) missing: u64,
    /// Whether a part arrived.
    pub(super) has_begun: bool,
    /// Whether only the bucket was to be asked.
    pub(super) is_bucket_alone: bool,
    /// Whether this machine had what is missing, and found it damaged or gone.
    pub(super) is_own_damage: bool,
    /// Providers that found their own copy damaged. Empty if none did.
    pub(super) damaged: String,
    pub(super) bucket: AtTheBucket,
}

/// The device that made what is fetched.
pub(super) struct Author {
    pub(super) name: String,
    pub(super) is_online: bool,
    pub(super) is_this_device: bool,
}

impl Lack<'_> {
    /// `gone` are providers that were asked, or sent something, and then disconnected.
    pub(super) fn told(&self, gone: &str, author: &Author) -> ApiError {
        let missing = bytes(self.missing);
        let wanted = self.wanted;
        let is_missing = match self.has_begun {
            true => format!("{missing} of {wanted} are missing"),
            false => format!("all of {wanted} is missing"),
        };
        let mut text = match (gone, self.has_begun) {
            (gone, _) if !self.damaged.is_empty() => {
                let damaged = format!(
                    "{is_missing}: the bytes are damaged on the disk of {}",
                    self.damaged
                );
                match gone {
                    "" => damaged,
                    gone => format!("{damaged}; {gone} went away or stopped sending"),
                }
            }
            ("", _) if self.is_bucket_alone => is_missing,
            ("", false) => format!("nobody who is online has {wanted}"),
            ("", true) => format!("nobody who is online has the missing {missing} of {wanted}"),
            (gone, _) => format!("{is_missing}: {gone} went away or stopped sending"),
        };
        let mut hint = match self.is_bucket_alone {
            true => "leave out --source to take it from teammates too".to_owned(),
            false => author.waited_for(),
        };
        if !self.damaged.is_empty() {
            hint = format!(
                "{hint}; `podsync verify --repair` at {} mends its copy",
                self.damaged
            );
        }
        if self.has_begun {
            hint = format!("what arrived is kept: {hint}");
        }
        if let Some((said, what_to_do)) = &self.bucket.refusal {
            text = format!("{text}; {said}");
            if let Some(what_to_do) = what_to_do {
                hint = format!("{what_to_do}; {hint}");
            }
        } else if let Some(trouble) = &self.bucket.trouble {
            text = format!("{text}; {trouble}");
        } else if self.bucket.lacks_it && gone.is_empty() && self.damaged.is_empty() {
            text = format!("{text}; the team's bucket lacks {missing} of it");
            hint.push_str(
                "; `podsync verify --bucket --repair` on a machine that holds the version puts it back into the bucket",
            );
        }
        if !self.is_own_damage {
            return ApiError::new(ErrorCode::Unreachable, text).hint(hint);
        }
        let text = format!("bytes of {wanted} are gone from this machine, or damaged: {text}");
        ApiError::new(ErrorCode::Disk, text).hint(
            "`podsync verify --repair` fetches them when another device that has them is online; if no other device \
             has them, save the state again",
        )
    }
}

impl Author {
    /// Whose return is worth waiting for.
    fn waited_for(&self) -> String {
        let name = &self.name;
        if self.is_this_device {
            "try again when someone who pulled the version is online".to_owned()
        } else if self.is_online {
            format!(
                "{name}, who made the version, is online and does not offer it: `podsync verify` there says why; try \
                 again when someone who pulled the version is online"
            )
        } else {
            format!(
                "try again when {name}, who made the version, or someone who pulled it, is online"
            )
        }
    }
}

#[cfg(test)]
mod tests {
    use podsync_core::DeviceId;

    use super::*;

    fn lack(has_begun: bool, bucket: AtTheBucket) -> Lack<'static> {
        Lack {
            wanted: "gamma:1 (3.0 MB)",
            missing: 1_500_000,
            has_begun,
            is_bucket_alone: false,
            is_own_damage: false,
            damaged: String::new(),
            bucket,
        }
    }

    fn alice() -> Author {
        Author {
            name: "alice/desk".to_owned(),
            is_online: false,
            is_this_device: false,
        }
    }

    #[test]
    fn a_provider_whose_copy_is_damaged_is_named_and_not_waited_for() {
        let lack = Lack {
            damaged: "alice/desk".to_owned(),
            ..lack(true, AtTheBucket::default())
        };
        let author = Author {
            is_online: true,
            ..alice()
        };
        let told = lack.told("", &author);
        assert_eq!(told.code, ErrorCode::Unreachable);
        assert_eq!(
            told.message,
            "1.5 MB of gamma:1 (3.0 MB) are missing: the bytes are damaged on the disk of alice/desk"
        );
        let hint = told.hint.unwrap();
        assert!(
            hint.contains("`podsync verify --repair` at alice/desk"),
            "{hint}"
        );
        assert!(!hint.contains("when alice/desk"), "{hint}");
        let told = lack.told("bob/laptop", &author);
        assert!(
            told.message
                .ends_with("bob/laptop went away or stopped sending"),
            "{told}"
        );
    }

    #[test]
    fn damage_on_this_machine_is_a_failure_of_its_disk_and_no_absence_of_this_device() {
        let lack = Lack {
            is_own_damage: true,
            ..lack(true, AtTheBucket::default())
        };
        let author = Author {
            is_this_device: true,
            ..alice()
        };
        let told = lack.told("", &author);
        assert_eq!(told.code, ErrorCode::Disk);
        assert!(!told.message.contains("alice/desk"), "{told}");
        let hint = told.hint.unwrap();
        assert!(
            hint.contains("`podsync verify --repair`") && hint.contains("save the state again"),
            "{hint}"
        );
        assert!(!hint.contains("alice/desk"), "{hint}");
    }

    #[test]
    fn a_provider_that_goes_away_is_told_as_that_and_not_as_damage() {
        let gone = lack(true, AtTheBucket::default()).told("bob/laptop", &alice());
        assert_eq!(gone.code, ErrorCode::Unreachable);
        assert_eq!(
            gone.message,
            "1.5 MB of gamma:1 (3.0 MB) are missing: bob/laptop went away or stopped sending"
        );
        let hint = gone.hint.unwrap();
        assert!(hint.contains("what arrived is kept") && hint.contains("alice/desk"));
        assert!(!hint.contains("verify") && !hint.contains("disk"), "{hint}");
        let gone = lack(false, AtTheBucket::default()).told("bob/laptop", &alice());
        assert_eq!(
            gone.message,
            "all of gamma:1 (3.0 MB) is missing: bob/laptop went away or stopped sending"
        );
    }

    #[test]
    fn what_nobody_has_is_named_and_nothing_is_said_to_be_kept_where_nothing_arrived() {
        let never = lack(
            false,
            AtTheBucket {
                trouble: Some("the hub at https://hub.example does not answer".to_owned()),
                ..AtTheBucket::default()
            },
        );
        let never = never.told("", &alice());
        assert_eq!(
            never.message,
            "nobody who is online has gamma:1 (3.0 MB); the hub at https://hub.example does not answer"
        );
        let hint = never.hint.unwrap();
        assert!(!hint.contains("is kept"), "{hint}");
    }

    #[test]
    fn a_bucket_that_refuses_is_told_in_its_own_words() {
        let refused = |has_begun, is_bucket_alone| {
            let bucket = AtTheBucket {
                refusal: Some((
                    "the bucket refuses pack sha256:0a (HTTP 403, AccessDenied: no, at https://s3.example/pods/)"
                        .to_owned(),
                    Some("tell the hub's operator"),
                )),
                ..AtTheBucket::default()
            };
            let lack = Lack {
                is_bucket_alone,
                ..lack(has_begun, bucket)
            };
            lack.told("", &alice())
        };
        let told = refused(false, false);
        assert!(
            told.message
                .starts_with("nobody who is online has gamma:1 (3.0 MB); the bucket refuses"),
            "{told}"
        );
        assert!(told.message.contains("AccessDenied: no"), "{told}");
        assert!(!told.message.contains("went away"), "{told}");
        assert!(told.hint.unwrap().starts_with("tell the hub's operator"));
        let told = refused(false, true);
        assert!(
            told.message
                .starts_with("all of gamma:1 (3.0 MB) is missing; the bucket refuses"),
            "{told}"
        );
    }

    #[test]
    fn wrong_bytes_in_the_bucket_are_mended_in_the_bucket() {
        let hint = mending(&[Provider::Bucket], "the team's bucket");
        assert!(
            hint.contains("`podsync verify --bucket --repair`"),
            "{hint}"
        );
        assert!(!hint.contains("`podsync verify`"), "{hint}");
        let peer = mending(
            &[Provider::Peer(DeviceId::from_bytes([1; 32]))],
            "bob/laptop",
        );
        assert!(
            peer.contains("`podsync verify`") && !peer.contains("--bucket"),
            "{peer}"
        );
    }

    #[test]
    fn what_the_bucket_lacks_is_told_with_the_way_to_put_it_back() {
        let lack = Lack {
            missing: 3_003_814,
            ..lack(
                false,
                AtTheBucket {
                    lacks_it: true,
                    ..AtTheBucket::default()
                },
            )
        };
        let lack = lack.told("", &alice());
        assert!(
            lack.message
                .ends_with("the team's bucket lacks 3.0 MB of it"),
            "{lack}"
        );
        let hint = lack.hint.unwrap();
        assert!(
            hint.contains("`podsync verify --bucket --repair`"),
            "{hint}"
        );
    }
}
