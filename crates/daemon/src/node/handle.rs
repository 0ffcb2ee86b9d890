//! How the rest of the daemon speaks to the engine.

use podsync_core::{
    DeviceId,
    engine::{Answer, Command, Engine, EngineError, Event, Input, Provider, Want},
};
use podsync_net::Multiaddr;
use tokio::sync::{broadcast, mpsc, oneshot, watch};

use crate::error::Stopped;

/// A message to the loop.
pub(super) enum Message {
    Input(Box<Input>),
    Command {
        command: Box<Command>,
        reply: oneshot::Sender<Result<Answer, EngineError>>,
    },
    Want {
        want: Want,
        progress: watch::Sender<TransferProgress>,
        end: oneshot::Sender<Transferred>,
    },
    Connect {
        device: DeviceId,
        addresses: Vec<Multiaddr>,
        waiter: oneshot::Sender<Result<(), NotReached>>,
    },
    Read(Box<dyn FnOnce(&Engine) + Send>),
}

/// A transfer's progress.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct TransferProgress {
    pub(crate) bytes: u64,
    pub(crate) providers: usize,
}

/// The device doesn't answer at any known address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the device was not reached: check that its daemon runs and its port is open")]
pub(crate) struct NotReached;

/// How a transfer ended, and which providers sent how many bytes.
#[derive(Debug)]
pub(crate) struct Transferred {
    pub(crate) result: Result<(), EngineError>,
    pub(crate) from: Vec<(Provider, u64)>,
}

/// A handle to the engine; clones speak to the same one.
#[derive(Clone)]
pub(crate) struct Node {
    inbox: mpsc::Sender<Message>,
    events: broadcast::Sender<Event>,
}

impl Node {
    pub(super) fn new(inbox: mpsc::Sender<Message>, events: broadcast::Sender<Event>) -> Self {
        Self { inbox, events }
    }

    /// Carries out a command. The answer comes once its changes are on the disk.
    pub(crate) async fn command(
        &self,
        command: Command,
    ) -> Result<Result<Answer, EngineError>, Stopped> {
        let (reply, answer) = oneshot::channel();
        self.send(Message::Command {
            command: Box::new(command),
            reply,
        })
        .await?;
        answer.await.map_err(|_| Stopped)
    }

    /// Tells the engine what happened.
    pub(crate) async fn input(&self, input: Input) -> Result<(), Stopped> {
        self.send(Message::Input(Box::new(input))).await
    }

    /// Starts a transfer. Dropping the receiver of its end cancels it.
    pub(crate) async fn want(
        &self,
        want: Want,
    ) -> Result<
        (
            watch::Receiver<TransferProgress>,
            oneshot::Receiver<Transferred>,
        ),
        Stopped,
    > {
        let (progress, seen) = watch::channel(TransferProgress::default());
        let (end, ended) = oneshot::channel();
        self.send(Message::Want {
            want,
            progress,
            end,
        })
        .await?;
        Ok((seen, ended))
    }

    /// Dials a device now. The result comes when this is awaited, and shows in the list of peers.
    pub(crate) async fn connect(
        &self,
        device: DeviceId,
        addresses: Vec<Multiaddr>,
    ) -> Result<oneshot::Receiver<Result<(), NotReached>>, Stopped> {
        let (waiter, connected) = oneshot::channel();
        self.send(Message::Connect {
            device,
            addresses,
            waiter,
        })
        .await?;
        Ok(connected)
    }

    /// Looks at the engine between two of its steps.
    pub(crate) async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Engine) -> T + Send + 'static,
    ) -> Result<T, Stopped> {
        let (reply, answer) = oneshot::channel();
        let read = Box::new(move |engine: &Engine| {
            // The caller may be gone.
            let _ = reply.send(read(engine));
        });
        self.send(Message::Read(read)).await?;
        answer.await.map_err(|_| Stopped)
    }

    /// Listens to the engine's events from now on.
    pub(crate) fn events(&self) -> broadcast::Receiver<Event> {
        self.events.subscribe()
    }

    async fn send(&self, message: Message) -> Result<(), Stopped> {
        self.inbox.send(message).await.map_err(|_| Stopped)
    }
}
