//! A headless Chromium, driven as its user would: by the words on buttons and beside fields.
//!
//! Waiting is for what the page shows, by an observer inside the page.

use std::{
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};
use podsync_tests::kit::Home;
use serde_json::{Value, json};
use tempfile::TempDir;
use thirtyfour::prelude::*;

const CHROMIUM: [&str; 3] = ["chromium", "chromium-browser", "google-chrome"];
const CHROMEDRIVER: &str = "chromedriver";
/// What is waited for takes longer than this only where it doesn't come.
const PATIENCE: Duration = Duration::from_secs(60);

/// How it looks at the page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Look {
    Light,
    Dark,
    Phone,
}

pub(super) struct Browser {
    pub(super) driver: WebDriver,
    downloads: TempDir,
    program: Program,
}

/// Ends with its test, however that ends.
struct Program(Child);

impl Drop for Program {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Runs a story in a browser, and ends the browser whatever comes of it. Where there is no Chromium the reason is
/// printed.
pub(super) async fn in_browser(
    look: Look,
    story: impl AsyncFnOnce(&Browser) -> Result<()>,
) -> Result<()> {
    let Some((chromium, chromedriver)) = programs() else {
        println!("NOT RUN: chromium or chromedriver isn't installed");
        return Ok(());
    };
    podsync_daemon::install_crypto();
    let browser = Browser::start(look, &chromium, &chromedriver).await?;
    let outcome = story(&browser).await;
    browser.end().await?;
    outcome
}

impl Browser {
    async fn start(look: Look, chromium: &Path, chromedriver: &Path) -> Result<Self> {
        let downloads = TempDir::with_prefix("podsync-test-")?;
        let program = Command::new(chromedriver)
            .arg("--port=0")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()?;
        let mut program = Program(program);
        let mut said = BufReader::new(program.0.stdout.take().context("no stdout")?);
        let port = port_said(&mut said)?;
        let mut capabilities = DesiredCapabilities::chrome();
        capabilities.set_binary(&chromium.to_string_lossy())?;
        for argument in arguments(look) {
            capabilities.add_arg(argument)?;
        }
        if look == Look::Phone {
            let metrics = json!({ "width": 390, "height": 844, "pixelRatio": 2.0 });
            capabilities
                .add_experimental_option("mobileEmulation", json!({ "deviceMetrics": metrics }))?;
        }
        let prefs = json!({ "download.default_directory": downloads.path() });
        capabilities.add_experimental_option("prefs", prefs)?;
        let driver = WebDriver::new(&format!("http://127.0.0.1:{port}"), capabilities).await?;
        driver.set_script_timeout(PATIENCE).await?;
        // The rest of what it says is read, or it would block on a full pipe.
        std::thread::spawn(move || std::io::copy(&mut said, &mut std::io::sink()));
        Ok(Self {
            driver,
            downloads,
            program,
        })
    }

    /// Opens a home's page with a new token; the page's address without it.
    pub(super) async fn open(&self, home: &Home, port: &str) -> Result<String> {
        let opened = home.run(&["ui", "--print-url", "--port", port])?.ok()?;
        let url = opened["url"].as_str().context("no url")?;
        self.driver.goto(url).await?;
        Ok(url.split('#').next().unwrap_or_default().to_owned())
    }

    /// Waits until the page shows this text.
    pub(super) async fn sees(&self, text: &str) -> Result<()> {
        self.wait(
            "return document.body.innerText.includes(arguments[0]) || null",
            text,
        )
        .await?;
        Ok(())
    }

    pub(super) async fn misses(&self, text: &str) -> Result<()> {
        self.wait(
            "return document.body.innerText.includes(arguments[0]) ? null : true",
            text,
        )
        .await?;
        Ok(())
    }

    /// Clicks what has this name, in the dialog that is open if there is one.
    pub(super) async fn click(&self, name: &str) -> Result<()> {
        let found = self.wait(NAMED, name).await?;
        found.element()?.click().await?;
        Ok(())
    }

    /// Types into the field with this label, in place of what is there.
    pub(super) async fn fill(&self, label: &str, text: &str) -> Result<()> {
        let field = self.wait(LABELLED, label).await?.element()?;
        field.click().await?;
        field.send_keys(Key::Control + "a").await?;
        field.send_keys(text).await?;
        Ok(())
    }

    /// Chooses in the list with this label.
    pub(super) async fn choose(&self, label: &str, value: &str) -> Result<()> {
        let list = self.wait(LABELLED, label).await?.element()?;
        self.driver
            .execute(
                "arguments[0].value = arguments[1];\
                 arguments[0].dispatchEvent(new Event('change', { bubbles: true }))",
                vec![list.to_json()?, json!(value)],
            )
            .await?;
        Ok(())
    }

    pub(super) async fn press(&self, keys: impl Into<TypingData>) -> Result<()> {
        let focused = self.driver.active_element().await?;
        focused.send_keys(keys).await?;
        Ok(())
    }

    /// Goes to a view by its address.
    pub(super) async fn view(&self, address: &str) -> Result<()> {
        let go = "location.hash = arguments[0]";
        self.driver.execute(go, vec![json!(address)]).await?;
        Ok(())
    }

    /// Drops a file onto the page.
    pub(super) async fn drop_file(&self, name: &str, bytes: &[u8]) -> Result<()> {
        self.driver
            .execute(DROP, vec![json!(name), json!(bytes)])
            .await?;
        Ok(())
    }

    /// Runs a script that ends with `done(...)`; what it is done with.
    pub(super) async fn ask_later(&self, script: &str) -> Result<Value> {
        let script = format!("const done = arguments[arguments.length - 1];\n{script}");
        let said = self.driver.execute_async(script, Vec::new()).await?;
        Ok(said.json().clone())
    }

    /// What a script returns.
    pub(super) async fn ask(&self, script: &str) -> Result<Value> {
        Ok(self
            .driver
            .execute(script, Vec::new())
            .await?
            .json()
            .clone())
    }

    /// A file that was downloaded, once it is whole.
    pub(super) async fn downloaded(&self, name: &str) -> Result<Vec<u8>> {
        let path = self.downloads.path().join(name);
        let mut looks = tokio::time::interval(Duration::from_millis(50));
        let there = async {
            while !path.exists() {
                looks.tick().await;
            }
        };
        tokio::time::timeout(PATIENCE, there)
            .await
            .with_context(|| format!("{name} was not downloaded"))?;
        Ok(std::fs::read(path)?)
    }

    /// A picture: into the documentation where that shows it and is to be made anew, and into the folder that
    /// somebody named to look at all of them.
    pub(super) async fn picture(&self, name: &str) -> Result<()> {
        if let Some(folder) = std::env::var_os("PODSYNC_PICTURES") {
            let file = Path::new(&folder).join(format!("{name}.png"));
            self.driver.screenshot(&file).await?;
        }
        let image = format!("images/{name}.png");
        let docs = root().join("docs");
        let shown = std::fs::read_to_string(docs.join("page.md"))?.contains(&image);
        if !shown || std::env::var_os("PODSYNC_UPDATE").is_none() {
            return Ok(());
        }
        std::fs::create_dir_all(docs.join("images"))?;
        self.driver.screenshot(&docs.join(image)).await?;
        Ok(())
    }

    /// Fails with what axe-core finds against the page as it is.
    pub(super) async fn is_accessible(&self, what: &str) -> Result<()> {
        let axe = root().join("crates/page/web/node_modules/axe-core/axe.min.js");
        let Ok(axe) = std::fs::read_to_string(axe) else {
            println!("NOT RUN: axe-core isn't there: run `npm ci` in crates/page/web");
            return Ok(());
        };
        self.driver.execute(axe, Vec::new()).await?;
        let found = self.driver.execute_async(AXE, Vec::new()).await?;
        let found = found.json();
        let none = found.as_array().is_some_and(Vec::is_empty);
        ensure!(none, "{what}: {found:#}");
        Ok(())
    }

    /// Fails with the buttons that stand beside the screen, and the icons that a finger misses.
    pub(super) async fn fits(&self, what: &str) -> Result<()> {
        let amiss = self.ask(AMISS).await?;
        ensure!(amiss == json!([]), "{what}: {amiss:#}");
        Ok(())
    }

    async fn wait(&self, looks: &str, about: &str) -> Result<ScriptRet> {
        let script = WAIT.replace("LOOKS", looks);
        let found = self.driver.execute_async(script, vec![json!(about)]).await;
        match found {
            Ok(found) => Ok(found),
            Err(error) => {
                let shown = self.ask("return document.body.innerText").await?;
                bail!(
                    "{about:?} doesn't come: {error}\n{}",
                    shown.as_str().unwrap_or_default()
                )
            }
        }
    }

    async fn end(self) -> Result<()> {
        let Self {
            driver, program, ..
        } = self;
        let quit = driver.quit().await;
        drop(program);
        Ok(quit?)
    }
}

/// Looks again whenever the page changes.
const WAIT: &str = "
    const done = arguments[arguments.length - 1];
    const look = () => { LOOKS };
    const found = look.apply(null, arguments);
    if (found) return done(found);
    const given = arguments;
    const again = () => {
        const found = look.apply(null, given);
        if (found) { observer.disconnect(); done(found); }
    };
    const observer = new MutationObserver(again);
    observer.observe(document, { subtree: true, childList: true, characterData: true, attributes: true });
";

const NAMED: &str = "
    const open = [...document.querySelectorAll('dialog[open]')].pop() ?? document;
    const all = open.querySelectorAll('button, a, [role=option], summary, label');
    const name = (e) => (e.getAttribute('aria-label') ?? e.textContent).trim().replace(/\\s+/g, ' ');
    const seen = [...all].filter((e) => e.getClientRects().length && !e.disabled);
    return seen.find((e) => name(e) === arguments[0]) ?? seen.find((e) => name(e).includes(arguments[0])) ?? null;
";

const LABELLED: &str = "
    const open = [...document.querySelectorAll('dialog[open]')].pop() ?? document;
    const label = [...open.querySelectorAll('label')].find((e) => e.textContent.trim() === arguments[0]);
    return label?.control ?? open.querySelector(`[aria-label=\"${CSS.escape(arguments[0])}\"]`);
";

/// In CSS pixels, a finger is 44 wide.
const AMISS: &str = "
    const name = (e) => e.getAttribute('aria-label') ?? e.textContent.trim();
    const amiss = (e) => {
        const { left, right, width, height } = e.getBoundingClientRect();
        const small = e.matches('.icon-only') && Math.min(width, height) < 44;
        return small || left < 0 || right > innerWidth;
    };
    const seen = [...document.querySelectorAll('button')].filter((e) => e.getClientRects().length);
    return seen.filter(amiss).map(name);
";

const DROP: &str = "
    const file = new File([new Uint8Array(arguments[1])], arguments[0]);
    const data = new DataTransfer();
    data.items.add(file);
    const onto = document.querySelector('.view');
    for (const kind of ['dragenter', 'dragover', 'drop']) {
        onto.dispatchEvent(new DragEvent(kind, { bubbles: true, cancelable: true, dataTransfer: data }));
    }
";

const AXE: &str = "
    const done = arguments[arguments.length - 1];
    axe.run(document, { resultTypes: ['violations'] }).then(
        ({ violations }) => done(violations.map(({ id, help, nodes }) => ({
            id, help, nodes: nodes.slice(0, 5).map(({ html, failureSummary }) => ({ html, failureSummary })),
        }))),
        (error) => done([{ id: String(error) }]),
    );
";

fn arguments(look: Look) -> Vec<&'static str> {
    let mut arguments = vec![
        "--headless=new",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-dev-shm-usage",
        "--window-size=1280,900",
        "--hide-scrollbars",
        "--no-first-run",
        "--disable-background-networking",
    ];
    if look == Look::Dark {
        arguments.push("--blink-settings=preferredColorScheme=0");
    }
    arguments
}

fn programs() -> Option<(PathBuf, PathBuf)> {
    let chromium = CHROMIUM.into_iter().find_map(on_path)?;
    Some((chromium, on_path(CHROMEDRIVER)?))
}

fn on_path(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path)
        .map(|folder| folder.join(name))
        .find(|program| program.is_file())
}

/// `ChromeDriver was started successfully on port 38475.`
fn port_said(said: &mut impl BufRead) -> Result<u16> {
    let mut line = String::new();
    while said.read_line(&mut line)? > 0 {
        if let Some((_, port)) = line.rsplit_once("successfully on port ") {
            let port = port.trim_end().trim_end_matches('.');
            if let Ok(port) = port.parse() {
                return Ok(port);
            }
        }
        line.clear();
    }
    bail!("chromedriver didn't start")
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}
