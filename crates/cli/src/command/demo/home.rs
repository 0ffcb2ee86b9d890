//! One of the demo's homes: a folder and a daemon as a child process.

use std::{
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use backon::{ConstantBuilder, Retryable};
use podsync_api::{ApiError, Client, ErrorCode, TeamChoice, node, pods, team};
use podsync_daemon::socket_path;

use super::{POD, WAIT_S, local, member, save, state::State};

pub(super) struct DemoHome {
    name: &'static str,
    client: Client,
    daemon: Daemon,
    address: String,
}

impl DemoHome {
    /// Makes a home under `folder` and runs its daemon, which always tries `peers`.
    pub(super) async fn start(
        folder: &Path,
        name: &'static str,
        peers: &[&Self],
    ) -> Result<Self, ApiError> {
        let home = folder.join(name);
        podsync_daemon::init(&home)?;
        let program = std::env::current_exe().map_err(local)?;
        let log = std::fs::File::create(folder.join(format!("{name}.log"))).map_err(local)?;
        let mut command = Command::new(program);
        command.arg("daemon").arg("--home").arg(&home);
        command.args(["--listen", "127.0.0.1:0", "--no-mdns"]);
        for peer in peers {
            command.args(["--peer", &peer.address]);
        }
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log);
        // A demo must not pick up the settings of the person who runs it.
        let settings = std::env::vars_os().map(|(name, _)| name);
        for setting in settings.filter(|name| name.as_encoded_bytes().starts_with(b"PODSYNC_")) {
            command.env_remove(setting);
        }
        let daemon = Daemon {
            child: command.spawn().map_err(local)?,
            home: home.clone(),
        };
        let client = Client::new(&socket_path(&home), TeamChoice::Only)?;
        let policy = ConstantBuilder::default()
            .with_delay(Duration::from_millis(20))
            .with_max_times(1000);
        let status = (|| client.call(&node::GetStatus {})).retry(policy).await?;
        let address = status
            .listening
            .into_iter()
            .find(|address| address.contains("/tcp/"))
            .ok_or_else(|| {
                ApiError::new(
                    ErrorCode::Internal,
                    format!("{name}'s daemon listens nowhere"),
                )
            })?;
        Ok(Self {
            name,
            client,
            daemon,
            address,
        })
    }

    pub(super) fn name(&self) -> &'static str {
        self.name
    }

    pub(super) fn client(&self) -> &Client {
        &self.client
    }

    /// A ticket for as many publishers.
    pub(super) async fn invite(&self, uses: u32) -> Result<String, ApiError> {
        let invite = team::Invite {
            role: team::Role::Publisher,
            expires_s: 3600,
            uses,
        };
        Ok(self.client.call(&invite).await?.ticket)
    }

    pub(super) async fn join(&self, ticket: &str) -> Result<(), ApiError> {
        let join = team::Join {
            ticket: ticket.to_owned(),
            member: member(self.name)?,
            label: "laptop".to_owned(),
            hub: None,
        };
        self.client.call(&join).await.map(drop)
    }

    /// Saves and shares the state.
    pub(super) async fn save(&self, state: &State, message: &str) -> Result<pods::Saved, ApiError> {
        let from = pods::StateSource::Path(state.path().to_owned());
        self.client.call(&save(from, POD, message)?).await
    }

    /// Pulls a version; `progress` hears the bytes pulled so far.
    pub(super) async fn pull(
        &self,
        reference: &str,
        mut progress: impl FnMut(u64),
    ) -> Result<pods::Pulled, ApiError> {
        let request = pods::Pull {
            reference: reference.to_owned(),
            wait_s: WAIT_S,
            until_shared: true,
            sources: pods::Sources::Any,
        };
        self.client
            .watch(&request, |seen| {
                if seen.stage == podsync_api::Stage::Pulling {
                    progress(seen.done);
                }
            })
            .await
    }

    pub(super) async fn export(&self, reference: &str, to: &Path) -> Result<(), ApiError> {
        let export = pods::Export {
            reference: reference.to_owned(),
            to: to.to_owned(),
            wait_s: WAIT_S,
            until_shared: true,
            sources: pods::Sources::Any,
        };
        self.client.call(&export).await.map(drop)
    }

    /// `kill -9`.
    pub(super) fn kill(self) {
        drop(self.daemon);
    }

    /// Asks the daemon to finish and waits until it has.
    pub(super) async fn stop(mut self) {
        if self.client.call(&node::Stop {}).await.is_ok() {
            let wait = tokio::task::spawn_blocking(move || self.daemon.child.wait());
            let _ = wait.await;
        }
    }
}

/// A child that never outlives its handle.
struct Daemon {
    child: Child,
    home: PathBuf,
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        tracing::debug!(home = %self.home.display(), "ended");
    }
}

/// Whether a LocalStack that can be saved answers there.
pub(super) async fn localstack_answers(endpoint: &str) -> bool {
    podsync_daemon::instance_can_be_saved(endpoint, crate::arguments::auth_token().as_ref()).await
}
