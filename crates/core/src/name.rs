//! Names that people type: each a newtype that cannot hold an invalid one, through serde too.
//!
//! A name is part of references, file names and URLs, so the alphabet is the one all three share.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// The longest name, in bytes.
pub const MAX_NAME_LEN: usize = 64;

/// Why a text is no name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    #[error("a {kind} cannot be empty")]
    Empty { kind: &'static str },
    #[error("a {kind} has at most {MAX_NAME_LEN} characters, this one has {len}")]
    TooLong { kind: &'static str, len: usize },
    #[error(
        "a {kind} is made of a-z, A-Z, 0-9, `.`, `_` and `-` and begins with a letter or digit: {name:?} is not"
    )]
    Alphabet { kind: &'static str, name: String },
    #[error("a {kind} cannot be a number: {name:?} would be taken for a version")]
    Number { kind: &'static str, name: String },
}

fn check(kind: &'static str, name: &str) -> Result<(), NameError> {
    if name.is_empty() {
        return Err(NameError::Empty { kind });
    }
    if name.len() > MAX_NAME_LEN {
        return Err(NameError::TooLong {
            kind,
            len: name.chars().count(),
        });
    }
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    if !name.starts_with(|c: char| c.is_ascii_alphanumeric()) || !name.chars().all(plain) {
        return Err(NameError::Alphabet {
            kind,
            name: name.to_owned(),
        });
    }
    Ok(())
}

macro_rules! name {
    ($(#[$doc:meta])* $name:ident, $kind:literal, $extra:expr) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        #[cfg(feature = "openapi")]
        crate::schema::text_schema!($name);

        impl $name {
            pub fn new(name: impl Into<String>) -> Result<Self, NameError> {
                let name = name.into();
                check($kind, &name)?;
                let extra: fn(&str) -> Result<(), NameError> = $extra;
                extra(&name)?;
                Ok(Self(name))
            }

            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:?}", self.0)
            }
        }

        impl FromStr for $name {
            type Err = NameError;

            fn from_str(text: &str) -> Result<Self, NameError> {
                Self::new(text)
            }
        }

        impl TryFrom<String> for $name {
            type Error = NameError;

            fn try_from(text: String) -> Result<Self, NameError> {
                Self::new(text)
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> String {
                name.0
            }
        }
    };
}

name!(
    /// A pod: `orders`.
    PodName, "pod name", |_| Ok(())
);
name!(
    /// A tag of a version: `baseline`. Never a number.
    TagName, "tag", |name| {
        if name.bytes().all(|b| b.is_ascii_digit()) {
            return Err(NameError::Number { kind: "tag", name: name.to_owned() });
        }
        Ok(())
    }
);
name!(
    /// A team: `payments`.
    TeamName, "team name", |_| Ok(())
);
name!(
    /// A person or a robot: `alice`.
    MemberName, "member name", |_| Ok(())
);
name!(
    /// What a member calls one of its devices: `alices-laptop`.
    DeviceLabel, "device label", |_| Ok(())
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hostile_names_are_refused() {
        for bad in [
            "", "a/b", "..", ".hidden", "a\0b", "-rf", "ü", "a b", "a:b", "a@b",
        ] {
            assert!(PodName::new(bad).is_err(), "{bad:?}");
        }
        assert!(PodName::new("x".repeat(300)).is_err());
        assert!(TagName::new("42").is_err());
        assert!(PodName::new("orders-2.x_y").is_ok());
    }

    #[test]
    fn serde_cannot_smuggle_a_bad_name() {
        let bytes = postcard::to_allocvec("../etc").unwrap();
        assert!(postcard::from_bytes::<PodName>(&bytes).is_err());
    }
}
