//! Where teams are sent that this hub serves no more.
//!
//! The answer is signed with the witness key, which members know from their roster, and names the nonce of the
//! request. Whoever takes over this hub's address can make no such answer and show no old one.

use std::collections::BTreeMap;

use podsync_api::hub::{Base64, HubError, HubErrorCode, signature::Nonce};
use podsync_core::{TeamId, keys::DeviceSecret, moved::HubMoved};

/// The addresses of teams that left.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Moved {
    /// Those that were named one by one.
    pub teams: BTreeMap<TeamId, String>,
    /// Where all others are that this hub doesn't serve.
    pub others: Option<String>,
}

impl Moved {
    /// Where a team is that this hub doesn't serve, as far as its settings say.
    pub fn place(&self, team: &TeamId) -> Option<&str> {
        let named = self.teams.get(team).or(self.others.as_ref());
        named.map(String::as_str)
    }

    /// What to answer to a request about such a team. Without the nonce of a signed request the answer proves
    /// nothing, and is for people.
    pub(crate) fn answer(
        &self,
        team: TeamId,
        witness: Option<&DeviceSecret>,
        nonce: Option<Nonce>,
    ) -> Option<HubError> {
        let to = self.place(&team)?;
        let signed = witness.zip(nonce).map(|(witness, nonce)| {
            let to = to.to_owned();
            witness.sign(team, &HubMoved { to, nonce })
        });
        let message = format!("this hub serves that team no more; the team's hub is at {to} now");
        Some(HubError {
            moved: signed.map(|signed| Box::new(Base64(signed))),
            ..HubError::new(HubErrorCode::Moved, message)
        })
    }
}

#[cfg(test)]
mod tests {
    use podsync_core::signed::verify;

    use super::*;

    #[test]
    fn a_team_is_sent_to_its_own_address_and_others_to_theirs() {
        let [left, other] = [TeamId::of(b"left"), TeamId::of(b"other")];
        let mut moved = Moved::default();
        let witness = DeviceSecret::from_seed([1; 32]);
        assert_eq!(moved.answer(left, Some(&witness), Some([2; 16])), None);
        moved.teams.insert(left, "https://new.example".to_owned());
        assert_eq!(moved.place(&other), None);
        moved.others = Some("https://others.example".to_owned());
        assert_eq!(moved.place(&other), Some("https://others.example"));
        let answer = moved.answer(left, Some(&witness), Some([2; 16])).unwrap();
        assert_eq!(answer.code, HubErrorCode::Moved);
        let said = verify::<HubMoved>(&answer.moved.unwrap()).unwrap();
        assert_eq!((said.team(), said.signer()), (left, witness.id()));
        assert_eq!(said.value().to, "https://new.example");
        assert_eq!(said.value().nonce, [2; 16]);
        // Nobody asked by a signed request.
        let answer = moved.answer(left, Some(&witness), None).unwrap();
        assert!(answer.moved.is_none() && answer.message.contains("https://new.example"));
    }
}
