//! `ratelimitd run`: starts everything in an order in which any failure leaves nothing behind, follows signals
//! and the key file, and stops by draining the proxy before the kernel program is detached.
#![forbid(unsafe_code)]

use crate::admin::{self, Line, Questions, Socket};
use crate::config::{self, Config, Mode};
use crate::control::Control;
use crate::dashboard;
use crate::enforcement::Enforcement;
use crate::kernel::{Inheritance, Pins};
use crate::key_watch::KeyWatch;
use crate::keys::{self, KeyFile};
use crate::places::Places;
use crate::policy::Policy;
use crate::proxy::{self, Shared};
use crate::service;
use anyhow::{Context, Result, anyhow};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{oneshot, watch};
use tracing::{info, warn};

/// How often the key file and the kernel program's log are looked at.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// How often the requests that the kernel has admitted are counted, where there is no proxy.
const COUNT_INTERVAL: Duration = Duration::from_millis(400);

/// Open files that are no client's and no upstream's: listeners, maps, logs, generously.
const FILES_BESIDES: u64 = 256;

/// Runs the daemon by the configuration at `path` until SIGTERM or SIGINT.
pub fn run(path: &Path) -> Result<()> {
    let config = Config::load(path)?;
    if !config.keys.file.exists() {
        // The first start draws the secret.
        keys::update(&config.keys.file, |_| Ok(()))?;
        warn!(
            "{} did not exist: created, without keys (`ratelimitd keys add` adds one)",
            config.keys.file.display()
        );
    }
    let file = KeyFile::load(&config.keys.file)?;
    let pins = pins(&config.kernel)?;
    let inheritance = pins.as_ref().and_then(Pins::inheritance);
    let places = match inheritance {
        Some(maps) => Places::keeping(maps.slots().len(), maps.owners()),
        None => Places::new(config.kernel.max_keys),
    };
    let policy = Policy::first(&config.tiers, &config.rules, &file, places)?;
    // Before clients can connect again: until then no connection is a living one's.
    inheritance.into_iter().for_each(Inheritance::settle);
    let listeners = match config.mode {
        Mode::Proxy => {
            raise_open_files(config.proxy.max_connections);
            let mut listeners = proxy::take_over(&config, service::kept_listeners())?;
            service::keep_listeners(&mut listeners);
            Some(listeners)
        }
        Mode::Kernel => None,
    };
    let socket = config.admin.socket.as_deref().map(Socket::bind).transpose()?;
    let dashboard = dashboard::Listener::bind(&config.admin)?;
    let enforcement = Enforcement::new(&config, policy, pins)?;
    let mut control = Control::new(enforcement, KeyWatch::new(path, config));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        // Before anything is attached: from here on a signal means an orderly stop.
        let signals = Signals::new()?;
        let config = control.config().clone();
        control.enforcement.attach(&config)?;
        let (line, questions) = Line::new();
        if let Some(socket) = socket {
            admin::serve(socket, line.clone())?;
        }
        if let Some(dashboard) = dashboard {
            dashboard.serve(&control, line.clone())?;
        }
        tokio::spawn(service::feed_watchdog(config, line));
        match listeners {
            Some(listeners) => serve(listeners, &mut control, signals, questions).await,
            None => {
                enforce(&mut control, signals, questions).await;
                Ok(())
            }
        }
    })?;
    if let Some(summary) = control.enforcement.summary()? {
        info!("the kernel found: {summary}");
    }
    let kernel = &control.config().kernel;
    let stays = !kernel.interfaces.is_empty() && kernel.pin_directory.is_some() && !kernel.detach_on_stop;
    if !stays {
        control.enforcement.detach()?;
    }
    drop(control);
    let left = if stays {
        "the kernel goes on enforcing; `ratelimitd detach` ends that"
    } else {
        "nothing is attached any more"
    };
    info!("stopped: {left}");
    Ok(())
}

/// Where the kernel's part is kept when the daemon is gone, if it is. Where the kernel has no part any more, what an
/// earlier daemon has left there is removed.
fn pins(kernel: &config::Kernel) -> Result<Option<Pins>> {
    let Some(directory) = &kernel.pin_directory else { return Ok(None) };
    if !kernel.interfaces.is_empty() {
        return Pins::take(directory).map(Some);
    }
    if let Some(pins) = Pins::find(directory)? {
        info!("no kernel.interfaces any more: detached from {}", pins.remove()?.join(", "));
    }
    Ok(None)
}

/// Raises the process's own limit on open files as far as it may: a proxied connection takes two of them.
fn raise_open_files(max_connections: usize) {
    let before = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: before.maximum, ..before };
    let after = setrlimit(Resource::Nofile, raised).map_or(before, |()| raised);
    let needed = 2 * max_connections as u64 + FILES_BESIDES;
    if let Some(limit) = after.current.filter(|limit| *limit < needed) {
        warn!(
            "{limit} open files are allowed, and proxy.max_connections = {max_connections} may take {needed}: \
             raise the limit (LimitNOFILE= in a unit, `ulimit -n` in a shell) or lower the number"
        );
    }
}

struct Signals {
    terminate: tokio::signal::unix::Signal,
    interrupt: tokio::signal::unix::Signal,
    reload: tokio::signal::unix::Signal,
}

impl Signals {
    fn new() -> Result<Self> {
        let listen = |kind| signal(kind).context("cannot listen for signals");
        Ok(Self {
            terminate: listen(SignalKind::terminate())?,
            interrupt: listen(SignalKind::interrupt())?,
            reload: listen(SignalKind::hangup())?,
        })
    }
}

/// Sees to the kernel, which enforces alone, until a signal.
async fn enforce(control: &mut Control, mut signals: Signals, mut questions: Questions) {
    warn!(
        "mode = \"kernel\": endpoint rules, anonymous clients and fields on admitted responses need the proxy and are \
         not available"
    );
    let status = format!("enforcing on ports {:?}", control.config().kernel.ports);
    info!("{status}");
    service::tell_ready(&status);
    let mut tick = tokio::time::interval(LOOK_INTERVAL);
    let mut count = tokio::time::interval(COUNT_INTERVAL);
    loop {
        tokio::select! {
            _ = signals.terminate.recv() => break,
            _ = signals.interrupt.recv() => break,
            _ = signals.reload.recv() => drop(control.reload()),
            _ = count.tick() => control.enforcement.follow_kernel(),
            _ = tick.tick() => control.look(),
            Some(question) = questions.recv() => question(control),
        }
    }
    info!("stopping");
    service::tell_stopping(control.config());
}

/// Serves until a signal, or until the proxy ends by itself, which is an error.
async fn serve(
    listeners: proxy::Listeners,
    control: &mut Control,
    mut signals: Signals,
    mut questions: Questions,
) -> Result<()> {
    let (stop, stopped) = watch::channel(false);
    let shared = shared(control);
    let (report, mut ended) = oneshot::channel();
    let proxy = thread::Builder::new().name("proxy".into()).spawn(move || {
        // Nobody is left to be told if the receiver is gone.
        let _ = report.send(proxy::serve(listeners, shared, stopped));
    })?;
    let upstreams: Vec<_> = control.config().proxy.upstreams.iter().map(ToString::to_string).collect();
    let status = format!("serving on {:?} for {}", control.config().proxy.listen, upstreams.join(", "));
    info!("{status}");
    service::tell_ready(&status);
    let mut tick = tokio::time::interval(LOOK_INTERVAL);
    loop {
        tokio::select! {
            _ = signals.terminate.recv() => break,
            _ = signals.interrupt.recv() => break,
            _ = signals.reload.recv() => drop(control.reload()),
            _ = tick.tick() => control.look(),
            Some(question) = questions.recv() => question(control),
            result = &mut ended => return result.map_err(|_| anyhow!("the proxy panicked"))?,
        }
    }
    info!("stopping: no new connections, open requests are answered");
    service::tell_stopping(control.config());
    drop(questions);
    stop.send_replace(true);
    let result = ended.await.map_err(|_| anyhow!("the proxy panicked"))?;
    proxy.join().map_err(|_| anyhow!("the proxy panicked"))?;
    result
}

/// What the proxy works with.
fn shared(control: &Control) -> Shared {
    let Control { enforcement, upstreams, .. } = control;
    Shared {
        policy: enforcement.policy().clone(),
        limiter: enforcement.limiter().clone(),
        flows: enforcement.flows().clone(),
        upstreams: upstreams.clone(),
        config: Arc::new(control.config().clone()),
        reports: Some(control.reports()),
    }
}
