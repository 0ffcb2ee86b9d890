//! The crates that a program is built of, as cargo sees them: for this system, without those of tests and build
//! scripts.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
};

use anyhow::{Context, Result};
use serde::Deserialize;

use xtask::tools::command;

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Crate>,
    resolve: Resolve,
}

#[derive(Deserialize)]
struct Resolve {
    nodes: Vec<Node>,
}

#[derive(Deserialize)]
struct Node {
    id: String,
    deps: Vec<Edge>,
}

#[derive(Deserialize)]
struct Edge {
    pkg: String,
    dep_kinds: Vec<EdgeKind>,
}

#[derive(Deserialize)]
struct EdgeKind {
    /// Absent for what the program itself uses.
    kind: Option<String>,
}

#[derive(Deserialize)]
pub(crate) struct Crate {
    id: String,
    pub(crate) name: String,
    pub(crate) version: String,
    license: Option<String>,
    license_file: Option<PathBuf>,
    /// Absent for crates of this workspace.
    source: Option<String>,
    pub(crate) authors: Vec<String>,
    pub(crate) repository: Option<String>,
    manifest_path: PathBuf,
}

impl Crate {
    pub(crate) fn is_ours(&self) -> bool {
        self.source.is_none()
    }

    pub(crate) fn label(&self) -> String {
        format!("{}@{}", self.name, self.version)
    }

    /// As SPDX writes it: `/` is an older way to say `OR`.
    pub(crate) fn licence(&self) -> Option<String> {
        let said = self.license.as_ref()?;
        let words = said.replace('/', " OR ");
        Some(words.split_whitespace().collect::<Vec<_>>().join(" "))
    }

    pub(crate) fn licence_file(&self) -> Option<&PathBuf> {
        self.license_file.as_ref()
    }

    /// Where its source lies.
    pub(crate) fn folder(&self) -> Result<PathBuf> {
        let folder = self.manifest_path.parent();
        Ok(folder.context("a manifest lies in no folder")?.to_owned())
    }
}

pub(crate) struct Graph {
    crates: BTreeMap<String, Crate>,
    uses: BTreeMap<String, Vec<String>>,
}

/// A program's crate, and everything in it.
pub(crate) struct Tree<'a> {
    pub(crate) root: &'a Crate,
    /// Without the root, by name and version.
    pub(crate) crates: Vec<&'a Crate>,
    graph: &'a Graph,
}

impl Graph {
    pub(crate) fn read(target: &str) -> Result<Self> {
        let arguments = [
            "metadata",
            "--format-version",
            "1",
            "--locked",
            "--filter-platform",
            target,
        ];
        let said = command("cargo", &arguments).read()?;
        let metadata: Metadata =
            serde_json::from_str(&said).context("cargo's metadata has another form")?;
        let of_the_program = |edge: &Edge| edge.dep_kinds.iter().any(|kind| kind.kind.is_none());
        let uses = metadata.resolve.nodes.into_iter().map(|node| {
            let used = node.deps.into_iter().filter(of_the_program);
            (node.id, used.map(|edge| edge.pkg).collect())
        });
        Ok(Self {
            uses: uses.collect(),
            crates: metadata
                .packages
                .into_iter()
                .map(|one| (one.id.clone(), one))
                .collect(),
        })
    }

    pub(crate) fn of(&self, program: &str) -> Result<Tree<'_>> {
        let root = self
            .crates
            .values()
            .find(|one| one.is_ours() && one.name == program)
            .with_context(|| format!("the workspace has no package {program}"))?;
        let mut reached = BTreeSet::from([root.id.as_str()]);
        let mut left = vec![root.id.as_str()];
        while let Some(id) = left.pop() {
            let used = self.uses.get(id).into_iter().flatten();
            left.extend(used.filter_map(|id| reached.insert(id).then_some(id.as_str())));
        }
        let mut crates: Vec<_> = reached
            .iter()
            .filter(|id| **id != root.id)
            .filter_map(|id| self.crates.get(*id))
            .collect();
        crates.sort_by_key(|one| (&one.name, &one.version));
        Ok(Tree {
            root,
            crates,
            graph: self,
        })
    }
}

impl<'a> Tree<'a> {
    /// What a crate of the tree uses.
    pub(crate) fn used_by(&self, one: &Crate) -> Vec<&'a Crate> {
        let used = self.graph.uses.get(&one.id).into_iter().flatten();
        let mut used: Vec<_> = used.filter_map(|id| self.graph.crates.get(id)).collect();
        used.sort_by_key(|one| (&one.name, &one.version));
        used
    }
}
