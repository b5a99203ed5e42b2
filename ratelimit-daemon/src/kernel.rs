//! The kernel's side: loads the program, sizes and maps its tables, attaches it. The only module that knows aya.

use crate::flows::{Flows, sets_for};
use crate::slots::Slots;
use anyhow::{Context, Result, anyhow, bail};
use aya::maps::{HashMap, Map, MapData, MapError, PerCpuArray};
use aya::programs::{ProgramError, TestRun, TestRunOptions, Xdp, XdpMode};
use aya::{Ebpf, EbpfLoader, Pod};
use aya_log::EbpfLogger;
use ratelimit_common::flow::FlowState;
use ratelimit_common::hash::Secret;
use ratelimit_common::http::{FieldName, KeyFields};
use ratelimit_common::layout::{Action, Settings};
use ratelimit_common::outcome::Outcome;
use std::fmt::{self, Display};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;
use tracing::{debug, warn};

/// The program and its maps, as built. Empty if it was not built: see `build.rs`.
static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/ratelimit.o"));

/// What the program is loaded with. It cannot be changed afterwards.
#[derive(Clone, Debug)]
pub struct KernelSettings {
    /// Hashes keys and connections.
    pub secret: Secret,
    /// The field whose value is the key.
    pub header: String,
    /// Whether `Authorization: Bearer` carries a key too.
    pub bearer: bool,
    /// What to do with a request over its limits.
    pub action: Action,
    /// The guarded TCP ports.
    pub ports: Vec<u16>,
    /// Most keys, 1 to [`FlowState::MAX_SLOTS`].
    pub max_keys: u32,
    /// Connections to remember, at least.
    pub max_flows: u32,
}

/// How the program is attached to an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// By the driver, before a socket buffer is made.
    Native,
    /// By the network stack, for drivers that cannot.
    Generic,
}

impl Mode {
    const fn xdp(self) -> XdpMode {
        match self {
            Self::Native => XdpMode::Driver,
            Self::Generic => XdpMode::Skb,
        }
    }
}

impl Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Native => "native",
            Self::Generic => "generic",
        })
    }
}

/// [`Settings`] in the form that the loader takes.
#[derive(Clone, Copy)]
#[repr(transparent)]
struct Loaded(Settings);

// SAFETY: `repr(C)`, made of integers only, without padding: its size is asserted beside its definition.
unsafe impl Pod for Loaded {}

/// The loaded program. Everything is detached and gone when this is dropped.
pub struct Kernel {
    ebpf: Ebpf,
    keys: HashMap<MapData, u64, u32>,
    slots: Slots,
    flows: Flows,
    logger: EbpfLogger<&'static dyn log::Log>,
}

impl fmt::Debug for Kernel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Kernel").finish_non_exhaustive()
    }
}

impl Kernel {
    /// Loads the program. Errors: not built in, no privileges, a kernel that refuses it.
    pub fn load(settings: &KernelSettings) -> Result<Self> {
        if OBJECT.is_empty() {
            bail!(
                "this ratelimitd was built without its kernel program: build it with `cargo xtask build`, \
                 or set kernel.interfaces = [] to run the proxy alone"
            );
        }
        let sets = sets_for(settings.max_flows);
        let globals = Loaded(settings.globals(sets)?);
        let ports = port_bits(&settings.ports);
        let mut ebpf = EbpfLoader::new()
            .override_global("SETTINGS", &globals, true)
            .override_global("PORTS", ports.as_slice(), true)
            .map_max_entries("KEYS", settings.max_keys)
            .map_max_entries("SLOTS", settings.max_keys)
            .map_max_entries("FLOWS", sets)
            .load(OBJECT)
            .context("the kernel refused the program's maps (are CAP_BPF and CAP_NET_ADMIN there?)")?;
        program(&mut ebpf)?.load().map_err(why_refused)?;
        let keys = HashMap::try_from(take_map(&mut ebpf, "KEYS")?)?;
        let slots = Slots::of_map(array(&take_map(&mut ebpf, "SLOTS")?)?, settings.max_keys)?;
        let flows = Flows::of_map(array(&take_map(&mut ebpf, "FLOWS")?)?, sets, settings.secret)?;
        let logger = EbpfLogger::init(&mut ebpf).context("cannot read the kernel program's log")?;
        Ok(Self { ebpf, keys, slots, flows, logger })
    }

    /// Attaches the program to `interface` in the first of `modes` that it can do; says in the log which it cannot.
    pub fn attach(&mut self, interface: &str, modes: &[Mode]) -> Result<Mode> {
        let program = program(&mut self.ebpf)?;
        let mut refusals: Vec<anyhow::Error> = Vec::new();
        for mode in modes {
            match program.attach(interface, mode.xdp()) {
                Ok(_) => {
                    refusals.iter().for_each(|refusal| warn!("{refusal:#}; attached {mode} instead"));
                    return Ok(*mode);
                }
                Err(ProgramError::UnknownInterface { .. }) => {
                    bail!("kernel.interfaces: there is no interface {interface}")
                }
                Err(error) => refusals.push(anyhow!(error).context(format!("no {mode} XDP on {interface}"))),
            }
        }
        let error = refusals.pop().unwrap_or_else(|| anyhow!("no way of attaching was allowed"));
        Err(error.context(format!(
            "cannot attach to {interface} (another XDP program may be there: `ip link show {interface}` tells)"
        )))
    }

    /// The keys' slots.
    pub fn slots(&self) -> &Slots {
        &self.slots
    }

    /// The connections' cells.
    pub fn flows(&self) -> &Flows {
        &self.flows
    }

    /// Lets the program judge the key with this hash by `slot`.
    pub fn insert_key(&mut self, hash: u64, slot: u32) -> Result<()> {
        self.keys.insert(hash, slot, 0).context("cannot put a key into the kernel's table (kernel.max_keys)")
    }

    /// Lets the program forget a key: from then on the proxy alone decides about it.
    pub fn remove_key(&mut self, hash: u64) -> Result<()> {
        match self.keys.remove(&hash) {
            Ok(()) => Ok(()),
            Err(MapError::SyscallError(error)) if error.io_error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error).context("cannot remove a key from the kernel's table"),
        }
    }

    /// How often each outcome was found, over all processors.
    pub fn counters(&self) -> Result<Vec<(Outcome, u64)>> {
        let map = self.ebpf.map("COUNTERS").context("the kernel program has no counters")?;
        let counters: PerCpuArray<_, u64> = PerCpuArray::try_from(map)?;
        let sum = |outcome| Ok((outcome, counters.get(&(outcome as u32), 0)?.iter().sum()));
        Outcome::ALL.into_iter().map(sum).collect()
    }

    /// Writes what the program has logged since the last time to the daemon's log: rare events only.
    pub fn pass_on_log(&mut self) {
        self.logger.flush();
    }

    /// Runs the program on `frame`, `repeat` times, without any interface.
    pub fn test_run(&mut self, frame: &[u8], repeat: u32) -> Result<TestRunOutput> {
        let mut answer = vec![0; frame.len() + 512];
        let mut options = TestRunOptions::new();
        options.data_in = Some(frame);
        options.data_out = Some(&mut answer);
        options.repeat = repeat;
        let result =
            program(&mut self.ebpf)?.test_run(options).context("cannot run the program on a frame")?;
        answer.truncate(result.data_size_out as usize);
        Ok(TestRunOutput { action: result.return_value, frame: answer, duration: result.duration })
    }
}

/// What a run of the program on one frame gave.
#[derive(Clone, Debug)]
pub struct TestRunOutput {
    /// The XDP action: see the kernel's `bpf.h`.
    pub action: u32,
    /// The frame afterwards.
    pub frame: Vec<u8>,
    /// Mean time of one run.
    pub duration: Duration,
}

impl KernelSettings {
    fn globals(&self, flow_sets: u32) -> Result<Settings> {
        if !(1..=FlowState::MAX_SLOTS).contains(&self.max_keys) {
            bail!("kernel.max_keys must be 1 to {}", FlowState::MAX_SLOTS);
        }
        let name = FieldName::new(&self.header)
            .context("keys.header has a length that the kernel does not look for")?;
        let fields = KeyFields { name, bearer: self.bearer.into() };
        Ok(Settings { secret: self.secret, fields, action: self.action as u32, flow_sets })
    }
}

/// The kernel's reason in a line; its verifier's whole report, thousands of lines, only for who debugs.
fn why_refused(error: ProgramError) -> anyhow::Error {
    let context = "the kernel refused the program (are CAP_BPF, CAP_NET_ADMIN and CAP_PERFMON there?)";
    let ProgramError::LoadError { io_error, verifier_log } = error else {
        return anyhow!(error).context(context);
    };
    let report = verifier_log.to_string();
    debug!("the verifier's report:\n{report}");
    let statistics = ["processed ", "verification time", "stack depth"];
    let mut lines = report.lines().rev().map(str::trim);
    let reason =
        lines.find(|line| !line.is_empty() && !statistics.iter().any(|start| line.starts_with(start)));
    let error = anyhow!(io_error);
    match reason {
        Some(reason) => error.context(format!("{context}: {reason}")),
        None => error.context(context),
    }
}

/// One bit for each port.
fn port_bits(ports: &[u16]) -> [u64; 1024] {
    let mut bits = [0; 1024];
    for port in ports {
        if let Some(word) = bits.get_mut(usize::from(port >> 6)) {
            *word |= 1 << (port & 63);
        }
    }
    bits
}

fn program(ebpf: &mut Ebpf) -> Result<&mut Xdp> {
    let program =
        ebpf.program_mut("ratelimit").context("the object that was built in has no program `ratelimit`")?;
    Ok(program.try_into()?)
}

fn take_map(ebpf: &mut Ebpf, name: &str) -> Result<Map> {
    ebpf.take_map(name).with_context(|| format!("the object that was built in has no map `{name}`"))
}

fn array(map: &Map) -> Result<BorrowedFd<'_>> {
    match map {
        Map::Array(data) => Ok(data.fd().as_fd()),
        _ => bail!("the object that was built in has a map of another type than an array"),
    }
}
