//! The hub's own server.

use std::net::Ipv4Addr;

use podsync_hub::embedded::Embedded;

use super::{Known, Server, install_tls};

pub(crate) async fn start() -> Server {
    install_tls();
    let folder = tempfile::tempdir().unwrap();
    let listen = (Ipv4Addr::LOCALHOST, 0).into();
    let embedded = Embedded::start(folder.path(), listen).await.unwrap();
    Server {
        settings: embedded.bucket("team-one"),
        other_bucket: "team-two".to_owned(),
        known: Known {
            expired: 403,
            only_new: true,
            anonymous: 403,
            header_checked: true,
            region_checked: false,
            binds_bytes: true,
            ranged: 206,
            lacking: Some(&[]),
            refusal_empties: false,
        },
        _running: Box::new((embedded, folder)),
    }
}
