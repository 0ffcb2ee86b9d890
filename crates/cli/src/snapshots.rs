//! What people see at 80 and at 120 columns, kept in files beside this one.
//!
//! `PODSYNC_BLESS=1 cargo test -p podsync snapshots` writes them anew.

use std::{fs, path::Path, time::SystemTime};

use clap::CommandFactory;
use podsync_api::{disk, node, pods, team};
use serde_json::json;

use crate::{
    command::{
        dashboard::{self, Dashboard, TeamNow},
        du, list, status,
        team::membership,
    },
    dispatch::Arguments,
    help,
    output::terminal::TEST_WIDTH,
};

/// Help is no wider than this, whatever the terminal.
const MAX_HELP_WIDTH: usize = 100;
const HOUR_MS: u64 = 3_600_000;
const DEVICE: &str = "12D3KooWMQD1kdRGK5ZNoKecbvXwTjbWwYx6ktG8E2hVLz3jsW2M";
const LONG: &str = "everything that the payments team needs to reproduce the dead letters of Tuesday, with the queue";

fn ago(ms: u64) -> u64 {
    let now = SystemTime::UNIX_EPOCH.elapsed().unwrap();
    u64::try_from(now.as_millis()).unwrap() - ms
}

/// As a daemon would write it.
fn read<T: serde::de::DeserializeOwned>(value: serde_json::Value) -> T {
    serde_json::from_value(value).unwrap()
}

fn version(reference: &str, author: &str, message: &str, hours: u64) -> pods::Version {
    read(json!({
        "reference": reference, "id": "ab".repeat(32), "parents": [], "number": 3, "author": author, "message": message,
        "created_ms": ago(hours * HOUR_MS), "state_len": 12_345_678, "services": ["s3"], "emulator": null,
        "tags": [], "tip": true, "held": true,
    }))
}

fn pods() -> Vec<pods::Pod> {
    let tips = [
        ("orders", version("orders:3", "alice", LONG, 3)),
        (
            "billing-of-the-second-quarter",
            version(
                "billing-of-the-second-quarter:12@robert",
                "robert",
                "small",
                50,
            ),
        ),
    ];
    tips.map(|(name, tip)| {
        read(json!({ "name": name, "tips": [tip], "versions": 3, "private": 1 }))
    })
    .into()
}

fn members() -> Vec<team::Member> {
    let member = |name: &str, this: bool| {
        read(json!({
            "member": name, "label": "laptop-of-the-office", "role": "publisher", "device": DEVICE,
            "this_device": this, "connected": true, "robot": false,
        }))
    };
    vec![member("bob", true), member("alice", false)]
}

fn peers() -> Vec<node::Peer> {
    vec![read(json!({
        "device": DEVICE, "name": "alice/laptop", "connected": true, "heard_ms": ago(2 * HOUR_MS),
        "address": "/ip4/192.168.100.120/tcp/7637", "round_trip_us": 1234, "sent": 1_200_000_000,
        "received": 34_000,
    }))]
}

fn usage() -> disk::Usage {
    let version = |reference: &str, evictable: bool| {
        json!({ "reference": reference, "own": 1_000_000, "shared": 5_000_000, "evictable": evictable,
                "pinned": !evictable, "last_used_ms": ago(5 * HOUR_MS), "elsewhere": ["alice/laptop"] })
    };
    read(json!({
        "pods": [{ "team": "payments", "pod": "orders", "own": 7_000_000, "shared": 0, "evictable": 1_000_000,
                   "versions": [version("orders:1", true), version("orders:2", false)] }],
        "held": 7_000_000, "evictable": 1_000_000, "free": 900_000_000_000_u64, "budget": null,
    }))
}

fn status() -> node::Status {
    read(json!({
        "version": "0.1.0", "pid": 4242, "home": "/home/bob/.local/share/podsync", "device": DEVICE,
        "transient": false, "listening": ["/ip4/192.168.100.120/tcp/7637"],
        "teams": [{ "id": "ab".repeat(32), "name": "payments", "role": "publisher", "members": 3, "admins": 1,
                    "pods": 2, "connected": 2, "heard_ms": ago(HOUR_MS), "quarantined": [],
                    "hub": { "url": "https://hub.example", "heard_ms": ago(HOUR_MS), "trouble": null,
                             "waiting": 2, "uploading": null } }],
        "peers_connected": 2, "paused": {}, "limit_up": 5_000_000, "limit_down": 0, "metered": true,
        "bytes_held": 7_000_000, "warnings": [],
    }))
}

fn dashboard() -> Dashboard {
    let team = TeamNow {
        name: "payments".to_owned(),
        you: Some("bob/laptop".to_owned()),
        members: 3,
        admins: 1,
        connected: 2,
        pods: 2,
        new: vec![version("orders:3", "alice", LONG, 3)],
        waiting: vec!["billing:+1 is on this machine only".to_owned()],
    };
    let mut dashboard = Dashboard {
        last_look_ms: Some(ago(26 * HOUR_MS)),
        daemon: "daemon running, pid 4242".to_owned(),
        teams: vec![team],
        wrong: vec!["payments has one admin".to_owned()],
        next: String::new(),
    };
    dashboard.next = dashboard::next(&dashboard);
    dashboard
}

fn joined() -> team::Joined {
    read(json!({
        "team": "ab".repeat(32), "name": "payments", "role": "publisher", "you": "bob/laptop", "members": 3,
        "newest": version("orders:1", "alice", "first", 3),
    }))
}

fn screens(width: u16) -> String {
    let width = usize::from(width).min(MAX_HELP_WIDTH);
    let mut program = help::laid_out(Arguments::command().term_width(width));
    program.build();
    let load = program.find_subcommand("load").cloned();
    let load = load.map(|mut load| load.render_help().to_string());
    let screens = [
        ("podsync", dashboard::words(&dashboard())),
        ("podsync -h", program.render_help().to_string()),
        ("podsync load -h", load.unwrap_or_default()),
        ("podsync team join", membership::welcome(&joined())),
        (
            "podsync team members",
            membership::listed(&members(), false),
        ),
        ("podsync list", list::newest(&pods())),
        ("podsync peers", status::connections(&peers(), false)),
        ("podsync status", status::words(&status(), false)),
        ("podsync du", du::words(&usage(), false)),
        ("podsync du orders", du::words(&usage(), true)),
    ];
    let text = screens.map(|(command, shown)| format!("$ {command}\n{}\n", shown.trim_end()));
    text.join("\n")
}

/// A name of the greatest length, which has its end in it.
fn long(name: &str) -> String {
    format!("{name:-<62}-z")
}

/// Tables of what has long names, each with its number of columns.
fn long_tables() -> Vec<(&'static str, usize, String)> {
    let (pod, person) = (long("orders"), long("alice"));
    let versions = [version(&format!("{pod}:12"), &person, LONG, 3)];
    let pods: [pods::Pod; 1] = [read(
        json!({ "name": pod, "tips": versions, "versions": 3, "private": 1 }),
    )];
    let mut members = members();
    members[0].member = person.parse().unwrap();
    members[0].label = long("laptop");
    let mut peers = peers();
    peers[0].name = Some(format!("{person}/{}", long("laptop")));
    let mut usage = usage();
    usage.pods[0].pod = pod.parse().unwrap();
    usage.pods[0].versions[0].reference = format!("{pod}:12");
    vec![
        ("versions", 6, list::all(&versions)),
        ("list", 6, list::newest(&pods)),
        ("team members", 5, membership::listed(&members, false)),
        ("peers", 7, status::connections(&peers, false)),
        ("du", 5, du::words(&usage, false)),
        ("du POD", 5, du::words(&usage, true)),
    ]
}

#[test]
fn long_names_fit_80_columns_and_take_no_column_away() {
    TEST_WIDTH.set(Some(80));
    for (command, columns, shown) in long_tables() {
        for line in shown.lines() {
            assert!(line.chars().count() <= 80, "{command}: {line}");
        }
        let head = shown.lines().next().unwrap();
        let titles = head.split("  ").filter(|title| !title.trim().is_empty());
        assert_eq!(titles.count(), columns, "{command}: {head}");
    }
    let mut status = status();
    status.teams[0].name = long("payments").parse().unwrap();
    status.listening = vec![format!("/ip4/192.168.100.120/tcp/7637/p2p/{DEVICE}")];
    for line in status::words(&status, false).lines() {
        assert!(line.chars().count() <= 80, "{line}");
    }
    let whole = status::words(&status, true);
    assert!(whole.contains(&status.listening[0]), "{whole}");
}

#[test]
fn a_reference_of_ordinary_length_stays_whole_beside_its_tag() {
    TEST_WIDTH.set(Some(80));
    let reference = "customer-orders-2026:1";
    let mut version = version(reference, "alexandra", LONG, 3);
    version.tags = vec!["before-migration".parse().unwrap()];
    let shown = list::all(std::slice::from_ref(&version));
    assert!(
        shown.contains(reference) && shown.contains("(bef"),
        "{shown}"
    );
}

/// A shown id can be copied, and so can an address.
#[test]
fn what_is_wanted_whole_is_whole_at_80_columns() {
    TEST_WIDTH.set(Some(80));
    for shown in [
        membership::listed(&members(), true),
        status::connections(&peers(), true),
    ] {
        assert!(shown.contains(DEVICE), "{shown}");
        assert!(
            shown.lines().all(|line| line.chars().count() <= 80),
            "{shown}"
        );
    }
}

#[test]
fn screens_are_as_kept_and_fit_the_terminal() {
    for width in [80, 120] {
        TEST_WIDTH.set(Some(width));
        let shown = screens(width);
        for line in shown.lines() {
            assert!(line.chars().count() <= width.into(), "{width}: {line}");
        }
        let file = format!("src/snapshots/{width}.txt");
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
        if std::env::var_os("PODSYNC_BLESS").is_some() {
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(&file, &shown).unwrap();
        }
        let kept = fs::read_to_string(&file).unwrap_or_default();
        assert!(
            kept == shown,
            "{} is not current: PODSYNC_BLESS=1 cargo test -p podsync snapshots\n{shown}",
            file.display()
        );
    }
}
