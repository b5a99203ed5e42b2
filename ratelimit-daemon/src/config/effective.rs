//! The configuration that is in force, written out whole: every setting, those too that the file leaves out.

use super::decode::{ATTACHES, MISSING, word};
use super::forwarding::FORWARDED;
use super::{Admin, Config, Health, Mode, Networks, Proxy};
use crate::policy::Limits;
use crate::rules::{Bulk, Rule, Rules};
use serde_json::{Map, Value, json};
use std::fmt::Display;

impl Config {
    /// As a configuration file that means the same. Paths are written out from where this process runs. Error: a path
    /// that is not UTF-8.
    pub fn effective(&self) -> Result<String, toml::ser::Error> {
        let Self { kernel, keys, headers, bulk, admin, rules, forwarding, .. } = self;
        let mut all = json!({
            "mode": self.mode,
            "action": self.action,
            "proxy": proxy(&self.proxy, self.mode),
            "health": health(&self.health),
            "forwarding": {
                "trusted": networks(&forwarding.trusted),
                "proxy_protocol": networks(&forwarding.proxy_protocol),
                "x_forwarded": word(FORWARDED, forwarding.x_forwarded),
                "forwarded": word(FORWARDED, forwarding.forwarded),
            },
            "kernel": {
                "interfaces": kernel.interfaces,
                "ports": kernel.ports,
                "attach": word(ATTACHES, kernel.attach),
                "max_keys": kernel.max_keys,
                "max_flows": kernel.max_flows,
                "pin_directory": kernel.pin_directory.as_deref().unwrap_or("".as_ref()),
                "detach_on_stop": kernel.detach_on_stop,
            },
            "keys": {
                "file": keys.file,
                "header": keys.header.as_str(),
                "bearer": keys.bearer,
                "missing": word(MISSING, keys.missing),
            },
            "headers": { "ratelimit_fields": headers.ratelimit_fields, "dry_run": headers.dry_run },
            "bulk": { "max_body_bytes": bulk.max_body_bytes, "max_total_bytes": bulk.max_total_bytes },
            "admin": self::admin(admin),
            "paths": { "case_sensitive": rules.case_sensitive },
            "rules": self::rules(rules),
            "tiers": self.tiers.iter().map(|(name, limits)| (name.clone(), tier(limits))).collect::<Map<_, _>>(),
        });
        if let (Some(anonymous), Some(all)) = (&self.anonymous, all.as_object_mut()) {
            let section = json!({ "tier": anonymous.tier, "max_clients": anonymous.max_clients });
            all.insert("anonymous".to_owned(), section);
        }
        toml::to_string(&all)
    }
}

/// Where there is no proxy, nobody listens and nobody is asked: nothing is written of either.
fn proxy(proxy: &Proxy, mode: Mode) -> Value {
    let mut section = json!({
        "workers": proxy.workers,
        "max_connections": proxy.max_connections,
        "max_head_bytes": proxy.max_head,
        "upgrades": proxy.upgrades,
        "head_timeout_seconds": proxy.head_timeout.as_secs(),
        "body_timeout_seconds": proxy.body_timeout.as_secs(),
        "idle_timeout_seconds": proxy.idle_timeout.as_secs(),
        "connect_timeout_seconds": proxy.connect_timeout.as_secs(),
        "response_timeout_seconds": proxy.response_timeout.as_secs(),
        "tunnel_timeout_seconds": proxy.tunnel_timeout.as_secs(),
        "drain_timeout_seconds": proxy.drain_timeout.as_secs(),
    });
    if let (Mode::Proxy, Some(section)) = (mode, section.as_object_mut()) {
        section.insert("listen".to_owned(), texts(&proxy.listen));
        section.insert("upstream".to_owned(), texts(&proxy.upstreams));
    }
    section
}

fn admin(admin: &Admin) -> Value {
    json!({
        "socket": admin.socket.as_deref().unwrap_or("".as_ref()),
        "listen": admin.listen.map(|listen| listen.to_string()).unwrap_or_default(),
        "token_file": admin.token_file,
        "hosts": admin.hosts,
        "controls": admin.controls,
    })
}

fn health(health: &Health) -> Value {
    let mut section = Map::from_iter([
        ("interval_seconds".to_owned(), json!(health.interval.as_secs())),
        ("timeout_seconds".to_owned(), json!(health.timeout.as_secs())),
    ]);
    section.extend(health.path.iter().map(|path| ("path".to_owned(), json!(path))));
    Value::Object(section)
}

/// The rules; those that are built in and switched off too.
fn rules(rules: &Rules) -> Map<String, Value> {
    let built_in = Rules::built_in();
    let off = built_in.rules.into_iter().filter(|rule| rules.get(&rule.name).is_none());
    let off = off.map(|rule| (rule.name, json!({ "enabled": false })));
    rules.rules.iter().map(|rule| (rule.name.clone(), self::rule(rule))).chain(off).collect()
}

fn rule(rule: &Rule) -> Value {
    let mut section = Map::from_iter([
        ("endpoints".to_owned(), texts(&rule.endpoints)),
        ("limit".to_owned(), json!(rule.limit)),
        ("window_seconds".to_owned(), json!(rule.window_seconds)),
        ("shared".to_owned(), json!(rule.is_shared)),
        ("cost".to_owned(), json!(rule.cost)),
        ("dry_run".to_owned(), json!(rule.is_dry_run)),
    ]);
    if let Some(Bulk { max_records, records }) = &rule.bulk {
        section.insert("max_records".to_owned(), json!(max_records));
        section.extend(records.iter().map(|names| ("records".to_owned(), json!(pointer(names)))));
    }
    Value::Object(section)
}

/// A JSON pointer (RFC 6901).
fn pointer(names: &[String]) -> String {
    names.iter().map(|name| format!("/{}", name.replace('~', "~0").replace('/', "~1"))).collect()
}

fn tier(Limits { requests_per_hour, burst_per_minute, rules }: &Limits) -> Value {
    json!({ "requests_per_hour": requests_per_hour, "burst_per_minute": burst_per_minute, "rules": **rules })
}

fn networks(networks: &Networks) -> Value {
    networks.iter().map(|network| json!(network.to_string())).collect()
}

fn texts<T: Display>(items: &[T]) -> Value {
    items.iter().map(|item| json!(item.to_string())).collect()
}

#[cfg(test)]
mod tests {
    use crate::config::tests::{EVERY_SETTING, parse, with};

    #[track_caller]
    fn assert_means_the_same(text: &str) {
        let config = parse(text).unwrap();
        let effective = config.effective().unwrap();
        assert_eq!(parse(&effective).unwrap(), config, "{effective}");
    }

    #[test]
    fn what_is_written_means_the_same() {
        assert_means_the_same(&with(""));
        assert_means_the_same(
            "mode = 'kernel'\naction = 'drop'\n[kernel]\ninterfaces = ['eth0']\nports = [8080, 81]\nattach = 'tc'",
        );
        assert_means_the_same(EVERY_SETTING);
        assert_means_the_same(
            "[proxy]
            listen = ['10.0.0.1:80', '[::1]:81']
            upstream = ['api.internal:1', '[::1]:2']
            upgrades = ['other']
            [admin]
            socket = ''
            [rules.search]
            enabled = false
            [rules.bulk]
            records = '/a~1b/c~0d'
            [rules.reports]
            endpoints = ['GET /reports/*', '* /:x/report']
            limit = 3
            window_seconds = 60
            shared = false
            cost = 5
            dry_run = true
            [tiers.professional]
            burst_per_minute = 11
            rules = { reports = 7 }
            [tiers.partner]
            requests_per_hour = 12
            burst_per_minute = 13",
        );
    }

    /// Every setting that the packaged file knows is written.
    #[test]
    fn every_setting_is_written() {
        let more =
            "[health]\npath = '/up'\n[keys]\nmissing = 'anonymous'\n[anonymous]\ntier = 'professional'";
        let effective = parse(&with(more)).unwrap().effective().unwrap();
        let packaged = include_str!("../../../packaging/ratelimitd.toml");
        let names = packaged.lines().filter_map(|line| line.trim_start_matches(['#', ' ']).split_once(" = "));
        // A rule that is switched off is written, and no other is.
        for (name, _) in names.filter(|(name, _)| !name.contains(' ') && *name != "enabled") {
            assert!(
                effective.lines().any(|line| line.starts_with(&format!("{name} = "))),
                "{name}:\n{effective}"
            );
        }
    }
}
