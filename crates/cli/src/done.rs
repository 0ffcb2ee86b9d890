//! What to tell of a command that has done its work, if its result could not be written. Who runs it again does it
//! twice, or is told that there is nothing to do.

use crate::{
    command::{retention, service, team},
    dispatch::Command,
    interruption::pod_of,
};

const NOT_AGAIN: &str = "don't run the command again";
const STATUS: &str = "`podsync status` shows it";
const MEMBERS: &str = "`podsync team members` shows it";

/// The next step. `None` if the command has changed nothing, or may be run again.
pub(crate) fn unseen(command: &Command) -> Option<String> {
    shown_by(command).map(|shown_by| format!("it is done all the same: {shown_by}"))
}

fn shown_by(command: &Command) -> Option<String> {
    use Command::*;
    let shown_by = match command {
        Save(save) => return Some(versions(save.pod.as_str())),
        Share(share) => return Some(versions(pod_of(&share.reference))),
        Tag(tag) => return Some(versions(pod_of(&tag.reference))),
        Drop(_) => "`podsync list` shows what is left",
        Pull(pull) if pull.load => NOT_AGAIN,
        Load(load) if !load.dry_run => NOT_AGAIN,
        Undo(_) | Restore(_) | RunHook(_) => NOT_AGAIN,
        Retention(rules) => of_retention(rules)?,
        Team(team) => of_team(team)?,
        Pin(_) | Unpin(_) => "`podsync du POD` shows what is pinned",
        Gc(gc) if !gc.dry_run => "`podsync du` shows what is left",
        Follow(_) | Unfollow(_) | Autosave(_) | Pause(_) | Resume(_) => STATUS,
        Stop(_) | Restart(_) => "`podsync status` shows whether a daemon runs",
        Service(service::Command::Status) => return None,
        Service(_) => "`podsync service status` shows how the service is",
        Plugin(plugin) if plugin.changes() => "`podsync plugin status` shows it",
        Config(config) if config.changes() => "`podsync config` shows the settings",
        _ => return None,
    };
    Some(shown_by.to_owned())
}

fn versions(pod: &str) -> String {
    format!("`podsync versions {pod}` shows it")
}

fn of_team(team: &team::Team) -> Option<&'static str> {
    use team::Team::*;
    Some(match team {
        Members => return None,
        Invite(invite) if invite.is_list() => return None,
        // What prints a secret says itself where it is.
        Create(_) => STATUS,
        Invite(_) => "`podsync team invite list` shows the tickets that are left",
        Join(_) => "`podsync status` lists the team",
        Leave(_) => "`podsync status` lists the teams that are left",
        Remove(_) | Role(_) | Recover(_) => MEMBERS,
        SetHub(_) => STATUS,
    })
}

fn of_retention(rules: &retention::Retention) -> Option<&'static str> {
    use retention::Retention::*;
    match rules {
        Set(set) if !set.dry_run => Some("`podsync retention show` shows the rules"),
        Apply(apply) if !apply.dry_run => Some("`podsync list` shows what is left"),
        Set(_) | Apply(_) | Show => None,
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::dispatch::Arguments;

    fn told(line: &str) -> Option<String> {
        let words = std::iter::once("podsync").chain(line.split(' '));
        let arguments = Arguments::try_parse_from(words).unwrap();
        unseen(&arguments.command.unwrap())
    }

    #[test]
    fn who_changed_something_unseen_is_not_told_to_do_it_again() {
        for (line, shown_by) in [
            ("save q", "`podsync versions q`"),
            ("share q:+1", "`podsync versions q`"),
            ("tag q:3 baseline", "`podsync versions q`"),
            ("drop q:+1", "`podsync list`"),
            ("load q", NOT_AGAIN),
            ("pull q --load", NOT_AGAIN),
            ("undo", NOT_AGAIN),
            ("team remove md", "`podsync team members`"),
            ("team role md reader", "`podsync team members`"),
            ("team set-hub --unset", "`podsync status`"),
            ("team leave", "`podsync status`"),
            ("team invite revoke abc", "`podsync team invite list`"),
            ("retention set --keep-all", "`podsync retention show`"),
            ("retention apply", "`podsync list`"),
            ("gc", "`podsync du`"),
            ("follow q", "`podsync status`"),
            ("pause", "`podsync status`"),
            ("stop", "`podsync status`"),
            ("service uninstall", "`podsync service status`"),
            ("plugin remove", "`podsync plugin status`"),
            ("config set mdns false", "`podsync config`"),
        ] {
            let told = told(line).unwrap();
            assert!(told.contains("done all the same"), "{line}: {told}");
            assert!(told.contains(shown_by), "{line}: {told}");
        }
    }

    #[test]
    fn who_only_looked_may_look_again() {
        for line in [
            "list",
            "pull q",
            "load q --dry-run",
            "team members",
            "team invite list",
            "retention show",
            "retention set --keep-all --dry-run",
            "retention apply --dry-run",
            "gc --dry-run",
            "service status",
            "plugin status",
            "config get mdns",
        ] {
            assert_eq!(told(line), None, "{line}");
        }
    }
}
