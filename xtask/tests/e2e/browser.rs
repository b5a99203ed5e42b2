//! A browser on the host, as an operator has it: Chromium without a window, driven over WebDriver.

use crate::SOON;
use anyhow::{Context, Result, bail, ensure};
use fantoccini::wd::WebDriverCompatibleCommand;
use fantoccini::{Client, ClientBuilder};
use hyper_util::client::legacy::connect::HttpConnector;
use serde_json::{Value, json};
use std::path::PathBuf;
use std::time::{Duration, Instant};
use tokio::runtime::Runtime;
use xtask::command;
use xtask::lab::{Lab, Process};

/// Where the driver listens, on the host.
const DRIVER: &str = "9515";

/// How the page is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Look {
    Desktop,
    Dark,
    Phone,
}

/// A running browser. Ended when dropped.
pub(crate) struct Browser<'a> {
    lab: &'a Lab,
    runtime: Runtime,
    client: Client,
    _driver: Process,
}

impl<'a> Browser<'a> {
    pub(crate) fn start(lab: &'a Lab, look: Look) -> Result<Self> {
        let program =
            command::find("chromedriver").context("chromedriver is missing: run `cargo xtask setup`")?;
        let mut driver = lab.start("chromedriver", &program, &[&format!("--port={DRIVER}")])?;
        driver.wait_until(SOON, |driver| Ok(driver.log().contains("started successfully")))?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let profile = lab.directory().join(format!("browser-{look:?}"));
        let client = lab.host.inside(|| {
            let mut builder = ClientBuilder::new(HttpConnector::new());
            builder.capabilities(capabilities(look, &profile).as_object().cloned().unwrap_or_default());
            Ok(runtime.block_on(builder.connect(&format!("http://127.0.0.1:{DRIVER}")))?)
        })?;
        Ok(Self { lab, runtime, client, _driver: driver })
    }

    pub(crate) fn open(&self, address: &str) -> Result<()> {
        self.lab.host.inside(|| Ok(self.runtime.block_on(self.client.goto(address))?))
    }

    /// What `script`, the body of a function, returns.
    pub(crate) fn run(&self, script: &str) -> Result<Value> {
        self.lab.host.inside(|| Ok(self.runtime.block_on(self.client.execute(script, Vec::new()))?))
    }

    /// The text of the page as it is read.
    pub(crate) fn text(&self) -> Result<String> {
        let text = self.run("return document.body.innerText")?;
        Ok(text.as_str().context("the page has no text")?.to_owned())
    }

    /// Waits until the page says all of `words`.
    pub(crate) fn wait_for(&self, words: &[&str]) -> Result<()> {
        let start = Instant::now();
        loop {
            let text = self.text()?;
            let missing: Vec<_> = words.iter().filter(|words| !text.contains(**words)).collect();
            if missing.is_empty() {
                return Ok(());
            }
            ensure!(start.elapsed() < SOON, "never on the page: {missing:?}; there is:\n{text}");
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// Types `text` into the first element that `selector` finds.
    pub(crate) fn fill(&self, selector: &str, text: &str) -> Result<()> {
        let (selector, text) = (json!(selector), json!(text));
        let script = format!(
            "const field = document.querySelector({selector}); field.value = {text}; \
             field.dispatchEvent(new Event('input', {{ bubbles: true }})); \
             field.dispatchEvent(new Event('change', {{ bubbles: true }}));"
        );
        self.run(&script).map(drop)
    }

    pub(crate) fn click(&self, selector: &str) -> Result<()> {
        self.run(&format!("document.querySelector({}).click()", json!(selector))).map(drop)
    }

    /// Leaves a picture of the page in `target/screenshots`.
    pub(crate) fn picture(&self, name: &str) -> Result<PathBuf> {
        let png = self.lab.host.inside(|| Ok(self.runtime.block_on(self.client.screenshot())?))?;
        let directory = xtask::workspace::root().join("target/screenshots");
        std::fs::create_dir_all(&directory)?;
        let path = directory.join(format!("{name}.png"));
        std::fs::write(&path, png)?;
        Ok(path)
    }

    /// What the console has that is worse than a remark, since the last time.
    pub(crate) fn complaints(&self) -> Result<Vec<String>> {
        let log = self.lab.host.inside(|| Ok(self.runtime.block_on(self.client.issue_cmd(ConsoleLog))?))?;
        let Some(entries) = log.as_array() else { bail!("no log of the console: {log}") };
        let is_bad = |entry: &&Value| entry["level"] == "SEVERE" || entry["level"] == "WARNING";
        Ok(entries.iter().filter(is_bad).map(|entry| entry["message"].to_string()).collect())
    }
}

impl Drop for Browser<'_> {
    /// The driver ends the browser with its session; if it is killed the browser stays.
    fn drop(&mut self) {
        let client = self.client.clone();
        if let Err(error) = self.lab.host.inside(|| Ok(self.runtime.block_on(client.close())?)) {
            eprintln!("the browser was not ended: {error:#}");
        }
    }
}

fn capabilities(look: Look, profile: &std::path::Path) -> Value {
    let mut arguments: Vec<String> = [
        "--headless=new",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-quic",
        "--disable-dev-shm-usage",
        "--no-first-run",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        "--window-size=1280,1000",
    ]
    .map(str::to_owned)
    .to_vec();
    arguments.push(format!("--user-data-dir={}", profile.display()));
    if look == Look::Dark {
        arguments.push("--blink-settings=preferredColorScheme=0".to_owned());
    }
    let mut options = json!({ "args": arguments });
    if look == Look::Phone {
        options["mobileEmulation"] =
            json!({ "deviceMetrics": { "width": 390, "height": 844, "pixelRatio": 1.0, "touch": true } });
    }
    json!({ "goog:chromeOptions": options, "goog:loggingPrefs": { "browser": "ALL" } })
}

/// Chromium's own command for the lines of the console.
#[derive(Debug)]
struct ConsoleLog;

impl WebDriverCompatibleCommand for ConsoleLog {
    fn endpoint(&self, base: &url::Url, session: Option<&str>) -> Result<url::Url, url::ParseError> {
        base.join(&format!("session/{}/se/log", session.unwrap_or_default()))
    }

    fn method_and_body(&self, _: &url::Url) -> (http::Method, Option<String>) {
        (http::Method::POST, Some(json!({ "type": "browser" }).to_string()))
    }
}
