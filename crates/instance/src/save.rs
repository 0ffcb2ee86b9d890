//! Saving: streams the instance's state to a reader or into an unlinked file.
//!
//! A state counts as whole only if every announced byte came. The instance may still have left out
//! what it could not save: that is [`SavedState::failed`], and no error by itself.

use std::{
    fs::{File, Permissions},
    io::{self, Seek},
    os::unix::fs::PermissionsExt,
    path::Path,
};

use podsync_core::manifest::Emulator;
use reqwest::Response;
use tokio::{task::spawn_blocking, time::timeout};

use crate::{
    answer,
    arriving::{Arriving, Sending, arriving},
    error::Error,
    instance::Instance,
    report::{Report, SaveFailure, UnderWay},
    runtime::Runtime,
    service::Service,
};

const DOING: &str = "saving the state";

/// How a zip begins: with a member, or, if it is empty, with its end.
const ZIP_STARTS: [[u8; 4]; 2] = [*b"PK\x03\x04", *b"PK\x05\x06"];

/// A state as an instance saved it.
#[derive(Debug)]
pub struct SavedState {
    /// A zip, at its start. Unlinked: it is gone when closed.
    pub file: File,
    /// Bytes of the zip.
    pub len: u64,
    /// What the instance says is within, sorted; empty where it doesn't say.
    pub services: Vec<Service>,
    pub emulator: Emulator,
    /// What could not be saved. The list may be cut short by the instance.
    pub failed: Vec<SaveFailure>,
    /// Work that was in progress. It ends wherever the state is loaded.
    pub under_way: Vec<UnderWay>,
    /// Whether requests were held back, so that the state is of one moment. False where a request
    /// was still under way; true where the instance says nothing about it.
    pub quiesced: bool,
}

/// A save in progress: the instance has sent its report, and the bytes follow.
pub struct SavingState {
    /// What the instance says is within, sorted; empty where it doesn't say.
    pub services: Vec<Service>,
    /// The instance says that nothing is within.
    pub is_empty: bool,
    pub emulator: Emulator,
    /// As [`SavedState::failed`].
    pub failed: Vec<SaveFailure>,
    /// As [`SavedState::under_way`].
    pub under_way: Vec<UnderWay>,
    /// As [`SavedState::quiesced`].
    pub quiesced: bool,
    /// Bytes to come, where that is known.
    pub expected: Option<u64>,
    instance: Instance,
    response: Response,
}

impl Instance {
    /// Saves `services`, or all that run if there are none, into a file in `folder`.
    ///
    /// `on_bytes` hears of bytes received so far and, where it is known, of how many there will be.
    /// Dropping the future ends the download and frees the disk.
    pub async fn save(
        &self,
        services: &[Service],
        folder: &Path,
        on_bytes: impl FnMut(u64, Option<u64>) + Send,
    ) -> Result<SavedState, Error> {
        let mut saving = self.begin_save(services).await?;
        let (sending, arriving) = arriving();
        let writing = {
            let folder = folder.to_owned();
            spawn_blocking(move || spool(arriving, &folder))
        };
        let received = saving.receive(sending, on_bytes).await;
        let written = writing.await.map_err(io::Error::other).flatten();
        let len = received?;
        let file = written.map_err(|error| disk(folder, error))?;
        Ok(SavedState {
            file,
            len,
            services: saving.services,
            emulator: saving.emulator,
            failed: saving.failed,
            under_way: saving.under_way,
            quiesced: saving.quiesced,
        })
    }

    /// Asks for the state and comes back when its first bytes are on their way.
    pub async fn begin_save(&self, services: &[Service]) -> Result<SavingState, Error> {
        let emulator = self.environment().await?.emulator();
        let mut url = self.endpoint().at("/_localstack/pods/state");
        if !services.is_empty() {
            let names = services
                .iter()
                .map(Service::as_str)
                .collect::<Vec<_>>()
                .join(",");
            url.query_pairs_mut().append_pair("services", &names);
        }
        let request = self.authorized(self.request(reqwest::Method::GET, url));
        let response = self.answer(request, DOING, self.limits().work).await?;
        if !response.status().is_success() {
            return Err(self.save_refused(response).await);
        }
        let Report {
            services: told,
            failed,
            under_way,
            quiesced,
        } = Report::read(response.headers()).map_err(|what| Error::Unintelligible {
            endpoint: self.endpoint().clone(),
            doing: DOING,
            what: what.to_owned(),
        })?;
        if !services.is_empty() && failed.is_empty() && told.as_ref().is_some_and(Vec::is_empty) {
            return Err(Error::NothingThere {
                endpoint: self.endpoint().clone(),
                services: services.to_vec(),
            });
        }
        let is_empty = told.as_ref().is_some_and(Vec::is_empty) && failed.is_empty();
        let services = told.unwrap_or_default();
        if services.is_empty() && !failed.is_empty() {
            let endpoint = self.endpoint().clone();
            return Err(Error::NothingSaved { endpoint, failed });
        }
        let expected = announced_len(&response);
        if expected.is_some_and(|len| len > self.limits().state_len) {
            return Err(self.too_large());
        }
        Ok(SavingState {
            services,
            is_empty,
            emulator,
            failed,
            under_way,
            quiesced,
            expected,
            instance: self.clone(),
            response,
        })
    }

    fn too_large(&self) -> Error {
        Error::TooLarge {
            endpoint: self.endpoint().clone(),
            what: "the state",
            limit: self.limits().state_len,
        }
    }

    async fn save_refused(&self, response: Response) -> Error {
        if response.status().as_u16() == 404 {
            // The environment was there a moment ago, so it is LocalStack, and unlike it should be.
            let (edition, version) = (String::new(), String::new());
            return self.no_state_endpoints(Runtime::LocalStack { edition, version });
        }
        answer::refusal(response, self.endpoint(), DOING, self.limits().idle).await
    }
}

impl SavingState {
    /// Streams the body to `reader`, checks it against the announced length, and returns its length.
    /// Only then is it complete for the reader. A reader that stops ends this early and reports its
    /// own reason.
    pub async fn receive(
        &mut self,
        reader: Sending,
        mut on_bytes: impl FnMut(u64, Option<u64>) + Send,
    ) -> Result<u64, Error> {
        let endpoint = || self.instance.endpoint().clone();
        let (limit, idle) = (
            self.instance.limits().state_len,
            self.instance.limits().idle,
        );
        let expected = self.expected;
        let mut start = ZipStart::default();
        let mut received = 0;
        loop {
            let buffer = match timeout(idle, self.response.chunk()).await {
                Ok(Ok(Some(buffer))) => buffer,
                Ok(Ok(None)) => break,
                Ok(Err(_)) => {
                    return Err(Error::Truncated {
                        endpoint: endpoint(),
                        received,
                        expected,
                    });
                }
                Err(_) => {
                    let endpoint = endpoint();
                    return Err(Error::Stalled {
                        endpoint,
                        doing: DOING,
                        after: idle,
                    });
                }
            };
            if !start.accepts(&buffer) {
                return Err(Error::NotAState {
                    endpoint: endpoint(),
                });
            }
            received += buffer.len() as u64;
            if received > limit {
                return Err(self.instance.too_large());
            }
            on_bytes(received, expected);
            if !reader.write(buffer).await {
                return Ok(received);
            }
        }
        if expected.is_some_and(|len| len != received) {
            return Err(Error::Truncated {
                endpoint: endpoint(),
                received,
                expected,
            });
        }
        if !start.is_whole() {
            return Err(Error::NotAState {
                endpoint: endpoint(),
            });
        }
        reader.finish();
        Ok(received)
    }
}

/// Writes what arrives into a file in `folder` that has no name and is readable by its owner only. Nothing is
/// synced: it is a stopover and is gone after a crash.
fn spool(mut arriving: Arriving, folder: &Path) -> io::Result<File> {
    let mut file = tempfile::tempfile_in(folder)?;
    // It is made with the umask's permissions. Nobody can have opened it, since it has no name.
    file.set_permissions(Permissions::from_mode(0o600))?;
    io::copy(&mut arriving, &mut file)?;
    file.rewind()?;
    Ok(file)
}

fn disk(folder: &Path, error: io::Error) -> Error {
    Error::Disk {
        folder: folder.to_owned(),
        error,
    }
}

/// The length that the headers promise: HTTP's own, or LocalStack's where the body is chunked.
fn announced_len(response: &Response) -> Option<u64> {
    response.content_length().or_else(|| {
        let size = response.headers().get("x-localstack-pod-size")?;
        size.to_str().ok()?.parse().ok()
    })
}

/// The first four bytes of a body, however it is cut into buffers.
#[derive(Default)]
struct ZipStart {
    bytes: [u8; 4],
    len: usize,
}

impl ZipStart {
    /// Whether the body can still be a zip.
    fn accepts(&mut self, buffer: &[u8]) -> bool {
        let taken = buffer.len().min(4 - self.len);
        self.bytes[self.len..self.len + taken].copy_from_slice(&buffer[..taken]);
        self.len += taken;
        ZIP_STARTS
            .iter()
            .any(|start| start.starts_with(&self.bytes[..self.len]))
    }

    fn is_whole(&self) -> bool {
        self.len == 4
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_zip_is_known_by_its_start_however_it_is_cut() {
        for body in [&b"PK\x03\x04rest"[..], b"PK\x05\x06"] {
            for cut in 0..=body.len() {
                let mut start = ZipStart::default();
                assert!(start.accepts(&body[..cut]) && start.accepts(&body[cut..]));
                assert!(start.is_whole());
            }
        }
        for body in [&b"<html>"[..], b"\x1f\x8b", b"PK\x01\x02"] {
            assert!(!ZipStart::default().accepts(body));
        }
        let mut start = ZipStart::default();
        assert!(start.accepts(b"PK") && !start.is_whole());
    }
}
