//! Abilities in words: what each grade means for the team and its operator.

use std::fmt::Write;

use super::{Abilities, Ability, Finding, Grade};

/// A row for each ability that was tried: what, how far, and what that means.
pub fn table(abilities: &Abilities) -> String {
    let mut text = String::new();
    for finding in abilities.findings.iter() {
        let row = format!(
            "{:<28} {:<14} {}",
            what(finding.ability),
            finding.grade,
            meaning(finding)
        );
        // Writing to a string doesn't fail.
        let _ = writeln!(text, "{}", row.trim_end());
    }
    text
}

fn what(ability: Ability) -> &'static str {
    match ability {
        Ability::Objects => "write and read",
        Ability::Listing => "list in order",
        Ability::PresignedPut => "presigned PUT",
        Ability::PresignedGet => "presigned GET",
        Ability::Ranges => "ranges of an object",
        Ability::BindsLength => "another length refused",
        Ability::BindsBytes => "wrong bytes refused",
        Ability::TellsChecksum => "checksum told by HEAD",
        Ability::OnlyNew => "if-none-match: *",
        Ability::Expiry => "an expired URL refused",
        Ability::BindsKey => "a URL is for one key",
        Ability::Private => "closed without a signature",
        Ability::Hardened => "public access blocked",
        Ability::Deletion => "delete",
    }
}

/// What it means that a server does this only in part, with its answer. Empty if all is right.
pub(crate) fn meaning(finding: &Finding) -> String {
    if finding.grade == Grade::Ok {
        return String::new();
    }
    format!("{} ({})", consequence(finding), finding.answer())
}

fn consequence(finding: &Finding) -> &'static str {
    let around = finding.grade == Grade::WorkedAround;
    match finding.ability {
        Ability::Objects => {
            "the hub can't write here: members can pull what is there and share nothing"
        }
        Ability::Listing if finding.status != 200 => {
            "the server refuses listings: the hub can't tell what the bucket has"
        }
        Ability::Listing => {
            "listings can't be read, are out of order or can't continue from a key: the hub can't tell what the bucket has"
        }
        Ability::PresignedPut => "members can't upload",
        Ability::PresignedGet => "members can't download",
        Ability::Ranges if around => {
            "the server sends parts as 200; members read them from where they begin"
        }
        Ability::Ranges => "a part costs the whole object",
        Ability::BindsLength => {
            "an upload of another length is taken; a commit that names it is refused"
        }
        Ability::BindsBytes => {
            "wrong bytes are taken: unless `confirm_uploads` is never, the hub hashes a new object before a commit names it"
        }
        Ability::TellsChecksum => "where uploads are confirmed, the hub reads and hashes them",
        Ability::OnlyNew => "a second upload overwrites, with the same bytes; not signed",
        Ability::Expiry => "URLs are good for ever: use a server that ends them",
        Ability::BindsKey => "one URL opens every object: don't use this server",
        Ability::Private => "anyone can read the sealed objects: close the bucket by its policy",
        Ability::Hardened if around => {
            "only a part of it is blocked: with all of it no write would succeed here"
        }
        Ability::Hardened => "the server has no such thing, or refuses the hub that",
        Ability::Deletion => {
            "the hub can't delete here: sweeps fail, nothing is freed, and what was tried with stays below `probe/`"
        }
    }
}

#[cfg(test)]
mod tests {
    use podsync_core::bounded::Bounded;

    use super::*;

    #[test]
    fn every_lack_says_what_it_means_and_what_the_server_said() {
        for ability in Ability::ALL {
            for grade in [Grade::WorkedAround, Grade::Missing] {
                let finding = Finding::new(ability, grade, 501, "NotImplemented");
                let abilities = Abilities {
                    probed_ms: 0,
                    place: [0; 32],
                    findings: Bounded::first([finding]),
                };
                let row = table(&abilities);
                assert!(row.contains(&grade.to_string()), "{row}");
                assert!(row.ends_with("(501 NotImplemented)\n"), "{row}");
            }
        }
    }
}
