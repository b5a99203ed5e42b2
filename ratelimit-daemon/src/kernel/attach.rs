//! Attaching the programs to interfaces, each in the best way that it allows.

use super::{Kernel, program, why_refused};
use anyhow::{Context, Result, anyhow, bail};
use aya::Ebpf;
use aya::programs::tc::qdisc_add_clsact;
use aya::programs::{ProgramError, SchedClassifier, TcAttachType, Xdp, XdpMode};
use serde::{Deserialize, Serialize};
use std::fmt::{self, Display};
use tracing::warn;

/// How the program is attached to an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// XDP by the driver, before a socket buffer is made.
    Native,
    /// XDP by the network stack, for drivers that cannot.
    Generic,
    /// At the entrance of the TCP stack (TC), for interfaces that take no XDP program.
    Tc,
}

impl Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Native => "native XDP",
            Self::Generic => "generic XDP",
            Self::Tc => "TC",
        })
    }
}

/// An interface that the program is attached to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attached {
    /// Its name.
    pub interface: String,
    /// How.
    pub mode: Mode,
    /// The kernel's id of the program, as `bpftool prog` and `ip link` show it.
    pub program_id: u32,
}

impl Kernel {
    /// Attaches the program to `interface` in the first of `modes` that it can do; says in the log which it cannot.
    pub fn attach(&mut self, interface: &str, modes: &[Mode]) -> Result<Attached> {
        let mut refusals: Vec<anyhow::Error> = Vec::new();
        for mode in modes {
            match attach(&mut self.ebpf, interface, *mode) {
                Ok(program_id) => {
                    refusals.iter().for_each(|refusal| warn!("{refusal:#}; attached as {mode} instead"));
                    if *mode == Mode::Native && self.late_answers {
                        attach_classifier(&mut self.ebpf, "answer", interface)
                            .with_context(|| format!("cannot attach to {interface} by TC, behind XDP"))?;
                    }
                    return Ok(Attached { interface: interface.to_owned(), mode: *mode, program_id });
                }
                Err(error) if is_unknown_interface(&error) => {
                    bail!("kernel.interfaces: there is no interface {interface}")
                }
                Err(error) => refusals.push(error.context(format!("no {mode} on {interface}"))),
            }
        }
        let error = refusals.pop().unwrap_or_else(|| anyhow!("no way of attaching was allowed"));
        Err(error.context(format!(
            "cannot attach to {interface} (another XDP program may be there: `ip link show {interface}` tells)"
        )))
    }
}

fn is_unknown_interface(error: &anyhow::Error) -> bool {
    matches!(error.downcast_ref(), Some(ProgramError::UnknownInterface { .. }))
}

/// Returns the attached program's id.
fn attach(ebpf: &mut Ebpf, interface: &str, mode: Mode) -> Result<u32> {
    let (name, mode) = match mode {
        Mode::Native => ("ratelimit", XdpMode::Driver),
        Mode::Generic => ("ratelimit_generic", XdpMode::Skb),
        Mode::Tc => return attach_classifier(ebpf, "ratelimit_tc", interface),
    };
    let program: &mut Xdp = program(ebpf, name)?.try_into()?;
    if program.fd().is_err() {
        program.load().map_err(why_refused)?;
    }
    program.attach(interface, mode)?;
    Ok(program.info()?.id())
}

fn attach_classifier(ebpf: &mut Ebpf, name: &str, interface: &str) -> Result<u32> {
    let program: &mut SchedClassifier = program(ebpf, name)?.try_into()?;
    if program.fd().is_err() {
        program.load().map_err(why_refused)?;
    }
    // Needed before Linux 6.6, where a program hangs on a queueing discipline; one that is there already will do.
    let _ = qdisc_add_clsact(interface);
    program.attach(interface, TcAttachType::Ingress)?;
    Ok(program.info()?.id())
}
