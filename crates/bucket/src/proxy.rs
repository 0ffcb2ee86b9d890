//! The proxies that the environment names, as the HTTP client reads it: for messages alone.
//!
//! A variable may hold a password, so a message has scheme, host and port of a proxy and nothing else.

use http::Uri;
use hyper_util::client::proxy::matcher::Matcher;
use reqwest::Url;

/// Each in the two spellings that count; the first one that is set does.
const VARIABLES: [[&str; 2]; 3] = [
    ["HTTPS_PROXY", "https_proxy"],
    ["HTTP_PROXY", "http_proxy"],
    ["ALL_PROXY", "all_proxy"],
];

/// The variables that are set and name no proxy that podsync can use. The HTTP client ignores them silently.
pub fn unusable_proxies() -> Vec<&'static str> {
    unusable(|variable| std::env::var(variable).ok())
}

/// The end of a message about a server that no connection reached: the proxy that was to lead there.
pub(crate) fn way_to(url: &Url) -> Option<String> {
    let uri: Uri = url.as_str().parse().ok()?;
    if let Some(proxy) = named(&Matcher::from_system(), &uri) {
        return Some(format!(
            ", through the proxy {proxy} that the environment names"
        ));
    }
    let unusable = unusable_proxies();
    (!unusable.is_empty()).then(|| format!("; there is no usable proxy in {}", unusable.join(", ")))
}

fn named(matcher: &Matcher, uri: &Uri) -> Option<String> {
    let proxy = matcher.intercept(uri)?;
    let (scheme, authority) = (proxy.uri().scheme_str()?, proxy.uri().authority()?);
    let place = authority.as_str().rsplit('@').next()?;
    Some(format!("{scheme}://{place}"))
}

fn unusable(value_of: impl Fn(&str) -> Option<String>) -> Vec<&'static str> {
    let somewhere = Uri::from_static("https://hub.example");
    let is_unusable = |spellings: &[&'static str; 2]| {
        let mut set = spellings
            .iter()
            .filter_map(|name| Some((*name, value_of(name)?)));
        let (name, value) = set.next()?;
        let matcher = Matcher::builder().all(value.as_str()).build();
        (!value.is_empty() && named(&matcher, &somewhere).is_none()).then_some(name)
    };
    VARIABLES.iter().filter_map(is_unusable).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proxy_is_named_without_its_password() {
        let somewhere = Uri::from_static("https://hub.example/v1/time");
        for (value, shown) in [
            ("http://proxy.example:3128", "http://proxy.example:3128"),
            ("proxy.example:3128", "http://proxy.example:3128"),
            ("http://me:hunter2@proxy.example", "http://proxy.example"),
        ] {
            let matcher = Matcher::builder().https(value).build();
            assert_eq!(named(&matcher, &somewhere).as_deref(), Some(shown));
        }
    }

    #[test]
    fn a_variable_that_names_no_proxy_is_found_in_the_spelling_that_counts() {
        let set = |variables: &'static [(&'static str, &'static str)]| {
            unusable(move |name| {
                let (_, value) = variables.iter().find(|(variable, _)| *variable == name)?;
                Some((*value).to_owned())
            })
        };
        assert!(set(&[]).is_empty());
        assert!(set(&[("HTTPS_PROXY", "http://me:hunter2@proxy.example:3128")]).is_empty());
        // It is how a proxy is turned off.
        assert!(set(&[("HTTPS_PROXY", "")]).is_empty());
        assert_eq!(set(&[("https_proxy", "garbage://x")]), ["https_proxy"]);
        assert_eq!(
            set(&[("HTTPS_PROXY", "a b"), ("ALL_PROXY", "http://")]),
            ["HTTPS_PROXY", "ALL_PROXY"]
        );
        let both = [("HTTP_PROXY", "proxy.example"), ("http_proxy", "a b")];
        assert!(
            unusable(|name| both
                .iter()
                .find(|(variable, _)| *variable == name)
                .map(|(_, value)| (*value).to_owned()))
            .is_empty()
        );
    }
}
