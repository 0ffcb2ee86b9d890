//! What a signal has interrupted, what became of it, and what to do next: by kinds of commands.
//!
//! The daemon gives up a call when its command has gone, and what was decided by then stands. So nothing is called
//! undone that may be done.

use podsync_api::{ApiError, Consent, ErrorCode, Stage};

use crate::{
    command::{retention, team::Team},
    context::Context,
    dispatch::Command,
};

const AGAIN: &str = "run the same command again";

/// A kind of command, with what it was about.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Interruption {
    /// It changes nothing.
    Reads,
    /// It downloads, and goes on with what is missing when it is run `again`.
    Fetches { again: String, writes: bool },
    /// It makes a version of this pod.
    Saves { pod: String, share: bool },
    /// It makes a version the team's.
    Shares { reference: String },
    /// It changes an emulator. Without a checkpoint there is nothing to restore.
    Loads { again: String, checkpoint: bool },
    /// It restores a checkpoint, which stays until that is done.
    Undoes,
    /// It may be done already. The text says how to see that.
    Decides(String),
    /// It is done in parts. The text says how to go on.
    GoesOn(&'static str),
    /// It runs until a signal ends it.
    Ends,
    /// It needs no daemon.
    Local(&'static str),
}

impl Interruption {
    pub(crate) fn of(command: &Command) -> Self {
        use Command::*;
        match command {
            Save(save) => Self::Saves {
                pod: save.pod.to_string(),
                share: save.share,
            },
            Share(share) => Self::Shares {
                reference: share.reference.clone(),
            },
            Pull(pull) if pull.load => Self::Loads {
                again: again("pull", pull.reference.as_deref()),
                checkpoint: !pull.how.consents.without_checkpoint,
            },
            Pull(pull) => Self::Fetches {
                again: again("pull", pull.reference.as_deref()),
                writes: false,
            },
            Export(export) => Self::Fetches {
                again: again("export", Some(&export.reference)),
                writes: true,
            },
            Lock(_) => Self::Fetches {
                again: again("lock", None),
                writes: true,
            },
            Load(load) if load.dry_run => Self::Reads,
            Load(load) => Self::Loads {
                again: again("load", Some(&load.reference)),
                checkpoint: !load.how.consents.without_checkpoint,
            },
            Restore(restore) => Self::Loads {
                again: again("restore", Some(restore.pod.as_str())),
                checkpoint: !restore.consents.without_checkpoint,
            },
            RunHook(_) => Self::Loads {
                again: AGAIN.to_owned(),
                checkpoint: true,
            },
            Undo(_) => Self::Undoes,
            Team(team) => Self::of_team(team),
            other => Self::of_upkeep(other),
        }
    }

    fn of_team(team: &Team) -> Self {
        let members =
            || Self::Decides("`podsync team members` shows whether it is done".to_owned());
        match team {
            Team::Members => Self::Reads,
            Team::Create(_) => Self::Decides(
                "`podsync status` lists the team if it was created. If its recovery key was not shown, leave it \
                 with `podsync team leave` and create another one"
                    .to_owned(),
            ),
            Team::Join(_) => Self::Decides(
                "`podsync status` lists the team if this device is in it. If not, run `podsync team join` again \
                 with the same ticket"
                    .to_owned(),
            ),
            Team::Invite(_) => Self::Decides(
                "`podsync team invite list` lists tickets and `podsync team members` robots. End one that was not \
                 shown with `podsync team invite revoke` or `podsync team remove`"
                    .to_owned(),
            ),
            Team::SetHub(_) => Self::status(),
            Team::Leave(_) | Team::Remove(_) | Team::Role(_) | Team::Recover(_) => members(),
        }
    }

    fn of_upkeep(command: &Command) -> Self {
        use Command::*;
        match command {
            Tag(tag) => Self::versions(&tag.reference),
            Drop(drop) => Self::versions(&drop.reference),
            Retention(retention::Retention::Show) => Self::Reads,
            Retention(retention::Retention::Set(_)) => {
                Self::Decides("`podsync retention show` shows whether it is set".to_owned())
            }
            Retention(retention::Retention::Apply(_)) => {
                Self::GoesOn("`podsync retention apply` drops the rest")
            }
            Pin(_) | Unpin(_) => Self::Decides("`podsync du POD` shows what is pinned".to_owned()),
            Follow(_) | Unfollow(_) | Autosave(_) | Pause(_) | Resume(_) => Self::status(),
            Gc(_) => Self::GoesOn("`podsync gc` goes on"),
            Verify(_) => Self::GoesOn("`podsync verify` begins anew"),
            Stop(_) | Restart(_) | Daemon(_) => {
                Self::Local("`podsync status` shows whether a daemon runs")
            }
            Service(_) => Self::Local("`podsync service status` shows how the service is"),
            Watch(_) | Ui(_) | Mcp(_) | Logs(_) => Self::Ends,
            Init(_) | Plugin(_) | Config(_) | Demo(_) | Man(_) | Completions(_) => {
                Self::Local(AGAIN)
            }
            _ => Self::Reads,
        }
    }

    fn versions(reference: &str) -> Self {
        let pod = pod_of(reference);
        Self::Decides(format!("`podsync versions {pod}` shows whether it is done"))
    }

    fn status() -> Self {
        Self::Decides("`podsync status` shows whether it is done".to_owned())
    }

    /// Whether a command that ends well although it was interrupted has done what it is for.
    pub(crate) const fn may_be_success(&self) -> bool {
        !matches!(self, Self::Local(_))
    }

    /// What the command ends with.
    pub(crate) fn told(self, context: &Context) -> ApiError {
        let course = &context.course;
        if !course.has_called() && !matches!(self, Self::Local(_) | Self::Ends) {
            return cancelled("interrupted before it had begun", AGAIN);
        }
        match self {
            Self::Reads => cancelled("interrupted: nothing was changed", AGAIN),
            Self::Ends => cancelled("interrupted", AGAIN),
            Self::Local(next) => cancelled("interrupted", next),
            Self::GoesOn(next) => cancelled("interrupted: what was done by then stays done", next),
            Self::Decides(next) => cancelled("interrupted: it may be done already", next),
            Self::Fetches { again, writes } => fetching(again, writes, context),
            Self::Saves { pod, share } => {
                let shared = if share { " and shared" } else { "" };
                let next = format!("`podsync versions {pod}` shows whether it was saved{shared}");
                let left = match course.is_cut_short() {
                    false => "interrupted: a version that was not saved yet leaves nothing behind",
                    true => {
                        "interrupted: the next command deletes what a version left that was not saved yet"
                    }
                };
                cancelled(left, next)
            }
            Self::Shares { reference } if course.has_reached(Stage::Uploading) => cancelled(
                format!(
                    "interrupted: {reference} is shared, and it may not be in the team's bucket yet"
                ),
                "`podsync status` shows the upload: podsync goes on with it by itself",
            ),
            Self::Shares { reference } => cancelled(
                format!("interrupted: {reference} may be shared already"),
                format!(
                    "`podsync share {reference}` shares it, or says that it was shared already"
                ),
            ),
            Self::Loads { again, checkpoint } => {
                let has = checkpoint
                    && !context.is_robot()
                    && !course.has_agreed(Consent::WithoutCheckpoint);
                loading(again, has, context)
            }
            Self::Undoes if course.has_reached(Stage::Loading) => cancelled(
                "interrupted: the emulator may have only a part of the previous state",
                "`podsync undo` restores all of it",
            ),
            Self::Undoes => cancelled(
                "interrupted: the emulator had not been sent anything yet",
                "`podsync undo` begins anew",
            ),
        }
    }
}

fn fetching(again: String, writes: bool, context: &Context) -> ApiError {
    if context.keeps_nothing() {
        return cancelled(
            "interrupted: what had arrived is gone with the robot's temporary folder",
            format!("{again}. With --cache FOLDER podsync keeps what arrives"),
        );
    }
    let file = match writes {
        true => ", and no half-written file is left",
        false => "",
    };
    cancelled(
        format!("interrupted: what had arrived is kept{file}"),
        format!("{again}: it goes on where it stopped"),
    )
}

fn loading(again: String, checkpoint: bool, context: &Context) -> ApiError {
    if !context.course.has_reached(Stage::Loading) {
        let error = fetching(again, false, context);
        let text = format!(
            "{}. The emulator had not been sent anything yet",
            error.message
        );
        return ApiError {
            message: text,
            ..error
        };
    }
    let text = "interrupted: the emulator may have only a part of the version";
    match checkpoint {
        true => cancelled(
            text,
            "`podsync undo` restores the state from before the load: it is saved as a checkpoint",
        ),
        false => cancelled(
            text,
            format!("there is no checkpoint to restore. {again}, with --merge overwrite"),
        ),
    }
}

fn cancelled(text: impl Into<String>, next: impl Into<String>) -> ApiError {
    ApiError::new(ErrorCode::Cancelled, text).hint(next)
}

/// How to run a command again, as far as it is known.
fn again(command: &str, about: Option<&str>) -> String {
    match about {
        Some(about) => {
            let about = podsync_daemon::shell_word(std::path::Path::new(about));
            format!("run `podsync {command} {about}` again")
        }
        None => AGAIN.to_owned(),
    }
}

/// `orders` of `orders:3@alice`.
pub(crate) fn pod_of(reference: &str) -> &str {
    let reference = reference.strip_prefix("pod:").unwrap_or(reference);
    reference.split([':', '@']).next().unwrap_or(reference)
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::{dispatch::Arguments, output::Printer};

    /// What is told of a command that was interrupted when the daemon had said so much.
    fn told(line: &str, stages: &[Stage], agreed: &[Consent]) -> String {
        let arguments = Arguments::try_parse_from(line.split(' ')).unwrap();
        let context = Context::new(arguments.global, Printer::new(false), None);
        context.course.note_call();
        for stage in stages {
            context.course.note_stage(*stage);
        }
        for consent in agreed {
            context.course.note_consent(*consent);
        }
        let command = arguments.command.unwrap();
        let error = Interruption::of(&command).told(&context);
        assert_eq!(error.code, ErrorCode::Cancelled);
        format!("{}\n{}", error.message, error.hint.unwrap())
    }

    #[test]
    fn each_kind_of_command_says_what_became_of_it_and_what_is_next() {
        let cases = [
            ("list", "nothing was changed", AGAIN),
            ("load orders --dry-run", "nothing was changed", AGAIN),
            ("pull orders:3", "is kept", "`podsync pull orders:3` again"),
            ("pull --frozen", "is kept", AGAIN),
            ("export orders out", "no half-written file", "export orders"),
            ("save orders", "leaves nothing behind", "versions orders"),
            ("save orders --share", "leaves nothing", "saved and shared"),
            (
                "share orders:+1",
                "may be shared",
                "`podsync share orders:+1`",
            ),
            (
                "drop orders:3@bob",
                "may be done",
                "`podsync versions orders`",
            ),
            ("team join", "may be done", "with the same ticket"),
            ("team invite", "may be done", "podsync team invite revoke"),
            ("team remove bob", "may be done", "`podsync team members`"),
            ("gc", "stays done", "`podsync gc`"),
            ("undo", "not been sent anything", "`podsync undo`"),
            ("stop", "interrupted", "`podsync status`"),
        ];
        for (command, became, next) in cases {
            let told = told(&format!("podsync {command}"), &[], &[]);
            assert!(told.starts_with("interrupted"), "{command}: {told}");
            assert!(
                told.contains(became) && told.contains(next),
                "{command}: {told}"
            );
        }
        let save = Arguments::try_parse_from(["podsync", "save", "orders"]).unwrap();
        let context = Context::new(save.global, Printer::new(false), None);
        context.course.note_call();
        context.course.note_cut_short();
        let error = Interruption::of(&save.command.unwrap()).told(&context);
        assert!(
            error.message.contains("the next command deletes"),
            "{error}"
        );
        let uploading = told("podsync share orders:+1 --wait", &[Stage::Uploading], &[]);
        assert!(uploading.contains("orders:+1 is shared"), "{uploading}");
    }

    #[test]
    fn undo_is_named_only_where_it_restores_what_this_load_changed() {
        let before = told("podsync load orders", &[Stage::Pulling], &[]);
        assert!(before.contains("not been sent anything"), "{before}");
        assert!(!before.contains("undo"), "{before}");

        let stages = [Stage::Pulling, Stage::Loading];
        for load in ["load orders", "pull orders --load", "restore orders"] {
            let told = told(&format!("podsync {load}"), &stages, &[]);
            assert!(told.contains("`podsync undo`"), "{load}: {told}");
        }
        let without = [
            told("podsync load orders --without-checkpoint", &stages, &[]),
            told(
                "podsync load orders -y",
                &stages,
                &[Consent::WithoutCheckpoint],
            ),
        ];
        for told in without {
            assert!(told.contains("no checkpoint"), "{told}");
            assert!(!told.contains("undo"), "{told}");
        }
    }

    #[test]
    fn a_command_that_had_not_begun_is_told_as_that() {
        let arguments = Arguments::try_parse_from(["podsync", "team", "join"]).unwrap();
        let context = Context::new(arguments.global, Printer::new(false), None);
        let error = Interruption::of(&arguments.command.unwrap()).told(&context);
        assert!(error.message.contains("before it had begun"), "{error}");
    }
}
