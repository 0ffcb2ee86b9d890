//! The hub's certificate, read again when its files change: a renewal needs no restart.
//!
//! Files that don't fit each other, as in the middle of a renewal, are refused, and the ones in force stay.

use std::{
    fs,
    path::Path,
    sync::Arc,
    time::{Duration, SystemTime},
};

use axum_server::tls_rustls::RustlsConfig;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use x509_parser::pem::Pem;

use crate::{
    Hub, aside,
    hub::now_ms,
    regular,
    tls::{MAX_PEM_LEN, Tls, TlsError},
};

/// How often the files are looked at.
const LOOK: Duration = Duration::from_secs(10);

/// The certificate in force.
#[derive(Debug, Clone)]
pub struct Certificates {
    files: Tls,
    config: RustlsConfig,
    hub: Arc<Hub>,
    /// Of the files when they were read.
    stamps: [Option<Stamp>; 2],
}

/// Another one means that a file was written.
type Stamp = (SystemTime, u64);

impl Certificates {
    pub fn load(files: Tls, hub: Arc<Hub>) -> Result<Self, TlsError> {
        let stamps = stamps(&files);
        let config = RustlsConfig::from_config(Arc::new(files.read()?));
        let loaded = Self {
            files,
            config,
            hub,
            stamps,
        };
        loaded.note_end();
        Ok(loaded)
    }

    /// The TLS settings for a server. They follow each change.
    pub fn config(&self) -> RustlsConfig {
        self.config.clone()
    }

    /// Reads the files again if they changed, or in any case.
    pub fn reload(&mut self, always: bool) {
        let stamps = stamps(&self.files);
        if !always && stamps == self.stamps {
            return;
        }
        self.stamps = stamps;
        let read = self.files.read();
        let taken = i64::from(read.is_ok());
        self.hub.metrics.certificate_taken.set(taken);
        match read {
            Ok(config) => {
                self.config.reload_from_config(Arc::new(config));
                let file = self.files.certificate.display();
                tracing::info!(%file, "the hub read the certificate again");
                self.note_end();
            }
            Err(error) => {
                tracing::error!(%error, "the hub can't read the certificate and keeps the one before");
            }
        }
    }

    /// Looks at the files every some seconds, until `stop`.
    pub async fn watch(self, stop: CancellationToken) {
        tokio::select! {
            () = stop.cancelled() => {}
            () = self.look_on() => {}
        }
    }

    async fn look_on(self) {
        let files = self.names();
        let mut certificates = self;
        let mut looks = interval(LOOK);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            looks.tick().await;
            let looking = move || {
                certificates.reload(false);
                certificates
            };
            match aside::read(&files, looking).await {
                Ok(same) => certificates = same,
                Err(error) => {
                    tracing::error!(%error, "the hub looks at its certificate no more until it is restarted");
                    return;
                }
            }
        }
    }

    fn names(&self) -> String {
        let (certificate, key) = (&self.files.certificate, &self.files.key);
        format!("{} and {}", certificate.display(), key.display())
    }

    fn note_end(&self) {
        let end = end_of(&self.files.certificate);
        self.hub.metrics.certificate_end.set(end.unwrap_or(0));
        let now = i64::try_from(now_ms() / 1000).unwrap_or(i64::MAX);
        if end.is_some_and(|end| end <= now) {
            let file = self.files.certificate.display();
            tracing::warn!(%file, "the certificate has ended, and devices refuse it: renew it");
        }
    }
}

fn stamps(files: &Tls) -> [Option<Stamp>; 2] {
    [&files.certificate, &files.key].map(|file| {
        let found = fs::metadata(file).ok()?;
        Some((found.modified().ok()?, found.len()))
    })
}

/// When the first certificate of a file ends, in Unix seconds.
fn end_of(file: &Path) -> Option<i64> {
    let bytes = regular::read(file, MAX_PEM_LEN).ok()?;
    let mut all = Pem::iter_from_buffer(&bytes).flatten();
    let first = all.find(|pem| pem.label == "CERTIFICATE")?;
    let certificate = first.parse_x509().ok()?;
    Some(certificate.validity().not_after.timestamp())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Identity, Teams};

    #[test]
    fn the_certificates_end_and_a_refused_one_are_shown() {
        let folder = tempfile::tempdir().unwrap();
        let files = Tls {
            certificate: folder.path().join("tls.crt"),
            key: folder.path().join("tls.key"),
        };
        let write = |year: i32| {
            let mut made = rcgen::CertificateParams::new(["localhost".to_owned()]).unwrap();
            made.not_after = rcgen::date_time_ymd(year, 1, 1);
            let key = rcgen::KeyPair::generate().unwrap();
            let certificate = made.self_signed(&key).unwrap();
            fs::write(&files.certificate, certificate.pem()).unwrap();
            fs::write(&files.key, key.serialize_pem()).unwrap();
        };
        write(2040);
        let hub = Arc::new(Hub::new(Teams::only(Vec::new()), Identity::default()));
        let mut loaded = Certificates::load(files.clone(), hub.clone()).unwrap();
        let shown = || {
            let metrics = &hub.metrics;
            (
                metrics.certificate_end.get(),
                metrics.certificate_taken.get(),
            )
        };
        assert_eq!(shown(), (2_208_988_800, 1));
        fs::write(&files.key, "half a key").unwrap();
        loaded.reload(true);
        assert_eq!(shown(), (2_208_988_800, 0));
        write(2041);
        loaded.reload(true);
        assert_eq!(shown(), (2_240_611_200, 1));
    }
}
