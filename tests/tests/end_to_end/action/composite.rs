//! A small runner of composite actions: it does with the `run:` steps of an `action.yml` what GitHub's runner
//! does. Steps that `uses:` another action are left out, so nothing of a cache is carried from job to job.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    str::FromStr,
};

use anyhow::{Context, Result, bail, ensure};
use tempfile::TempDir;
use yaml_edit::{Document, Mapping, YamlNode};

pub(super) struct Action {
    folder: PathBuf,
    document: Document,
}

/// A machine that runs jobs one after the other.
pub(super) struct Machine {
    folder: TempDir,
}

/// The result of a job.
#[derive(Debug)]
pub(super) struct Job {
    /// Of the step that failed, or 0.
    pub code: i32,
    /// The visible log, with masked values as `***`.
    pub log: String,
    /// What is shown on the job's page.
    pub errors: Vec<String>,
    pub summary: String,
    /// Of all steps, by `steps.ID.outputs.NAME`.
    outputs: BTreeMap<String, String>,
}

impl Action {
    pub(super) fn read(folder: &Path) -> Result<Self> {
        let text = fs::read_to_string(folder.join("action.yml"))?;
        let document = Document::from_str(&text).map_err(|error| anyhow::anyhow!("{error}"))?;
        Ok(Self {
            folder: folder.to_owned(),
            document,
        })
    }

    /// Names of its inputs, with what each is where nothing is given.
    pub(super) fn inputs(&self) -> Result<BTreeMap<String, String>> {
        let inputs = self.document.get_mapping("inputs").context("no inputs")?;
        let defaults = inputs.entries().map(|entry| {
            let name = text_of(&entry.key_node()?);
            let value = entry.value_node()?;
            let default = value.as_mapping()?.get("default");
            Some((name, default.as_ref().map(text_of).unwrap_or_default()))
        });
        defaults.collect::<Option<_>>().context("an odd input")
    }

    pub(super) fn steps(&self) -> Result<Vec<Mapping>> {
        let runs = self.document.get_mapping("runs").context("no runs")?;
        let using = runs.get("using").as_ref().map(text_of);
        ensure!(using.as_deref() == Some("composite"), "it is {using:?}");
        let steps = runs.get_sequence("steps").context("no steps")?;
        let steps = steps.values().map(|step| step.as_mapping().cloned());
        steps.collect::<Option<_>>().context("an odd step")
    }
}

impl Machine {
    pub(super) fn new() -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("podsync-gha-").tempdir()?;
        for name in ["home", "temp", "workspace"] {
            fs::create_dir(folder.path().join(name))?;
        }
        Ok(Self { folder })
    }

    /// Where the job's files lie; steps run there.
    pub(super) fn workspace(&self) -> PathBuf {
        self.folder.path().join("workspace")
    }

    /// Runs the action's steps up to the first that fails.
    pub(super) fn run(&self, action: &Action, given: &[(&str, &str)]) -> Result<Job> {
        let mut inputs = action.inputs()?;
        for (name, value) in given {
            let before = inputs.insert((*name).to_owned(), (*value).to_owned());
            ensure!(before.is_some(), "there is no input {name}");
        }
        let inputs = inputs.into_iter();
        let mut known: BTreeMap<_, _> = inputs
            .map(|(name, value)| (format!("inputs.{name}"), value))
            .collect();
        for file in ["path", "summary"] {
            fs::write(self.folder.path().join(file), "")?;
        }
        let (mut code, mut raw) = (0, String::new());
        for step in action.steps()? {
            if let Some(other) = get(&step, "uses") {
                println!("NOT RUN: the step that uses {other}: it needs GitHub's servers");
                continue;
            }
            let (ended, said) = self.step(action, &step, &mut known)?;
            raw.push_str(&said);
            code = ended;
            if code != 0 {
                break;
            }
        }
        let (log, errors) = shown(&raw);
        Ok(Job {
            code,
            log,
            errors,
            summary: fs::read_to_string(self.folder.path().join("summary"))?,
            outputs: known,
        })
    }

    /// The step's exit code and what it said; its outputs are known afterwards.
    fn step(
        &self,
        action: &Action,
        step: &Mapping,
        known: &mut BTreeMap<String, String>,
    ) -> Result<(i32, String)> {
        let shell = get(step, "shell").context("a step without a shell")?;
        ensure!(shell == "sh", "a step for {shell}");
        let run = get(step, "run").context("a step without a script")?;
        // A script would run any text that an expression inserts.
        ensure!(!run.contains("${{"), "an expression in a script: {run}");
        let place = |name: &str| self.folder.path().join(name);
        fs::write(place("script"), run)?;
        fs::write(place("output"), "")?;
        let mut command = Command::new("sh");
        command
            .arg("-e")
            .arg(place("script"))
            .current_dir(self.workspace())
            .env_clear()
            .env("PATH", self.path()?)
            .env("HOME", place("home"))
            .env("RUNNER_TEMP", place("temp"))
            .env("GITHUB_ACTION_PATH", &action.folder)
            .env("GITHUB_OUTPUT", place("output"))
            .env("GITHUB_PATH", place("path"))
            .env("GITHUB_STEP_SUMMARY", place("summary"))
            .env("PODSYNC_MDNS", "false")
            .stdin(Stdio::null());
        for entry in step.get_mapping("env").iter().flat_map(Mapping::entries) {
            let name = entry.key_node().as_ref().map(text_of);
            let value = entry.value_node().as_ref().map(text_of);
            let value = filled_in(&value.unwrap_or_default(), known)?;
            command.env(name.context("a variable without a name")?, value);
        }
        let ended = command.output()?;
        if let Some(id) = get(step, "id") {
            for line in fs::read_to_string(place("output"))?.lines() {
                let (name, value) = line.split_once('=').context("an output without a name")?;
                known.insert(format!("steps.{id}.outputs.{name}"), value.to_owned());
            }
        }
        let said = [ended.stdout, ended.stderr].concat();
        let code = ended.status.code().context("a step ended by a signal")?;
        Ok((code, String::from_utf8_lossy(&said).into_owned()))
    }

    /// With what earlier steps added to it.
    fn path(&self) -> Result<String> {
        let added = fs::read_to_string(self.folder.path().join("path"))?;
        let added = added.lines().map(str::to_owned);
        let path: Vec<_> = added.chain([std::env::var("PATH")?]).collect();
        Ok(path.join(":"))
    }
}

impl Job {
    pub(super) fn ok(self) -> Result<Self> {
        ensure!(self.code == 0, "{self:?}");
        Ok(self)
    }

    /// The one error of a job that failed with `code`.
    pub(super) fn failed(self, code: i32) -> Result<String> {
        ensure!(self.code == code, "not {code}: {self:?}");
        let [error] = &self.errors[..] else {
            bail!("not one error: {self:?}");
        };
        Ok(error.clone())
    }

    pub(super) fn output(&self, of_step: &str, name: &str) -> Result<&str> {
        let key = format!("steps.{of_step}.outputs.{name}");
        let value = self
            .outputs
            .get(&key)
            .with_context(|| format!("no {key}"))?;
        Ok(value)
    }
}

pub(super) fn get(mapping: &Mapping, key: &str) -> Option<String> {
    mapping.get(key).as_ref().map(text_of)
}

fn text_of(node: &YamlNode) -> String {
    node.as_scalar()
        .map(yaml_edit::Scalar::as_string)
        .unwrap_or_default()
}

/// A value with its expressions evaluated. An unknown output is empty, as on GitHub.
fn filled_in(value: &str, known: &BTreeMap<String, String>) -> Result<String> {
    let mut parts = value.split("${{");
    let mut filled = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (expression, rest) = part.split_once("}}").context("an open expression")?;
        let expression = expression.trim();
        ensure!(
            known.contains_key(expression) || expression.starts_with("steps."),
            "nothing is known of {expression}"
        );
        filled.push_str(known.get(expression).map_or("", String::as_str));
        filled.push_str(rest);
    }
    Ok(filled)
}

/// The parts of the steps' output that the runner shows: the log and the errors.
fn shown(raw: &str) -> (String, Vec<String>) {
    let (mut masked, mut errors, mut log) = (Vec::new(), Vec::new(), String::new());
    for line in raw.lines() {
        if let Some(secret) = line.strip_prefix("::add-mask::") {
            masked.push(unescaped(secret));
        } else if let Some((_, error)) = line
            .strip_prefix("::error ")
            .and_then(|rest| rest.split_once("::"))
        {
            errors.push(unescaped(error));
        } else {
            log.push_str(line);
            log.push('\n');
        }
    }
    for secret in &masked {
        log = log.replace(secret, "***");
        for error in &mut errors {
            *error = error.replace(secret, "***");
        }
    }
    (log, errors)
}

fn unescaped(data: &str) -> String {
    let data = data.replace("%0A", "\n").replace("%0D", "\r");
    data.replace("%25", "%")
}
