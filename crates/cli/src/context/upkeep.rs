//! A home's daemon, and what keeps it running: this machine's supervisor where a service is installed, or a
//! process in the background.

use std::time::Duration;

use backon::{ConstantBuilder, Retryable};
use podsync_api::{ApiError, Client, ErrorCode, TeamChoice, node};
use podsync_daemon::socket_path;

use super::{
    Context,
    home::{answers, initialised, status_of},
    hosting::start_in_background,
};
use crate::{
    place::default_home,
    service::{self, Service},
};

/// How long a daemon that a supervisor started may take until it answers.
const START_PATIENCE: Duration = Duration::from_secs(20);
const START_POLL: Duration = Duration::from_millis(50);

/// Whether a daemon is of another version, or an upgrade has replaced the program that it runs.
pub(crate) fn is_outdated(status: &node::Status) -> bool {
    if status.version != env!("CARGO_PKG_VERSION") {
        return true;
    }
    let (Some(its), Ok(this)) = (&status.program, std::env::current_exe()) else {
        return false;
    };
    status.replaced && service::is_same(its, &this)
}

impl Context {
    /// The service of the home that is meant, installed or not.
    pub(crate) fn service(&self) -> Result<Service, ApiError> {
        Service::of(&self.home()?, default_home().ok().as_deref())
    }

    /// The state of the running daemon; `None` if no daemon runs.
    pub(crate) async fn status(&self) -> Result<Option<node::Status>, ApiError> {
        status_of(&self.home()?, &self.client()?).await
    }

    /// Waits until the daemon answers that a supervisor started.
    pub(crate) async fn await_daemon(&self) -> Result<node::Status, ApiError> {
        let client = self.client()?;
        let tries = (START_PATIENCE.as_millis() / START_POLL.as_millis()) as usize;
        let policy = ConstantBuilder::default()
            .with_delay(START_POLL)
            .with_max_times(tries);
        let answered = (|| async { answers(&client).await.ok_or(()) }).retry(policy);
        answered.await.map_err(|()| {
            let text = format!(
                "the service was started, and its daemon did not answer within {} s",
                START_PATIENCE.as_secs()
            );
            ApiError::new(ErrorCode::NoDaemon, text).hint("`podsync logs` may say why")
        })
    }

    /// Ends the daemon if one runs, and starts one in the background.
    pub(crate) async fn restart_daemon(&self) -> Result<node::Status, ApiError> {
        let home = self.home()?;
        initialised(&home)?;
        let client = self.client()?;
        if let Some(status) = answers(&client).await {
            self.refuse_other_program(&status)?;
            client.call(&node::Stop {}).await?;
            podsync_daemon::wait_until_free(&home).await?;
        } else {
            podsync_daemon::end_daemon(&home).await?;
        }
        self.start_daemon(&client).await
    }

    /// Starts a daemon that stays.
    pub(super) async fn start_daemon(&self, client: &Client) -> Result<node::Status, ApiError> {
        let service = self.service().ok().filter(Service::is_installed);
        if let Some(service) = service {
            match self.start_service(&service).await {
                Ok(status) => return Ok(status),
                Err(error) => self.printer.warn(format_args!(
                    "the service {} does not start: {}",
                    service.name(),
                    error.message
                )),
            }
        }
        start_in_background(&self.home()?, client, &self.printer).await
    }

    async fn start_service(&self, service: &Service) -> Result<node::Status, ApiError> {
        service.start().await?;
        let status = self.await_daemon().await?;
        self.printer.note(format_args!(
            "Started the service {} (pid {}).",
            service.name(),
            status.pid
        ));
        self.refuse_other_program(&status)?;
        Ok(status)
    }

    /// A service always runs the program that its unit names, even if another program restarts it.
    pub(super) fn refuse_other_program(&self, status: &node::Status) -> Result<(), ApiError> {
        let service = self.service().ok().filter(Service::is_installed);
        let Some(program) = service.and_then(|service| service.program()) else {
            return Ok(());
        };
        let this = service::this_program()?;
        if status.version == env!("CARGO_PKG_VERSION") || service::is_same(&program, &this) {
            return Ok(());
        }
        let text = format!(
            "the service runs podsync {} from {}, and this is podsync {} in {}",
            status.version,
            program.display(),
            env!("CARGO_PKG_VERSION"),
            this.display()
        );
        Err(ApiError::new(ErrorCode::Busy, text)
            .hint("`podsync service install` has the service run this one"))
    }

    fn client(&self) -> Result<Client, ApiError> {
        Client::new(&socket_path(&self.home()?), TeamChoice::Only)
    }
}
