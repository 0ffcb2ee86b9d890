//! Checks what `npm ci` needs in order to build the page: it installs what the lock file lists, and nothing else.

use std::fs;

use serde_json::{Map, Value};

use crate::root;

const KINDS: [&str; 3] = ["dependencies", "devDependencies", "optionalDependencies"];

fn read(name: &str) -> Value {
    let path = root().join("crates/page/web").join(name);
    serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap()
}

/// The names of what a package depends on.
fn named(package: &Value) -> impl Iterator<Item = &String> {
    KINDS
        .iter()
        .filter_map(|kind| package[kind].as_object())
        .flat_map(Map::keys)
}

/// Whether Node finds a package from a folder: there, or in a folder above.
fn finds(packages: &Map<String, Value>, from: &str, name: &str) -> bool {
    let mut folder = from;
    loop {
        let path = match folder {
            "" => format!("node_modules/{name}"),
            folder => format!("{folder}/node_modules/{name}"),
        };
        if packages.contains_key(&path) {
            return true;
        }
        let Some(above) = folder.rfind("node_modules/") else {
            return false;
        };
        folder = folder[..above].trim_end_matches('/');
    }
}

#[test]
fn the_pages_lock_file_lists_what_is_asked_for() {
    let (asked, lock) = (read("package.json"), read("package-lock.json"));
    for kind in KINDS {
        assert_eq!(lock["packages"][""][kind], asked[kind], "{kind}");
    }
}

#[test]
fn the_pages_lock_file_is_whole() {
    let lock = read("package-lock.json");
    let packages = lock["packages"].as_object().unwrap();
    for (path, package) in packages {
        for name in named(package) {
            assert!(
                finds(packages, path, name),
                "{path} needs {name}, which crates/page/web/package-lock.json hasn't: `npm ci` refuses it"
            );
        }
    }
}
