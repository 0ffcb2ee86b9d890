//! Kubernetes manifests in `config/`, held against Kubernetes' own schemas, which a pinned package brings along.

use std::path::PathBuf;

use anyhow::{Context, Result};

use xtask::tools::{has, root, step, target};

const VALIDATOR: &str = "kubernetes-validate==1.37.0";

/// Where this machine has no validator, that is said.
pub(crate) fn check() -> Result<()> {
    let program = match validator() {
        Ok(program) => program,
        Err(reason) => {
            step(&format!("NOT RUN: schemas of the manifests: {reason:#}"));
            return Ok(());
        }
    };
    let manifests = root().join("config/kubernetes/hub.yaml");
    duct::cmd!(program, "--strict", manifests)
        .run()
        .context("a manifest isn't what Kubernetes takes")?;
    Ok(())
}

/// The program, installed on the first call.
fn validator() -> Result<PathBuf> {
    let folder = target().join("tools/kubernetes-validate-1.37.0");
    let program = folder.join("bin/kubernetes-validate");
    if !program.is_file() {
        let python = ["python3", "python"]
            .into_iter()
            .find(|python| has(python, &["-c", "import venv, ensurepip"]))
            .context("no Python with venv here")?;
        step(&format!("{VALIDATOR} into {}", folder.display()));
        duct::cmd!(python, "-m", "venv", "--clear", &folder).run()?;
        let pip = folder.join("bin/python");
        duct::cmd!(pip, "-m", "pip", "install", "--quiet", VALIDATOR)
            .run()
            .context("pip could not install it")?;
    }
    Ok(program)
}
