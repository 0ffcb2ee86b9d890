//! The proxy between the hub and a bucket, which the environment names. Nothing here tells its password.

use http::Uri;
use hyper_util::client::proxy::matcher::Matcher;

/// What the HTTP client reads.
const VARIABLES: [&str; 6] = [
    "HTTPS_PROXY",
    "https_proxy",
    "HTTP_PROXY",
    "http_proxy",
    "ALL_PROXY",
    "all_proxy",
];

/// Which proxy the HTTP client goes by. It has the same rules.
#[derive(Debug)]
pub(super) struct Proxies(Matcher);

impl Proxies {
    pub(super) fn of_environment() -> Self {
        Self(Matcher::from_system())
    }

    /// The proxy on the way to an address, such as `http://proxy.example:3128`.
    pub(super) fn name(&self, to: &Uri) -> Option<String> {
        let proxy = self.0.intercept(to)?;
        let name = proxy.uri().to_string();
        Some(name.trim_end_matches('/').to_owned())
    }
}

/// The first variable whose value names no proxy: the HTTP client would pass over it and say nothing.
pub(crate) fn unusable_proxy(value: impl Fn(&str) -> Option<String>) -> Option<&'static str> {
    let names_none = |name: &str| {
        let set = value(name).filter(|value| !value.is_empty());
        set.is_some_and(|value| {
            let bucket = Uri::from_static("http://bucket.example");
            let matcher = Matcher::builder().all(value).build();
            matcher.intercept(&bucket).is_none()
        })
    };
    VARIABLES.into_iter().find(|name| names_none(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proxy_that_cannot_be_used_is_found() {
        let found =
            |set: &str, to: &str| unusable_proxy(|name| (name == set).then(|| to.to_owned()));
        for fine in [
            "",
            "http://proxy.example:3128",
            "http://me:secret@proxy.example",
            "proxy:3128",
        ] {
            assert_eq!(found("HTTPS_PROXY", fine), None, "{fine}");
        }
        for wrong in ["garbage://x", "http://", "no proxy"] {
            assert_eq!(found("http_proxy", wrong), Some("http_proxy"), "{wrong}");
        }
    }

    #[test]
    fn a_proxy_is_named_without_its_password() {
        let matcher = Matcher::builder()
            .https("http://me:secret@proxy.example:3128")
            .no("near.example");
        let proxies = Proxies(matcher.build());
        let name = |to: &'static str| proxies.name(&Uri::from_static(to));
        assert_eq!(
            name("https://far.example/key").as_deref(),
            Some("http://proxy.example:3128")
        );
        assert_eq!(name("https://near.example"), None);
        assert_eq!(name("http://far.example"), None);
    }
}
