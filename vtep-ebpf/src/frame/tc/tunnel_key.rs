//! What the slow-path device is told of an skb, and tells.

use core::mem::MaybeUninit;

use aya_ebpf::{
    bindings::{
        BPF_F_DONT_FRAGMENT, BPF_F_TUNINFO_IPV6, BPF_F_ZERO_CSUM_TX, bpf_tunnel_key,
        bpf_tunnel_key__bindgen_ty_1, bpf_tunnel_key__bindgen_ty_2, bpf_tunnel_key__bindgen_ty_3,
    },
    helpers::generated as helpers,
};
use vtep_common::{abi::addr::VtepAddr, decide::tunnel::TunnelKey, runtime::verdict::ViaKernel};

use super::TcFrame;
use crate::runtime::opaque::opaque;

impl TcFrame {
    /// Tells the slow-path device where the frame goes and with which outer header.
    #[inline(always)]
    pub fn set_tunnel_key(self, via: &ViaKernel, device_hash: u32) -> bool {
        // From here on the same for both families, as far as the verifier can tell.
        let v4 = u32::from(opaque(via.remote.v4_be().is_some().into()));
        let key_words = |addr: VtepAddr| {
            let [a, b, c, d] = addr.words_be();
            // Of an IPv4 key, the kernel reads the first word alone.
            let first = a ^ ((a ^ u32::from_be(d)) & v4.wrapping_neg());
            [first, b, c, d]
        };
        let mut key = bpf_tunnel_key {
            tunnel_id: via.vni,
            __bindgen_anon_1: bpf_tunnel_key__bindgen_ty_1 {
                remote_ipv6: key_words(via.remote),
            },
            tunnel_tos: via.tos,
            tunnel_ttl: via.ttl,
            __bindgen_anon_2: bpf_tunnel_key__bindgen_ty_2 { tunnel_ext: 0 },
            tunnel_label: 0,
            __bindgen_anon_3: bpf_tunnel_key__bindgen_ty_3 {
                local_ipv6: key_words(via.local),
            },
        };
        let flags = ((v4 ^ 1) * BPF_F_TUNINFO_IPV6)
            | (u32::from(!via.checksum) * BPF_F_ZERO_CSUM_TX)
            | (u32::from(via.dont_fragment) * BPF_F_DONT_FRAGMENT);
        let size = size_of::<bpf_tunnel_key>() as u32;
        // SAFETY: the helpers take the program's own context and a key that is initialized for its whole size.
        unsafe {
            helpers::bpf_set_hash(self.skb, device_hash);
            helpers::bpf_skb_set_tunnel_key(self.skb, &raw mut key, size, u64::from(flags)) == 0
        }
    }

    /// What the slow-path device says of the frame that it has decapsulated.
    #[inline(always)]
    pub fn tunnel_key(self) -> Option<TunnelKey> {
        let mut room = MaybeUninit::uninit();
        let key = clear(&mut room);
        let size = size_of::<bpf_tunnel_key>() as u32;
        // SAFETY: the helper takes the program's own context and room for a key of that size.
        if unsafe { helpers::bpf_skb_get_tunnel_key(self.skb, &raw mut *key, size, 0) } == 0 {
            // SAFETY: the helper has filled in the IPv4 forms, as asked.
            let (source, destination) = unsafe {
                (
                    key.__bindgen_anon_1.remote_ipv4,
                    key.__bindgen_anon_3.local_ipv4,
                )
            };
            let destination = if destination == 0 {
                None
            } else {
                Some(VtepAddr::from_v4_be(destination.to_be()))
            };
            return Some(TunnelKey {
                vni: key.tunnel_id,
                source: VtepAddr::from_v4_be(source.to_be()),
                destination,
            });
        }
        let v6 = u64::from(BPF_F_TUNINFO_IPV6);
        // SAFETY: as above.
        if unsafe { helpers::bpf_skb_get_tunnel_key(self.skb, &raw mut *key, size, v6) } == 0 {
            // SAFETY: the helper has filled in the IPv6 forms, as asked.
            let (source, destination) = unsafe {
                (
                    key.__bindgen_anon_1.remote_ipv6,
                    key.__bindgen_anon_3.local_ipv6,
                )
            };
            let destination = if destination == [0; 4] {
                None
            } else {
                Some(VtepAddr::from_v6_be(destination))
            };
            return Some(TunnelKey {
                vni: key.tunnel_id,
                source: VtepAddr::from_v6_be(source),
                destination,
            });
        }
        None
    }
}

/// Sets a key to zeros. Word by word and volatile: a run of zeros would become a loop, which the verifier walks through.
#[inline(always)]
fn clear(key: &mut MaybeUninit<bpf_tunnel_key>) -> &mut bpf_tunnel_key {
    const WORDS: usize = size_of::<bpf_tunnel_key>() / size_of::<u32>();
    const { assert!(WORDS * size_of::<u32>() == size_of::<bpf_tunnel_key>()) };
    let words: *mut u32 = key.as_mut_ptr().cast();
    for index in 0..WORDS {
        // SAFETY: the words are those of the key, which is aligned as they are.
        unsafe { words.add(index).write_volatile(0) };
    }
    // SAFETY: every word of it is written.
    unsafe { key.assume_init_mut() }
}
