//! Who else uses a UDP port in this network namespace.

use std::{
    fmt, fs,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    path::Path,
};

use super::{Error, LinkKind, Netlink};

/// What holds a UDP port that we want. Its text is a sentence that says what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Conflict {
    /// A VXLAN device of the kernel.
    VxlanDevice {
        /// Its name.
        name: String,
        /// Its VNI; `None` where it is `external`.
        vni: Option<u32>,
        /// The port.
        port: u16,
    },
    /// A socket.
    Socket {
        /// What it is bound to.
        address: SocketAddr,
        /// Whose it is; `None` for the kernel's own and for processes that we cannot see.
        process: Option<Process>,
    },
}

/// A running program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Process {
    /// Its number.
    pub pid: u32,
    /// Its name.
    pub name: String,
}

impl fmt::Display for Conflict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::VxlanDevice { name, vni, port } => {
                write!(
                    f,
                    "UDP port {port} belongs to the kernel's vxlan device {name}"
                )?;
                if let Some(vni) = vni {
                    write!(f, " (vni {vni})")?;
                }
                write!(
                    f,
                    "; remove it with: ip link del {name}, or choose another --udp-port"
                )
            }
            Self::Socket {
                address,
                process: Some(Process { pid, name }),
            } => write!(
                f,
                "UDP port {} is held by {name} (pid {pid}, bound to {address}); stop it, or choose another --udp-port",
                address.port()
            ),
            Self::Socket {
                address,
                process: None,
            } => write!(
                f,
                "UDP port {} is held by a socket of the kernel or of a hidden process (bound to {address}), perhaps a tunnel device in another network namespace; remove it, or choose another --udp-port",
                address.port()
            ),
        }
    }
}

impl Netlink {
    /// Who else uses a UDP port in this namespace, leaving out the device `own`: first the kernel's vxlan devices
    /// (`ip -d link show type vxlan`), also those that are down, then sockets (`ss -lunp`).
    ///
    /// While `own` is up its sockets hold the port, so that no other socket can and none is looked for.
    pub async fn port_conflict(&self, port: u16, own: &str) -> Result<Option<Conflict>, Error> {
        let mut own_is_up = false;
        for link in self.links().await? {
            let LinkKind::Vxlan {
                vni,
                port: its,
                external,
                ..
            } = link.kind
            else {
                continue;
            };
            if link.name == own {
                own_is_up = link.up && its == port;
            } else if its == port {
                let vni = (!external).then_some(vni);
                return Ok(Some(Conflict::VxlanDevice {
                    name: link.name,
                    vni,
                    port,
                }));
            }
        }
        Ok(if own_is_up { None } else { socket_on(port) })
    }

    /// The names of the kernel's vxlan devices on a UDP port: `ip -d link show type vxlan`.
    pub async fn vxlan_devices_on(&self, port: u16) -> Result<Vec<String>, Error> {
        let links = self.links().await?;
        let ours =
            |kind: &LinkKind| matches!(kind, LinkKind::Vxlan { port: its, .. } if *its == port);
        Ok(links
            .into_iter()
            .filter(|link| ours(&link.kind))
            .map(|link| link.name)
            .collect())
    }
}

/// The first socket of this thread's network namespace that is bound to a port.
fn socket_on(port: u16) -> Option<Conflict> {
    ["udp", "udp6"].into_iter().find_map(|table| {
        let text = fs::read_to_string(Path::new("/proc/thread-self/net").join(table)).ok()?;
        let (address, inode) = bound_to(&text, port)?;
        Some(Conflict::Socket {
            address,
            process: owner_of(inode),
        })
    })
}

/// Finds a port in the text of `/proc/net/udp` or `udp6`; returns what the socket is bound to and its inode.
fn bound_to(table: &str, port: u16) -> Option<(SocketAddr, u64)> {
    table.lines().skip(1).find_map(|line| {
        let mut fields = line.split_whitespace();
        let (ip, its_port) = fields.nth(1)?.split_once(':')?;
        if u16::from_str_radix(its_port, 16) != Ok(port) {
            return None;
        }
        let inode = fields.nth(7)?.parse().ok()?;
        Some((SocketAddr::new(hex_ip(ip)?, port), inode))
    })
}

/// Reads an address that the kernel prints as hexadecimal words in the machine's byte order.
fn hex_ip(text: &str) -> Option<IpAddr> {
    let mut bytes = Vec::with_capacity(16);
    for at in (0..text.len()).step_by(8) {
        let word = u32::from_str_radix(text.get(at..at + 8)?, 16).ok()?;
        bytes.extend(word.to_ne_bytes());
    }
    if let Ok(v4) = <[u8; 4]>::try_from(bytes.as_slice()) {
        return Some(Ipv4Addr::from(v4).into());
    }
    <[u8; 16]>::try_from(bytes.as_slice())
        .ok()
        .map(|v6| Ipv6Addr::from(v6).into())
}

/// The first process that has the socket open.
fn owner_of(inode: u64) -> Option<Process> {
    let wanted = format!("socket:[{inode}]");
    fs::read_dir("/proc").ok()?.flatten().find_map(|entry| {
        let pid = entry.file_name().to_str()?.parse().ok()?;
        let mut files = fs::read_dir(entry.path().join("fd")).ok()?.flatten();
        files.find(|file| {
            fs::read_link(file.path()).is_ok_and(|target| target.as_os_str() == wanted.as_str())
        })?;
        let name = fs::read_to_string(entry.path().join("comm")).ok()?;
        Some(Process {
            pid,
            name: name.trim_end().to_owned(),
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_is_found_in_the_socket_tables() {
        let v4 = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ref pointer drops\n \
                  100: 00000000:0044 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 1111 2 0000000000000000 0\n \
                  221: 0100007F:12B5 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 31337 2 0000000000000000 0\n";
        let v6 = "  sl  local_address remote_address st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ref pointer drops\n \
                  221: B80D0120000000000000000001000000:12B5 00000000000000000000000000000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 4242 2 0000000000000000 0\n";

        assert_eq!(
            bound_to(v4, 4789),
            Some(("127.0.0.1:4789".parse().unwrap(), 31337))
        );
        assert_eq!(bound_to(v4, 4790), None);
        if cfg!(target_endian = "little") {
            assert_eq!(
                bound_to(v6, 4789),
                Some(("[2001:db8::1]:4789".parse().unwrap(), 4242))
            );
        }
    }

    #[test]
    fn broken_tables_hold_no_sockets() {
        for table in [
            "",
            "head",
            "head\n",
            "head\n 1: zz:12B5",
            "head\n1: 0100:12B5 0:0 7 0:0 0:0 0 0 0 9",
        ] {
            assert_eq!(bound_to(table, 4789), None, "{table:?}");
        }
    }

    #[test]
    fn a_conflict_names_its_holder_and_the_way_out() {
        let device = Conflict::VxlanDevice {
            name: "vxlan100".to_owned(),
            vni: Some(100),
            port: 4789,
        };
        let process = Some(Process {
            pid: 42,
            name: "ovs-vswitchd".to_owned(),
        });
        let socket = Conflict::Socket {
            address: "0.0.0.0:4789".parse().unwrap(),
            process,
        };

        assert_eq!(
            device.to_string(),
            "UDP port 4789 belongs to the kernel's vxlan device vxlan100 (vni 100); \
             remove it with: ip link del vxlan100, or choose another --udp-port"
        );
        assert_eq!(
            socket.to_string(),
            "UDP port 4789 is held by ovs-vswitchd (pid 42, bound to 0.0.0.0:4789); \
             stop it, or choose another --udp-port"
        );
    }
}
