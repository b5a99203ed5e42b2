//! `cargo xtask bench`: measures what a packet and a proxied request cost, beside something to compare with
//! in the same run, and writes the tables of `docs/benchmarks.md`.

mod accuracy;
mod cores;
mod figures;
mod flood;
mod generator;
mod machine;
mod packet;
mod page;
mod peers;
mod plot;
mod proxy;
mod server;
mod size;
mod wrk;

use crate::interrupt;
use crate::{build, setup};
use anyhow::Result;
use clap::{Args, ValueEnum};
use peers::Subject;
use std::time::Instant;

/// What to measure.
#[derive(Args, Clone, Debug)]
pub struct Options {
    /// Measures one part only
    #[arg(long, value_enum)]
    only: Option<Part>,
    /// Measures everything briefly, to see that it works; prints the tables and leaves the page alone
    #[arg(long)]
    quick: bool,
    /// Rounds of what is measured against others in turns, at least 2
    #[arg(long, default_value_t = 7, value_parser = clap::value_parser!(u8).range(2..))]
    rounds: u8,
    /// Compares with these only
    #[arg(long, value_enum, value_delimiter = ',')]
    against: Vec<Subject>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Part {
    /// Nanoseconds a packet in the kernel program
    Packet,
    /// Requests a second through the proxies, their CPU time and their latency, beside the peers
    Proxy,
    /// Wrongly admitted and wrongly refused, beside the peers
    Accuracy,
    /// Packets a second in a flood, and what others notice of one
    Flood,
    /// Memory for each key and the time of a start, beside the peers
    Size,
    /// Requests a second of the load generator, beside wrk
    Generator,
}

impl Part {
    const ALL: [Self; 6] =
        [Self::Packet, Self::Proxy, Self::Accuracy, Self::Flood, Self::Size, Self::Generator];

    const fn name(self) -> &'static str {
        match self {
            Self::Packet => "packet",
            Self::Proxy => "proxy",
            Self::Accuracy => "accuracy",
            Self::Flood => "flood",
            Self::Size => "size",
            Self::Generator => "generator",
        }
    }
}

/// Installs and builds what is missing, measures, and writes the page.
pub fn run(options: &Options) -> Result<()> {
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
        measure(part, options)?;
    }
    eprintln!("bench: done in {} s", start.elapsed().as_secs());
    Ok(())
}

fn measure(part: Part, options: &Options) -> Result<()> {
    let (quick, rounds) = (options.quick, options.rounds.into());
    let peers = if options.against.is_empty() { &Subject::PEERS[..] } else { &options.against };
    if part == Part::Packet {
        packet::build()?;
    }
    let machine = machine::describe()?;
    let tables = match part {
        Part::Packet => packet::measure()?,
        Part::Proxy => proxy::measure(peers, rounds, quick)?,
        Part::Accuracy => accuracy::measure(peers, quick)?,
        Part::Flood => flood::measure(rounds, quick)?,
        Part::Size => size::measure(peers, quick)?,
        Part::Generator => generator::measure(quick)?,
    };
    let name = part.name();
    let in_turns = matches!(part, Part::Proxy | Part::Flood);
    let chosen = if in_turns { format!(" --rounds {rounds}") } else { String::new() };
    let text = format!("{machine}\n\nTo run it again: `cargo xtask bench --only {name}{chosen}`\n\n{tables}");
    println!("\n{text}");
    if !quick {
        page::replace(name, &text)?;
    }
    Ok(())
}
