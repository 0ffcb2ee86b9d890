//! Desktop notifications, shown by the system's own program. Without that program they are left out.

use std::{path::Path, process::Stdio, sync::Arc, time::Duration};

use podsync_api::events::{Event, Happened};
use tokio::{
    process::Command,
    time::{Instant, timeout, timeout_at},
};

use super::{Events, Listener};
use crate::tasks::Tasks;

/// How long to collect events into one notification: a newcomer gets the events of a whole team at once.
const GATHER: Duration = Duration::from_millis(500);
/// The shortest time between two notifications.
const EVERY: Duration = Duration::from_secs(5);
/// The longest that the notification program may run.
const LIMIT: Duration = Duration::from_secs(5);
/// The most characters of a notification.
const MAX_CHARS: usize = 300;

/// Shows notifications.
#[derive(Clone)]
pub(crate) struct Notifier {
    pub(crate) events: Events,
    pub(crate) tasks: Tasks,
}

/// Whether this process has a desktop to show notifications on.
pub(crate) fn has_desktop() -> bool {
    let is_set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    if is_set("CI") {
        return false;
    }
    if cfg!(target_os = "macos") {
        return true;
    }
    is_set("DBUS_SESSION_BUS_ADDRESS")
        || std::env::var_os("XDG_RUNTIME_DIR")
            .is_some_and(|folder| Path::new(&folder).join("bus").exists())
}

impl Notifier {
    /// Shows events until the daemon stops, or until showing one turns out to be impossible.
    pub(crate) async fn keep_notifying(self) {
        let mut events = self.events.listen();
        let stop = self.tasks.stopping().clone();
        let notifying = async {
            loop {
                let told = gather(&mut events).await;
                if let Err(error) = show(&told).await {
                    tracing::info!(%error, "no desktop notifications");
                    return;
                }
                tokio::time::sleep(EVERY).await;
            }
        };
        let _: Option<()> = stop.run_until_cancelled(notifying).await;
    }
}

/// The text for an event that is worth a notification.
fn words(event: &Event) -> Option<String> {
    let text = match &event.what {
        Happened::Shared(it) if !it.this_device && it.message.is_empty() => {
            format!("{} shared {}", it.author, it.reference)
        }
        Happened::Shared(it) if !it.this_device => {
            format!("{} shared {}: {}", it.author, it.reference, it.message)
        }
        Happened::Joined(it) if !it.this_device => format!("{} joined {}", it.name, it.team),
        Happened::Trouble(it) => it.message.clone(),
        _ => return None,
    };
    // The text must stay on one line, and nothing in it may be read as markup.
    let plain = text.chars().map(|c| if c.is_control() { ' ' } else { c });
    let plain: String = plain
        .filter(|c| !"<>&".contains(*c))
        .take(MAX_CHARS)
        .collect();
    Some(plain)
}

/// Joins the next lines into one text.
async fn gather(events: &mut Listener) -> String {
    let first = loop {
        let event: Arc<Event> = events.next().await;
        if let Some(text) = words(&event) {
            break text;
        }
    };
    let until = Instant::now() + GATHER;
    let mut more = 0;
    while let Ok(event) = timeout_at(until, events.next()).await {
        more += usize::from(words(&event).is_some());
    }
    match more {
        0 => first,
        more => format!("{first}, and {more} more"),
    }
}

async fn show(text: &str) -> std::io::Result<()> {
    let mut program = if cfg!(target_os = "macos") {
        let mut osascript = Command::new("osascript");
        // The text is an argument and never part of the script.
        osascript.args([
            "-e",
            "on run argv",
            "-e",
            "display notification (item 1 of argv) with title \"podsync\"",
            "-e",
            "end run",
            "--",
            text,
        ]);
        osascript
    } else {
        let mut notify_send = Command::new("notify-send");
        notify_send.args(["-a", "podsync", "--", "podsync", text]);
        notify_send
    };
    program
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true);
    let mut child = program.spawn()?;
    // Nobody can know whether the user saw it, and it doesn't matter.
    if let Ok(Ok(status)) = timeout(LIMIT, child.wait()).await
        && !status.success()
    {
        tracing::debug!(%status, "a notification was not shown");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use podsync_api::{
        ErrorCode,
        events::{Missed, Trouble},
    };

    use super::*;

    fn event(what: Happened) -> Event {
        Event {
            id: None,
            time_ms: 0,
            what,
        }
    }

    #[test]
    fn what_is_shown_is_short_plain_and_on_one_line() {
        assert_eq!(words(&event(Happened::Missed(Missed {}))), None);
        let trouble = |message: &str| {
            words(&event(Happened::Trouble(Trouble {
                team: None,
                pod: None,
                reference: None,
                code: ErrorCode::Disk,
                message: message.to_owned(),
                hint: None,
            })))
        };
        let marked = trouble("<b>full</b>\n\u{1b}[31m & more").unwrap();
        assert_eq!(marked, "bfull/b  [31m  more");
        assert_eq!(trouble(&"x".repeat(9999)).unwrap().len(), MAX_CHARS);
    }

    #[tokio::test]
    async fn what_happens_together_is_told_together() {
        let events = Events::new();
        let mut heard = events.listen();
        for at in 0..3 {
            events.tell(Happened::Trouble(Trouble {
                team: None,
                pod: None,
                reference: None,
                code: ErrorCode::Disk,
                message: format!("trouble {at}"),
                hint: None,
            }));
        }
        assert_eq!(gather(&mut heard).await, "trouble 0, and 2 more");
    }
}
