//! The section `anonymous`: what clients without a key may send.

use super::Missing;
use crate::document::{Field, Refused, Section};
use crate::policy::{self, Tiers};
use ratelimit_common::flow::FlowState;

/// What clients without a key may send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Anonymous {
    /// The tier that each address has; it is one of the configuration's.
    pub tier: String,
    /// Addresses that there is room for (1 to 16,777,216).
    pub max_clients: u32,
}

/// The section, which is of use only if `missing` says so.
pub(super) fn decode(
    section: &Section<'_>,
    missing: Missing,
    tiers: &Tiers,
) -> Result<Option<Anonymous>, Refused> {
    let max_clients = section.or("max_clients", 65_536, |field| field.whole(1..=FlowState::MAX_SLOTS));
    let tier = |field: &Field<'_>| match field.text()? {
        tier if tiers.contains_key(tier) => Ok(tier.to_owned()),
        other => Err(field.refuse(policy::unknown_tier_text(other, tiers))),
    };
    if missing != Missing::Anonymous {
        section.optional("tier", tier);
        return Ok(None);
    }
    let hint = "the tier of clients without a key, since keys.missing is \"anonymous\"";
    let tier = section.required("tier", hint, tier)?;
    Ok(Some(Anonymous { tier, max_clients }))
}

#[cfg(test)]
mod tests {
    use crate::config::tests::{assert_refused, parse, with};

    #[test]
    fn clients_without_a_key_need_a_tier_that_is_there() {
        assert_refused(
            &with("[keys]\nmissing = 'anonymous'"),
            "/etc/x.toml: anonymous.tier: missing; write the tier of clients without a key, since keys.missing is \
             \"anonymous\"",
        );
        let wrong = "[anonymous]\ntier = 'public'\nmax_clients = 0";
        let expected = "/etc/x.toml:5: anonymous.tier: unknown tier \"public\"; allowed: enterprise, professional\n\
            /etc/x.toml:6: anonymous.max_clients: 0 is out of range; allowed: 1 to 16777216";
        assert_refused(&with(wrong), expected);
        assert_eq!(parse(&with("[anonymous]\ntier = 'professional'")).unwrap().anonymous, None);
    }
}
