//! The address of an instance: a URL that is safe to send a state to and take one from.
//!
//! Parsing is where AWS itself is refused, so that an `AWS_ENDPOINT_URL` left over from other work
//! never gets as far as a socket. Whether a name really leads to this machine is only known once it
//! is resolved: that is [`crate::Instance::is_loopback`], not [`Endpoint::is_loopback`].

use std::{fmt, net::IpAddr, str::FromStr, sync::Arc};

use reqwest::Url;
use serde::{Deserialize, Serialize};

/// Where LocalStack listens unless it is told otherwise.
pub const DEFAULT_ENDPOINT: &str = "http://localhost:4566";

/// The longest endpoint that is read: more than any host name and port need.
const MAX_ENDPOINT_LEN: usize = 1024;

/// What AWS answers under, by suffix of whole labels: its partitions and its own top-level domain.
const AWS_DOMAINS: [&str; 12] = [
    "amazonaws.com",
    "amazonaws.com.cn",
    "amazonaws.eu",
    "amazonwebservices.com",
    "amazonwebservices.com.cn",
    "amazonwebservices.eu",
    "aws.amazon.com",
    "aws",
    "c2s.ic.gov",
    "sc2s.sgov.gov",
    "cloud.adc-e.uk",
    "csp.hci.ic.gov",
];

/// The metadata and credential services of EC2 and ECS.
const AWS_ADDRESSES: [&str; 4] = [
    "169.254.169.254",
    "169.254.170.2",
    "169.254.170.23",
    "fd00:ec2::254",
];

/// The base URL of an emulator: `http` or `https`, a host, a port, and nothing else. Cheap to clone.
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Endpoint(Arc<Url>);

/// Text that is no emulator endpoint. It may come from an old environment variable.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EndpointError {
    #[error("the endpoint {text} is not a URL ({why})")]
    Malformed { text: String, why: String },
    #[error("the endpoint holds a user name or password, which would end up in logs")]
    Credentials,
    #[error("the endpoint has {what} after the port")]
    Extra { what: &'static str },
    #[error("{host} is AWS itself, not an emulator, and nothing was sent there")]
    Aws { host: String },
}

impl EndpointError {
    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Malformed { .. } | Self::Extra { .. } => format!("write it like {DEFAULT_ENDPOINT}, with --endpoint or in AWS_ENDPOINT_URL"),
            Self::Credentials => "name it without, with --endpoint or in AWS_ENDPOINT_URL, and put a token into LOCALSTACK_AUTH_TOKEN".to_owned(),
            Self::Aws { .. } => format!("name an emulator with --endpoint {DEFAULT_ENDPOINT}, or in AWS_ENDPOINT_URL if that is where it came from"),
        })
    }
}

impl Endpoint {
    /// Whether the host is this machine by its spelling: a loopback address, `localhost` or a name
    /// below it.
    pub fn is_loopback(&self) -> bool {
        let host = self.host();
        match host.parse() {
            Ok(address) => is_this_machine(address),
            Err(_) => {
                let name = host.trim_end_matches('.');
                name == "localhost" || name.ends_with(".localhost")
            }
        }
    }

    /// The host, an IPv6 address without its brackets.
    pub(crate) fn host(&self) -> &str {
        let host = self.0.host_str().unwrap_or_default();
        host.strip_prefix('[')
            .and_then(|host| host.strip_suffix(']'))
            .unwrap_or(host)
    }

    /// The port, also where the URL leaves it out.
    pub fn port(&self) -> u16 {
        self.0.port_or_known_default().unwrap_or_default()
    }

    pub(crate) fn is_tls(&self) -> bool {
        self.0.scheme() == "https"
    }

    /// The URL of an absolute path on this instance.
    pub(crate) fn at(&self, path: &str) -> Url {
        let mut url = Url::clone(&self.0);
        url.set_path(path);
        url
    }
}

impl FromStr for Endpoint {
    type Err = EndpointError;

    fn from_str(text: &str) -> Result<Self, EndpointError> {
        let malformed = |why: &str| EndpointError::Malformed {
            text: shown(text),
            why: why.to_owned(),
        };
        let text = text.trim();
        if text.len() > MAX_ENDPOINT_LEN {
            return Err(malformed("it is too long"));
        }
        let url = Url::parse(text).map_err(|error| malformed(&error.to_string()))?;
        if !url.username().is_empty() || url.password().is_some() {
            return Err(EndpointError::Credentials);
        }
        if !matches!(url.scheme(), "http" | "https") {
            return Err(malformed("it begins with neither http:// nor https://"));
        }
        let Some(host) = url.host_str() else {
            return Err(malformed("it names no host"));
        };
        if is_aws(host) {
            return Err(EndpointError::Aws {
                host: host.to_owned(),
            });
        }
        if url.port() == Some(0) {
            return Err(malformed("port 0 cannot be connected to"));
        }
        let extra = match (url.path(), url.query(), url.fragment()) {
            ("/" | "", None, None) => return Ok(Self(Arc::new(url))),
            (_, Some(_), _) => "a query",
            (_, _, Some(_)) => "a fragment",
            _ => "a path",
        };
        Err(EndpointError::Extra { what: extra })
    }
}

impl TryFrom<String> for Endpoint {
    type Error = EndpointError;

    fn try_from(text: String) -> Result<Self, EndpointError> {
        text.parse()
    }
}

impl From<Endpoint> for String {
    fn from(endpoint: Endpoint) -> String {
        endpoint.to_string()
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.0.as_str().trim_end_matches('/'))
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.to_string())
    }
}

/// Whether an address is loopback, also as an IPv4-mapped IPv6 address. Connecting to `0.0.0.0` and
/// `::` reaches this machine too.
pub(crate) fn is_this_machine(address: IpAddr) -> bool {
    let address = address.to_canonical();
    address.is_loopback() || address.is_unspecified()
}

fn is_aws(host: &str) -> bool {
    let host = host
        .trim_start_matches('[')
        .trim_end_matches([']', '.'])
        .to_ascii_lowercase();
    if let Ok(address) = host.parse::<IpAddr>() {
        let address = address.to_canonical().to_string();
        return AWS_ADDRESSES.contains(&address.as_str());
    }
    AWS_DOMAINS.iter().any(|domain| {
        host.strip_suffix(domain)
            .is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
    })
}

/// The text for messages, hidden if it could hold a password.
fn shown(text: &str) -> String {
    if text.contains('@') {
        return "the text given (not shown, as it may hold a password)".to_owned();
    }
    let start: String = text.chars().take(80).collect();
    format!("{start:?}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_brought_to_one_spelling() {
        for (text, spelling) in [
            ("http://localhost:4566", "http://localhost:4566"),
            ("http://localhost:4566/", "http://localhost:4566"),
            (" HTTP://LocalHost:4566 ", "http://localhost:4566"),
            ("http://127.1:4566", "http://127.0.0.1:4566"),
            (
                "https://localhost.localstack.cloud",
                "https://localhost.localstack.cloud",
            ),
            ("http://[0:0::1]:4566", "http://[::1]:4566"),
        ] {
            assert_eq!(text.parse::<Endpoint>().unwrap().to_string(), spelling);
        }
    }

    #[test]
    fn what_is_no_endpoint_is_refused() {
        for text in [
            "",
            "localhost:4566",
            "localhost",
            "ftp://localhost:4566",
            "unix:///run/localstack.sock",
            "file:///etc/passwd",
            "http://",
            "http://localhost:0",
            "http://localhost:99999",
            "http://local\0host:4566",
            "http://exa mple:4566",
            &format!("http://{}.example", "a".repeat(2000)),
        ] {
            let error = text.parse::<Endpoint>().unwrap_err();
            assert!(
                matches!(error, EndpointError::Malformed { .. }),
                "{text:?}: {error:?}"
            );
        }
        for text in [
            "http://h/path",
            "http://h/?q",
            "http://h#f",
            "http://h:1/..%2f",
        ] {
            let error = text.parse::<Endpoint>().unwrap_err();
            assert!(
                matches!(error, EndpointError::Extra { .. }),
                "{text:?}: {error:?}"
            );
        }
    }

    #[test]
    fn a_password_is_refused_and_never_repeated() {
        for text in [
            "http://me:hunter2@localhost:4566",
            "http://me:hunter2@localhost:99999",
        ] {
            let error = text.parse::<Endpoint>().unwrap_err();
            assert!(
                !format!("{error} {error:?}").contains("hunter2"),
                "{error:?}"
            );
        }
    }

    #[test]
    fn aws_is_refused_in_every_spelling() {
        for host in [
            "s3.amazonaws.com",
            "S3.AmazonAWS.com",
            "sqs.eu-west-1.amazonaws.com.",
            "amazonaws.com",
            "s3.cn-north-1.amazonaws.com.cn",
            "vpce-1.s3.eu-central-1.vpce.amazonaws.com:443",
            "s3.us-east-1.api.aws",
            "x.lambda-url.us-east-1.on.aws",
            "console.aws.amazon.com",
            "s3.eusc-de-east-1.amazonaws.eu",
            "169.254.169.254",
            "0xa9fea9fe",
            "[::ffff:169.254.169.254]",
            "[fd00:ec2::254]",
        ] {
            let error = format!("http://{host}").parse::<Endpoint>().unwrap_err();
            assert!(
                matches!(error, EndpointError::Aws { .. }),
                "{host}: {error:?}"
            );
        }
        for host in [
            "notamazonaws.com",
            "amazonaws.com.evil.example",
            "aws.example",
            "laws",
        ] {
            assert!(
                format!("http://{host}").parse::<Endpoint>().is_ok(),
                "{host}"
            );
        }
    }

    #[test]
    fn loopback_is_told_from_elsewhere() {
        for (host, loopback) in [
            ("localhost", true),
            ("s3.localhost", true),
            ("localhost.", true),
            ("127.0.0.1", true),
            ("127.9.9.9", true),
            ("0.0.0.0", true),
            ("[::1]", true),
            ("[::ffff:127.0.0.1]", true),
            ("localhost.example", false),
            ("notlocalhost", false),
            ("192.168.1.7", false),
            ("[fe80::1]", false),
            ("[::ffff:10.0.0.1]", false),
        ] {
            let endpoint: Endpoint = format!("http://{host}:4566").parse().unwrap();
            assert_eq!(endpoint.is_loopback(), loopback, "{host}");
        }
    }

    #[test]
    fn serde_cannot_smuggle_aws_in() {
        assert!(serde_json::from_str::<Endpoint>("\"http://s3.amazonaws.com\"").is_err());
        let endpoint: Endpoint = serde_json::from_str("\"http://localhost:4566/\"").unwrap();
        assert_eq!(
            serde_json::to_string(&endpoint).unwrap(),
            "\"http://localhost:4566\""
        );
    }
}
