//! Changes as the words that ask for them: what [`line`](super::line) reads, written again.

use super::argument::ArgumentList;
use super::settings::{fdb, neigh, nexthop, peer, port, run, vni};
use super::{Op, RunOptions};

/// The command that asks for a change.
#[must_use]
pub fn command(op: &Op) -> String {
    match op {
        Op::VniAdd { vni, spec } => line(&["vni", "add"], Some(vni), &vni::NEW, spec),
        Op::VniReplace { vni, spec } => line(&["vni", "replace"], Some(vni), &vni::NEW, spec),
        Op::VniSet { vni, spec } => line(&["vni", "set"], Some(vni), &vni::CHANGE, spec),
        Op::VniDel { vni, options } => line(&["vni", "del"], Some(vni), &vni::DELETE, options),
        Op::PortAdd(spec) => line(&["port", "add"], NO_KEY, &port::NEW, spec),
        Op::PortReplace(spec) => line(&["port", "replace"], NO_KEY, &port::NEW, spec),
        Op::PortSet { dev, change } => line(&["port", "set"], Some(dev), &port::CHANGE, change),
        Op::PortDel { dev, part } => line(&["port", "del"], Some(dev), &port::PART, part),
        Op::FdbAdd(spec) => line(&["fdb", "add"], NO_KEY, &fdb::ENTRY, spec),
        Op::FdbAppend(spec) => line(&["fdb", "append"], NO_KEY, &fdb::ENTRY, spec),
        Op::FdbReplace(spec) => line(&["fdb", "replace"], NO_KEY, &fdb::ENTRY, spec),
        Op::FdbDel(del) => line(&["fdb", "del"], NO_KEY, &fdb::DELETE, del),
        Op::FdbFlush(filter) => line(&["fdb", "flush"], NO_KEY, &fdb::FLUSH, filter),
        Op::NeighAdd(spec) => line(&["neigh", "add"], NO_KEY, &neigh::ENTRY, spec),
        Op::NeighReplace(spec) => line(&["neigh", "replace"], NO_KEY, &neigh::ENTRY, spec),
        Op::NeighDel(del) => line(&["neigh", "del"], NO_KEY, &neigh::DELETE, del),
        Op::NexthopAdd(spec) => line(&["nexthop", "add"], NO_KEY, &nexthop::ENTRY, spec),
        Op::NexthopReplace(spec) => line(&["nexthop", "replace"], NO_KEY, &nexthop::ENTRY, spec),
        Op::NexthopDel(del) => line(&["nexthop", "del"], NO_KEY, &nexthop::DELETE, del),
        Op::PeerSet { ip, spec } => line(&["peer", "set"], Some(ip), &peer::CHANGE, spec),
    }
}

/// The command that starts a daemon with these options: those that are not the default.
#[must_use]
pub fn run(options: &RunOptions) -> String {
    let mut text = "run".to_owned();
    let default = RunOptions::default();
    for setting in run::OPTIONS.settings {
        let values = (setting.get)(options);
        if setting.argument.name != run::CONFIG && values != (setting.get)(&default) {
            push(&mut text, setting.argument.name, &values);
        }
    }
    text
}

const NO_KEY: Option<&String> = None;

fn line<T>(
    words: &[&str],
    key: Option<&impl ToString>,
    list: &ArgumentList<T>,
    record: &T,
) -> String {
    let mut text = words.join(" ");
    if let Some(key) = key {
        text.push(' ');
        text.push_str(&key.to_string());
    }
    for setting in list.settings {
        let name = if setting.argument.is_positional() {
            ""
        } else {
            setting.argument.name
        };
        push(&mut text, name, &(setting.get)(record));
    }
    text
}

fn push(text: &mut String, name: &str, values: &[String]) {
    for value in values {
        for word in [name, value] {
            if !word.is_empty() {
                text.push(' ');
                text.push_str(word);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::line;
    use crate::model::request::Request;

    #[test]
    fn what_was_read_is_written_as_it_was() {
        for text in [
            "vni add 100",
            "vni add 100 --mode multicast --group 239.1.1.1 --ageing 60 --max-macs 9 --ttl inherit --srcport 1000-2000",
            "vni replace 100 --mode l2",
            "vni set 100 --max-macs none --l2cp pass",
            "vni del 100 --force",
            "port add tap0 --vni 100 --vlan 10 --mac 02:00:00:00:00:01 --mac 02:00:00:00:00:02 --ip ::1 --isolated on",
            "port replace tap0 --vni 100",
            "port set tap0 --vlan 10 --hook tc",
            "port del tap0 --vlan 10",
            "fdb add 02:00:00:00:00:0b --vni 100 --dst 192.0.2.2",
            "fdb append 00:00:00:00:00:00 --vni 100 --dst 2001:db8::2",
            "fdb replace 02:00:00:00:00:0b --vni 100 --dev tap0",
            "fdb del 02:00:00:00:00:0b --vni 100",
            "neigh add 10.0.0.1 --vni 100 --lladdr 02:00:00:00:00:0b --router",
            "neigh del 10.0.0.1 --vni 100",
            "nexthop add 10.0.0.0/8 --vni 100 --via 192.0.2.2 --lladdr 02:00:00:00:00:0b",
            "nexthop del 10.0.0.0/8 --vni 100",
            "peer set 2001:db8::2 --csum6 off",
        ] {
            let Some(Request::Change(op)) = line::read(text.split(' ')) else {
                panic!("{text}");
            };
            assert_eq!(command(&op), text);
        }
    }

    #[test]
    fn the_options_that_are_not_the_default_are_written() {
        let options = RunOptions {
            ifaces: vec!["eth0".into()],
            locals: vec!["192.0.2.1".parse().unwrap()],
            config: Some("/etc/vtep/main.conf".into()),
            teardown: true,
            ..RunOptions::default()
        };
        assert_eq!(
            run(&options),
            "run --iface eth0 --local 192.0.2.1 --teardown"
        );
    }
}
