//! The call that opens the page. Only the control socket accepts it: a page can't open another one.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::call::call;

/// Makes a URL at which one browser can use the control API until its session ends.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct OpenPage {
    /// The loopback port to listen on. Null: the default port, or another one if it is taken.
    #[serde(default)]
    pub port: Option<u16>,
}
call!(OpenPage => PageOpened, Home, "ui/open");

#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct PageOpened {
    /// The URL. Its fragment has a token that is valid once.
    pub url: String,
    /// Seconds until the token expires.
    pub expires_s: u64,
}

impl fmt::Debug for PageOpened {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PageOpened { url: hidden }")
    }
}
