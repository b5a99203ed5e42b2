//! ratelimitd with its kernel program, and nginx, before the same API, in a laboratory.

use crate::command;
use crate::deployment::{Deployment, PORT, Plan};
use crate::lab::{Lab, Process};
use crate::load::{Load, Report};
use anyhow::{Context, Result};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

const NGINX_PORT: u16 = 8_081;

const START_LIMIT: Duration = Duration::from_secs(20);

/// Both of them.
pub(super) struct Bed {
    pub(super) deployment: Deployment,
    pub(super) nginx: Process,
}

impl Bed {
    pub(super) fn set_up() -> Result<Self> {
        let xtask = PathBuf::from(format!("/proc/{}/exe", std::process::id()));
        let deployment = Deployment::start(&Plan::new(&xtask))?;
        let lab = &deployment.lab;
        let directory = lab.directory().display();
        let config = format!(
            "daemon off; worker_processes 1; pid {directory}/nginx.pid; error_log stderr crit;\n\
             events {{ worker_connections 4096; }}\n\
             http {{ access_log off; keepalive_requests 1000000000; limit_req_status 429;\n\
             limit_req_zone $http_x_api_key zone=keys:10m rate=500r/m;\n\
             upstream api {{ server 127.0.0.1:9000; keepalive 64; }}\n\
             proxy_http_version 1.1; proxy_set_header Connection \"\";\n\
             server {{ listen {}; location / {{ limit_req zone=keys burst=499 nodelay; proxy_pass http://api; }} }} }}\n",
            lab.host_v4(NGINX_PORT)
        );
        let path = lab.directory().join("nginx.conf");
        std::fs::write(&path, config)?;
        let nginx = command::find("nginx").context("nginx is missing: run `cargo xtask setup`")?;
        let path = path.to_str().context("the directory's name is not UTF-8")?;
        let mut nginx = lab.start("nginx", &nginx, &["-e", "stderr", "-c", path])?;
        let address = lab.host_v4(NGINX_PORT);
        let listens = || lab.client.inside(|| Ok(std::net::TcpStream::connect(address).is_ok()));
        nginx.wait_until(START_LIMIT, |_| listens())?;
        Ok(Self { deployment, nginx })
    }

    fn lab(&self) -> &Lab {
        &self.deployment.lab
    }

    pub(super) fn ratelimitd(&self) -> SocketAddr {
        self.lab().host_v4(PORT)
    }

    pub(super) fn nginx(&self) -> SocketAddr {
        self.lab().host_v4(NGINX_PORT)
    }

    /// A scenario of one population of enterprise keys; nothing is promised of rules.
    pub(super) fn scenario(
        &self,
        name: &str,
        keys: u32,
        connections: u32,
        arrivals: &str,
        path: &str,
    ) -> Result<PathBuf> {
        let text = format!(
            "description = \"{name}\"\n[expect]\nrules = false\n[[population]]\nname = \"{name}\"\n\
             tier = \"enterprise\"\nkeys = {keys}\nconnections = {connections}\n\
             arrivals = [{{ {arrivals} }}]\nrequests = [{{ path = \"{path}\" }}]\n"
        );
        let path = self.lab().directory().join(format!("{name}.toml"));
        std::fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
        Ok(path)
    }

    /// Runs one from the client's host, by one thread.
    pub(super) fn load(&self, server: SocketAddr, scenario: &Path) -> Result<Report> {
        let load = Load::new(scenario).at(server).with_threads(1).with_made_keys(self.deployment.config());
        load.run(&self.lab().client)
    }
}
