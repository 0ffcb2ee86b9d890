//! Servers that somebody else started and described, as `cargo xtask s3` does: Ceph's RGW, OpenStack's Swift,
//! `rclone serve s3`.

use podsync_hub::{
    abilities::Ability,
    s3::{Addressing, Credentials, S3Settings},
};
use serde::Deserialize;

use super::{Known, Server, install_tls};

/// Names the file of a description.
pub(crate) const VARIABLE: &str = "PODSYNC_TEST_S3";

#[derive(Deserialize)]
struct Description {
    name: String,
    endpoint: String,
    region: String,
    access_key: String,
    secret_key: String,
}

pub(crate) fn find() -> Option<Server> {
    let file = std::env::var_os(VARIABLE)?;
    install_tls();
    let described: Description = serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap();
    let number: u64 = rand::random();
    Some(Server {
        settings: S3Settings {
            endpoint: Some(described.endpoint.parse().unwrap()),
            public_endpoint: None,
            region: described.region,
            bucket: format!("podsync-{number:016x}"),
            addressing: Addressing::Path,
            known: false,
            credentials: Credentials::Static {
                access_key: described.access_key,
                secret_key: described.secret_key,
            },
        },
        other_bucket: format!("podsync-other-{number:016x}"),
        known: known(&described.name),
        _running: Box::new(()),
    })
}

fn known(name: &str) -> Known {
    let as_aws = Known {
        expired: 403,
        only_new: true,
        anonymous: 403,
        header_checked: true,
        region_checked: false,
        binds_bytes: true,
        ranged: 206,
        lacking: Some(&[]),
        refusal_empties: false,
    };
    match name {
        "rgw" => Known {
            binds_bytes: false,
            lacking: Some(&[
                Ability::BindsBytes,
                Ability::TellsChecksum,
                Ability::Hardened,
            ]),
            ..as_aws
        },
        "swift" => Known {
            anonymous: 400,
            only_new: false,
            region_checked: true,
            binds_bytes: false,
            lacking: Some(&[
                Ability::BindsBytes,
                Ability::TellsChecksum,
                Ability::OnlyNew,
                Ability::Hardened,
            ]),
            ..as_aws
        },
        "garage" => Known {
            expired: 400,
            only_new: false,
            region_checked: true,
            lacking: None,
            ..as_aws
        },
        "rclone" => Known {
            expired: 400,
            anonymous: 400,
            only_new: false,
            binds_bytes: false,
            ranged: 200,
            lacking: Some(&[
                Ability::Ranges,
                Ability::BindsBytes,
                Ability::TellsChecksum,
                Ability::OnlyNew,
                Ability::Hardened,
            ]),
            ..as_aws
        },
        other => panic!("nobody wrote down what {other} does otherwise than AWS"),
    }
}
