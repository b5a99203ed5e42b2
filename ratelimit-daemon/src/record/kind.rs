//! What can come of a request, and how often each came.

use serde::{Serialize, Serializer, ser::SerializeMap};
use std::ops::AddAssign;

/// What came of a request. The number is its index in [`Counts`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Kind {
    /// Within all limits, and charged.
    Admitted = 0,
    /// Refused by the proxy: the bucket was empty.
    RefusedBurst = 1,
    /// Refused by the proxy: the hour was used up.
    RefusedHour = 2,
    /// Refused by the proxy: an endpoint rule's window was used up.
    RefusedRule = 3,
    /// Refused by the kernel: the bucket was empty.
    KernelBurst = 4,
    /// Refused by the kernel: the hour was used up, or the window of a rule for all requests.
    KernelHour = 5,
    /// Admitted by a dry run, which would have refused it. Those are admitted requests too, but where everything is
    /// a dry run.
    Observed = 6,
    /// Refused before any limit: no key that may be used, a request that cannot be forwarded. Charged to nobody.
    Rejected = 7,
    /// Admitted, and the upstream gave no answer: 502 or 504.
    Unanswered = 8,
    /// Admitted, and the upstream answered with 5xx.
    ServerError = 9,
}

impl Kind {
    /// Number of kinds.
    pub const COUNT: usize = 10;

    /// All of them, by index.
    pub const ALL: [Self; Self::COUNT] = [
        Self::Admitted,
        Self::RefusedBurst,
        Self::RefusedHour,
        Self::RefusedRule,
        Self::KernelBurst,
        Self::KernelHour,
        Self::Observed,
        Self::Rejected,
        Self::Unanswered,
        Self::ServerError,
    ];

    /// What it is called for programs.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Admitted => "admitted",
            Self::RefusedBurst => "refused_burst",
            Self::RefusedHour => "refused_hour",
            Self::RefusedRule => "refused_rule",
            Self::KernelBurst => "kernel_burst",
            Self::KernelHour => "kernel_hour",
            Self::Observed => "observed",
            Self::Rejected => "rejected",
            Self::Unanswered => "unanswered",
            Self::ServerError => "server_error",
        }
    }

    /// The kind with this index.
    pub fn from_index(index: u8) -> Option<Self> {
        Self::ALL.get(usize::from(index)).copied()
    }

    /// Whether the client got a 429, or by `drop` and `reset` what stands for one.
    pub const fn is_refusal(self) -> bool {
        self.is_proxy_refusal() || self.is_kernel_refusal()
    }

    /// The same, by the proxy.
    pub const fn is_proxy_refusal(self) -> bool {
        matches!(self, Self::RefusedBurst | Self::RefusedHour | Self::RefusedRule)
    }

    /// The same, by the kernel.
    pub const fn is_kernel_refusal(self) -> bool {
        matches!(self, Self::KernelBurst | Self::KernelHour)
    }
}

/// How many requests of each kind there were.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts([u64; Kind::COUNT]);

impl Counts {
    /// Those of one kind.
    pub fn of(&self, kind: Kind) -> u64 {
        self.0.get(kind as usize).copied().unwrap_or(0)
    }

    /// Counts `count` more of one kind.
    pub fn add(&mut self, kind: Kind, count: u64) {
        if let Some(present) = self.0.get_mut(kind as usize) {
            *present += count;
        }
    }

    /// Those of all kinds for which `is_meant`.
    pub fn sum(&self, is_meant: impl Fn(Kind) -> bool) -> u64 {
        self.iter().filter(|(kind, _)| is_meant(*kind)).map(|(_, count)| count).sum()
    }

    /// All that the limits refused.
    pub fn refused(&self) -> u64 {
        self.sum(Kind::is_refusal)
    }

    /// Each kind with its number.
    pub fn iter(&self) -> impl Iterator<Item = (Kind, u64)> {
        Kind::ALL.into_iter().zip(self.0)
    }

    /// True if there were none.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

impl AddAssign for Counts {
    fn add_assign(&mut self, other: Self) {
        other.iter().for_each(|(kind, count)| self.add(kind, count));
    }
}

impl Serialize for Counts {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(Kind::COUNT))?;
        for (kind, count) in self.iter() {
            map.serialize_entry(kind.name(), &count)?;
        }
        map.end()
    }
}
