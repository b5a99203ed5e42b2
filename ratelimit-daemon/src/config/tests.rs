use super::*;
use crate::policy::Limits;
use std::sync::Arc;
use std::time::Duration;

pub(super) fn parse(text: &str) -> Result<Config, Problems> {
    let path = Path::new("/etc/x.toml");
    document::parse(path, text, |top| decode::config(top, directory(path)))
}

/// A configuration that is right, with `more` after it.
pub(super) fn with(more: &str) -> String {
    format!("[proxy]\nlisten = [\"0.0.0.0:8080\", \"[::1]:8081\"]\nupstream = \"127.0.0.1:9000\"\n{more}")
}

#[track_caller]
pub(super) fn assert_refused(text: &str, expected: &str) {
    let told = parse(text).expect_err("a refusal").to_string();
    assert_eq!(told, expected);
}

#[test]
fn the_defaults() {
    let config = parse(&with("")).unwrap();
    assert_eq!(config.action, Action::Reply);
    assert_eq!(config.proxy.listen, ["0.0.0.0:8080".parse().unwrap(), "[::1]:8081".parse().unwrap()]);
    assert_eq!(config.proxy.upstreams, ["127.0.0.1:9000".parse().unwrap()]);
    let (interval, timeout) = (Duration::from_secs(2), Duration::from_secs(2));
    assert_eq!(config.health, Health { path: None, interval, timeout });
    assert!(config.proxy.workers >= 1);
    assert_eq!(config.proxy.max_connections, 65_536);
    assert_eq!(config.proxy.head_timeout, Duration::from_secs(10));
    assert_eq!(
        (config.proxy.max_head, config.proxy.upgrades.as_slice()),
        (65_536, &["websocket".to_owned()][..])
    );
    assert_eq!(config.proxy.body_timeout, Duration::from_secs(30));
    assert_eq!(config.proxy.tunnel_timeout, Duration::from_secs(3_600));
    assert_eq!(config.proxy.idle_timeout, Duration::from_secs(60));
    assert_eq!(config.proxy.connect_timeout, Duration::from_secs(2));
    assert_eq!(config.proxy.response_timeout, Duration::from_secs(30));
    assert_eq!(config.proxy.drain_timeout, Duration::from_secs(10));
    let (trusted, proxy_protocol) = (Networks::default(), Networks::default());
    let (x_forwarded, forwarded) = (Forwarded::Append, Forwarded::Off);
    assert_eq!(config.forwarding, Forwarding { trusted, proxy_protocol, x_forwarded, forwarded });
    assert!(config.kernel.interfaces.is_empty());
    assert_eq!(config.kernel.ports, [8080, 8081]);
    assert_eq!(config.kernel.attach, Attach::Auto);
    assert_eq!((config.kernel.max_keys, config.kernel.max_flows), (65_536, 65_536));
    assert_eq!(config.keys.file, Path::new("/var/lib/ratelimitd/keys.toml"));
    assert_eq!(config.keys.header, "x-api-key");
    assert!(config.keys.bearer);
    assert_eq!(config.keys.missing, Missing::Reject);
    assert!(config.headers.ratelimit_fields && !config.headers.dry_run);
    assert_eq!(config.rules, Rules::built_in());
    assert_eq!(config.bulk, Bulk { max_body_bytes: 8 << 20, max_total_bytes: 256 << 20 });
    let limits = |requests_per_hour, burst_per_minute| Limits {
        requests_per_hour,
        burst_per_minute,
        rules: Arc::default(),
    };
    let (professional, enterprise) = (limits(1_000, 100), limits(10_000, 500));
    let tiers = [("professional".to_owned(), professional), ("enterprise".to_owned(), enterprise)];
    assert_eq!(config.tiers, Tiers::from(tiers));
}

/// A file with every setting but those of rules.
pub(super) const EVERY_SETTING: &str = "action = 'observe'
        [proxy]
        listen = ['10.0.0.1:80']
        upstream = ['api.internal:1', '[::1]:2']
        workers = 3
        max_connections = 4
        max_head_bytes = 4096
        upgrades = ['WebSocket', 'other']
        head_timeout_seconds = 5
        body_timeout_seconds = 14
        tunnel_timeout_seconds = 15
        idle_timeout_seconds = 6
        connect_timeout_seconds = 7
        response_timeout_seconds = 8
        drain_timeout_seconds = 9
        [health]
        path = '/up?full=1'
        interval_seconds = 16
        timeout_seconds = 17
        [forwarding]
        trusted = ['10.0.0.0/8', '::1']
        proxy_protocol = ['10.1.2.3']
        x_forwarded = 'replace'
        forwarded = 'append'
        [kernel]
        interfaces = ['eth0', 'bond0.7']
        ports = [80]
        attach = 'generic'
        max_keys = 10
        max_flows = 1000
        pin_directory = 'pins'
        detach_on_stop = true
        [keys]
        file = 'k.toml'
        header = 'Api-Token'
        bearer = false
        missing = 'anonymous'
        [anonymous]
        tier = 'partner'
        max_clients = 18
        [headers]
        ratelimit_fields = false
        dry_run = true
        [bulk]
        max_body_bytes = 14
        max_total_bytes = 15
        [admin]
        socket = 'a.sock'
        listen = '[::1]:9090'
        token_file = 'a.token'
        hosts = ['ops.example']
        controls = true
        [paths]
        case_sensitive = true
        [tiers.professional]
        burst_per_minute = 11
        [tiers.partner]
        requests_per_hour = 12
        burst_per_minute = 13";

#[test]
fn every_setting_is_taken_over() {
    let config = parse(EVERY_SETTING).unwrap();
    let tier = |requests_per_hour, burst_per_minute| Limits {
        requests_per_hour,
        burst_per_minute,
        rules: Arc::default(),
    };
    let expected = Config {
        mode: Mode::Proxy,
        action: Action::Observe,
        proxy: Proxy {
            listen: vec!["10.0.0.1:80".parse().unwrap()],
            upstreams: vec![
                Upstream { host: "api.internal".to_owned(), port: 1 },
                "[::1]:2".parse().unwrap(),
            ],
            workers: 3,
            max_connections: 4,
            max_head: 4096,
            upgrades: vec!["websocket".to_owned(), "other".to_owned()],
            body_timeout: Duration::from_secs(14),
            tunnel_timeout: Duration::from_secs(15),
            head_timeout: Duration::from_secs(5),
            idle_timeout: Duration::from_secs(6),
            connect_timeout: Duration::from_secs(7),
            response_timeout: Duration::from_secs(8),
            drain_timeout: Duration::from_secs(9),
        },
        health: Health {
            path: Some("/up?full=1".to_owned()),
            interval: Duration::from_secs(16),
            timeout: Duration::from_secs(17),
        },
        forwarding: Forwarding {
            trusted: ["10.0.0.0/8", "::1/128"].map(|text| text.parse().unwrap()).into_iter().collect(),
            proxy_protocol: ["10.1.2.3/32".parse().unwrap()].into_iter().collect(),
            x_forwarded: Forwarded::Replace,
            forwarded: Forwarded::Append,
        },
        kernel: Kernel {
            interfaces: vec!["eth0".to_owned(), "bond0.7".to_owned()],
            ports: vec![80],
            attach: Attach::Generic,
            max_keys: 10,
            max_flows: 1024,
            pin_directory: Some("/etc/pins".into()),
            detach_on_stop: true,
        },
        keys: Keys {
            file: "/etc/k.toml".into(),
            header: HeaderName::from_static("api-token"),
            bearer: false,
            missing: Missing::Anonymous,
        },
        anonymous: Some(Anonymous { tier: "partner".to_owned(), max_clients: 18 }),
        headers: Headers { ratelimit_fields: false, dry_run: true },
        bulk: Bulk { max_body_bytes: 14, max_total_bytes: 15 },
        admin: Admin {
            socket: Some("/etc/a.sock".into()),
            listen: "[::1]:9090".parse().ok(),
            token_file: "/etc/a.token".into(),
            hosts: vec!["ops.example".to_owned()],
            controls: true,
        },
        rules: Rules { case_sensitive: true, ..Rules::built_in() },
        tiers: Tiers::from([
            ("professional".to_owned(), tier(1_000, 11)),
            ("enterprise".to_owned(), tier(10_000, 500)),
            ("partner".to_owned(), tier(12, 13)),
        ]),
    };
    assert_eq!(config, expected);
}

#[test]
fn the_packaged_configuration_says_what_holds_without_it() {
    let packaged = include_str!("../../../packaging/ratelimitd.toml");
    let is_setting = |rest: &str| rest.starts_with(|first: char| first.is_ascii_lowercase());
    let mut settings = 0;
    let enabled: Vec<_> = packaged
        .lines()
        .map(|line| match line.strip_prefix('#') {
            Some(rest) if is_setting(rest) => {
                settings += 1;
                rest
            }
            _ => line,
        })
        .collect();
    assert_eq!(settings, 56, "settings are written `#name = value`, remarks `# remark`");
    let packaged = parse(packaged).unwrap();
    assert_eq!(packaged, parse(&enabled.join("\n")).unwrap());
    let shortest = "[proxy]\nlisten = ['0.0.0.0:8080']\nupstream = '127.0.0.1:9000'";
    assert_eq!(packaged, parse(shortest).unwrap());
}

#[test]
fn what_must_be_there() {
    assert_refused(
        "",
        "/etc/x.toml: proxy.listen: missing; write one address or more, such as [\"0.0.0.0:8080\"]\n\
         /etc/x.toml: proxy.upstream: missing; write the API server's host:port, such as \"127.0.0.1:9000\"",
    );
    assert_refused(
        &with("[tiers.gold]\nburst_per_minute = 5"),
        "/etc/x.toml:4: tiers.gold.requests_per_hour: missing; write a number of requests, such as 1000",
    );
}

#[test]
fn words_and_unknown_fields() {
    for (more, expected) in [
        (
            "[kernel]\nattach = 'fast'",
            "5: kernel.attach: unknown value \"fast\"; allowed: auto, native, generic, tc",
        ),
        ("[keys]\nmissing = 'ok'", "5: keys.missing: unknown value \"ok\"; allowed: reject, anonymous, pass"),
        ("[keys]\nbearer = 'yes'", "5: keys.bearer: expected true or false, found a string"),
        ("[keys]\nfiel = ''", "5: keys.fiel: unknown field; allowed: file, bearer, header, missing"),
        ("[keys]\nfile = ''", "5: keys.file: empty; write the path of the key file"),
        (
            "[kernal]",
            "4: kernal: unknown field; allowed: action, mode, proxy, kernel, health, forwarding, keys, headers, bulk, admin, paths, rules, tiers, anonymous",
        ),
        (
            "[tiers.enterprise]\nrequests = 1",
            "5: tiers.enterprise.requests: unknown field; allowed: requests_per_hour, burst_per_minute, rules",
        ),
    ] {
        assert_refused(&with(more), &format!("/etc/x.toml:{expected}"));
    }
    assert_refused(
        &format!("action = 'bounce'\n{}", with("")),
        "/etc/x.toml:1: action: unknown value \"bounce\"; allowed: reply, reset, drop, observe",
    );
}

#[test]
fn numbers_out_of_range() {
    for (more, expected) in [
        ("workers = 0", "4: proxy.workers: 0 is out of range; allowed: 1 to 1024"),
        ("max_connections = 0", "4: proxy.max_connections: 0 is out of range; allowed: 1 to 1048576"),
        ("head_timeout_seconds = 0", "4: proxy.head_timeout_seconds: 0 is out of range; allowed: 1 to 86400"),
        ("[kernel]\nmax_keys = 0", "5: kernel.max_keys: 0 is out of range; allowed: 1 to 16777216"),
        (
            "[kernel]\nmax_keys = 16777217",
            "5: kernel.max_keys: 16777217 is out of range; allowed: 1 to 16777216",
        ),
        ("[kernel]\nmax_flows = 63", "5: kernel.max_flows: 63 is out of range; allowed: 64 to 16777216"),
        (
            "[tiers.professional]\nrequests_per_hour = 0",
            "5: tiers.professional.requests_per_hour: 0 is out of range; allowed: 1 to 1000000000",
        ),
        (
            "[tiers.enterprise]\nburst_per_minute = 10000001",
            "5: tiers.enterprise.burst_per_minute: 10000001 is out of range; allowed: 1 to 10000000",
        ),
    ] {
        assert_refused(&with(more), &format!("/etc/x.toml:{expected}"));
    }
}

#[test]
fn a_problem_in_a_long_list_is_told_at_its_own_line() {
    assert_refused(
        "[proxy]\nupstream = 'a:1'\nlisten = [\n  '0.0.0.0:80',\n  '0.0.0.0:0',\n]",
        "/etc/x.toml:5: proxy.listen: port 0 is not allowed; allowed: 1 to 65535",
    );
}

#[test]
fn interfaces_and_ports() {
    for (kernel, expected) in [
        ("interfaces = ['']", "5: kernel.interfaces: \"\" cannot be the name of an interface"),
        ("interfaces = ['eth0', 'eth0']", "5: kernel.interfaces: eth0 is listed twice"),
        (
            "interfaces = ['sixteen-letters-']",
            "5: kernel.interfaces: \"sixteen-letters-\" cannot be the name",
        ),
        ("interfaces = ['../eth0']", "5: kernel.interfaces: \"../eth0\" cannot be the name"),
        ("ports = [0]", "5: kernel.ports: 0 is out of range; allowed: 1 to 65535"),
        ("ports = [8080, 8080]", "5: kernel.ports: 8080 is listed twice"),
        ("interfaces = ['eth0']\nports = []", "6: kernel.ports: empty although kernel.interfaces is not"),
    ] {
        let told = parse(&with(&format!("[kernel]\n{kernel}"))).expect_err(kernel).to_string();
        assert!(told.starts_with(&format!("/etc/x.toml:{expected}")), "{told}");
    }
    assert_refused(
        &with("[kernel]\nports = [8080, 80]"),
        "/etc/x.toml:5: kernel.ports: 80 is not a port of proxy.listen, so the proxy would not see what the kernel \
         charges there; allowed: 8080, 8081",
    );
}

#[test]
fn key_field_names() {
    for (keys, expected) in [
        ("header = 'ab'", "\"ab\" has 2 bytes; allowed: 3 to 24"),
        (
            "header = 'a-name-of-twenty-five-byte'",
            "\"a-name-of-twenty-five-byte\" has 26 bytes; allowed: 3 to 24",
        ),
        (
            "header = 'X API'",
            "\"X API\" is not an HTTP field name; allowed: letters, digits and !#$%&'*+-.^_`|~",
        ),
        ("header = 'x:y'", "\"x:y\" is not an HTTP field name; allowed: letters, digits and !#$%&'*+-.^_`|~"),
        ("header = 'HOST'", "\"HOST\" has another meaning in HTTP; write a field of its own for the key"),
        (
            "header = 'Authorization'",
            "\"Authorization\" carries `Bearer KEY` already because keys.bearer is true; write another field's name \
             or set keys.bearer to false",
        ),
    ] {
        assert_refused(&with(&format!("[keys]\n{keys}")), &format!("/etc/x.toml:5: keys.header: {expected}"));
    }
    let config = parse(&with("[keys]\nheader = 'Authorization'\nbearer = false")).unwrap();
    assert_eq!(config.keys.header, "authorization");
}

#[test]
fn tier_names() {
    let limits = "requests_per_hour = 1\nburst_per_minute = 1";
    let name = "x".repeat(65);
    for wrong in ["", "a b", "a.b", &name] {
        assert_refused(
            &with(&format!("[tiers.{wrong:?}]\n{limits}")),
            &format!(
                "/etc/x.toml:4: tiers.{wrong}: {wrong:?} cannot be a name; allowed: 1 to 64 letters, digits, '_' and '-'"
            ),
        );
    }
    assert!(parse(&with(&format!("[tiers.Gold_2-x]\n{limits}"))).unwrap().tiers.contains_key("Gold_2-x"));
}

#[test]
fn all_problems_are_told_together() {
    let told = parse("action = 1\n[proxy]\nworkers = 0\n[keys]\nheader = ''\n[x]\n").unwrap_err().to_string();
    let lines: Vec<_> = told.lines().map(|line| line.split(": ").nth(1).unwrap_or_default()).collect();
    assert_eq!(lines, ["action", "proxy.listen", "proxy.upstream", "proxy.workers", "keys.header", "x"]);
}
