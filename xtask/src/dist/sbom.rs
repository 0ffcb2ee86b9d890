//! The bill of materials of a program, as CycloneDX 1.5 in JSON. It is written here: `cargo cyclonedx` writes into
//! the sources' folders, and a version of a crate is all that it knows more than cargo's metadata.

use anyhow::Result;
use duct::cmd;
use serde_json::{Value, json};

use super::{
    Release,
    dependencies::{Crate, Tree},
};

/// `hash` is the program's.
pub(crate) fn document(release: &Release, tree: &Tree<'_>, hash: &str) -> Result<String> {
    let time = format!("@{}", release.time);
    let time = cmd!("date", "--utc", "--date", time, "+%Y-%m-%dT%H:%M:%SZ").read()?;
    let mut program = component(tree.root, "application");
    program["hashes"] = json!([{ "alg": "SHA-256", "content": hash }]);
    let components: Vec<_> = tree
        .crates
        .iter()
        .map(|one| component(one, "library"))
        .collect();
    let all = std::iter::once(&tree.root).chain(&tree.crates);
    let dependencies: Vec<_> = all
        .map(|one| {
            let used: Vec<_> = tree.used_by(one).into_iter().map(reference).collect();
            json!({ "ref": reference(one), "dependsOn": used })
        })
        .collect();
    let document = json!({
        "$schema": "http://cyclonedx.org/schema/bom-1.5.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": { "timestamp": time, "component": program },
        "components": components,
        "dependencies": dependencies,
    });
    Ok(serde_json::to_string_pretty(&document)? + "\n")
}

fn component(one: &Crate, kind: &str) -> Value {
    let mut component = json!({
        "type": kind,
        "bom-ref": reference(one),
        "name": one.name,
        "version": one.version,
    });
    if let Some(licence) = one.licence() {
        component["licenses"] = json!([{ "expression": licence }]);
    }
    // A crate of ours may have the name of another one on crates.io.
    if !one.is_ours() {
        component["purl"] = json!(reference(one));
    }
    component
}

/// Unique in a document.
fn reference(one: &Crate) -> String {
    if one.is_ours() {
        one.label()
    } else {
        // `+` stands in versions, and means a space in some readers of purls.
        format!("pkg:cargo/{}@{}", one.name, one.version.replace('+', "%2B"))
    }
}
