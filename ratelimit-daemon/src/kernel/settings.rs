//! What the program is loaded with.

use super::types::socket_offsets;
use crate::clock;
use anyhow::{Context, Result, bail};
use aya::Pod;
use ratelimit_common::flow::FlowState;
use ratelimit_common::hash::Secret;
use ratelimit_common::http::{FieldName, KeyFields};
use ratelimit_common::layout::{About, Action, LAYOUT, Settings, VERSION_BYTES};

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
    /// Whether a proxy judges what the kernel leaves; else the API server itself gets it.
    pub has_proxy: bool,
    /// Whether its 429 has the IETF draft's fields.
    pub ratelimit_fields: bool,
    /// Whether a second program, behind XDP, writes the 429s for which a driver's buffers have no room.
    pub late_answers: bool,
    /// The guarded TCP ports.
    pub ports: Vec<u16>,
    /// Most keys, 1 to [`FlowState::MAX_SLOTS`].
    pub max_keys: u32,
    /// Connections to remember, at least.
    pub max_flows: u32,
}

/// [`Settings`] in the form that the loader takes.
#[derive(Clone, Copy)]
#[repr(transparent)]
pub(super) struct Loaded(pub(super) Settings);

// SAFETY: `repr(C)`, made of integers only, without padding: its size is asserted beside its definition.
unsafe impl Pod for Loaded {}

impl KernelSettings {
    pub(super) fn globals(&self, flow_sets: u32) -> Result<Settings> {
        if !(1..=FlowState::MAX_SLOTS).contains(&self.max_keys) {
            bail!("kernel.max_keys must be 1 to {}", FlowState::MAX_SLOTS);
        }
        let name = FieldName::new(&self.header)
            .context("keys.header has a length that the kernel does not look for")?;
        let fields = KeyFields { name, bearer: self.bearer.into() };
        Ok(Settings {
            secret: self.secret,
            fields,
            action: self.action as u32,
            flow_sets,
            has_proxy: self.has_proxy.into(),
            reserved: 0,
            has_items: self.ratelimit_fields.into(),
            tc_answers: self.late_answers.into(),
            socket: socket_offsets()?,
        })
    }
}

impl KernelSettings {
    /// What is noted of them beside the maps.
    pub(super) fn about(&self) -> About {
        let mut version = [0; VERSION_BYTES];
        version.iter_mut().zip(env!("CARGO_PKG_VERSION").bytes()).for_each(|(to, from)| *to = from);
        About {
            layout: LAYOUT,
            loaded_at: clock::unix_seconds(),
            action: self.action as u32,
            has_proxy: self.has_proxy.into(),
            version,
            ports: port_bits(&self.ports),
        }
    }
}

/// One bit for each port.
pub(super) fn port_bits(ports: &[u16]) -> [u64; 1024] {
    let mut bits = [0; 1024];
    for port in ports {
        if let Some(word) = bits.get_mut(usize::from(port >> 6)) {
            *word |= 1 << (port & 63);
        }
    }
    bits
}
