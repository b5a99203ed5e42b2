//! The dashboard in a real browser: each page shows what the limits did.

use crate::browser::{Browser, Look};
use crate::{ask, deploy, send};
use anyhow::{Result, ensure};
use serde_json::json;
use xtask::client::Request;
use xtask::deployment::{DASHBOARD, Deployment, PORT};

/// A name that a careless page would stumble over.
const HOSTILE: &str = "__proto__";

fn page(name: &str) -> String {
    format!("http://{DASHBOARD}/#/{name}")
}

fn sign_in(browser: &Browser<'_>, deployment: &Deployment) -> Result<()> {
    browser.open(&page(""))?;
    browser.wait_for(&["Sign in"])?;
    browser.fill("#token", &deployment.token()?)?;
    browser.click("button[type=submit]")?;
    browser.wait_for(&["Overview", "live"])
}

#[test]
fn each_page_shows_what_the_limits_did() -> Result<()> {
    let deployment = deploy("reply", "", &[("acme", "professional"), (HOSTILE, "professional")])?;
    let server = deployment.lab.host_v4(PORT);
    let acme = send(&deployment, server, "acme", 130, |_| false)?;
    let split = send(&deployment, server, HOSTILE, 3, |_| true)?;
    let hostile = [("X-API-Key", deployment.key(HOSTILE)?)];
    for path in ["/search/x", "/search/%3Cimg%20src=x%20onerror=document.title='owned'%3E", "/<b>bold</b>"] {
        ask(&deployment, server, &Request::get(path, &hostile))?;
    }
    ask(&deployment, server, &Request::get("/courses", &[("X-API-Key", "a-key-of-nobody")]))?;
    let (admitted, refused) = (acme.admitted + split.admitted + 3, 130 - acme.admitted);
    ensure!(refused > 0 && split.admitted == 3, "{acme:?} {split:?}");

    let browser = Browser::start(&deployment.lab, Look::Desktop)?;
    browser.open(&page(""))?;
    browser.wait_for(&["Sign in"])?;
    browser.fill("#token", "not-the-token-of-anybody")?;
    browser.click("button[type=submit]")?;
    browser.wait_for(&["That is not the token."])?;
    // That there was a 401 is what a browser's console says of it.
    let complaints = browser.complaints()?;
    ensure!(complaints.len() == 1 && complaints[0].contains("401"), "{complaints:?}");
    sign_in(&browser, &deployment)?;
    browser.wait_for(&[&format!("{admitted} in the last hour"), "acme", HOSTILE, "Attached to"])?;
    browser.picture("overview")?;

    // What comes now is there without anybody asking.
    let more = send(&deployment, server, HOSTILE, 7, |_| true)?;
    ensure!(more.admitted == 7, "{more:?}");
    browser.wait_for(&[&format!("{} in the last hour", admitted + 7)])?;

    browser.open(&page("keys"))?;
    browser.wait_for(&["1 to 2 of 2 keys", &format!("{} / 1,000", acme.admitted), "13 / 1,000"])?;
    browser.fill("input[type=search]", "PROTO")?;
    browser.wait_for(&["1 to 1 of 1 key", HOSTILE])?;
    browser.picture("keys")?;

    browser.open(&page("keys/acme"))?;
    let refusals = "return [...document.querySelectorAll('.facts div')].map((fact) => fact.innerText.replace('\\n', ' '))";
    browser.wait_for(&["Limits now", "GET /courses", "Most:"])?;
    let told = browser.run(refusals)?.to_string();
    ensure!(told.contains(&format!("Admitted {}", acme.admitted)), "{told}");
    ensure!(refused_by_all(&told)? == refused, "{told}: {refused} were refused");
    browser.fill("form input", "/search/y")?;
    browser.click("form button")?;
    browser.wait_for(&["search 0"])?;

    browser.open(&page("endpoints"))?;
    browser.wait_for(&["GET /search/*", "100 in an hour: GET /search/*", "other"])?;
    // Some may have been the proxy's to refuse.
    if told.contains("burst, by the proxy 0") {
        browser.wait_for(&[&format!("{refused} more were refused in the kernel")])?;
    }
    browser.open(&page("history"))?;
    browser.wait_for(&["429s a second", "Peak times", "Most:", "A point is"])?;
    let drawn = "return document.querySelectorAll('canvas').length";
    ensure!(browser.run(drawn)? == json!(2), "the plots are drawn");
    browser.picture("history")?;
    browser.open(&page("kernel"))?;
    browser.wait_for(&["Verdicts", "refused_burst", "native, program", "2 keys of"])?;

    // Nothing of a path or a name became a part of the page, or a program.
    ensure!(browser.run("return document.title")? == json!("Kernel · ratelimitd"), "the title");
    ensure!(
        browser.run("return document.querySelectorAll('main img, main b b').length")? == json!(0),
        "markup"
    );
    let complaints = browser.complaints()?;
    ensure!(complaints.is_empty(), "{complaints:?}");
    Ok(())
}

/// The sum of what a key's page says was refused.
fn refused_by_all(told: &str) -> Result<u64> {
    let facts: Vec<String> = serde_json::from_str(told)?;
    let refused = facts.iter().filter(|fact| fact.starts_with("Refused"));
    refused.map(|fact| Ok(fact.rsplit(' ').next().unwrap_or_default().parse::<u64>()?)).sum()
}

/// The page's ground, as light as it is, from 0 to 255.
const GROUND: &str = "return Number(getComputedStyle(document.body).backgroundColor.match(/\\d+/)[0])";

#[test]
fn it_is_dark_in_the_dark_and_fits_a_phone() -> Result<()> {
    let deployment = deploy("reply", "", &[("acme", "professional")])?;
    send(&deployment, deployment.lab.host_v4(PORT), "acme", 120, |_| false)?;
    {
        let dark = Browser::start(&deployment.lab, Look::Dark)?;
        sign_in(&dark, &deployment)?;
        dark.wait_for(&["acme"])?;
        ensure!(dark.run(GROUND)?.as_u64() < Some(60), "{}", dark.run(GROUND)?);
        dark.picture("overview-dark")?;
        ensure!(dark.complaints()?.is_empty(), "{:?}", dark.complaints()?);
    }
    let phone = Browser::start(&deployment.lab, Look::Phone)?;
    sign_in(&phone, &deployment)?;
    for (name, words) in [
        ("", "Most used in the last hour"),
        ("keys", "of 1 key"),
        ("keys/acme", "Limits now"),
        ("endpoints", "Routes"),
        ("history", "Peak times"),
        ("kernel", "Skips"),
    ] {
        phone.open(&page(name))?;
        phone.wait_for(&[words])?;
        let width = phone.run("return document.documentElement.scrollWidth")?;
        ensure!(width == json!(390), "{name}: {width} wide");
        phone.picture(&format!("phone-{}", name.replace('/', "-")))?;
    }
    ensure!(phone.run(GROUND)?.as_u64() > Some(200), "light by day");
    ensure!(phone.complaints()?.is_empty(), "{:?}", phone.complaints()?);
    Ok(())
}

#[test]
fn it_loads_in_little_and_asks_nobody_else() -> Result<()> {
    let deployment = deploy("reply", "", &[("acme", "professional")])?;
    let browser = Browser::start(&deployment.lab, Look::Desktop)?;
    let loaded = "return performance.getEntriesByType('resource').concat(performance.getEntriesByType('navigation'))\
        .map((entry) => [entry.name, entry.transferSize])";
    let loaded = || -> Result<Vec<(String, u64)>> { Ok(serde_json::from_value(browser.run(loaded)?)?) };
    browser.open(&page(""))?;
    browser.wait_for(&["Sign in"])?;
    let mut all = loaded()?;
    ensure!(all.iter().map(|(_, bytes)| bytes).sum::<u64>() > 10_000, "{all:?}");
    sign_in(&browser, &deployment)?;
    browser.wait_for(&["Daemon"])?;
    all.extend(loaded()?);
    let own = format!("http://{DASHBOARD}/");
    ensure!(all.iter().all(|(name, _)| name.starts_with(&own) || name.starts_with("data:")), "{all:?}");
    let bytes: u64 = all.iter().map(|(_, bytes)| bytes).sum();
    ensure!(bytes < 200 << 10, "{bytes} bytes: {all:?}");
    Ok(())
}
