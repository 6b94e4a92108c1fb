//! The entries of all routing tables that lead to a destination, or keep packets from it: whether the rules lead to them or not.

use std::{io, net::IpAddr};

use ipnet::IpNet;
use rtnetlink::sys::protocols::NETLINK_ROUTE;

use super::{
    Error, Netlink,
    generic::attribute_of,
    table::{self, Kept},
};

/// `RTM_GETROUTE`.
const GET_ROUTE: u16 = 26;
/// Bytes of a `struct rtmsg` (kernel `include/uapi/linux/rtnetlink.h`), and where in it stand the family, the length of the prefix in bits, the
/// table, and the type.
const HEADER_LEN: usize = 12;
const FAMILY: usize = 0;
const PREFIX_LEN: usize = 1;
const TABLE: usize = 4;
const TYPE: usize = 7;
/// `RTA_DST`, `RTA_PRIORITY` and `RTA_TABLE`.
const DST: u16 = 1;
const PRIORITY: u16 = 6;
const TABLE_32: u16 = 15;
/// `RTN_UNICAST`, `RTN_BLACKHOLE`, `RTN_UNREACHABLE` and `RTN_PROHIBIT`.
const UNICAST: u8 = 1;
const BLACKHOLE: u8 = 6;
const UNREACHABLE: u8 = 7;
const PROHIBIT: u8 = 8;

/// What a route does with packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RouteKind {
    /// It leads somewhere.
    Leads,
    /// It drops them.
    Blackhole,
    /// It drops them, and tells the sender so.
    Unreachable,
    /// The same, as forbidden.
    Prohibit,
}

impl RouteKind {
    /// How `ip route` calls it; `unicast` is left out there.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Leads => "unicast",
            Self::Blackhole => "blackhole",
            Self::Unreachable => "unreachable",
            Self::Prohibit => "prohibit",
        }
    }
}

/// An entry of a routing table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TableRoute {
    /// The number of its table.
    pub table: u32,
    /// Where it leads.
    pub prefix: IpNet,
    /// What it does.
    pub kind: RouteKind,
    /// Which of several to one prefix is taken: the lowest (`metric`).
    pub priority: u32,
}

impl Netlink {
    /// Of each routing table the entry that packets to `dst` would take in it, the table with the longest prefix first. The question is asked in the
    /// calling thread's network namespace. Of other entries nothing is kept.
    pub fn routes_to(&self, dst: IpAddr) -> Result<Vec<TableRoute>, Error> {
        let found = ask(dst).map_err(|source| Error::Request {
            operation: "look up all routes to",
            object: dst.to_string(),
            source,
        });
        Ok(best_of_each(found?))
    }
}

fn ask(dst: IpAddr) -> io::Result<Vec<TableRoute>> {
    let mut question = [0; HEADER_LEN];
    question[FAMILY] = family(dst);
    let to_dst = |row: &[u8]| matches!(read(row), Ok(Some(route)) if route.prefix.contains(&dst));
    let rows = table::dump_those(NETLINK_ROUTE, GET_ROUTE, &question, Kept::Those(&to_dst))?;
    let routes = rows.iter().filter_map(|row| read(row).transpose());
    routes.collect()
}

fn family(ip: IpAddr) -> u8 {
    let family = match ip {
        IpAddr::V4(_) => libc::AF_INET,
        IpAddr::V6(_) => libc::AF_INET6,
    };
    u8::try_from(family).unwrap_or_default()
}

/// Reads a route; `None` for what is no entry that packets to others take.
fn read(row: &[u8]) -> io::Result<Option<TableRoute>> {
    let Some((header, attributes)) = row.split_first_chunk::<HEADER_LEN>() else {
        return Ok(None);
    };
    let kind = match header[TYPE] {
        UNICAST => RouteKind::Leads,
        BLACKHOLE => RouteKind::Blackhole,
        UNREACHABLE => RouteKind::Unreachable,
        PROHIBIT => RouteKind::Prohibit,
        _ => return Ok(None),
    };
    let number = |attribute| {
        let bytes = attribute_of(attributes, attribute)?;
        let bytes = bytes.and_then(|bytes| <[u8; 4]>::try_from(bytes).ok());
        Ok::<_, io::Error>(bytes.map(u32::from_ne_bytes))
    };
    let dst = attribute_of(attributes, DST)?.unwrap_or_default();
    let address = if header[FAMILY] == family(IpAddr::from([0; 4])) {
        // A default route has no destination.
        <[u8; 4]>::try_from(dst).unwrap_or_default().into()
    } else {
        IpAddr::from(<[u8; 16]>::try_from(dst).unwrap_or_default())
    };
    let prefix = IpNet::new(address, header[PREFIX_LEN]).ok();
    let table = number(TABLE_32)?.unwrap_or(header[TABLE].into());
    let priority = number(PRIORITY)?.unwrap_or(0);
    // What IPv6 has at the end of a table (`fib6_null_entry`), as if it were an entry.
    let is_end = address.is_ipv6() && priority == u32::MAX;
    Ok(prefix.filter(|_| !is_end).map(|prefix| TableRoute {
        table,
        prefix,
        kind,
        priority,
    }))
}

/// Of each table, the entry with the longest prefix, and among several of those the one with the lowest priority.
fn best_of_each(mut routes: Vec<TableRoute>) -> Vec<TableRoute> {
    let order = |route: &TableRoute| (std::cmp::Reverse(route.prefix.prefix_len()), route.priority);
    routes.sort_by_key(|route| (route.table, order(route)));
    routes.dedup_by_key(|route| route.table);
    routes.sort_by_key(order);
    routes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::netlink::generic::attribute_bytes;

    fn row(prefix: &str, kind: u8, table: u32, priority: u32) -> Vec<u8> {
        let prefix: IpNet = prefix.parse().unwrap();
        let mut row = vec![0; HEADER_LEN];
        (row[FAMILY], row[PREFIX_LEN]) = (family(prefix.addr()), prefix.prefix_len());
        (row[TABLE], row[TYPE]) = (table.to_le_bytes()[0], kind);
        let dst = match prefix.addr() {
            IpAddr::V4(v4) => v4.octets().to_vec(),
            IpAddr::V6(v6) => v6.octets().to_vec(),
        };
        if prefix.prefix_len() != 0 {
            row.extend(attribute_bytes(DST, &dst));
        }
        row.extend(attribute_bytes(PRIORITY, &priority.to_ne_bytes()));
        row.extend(attribute_bytes(TABLE_32, &table.to_ne_bytes()));
        row
    }

    #[test]
    fn a_route_is_read_with_its_table_and_what_it_does() {
        for (prefix, table) in [
            ("0.0.0.0/0", 254),
            ("192.0.2.0/24", 1000),
            ("2001:db8::/32", 7),
        ] {
            let read = read(&row(prefix, PROHIBIT, table, 5)).unwrap().unwrap();
            let wanted = TableRoute {
                table,
                prefix: prefix.parse().unwrap(),
                kind: RouteKind::Prohibit,
                priority: 5,
            };
            assert_eq!(read, wanted);
        }
        // A local one, and the end of a table.
        assert_eq!(read(&row("192.0.2.1/32", 2, 255, 0)).unwrap(), None);
        assert_eq!(
            read(&row("::/0", UNREACHABLE, 254, u32::MAX)).unwrap(),
            None
        );
        assert_eq!(read(&[0; HEADER_LEN - 1]).unwrap(), None);
    }

    #[test]
    fn of_each_table_the_longest_prefix_counts_and_then_the_lowest_metric() {
        let rows = [
            row("0.0.0.0/0", UNICAST, 254, 0),
            row("192.0.2.0/24", BLACKHOLE, 254, 9),
            row("192.0.2.0/24", UNICAST, 254, 7),
            row("192.0.2.2/32", UNICAST, 100, 0),
        ];
        let routes = rows.iter().map(|row| read(row).unwrap().unwrap()).collect();

        let best: Vec<_> = best_of_each(routes)
            .iter()
            .map(|route| (route.table, route.prefix.to_string(), route.kind))
            .collect();

        assert_eq!(
            best,
            [
                (100, "192.0.2.2/32".to_owned(), RouteKind::Leads),
                (254, "192.0.2.0/24".to_owned(), RouteKind::Leads)
            ]
        );
    }
}
