//! Checks the documentation: tests that it names exist, and it covers all calls and codes.

use std::{collections::BTreeSet, fs, path::PathBuf};

use crate::root;

fn page(name: &str) -> String {
    fs::read_to_string(root().join("docs").join(name)).unwrap()
}

/// The text of every Rust file, and of the plugin's Python, below these folders.
fn sources(folders: &[&str]) -> String {
    let mut text = String::new();
    let mut left: Vec<PathBuf> = folders.iter().map(|folder| root().join(folder)).collect();
    while let Some(folder) = left.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                left.push(path);
            } else if path
                .extension()
                .is_some_and(|kind| kind == "rs" || kind == "py")
            {
                text.push_str(&fs::read_to_string(path).unwrap());
            }
        }
    }
    text
}

/// What stands in backticks and looks like the name of a test.
fn named_tests(page: &str) -> impl Iterator<Item = &str> {
    page.split('`').skip(1).step_by(2).filter(|word| {
        word.matches('_').count() >= 1
            && word
                .bytes()
                .all(|byte| byte.is_ascii_lowercase() || byte == b'_')
    })
}

#[test]
fn every_test_that_a_page_names_exists() {
    let sources = sources(&["crates", "fuzz", "tests", "xtask"]);
    for name in ["testing.md", "architecture.md"] {
        let page = page(name);
        // Lints and settings look the same; they are said with their values or in these lists.
        for test in named_tests(&page) {
            let there = sources.contains(&format!("fn {test}("))
                || sources.contains(&format!("def {test}("))
                || sources.contains(&format!("fn {test}<"))
                || [
                    "unwrap_used",
                    "await_holding_lock",
                    "unsafe_code",
                    "end_to_end",
                ]
                .contains(&test);
            assert!(there, "docs/{name} names {test}, which isn't there");
        }
    }
}

/// The rows of the table of failures each name a test that there is.
#[test]
fn every_failure_that_operations_lists_has_a_test() {
    let sources = sources(&["crates", "tests"]);
    let page = page("operations.md");
    let table = page
        .split("## What fails, and how it is told")
        .nth(1)
        .unwrap();
    let table = table.split("\n## ").next().unwrap();
    let rows: Vec<_> = table
        .lines()
        .filter(|line| line.starts_with("| ") && !line.starts_with("| ---"))
        .skip(1)
        .collect();
    assert!(rows.len() >= 11, "{} rows", rows.len());
    for row in rows {
        let test = named_tests(row).last();
        let there = test.is_some_and(|test| sources.contains(&format!("fn {test}(")));
        assert!(there, "no test that there is in: {row}");
    }
}

/// The rows of the table of bad input each name a test.
#[test]
fn every_kind_of_bad_input_has_a_test() {
    let page = page("testing.md");
    let table = page.split("## Bad input").nth(1).unwrap();
    let table = table.split("\n## ").next().unwrap();
    let rows: Vec<_> = table
        .lines()
        .filter(|line| line.starts_with("| ") && !line.starts_with("| ---"))
        .skip(1)
        .collect();
    assert!(rows.len() > 25, "{} rows", rows.len());
    for row in rows {
        let tests = row.split(" | ").nth(1).unwrap_or_default();
        assert!(named_tests(tests).next().is_some(), "{row}");
    }
}

/// The browser tests make the page's pictures with `PODSYNC_UPDATE=1`, by the names `VIEW-LOOK.png`.
#[test]
fn every_picture_that_a_page_shows_is_there_and_made_by_a_test() {
    let views = fs::read_to_string(root().join("tests/tests/end_to_end/page/views.rs")).unwrap();
    let mut shown = BTreeSet::new();
    for entry in fs::read_dir(root().join("docs")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|kind| kind != "md") {
            continue;
        }
        let text = fs::read_to_string(&path).unwrap();
        let names = text
            .split("](images/")
            .skip(1)
            .filter_map(|rest| rest.split(')').next());
        shown.extend(names.map(str::to_owned));
    }
    assert!(shown.len() >= 5, "{shown:?}");
    for name in &shown {
        let picture = fs::read(root().join("docs/images").join(name)).unwrap_or_default();
        assert!(
            picture.starts_with(b"\x89PNG"),
            "docs/images has no picture {name}: run `PODSYNC_UPDATE=1 cargo test --test end_to_end page::views`"
        );
        let made = name
            .strip_suffix(".png")
            .and_then(|name| name.rsplit_once('-'));
        let (view, look) = made.unwrap();
        for part in [view, look] {
            let quoted = format!("\"{part}\"");
            assert!(views.contains(&quoted), "no test makes {name}");
        }
    }
    for entry in fs::read_dir(root().join("docs/images")).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        assert!(shown.contains(&name), "no page shows docs/images/{name}");
    }
}

#[test]
fn every_call_is_in_the_control_apis_page() {
    let document = page("control-openapi.json");
    let page = page("control-api.md");
    let sources = sources(&["crates/api/src"]);
    let mut calls = 0;
    for call in sources.split("\ncall!(").skip(1) {
        let call = call.split(");").next().unwrap();
        let (request, rest) = call.split_once(" => ").unwrap();
        let path = rest.split('"').nth(1).unwrap();
        let scope = if rest.contains(", Team,") {
            "teams/{team}/"
        } else {
            ""
        };
        let row = format!("| `/v1/{scope}{path}` | `{request}` |");
        assert!(page.contains(&row), "no row {row}");
        let path = format!("\"/v1/{scope}{path}\"");
        assert!(
            document.contains(&path),
            "docs/control-openapi.json has no {path}: list the call in crates/api/src/openapi.rs"
        );
        calls += 1;
    }
    assert!(calls > 15, "{calls} calls");
}

/// `PODSYNC_UPDATE=1` writes the document anew.
#[test]
fn the_control_apis_document_is_what_the_calls_say() {
    let path = root().join("docs/control-openapi.json");
    let said = podsync_api::openapi::document().to_pretty_json().unwrap() + "\n";
    if std::env::var_os("PODSYNC_UPDATE").is_some() {
        fs::write(&path, &said).unwrap();
    }
    let kept = fs::read_to_string(&path).unwrap_or_default();
    assert!(
        kept == said,
        "docs/control-openapi.json is old: run this test with PODSYNC_UPDATE=1, then `npm run types` in crates/page/web"
    );
}

#[test]
fn every_shape_is_in_the_control_apis_page() {
    let page = page("control-api.md");
    let shapes = page.split("## Shapes").nth(1).unwrap();
    let shapes = shapes.split("\n## ").next().unwrap();
    let files = [
        "contents",
        "disk",
        "events",
        "follow",
        "node",
        "page",
        "pods",
        "retention",
        "team",
    ];
    let calls = files.map(|file| {
        fs::read_to_string(root().join("crates/api/src").join(format!("{file}.rs"))).unwrap()
    });
    for shape in calls.concat().split("pub struct ").skip(1) {
        let name = shape.split([' ', '(', '<']).next().unwrap();
        let row = shapes.lines().find(|line| {
            let names = line.split(" | ").next().unwrap_or_default();
            names.contains(&format!("`{name}`"))
        });
        let row = row.unwrap_or_else(|| panic!("no shape {name}"));
        let fields = shape.split('}').next().unwrap().lines();
        for field in fields.filter_map(|line| line.strip_prefix("    pub ")) {
            let field = field.split(':').next().unwrap();
            assert!(
                row.contains(&format!("`{field}`")),
                "{name} has no {field} in the page"
            );
        }
    }
}

#[test]
fn every_exit_code_is_told() {
    let errors = fs::read_to_string(root().join("crates/api/src/error.rs")).unwrap();
    let codes = errors.split("fn exit_code").nth(1).unwrap();
    let codes = codes.split("fn http_status").next().unwrap();
    let codes = codes
        .lines()
        .filter_map(|line| line.trim().strip_prefix("Self::"));
    for line in codes {
        let (_, code) = line.trim_end_matches(',').split_once(" => ").unwrap();
        for name in ["control-api.md", "operations.md"] {
            assert!(
                page(name).contains(&format!("| {code} |")),
                "docs/{name} has no exit code {code}"
            );
        }
    }
}

#[test]
fn the_book_has_every_page() {
    let summary = page("SUMMARY.md");
    for entry in fs::read_dir(root().join("docs")).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        if name.ends_with(".md") && name != "SUMMARY.md" {
            assert!(
                summary.contains(&format!("({name})")),
                "{name} is not in the book"
            );
        }
    }
    for link in summary.split("](").skip(1) {
        let link = link.split(')').next().unwrap();
        assert!(
            root().join("docs").join(link).is_file(),
            "{link} isn't there"
        );
    }
}

#[test]
fn the_examples_of_a_hook_are_the_files() {
    let page = page("localstack.md");
    for file in [
        "compose.yaml",
        "ready.d/load-pod.sh",
        "sidecar/compose.yaml",
    ] {
        let text = fs::read_to_string(root().join("config").join(file)).unwrap();
        assert!(
            page.contains(&text),
            "docs/localstack.md shows another config/{file}"
        );
    }
}
