//! Which key a request carries.

use super::head::Field;
use super::role::Role;
use crate::config::Keys;
use crate::policy::{Key, Policy};
use std::cell::{Ref, RefCell};
use std::fmt;
use std::sync::{Arc, Weak};

/// What a request says about who sends it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Presented<'a> {
    /// Nothing.
    Nothing,
    /// This key, once or several times.
    Key(&'a [u8]),
    /// Keys that differ.
    Conflict,
}

/// What the fields of a request say about who sends it.
pub(super) fn presented<'a>(fields: &[Field<'a>], keys: &Keys) -> Presented<'a> {
    let mut all = all_presented(fields, keys);
    match all.next() {
        None => Presented::Nothing,
        Some(first) if all.all(|key| key == first) => Presented::Key(first),
        Some(_) => Presented::Conflict,
    }
}

/// Every key that the fields of a request name, repetitions too. An empty field names none.
pub(super) fn all_presented<'a>(fields: &[Field<'a>], keys: &Keys) -> impl Iterator<Item = &'a [u8]> {
    let keys = fields.iter().filter_map(|field| {
        if field.name.eq_ignore_ascii_case(keys.header.as_str()) {
            Some(trim(field.value))
        } else if keys.bearer && Role::of(field.name) == Role::Authorization {
            bearer(field.value)
        } else {
            None
        }
    });
    keys.filter(|key| !key.is_empty())
}

/// The key that a connection's requests have carried last: most connections carry one key for life, and need
/// not have it hashed and looked up for every request.
#[derive(Default)]
pub(super) struct KnownKey(RefCell<Option<Known>>);

struct Known {
    /// The policy that knows it. A weak reference keeps no old policy, and no new one in its place.
    policy: Weak<Policy>,
    presented: Vec<u8>,
    key: Arc<Key>,
}

impl KnownKey {
    /// The key of `policy` that is `presented`, disabled ones too.
    pub(super) fn authenticate(&self, policy: &Arc<Policy>, presented: &[u8]) -> Option<Ref<'_, Key>> {
        let is = |known: &Known| known.policy.as_ptr() == Arc::as_ptr(policy) && known.presented == presented;
        if !self.0.borrow().as_ref().is_some_and(is) {
            let key = policy.authenticate(presented)?.clone();
            let (policy, presented) = (Arc::downgrade(policy), presented.to_owned());
            *self.0.borrow_mut() = Some(Known { policy, presented, key });
        }
        Ref::filter_map(self.0.borrow(), |known| known.as_ref().map(|known| &*known.key)).ok()
    }
}

impl fmt::Debug for KnownKey {
    /// Not the key itself.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KnownKey(..)")
    }
}

/// The token of `Bearer TOKEN`. Other schemes are the upstream's business.
fn bearer(value: &[u8]) -> Option<&[u8]> {
    const SCHEME: &[u8] = b"Bearer";
    let (scheme, rest) = trim(value).split_at_checked(SCHEME.len())?;
    let is_bearer = scheme.eq_ignore_ascii_case(SCHEME) && rest.first().is_some_and(is_space);
    is_bearer.then(|| trim(rest))
}

/// Without the optional white space of RFC 9110 around it.
fn trim(mut value: &[u8]) -> &[u8] {
    while let [first, rest @ ..] = value
        && is_space(first)
    {
        value = rest;
    }
    while let [rest @ .., last] = value
        && is_space(last)
    {
        value = rest;
    }
    value
}

fn is_space(byte: &u8) -> bool {
    matches!(byte, b' ' | b'\t')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Missing;
    use http::HeaderName;

    fn keys(bearer: bool) -> Keys {
        let header = HeaderName::from_static("x-api-key");
        Keys { file: "keys.toml".into(), header, bearer, missing: Missing::Reject }
    }

    fn fields<'a>(lines: &[(&'a str, &'a str)]) -> Vec<Field<'a>> {
        lines.iter().map(|(name, value)| Field { name, value: value.as_bytes() }).collect()
    }

    #[test]
    fn a_key_stands_in_its_own_field_or_in_authorization() {
        let cases: [&[(&str, &str)]; 6] = [
            &[("X-API-KEY", " abc\t")],
            &[("authorization", "Bearer abc")],
            &[("authorization", "bEARER  \t abc ")],
            &[("x-api-key", "abc"), ("authorization", "Bearer abc"), ("x-api-key", "abc")],
            &[("x-api-key", ""), ("authorization", "Bearer abc")],
            &[("authorization", "Basic eHk6eg=="), ("authorization", "Bearer abc")],
        ];
        for lines in cases {
            assert_eq!(presented(&fields(lines), &keys(true)), Presented::Key(b"abc"), "{lines:?}");
        }
    }

    #[test]
    fn what_is_no_key_is_none() {
        let cases: [&[(&str, &str)]; 6] = [
            &[],
            &[("x-api-key", " ")],
            &[("authorization", "Bearer")],
            &[("authorization", "Bearer ")],
            &[("authorization", "Bearerabc")],
            &[("authorization", "Basic abc")],
        ];
        for lines in cases {
            assert_eq!(presented(&fields(lines), &keys(true)), Presented::Nothing, "{lines:?}");
        }
        let bearer = fields(&[("authorization", "Bearer abc")]);
        assert_eq!(presented(&bearer, &keys(false)), Presented::Nothing);
    }

    #[test]
    fn two_keys_conflict_wherever_they_stand() {
        let cases: [&[(&str, &str)]; 3] = [
            &[("x-api-key", "abc"), ("x-api-key", "abd")],
            &[("x-api-key", "abc"), ("authorization", "Bearer abd")],
            &[("authorization", "Bearer abc"), ("authorization", "Bearer Abc")],
        ];
        for lines in cases {
            assert_eq!(presented(&fields(lines), &keys(true)), Presented::Conflict, "{lines:?}");
            assert_eq!(all_presented(&fields(lines), &keys(true)).count(), 2);
        }
    }
}
