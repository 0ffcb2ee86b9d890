//! Running as `lstk podsync`: what LocalStack's command line passes to an extension.
//!
//! lstk runs any `lstk-NAME` on the path as `lstk NAME`, and describes its caller in two variables. Their form is
//! lstk's contract for extensions, version 1.

use std::{
    ffi::OsStr,
    path::{Path, PathBuf},
    sync::LazyLock,
};

use clap::Command;
use podsync_api::{ApiError, AuthToken, ErrorCode};
use serde::Deserialize;

/// The program's name if it runs as lstk's extension.
pub(crate) const NAME: &str = "lstk-podsync";

/// The newest contract that this program knows. lstk counts it up when a field changes its meaning.
const KNOWN: u64 = 1;

/// Variables that only this process may see: they hold the token of LocalStack.
pub(crate) const PRIVATE: [&str; 2] = ["LSTK_EXT_CONTEXT", "LOCALSTACK_AUTH_TOKEN"];

/// What lstk passed; empty if the program runs under its own name.
static SAID: LazyLock<Result<Caller, ApiError>> = LazyLock::new(|| {
    let program = std::env::args_os().next();
    if !program.is_some_and(|program| is_extension(&program)) {
        return Ok(Caller::default());
    }
    let variable = |name| std::env::var(name).ok();
    Caller::read(
        variable("LSTK_EXT_API_VERSION").as_deref(),
        variable("LSTK_EXT_CONTEXT").as_deref(),
    )
});

/// Who runs `lstk podsync`, and how. Every field may be missing: lstk adds some from time to time.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Caller {
    endpoint_url: Option<String>,
    #[serde(default)]
    emulators: Option<Vec<Emulator>>,
    auth_token: Option<String>,
    non_interactive: Option<bool>,
    json: Option<bool>,
}

#[derive(Deserialize)]
struct Emulator {
    r#type: Option<String>,
    endpoint: Option<String>,
}

/// What lstk passed about its caller.
pub(crate) fn caller() -> Result<&'static Caller, ApiError> {
    SAID.as_ref().map_err(Clone::clone)
}

/// lstk's LocalStack token. podsync sends it to the emulator alone.
pub(crate) fn auth_token() -> Option<AuthToken> {
    let token = caller().ok()?.auth_token.clone()?;
    (!token.is_empty()).then(|| AuthToken::new(token))
}

/// The link that would make `program` a command of lstk: beside it, on the path. `None` if lstk isn't installed, or has
/// the command already.
pub(crate) fn missing_link(program: &Path, path: &OsStr) -> Option<PathBuf> {
    let folders: Vec<_> = std::env::split_paths(path).collect();
    let has = |name: &str| folders.iter().any(|folder| folder.join(name).is_file());
    let parent = program.parent()?;
    let is_found = folders.iter().any(|folder| folder == parent);
    (has("lstk") && !has(NAME) && is_found).then(|| parent.join(NAME))
}

fn is_extension(program: &OsStr) -> bool {
    Path::new(program).file_name() == Some(OsStr::new(NAME))
}

impl Caller {
    fn read(version: Option<&str>, context: Option<&str>) -> Result<Self, ApiError> {
        let mistaken = |what: String| {
            ApiError::new(ErrorCode::Invalid, what)
                .hint("run `podsync` itself, or install versions of lstk and podsync that fit")
        };
        if let Some(version) = version {
            let number: u64 = version.trim().parse().map_err(|_| {
                mistaken(format!(
                    "lstk says LSTK_EXT_API_VERSION={version:?}, which is no number"
                ))
            })?;
            if number > KNOWN {
                return Err(mistaken(format!(
                    "this lstk speaks version {number} to its extensions; this podsync knows version {KNOWN}"
                )));
            }
        }
        let Some(context) = context else {
            return Ok(Self::default());
        };
        // The text holds a token, and an error of the parser may quote it.
        serde_json::from_str(context).map_err(|error| {
            mistaken(format!(
                "lstk's LSTK_EXT_CONTEXT does not have its documented form (column {})",
                error.column()
            ))
        })
    }

    pub(crate) fn wants_json(&self) -> bool {
        self.json == Some(true)
    }

    pub(crate) fn answers_questions(&self) -> bool {
        self.non_interactive != Some(true)
    }

    /// The endpoint that the user gave to lstk, else that of the AWS emulator that lstk runs.
    fn endpoint(&self) -> Option<&str> {
        let told = self.endpoint_url.as_deref().filter(|url| !url.is_empty());
        let running = || {
            let mut emulators = self.emulators.iter().flatten();
            let aws = emulators.find(|emulator| emulator.r#type.as_deref() == Some("aws"))?;
            aws.endpoint.as_deref().filter(|url| !url.is_empty())
        };
        told.or_else(running)
    }

    /// The command line with lstk's endpoint as the default wherever there is one to give.
    ///
    /// lstk has already considered `AWS_ENDPOINT_URL`, after the settings that override it.
    pub(crate) fn defaults(&'static self, command: Command) -> Command {
        match self.endpoint() {
            Some(endpoint) => with_endpoint(command, endpoint),
            None => command,
        }
    }
}

fn with_endpoint(mut command: Command, endpoint: &'static str) -> Command {
    const ENDPOINT: &str = "endpoint";
    if command
        .get_arguments()
        .any(|argument| argument.get_id() == ENDPOINT)
    {
        command = command.mut_arg(ENDPOINT, |argument| {
            argument.default_value(endpoint).env(None::<&str>)
        });
    }
    let below: Vec<_> = command
        .get_subcommands()
        .map(|command| command.get_name().to_owned())
        .collect();
    below.into_iter().fold(command, |command, name| {
        command.mut_subcommand(name, |subcommand| with_endpoint(subcommand, endpoint))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(context: &str) -> Result<Caller, ApiError> {
        Caller::read(Some("1"), Some(context))
    }

    #[test]
    fn every_field_may_be_there_absent_or_null() {
        let full = read(
            r#"{"configDir":"/c","authToken":"ls-1","endpointUrl":"http://a:1","json":true,"nonInteractive":true,
                "sessionId":"s","emulators":[{"type":"azure","endpoint":"http://b:2","port":2},
                {"type":"aws","endpoint":"http://c:3","port":3}]}"#,
        )
        .expect("it has the documented form");
        assert_eq!(full.endpoint(), Some("http://a:1"));
        assert!(full.wants_json() && !full.answers_questions());
        let running = read(
            r#"{"emulators":[{"type":"azure","endpoint":"http://b:2"},{"type":"aws","endpoint":"http://c:3"}]}"#,
        );
        assert_eq!(running.expect("it reads").endpoint(), Some("http://c:3"));
        for nothing in [
            "{}",
            r#"{"endpointUrl":null,"emulators":null,"authToken":null,"nonInteractive":null,"json":null}"#,
            r#"{"endpointUrl":"","emulators":[]}"#,
            r#"{"emulators":[{"type":"aws"},{"endpoint":"http://c:3"}]}"#,
        ] {
            let caller = read(nothing).expect("it reads");
            assert_eq!(caller.endpoint(), None, "{nothing}");
            assert!(!caller.wants_json() && caller.answers_questions());
        }
    }

    #[test]
    fn a_wrong_type_is_told_without_the_token() {
        for wrong in [
            r#"{"authToken":"ls-secret","endpointUrl":7}"#,
            r#"{"authToken":"ls-secret","emulators":{}}"#,
            r#"{"authToken":["ls-secret"]}"#,
            r#"{"authToken":"ls-secret","json":"yes"}"#,
            r#"{"authToken":"ls-secret","nonInteractive":1}"#,
            r#"["ls-secret"]"#,
            "",
        ] {
            let error = read(wrong).err().expect("it has another form");
            assert_eq!(error.code, ErrorCode::Invalid);
            assert!(!error.message.contains("ls-secret"), "{}", error.message);
        }
    }

    #[test]
    fn a_newer_contract_is_refused_before_the_context_is_read() {
        let error = Caller::read(Some("2"), Some("?"))
            .err()
            .expect("it is newer");
        assert!(error.message.contains("version 2"), "{}", error.message);
        assert!(Caller::read(Some("one"), None).is_err());
        assert!(Caller::read(None, None).is_ok());
    }

    #[test]
    fn only_the_name_makes_it_an_extension() {
        for (program, is) in [
            ("/usr/bin/lstk-podsync", true),
            ("lstk-podsync", true),
            ("podsync", false),
        ] {
            assert_eq!(is_extension(OsStr::new(program)), is);
        }
    }

    #[test]
    fn a_link_is_missing_only_where_lstk_would_find_it() {
        let (tools, ours) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let path = std::env::join_paths([tools.path(), ours.path()]).unwrap();
        let program = ours.path().join("podsync");
        let missing = || missing_link(&program, &path);
        assert_eq!(missing(), None, "there is no lstk");
        std::fs::write(tools.path().join("lstk"), "").unwrap();
        assert_eq!(missing(), Some(ours.path().join(NAME)));
        assert_eq!(missing_link(Path::new("/elsewhere/podsync"), &path), None);
        std::fs::write(tools.path().join(NAME), "").unwrap();
        assert_eq!(missing(), None, "it is there already");
    }
}
