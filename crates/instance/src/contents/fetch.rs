//! The resources that are in an instance now.

use podsync_core::manifest::MAX_SERVICES;
use reqwest::{Method, Response, StatusCode};
use tokio::time::timeout;

use super::{Contents, IndexError, MAX_INDEX_LEN};
use crate::{answer, error::Error, instance::Instance, service::Service};

const DOING: &str = "listing its resources";

impl Instance {
    /// The resources of `services`, or of all where there are none; `None` where this instance has no
    /// endpoint for that.
    pub async fn contents(&self, services: &[Service]) -> Result<Option<Contents>, Error> {
        self.environment().await?;
        let mut url = self.endpoint().at("/_localstack/pods/index");
        if !services.is_empty() && services.len() <= MAX_SERVICES {
            url.query_pairs_mut()
                .append_pair("services", &Service::list(services).replace(' ', ""));
        }
        if let Some(index) = self.listing(url).await? {
            let contents = Contents::parse(&index).map_err(|error| self.unreadable(&error))?;
            return Ok(Some(contents.of(services)));
        }
        let url = self.endpoint().at("/_localstack/resources");
        let Some(listing) = self.listing(url).await? else {
            return Ok(None);
        };
        let contents =
            Contents::parse_listing(&listing).map_err(|error| self.unreadable(&error))?;
        Ok(Some(contents.of(services)))
    }

    /// A whole answer within its bound; none where there is no such path.
    async fn listing(&self, url: reqwest::Url) -> Result<Option<Vec<u8>>, Error> {
        let request = self.authorized(self.request(Method::GET, url));
        let response = self.answer(request, DOING, self.limits().work).await?;
        match response.status() {
            StatusCode::OK => self.collect(response).await.map(Some),
            StatusCode::NOT_FOUND => Ok(None),
            _ => Err(answer::refusal(response, self.endpoint(), DOING, self.limits().idle).await),
        }
    }

    pub(super) async fn collect(&self, mut response: Response) -> Result<Vec<u8>, Error> {
        let (endpoint, after) = (self.endpoint().clone(), self.limits().work);
        let mut bytes = Vec::new();
        loop {
            let chunk = match timeout(after, response.chunk()).await {
                Ok(Ok(Some(chunk))) => chunk,
                Ok(Ok(None)) => return Ok(bytes),
                Ok(Err(_)) => {
                    let what = "half a list".to_owned();
                    return Err(Error::Unintelligible {
                        endpoint,
                        doing: DOING,
                        what,
                    });
                }
                Err(_) => {
                    return Err(Error::Stalled {
                        endpoint,
                        doing: DOING,
                        after,
                    });
                }
            };
            if (bytes.len() + chunk.len()) as u64 > MAX_INDEX_LEN {
                return Err(Error::TooLarge {
                    endpoint,
                    what: "the list of resources",
                    limit: MAX_INDEX_LEN,
                });
            }
            bytes.extend_from_slice(&chunk);
        }
    }

    pub(super) fn unreadable(&self, error: &IndexError) -> Error {
        Error::Unintelligible {
            endpoint: self.endpoint().clone(),
            doing: DOING,
            what: format!("what is no such list: {error}"),
        }
    }
}
