//! A frame's way through the hooks, over tables that are read as they are asked.

use std::{convert::Infallible, net::IpAddr};

use vtep_common::{
    abi::{
        addr::MacAddr,
        hash_table::number,
        id::{Ifindex, PortSlot, SegmentId},
        nexthop::NexthopKey,
        policer::Policer,
        reason::Reason,
        segment::Segment,
    },
    decide::{port::PortStage, tunnel::DecapStage},
    frame::{ecn, packet::Tag},
    runtime::tables::Tables as _,
    sim::{
        HostTables, Side,
        asked::Asked,
        trace::{Arrived, Hop, trace, trace_reading},
    },
    testkit::{
        build::{Ip, Underlay},
        frames::{Interfaces, PLAIN, PORT_ACCESS, PORT_VLAN_20, Sample, World, unicast},
    },
    wire::vlan,
};

use crate::shared::{OURS_V4, OURS_V6, REMOTE_V4, REMOTE_V6, ip_frame, tagged, udp_frame};

/// Samples that are compared.
const SAMPLES: u64 = 20_000;

/// Puts what `from` says of one thing into `to`, and nothing else.
fn read(asked: Asked, from: &HostTables, to: &mut HostTables) {
    match asked {
        Asked::PortAt(key) => {
            let slot = number(from.port_word(&key)).map(PortSlot::new);
            to.port_index.extend(slot.map(|slot| (key, slot)));
        }
        Asked::Port(slot) => to.ports.extend(from.port(slot).map(|port| (slot, *port))),
        Asked::Policer(slot, what) => {
            to.policers.insert((slot, what), from.policer(slot, what));
        }
        Asked::Answers(slot) => {
            let Policer { used_until, .. } = from.answers(slot);
            to.answered.insert(slot, used_until);
        }
        Asked::Mapped(ifindex, _) => {
            let trunk = from.trunks.get_key_value(&Ifindex::new(ifindex));
            to.trunks.extend(trunk);
        }
        Asked::Owns(slot, host) => {
            to.guarded.extend(from.guarded.get(&(slot, host)));
        }
        Asked::Vni(vni) => {
            let id = number(from.vni_word(vni)).map(SegmentId::new);
            to.vnis.extend(id.map(|id| (vni, id)));
        }
        Asked::Segment(id) => {
            let segment = from.segment(id);
            to.segments
                .extend(segment.map(|segment: &Segment| (id, *segment)));
        }
        Asked::Fdb(key) => {
            let value = from.fdb_word(&key).value();
            to.fdb.extend(value.map(|value| (key, value)));
        }
        Asked::Address(addr) => {
            to.locals.extend(from.locals.get(&addr));
            to.groups.extend(from.groups.get(&addr));
            to.peer_index.extend(from.peer_index.get_key_value(&addr));
        }
        Asked::Listed(id, peer) => to.sources.extend(from.sources.get(&(id, peer))),
        Asked::Uplink(word) => {
            to.uplinks
                .extend(from.is_uplink(word).then(|| word.parts()));
        }
        Asked::Peer(id) => to.peers.extend(from.peer(id).map(|peer| (id, *peer))),
        Asked::FloodList(list) => {
            to.flood
                .extend(from.flood_list(list).map(|found| (list, *found)));
        }
        Asked::Neigh(key) => to.neighs.extend(from.neigh(&key).map(|found| (key, found))),
        Asked::Nexthop(segment, host) => {
            let key = NexthopKey { segment, host };
            let found = from.nexthop(segment, &host);
            to.nexthops
                .extend(found.map(|value| (NexthopKey::BITS, key, value)));
        }
    }
}

/// The way of a frame, over tables that begin with nothing.
fn piece_by_piece(arrived: &Arrived, from: &HostTables) -> (Vec<Hop>, u32) {
    let mut tables = HostTables {
        config: from.config,
        now: from.now,
        tick: from.tick,
        ..HostTables::default()
    };
    let mut reads = 0;
    let hops = trace_reading(arrived, &mut tables, |asked, tables| {
        reads += 1;
        read(asked, from, tables);
        Ok::<_, Infallible>(())
    });
    let Ok(hops) = hops;
    (hops, reads)
}

fn arrived(sample: Sample) -> Arrived {
    let Sample { frame, meta, side } = sample;
    Arrived { side, frame, meta }
}

#[test]
fn tables_that_are_read_as_they_are_asked_decide_as_whole_ones() {
    let world = World::default();
    let mut most = 0;
    for seed in 0..SAMPLES {
        let sample = world.sample(seed);
        let decision = sample.decide(&world.tables);

        let (hops, reads) = piece_by_piece(&arrived(sample.clone()), &world.tables);

        assert_eq!(hops[0].decision, decision, "seed {seed}");
        assert_eq!(hops[0].reason, sample.reason(&decision), "seed {seed}");
        let outcome = sample.apply(&decision, &world.tables);
        assert_eq!(hops[0].outcome.as_ref(), Ok(&outcome), "seed {seed}");
        let whole = trace(arrived(sample), &world.tables);
        let reasons = |hops: &[Hop]| hops.iter().map(|hop| hop.reason).collect::<Vec<_>>();
        assert_eq!(reasons(&hops), reasons(&whole), "seed {seed}");
        most = most.max(reads);
    }
    assert!(most < 100, "{most} look-ups for one frame");
}

#[test]
fn what_is_looked_up_is_told_in_the_order_of_the_decision() {
    let world = World::default();
    let frame = udp_frame(unicast(PLAIN, PORT_ACCESS));
    let Interfaces { trunk, .. } = world.interfaces;
    let tag = Tag {
        tpid: vlan::TYPE_8021Q,
        tci: 10,
    };
    let side = Side::Port(PortStage::Tc);
    let arrived = Arrived::from_wire(side, tagged(&frame, tag), trunk);

    let hops = trace(arrived, &world.tables);

    let [hop] = &hops[..] else { panic!("{hops:?}") };
    let kinds: Vec<_> = hop
        .asked
        .iter()
        .map(|asked| match asked {
            Asked::PortAt(_) => "port at",
            Asked::Port(_) => "port",
            Asked::Fdb(_) => "fdb",
            Asked::Segment(_) => "segment",
            Asked::Policer(..) => "rate",
            other => panic!("{other:?}"),
        })
        .collect();
    let wanted = ["port at", "port", "fdb", "fdb", "segment", "port", "rate"];
    assert_eq!(kinds, wanted);
    assert_eq!(hop.reason, Reason::Switched);
}

#[test]
fn what_xdp_leaves_is_seen_by_tc_with_its_tag_beside_the_bytes() {
    let world = World::default();
    let tag = Tag {
        tpid: vlan::TYPE_8021Q,
        tci: 20,
    };
    let broadcast = udp_frame(MacAddr::BROADCAST);
    let side = Side::Port(PortStage::Xdp);
    let wire = tagged(&broadcast, tag);

    let hops = trace(
        Arrived::from_wire(side, wire.clone(), world.interfaces.trunk),
        &world.tables,
    );

    let reasons: Vec<_> = hops.iter().map(|hop| hop.reason).collect();
    assert_eq!(reasons, [Reason::LeftToTc, Reason::Flooded]);
    assert_eq!(hops[0].arrived.frame, wire);
    let at_tc = &hops[1].arrived;
    assert_eq!((&at_tc.frame, at_tc.meta.tag), (&broadcast, Some(tag)));
    assert_eq!(hops[1].decision.from_port, PORT_VLAN_20);
}

#[test]
fn what_is_left_to_the_slow_path_device_goes_on_behind_it() {
    let world = World::default();
    let broadcast = udp_frame(MacAddr::BROADCAST);
    for (from, to) in [(REMOTE_V4, OURS_V4), (REMOTE_V6, OURS_V6)] {
        let mut packet = Underlay::new(Ip::between(from, to), 100).frame(&broadcast);
        // What a switch has put behind it is no part of it.
        packet.extend([0; 7]);
        let side = Side::Uplink(DecapStage::Xdp);

        let hops = trace(
            Arrived::from_wire(side, packet, world.interfaces.uplink),
            &world.tables,
        );

        let reasons: Vec<_> = hops.iter().map(|hop| hop.reason).collect();
        let wanted = [
            Reason::LeftToTc,
            Reason::LeftToKernel,
            Reason::FloodedLocally,
        ];
        assert_eq!(reasons, wanted);
        let behind = &hops[2].arrived;
        assert_eq!(behind.frame, broadcast);
        assert_eq!(behind.meta.ifindex, world.interfaces.device);
        let Side::Tunnel(key) = behind.side else {
            panic!("{:?}", behind.side)
        };
        assert_eq!(
            (key.vni, key.source),
            (100, from.parse::<IpAddr>().unwrap().into())
        );
    }
}

#[test]
fn the_slow_path_device_passes_congestion_on_to_the_inner_packet() {
    let world = World::default();
    for inner in ["10.0.0.1", "fd00::1"] {
        let mut ip = Ip::between(inner, inner);
        ip.tos = 0xb8 | ecn::ECT_0;
        let frame = ip_frame(unicast(PLAIN, PORT_ACCESS), &ip, 40);
        let mut outer = Ip::between(REMOTE_V4, OURS_V4);
        outer.tos = ecn::CE;
        let packet = Underlay::new(outer, 100).frame(&frame);
        let side = Side::Uplink(DecapStage::Tc);

        let hops = trace(
            Arrived::from_wire(side, packet, world.interfaces.uplink),
            &world.tables,
        );

        let [first, second] = &hops[..] else {
            panic!("{hops:?}")
        };
        assert_eq!(first.reason, Reason::LeftToKernel);
        let mut marked = ip.clone();
        marked.tos = 0xb8 | ecn::CE;
        let wanted = ip_frame(unicast(PLAIN, PORT_ACCESS), &marked, 40);
        assert_eq!(second.arrived.frame, wanted);
    }
}

#[test]
fn every_copy_of_a_flood_is_told_with_its_packet_or_why_it_is_lost() {
    let world = World::default();
    let frame = udp_frame(MacAddr::BROADCAST);
    let side = Side::Port(PortStage::Tc);
    let hops = trace(
        Arrived::from_wire(side, frame.clone(), world.interfaces.access),
        &world.tables,
    );

    let [hop] = &hops[..] else { panic!("{hops:?}") };
    assert_eq!(hop.reason, Reason::Flooded);
    assert!(hop.to_ports.iter().all(|(slot, _)| *slot != PORT_ACCESS));
    assert!(!hop.to_ports.is_empty() && hop.to_peers.len() == 2);
    for (peer, packet) in &hop.packets {
        let outer = world.tables.peers[peer].template_len as usize;
        assert_eq!(packet[outer..], frame, "{peer}");
    }
    assert!(!hop.packets.is_empty());
}
