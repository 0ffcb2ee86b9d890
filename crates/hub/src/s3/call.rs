//! A request to the bucket before it is signed, and what came back, whatever it says.

use bytes::Bytes;
use data_encoding::{BASE64, HEXLOWER};
use http::{HeaderMap, Method, StatusCode};
use podsync_api::hub::Sha256;
use sha2::Digest as _;

use super::{CHECKSUM, address::Address, xml};

/// What a server may say about public access, or about an error.
const MAX_WORDS_LEN: u64 = 64 << 10;
/// The most bytes of a server's own code that are shown.
const MAX_CODE_LEN: usize = 64;

/// A request of the hub itself.
pub(super) struct Call<'a> {
    pub(super) method: Method,
    key: &'a str,
    query: Vec<(&'a str, String)>,
    pub(super) headers: Vec<(&'a str, String)>,
    body: Bytes,
    pub(super) max_len: u64,
    /// Only its SHA-256 is kept of an object.
    pub(super) hashed: bool,
}

impl<'a> Call<'a> {
    pub(super) fn new(method: Method, key: &'a str) -> Self {
        Self {
            method,
            key,
            query: Vec::new(),
            headers: Vec::new(),
            body: Bytes::new(),
            max_len: MAX_WORDS_LEN,
            hashed: false,
        }
    }

    pub(super) fn query(mut self, name: &'a str, value: impl Into<String>) -> Self {
        self.query.push((name, value.into()));
        self
    }

    /// Also binds its hash to the signature.
    pub(super) fn body(mut self, body: Bytes) -> Self {
        let hash = HEXLOWER.encode(&sha2::Sha256::digest(&body));
        self.headers.push(("x-amz-content-sha256", hash));
        self.headers
            .push(("content-length", body.len().to_string()));
        self.body = body;
        self
    }

    /// Also sends this header, and signs it.
    pub(super) fn header(mut self, name: &'a str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    pub(super) fn hashed(mut self) -> Self {
        self.hashed = true;
        self
    }

    pub(super) fn max(mut self, max_len: u64) -> Self {
        self.max_len = max_len;
        self
    }

    pub(super) fn request(&self, address: &Address) -> Result<http::Request<Bytes>, http::Error> {
        let mut request = http::Request::builder()
            .method(&self.method)
            .uri(address.uri(self.key, &self.query));
        for (name, value) in &self.headers {
            request = request.header(*name, value);
        }
        request.body(self.body.clone())
    }
}

/// What came back, whatever it says.
#[derive(Debug, Clone)]
pub(super) struct Reply {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    /// Empty if it was only hashed.
    pub(super) body: Bytes,
    pub(super) sha256: Option<Sha256>,
}

impl Reply {
    /// The server's own code, such as `AccessDenied`; empty if it sends none.
    pub(super) fn own_code(&self) -> String {
        let said = xml::error(&self.body).map(|error| error.code);
        let said = said.unwrap_or_default();
        let shown = said.chars().filter(char::is_ascii_graphic);
        shown.take(MAX_CODE_LEN).collect()
    }

    /// Status and the server's own code, such as `403 AccessDenied`.
    pub(super) fn code(&self) -> String {
        let code = format!("{} {}", self.status.as_u16(), self.own_code());
        code.trim_end().to_owned()
    }

    pub(super) fn word(&self, header: &str) -> Option<String> {
        Some(self.headers.get(header)?.to_str().ok()?.to_owned())
    }

    /// Of a HEAD that of the object.
    pub(super) fn content_length(&self) -> Option<u64> {
        self.word("content-length")?.parse().ok()
    }

    /// The SHA-256 that the server says the object has.
    pub(super) fn checksum(&self) -> Option<Sha256> {
        let bytes = BASE64.decode(self.word(CHECKSUM)?.as_bytes()).ok()?;
        Some(Sha256::from_bytes(bytes.try_into().ok()?))
    }

    pub(super) fn says(&self, code: &str) -> bool {
        xml::error(&self.body).is_some_and(|error| error.code == code)
    }

    /// A HEAD has no body with a message, so a missing bucket looks the same.
    pub(super) fn is_no_such_key(&self) -> bool {
        self.status == StatusCode::NOT_FOUND && !self.says("NoSuchBucket")
    }
}
