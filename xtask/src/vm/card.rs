//! Network cards of guests: two of a kind, on one wire.

/// Two cards and the wire between them.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Card {
    /// What the tests and the results call it.
    pub(super) name: &'static str,
    /// QEMU's device, with its properties.
    device: &'static str,
    /// The drivers that the guest loads.
    pub(super) modules: &'static str,
    /// The wire.
    wire: Wire,
}

/// What lies between two cards.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wire {
    /// A hub within QEMU: frames as they would be on a cable.
    Hub,
    /// Taps and a bridge of the host's kernel, in a network namespace that goes with the guest: packets keep their offloads.
    /// With so many queues for each card.
    Taps { queues: u8 },
}

/// All of them.
pub(super) const CARDS: [Card; 6] = [
    Card {
        name: "virtio_net without offloads",
        device: "virtio-net-pci",
        modules: VIRTIO,
        wire: Wire::Hub,
    },
    Card {
        name: "virtio_net with offloads",
        device: "virtio-net-pci",
        modules: VIRTIO,
        wire: Wire::Taps { queues: 1 },
    },
    Card {
        name: "virtio_net with four queues",
        device: "virtio-net-pci,mq=on,vectors=10",
        modules: VIRTIO,
        wire: Wire::Taps { queues: 4 },
    },
    Card {
        name: "virtio_net without ctrl_guest_offloads",
        device: "virtio-net-pci,ctrl_guest_offloads=off",
        modules: VIRTIO,
        wire: Wire::Taps { queues: 1 },
    },
    Card {
        name: "e1000e",
        device: "e1000e",
        modules: "e1000e",
        wire: Wire::Hub,
    },
    Card {
        name: "vmxnet3",
        device: "vmxnet3",
        modules: "vmxnet3",
        wire: Wire::Hub,
    },
];

/// Some kernels have parts of these built in.
const VIRTIO: &str = "virtio_pci virtio_net";

/// Makes the taps of two cards, and becomes QEMU. The number of queues comes first.
const TAPS: &str = "set -e
queues=$1; shift
ip link set lo up
ip link add wire type bridge stp_state 0 mcast_snooping 0
ip link set wire mtu 9000 up
for tap in tap0 tap1; do
  if [ $queues = 1 ]; then kind=vnet_hdr; else kind='vnet_hdr multi_queue'; fi
  ip tuntap add dev $tap mode tap $kind
  ip link set $tap mtu 9000 master wire up
done
exec \"$@\"";

impl Card {
    /// What the host does before it starts QEMU: the words before its command.
    pub(super) fn host(&self) -> Vec<String> {
        match self.wire {
            Wire::Hub => Vec::new(),
            Wire::Taps { queues } => ["unshare", "--net", "sh", "-c", TAPS, "sh"]
                .map(str::to_owned)
                .into_iter()
                .chain([queues.to_string()])
                .collect(),
        }
    }

    /// QEMU's arguments for both cards.
    pub(super) fn devices(&self) -> Vec<String> {
        let pair = |number: u8| {
            let net = match self.wire {
                Wire::Hub => format!("hubport,id=net{number},hubid=0"),
                Wire::Taps { queues: 1 } => format!(
                    "tap,id=net{number},ifname=tap{number},script=no,downscript=no,vnet_hdr=on"
                ),
                Wire::Taps { queues } => format!(
                    "tap,id=net{number},ifname=tap{number},script=no,downscript=no,vnet_hdr=on,queues={queues}"
                ),
            };
            let device = self.device;
            [
                "-netdev".to_owned(),
                net,
                "-device".to_owned(),
                format!("{device},netdev=net{number},mac=02:ca:00:00:00:0{number},romfile="),
            ]
        };
        [0, 1].map(pair).concat()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_cards_are_on_one_wire() {
        let [hub, taps] = [&CARDS[0], &CARDS[2]];

        assert_eq!(hub.host(), [""; 0]);
        assert_eq!(hub.devices()[1], "hubport,id=net0,hubid=0");
        assert_eq!(hub.devices()[5], "hubport,id=net1,hubid=0");
        assert_eq!(taps.host().last().unwrap(), "4");
        assert!(taps.devices()[1].ends_with("vnet_hdr=on,queues=4"));
    }
}
