//! The programs that others tail-call: the slots of `PARTS`.

/// Programs that others go on to: the verifier walks through each on its own. The numbers index `PARTS`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum TailCall {
    /// `tc_port_rest`: what `tc_port` leaves: what is to be flooded, and hosts that are found by IP.
    PortRest = 0,
    /// `tc_port_found`: frames that `tc_port_rest` gives back, with what it found.
    PortFound = 1,
    /// `tc_port_neigh`: ARP and ND, which are heard and answered; what remains goes on to `tc_port_rest`.
    PortNeigh = 2,
    /// `tc_port_flood`: frames for which `tc_port_rest` has found a flood list.
    PortFlood = 3,
    /// `tc_port_guard`: frames from a port with a guard of addresses; what is its own goes on as if it came from `tc_port`.
    PortGuard = 4,
    /// `tc_port_too_big`: frames that `tc_port` or `tc_port_found` has found to be too big for their VTEP, which it hands over.
    PortTooBig = 5,
    /// `tc_port_clamp`: SYNs to a VTEP, which is handed over; they go on to `tc_port_found`.
    PortClamp = 6,
    /// `tc_tunnel_clamp`: SYNs from a VTEP that `tc_tunnel` has found a port for, which it hands over.
    TunnelClamp = 7,
}

impl TailCall {
    /// Places in `PARTS`, some for programs to come: a map keeps its size while it is pinned.
    pub const PLACES: u32 = 16;
    /// Every one, with the name of its program.
    pub const ALL: [(Self, &'static str); 8] = [
        (Self::PortRest, "tc_port_rest"),
        (Self::PortFound, "tc_port_found"),
        (Self::PortNeigh, "tc_port_neigh"),
        (Self::PortFlood, "tc_port_flood"),
        (Self::PortGuard, "tc_port_guard"),
        (Self::PortTooBig, "tc_port_too_big"),
        (Self::PortClamp, "tc_port_clamp"),
        (Self::TunnelClamp, "tc_tunnel_clamp"),
    ];
}
