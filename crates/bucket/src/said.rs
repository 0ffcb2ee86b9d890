//! The error that a bucket's server reports for a failed request: the code and message of its XML.
//!
//! Users see it as the server's words. So it is bounded, without control characters, and never contains a
//! signature.

use std::{fmt, time::Duration};

use reqwest::{Response, StatusCode, Url};

use crate::wire;

/// An error document of S3 has a few hundred bytes.
const MAX_DOCUMENT_LEN: usize = 16 << 10;
/// The most characters that are shown of a code or a message.
const MAX_SHOWN: usize = 200;

/// A status and the server's error.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Said {
    pub status: u16,
    /// `AccessDenied`, say.
    pub code: Option<String>,
    pub message: Option<String>,
    /// Scheme, host and folder of the requested object, if any: they show bucket and key prefix.
    pub place: String,
}

impl Said {
    /// A status alone.
    pub(crate) fn bare(status: StatusCode, url: &Url) -> Self {
        Self {
            status: status.as_u16(),
            code: None,
            message: None,
            place: place(url),
        }
    }

    /// Reads the rest of an error answer. Unreadable parts are left out.
    pub(crate) async fn read(response: Response, url: &Url, stalled: Duration) -> Self {
        let bare = Self::bare(response.status(), url);
        match wire::body(response, MAX_DOCUMENT_LEN, stalled).await {
            Ok(body) => {
                let text = String::from_utf8_lossy(&body);
                Self {
                    code: element(&text, "Code"),
                    message: element(&text, "Message"),
                    ..bare
                }
            }
            Err(_) => bare,
        }
    }
}

impl fmt::Display for Said {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HTTP {}", self.status)?;
        match (&self.code, &self.message) {
            (Some(code), Some(message)) => write!(f, ", {code}: {message}")?,
            (Some(word), None) | (None, Some(word)) => write!(f, ", {word}")?,
            (None, None) => {}
        }
        write!(f, ", at {}", self.place)
    }
}

/// The URL without the query, which holds the signature, and without the object's name.
fn place(url: &Url) -> String {
    let (folder, _) = url.path().rsplit_once('/').unwrap_or_default();
    let port = url
        .port()
        .map_or_else(String::new, |port| format!(":{port}"));
    let host = url.host_str().unwrap_or_default();
    format!("{}://{host}{port}{folder}/", url.scheme())
}

/// The text of the first element with this name.
fn element(document: &str, name: &str) -> Option<String> {
    let (_, rest) = document.split_once(&format!("<{name}>"))?;
    let (text, _) = rest.split_once('<')?;
    let text: String = text
        .chars()
        .filter(|c| !c.is_control())
        .take(MAX_SHOWN)
        .collect();
    let plain = text
        .replace("&quot;", "\"")
        .replace("&apos;", "'")
        .replace("&lt;", "<")
        .replace("&gt;", ">")
        .replace("&amp;", "&");
    // A server that echoes the request may echo credentials.
    let repeats = plain.to_ascii_lowercase().contains("x-amz-");
    (!plain.trim().is_empty() && !repeats).then(|| plain.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(document: &str) -> Said {
        let url = Url::parse("https://s3.example:9000/pods/team-a/packs/0af3?X-Amz-Signature=key");
        Said {
            code: element(document, "Code"),
            message: element(document, "Message"),
            ..Said::bare(StatusCode::FORBIDDEN, &url.unwrap())
        }
    }

    #[test]
    fn a_servers_words_are_told_with_the_place_and_no_signature() {
        let document = "<?xml version=\"1.0\"?><Error><Code>AccessDenied</Code><Message>Access &quot;Denied&quot;\n.</Message></Error>";
        assert_eq!(
            said(document).to_string(),
            "HTTP 403, AccessDenied: Access \"Denied\"., at https://s3.example:9000/pods/team-a/packs/"
        );
        for odd in [
            "",
            "<html>no</html>",
            "<Code></Code>",
            "<Code>cut",
            "<Message>X-Amz-Signature=key</Message>",
        ] {
            let text = said(odd).to_string();
            assert_eq!(
                text, "HTTP 403, at https://s3.example:9000/pods/team-a/packs/",
                "{odd}"
            );
        }
        let long = format!("<Code>{}</Code>", "a".repeat(5000));
        assert!(said(&long).to_string().len() < 300);
    }
}
