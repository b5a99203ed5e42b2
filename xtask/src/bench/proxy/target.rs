//! What is measured.

use std::fmt;

/// Who answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Subject {
    /// nginx, the peer: ratios are to it.
    Nginx,
    /// ratelimitd.
    Ratelimitd,
    /// The API server, without a proxy.
    Origin,
}

/// What becomes of the requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// All are within their limit.
    Allowed,
    /// All are over it.
    Refused,
}

/// One run of each round.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Target {
    pub(super) subject: Subject,
    pub(super) outcome: Outcome,
}

/// In the order of the first round.
pub(super) const TARGETS: [Target; 5] = [
    Target { subject: Subject::Nginx, outcome: Outcome::Allowed },
    Target { subject: Subject::Ratelimitd, outcome: Outcome::Allowed },
    Target { subject: Subject::Origin, outcome: Outcome::Allowed },
    Target { subject: Subject::Nginx, outcome: Outcome::Refused },
    Target { subject: Subject::Ratelimitd, outcome: Outcome::Refused },
];

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let subject = match self.subject {
            Subject::Nginx => "nginx",
            Subject::Ratelimitd => "ratelimitd",
            Subject::Origin => "straight to the origin",
        };
        let outcome = match self.outcome {
            Outcome::Allowed => "allowed",
            Outcome::Refused => "refused",
        };
        write!(f, "{subject}, {outcome} requests")
    }
}
