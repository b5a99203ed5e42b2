//! The service manager: it is told what the daemon does (sd_notify(3)), and its watchdog is fed for as long as
//! requests get through. Without one, nothing of this happens.
#![forbid(unsafe_code)]

mod listeners;
mod self_check;

pub(crate) use listeners::{keep_listeners, kept_listeners};

use crate::admin::Line;
use crate::config::{Config, Mode};
use crate::control::Control;
use sd_notify::NotifyState;
use self_check::SelfCheck;
use std::time::Duration;
use tokio::time::{MissedTickBehavior, interval};
use tracing::warn;

/// So many times in the watchdog's interval it is fed.
const FEEDS: u32 = 4;

/// So long a stop may take beyond the drain timeout.
const STOP_MARGIN: Duration = Duration::from_secs(10);

/// The daemon serves; `status` is a line for people.
pub(crate) fn tell_ready(status: &str) {
    tell(&[NotifyState::Ready, NotifyState::Status(status)]);
}

/// A reload has begun; [`tell_reloaded`] follows, however it ends.
pub(crate) fn tell_reloading() {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => tell(&[NotifyState::Reloading, now]),
        Err(error) => warn!("cannot read the clock for the service manager: {error}"),
    }
}

/// A reload has ended.
pub(crate) fn tell_reloaded() {
    tell(&[NotifyState::Ready]);
}

/// The daemon stops, and may take as long as open requests have.
pub(crate) fn tell_stopping(config: &Config) {
    let needed = match config.mode {
        Mode::Proxy => config.proxy.drain_timeout + STOP_MARGIN,
        Mode::Kernel => STOP_MARGIN,
    };
    let needed = u32::try_from(needed.as_micros()).unwrap_or(u32::MAX);
    tell(&[NotifyState::Stopping, NotifyState::ExtendTimeoutUsec(needed)]);
}

fn tell(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        warn!("cannot tell the service manager: {error}");
    }
}

/// Feeds the service manager's watchdog, if it has one, for as long as requests get through the proxy and the control
/// loop goes round: both have a part in each feed.
pub(crate) async fn feed_watchdog(config: Config, line: Line) {
    let Some(limit) = sd_notify::watchdog_enabled() else { return };
    let check = SelfCheck::new(&config);
    let mut tick = interval(limit / FEEDS);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tick.tick().await;
        match check.run(limit / FEEDS).await {
            // An error says that the daemon stops: the watchdog is over.
            Ok(()) => match line.ask(feed).await {
                Ok(()) => {}
                Err(_) => return,
            },
            Err(error) => warn!("the self-check failed, so the watchdog is not fed: {error}"),
        }
    }
}

/// The control loop's part.
fn feed(control: &mut Control) {
    match control.enforcement.counters() {
        Ok(_) => tell(&[NotifyState::Watchdog]),
        Err(error) => warn!("the kernel program cannot be asked, so the watchdog is not fed: {error:#}"),
    }
}
