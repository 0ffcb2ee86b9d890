//! Several machines on one: network namespaces on a bridge, taken down when dropped.

use std::process::Command;

use anyhow::{Result, ensure};

/// A bridge and a namespace per host, `10.77.0.1` and up. Names carry the process id, so that two
/// runs don't meet.
pub struct Lan {
    bridge: String,
    hosts: Vec<String>,
}

impl Lan {
    /// `Ok(None)` with the reason printed where namespaces can't be made.
    pub fn new(hosts: u8) -> Result<Option<Self>> {
        let id = std::process::id();
        let probe = Command::new("ip").args(["netns", "list"]).output();
        if !probe.is_ok_and(|out| out.status.success()) {
            eprintln!("NOT RUN: no `ip netns` here (package iproute2)");
            return Ok(None);
        }
        let mut lan = Self {
            bridge: format!("ps{}", id % 1_000_000),
            hosts: Vec::new(),
        };
        if let Err(error) = ip(&format!("link add {} type bridge", lan.bridge)) {
            eprintln!("NOT RUN: no network namespaces here (they need root): {error:#}");
            return Ok(None);
        }
        ip(&format!("link set {} up", lan.bridge))?;
        for number in 1..=hosts {
            lan.add(number)?;
        }
        Ok(Some(lan))
    }

    fn add(&mut self, number: u8) -> Result<()> {
        let (bridge, host) = (self.bridge.clone(), format!("{}-{number}", self.bridge));
        let (inner, outer) = (format!("v{host}"), format!("w{host}"));
        ip(&format!("netns add {host}"))?;
        self.hosts.push(host.clone());
        ip(&format!("link add {outer} type veth peer name {inner}"))?;
        ip(&format!("link set {inner} netns {host}"))?;
        ip(&format!("link set {outer} master {bridge} up"))?;
        ip(&format!("-n {host} link set lo up"))?;
        ip(&format!(
            "-n {host} addr add 10.77.0.{number}/24 dev {inner}"
        ))?;
        ip(&format!("-n {host} link set {inner} up"))?;
        ip(&format!("-n {host} route add default dev {inner}"))
    }

    /// What runs a program on host `number`, from 1.
    pub fn prefix(&self, number: usize) -> Vec<String> {
        ["ip", "netns", "exec", &self.hosts[number - 1]]
            .map(str::to_owned)
            .to_vec()
    }
}

impl Drop for Lan {
    fn drop(&mut self) {
        for host in &self.hosts {
            let _ = ip(&format!("netns del {host}"));
        }
        let _ = ip(&format!("link del {}", self.bridge));
    }
}

fn ip(arguments: &str) -> Result<()> {
    let output = Command::new("ip").args(arguments.split(' ')).output()?;
    ensure!(
        output.status.success(),
        "ip {arguments}: {}",
        String::from_utf8_lossy(&output.stderr).trim()
    );
    Ok(())
}
