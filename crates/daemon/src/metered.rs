//! Asks NetworkManager whether this machine's connection is metered. On a metered one, only fetches that people ask
//! for are made.

use std::{
    process::Stdio,
    time::{Duration, Instant},
};

use tokio::{process::Command, sync::Mutex};

/// How long an answer is cached: connections change seldom.
const FRESH: Duration = Duration::from_secs(60);
/// The longest wait for NetworkManager, which answers at once.
const PATIENCE: Duration = Duration::from_secs(2);

/// Asks NetworkManager and caches the answer.
#[derive(Debug, Default)]
pub(crate) struct Metered {
    heard: Mutex<Option<(Instant, bool)>>,
}

impl Metered {
    /// Whether the connection is metered. False if nothing on this machine knows.
    pub(crate) async fn is_metered(&self) -> bool {
        let mut heard = self.heard.lock().await;
        if let Some((when, metered)) = *heard
            && when.elapsed() < FRESH
        {
            return metered;
        }
        let metered = cfg!(target_os = "linux") && ask().await.is_some_and(|said| means_yes(&said));
        *heard = Some((Instant::now(), metered));
        metered
    }
}

async fn ask() -> Option<String> {
    const MANAGER: &str = "org.freedesktop.NetworkManager";
    let asked = Command::new("busctl")
        .args(["--system", "--auto-start", "no", "get-property", MANAGER])
        .args(["/org/freedesktop/NetworkManager", MANAGER, "Metered"])
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .output();
    let said = tokio::time::timeout(PATIENCE, asked).await.ok()?.ok()?;
    said.status
        .success()
        .then(|| String::from_utf8_lossy(&said.stdout).into_owned())
}

/// `NMMetered`: 1 is yes, 3 is guessed yes.
fn means_yes(said: &str) -> bool {
    matches!(said.trim(), "u 1" | "u 3")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_yes_is_one() {
        for (said, means) in [
            ("u 1\n", true),
            ("u 3", true),
            ("u 2", false),
            ("u 4", false),
            ("u 0", false),
            ("", false),
        ] {
            assert_eq!(means_yes(said), means, "{said}");
        }
    }
}
