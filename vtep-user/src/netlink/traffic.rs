//! Traffic control: which queueing disciplines and filters there are at an interface.

use std::io;

use rtnetlink::sys::protocols::NETLINK_ROUTE;
use vtep_common::abi::id::Ifindex;

use super::{Error, Netlink, generic, table};

/// `RTM_GETQDISC` and `RTM_GETTFILTER`.
const GET_QDISC: u16 = 38;
const GET_FILTER: u16 = 46;

/// `TCA_KIND`
const TCA_KIND: u16 = 1;

/// Bytes of `struct tcmsg`.
const TCMSG_LEN: usize = 20;

/// `TC_H_ROOT`: the parent of the queueing discipline at an interface's root.
const ROOT: u32 = u32::MAX;
/// `TC_H_CLSACT`: the parent of the one that has filters alone, also called ingress.
const CLSACT: u32 = 0xffff_fff1;
/// The parents of its filters (`TC_H_MIN_INGRESS`, `TC_H_MIN_EGRESS`).
const INGRESS: u32 = 0xffff_fff2;
const EGRESS: u32 = 0xffff_fff3;

/// The way of the frames that a filter looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FilterSide {
    /// What comes in at the interface.
    Ingress,
    /// What goes out.
    Egress,
}

/// A queueing discipline, where it is the one at the root, or has filters alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Qdisc {
    /// The interface.
    pub ifindex: Ifindex,
    /// Its kind, such as `tbf`.
    pub kind: String,
    /// Whether it is the one at the root.
    pub is_root: bool,
    /// Whether somebody has set it. Those that the kernel gives every interface have no number.
    pub is_set: bool,
}

/// A filter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Filter {
    /// Its kind, such as `flower`.
    pub kind: String,
    /// Its priority.
    pub priority: u16,
    /// Its number.
    pub handle: u32,
}

impl Netlink {
    /// The queueing disciplines of all interfaces, their classes' left out. The question is asked in the calling thread's network namespace,
    /// and answered at once.
    pub fn qdiscs(&self) -> Result<Vec<Qdisc>, Error> {
        let rows = dump(
            GET_QDISC,
            Ifindex::new(0),
            0,
            "list",
            "the queueing disciplines",
        )?;
        Ok(rows.iter().filter_map(|row| qdisc(row)).collect())
    }

    /// The filters of an interface. Asked and answered likewise.
    pub fn filters(&self, ifindex: Ifindex, side: FilterSide) -> Result<Vec<Filter>, Error> {
        let parent = match side {
            FilterSide::Ingress => INGRESS,
            FilterSide::Egress => EGRESS,
        };
        let object = ifindex.to_string();
        let rows = dump(
            GET_FILTER,
            ifindex,
            parent,
            "list the filters of interface",
            &object,
        )?;
        Ok(rows.iter().filter_map(|row| filter(row)).collect())
    }

    /// True if a filter with this handle takes what comes in at an interface.
    pub fn has_filter(&self, ifindex: Ifindex, handle: u32) -> Result<bool, Error> {
        let filters = self.filters(ifindex, FilterSide::Ingress)?;
        Ok(filters.iter().any(|filter| filter.handle == handle))
    }
}

fn dump(
    kind: u16,
    ifindex: Ifindex,
    parent: u32,
    operation: &'static str,
    object: &str,
) -> Result<Vec<Vec<u8>>, Error> {
    let mut question = vec![0; 4];
    question.extend(ifindex.get().to_ne_bytes());
    question.extend([0; 4]);
    question.extend(parent.to_ne_bytes());
    question.extend([0; 4]);
    table::dump(NETLINK_ROUTE, kind, &question).map_err(|source| Error::Request {
        operation,
        object: object.to_owned(),
        source,
    })
}

/// Interface, handle, parent and last word of `struct tcmsg`, and the kind of what it is about.
fn header(row: &[u8]) -> Option<([u32; 4], String)> {
    let word = |at: usize| {
        let bytes = row.get(at..at.checked_add(4)?)?;
        Some(u32::from_ne_bytes(bytes.try_into().ok()?))
    };
    let words = [word(4)?, word(8)?, word(12)?, word(16)?];
    let kind = generic::attribute_of(row.get(TCMSG_LEN..)?, TCA_KIND).ok()??;
    Some((words, text(&kind)))
}

/// A text that ends with a zero.
pub(super) fn text(bytes: &[u8]) -> String {
    let text = bytes.split(|byte| *byte == 0).next().unwrap_or_default();
    String::from_utf8_lossy(text).into_owned()
}

/// Reads the number of the interface out of a message of traffic control; `None` for what several interfaces share.
pub(super) fn interface(message: &[u8]) -> io::Result<Option<Ifindex>> {
    /// `TCM_IFINDEX_MAGIC_BLOCK`
    const SHARED: u32 = u32::MAX;
    let bytes = message.get(4..8).and_then(|bytes| bytes.try_into().ok());
    let number = bytes.map(u32::from_ne_bytes);
    let number = number.ok_or_else(|| io::Error::from(io::ErrorKind::InvalidData))?;
    Ok((number != SHARED).then(|| Ifindex::new(number)))
}

fn qdisc(row: &[u8]) -> Option<Qdisc> {
    let ([ifindex, handle, parent, _], kind) = header(row)?;
    (parent == ROOT || parent == CLSACT).then(|| Qdisc {
        ifindex: Ifindex::new(ifindex),
        is_root: parent == ROOT,
        is_set: handle != 0,
        kind,
    })
}

/// A filter; `None` for the row that stands for all of one priority.
fn filter(row: &[u8]) -> Option<Filter> {
    let ([_, handle, _, info], kind) = header(row)?;
    (handle != 0).then(|| Filter {
        priority: u16::try_from(info >> 16).unwrap_or_default(),
        handle,
        kind,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(words: [u32; 4], kind: &str) -> Vec<u8> {
        let mut row = vec![0; 4];
        for word in words {
            row.extend(word.to_ne_bytes());
        }
        let kind = [kind.as_bytes(), b"\0"].concat();
        row.extend(generic::attribute_bytes(TCA_KIND, &kind));
        row
    }

    #[test]
    fn a_qdisc_of_somebody_has_a_number_and_the_kernels_own_have_none() {
        let set = qdisc(&row([7, 0x8001_0000, ROOT, 2], "tbf")).unwrap();
        assert_eq!(
            (set.kind.as_str(), set.is_root, set.is_set),
            ("tbf", true, true)
        );
        let own = qdisc(&row([7, 0, ROOT, 2], "pfifo_fast")).unwrap();
        assert!(own.is_root && !own.is_set);
        let clsact = qdisc(&row([7, 0xffff_0000, CLSACT, 1], "clsact")).unwrap();
        assert!(!clsact.is_root);
        // One of a class of another.
        assert_eq!(qdisc(&row([7, 0x0010_0000, 0x8001_0001, 1], "pfifo")), None);
    }

    #[test]
    fn a_filter_has_its_priority_in_the_upper_half_of_the_last_word() {
        let filter = |handle| filter(&row([7, handle, INGRESS, 0xc000_0300], "u32"));
        assert_eq!(filter(0), None);
        let found = filter(0x8000_0800).unwrap();
        assert_eq!((found.priority, found.kind.as_str()), (0xc000, "u32"));
    }

    #[test]
    fn truncated_rows_are_left_out() {
        let whole = row([7, 0x8001_0000, ROOT, 2], "tbf");
        for len in 0..whole.len() - 4 {
            assert_eq!(qdisc(&whole[..len]), None, "{len} bytes");
        }
    }

    #[test]
    fn a_message_names_its_interface_unless_several_share_what_it_is_about() {
        let named = interface(&row([7, 0, ROOT, 0], "tbf")).unwrap();
        assert_eq!(named, Some(Ifindex::new(7)));
        assert_eq!(interface(&row([u32::MAX, 0, 1, 0], "u32")).unwrap(), None);
        assert!(interface(&[0; 7]).is_err());
    }
}
