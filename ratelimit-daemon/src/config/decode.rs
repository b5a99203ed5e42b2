//! From the text of a configuration file to a [`Config`]: ranges, defaults, and what must fit together.

use super::{
    Action, Attach, Bulk, Config, Headers, Kernel, Keys, Missing, Mode, admin, anonymous, forwarding, health,
    proxy, rules,
};
use crate::document::{Field, Refused, Section};
use crate::policy::{self, Limits, RuleLimits, Tiers};
use crate::rules::Rules;
use http::{HeaderName, header};
use ratelimit_common::flow::FlowState;
use ratelimit_common::http::{MAX_NAME, MIN_NAME};
use std::fmt::{self, Display};
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::path::Path;
use std::sync::Arc;

const BYTES: RangeInclusive<u32> = 1..=1 << 30;
const DEFAULT_PIN_DIRECTORY: &str = "/sys/fs/bpf/ratelimitd";
const DEFAULT_KEY_FILE: &str = "/var/lib/ratelimitd/keys.toml";
const FLOWS: RangeInclusive<u32> = 64..=1 << 24;
/// Longest name of a network interface: the kernel's IFNAMSIZ without its final zero.
const MAX_INTERFACE_NAME: usize = 15;

const MODES: &[(&str, Mode)] = &[("proxy", Mode::Proxy), ("kernel", Mode::Kernel)];
const ACTIONS: &[(&str, Action)] = &[
    ("reply", Action::Reply),
    ("reset", Action::Reset),
    ("drop", Action::Drop),
    ("observe", Action::Observe),
];
pub(super) const ATTACHES: &[(&str, Attach)] =
    &[("auto", Attach::Auto), ("native", Attach::Native), ("generic", Attach::Generic), ("tc", Attach::Tc)];
pub(super) const MISSING: &[(&str, Missing)] =
    &[("reject", Missing::Reject), ("anonymous", Missing::Anonymous), ("pass", Missing::Pass)];

impl Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(word(MODES, *self))
    }
}

impl Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(word(ACTIONS, *self))
    }
}

/// How the configuration spells `value`.
pub(super) fn word<T: PartialEq>(words: &[(&'static str, T)], value: T) -> &'static str {
    words.iter().find(|(_, other)| *other == value).map_or("", |(word, _)| word)
}

/// Fields that carry the message or the connection, or something else than a key.
const OTHER_FIELDS: &[HeaderName] = &[
    header::CONNECTION,
    header::CONTENT_LENGTH,
    header::CONTENT_TYPE,
    header::COOKIE,
    header::EXPECT,
    header::HOST,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
];

pub(super) fn config(top: &Section<'_>, directory: &Path) -> Result<Config, Refused> {
    let action = top.or("action", Action::Reply, |field| field.one_of(ACTIONS));
    let mode = top.or("mode", Mode::Proxy, |field| field.one_of(MODES));
    let proxy = top.section("proxy", |section| match mode {
        Mode::Proxy => proxy::decode(section),
        Mode::Kernel => Ok(proxy::decode_unused(section)),
    });
    let listen = proxy.as_ref().ok().map(|proxy| proxy.listen.as_slice());
    let kernel = top.section("kernel", |section| match mode {
        Mode::Proxy => Ok(kernel(section, listen, directory)),
        Mode::Kernel => kernel_alone(section, directory),
    });
    let health = top.section("health", health::decode);
    let forwarding = top.section("forwarding", forwarding::decode);
    let keys = top.section("keys", |section| keys(section, directory));
    let headers = top.section("headers", |section| Headers {
        ratelimit_fields: section.or("ratelimit_fields", true, Field::boolean),
        dry_run: section.or("dry_run", false, Field::boolean),
    });
    let bulk = top.section("bulk", bulk);
    let admin = top.section("admin", |section| admin::decode(section, directory));
    let rules = rules::rules(top);
    let tiers = tiers(top, &rules);
    let anonymous = top.section("anonymous", |section| anonymous::decode(section, keys.missing, &tiers));
    Ok(Config {
        mode,
        action,
        proxy: proxy?,
        health,
        forwarding,
        kernel: kernel?,
        keys,
        anonymous: anonymous?,
        headers,
        bulk,
        admin,
        rules,
        tiers,
    })
}

/// The section `kernel`. `listen` is where the proxy listens, if that is known; relative paths start at `directory`.
fn kernel(section: &Section<'_>, listen: Option<&[SocketAddr]>, directory: &Path) -> Kernel {
    let listened = listen.map(|listen| {
        let mut ports: Vec<u16> = listen.iter().map(SocketAddr::port).collect();
        ports.sort_unstable();
        ports.dedup();
        ports
    });
    let interfaces =
        section.or("interfaces", Vec::new(), |field| field.each_once(|item| item.parsed(interface_name)));
    Kernel {
        ports: section
            .optional("ports", |field| ports(field, listened.as_deref(), !interfaces.is_empty()))
            .unwrap_or_else(|| listened.clone().unwrap_or_default()),
        interfaces,
        ..kernel_settings(section, directory)
    }
}

/// The section `kernel` where the kernel enforces alone.
fn kernel_alone(section: &Section<'_>, directory: &Path) -> Result<Kernel, Refused> {
    let interfaces = section.required(
        "interfaces",
        "those on which clients come, such as [\"eth0\"]",
        |field| match field.each_once(|item| item.parsed(interface_name))?.as_slice() {
            [] => Err(field.refuse("empty; with mode = \"kernel\" nobody else enforces the limits")),
            interfaces => Ok(interfaces.to_vec()),
        },
    );
    let ports =
        section.required("ports", "the API server's, such as [8080]", |field| ports(field, None, true));
    let rest = kernel_settings(section, directory);
    Ok(Kernel { interfaces: interfaces?, ports: ports?, ..rest })
}

/// What has a default whoever enforces.
fn kernel_settings(section: &Section<'_>, directory: &Path) -> Kernel {
    let pins = section.or("pin_directory", DEFAULT_PIN_DIRECTORY, |field| field.text());
    Kernel {
        interfaces: Vec::new(),
        ports: Vec::new(),
        attach: section.or("attach", Attach::Auto, |field| field.one_of(ATTACHES)),
        max_keys: section.or("max_keys", 65_536, |field| field.whole(1..=FlowState::MAX_SLOTS)),
        max_flows: section.or("max_flows", 65_536, |field| field.whole(FLOWS)).next_power_of_two(),
        pin_directory: Some(pins).filter(|pins| !pins.is_empty()).map(|pins| directory.join(pins)),
        detach_on_stop: section.or("detach_on_stop", false, Field::boolean),
    }
}

fn interface_name(text: &str) -> Result<String, String> {
    let is_allowed = |byte: u8| byte.is_ascii_graphic() && byte != b'/' && byte != b':';
    let fits = (1..=MAX_INTERFACE_NAME).contains(&text.len()) && text != "." && text != "..";
    if fits && text.bytes().all(is_allowed) {
        return Ok(text.to_owned());
    }
    Err(format!(
        "{text:?} cannot be the name of an interface; allowed: 1 to {MAX_INTERFACE_NAME} visible characters \
         without '/' and ':', as `ip link` shows them"
    ))
}

/// What the kernel charges on a port must be settled by a proxy that listens there.
fn ports(field: &Field<'_>, listened: Option<&[u16]>, is_used: bool) -> Result<Vec<u16>, Refused> {
    let ports = field.each_once(|item| {
        // Within u16 by its range.
        let port = item.whole(1..=u16::MAX.into())? as u16;
        match listened {
            Some(listened) if !listened.contains(&port) => Err(item.refuse(format_args!(
                "{port} is not a port of proxy.listen, so the proxy would not see what the kernel charges \
                 there; allowed: {}",
                listened.iter().map(u16::to_string).collect::<Vec<_>>().join(", ")
            ))),
            _ => Ok(port),
        }
    })?;
    if is_used && ports.is_empty() {
        return Err(field.refuse("empty although kernel.interfaces is not; write ports of proxy.listen"));
    }
    Ok(ports)
}

fn keys(section: &Section<'_>, directory: &Path) -> Keys {
    let file = section.or("file", DEFAULT_KEY_FILE, |field| match field.text()? {
        "" => Err(field.refuse("empty; write the path of the key file")),
        path => Ok(path),
    });
    let bearer = section.or("bearer", true, Field::boolean);
    let default = HeaderName::from_static("x-api-key");
    Keys {
        file: directory.join(file),
        header: section.or("header", default, |field| field.parsed(|text| key_field_name(text, bearer))),
        bearer,
        missing: section.or("missing", Missing::Reject, |field| field.one_of(MISSING)),
    }
}

fn key_field_name(text: &str, bearer: bool) -> Result<HeaderName, String> {
    if !(MIN_NAME..=MAX_NAME).contains(&text.len()) {
        return Err(format!("{text:?} has {} bytes; allowed: {MIN_NAME} to {MAX_NAME}", text.len()));
    }
    let name = HeaderName::from_bytes(text.as_bytes()).map_err(|_| {
        format!("{text:?} is not an HTTP field name; allowed: letters, digits and !#$%&'*+-.^_`|~")
    })?;
    if OTHER_FIELDS.contains(&name) {
        return Err(format!("{text:?} has another meaning in HTTP; write a field of its own for the key"));
    }
    if bearer && name == header::AUTHORIZATION {
        return Err(format!(
            "{text:?} carries `Bearer KEY` already because keys.bearer is true; write another field's name \
             or set keys.bearer to false"
        ));
    }
    Ok(name)
}

fn bulk(section: &Section<'_>) -> Bulk {
    let bytes = |name, default| section.or(name, default, |field| field.whole(BYTES)) as usize;
    Bulk {
        max_body_bytes: bytes("max_body_bytes", 8 << 20),
        max_total_bytes: bytes("max_total_bytes", 256 << 20),
    }
}

fn tiers(top: &Section<'_>, rules: &Rules) -> Tiers {
    let mut tiers = policy::built_in_tiers();
    let defined = top.named_sections("tiers", |name, section| {
        let limits = limits(section, tiers.get(name), rules);
        policy::check_tier_name(name).map_err(|text| section.refuse_name(&text))?;
        Ok((name.to_owned(), limits?))
    });
    tiers.extend(defined);
    tiers
}

/// A tier's limits. What is not set of a built-in tier stays as it is; a new tier says everything.
fn limits(section: &Section<'_>, built_in: Option<&Limits>, rules: &Rules) -> Result<Limits, Refused> {
    let number = |name, hint, range: RangeInclusive<u32>, default: Option<u32>| match default {
        Some(default) => Ok(section.or(name, default, |field| field.whole(range))),
        None => section.required(name, hint, |field| field.whole(range)),
    };
    let requests_per_hour = number(
        "requests_per_hour",
        "a number of requests, such as 1000",
        Limits::REQUESTS_PER_HOUR,
        built_in.map(|limits| limits.requests_per_hour),
    );
    let burst_per_minute = number(
        "burst_per_minute",
        "a number of requests, such as 100",
        Limits::BURST_PER_MINUTE,
        built_in.map(|limits| limits.burst_per_minute),
    );
    let rules = section.values("rules", |name, field| match rules.get(name) {
        Some(_) => field.whole(Limits::RULE),
        None => Err(field.refuse(policy::unknown_rule_text(name, rules))),
    });
    let rules: RuleLimits = rules.into_iter().collect();
    Ok(Limits {
        requests_per_hour: requests_per_hour?,
        burst_per_minute: burst_per_minute?,
        rules: Arc::new(rules),
    })
}
