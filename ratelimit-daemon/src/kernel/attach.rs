//! Attaching the programs to interfaces, each in the best way that it allows; or putting them in the place of those
//! that an earlier daemon has left attached.

use super::pins::{Directory, Hook, detach, unpin};
use super::{Kernel, program, why_refused};
use anyhow::{Context, Result, anyhow, bail};
use aya::Ebpf;
use aya::programs::links::{FdLink, PinnedLink};
use aya::programs::tc::qdisc_add_clsact;
use aya::programs::{ProgramError, SchedClassifier, TcAttachType, Xdp, XdpMode};
use serde::{Deserialize, Serialize};
use std::fmt::{self, Display};
use std::path::Path;
use tracing::{info, warn};

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
    /// Attaches the program to `interface`: in the place of an earlier daemon's if that is attached in one of `modes`,
    /// else in the first of them that the interface can do. Says in the log which it cannot.
    pub fn attach(&mut self, interface: &str, modes: &[Mode]) -> Result<Attached> {
        if let Some(attached) = self.replace(interface, modes)? {
            return Ok(attached);
        }
        let mut refusals: Vec<anyhow::Error> = Vec::new();
        for mode in modes {
            match self.hook(Hook::Judge(*mode), interface) {
                Ok(program_id) => {
                    refusals.iter().for_each(|refusal| warn!("{refusal:#}; attached as {mode} instead"));
                    self.attach_answers(interface, *mode)?;
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

    /// Detaches what an earlier daemon has left on interfaces that are not among `attached`, and in other ways.
    pub(super) fn detach_others(&self, attached: &[Attached]) -> Result<()> {
        let Some(pins) = &self.pins else { return Ok(()) };
        for pin in pins.directory.links()? {
            let is_kept = |attached: &Attached| {
                attached.interface == pin.interface
                    && match pin.hook {
                        Hook::Judge(mode) => mode == attached.mode,
                        Hook::Answer => attached.mode == Mode::Native && self.late_answers,
                    }
            };
            if !attached.iter().any(is_kept) {
                info!("detached from {}: {}", pin.interface, pin.hook);
                detach(&pin.path)?;
            }
        }
        Ok(())
    }

    /// Puts the program in the place of an earlier daemon's on `interface`: no packet in between is judged by neither.
    fn replace(&mut self, interface: &str, modes: &[Mode]) -> Result<Option<Attached>> {
        let Some(pins) = &self.pins else { return Ok(None) };
        let pinned = pins.directory.links()?.into_iter().find(|pin| {
            pin.interface == interface && matches!(pin.hook, Hook::Judge(mode) if modes.contains(&mode))
        });
        let Some((Hook::Judge(mode), pin)) = pinned.map(|pin| (pin.hook, pin)) else { return Ok(None) };
        let replaced = update(&mut self.ebpf, pin.hook, &pin.path);
        match replaced {
            Ok(program_id) => {
                self.attach_answers(interface, mode)?;
                Ok(Some(Attached { interface: interface.to_owned(), mode, program_id }))
            }
            Err(error) if is_severed(&error) => {
                info!("{interface} is another than it was: attached anew");
                unpin(&pin.path)?;
                Ok(None)
            }
            Err(error) => {
                Err(error.context(format!("cannot replace the program that is attached to {interface}")))
            }
        }
    }

    /// Attaches the second program, if the answers of the first one need it.
    fn attach_answers(&mut self, interface: &str, mode: Mode) -> Result<()> {
        if mode != Mode::Native || !self.late_answers {
            return Ok(());
        }
        if let Some(path) = self.pins.as_ref().map(|pins| pins.directory.link(Hook::Answer, interface))
            && path.exists()
        {
            match update(&mut self.ebpf, Hook::Answer, &path) {
                Err(error) if is_severed(&error) => unpin(&path)?,
                updated => return updated.map(drop),
            }
        }
        let attached = self.hook(Hook::Answer, interface);
        attached.map(drop).with_context(|| format!("cannot attach to {interface} by TC, behind XDP"))
    }

    /// Attaches a program to `interface` and pins the link. Returns the program's id.
    fn hook(&mut self, hook: Hook, interface: &str) -> Result<u32> {
        let pins = self.pins.as_ref().map(|pins| &pins.directory);
        match hook {
            Hook::Judge(Mode::Native) => attach_xdp(&mut self.ebpf, pins, hook, interface, XdpMode::Driver),
            Hook::Judge(Mode::Generic) => attach_xdp(&mut self.ebpf, pins, hook, interface, XdpMode::Skb),
            Hook::Judge(Mode::Tc) | Hook::Answer => attach_classifier(&mut self.ebpf, pins, hook, interface),
        }
    }
}

fn is_unknown_interface(error: &anyhow::Error) -> bool {
    matches!(error.downcast_ref(), Some(ProgramError::UnknownInterface { .. }))
}

/// True if the link's interface is gone.
fn is_severed(error: &anyhow::Error) -> bool {
    let code = |error: &ProgramError| match error {
        ProgramError::SyscallError(error) => error.io_error.raw_os_error(),
        _ => None,
    };
    error.downcast_ref().and_then(code) == Some(libc::ENOLINK)
}

/// The program for `hook`.
const fn name(hook: Hook) -> &'static str {
    match hook {
        Hook::Judge(Mode::Native) => "ratelimit",
        Hook::Judge(Mode::Generic) => "ratelimit_generic",
        Hook::Judge(Mode::Tc) => "ratelimit_tc",
        Hook::Answer => "answer",
    }
}

fn loaded_xdp(ebpf: &mut Ebpf, hook: Hook) -> Result<&mut Xdp> {
    let program: &mut Xdp = program(ebpf, name(hook))?.try_into()?;
    if program.fd().is_err() {
        program.load().map_err(why_refused)?;
    }
    Ok(program)
}

fn loaded_classifier(ebpf: &mut Ebpf, hook: Hook) -> Result<&mut SchedClassifier> {
    let program: &mut SchedClassifier = program(ebpf, name(hook))?.try_into()?;
    if program.fd().is_err() {
        program.load().map_err(why_refused)?;
    }
    Ok(program)
}

fn attach_xdp(
    ebpf: &mut Ebpf,
    pins: Option<&Directory>,
    hook: Hook,
    interface: &str,
    mode: XdpMode,
) -> Result<u32> {
    let program = loaded_xdp(ebpf, hook)?;
    let link = program.attach(interface, mode)?;
    if let Some(pins) = pins {
        let link = FdLink::try_from(program.take_link(link)?).context(UNPINNABLE)?;
        pin(link, &pins.link(hook, interface))?;
    }
    Ok(program.info()?.id())
}

fn attach_classifier(ebpf: &mut Ebpf, pins: Option<&Directory>, hook: Hook, interface: &str) -> Result<u32> {
    let program = loaded_classifier(ebpf, hook)?;
    // Needed before Linux 6.6, where a program hangs on a queueing discipline; one that is there already will do.
    let _ = qdisc_add_clsact(interface);
    let link = program.attach(interface, TcAttachType::Ingress)?;
    if let Some(pins) = pins {
        let link = FdLink::try_from(program.take_link(link)?).context(UNPINNABLE)?;
        pin(link, &pins.link(hook, interface))?;
    }
    Ok(program.info()?.id())
}

/// Why a program that is attached in an older way cannot outlive the daemon.
const UNPINNABLE: &str = "this kernel cannot pin what is attached so: set kernel.pin_directory = \"\"";

fn pin(link: FdLink, path: &Path) -> Result<()> {
    link.pin(path).map(drop).with_context(|| format!("cannot pin {}", path.display()))
}

/// Lets the link that is pinned at `path` run the program for `hook`. Returns the program's id.
fn update(ebpf: &mut Ebpf, hook: Hook, path: &Path) -> Result<u32> {
    let link = PinnedLink::from_pin(path).with_context(|| format!("cannot open {}", path.display()))?;
    let link = FdLink::from(link);
    match hook {
        Hook::Judge(Mode::Native | Mode::Generic) => {
            let program = loaded_xdp(ebpf, hook)?;
            program.attach_to_link(link.try_into()?)?;
            Ok(program.info()?.id())
        }
        Hook::Judge(Mode::Tc) | Hook::Answer => {
            let program = loaded_classifier(ebpf, hook)?;
            program.attach_to_link(link.try_into()?)?;
            Ok(program.info()?.id())
        }
    }
}
