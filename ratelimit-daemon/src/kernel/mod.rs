//! The kernel's side: loads the programs, sizes and maps their tables, attaches them. The only module that knows
//! aya.

mod attach;
mod inheritance;
mod pins;
mod settings;
mod sever;
mod types;
mod unattended;

pub use attach::{Attached, Mode};
pub use inheritance::Inheritance;
use inheritance::Noted;
use pins::MAPS;
pub use pins::Pins;
pub use settings::KernelSettings;
use settings::{Loaded, port_bits};
pub use unattended::Unattended;

use crate::clock;
use crate::flows::{Flows, sets_for};
use crate::shared_memory::SharedArray;
use crate::slots::Slots;
use anyhow::{Context, Result, anyhow, bail};
use aya::maps::{Array, HashMap, Map, MapData, MapError, PerCpuArray};
use aya::programs::{Program, ProgramError, TestRun, TestRunOptions, Xdp};
use aya::{Ebpf, EbpfLoader};
use aya_log::EbpfLogger;
use ratelimit_common::layout::{About, Clock};
use ratelimit_common::outcome::Outcome;
use std::fmt;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;
use tracing::debug;

/// The program and its maps, as built. Empty if it was not built: see `build.rs`.
static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/ratelimit.o"));

/// The loaded program. When this is dropped, what is not pinned is detached and gone.
pub struct Kernel {
    ebpf: Ebpf,
    pins: Option<Pins>,
    about: About,
    keys: HashMap<MapData, u64, u32>,
    slots: Slots,
    flows: Flows,
    clock: SharedArray<Clock>,
    late_answers: bool,
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
        let kernel = Self::with(settings, None, sets_for(settings.max_flows))?;
        kernel.set_clock();
        Ok(kernel)
    }

    /// The same with maps that outlive the daemon: those that an earlier one has left in `pins`, or new ones. Nothing is
    /// attached or replaced yet.
    pub fn load_pinned(settings: &KernelSettings, pins: Pins) -> Result<Self> {
        let sets = sets_for(settings.max_flows);
        let max_keys = match pins.inheritance() {
            Some(maps) => maps.fit(&pins.directory, settings, sets)?,
            None => settings.max_keys,
        };
        Self::with(&KernelSettings { max_keys, ..settings.clone() }, Some(pins), sets)
    }

    fn with(settings: &KernelSettings, pins: Option<Pins>, sets: u32) -> Result<Self> {
        if OBJECT.is_empty() {
            bail!(
                "this ratelimitd was built without its kernel program: build it with `cargo xtask build`, \
                 or set kernel.interfaces = [] to run the proxy alone"
            );
        }
        let globals = Loaded(settings.globals(sets)?);
        let ports = port_bits(&settings.ports);
        let mut loader = EbpfLoader::new();
        for name in MAPS {
            if let Some(pins) = &pins {
                loader.map_pin_path(name, pins.directory.map(name));
            }
        }
        let mut ebpf = loader
            .override_global("SETTINGS", &globals, true)
            .override_global("PORTS", ports.as_slice(), true)
            .map_max_entries("KEYS", settings.max_keys)
            .map_max_entries("SLOTS", settings.max_keys)
            .map_max_entries("FLOWS", sets)
            .load(OBJECT)
            .context("the kernel refused the program's maps (are CAP_BPF and CAP_NET_ADMIN there?)")?;
        xdp(&mut ebpf)?.load().map_err(why_refused)?;
        let keys = HashMap::try_from(take_map(&mut ebpf, "KEYS")?)?;
        let slots = Slots::of_map(array(&ebpf, "SLOTS")?, settings.max_keys)?;
        let flows = Flows::of_map(array(&ebpf, "FLOWS")?, sets, settings.secret)?;
        let clock = SharedArray::of_map(array(&ebpf, "CLOCK")?, 1)?;
        let logger = EbpfLogger::init(&mut ebpf).context("cannot read the kernel program's log")?;
        let (about, late_answers) = (settings.about(), settings.late_answers);
        Ok(Self { ebpf, pins, about, keys, slots, flows, clock, late_answers, logger })
    }

    /// To be called when the program is attached to all its interfaces: what is pinned stays from now on, and what an
    /// earlier daemon has left elsewhere is detached.
    pub fn settle_in(&mut self, attached: &[Attached]) -> Result<()> {
        self.detach_others(attached)?;
        let about = self.ebpf.map_mut("ABOUT").context("the kernel program has no map `ABOUT`")?;
        Array::<_, Noted>::try_from(about)?.set(0, Noted(self.about), 0)?;
        self.pins.iter_mut().for_each(Pins::keep);
        Ok(())
    }

    /// Detaches the program and removes what is pinned.
    pub fn detach(&mut self) -> Result<()> {
        self.pins.take().map_or(Ok(()), |pins| pins.remove().map(drop))
    }

    /// Tells the program the wall clock, which may be set at any time, and that there is a daemon.
    pub fn set_clock(&self) {
        if let Some(clock) = self.clock.get(0) {
            let now = clock::now();
            clock.unix_offset_ns.store(clock::unix().wrapping_sub(now));
            clock.seen_ns.store(now);
        }
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
        sums(&PerCpuArray::try_from(map)?)
    }

    /// Writes what the program has logged since the last time to the daemon's log: rare events only.
    pub fn pass_on_log(&mut self) {
        self.logger.flush();
    }

    /// Runs the program on `frame`, `repeat` times, without any interface.
    pub fn test_run(&mut self, frame: &[u8], repeat: u32) -> Result<TestRunOutput> {
        let mut answer = vec![0; frame.len() + 1_024];
        let mut options = TestRunOptions::new();
        options.data_in = Some(frame);
        options.data_out = Some(&mut answer);
        options.repeat = repeat;
        let result = xdp(&mut self.ebpf)?.test_run(options).context("cannot run the program on a frame")?;
        answer.truncate(result.data_size_out as usize);
        Ok(TestRunOutput { action: result.return_value, frame: answer, duration: result.duration })
    }
}

/// Each outcome's count, over all processors.
fn sums(counters: &PerCpuArray<&MapData, u64>) -> Result<Vec<(Outcome, u64)>> {
    let sum = |outcome| Ok((outcome, counters.get(&(outcome as u32), 0)?.iter().sum()));
    Outcome::ALL.into_iter().map(sum).collect()
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

fn program<'a>(ebpf: &'a mut Ebpf, name: &str) -> Result<&'a mut Program> {
    ebpf.program_mut(name).with_context(|| format!("the object that was built in has no program `{name}`"))
}

/// The program that judges.
fn xdp(ebpf: &mut Ebpf) -> Result<&mut Xdp> {
    Ok(program(ebpf, "ratelimit")?.try_into()?)
}

fn take_map(ebpf: &mut Ebpf, name: &str) -> Result<Map> {
    ebpf.take_map(name).with_context(|| format!("the object that was built in has no map `{name}`"))
}

/// The map stays open: programs that are loaded later use it too.
fn array<'a>(ebpf: &'a Ebpf, name: &str) -> Result<BorrowedFd<'a>> {
    match ebpf.map(name) {
        Some(Map::Array(data)) => Ok(data.fd().as_fd()),
        _ => bail!("the object that was built in has no array `{name}`"),
    }
}
