//! The listener: its thread, and bounds on what anybody can hold of it.

use super::guard::Guard;
use super::token::Token;
use super::{Desk, api, live};
use crate::admin::Line;
use crate::config::Admin;
use crate::control::Control;
use anyhow::{Context, Result};
use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use rustix::process::setpriority_process;
use std::net::TcpListener;
use std::sync::Arc;
use std::thread;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::time::sleep;
use tracing::{error, info, warn};

/// Connections at once; more wait to be accepted.
const CONNECTIONS: usize = 128;

/// Time in which a request's head must be there.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);

/// Pause after an `accept` that failed.
const PAUSE: Duration = Duration::from_millis(100);

/// Bytes of a head.
const HEAD: usize = 16 << 10;

/// How far the thread stands back behind the proxy's: see nice(2).
const NICE: i32 = 10;

/// The dashboard's listener, bound and not yet served.
#[derive(Debug)]
pub(crate) struct Listener {
    listener: TcpListener,
    guard: Guard,
}

impl Listener {
    /// Listens as `admin` says; `None` if nowhere. Errors: the address, or the token's file.
    pub(crate) fn bind(admin: &Admin) -> Result<Option<Self>> {
        let Some(address) = admin.listen else { return Ok(None) };
        let token = Token::load(&admin.token_file)?;
        let listener = TcpListener::bind(address)
            .with_context(|| format!("admin.listen: cannot listen on {address}"))?;
        listener.set_nonblocking(true)?;
        if !address.ip().is_loopback() {
            warn!(
                "admin.listen: {address} is reached from other hosts, and the token goes over the wire in the clear"
            );
        }
        let guard = Guard { token, hosts: admin.hosts.clone(), controls: admin.controls };
        Ok(Some(Self { listener, guard }))
    }

    /// Answers by what `control` has and by what it says over `line`, in a thread that ends with the process.
    pub(crate) fn serve(self, control: &Control, line: Line) -> Result<()> {
        let Self { listener, guard } = self;
        let address = listener.local_addr()?;
        let desk = Desk::new(control, line, guard);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let serve = move || {
            // Without the right to it the thread stands where all others do.
            let _ = setpriority_process(None, NICE);
            if let Err(error) = runtime.block_on(accept(listener, desk)) {
                error!("admin.listen: nobody is answered any more: {error}");
            }
        };
        thread::Builder::new().name("dashboard".into()).spawn(serve)?;
        info!("the dashboard is at http://{address}/");
        Ok(())
    }
}

async fn accept(listener: TcpListener, desk: Desk) -> Result<()> {
    let listener = tokio::net::TcpListener::from_std(listener)?;
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    let routes = api::routes(desk.clone());
    tokio::spawn(live::produce(desk));
    loop {
        let place = places.clone().acquire_owned().await?;
        match listener.accept().await {
            Ok((stream, _)) => {
                let routes = routes.clone();
                tokio::spawn(async move {
                    answer(stream, routes).await;
                    drop(place);
                });
            }
            Err(_) => sleep(PAUSE).await,
        }
    }
}

/// Answers the requests of one connection. How it ends is the client's affair.
async fn answer(stream: TcpStream, routes: Router) {
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT).max_buf_size(HEAD);
    let connection = http.serve_connection(TokioIo::new(stream), TowerToHyperService::new(routes));
    let _ = connection.await;
}
