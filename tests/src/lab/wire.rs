//! A hypervisor whose uplink and port end in the test, so that every byte on both is seen and
//! chosen here.

use std::net::IpAddr;
use std::path::Path;
use std::time::Duration;

use crate::daemon::Daemon;
use crate::daemon::binary;
use crate::encoder::{Frame, Mac, eth};
use crate::lab::ns::Ns;
use crate::lab::underlay::Family;
use crate::lab::{GREEN, UPLINK};
use crate::link::Link as _;
use crate::link::tap::Tap;
use crate::traffic::checks::marked;
use crate::wait::DEADLINE;

/// The MAC of the VM behind the port.
pub const VM: Mac = Mac::nth(0x0a);
/// The MAC of the VM behind the far VTEP.
pub const FAR_VM: Mac = Mac::nth(0x0b);
/// The MAC of the far VTEP's interface.
pub const FAR_MAC: Mac = Mac([0x02, 0xaa, 0, 0, 0, 0x02]);
/// The device that is the port.
pub const PORT: &str = "vm0";

/// A second uplink, there if the daemon is started with it.
pub const SECOND: &str = "up1";

/// The hypervisor.
#[derive(Debug)]
pub struct Wire {
    /// The program under test.
    pub daemon: Daemon,
    /// The underlay's end of the uplink.
    pub uplink: Tap,
    /// The underlay's end of a second uplink, if the daemon was told of [`SECOND`].
    pub second: Option<Tap>,
    /// The VM's end of the port.
    pub port: Tap,
    /// Its namespace.
    pub ns: Ns,
    /// The underlay's family.
    pub family: Family,
    /// The hypervisor's underlay address.
    pub ip: IpAddr,
    /// The hypervisor's MAC on the underlay.
    pub mac: Mac,
    /// The far VTEP's address.
    pub far_ip: IpAddr,
}

impl Wire {
    /// A hypervisor with [`GREEN`], one port, and one far VTEP that is reached directly.
    #[must_use]
    pub fn new(family: Family) -> Self {
        Self::with(family, "", &[])
    }

    /// One with more arguments for `vtep vni add` and `vtep run`.
    ///
    /// # Panics
    ///
    /// If anything of it cannot be set up.
    #[must_use]
    pub fn with(family: Family, vni_args: &str, run_args: &[&str]) -> Self {
        let wire = Self::without_peer(family, vni_args, run_args);
        wire.add_far(GREEN);
        wire
    }

    /// One on which another build of `vtep` runs.
    #[must_use]
    pub fn of_build(binary: &Path, family: Family) -> Self {
        let wire = Self::build(binary, family, GREEN, "", &[], [Tap::new; 2]);
        wire.add_far(GREEN);
        wire
    }

    /// One whose port is a tap with virtio's offloads.
    #[must_use]
    pub fn with_vnet_port(family: Family) -> Self {
        let open = [Tap::new, Tap::with_vnet_header];
        let wire = Self::build(binary::vtep(), family, GREEN, "", &[], open);
        wire.add_far(GREEN);
        wire
    }

    /// One whose uplink is a tap with virtio's offloads: a GSO packet arrives there as it is sent.
    #[must_use]
    pub fn with_vnet_uplink(family: Family) -> Self {
        let open = [Tap::with_vnet_header, Tap::new];
        let wire = Self::build(binary::vtep(), family, GREEN, "", &[], open);
        wire.add_far(GREEN);
        wire
    }

    /// One with another VNI in place of [`GREEN`].
    #[must_use]
    pub fn with_vni(family: Family, vni: u32) -> Self {
        let wire = Self::build(binary::vtep(), family, vni, "", &[], [Tap::new; 2]);
        wire.add_far(vni);
        wire
    }

    /// One that knows nothing yet of the far VTEP.
    #[must_use]
    pub fn without_peer(family: Family, vni_args: &str, run_args: &[&str]) -> Self {
        Self::build(
            binary::vtep(),
            family,
            GREEN,
            vni_args,
            run_args,
            [Tap::new; 2],
        )
    }

    fn build(
        binary: &Path,
        family: Family,
        vni: u32,
        vni_args: &str,
        run_args: &[&str],
        [open_uplink, open_port]: [fn(&Ns, &str) -> Tap; 2],
    ) -> Self {
        let ns = Ns::new("wire");
        let (uplink, port) = (open_uplink(&ns, UPLINK), open_port(&ns, PORT));
        let second = run_args.contains(&SECOND).then(|| Tap::new(&ns, SECOND));
        let (ip, far_ip) = (family.address(0, 1), family.address(0, 2));
        ns.ip(&format!(
            "addr add {ip}/{} dev {UPLINK} {}",
            family.prefix(),
            family.nodad()
        ));
        // What the hypervisor itself would say on the port is of no interest.
        ns.sysctl(&format!("ipv6/conf/{PORT}/disable_ipv6"), "1");
        // Without it the kernel asks nobody for a MAC.
        ns.ip(&format!("addr add fe80::1/64 dev {UPLINK} nodad"));
        let mac = ns.mac(UPLINK);
        let daemon = Daemon::start_build(binary, &ns, &[&["--iface", UPLINK], run_args].concat());
        daemon.ok(&format!("vni add {vni} {vni_args}"));
        daemon.ok(&format!("port add {PORT} --vni {vni}"));
        daemon.ok(&format!("fdb add {VM} --vni {vni} --dev {PORT}"));
        Self {
            daemon,
            uplink,
            second,
            port,
            ns,
            family,
            ip,
            mac,
            far_ip,
        }
    }

    fn add_far(&self, vni: u32) {
        self.ns.ip(&format!(
            "neigh replace {} lladdr {FAR_MAC} dev {UPLINK} nud permanent",
            self.far_ip
        ));
        self.daemon.ok(&format!(
            "fdb add {FAR_VM} --vni {vni} --dst {}",
            self.far_ip
        ));
        self.resolved();
    }

    /// Waits until the far VTEP's next hop is known.
    ///
    /// # Panics
    ///
    /// If it is not in time.
    pub fn resolved(&self) {
        crate::wait::until_true("the peer to be resolved", || {
            let rows = self.daemon.rows(&format!("peer show {}", self.far_ip));
            rows.first().is_some_and(|row| !row["mac"].is_null())
        });
    }

    /// The outer headers of a packet from the far VTEP, up to UDP.
    #[must_use]
    pub fn from_far(&self) -> Frame {
        self.from_far_with_tos(0)
    }

    /// The same with a TOS byte.
    #[must_use]
    pub fn from_far_with_tos(&self, tos: u8) -> Frame {
        let outer = eth(FAR_MAC, self.mac).ip(self.far_ip, self.ip).tos(tos);
        match self.family {
            Family::V4 => outer.udp_unchecked(50000, 4789),
            Family::V6 => outer.udp(50000, 4789),
        }
    }

    /// `inner` as the far VTEP would send it in `vni`.
    #[must_use]
    pub fn tunnelled(&self, vni: u32, inner: &[u8]) -> Vec<u8> {
        self.from_far().vxlan(vni).bytes(inner).build()
    }

    /// Whether an underlay frame is VXLAN.
    #[must_use]
    pub fn is_vxlan(&self, frame: &[u8]) -> bool {
        let (ethertype, protocol, udp): ([u8; 2], usize, usize) = match self.family {
            Family::V4 => ([8, 0], 23, 34),
            Family::V6 => ([0x86, 0xdd], 20, 54),
        };
        frame.get(12..14) == Some(&ethertype)
            && frame.get(protocol) == Some(&17)
            && frame.get(udp + 2..udp + 4) == Some(&4789_u16.to_be_bytes())
    }

    /// Sends a frame as the VM and returns what leaves on the underlay for it.
    #[track_caller]
    pub fn encap(&self, inner: &[u8]) -> Vec<u8> {
        self.port.send(inner);
        self.uplink
            .wait_for("VXLAN packet with the frame", |frame| {
                self.is_vxlan(frame) && frame.ends_with(inner)
            })
    }

    /// The frames that have left for VTEPs and were not read yet, without their outer headers.
    ///
    /// # Panics
    ///
    /// If nothing leaves at all.
    #[must_use]
    #[track_caller]
    pub fn left(&self) -> Vec<Vec<u8>> {
        // The way out keeps the order: what has not left before this has not left.
        let fence = marked(VM, FAR_VM, 0x00fe_0ce0).build();
        self.port.send(&fence);
        let is_fence = |frame: &Vec<u8>| frame.ends_with(&fence);
        let seen = self
            .uplink
            .collect(DEADLINE, |seen| seen.last().is_some_and(is_fence));
        assert!(seen.last().is_some_and(is_fence), "nothing leaves at all");
        seen.iter()
            .filter(|frame| self.is_vxlan(frame) && !is_fence(frame))
            .map(|frame| frame[self.family.outer_len()..].to_vec())
            .collect()
    }

    /// Adds another port to a VNI; returns the VM's end of it.
    #[must_use]
    pub fn add_port(&self, dev: &str, args: &str) -> Tap {
        let tap = self.tap(dev);
        self.daemon
            .ok(&format!("port add {dev} --vni {GREEN} {args}"));
        tap
    }

    /// Makes a device that may become a port; returns the VM's end of it.
    #[must_use]
    pub fn tap(&self, dev: &str) -> Tap {
        let tap = Tap::new(&self.ns, dev);
        self.ns
            .sysctl(&format!("ipv6/conf/{dev}/disable_ipv6"), "1");
        tap
    }

    /// Sends an underlay frame and insists that the VM gets exactly `inner`.
    #[track_caller]
    pub fn delivers(&self, outer: &[u8], inner: &[u8]) {
        self.uplink.send(outer);
        self.port.expect(inner);
    }

    /// Sends an underlay frame and insists that it is dropped for `reason` and the VM gets nothing.
    ///
    /// # Panics
    ///
    /// If it is not.
    #[track_caller]
    pub fn refuses(&self, outer: &[u8], reason: &str) {
        let before = self.daemon.dropped(reason);
        self.port.drain();
        self.uplink.send(outer);
        self.daemon.expect_dropped(reason, before + 1);
        let got = self.port.recv(Duration::ZERO);
        assert_eq!(got, None, "dropped for {reason} and delivered all the same");
    }

    /// Sends a frame as the VM and insists that it is dropped for `reason`.
    ///
    /// # Panics
    ///
    /// If it is not.
    #[track_caller]
    pub fn refuses_from_vm(&self, inner: &[u8], reason: &str) {
        let before = self.daemon.dropped(reason);
        self.port.send(inner);
        self.daemon.expect_dropped(reason, before + 1);
    }
}
