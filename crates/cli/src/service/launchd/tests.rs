use std::os::unix::fs::PermissionsExt;

use quick_xml::{Reader, events::Event};

use super::*;

/// What launchd.plist(5) says of the keys that the plist has.
const DOCUMENTED: [(&str, &str); 9] = [
    ("Label", "string"),
    ("ProgramArguments", "array"),
    ("RunAtLoad", "boolean"),
    ("KeepAlive", "dict"),
    ("SuccessfulExit", "boolean"),
    ("ExitTimeOut", "integer"),
    ("Umask", "integer"),
    ("WorkingDirectory", "string"),
    ("StandardErrorPath", "string"),
];

/// Keys with the kinds of their values, and every text of the file.
fn read(plist: &str) -> (Vec<(String, String)>, Vec<String>) {
    let mut reader = Reader::from_str(plist);
    let (mut kinds, mut texts, mut key, mut text) = (Vec::new(), Vec::new(), None, String::new());
    loop {
        let tag = match reader.read_event().unwrap() {
            Event::Eof => return (kinds, texts),
            Event::Start(tag) | Event::Empty(tag) => {
                text.clear();
                String::from_utf8(tag.name().as_ref().to_vec()).unwrap()
            }
            Event::Text(part) => {
                text.push_str(&part.decode().unwrap());
                continue;
            }
            Event::GeneralRef(name) => {
                text.push_str(match &*name.decode().unwrap() {
                    "amp" => "&",
                    "lt" => "<",
                    "gt" => ">",
                    other => panic!("&{other};"),
                });
                continue;
            }
            Event::End(tag) if tag.name().as_ref() == b"key" => {
                key = Some(std::mem::take(&mut text));
                continue;
            }
            Event::End(tag) => {
                if tag.name().as_ref() == b"string" {
                    texts.push(std::mem::take(&mut text));
                }
                continue;
            }
            _ => continue,
        };
        if tag != "key"
            && let Some(key) = key.take()
        {
            let kind = match tag.as_str() {
                "true" | "false" => "boolean",
                other => other,
            };
            kinds.push((key, kind.to_owned()));
        }
    }
}

fn plan(path: &str) -> Plan<'_> {
    Plan {
        name: "podsync-0a1b2c3d",
        home: path,
        program: path,
    }
}

#[test]
fn the_plist_is_what_launchd_documents() {
    let odd = "/Users/a b/R&D <1>/podsync";
    let text = text(&plan(odd));
    let (kinds, texts) = read(&text);
    let documented: Vec<_> = DOCUMENTED
        .iter()
        .map(|(key, kind)| ((*key).to_owned(), (*kind).to_owned()))
        .collect();
    assert_eq!(kinds, documented);
    let arguments = [odd, "daemon", "--log-file", "--home", odd];
    assert_eq!(texts[0], "dev.podsync.podsync-0a1b2c3d");
    assert_eq!(texts[1..6], arguments);
    assert_eq!(program(&text).as_deref(), Some(odd));
}

/// A `launchctl` that notes what it is asked and remembers whether the agent is loaded.
fn fake(folder: &Path) -> Launchd {
    let program = folder.join("launchctl");
    let script = format!(
        "#!/bin/sh\ncd {}\necho \"$*\" >> asked\ncase $1 in\n\
         bootstrap|kickstart) touch loaded;;\nbootout) rm loaded;;\n\
         print) [ -e loaded ] || exit 113; printf 'x = {{\\n\\tstate = running\\n\\tpid = 42\\n}}\\n';;\nesac\n",
        folder.display()
    );
    std::fs::write(&program, script).unwrap();
    std::fs::set_permissions(&program, PermissionsExt::from_mode(0o755)).unwrap();
    Launchd {
        folder: folder.join("LaunchAgents"),
        domain: "gui/501".to_owned(),
        launchctl: Tool::new(program),
    }
}

#[tokio::test]
async fn an_agent_is_loaded_started_and_taken_away() {
    let folder = tempfile::tempdir().unwrap();
    let launchd = fake(folder.path());
    let (name, plan) = ("podsync-0a1b2c3d", plan("/home/podsync"));
    assert!(launchd.install(&plan).await.unwrap());
    assert!(!launchd.install(&plan).await.unwrap(), "it is the same");
    launchd.restart(name).await.unwrap();
    let state = State {
        name: name.to_owned(),
        file: launchd.file(name),
        installed: true,
        enabled: false,
        running: false,
        pid: None,
        program: None,
        lingers: None,
        failure: None,
    };
    let state = launchd.look(state).await.unwrap();
    assert_eq!(
        (state.enabled, state.running, state.pid),
        (true, true, Some(42))
    );
    launchd.stop(name).await.unwrap();
    launchd.uninstall(name).await.unwrap();
    assert!(!launchd.file(name).exists());
    let asked = std::fs::read_to_string(folder.path().join("asked")).unwrap();
    let target = "gui/501/dev.podsync.podsync-0a1b2c3d";
    let acts: Vec<_> = asked
        .lines()
        .filter(|line| !line.starts_with("print "))
        .collect();
    let bootstrap = format!("bootstrap gui/501 {}", launchd.file(name).display());
    assert_eq!(
        acts,
        [
            bootstrap,
            format!("kickstart -k {target}"),
            format!("kill SIGTERM {target}"),
            format!("bootout {target}"),
        ]
    );
}
