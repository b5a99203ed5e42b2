//! The service manager keeps the listeners open from one daemon to the next: whoever connects meanwhile waits, and is
//! not turned away.
#![forbid(unsafe_code)]

use crate::proxy::Listeners;
use listenfd::ListenFd;
use sd_notify::NotifyState;
use std::env;
use std::net::TcpListener;
use std::os::fd::{AsFd, BorrowedFd};
use tracing::{info, warn};

/// What they are called there.
const NAME: &str = "listener";

/// So many file descriptors fit one message (the kernel's SCM_MAX_FD).
const MOST_AT_ONCE: usize = 253;

/// The listeners of an earlier daemon; none if nobody has kept any.
pub(crate) fn kept_listeners() -> Vec<TcpListener> {
    let mut kept = ListenFd::from_env();
    // What is no listener is nothing of ours.
    let listeners: Vec<_> =
        (0..kept.len()).filter_map(|index| kept.take_tcp_listener(index).ok().flatten()).collect();
    if !listeners.is_empty() {
        info!("{} listeners of an earlier daemon are still open", listeners.len());
    }
    listeners
}

/// Lets the service manager keep `listeners`, and nothing of before, if it can: systemd says so from version 254 on.
pub(crate) fn keep_listeners(listeners: &mut Listeners) {
    let room = env::var("FDSTORE").ok().and_then(|most| most.parse().ok()).unwrap_or(0);
    let sockets: Vec<BorrowedFd<'_>> = listeners.all().map(|listener| listener.as_fd()).collect();
    if room == 0 || env::var_os("NOTIFY_SOCKET").is_none() {
        return;
    }
    if sockets.len() > room {
        warn!(
            "{} listeners, and the unit keeps {room} at a restart: raise FileDescriptorStoreMax=",
            sockets.len()
        );
        return;
    }
    let forgotten = sd_notify::notify(&[NotifyState::FdStoreRemove, NotifyState::FdName(NAME)]);
    let told = sockets.chunks(MOST_AT_ONCE).try_fold((), |(), some| {
        sd_notify::notify_with_fds(&[NotifyState::FdStore, NotifyState::FdName(NAME)], some)
    });
    match forgotten.and(told) {
        Ok(()) => listeners.keep(),
        Err(error) => warn!("the service manager cannot keep the listeners: {error}"),
    }
}
