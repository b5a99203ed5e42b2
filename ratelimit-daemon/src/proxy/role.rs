//! What a field is to a proxy, by its name.

/// What a field is to a proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    Host,
    ContentLength,
    TransferEncoding,
    Connection,
    /// What the sender of a request takes of the encodings of a body: trailers, to us.
    Te,
    Upgrade,
    Expect,
    Authorization,
    /// `Forwarded` of RFC 7239.
    Forwarded,
    ForwardedFor,
    ForwardedHost,
    ForwardedProto,
    /// Ours to set on responses.
    Rate,
    /// For one connection only, and of no use to us.
    HopByHop,
    /// Passed on as it is.
    Other,
}

impl Role {
    /// The role of the field `name`.
    pub(super) fn of(name: &str) -> Self {
        // Few names share a length, so nearly every field costs one comparison.
        let candidates: &[(&str, Self)] = match name.len() {
            2 => &[("te", Self::Te)],
            4 => &[("host", Self::Host)],
            6 => &[("expect", Self::Expect)],
            7 => &[("upgrade", Self::Upgrade)],
            9 => &[("ratelimit", Self::Rate), ("forwarded", Self::Forwarded)],
            10 => &[("connection", Self::Connection), ("keep-alive", Self::HopByHop)],
            13 => &[("authorization", Self::Authorization)],
            14 => &[("content-length", Self::ContentLength)],
            15 => &[("x-forwarded-for", Self::ForwardedFor)],
            16 => &[
                ("proxy-connection", Self::HopByHop),
                ("x-forwarded-host", Self::ForwardedHost),
                ("ratelimit-policy", Self::Rate),
            ],
            17 => &[
                ("transfer-encoding", Self::TransferEncoding),
                ("x-ratelimit-limit", Self::Rate),
                ("x-ratelimit-reset", Self::Rate),
                ("x-forwarded-proto", Self::ForwardedProto),
            ],
            18 => &[("proxy-authenticate", Self::HopByHop)],
            19 => &[("proxy-authorization", Self::HopByHop), ("x-ratelimit-dry-run", Self::Rate)],
            21 => &[("x-ratelimit-remaining", Self::Rate)],
            _ => &[],
        };
        let found = candidates.iter().find(|(candidate, _)| name.eq_ignore_ascii_case(candidate));
        found.map_or(Self::Other, |(_, role)| *role)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_have_their_roles_in_any_letters() {
        let roles = [
            ("HOST", Role::Host),
            ("Te", Role::Te),
            ("KEEP-Alive", Role::HopByHop),
            ("X-RateLimit-Remaining", Role::Rate),
            ("RateLimit", Role::Rate),
            ("RateLimiT-Policy", Role::Rate),
            ("x-forwarded-proto", Role::ForwardedProto),
            ("Retry-After", Role::Other),
            ("Hosts", Role::Other),
            ("Trailer", Role::Other),
        ];
        for (name, role) in roles {
            assert_eq!(Role::of(name), role, "{name}");
        }
    }
}
