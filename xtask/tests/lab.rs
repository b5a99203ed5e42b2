//! The laboratory itself: it joins, it isolates, and it leaves nothing behind.

use anyhow::Result;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::time::Duration;
use xtask::lab::{Lab, WIRE};

const LIMIT: Duration = Duration::from_secs(20);

fn exists(namespace: &str) -> bool {
    Path::new("/run/netns").join(namespace).exists()
}

/// Connects from the client to a listener on the host.
fn connects(lab: &Lab, address: SocketAddr) -> Result<()> {
    let listener = lab.host.inside(|| Ok(TcpListener::bind(address)?))?;
    let client = lab.client.inside(|| Ok(TcpStream::connect_timeout(&address, LIMIT)?))?;
    let (_, peer) = listener.accept()?;
    assert_eq!(peer, client.local_addr()?);
    Ok(())
}

#[test]
fn the_client_reaches_the_host_by_both_families() -> Result<()> {
    let lab = Lab::open()?;
    connects(&lab, lab.host_v4(8080))?;
    connects(&lab, lab.host_v6(8080))
}

#[test]
fn the_clients_end_passes_what_xdp_sends_back() -> Result<()> {
    let lab = Lab::open()?;
    let link = lab.client.output("ip", &["-details", "link", "show", WIRE])?;
    assert!(link.contains("prog/xdp"), "{link}");
    Ok(())
}

#[test]
fn two_laboratories_do_not_meet() -> Result<()> {
    let (one, other) = (Lab::open()?, Lab::open()?);
    let address = one.host_v4(8080);
    let listener = one.host.inside(|| Ok(TcpListener::bind(address)?))?;
    let reached = other.client.inside(|| Ok(TcpStream::connect_timeout(&address, LIMIT).is_ok()))?;
    assert!(!reached);
    drop(listener);
    Ok(())
}

#[test]
fn nothing_is_left_behind() -> Result<()> {
    let lab = Lab::open()?;
    let names = [lab.client.name().to_owned(), lab.host.name().to_owned()];
    let directory = lab.directory().to_owned();
    let process = lab.start("sleep", Path::new("sleep"), &["1000"])?;
    let running = Path::new("/proc").join(process.id().to_string());
    assert!(names.iter().all(|name| exists(name)) && directory.exists() && running.exists());
    let unwound = catch_unwind(AssertUnwindSafe(move || {
        let _held = (process, lab);
        panic!("as a failing test does");
    }));
    assert!(unwound.is_err());
    assert!(!names.iter().any(|name| exists(name)) && !directory.exists() && !running.exists());
    Ok(())
}

#[test]
fn a_program_that_ends_early_is_told_with_its_last_words() -> Result<()> {
    let lab = Lab::open()?;
    let mut process = lab.start("sh", Path::new("sh"), &["-c", "echo no such luck; exit 3"])?;
    let ready = process.wait_until(LIMIT, |_| Ok(false));
    assert!(ready.is_err_and(|error| error.to_string().contains("no such luck")));
    Ok(())
}
