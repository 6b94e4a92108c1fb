//! Packets of two VTEPs, compared but for what each may choose.

use vtep_tests::encoder::checksum;
use vtep_tests::lab::underlay::Family;

/// An underlay frame with zero for what each may choose: source port, IPv4 identification, and what these add to checksums; and
/// likewise for the identification of the inner packet, which its VM has chosen. An error is what is wrong with it.
pub(super) fn without_choices(frame: &[u8], family: Family) -> Result<Vec<u8>, &'static str> {
    let mut frame = frame.to_vec();
    let inner = family.outer_len() + 14;
    let udp = family.outer_len() - 16;
    if frame.len() < inner + 20 {
        return Err("shorter than its headers");
    }
    if family == Family::V4 {
        without_identification(&mut frame[14..34])?;
    }
    without_identification(&mut frame[inner..inner + 20])?;
    let port = u16::from_be_bytes([frame[udp], frame[udp + 1]]);
    let sum = u16::from_be_bytes([frame[udp + 6], frame[udp + 7]]);
    if port < 1024 {
        return Err("a source port of others");
    }
    frame[udp..udp + 2].fill(0);
    if sum != 0 {
        // Not summed anew: with an inner checksum that is still pending, what the sum covers is not all there yet.
        let without = checksum(&[&(!sum).to_be_bytes(), &(!port).to_be_bytes()]);
        frame[udp + 6..udp + 8].copy_from_slice(&without.to_be_bytes());
    }
    Ok(frame)
}

/// The same for an IPv4 header.
fn without_identification(header: &mut [u8]) -> Result<(), &'static str> {
    if checksum(&[header]) != 0 {
        return Err("a wrong IPv4 header checksum");
    }
    header[4..6].fill(0);
    header[10..12].fill(0);
    Ok(())
}

#[cfg(test)]
mod tests {
    use vtep_tests::encoder::{Frame, Mac, eth};
    use vtep_tests::lab::GREEN;
    use vtep_tests::traffic::inner_v4;

    use super::*;

    #[test]
    fn only_what_is_free_to_choose_is_taken_out() {
        for (family, checksum) in Family::BOTH.map(|f| [(f, true), (f, false)]).concat() {
            let frame = |port: u16, id: u16, payload: u8| {
                let with_id = |frame: Frame| frame.fragment(id, 0x4000);
                let (a, b) = (family.address(0, 1), family.address(0, 2));
                let outer = eth(Mac::nth(1), Mac::nth(2)).ip(a, b);
                let outer = match family {
                    Family::V4 => with_id(outer),
                    Family::V6 => outer,
                };
                let outer = if checksum {
                    outer.udp(port, 4789)
                } else {
                    outer.udp_unchecked(port, 4789)
                };
                let inner = outer
                    .vxlan(GREEN)
                    .eth(Mac::nth(3), Mac::nth(4))
                    .ipv4(inner_v4(1), inner_v4(2));
                let frame = with_id(inner).udp(1, 2).bytes(&[payload; 60]);
                without_choices(&frame.build(), family)
            };

            let one = frame(50_000, 1, 7);

            assert!(one.is_ok(), "{one:?}");
            assert_eq!(one, frame(60_001, 9, 7));
            assert_ne!(one, frame(50_000, 1, 8));
            assert_eq!(frame(80, 1, 7), Err("a source port of others"));
        }
    }
}
