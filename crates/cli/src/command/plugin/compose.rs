//! A compose file with a LocalStack service. Comments and layout of the file stay as they are.

use std::{
    path::{Path, PathBuf},
    str::FromStr,
};

use podsync_api::{ApiError, ErrorCode};
use podsync_daemon::companion;
use yaml_edit::{Document, Mapping, Sequence, YamlNode};

use super::{
    container::{MOUNTED, mounted},
    python::unwritable,
};
use crate::files::{behind_links, read_text, write_whole};

/// The folder beside the compose file that the service mounts.
const BESIDE: &str = ".podsync-plugin";

/// More than any compose file has.
const MAX_LEN: u64 = 1 << 20;

/// Tags of LocalStack's image that need a licence, whichever version they point to.
const LICENSED_TAGS: [&str; 3] = ["latest", "stable", "dev"];

/// The name of the file's LocalStack service.
pub(in crate::command) fn service_in(file: &Path) -> Result<String, ApiError> {
    let (_, name, _) = read(file)?;
    Ok(name)
}

/// Adds the plugin to the file's LocalStack service, and returns the service's name.
pub(super) fn install(file: &Path) -> Result<String, ApiError> {
    let (document, name, service) = read(file)?;
    needs_it(&name, &service)?;
    let folder =
        companion::write_folder(&beside(file)).map_err(|error| unwritable(file, &error))?;
    let inside = mounted(&folder);
    let from = folder.file_name().unwrap_or_default().to_string_lossy();
    take_out(&service);
    add_volume(&service, &format!("./{BESIDE}/{from}:{inside}:ro"));
    set_python_path(&service, Some(&inside));
    write(file, &document)?;
    Ok(name)
}

/// Takes the plugin out of the file's LocalStack service, and returns the service's name.
pub(super) fn remove(file: &Path) -> Result<String, ApiError> {
    let (document, name, service) = read(file)?;
    take_out(&service);
    write(file, &document)?;
    Ok(name)
}

/// The version that the file mounts.
pub(super) fn installed(file: &Path) -> Result<Option<String>, ApiError> {
    let (_, _, service) = read(file)?;
    let found = volumes(&service).into_iter().find(|volume| is_ours(volume));
    Ok(found.and_then(|volume| {
        let (_, named) = volume.split_once(MOUNTED)?;
        Some(named.split('-').nth(1)?.to_owned())
    }))
}

fn read(file: &Path) -> Result<(Document, String, Mapping), ApiError> {
    let text = read_text(file, MAX_LEN).map_err(|error| {
        ApiError::new(
            ErrorCode::NotFound,
            format!("podsync cannot read {}: {error}", file.display()),
        )
        .hint("give the path of a compose file")
    })?;
    let wrong = |why: String| {
        ApiError::new(ErrorCode::Invalid, format!("{}: {why}", file.display()))
            .hint("give a compose file with a service whose image is LocalStack's")
    };
    let document = Document::from_str(&text).map_err(|error| wrong(error.to_string()))?;
    let services = document
        .get_mapping("services")
        .ok_or_else(|| wrong("it has no `services`".to_owned()))?;
    let mut found = Vec::new();
    for key in services.keys() {
        let name = text_of(&key);
        if let Some(service) = services.get_mapping(name.as_str())
            && image(&service).contains("localstack")
        {
            found.push((name, service));
        }
    }
    match (found.pop(), found.pop()) {
        (Some((name, service)), None) => Ok((document, name, service)),
        (None, _) => Err(wrong(
            "no service in it has an image of LocalStack".to_owned(),
        )),
        (Some((one, _)), Some((other, _))) => Err(wrong(format!(
            "the services {other} and {one} both have an image of LocalStack"
        ))),
    }
}

/// A licensed LocalStack saves and loads by itself.
fn needs_it(name: &str, service: &Mapping) -> Result<(), ApiError> {
    let image = image(service);
    let tag = image.rsplit_once(':').map_or("latest", |(_, tag)| tag);
    let token = environment(service)
        .iter()
        .any(|(key, _)| key == "LOCALSTACK_AUTH_TOKEN" || key == "LOCALSTACK_API_KEY");
    let licensed = image.contains("localstack-pro") || token;
    if licensed || LICENSED_TAGS.contains(&tag) {
        let why = if licensed {
            "runs LocalStack with a licence, which saves and loads by itself"
        } else {
            "has an image that asks for a licence, with which LocalStack saves and loads by itself"
        };
        return Err(ApiError::new(
            ErrorCode::Instance,
            format!("the service {name} ({image}) {why}"),
        )
        .hint("start it with its token, or pin a community image such as localstack/localstack:4.14.0"));
    }
    Ok(())
}

fn image(service: &Mapping) -> String {
    service
        .get("image")
        .as_ref()
        .map(text_of)
        .unwrap_or_default()
}

fn beside(file: &Path) -> PathBuf {
    file.parent().unwrap_or(Path::new(".")).join(BESIDE)
}

/// Removes what an earlier installation wrote.
fn take_out(service: &Mapping) {
    if let Some(sequence) = service.get_sequence("volumes") {
        remove_items(&sequence, is_ours);
        if sequence.is_empty() {
            service.remove("volumes");
        }
    }
    set_python_path(service, None);
}

fn is_ours(volume: &str) -> bool {
    volume.contains(&format!(":{MOUNTED}/"))
}

fn volumes(service: &Mapping) -> Vec<String> {
    let sequence = service.get_sequence("volumes");
    sequence.map_or_else(Vec::new, |sequence| {
        sequence.values().map(|item| text_of(&item)).collect()
    })
}

fn add_volume(service: &Mapping, volume: &str) {
    match service.get_sequence("volumes") {
        Some(sequence) => sequence.push(volume),
        None => {
            let sequence = Sequence::new();
            sequence.push(volume);
            service.set("volumes", sequence);
        }
    }
}

/// Variables as a compose file may write them: a mapping, or a list of `KEY=VALUE`.
fn environment(service: &Mapping) -> Vec<(String, String)> {
    if let Some(mapping) = service.get_mapping("environment") {
        let pairs = mapping.entries().filter_map(|entry| {
            let value = entry.value_node().as_ref().map(text_of);
            Some((text_of(&entry.key_node()?), value.unwrap_or_default()))
        });
        return pairs.collect();
    }
    let sequence = service.get_sequence("environment");
    sequence.map_or_else(Vec::new, |sequence| {
        let items = sequence.values().map(|item| {
            let text = text_of(&item);
            let (key, value) = text.split_once('=').unwrap_or((&text, ""));
            (key.to_owned(), value.to_owned())
        });
        items.collect()
    })
}

/// Puts `ours` at the end of the service's path for Python, instead of what podsync put there before.
fn set_python_path(service: &Mapping, ours: Option<&str>) {
    const KEY: &str = "PYTHONPATH";
    let before = environment(service)
        .into_iter()
        .find_map(|(key, value)| (key == KEY).then_some(value));
    let others = before.iter().flat_map(|path| path.split(':'));
    let path: Vec<_> = others
        .filter(|folder| !folder.is_empty() && !folder.starts_with(&format!("{MOUNTED}/")))
        .chain(ours)
        .collect();
    let path = path.join(":");
    if before.as_deref().unwrap_or_default() == path {
        return;
    }
    if let Some(sequence) = service.get_sequence("environment") {
        remove_items(&sequence, |item| item.starts_with(&format!("{KEY}=")));
        if !path.is_empty() {
            sequence.push(format!("{KEY}={path}"));
        }
        return;
    }
    let Some(mapping) = service.get_mapping("environment") else {
        let mapping = Mapping::new();
        mapping.set(KEY, path);
        service.set("environment", mapping);
        return;
    };
    if path.is_empty() {
        mapping.remove(KEY);
        if mapping.is_empty() {
            service.remove("environment");
        }
    } else {
        mapping.set(KEY, path);
    }
}

fn remove_items(sequence: &Sequence, unwanted: impl Fn(&str) -> bool) {
    for index in (0..sequence.len()).rev() {
        if sequence
            .get(index)
            .is_some_and(|item| unwanted(&text_of(&item)))
        {
            sequence.remove(index);
        }
    }
}

fn text_of(node: &YamlNode) -> String {
    node.as_scalar()
        .map(yaml_edit::Scalar::as_string)
        .unwrap_or_default()
}

fn write(file: &Path, document: &Document) -> Result<(), ApiError> {
    let text = document.to_string();
    let written = behind_links(file).and_then(|file| write_whole(&file, text.as_bytes()));
    written.map_err(|error| unwritable(file, &error))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAPPED: &str = "\
# The team's emulator.
services:
  queue: # not ours
    image: rabbitmq:4
  localstack:
    image: localstack/localstack:4.14.0 # pinned
    environment:
      DEBUG: 1 # noisy
    volumes:
      - ./init:/etc/localstack/init:ro # hooks
";

    const LISTED: &str = "\
services:
  aws:
    image: \"localstack/localstack:4.14.0\"
    environment:
      - DEBUG=1
      - PYTHONPATH=/mine
";

    const BARE: &str = "services:\n  aws:\n    image: localstack/localstack:4.14.0\n";

    fn file(text: &str) -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("compose.yaml");
        std::fs::write(&file, text).expect("it is written");
        (folder, file)
    }

    fn inside() -> String {
        format!(
            "{MOUNTED}/podsync_localstack-{}-{}",
            companion::version(),
            companion::fingerprint()
        )
    }

    #[test]
    fn a_file_gets_the_plugin_once_keeps_its_comments_and_gives_it_back() {
        for (text, name) in [(MAPPED, "localstack"), (LISTED, "aws"), (BARE, "aws")] {
            let (folder, file) = file(text);
            assert_eq!(install(&file).expect("it fits"), name);
            let once = std::fs::read_to_string(&file).expect("it is there");
            assert_eq!(install(&file).expect("again"), name);
            assert_eq!(std::fs::read_to_string(&file).expect("there"), once);
            for line in text.lines() {
                let kept = line.replace("=/mine", &format!("=/mine:{}", inside()));
                assert!(once.contains(&kept), "{line} is gone from:\n{once}");
            }
            assert_eq!(
                once.matches(&format!(":{}:ro", inside())).count(),
                1,
                "{once}"
            );
            assert_eq!(
                installed(&file).expect("it reads").as_deref(),
                Some(companion::version())
            );
            let plugin = folder.path().join(BESIDE);
            assert_eq!(std::fs::read_dir(plugin).expect("it is there").count(), 1);
            remove(&file).expect("it goes");
            assert_eq!(std::fs::read_to_string(&file).expect("there"), text);
        }
    }

    #[test]
    fn a_file_that_does_not_fit_is_told_and_left_alone() {
        for (text, told) in [
            ("services: [\n", "compose.yaml"),
            ("name: none\n", "no `services`"),
            ("services:\n  db:\n    image: postgres\n", "no service"),
            (
                "services:\n  a:\n    image: localstack/localstack:4\n  b:\n    image: localstack/localstack:4\n",
                "the services a and b",
            ),
            (
                "services:\n  a:\n    image: localstack/localstack-pro:4.14.0\n",
                "with a licence",
            ),
            (
                "services:\n  a:\n    image: localstack/localstack\n",
                "asks for a licence",
            ),
            (
                "services:\n  a:\n    image: localstack/localstack:4.14.0\n    environment:\n      - LOCALSTACK_AUTH_TOKEN\n",
                "with a licence",
            ),
        ] {
            let (_folder, file) = file(text);
            let error = install(&file).expect_err("it doesn't fit");
            assert!(error.message.contains(told), "{}", error.message);
            assert!(error.hint.is_some());
            assert_eq!(std::fs::read_to_string(&file).expect("there"), text);
        }
    }
}
