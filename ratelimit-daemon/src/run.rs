//! `ratelimitd run`: starts everything in an order in which any failure leaves nothing behind, follows signals
//! and the key file, and stops by draining the proxy before the kernel program is detached.
#![forbid(unsafe_code)]

use crate::clock;
use crate::config::{Config, Mode};
use crate::enforcement::Enforcement;
use crate::key_watch::KeyWatch;
use crate::keys::{self, KeyFile};
use crate::policy::Policy;
use crate::proxy::{self, Shared};
use anyhow::{Context, Result, anyhow};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{oneshot, watch};
use tracing::{error, info, warn};

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
    let policy = Policy::build(&config.tiers, &config.rules, &file, None, config.kernel.max_keys)?;
    let listeners = match config.mode {
        Mode::Proxy => {
            raise_open_files(config.proxy.max_connections);
            Some(proxy::bind(&config)?)
        }
        Mode::Kernel => None,
    };
    let mut enforcement = Enforcement::new(&config, policy)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        // Before anything is attached: from here on a signal means an orderly stop.
        let signals = Signals::new()?;
        enforcement.attach(&config)?;
        let watch = KeyWatch::new(path, config);
        match listeners {
            Some(listeners) => serve(listeners, watch, &mut enforcement, signals).await,
            None => {
                enforce(watch, &mut enforcement, signals).await;
                Ok(())
            }
        }
    })?;
    if let Some(summary) = enforcement.summary()? {
        info!("the kernel found: {summary}");
    }
    drop(enforcement);
    info!("stopped: nothing is attached any more");
    Ok(())
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
async fn enforce(mut watch: KeyWatch, enforcement: &mut Enforcement, mut signals: Signals) {
    warn!(
        "mode = \"kernel\": endpoint rules, anonymous clients and fields on admitted responses need the proxy and are \
         not available"
    );
    info!("enforcing on ports {:?}", watch.config().kernel.ports);
    let mut tick = tokio::time::interval(LOOK_INTERVAL);
    let mut count = tokio::time::interval(COUNT_INTERVAL);
    loop {
        tokio::select! {
            _ = signals.terminate.recv() => break,
            _ = signals.interrupt.recv() => break,
            _ = signals.reload.recv() => report_failure(watch.reload(enforcement)),
            _ = count.tick() => enforcement.follow_kernel(),
            _ = tick.tick() => look(&mut watch, enforcement),
        }
    }
    info!("stopping");
}

/// What is to be seen to every second.
fn look(watch: &mut KeyWatch, enforcement: &mut Enforcement) {
    enforcement.attend_to_kernel();
    enforcement.policy().load().tidy(clock::now());
    report_failure(enforcement.expire());
    report_failure(watch.follow(enforcement));
}

/// Serves until a signal, or until the proxy ends by itself, which is an error.
async fn serve(
    listeners: proxy::Listeners,
    mut watch: KeyWatch,
    enforcement: &mut Enforcement,
    mut signals: Signals,
) -> Result<()> {
    let (stop, stopped) = watch::channel(false);
    let shared = Shared {
        policy: enforcement.policy().clone(),
        limiter: enforcement.limiter().clone(),
        flows: enforcement.flows().clone(),
        config: Arc::new(watch.config().clone()),
    };
    let (report, mut ended) = oneshot::channel();
    let proxy = thread::Builder::new().name("proxy".into()).spawn(move || {
        // Nobody is left to be told if the receiver is gone.
        let _ = report.send(proxy::serve(listeners, shared, stopped));
    })?;
    let upstreams: Vec<_> = watch.config().proxy.upstreams.iter().map(ToString::to_string).collect();
    info!("serving on {:?} for {}", watch.config().proxy.listen, upstreams.join(", "));
    let mut tick = tokio::time::interval(LOOK_INTERVAL);
    loop {
        tokio::select! {
            _ = signals.terminate.recv() => break,
            _ = signals.interrupt.recv() => break,
            _ = signals.reload.recv() => report_failure(watch.reload(enforcement)),
            _ = tick.tick() => look(&mut watch, enforcement),
            result = &mut ended => return result.map_err(|_| anyhow!("the proxy panicked"))?,
        }
    }
    info!("stopping: no new connections, open requests are answered");
    stop.send_replace(true);
    let result = ended.await.map_err(|_| anyhow!("the proxy panicked"))?;
    proxy.join().map_err(|_| anyhow!("the proxy panicked"))?;
    result
}

/// What is in force stays in force when something new is wrong.
fn report_failure(result: Result<()>) {
    if let Err(error) = result {
        error!("not taken over: {error:#}");
    }
}
