//! A small school's API, for ratelimitd to stand in front of: what the guide's customers call, with real
//! data in memory.
//!
//! It counts the requests that reach it, by the key that they present. The counts are served at a second
//! address that ratelimitd does not know, so that they say what was admitted without being part of it.

mod routes;
mod school;
mod seen;

pub use seen::Counts;

use anyhow::{Context, Result};
use axum::{Router, middleware};
use seen::Seen;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::net::TcpListener;

/// Where the server listens.
#[derive(Clone, Copy, Debug, clap::Args)]
pub struct Addresses {
    /// Address of the API
    #[arg(long, default_value = "127.0.0.1:9000")]
    pub listen: SocketAddr,
    /// Address of the counts, at /_seen
    #[arg(long, default_value = "127.0.0.1:9001")]
    pub seen: SocketAddr,
}

/// Serves until the process is killed.
pub fn serve(addresses: Addresses) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    runtime.block_on(async {
        let seen = Arc::new(Seen::default());
        let api = routes::router().layer(middleware::from_fn_with_state(seen.clone(), seen::count));
        let api = axum::serve(bind(addresses.listen).await?, api);
        let counts: Router = seen::router(seen);
        let counts = axum::serve(bind(addresses.seen).await?, counts);
        eprintln!("serving the API on {}, its counts on {}", addresses.listen, addresses.seen);
        tokio::try_join!(api.into_future(), counts.into_future())?;
        Ok(())
    })
}

async fn bind(address: SocketAddr) -> Result<TcpListener> {
    TcpListener::bind(address).await.with_context(|| format!("cannot listen on {address}"))
}
