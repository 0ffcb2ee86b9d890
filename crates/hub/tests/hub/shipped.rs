//! The files in `config/` for running a hub: the operators' tools must accept them.

use std::{path::Path, process::Command};

const CONFIG: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../config");
/// Of 10; what `systemd-analyze security` calls OK begins below 5.
const MOST_EXPOSED: f64 = 2.0;

fn read(file: &str) -> String {
    std::fs::read_to_string(Path::new(CONFIG).join(file)).unwrap()
}

#[test]
fn the_systemd_unit_is_one_and_exposes_little() {
    if Command::new("systemd-analyze")
        .arg("--version")
        .output()
        .is_err()
    {
        eprintln!("NOT RUN: no systemd-analyze here");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let unit = folder.path().join("podsync-hub.service");
    let text = read("systemd/podsync-hub.service");
    // Where it will be installed isn't where a test finds it.
    let here = text.replace("/usr/local/bin/podsync-hub", "/bin/true");
    assert_ne!(here, text);
    std::fs::write(&unit, here).unwrap();
    let analyze = |arguments: &[&str]| {
        let out = Command::new("systemd-analyze")
            .args(arguments)
            .arg(&unit)
            .output()
            .unwrap();
        let text = [out.stdout, out.stderr].concat();
        (out.status.success(), String::from_utf8(text).unwrap())
    };
    let (fine, said) = analyze(&["verify"]);
    assert!(fine && !said.contains("podsync-hub.service"), "{said}");
    let (_, said) = analyze(&["security", "--offline=true", "--no-pager"]);
    let level = said
        .split_once("podsync-hub.service: ")
        .and_then(|(_, rest)| rest.split(' ').next()?.parse::<f64>().ok());
    assert!(level.is_some_and(|level| level <= MOST_EXPOSED), "{said}");
}

#[test]
fn the_manifests_settings_are_settings() {
    let text = read("kubernetes/hub.yaml");
    let (_, rest) = text.split_once("hub.toml: |\n").unwrap();
    let lines = rest
        .lines()
        .take_while(|line| line.is_empty() || line.starts_with("    "));
    let settings: String = lines
        .map(|line| format!("{}\n", line.trim_start()))
        .collect();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("hub.toml");
    std::fs::write(&file, settings).unwrap();
    let config = podsync_hub::config::Config::load(&file).unwrap();
    assert_eq!(config.authorities(), ["hub.example.com"]);
    assert!(config.witness_key.is_some() && config.metrics_token.is_some());
    for part in [
        "replicas: 2",
        "runAsNonRoot: true",
        "readOnlyRootFilesystem: true",
        "path: /health/ready",
    ] {
        assert!(text.contains(part), "{part}");
    }
}

#[test]
fn the_image_has_no_shell_and_no_root() {
    let text = read("Containerfile");
    let (_, last) = text.rsplit_once("\nFROM ").unwrap();
    assert!(last.starts_with("gcr.io/distroless/"), "{last}");
    assert!(last.contains("USER 65532"), "{last}");
    assert!(!last.contains("\nRUN "), "{last}");
}
