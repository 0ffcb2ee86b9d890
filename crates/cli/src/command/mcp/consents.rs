//! The consents that tools may need from a person, by the names that `--allow` takes.

use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use podsync_api::{ApiError, Consent, ErrorCode};

/// Every consent that one of the tools may ask for.
const ASKED: [(&str, Consent, &str); 5] = [
    (
        "remote",
        Consent::Remote,
        "Load into an emulator on another machine",
    ),
    (
        "new-signer",
        Consent::NewSigner,
        "Load a version of a device from which nothing was loaded here before",
    ),
    (
        "without-checkpoint",
        Consent::WithoutCheckpoint,
        "Load although `podsync undo` could not restore the state from before",
    ),
    (
        "older-state",
        Consent::OlderState,
        "Share a version that is older than the newest shared one",
    ),
    (
        "empty-state",
        Consent::EmptyState,
        "Save a folder or an emulator with nothing in it",
    ),
];

pub(super) fn parser() -> impl TypedValueParser<Value = Consent> {
    let values = ASKED.map(|(name, _, help)| PossibleValue::new(name).help(help));
    PossibleValuesParser::new(values).try_map(|given: String| {
        let found = ASKED.into_iter().find(|(name, ..)| *name == given);
        found
            .map(|(_, consent, _)| consent)
            .ok_or("it is no consent")
    })
}

/// An error for an agent: the agent can't add a flag, so a person has to start the server with it.
pub(super) fn for_agent(error: ApiError) -> ApiError {
    let Some(consent) = error.consent else {
        return match (error.code, error.hint.clone()) {
            // Nothing that the server could be started with allows it.
            (ErrorCode::Unconfirmed, Some(hint)) => {
                error.hint(format!("{hint}; only the person you work for may do that"))
            }
            _ => error,
        };
    };
    let hint = match ASKED.into_iter().find(|(_, asked, _)| *asked == consent) {
        Some((name, ..)) => format!(
            "ask the person you work for: they run the command themselves, or start `podsync mcp --allow {name}`"
        ),
        None => "ask the person you work for to run the command themselves".to_owned(),
    };
    error.hint(hint)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_the_consents_own() {
        for (name, consent, _) in ASKED {
            assert_eq!(serde_json::to_value(consent).unwrap(), name);
        }
    }

    #[test]
    fn an_agent_is_told_what_would_have_to_be_allowed() {
        let asked = for_agent(ApiError::unconfirmed(Consent::NewSigner, "who is this?"));
        assert_eq!(asked.code, ErrorCode::Unconfirmed);
        assert!(asked.hint.unwrap().contains("--allow new-signer"));
        let refused = for_agent(ApiError::new(ErrorCode::Unconfirmed, "no").hint("remove it"));
        let hint = refused.hint.unwrap();
        assert!(hint.starts_with("remove it") && hint.contains("person") && !hint.contains("mcp"));
        let other = ApiError::new(ErrorCode::NotFound, "no").hint("look");
        assert_eq!(for_agent(other.clone()), other);
    }
}
