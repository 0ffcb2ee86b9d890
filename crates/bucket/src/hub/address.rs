//! The address of a hub, as in a team's setting or a ticket.

use std::{fmt, net::IpAddr, str::FromStr};

use podsync_api::hub::signature::authority;
use reqwest::Url;

use crate::AddressError;

/// The most characters of an address.
const MAX_LEN: usize = 512;
/// The most bytes of an `ETag` that is sent back.
pub(super) const LONGEST_ETAG: usize = 256;

/// `https://HOST[:PORT]`, or `http://` on this machine. Nothing follows: all paths begin with `/v1`.
#[derive(Clone, PartialEq, Eq)]
pub struct HubAddress {
    url: Url,
    authority: String,
}

impl HubAddress {
    pub(super) fn url(&self) -> &Url {
        &self.url
    }

    /// Host and port, as they are signed.
    pub fn authority(&self) -> &str {
        &self.authority
    }

    pub(super) fn is_loopback(&self) -> bool {
        is_loopback(&self.url)
    }
}

impl FromStr for HubAddress {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let refused = |why| AddressError {
            address: text.chars().take(MAX_LEN).collect(),
            why,
        };
        if text.len() > MAX_LEN {
            return Err(refused("it is too long"));
        }
        let url = Url::parse(text).map_err(|_| refused("it is no URL; say https://HOST"))?;
        match url.scheme() {
            "https" => {}
            "http" if is_loopback(&url) => {}
            "http" => return Err(refused("without TLS only a hub on this machine is asked")),
            _ => return Err(refused("say https://HOST")),
        }
        if !url.username().is_empty() || url.password().is_some() {
            // Don't repeat secrets in the address.
            return Err(AddressError {
                address: "an address with a name or a password".to_owned(),
                why: "a hub knows devices by their keys",
            });
        }
        if url.path() != "/" || url.query().is_some() || url.fragment().is_some() {
            return Err(refused("nothing may follow host and port"));
        }
        let authority = authority(&url).ok_or_else(|| refused("it has no host"))?;
        Ok(Self { url, authority })
    }
}

impl fmt::Display for HubAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.url.scheme(), self.authority)
    }
}

impl fmt::Debug for HubAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HubAddress({self})")
    }
}

fn is_loopback(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default();
    let host = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_addresses_that_a_hub_can_have_are_taken() {
        for (text, shown) in [
            ("https://hub.example", "https://hub.example"),
            ("https://HUB.example:443/", "https://hub.example"),
            ("https://hub.example:8443", "https://hub.example:8443"),
            ("http://127.0.0.1:4000", "http://127.0.0.1:4000"),
            ("http://[::1]:4000", "http://[::1]:4000"),
            ("http://localhost", "http://localhost"),
        ] {
            assert_eq!(text.parse::<HubAddress>().unwrap().to_string(), shown);
        }
        for text in [
            "",
            "hub.example",
            "http://hub.example",
            "http://127.0.0.1.example",
            "ftp://hub.example",
            "https://hub.example/podsync",
            "https://hub.example/?team=a",
            "https://hub.example/#a",
            "unix:/run/hub",
        ] {
            let error = text.parse::<HubAddress>().unwrap_err();
            assert!(
                error.to_string().contains("can't be a hub's address"),
                "{error}"
            );
        }
    }

    #[test]
    fn a_password_in_an_address_is_not_shown() {
        let error = "https://me:hunter2@hub.example"
            .parse::<HubAddress>()
            .unwrap_err();
        assert!(!format!("{error} {error:?}").contains("hunter2"));
    }
}
