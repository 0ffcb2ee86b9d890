//! Where an object is: the URL of a key, with the bucket in its path or in its host name.

use std::{
    fmt,
    fmt::Write as _,
    net::{IpAddr, SocketAddr},
    str::FromStr,
};

use http::Uri;

/// How the bucket is named in a URL.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Addressing {
    /// `https://host/bucket/key`, which every server understands.
    #[default]
    Path,
    /// `https://bucket.host/key`, as AWS wants it.
    VirtualHost,
}

/// The root of an S3 server: scheme, host and port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    scheme: Scheme,
    authority: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Scheme {
    Http,
    Https,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EndpointError {
    #[error(
        "`{0}` is not the address of an S3 server: write it as https://s3.example.org, with a port if it has one and without a path"
    )]
    Malformed(String),
    /// Nothing of it is repeated.
    #[error(
        "the address of an S3 server has no user name and no password: write it as https://s3.example.org; the hub has its credentials from AWS's own chain of environment, profile and role"
    )]
    Secret,
    #[error("`{0}` cannot be the name of a bucket: 3 to 63 of a-z, 0-9, dot and dash")]
    Bucket(String),
    #[error("`{0}` cannot be the name of a region")]
    Region(String),
    #[error(
        "`virtual-host` puts the bucket's name before the server's, and {0} has only a number: choose `path`, or give the server a name"
    )]
    Nameless(Endpoint),
}

impl Endpoint {
    /// AWS itself.
    fn aws(region: &str) -> Self {
        let suffix = if region.starts_with("cn-") { ".cn" } else { "" };
        Self {
            scheme: Scheme::Https,
            authority: format!("s3.{region}.amazonaws.com{suffix}"),
        }
    }

    /// Whether its host is an IP address.
    fn is_number(&self) -> bool {
        let host = self.authority.trim_matches(['[', ']']);
        host.parse::<IpAddr>().is_ok() || self.authority.parse::<SocketAddr>().is_ok()
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = match self.scheme {
            Scheme::Http => "http",
            Scheme::Https => "https",
        };
        write!(f, "{scheme}://{}", self.authority)
    }
}

impl FromStr for Endpoint {
    type Err = EndpointError;

    fn from_str(text: &str) -> Result<Self, EndpointError> {
        if text.contains('@') {
            return Err(EndpointError::Secret);
        }
        let malformed = || EndpointError::Malformed(text.to_owned());
        let uri: Uri = text.parse().map_err(|_| malformed())?;
        let scheme = match uri.scheme_str() {
            Some("http") => Scheme::Http,
            Some("https") => Scheme::Https,
            _ => return Err(malformed()),
        };
        let authority = uri.authority().ok_or_else(malformed)?.as_str();
        let is_root = matches!(uri.path(), "" | "/") && uri.query().is_none();
        if !is_root {
            return Err(malformed());
        }
        Ok(Self {
            scheme,
            authority: authority.to_ascii_lowercase(),
        })
    }
}

impl<'de> serde::Deserialize<'de> for Endpoint {
    fn deserialize<D: serde::Deserializer<'de>>(text: D) -> Result<Self, D::Error> {
        let text = <String as serde::Deserialize>::deserialize(text)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// A bucket at an endpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Address {
    /// Up to and without the slash before a key.
    base: String,
}

impl Address {
    pub(super) fn new(
        endpoint: Option<&Endpoint>,
        region: &str,
        bucket: &str,
        addressing: Addressing,
    ) -> Result<Self, EndpointError> {
        if !is_bucket(bucket) {
            return Err(EndpointError::Bucket(bucket.to_owned()));
        }
        if !is_region(region) {
            return Err(EndpointError::Region(region.to_owned()));
        }
        let (endpoint, addressing) = match endpoint {
            Some(endpoint) => (endpoint.clone(), addressing),
            // AWS's certificate has no second star: a dot in the name can't be in the host.
            None if bucket.contains('.') => (Endpoint::aws(region), Addressing::Path),
            None => (Endpoint::aws(region), Addressing::VirtualHost),
        };
        let base = match addressing {
            Addressing::Path => format!("{endpoint}/{bucket}"),
            Addressing::VirtualHost if endpoint.is_number() => {
                return Err(EndpointError::Nameless(endpoint));
            }
            Addressing::VirtualHost => Endpoint {
                scheme: endpoint.scheme,
                authority: format!("{bucket}.{}", endpoint.authority),
            }
            .to_string(),
        };
        Ok(Self { base })
    }

    /// Whether it is reached without TLS.
    pub(super) fn is_plain(&self) -> bool {
        self.base.starts_with("http://")
    }

    /// The URL of a key; of the bucket where the key is empty.
    pub(super) fn uri(&self, key: &str, query: &[(&str, String)]) -> String {
        let mut uri = format!("{}/", self.base);
        encode(&mut uri, key, true);
        for (index, (name, value)) in query.iter().enumerate() {
            uri.push(if index == 0 { '?' } else { '&' });
            encode(&mut uri, name, false);
            uri.push('=');
            encode(&mut uri, value, false);
        }
        uri
    }
}

/// Percent-encodes as SigV4 wants it.
fn encode(out: &mut String, text: &str, is_path: bool) {
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                out.push(byte.into());
            }
            b'/' if is_path => out.push('/'),
            _ => {
                let _ = write!(out, "%{byte:02X}"); // Writing to a String doesn't fail.
            }
        }
    }
}

fn is_bucket(name: &str) -> bool {
    let is_end = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let bytes = name.as_bytes();
    (3..=63).contains(&bytes.len())
        && bytes
            .iter()
            .all(|byte| is_end(*byte) || matches!(byte, b'.' | b'-'))
        && bytes.first().copied().is_some_and(is_end)
        && bytes.last().copied().is_some_and(is_end)
        && !name.contains("..")
}

fn is_region(name: &str) -> bool {
    (1..=64).contains(&name.len())
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(endpoint: Option<&str>, bucket: &str, addressing: Addressing) -> String {
        let endpoint: Option<Endpoint> = endpoint.map(|endpoint| endpoint.parse().unwrap());
        Address::new(endpoint.as_ref(), "eu-central-1", bucket, addressing)
            .unwrap()
            .uri("packs/ab.0", &[])
    }

    #[test]
    fn a_bucket_is_in_the_path_or_in_the_host() {
        let own = Some("http://127.0.0.1:9000");
        assert_eq!(
            address(own, "team", Addressing::Path),
            "http://127.0.0.1:9000/team/packs/ab.0"
        );
        assert_eq!(
            address(
                Some("https://S3.example.org/"),
                "team",
                Addressing::VirtualHost
            ),
            "https://team.s3.example.org/packs/ab.0"
        );
        assert_eq!(
            address(None, "team", Addressing::Path),
            "https://team.s3.eu-central-1.amazonaws.com/packs/ab.0"
        );
        assert_eq!(
            address(None, "a.team", Addressing::VirtualHost),
            "https://s3.eu-central-1.amazonaws.com/a.team/packs/ab.0"
        );
    }

    #[test]
    fn what_a_query_holds_is_encoded() {
        let address = Address::new(None, "eu-central-1", "team", Addressing::Path).unwrap();
        let query = [
            ("start-after", "a/b c+ü".to_owned()),
            ("acl", String::new()),
        ];
        assert_eq!(
            address.uri("", &query),
            "https://team.s3.eu-central-1.amazonaws.com/?start-after=a%2Fb%20c%2B%C3%BC&acl="
        );
    }

    #[test]
    fn a_number_has_no_name_before_it() {
        for endpoint in [
            "http://127.0.0.1:9000",
            "https://10.0.0.1",
            "http://[::1]:9",
            "http://[::1]",
        ] {
            let endpoint: Endpoint = endpoint.parse().unwrap();
            let at = |addressing| Address::new(Some(&endpoint), "r", "team", addressing);
            assert!(at(Addressing::Path).is_ok());
            let refused = at(Addressing::VirtualHost);
            assert_eq!(refused, Err(EndpointError::Nameless(endpoint.clone())));
        }
    }

    #[test]
    fn what_is_no_address_is_refused() {
        for endpoint in [
            "s3.example.org",
            "ftp://x",
            "http://x/y",
            "http://a@b",
            "http://x?y",
            "",
        ] {
            assert!(endpoint.parse::<Endpoint>().is_err(), "{endpoint}");
        }
        for secret in ["https://me:secret@s3.example", "me:secret@s3.example/a"] {
            let refused = secret.parse::<Endpoint>().unwrap_err().to_string();
            assert!(!refused.contains("secret"), "{refused}");
        }
        for bucket in ["ab", "-ab", "ab-", "a..b", "A-team", "a/b", &"a".repeat(64)] {
            assert!(Address::new(None, "r", bucket, Addressing::Path).is_err());
        }
        for region in ["", "eu central", "x.example.org/"] {
            assert!(Address::new(None, region, "team", Addressing::Path).is_err());
        }
    }
}
