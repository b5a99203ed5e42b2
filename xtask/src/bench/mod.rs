//! `cargo xtask bench`: measures what a packet and a proxied request cost, beside something to compare with
//! in the same run, and writes the tables of `docs/benchmarks.md`.

mod figures;
mod machine;
mod packet;
mod page;
mod proxy;

use crate::interrupt;
use crate::{build, setup};
use anyhow::Result;
use clap::{Args, ValueEnum};
use std::time::Instant;

/// What to measure.
#[derive(Args, Clone, Copy, Debug)]
pub struct Options {
    /// Measures one part only
    #[arg(long, value_enum)]
    only: Option<Part>,
    /// Measures the proxies briefly, to see that everything works; prints the tables and leaves the page alone
    #[arg(long)]
    quick: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Part {
    /// Nanoseconds a packet in the kernel program
    Packet,
    /// Requests a second through the proxy, and its CPU time, beside nginx
    Proxy,
}

impl Part {
    const ALL: [Self; 2] = [Self::Packet, Self::Proxy];

    const fn name(self) -> &'static str {
        match self {
            Self::Packet => "packet",
            Self::Proxy => "proxy",
        }
    }
}

/// Installs and builds what is missing, measures, and writes the page.
pub fn run(options: Options) -> Result<()> {
    let parts: Vec<_> = match options.only {
        Some(part) => vec![part],
        None => Part::ALL.to_vec(),
    };
    if parts.contains(&Part::Packet) {
        packet::check()?;
    }
    setup::test_tools()?;
    build::all(false)?;
    interrupt::install()?;
    let start = Instant::now();
    for part in parts {
        measure(part, options.quick)?;
    }
    eprintln!("bench: done in {} s", start.elapsed().as_secs());
    Ok(())
}

fn measure(part: Part, quick: bool) -> Result<()> {
    if part == Part::Packet {
        packet::build()?;
    }
    let machine = machine::describe()?;
    let tables = match part {
        Part::Packet => packet::measure()?,
        Part::Proxy => proxy::measure(quick)?,
    };
    let name = part.name();
    let text = format!("{machine}\n\nTo run it again: `cargo xtask bench --only {name}`\n\n{tables}");
    println!("\n{text}");
    if !quick {
        page::replace(name, &text)?;
    }
    Ok(())
}
