//! The OpenAPI document, made of the handlers and the shapes of `podsync_api::hub`.

use utoipa::OpenApi;

use crate::endpoints;

#[derive(OpenApi)]
#[openapi(
    info(
        title = "podsync hub",
        description = "What a device asks of its organisation's hub. Requests are signed as docs/hub-protocol.md says."
    ),
    paths(
        endpoints::time,
        endpoints::team_info,
        endpoints::batch,
        endpoints::commit,
        endpoints::heads,
        endpoints::feed,
        endpoints::liveness,
        endpoints::fetch_operations,
        endpoints::post_operations,
        endpoints::join,
    )
)]
struct Document;

pub fn document() -> utoipa::openapi::OpenApi {
    Document::openapi()
}

#[cfg(test)]
mod tests {
    /// `PODSYNC_UPDATE=1` writes the page anew.
    #[test]
    fn the_page_is_what_the_hub_says() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/hub-openapi.json");
        let said = super::document().to_pretty_json().unwrap() + "\n";
        if std::env::var_os("PODSYNC_UPDATE").is_some() {
            std::fs::write(path, &said).unwrap();
        }
        let page = std::fs::read_to_string(path).unwrap();
        assert!(
            page == said,
            "docs/hub-openapi.json is old: run this test with PODSYNC_UPDATE=1"
        );
    }
}
