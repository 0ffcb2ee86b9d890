//! Several machines on one: network namespaces, wired as a test wants, taken down when dropped.
//!
//! Names carry the process id, so that two runs don't meet. Nothing outside of the namespaces changes but
//! for a bridge and the ends of its wires.

use std::{
    io::Write,
    process::{Command, Stdio},
    sync::atomic::{AtomicU32, Ordering},
};

use anyhow::{Context, Result, ensure};

/// Machines of a test, by their numbers from 1.
pub struct Lan {
    name: String,
    hosts: Vec<String>,
    routers: Vec<String>,
    bridge: bool,
}

/// Of addresses.
#[derive(Debug, Clone, Copy)]
pub enum Family {
    V4,
    V6,
}

impl Family {
    fn address(self, network: u8, last: u8) -> String {
        match self {
            Self::V4 => format!("10.77.{network}.{last}"),
            Self::V6 if last == 0 => format!("fd77:{network}::"),
            Self::V6 => format!("fd77:{network}::{last}"),
        }
    }

    fn mask(self) -> &'static str {
        match self {
            Self::V4 => "/24",
            Self::V6 => "/64",
        }
    }

    /// The options after a machine's address: its network, and no check for duplicates.
    fn options(self) -> &'static str {
        match self {
            Self::V4 => "/24",
            Self::V6 => "/64 nodad",
        }
    }

    /// Keeps a router from saying that a packet was too large.
    fn silence(self) -> &'static str {
        match self {
            Self::V4 => {
                "table ip f { chain o { type filter hook output priority 0; \
                 icmp type destination-unreachable drop; }; }"
            }
            Self::V6 => {
                "table ip6 f { chain o { type filter hook output priority 0; \
                 icmpv6 type packet-too-big drop; }; }"
            }
        }
    }
}

/// Networks made by this process so far.
static MADE: AtomicU32 = AtomicU32::new(0);

impl Lan {
    /// A bridge with `hosts` machines at it, `10.77.0.1` and up. `Ok(None)`, with the reason printed, where
    /// namespaces can't be made.
    pub fn new(hosts: u8) -> Result<Option<Self>> {
        let Some(mut lan) = Self::bridged()? else {
            return Ok(None);
        };
        for number in 1..=hosts {
            let inner = lan.plug_in(number)?;
            let host = &lan.hosts[usize::from(number) - 1];
            ip(&format!(
                "-n {host} addr add 10.77.0.{number}/24 dev {inner}"
            ))?;
            ip(&format!("-n {host} link set {inner} up"))?;
            ip(&format!("-n {host} route add default dev {inner}"))?;
        }
        Ok(Some(lan))
    }

    /// As [`new`](Self::new), without IPv4: `fd77::1` and up.
    pub fn without_v4(hosts: u8) -> Result<Option<Self>> {
        let Some(mut lan) = Self::bridged()? else {
            return Ok(None);
        };
        for number in 1..=hosts {
            let inner = lan.plug_in(number)?;
            let host = &lan.hosts[usize::from(number) - 1];
            // Without the check whether the address is taken.
            ip(&format!(
                "-n {host} addr add fd77::{number}/64 dev {inner} nodad"
            ))?;
            ip(&format!("-n {host} link set {inner} up"))?;
        }
        Ok(Some(lan))
    }

    /// Machines in a network of their own each, `10.77.N.2`, with a router between them that passes no
    /// multicast.
    pub fn apart(hosts: u8) -> Result<Option<Self>> {
        let Some(mut lan) = Self::begin()? else {
            return Ok(None);
        };
        let router = lan.router(1)?;
        for number in 1..=hosts {
            let host = lan.host(number)?;
            let (inner, outer) = (format!("v{host}"), format!("r{number}"));
            wire((&host, &inner), (&router, &outer))?;
            ip(&format!(
                "-n {router} addr add 10.77.{number}.1/24 dev {outer}"
            ))?;
            ip(&format!(
                "-n {host} addr add 10.77.{number}.2/24 dev {inner}"
            ))?;
            ip(&format!("-n {host} route add default via 10.77.{number}.1"))?;
        }
        Ok(Some(lan))
    }

    /// Two machines, `10.77.1.2` and `10.77.2.2`, or `fd77:1::2` and `fd77:2::2`, with two routers between them
    /// whose wire takes packets of `mtu` bytes, and which don't say so.
    pub fn through_a_narrow_wire(mtu: u16, family: Family) -> Result<Option<Self>> {
        let Some(mut lan) = Self::begin()? else {
            return Ok(None);
        };
        let routers = [lan.router(1)?, lan.router(2)?];
        wire((&routers[0], "m1"), (&routers[1], "m2"))?;
        for (number, router) in (1..=2).zip(&routers) {
            let other = 3 - number;
            let host = lan.host(number)?;
            let inner = format!("v{host}");
            wire((&host, &inner), (router, "lan"))?;
            let at = |network, last| family.address(network, last);
            let (gateway, there) = (at(number, 1), at(9, other));
            let options = family.options();
            ip(&format!("-n {router} addr add {gateway}{options} dev lan"))?;
            ip(&format!(
                "-n {host} addr add {}{options} dev {inner}",
                at(number, 2)
            ))?;
            ip(&format!("-n {host} route add default via {gateway}"))?;
            ip(&format!(
                "-n {router} addr add {}{options} dev m{number}",
                at(9, number)
            ))?;
            ip(&format!("-n {router} link set m{number} mtu {mtu}"))?;
            ip(&format!(
                "-n {router} route add {}{} via {there}",
                at(other, 0),
                family.mask()
            ))?;
            nft(router, family.silence())?;
        }
        Ok(Some(lan))
    }

    /// What runs a program on a machine.
    pub fn prefix(&self, number: usize) -> Vec<String> {
        ["ip", "netns", "exec", &self.hosts[number - 1]]
            .map(str::to_owned)
            .to_vec()
    }

    /// Gives a machine at the bridge the address `10.77.0.LAST` in place of the one that it has.
    pub fn readdress(&self, number: usize, last: u8) -> Result<()> {
        let (host, inner) = self.host_and_wire(number);
        ip(&format!("-n {host} -4 addr flush dev {inner}"))?;
        ip(&format!("-n {host} addr add 10.77.0.{last}/24 dev {inner}"))?;
        ip(&format!("-n {host} route replace default dev {inner}"))
    }

    /// Takes a machine behind the router into the network `10.77.NETWORK.0`, where it is `10.77.NETWORK.2`.
    pub fn move_to(&self, number: usize, network: u8) -> Result<()> {
        let (host, inner) = self.host_and_wire(number);
        let router = self.routers.first().context("no router")?;
        ip(&format!(
            "-n {router} addr add 10.77.{network}.1/24 dev r{number}"
        ))?;
        ip(&format!("-n {host} -4 addr flush dev {inner}"))?;
        ip(&format!(
            "-n {host} addr add 10.77.{network}.2/24 dev {inner}"
        ))?;
        ip(&format!(
            "-n {host} route replace default via 10.77.{network}.1"
        ))
    }

    /// Pulls a machine's plug out of the bridge, or puts it back.
    pub fn plug(&self, number: usize, is_in: bool) -> Result<()> {
        let host = &self.hosts[number - 1];
        let state = if is_in { "up" } else { "down" };
        ip(&format!("link set w{host} {state}"))
    }

    /// Bounds what a machine sends, in Mbit/s.
    pub fn limit(&self, number: usize, mbit: u32) -> Result<()> {
        let (host, inner) = self.host_and_wire(number);
        run(
            "tc",
            &format!(
                "-n {host} qdisc replace dev {inner} root tbf rate {mbit}mbit burst 64kb latency 100ms"
            ),
        )
    }

    /// Has a machine's firewall drop what comes to a TCP port.
    pub fn close(&self, number: usize, port: u16) -> Result<()> {
        let (host, _) = self.host_and_wire(number);
        let rules = format!(
            "table inet c {{ chain i {{ type filter hook input priority 0; tcp dport {port} drop; }}; }}"
        );
        nft(host, &rules)
    }

    /// Loses one packet in `1000 / per_mille` of those that a machine is sent.
    pub fn lose(&self, number: usize, per_mille: u32) -> Result<()> {
        let (host, inner) = self.host_and_wire(number);
        for other in &self.hosts {
            // Packets as they would be on a wire, not as large as the kernel passes them on to itself.
            let features = format!("-n {other} link set v{other} gso_max_segs 1");
            ip(&features)?;
        }
        let rules = format!(
            "table netdev l {{ chain i {{ type filter hook ingress device \"{inner}\" priority 0; \
             numgen random mod 1000 < {per_mille} counter drop; }}; }}"
        );
        nft(host, &rules)
    }

    /// Bytes that a machine was sent so far, with all that goes around them.
    pub fn received(&self, number: usize) -> Result<u64> {
        let (host, inner) = self.host_and_wire(number);
        let file = format!("/sys/class/net/{inner}/statistics/rx_bytes");
        let output = Command::new("ip")
            .args(["netns", "exec", host, "cat", &file])
            .output()?;
        let text = String::from_utf8_lossy(&output.stdout);
        text.trim()
            .parse()
            .with_context(|| format!("{file}: {text}"))
    }

    fn host_and_wire(&self, number: usize) -> (&str, String) {
        let host = &self.hosts[number - 1];
        (host, format!("v{host}"))
    }

    fn begin() -> Result<Option<Self>> {
        for (program, arguments, package) in [
            ("ip", ["netns", "list"], "iproute2"),
            ("nft", ["--version", "--version"], "nftables"),
        ] {
            let probe = Command::new(program).args(arguments).output();
            if !probe.is_ok_and(|out| out.status.success()) {
                eprintln!("NOT RUN: no `{program}` here (package {package})");
                return Ok(None);
            }
        }
        let made = MADE.fetch_add(1, Ordering::Relaxed);
        let name = format!("p{}{}", std::process::id() % 1_000_000, letter(made));
        let probe = format!("{name}-0");
        if let Err(error) = ip(&format!("netns add {probe}")) {
            eprintln!("NOT RUN: no network namespaces here (they need root): {error:#}");
            return Ok(None);
        }
        ip(&format!("netns del {probe}"))?;
        Ok(Some(Self {
            name,
            hosts: Vec::new(),
            routers: Vec::new(),
            bridge: false,
        }))
    }

    fn bridged() -> Result<Option<Self>> {
        let Some(mut lan) = Self::begin()? else {
            return Ok(None);
        };
        // The bridge learns no addresses, so a moved plug works at once.
        ip(&format!(
            "link add {} type bridge mcast_snooping 0",
            lan.name
        ))?;
        lan.bridge = true;
        ip(&format!("link set {} up", lan.name))?;
        Ok(Some(lan))
    }

    /// A machine without any wire.
    fn host(&mut self, number: u8) -> Result<String> {
        let host = format!("{}-{number}", self.name);
        ip(&format!("netns add {host}"))?;
        self.hosts.push(host.clone());
        ip(&format!("-n {host} link set lo up"))?;
        Ok(host)
    }

    fn router(&mut self, number: u8) -> Result<String> {
        let router = format!("{}-r{number}", self.name);
        ip(&format!("netns add {router}"))?;
        self.routers.push(router.clone());
        ip(&format!("-n {router} link set lo up"))?;
        let forward = "for f in ipv4/ip_forward ipv6/conf/all/forwarding; do \
                       [ ! -e /proc/sys/net/$f ] || echo 1 > /proc/sys/net/$f; done";
        let forwards = Command::new("ip")
            .args(["netns", "exec", &router, "sh", "-c", forward])
            .status()?;
        ensure!(forwards.success(), "{router} doesn't forward");
        Ok(router)
    }

    /// A machine with a wire to the bridge; the name of its end.
    fn plug_in(&mut self, number: u8) -> Result<String> {
        let host = self.host(number)?;
        let (inner, outer) = (format!("v{host}"), format!("w{host}"));
        ip(&format!("link add {outer} type veth peer name {inner}"))?;
        ip(&format!("link set {inner} netns {host}"))?;
        ip(&format!("link set {outer} master {} up", self.name))?;
        Ok(inner)
    }
}

impl Drop for Lan {
    fn drop(&mut self) {
        for namespace in self.hosts.iter().chain(&self.routers) {
            let _ = ip(&format!("netns del {namespace}"));
        }
        if self.bridge {
            let _ = ip(&format!("link del {}", self.name));
        }
    }
}

fn letter(number: u32) -> char {
    char::from(b'a' + u8::try_from(number % 26).unwrap_or(0))
}

/// Joins two namespaces with a wire, by the names that its ends have there.
fn wire(one: (&str, &str), other: (&str, &str)) -> Result<()> {
    let ((namespace, end), (far, far_end)) = (one, other);
    ip(&format!(
        "-n {namespace} link add {end} type veth peer name {far_end} netns {far}"
    ))?;
    ip(&format!("-n {namespace} link set {end} up"))?;
    ip(&format!("-n {far} link set {far_end} up"))
}

fn ip(arguments: &str) -> Result<()> {
    run("ip", arguments)
}

fn run(program: &str, arguments: &str) -> Result<()> {
    let output = Command::new(program).args(arguments.split(' ')).output()?;
    ensure!(
        output.status.success(),
        "{program} {arguments}: {}",
        String::from_utf8_lossy(&output.stderr).trim()
    );
    Ok(())
}

/// Adds rules to a namespace's firewall.
fn nft(namespace: &str, rules: &str) -> Result<()> {
    let mut child = Command::new("ip")
        .args(["netns", "exec", namespace, "nft", "-f", "-"])
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    child
        .stdin
        .take()
        .context("no stdin")?
        .write_all(rules.as_bytes())?;
    let output = child.wait_with_output()?;
    ensure!(
        output.status.success(),
        "nft: {}",
        String::from_utf8_lossy(&output.stderr).trim()
    );
    Ok(())
}
