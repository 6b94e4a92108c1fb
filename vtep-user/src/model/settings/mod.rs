//! What can be set, given and shown of each thing: one file for each.

pub mod batch;
pub mod capture;
pub mod fdb;
pub mod filter;
pub mod import;
pub mod neigh;
pub mod nexthop;
pub mod peer;
pub mod port;
pub mod run;
pub mod teardown;
pub mod top;
pub mod trace;
pub mod vni;

#[cfg(test)]
mod tests {
    use utoipa::PartialSchema;
    use utoipa::openapi::{RefOr, Schema};

    use super::*;
    use crate::model::Parameters;
    use crate::model::argument::ArgumentList;
    use crate::model::command::{GLOBALS, Globals, commands};
    use crate::model::{PeerSpec, PortChange, RunOptions, Setting, Takes, VniSpec};

    #[test]
    fn every_field_of_a_record_has_its_argument() {
        fn check<T: PartialSchema + Parameters>(table: &ArgumentList<T>) {
            let RefOr::T(Schema::Object(object)) = T::schema() else {
                panic!("a record is an object")
            };
            let fields: Vec<_> = object.properties.keys().collect();
            assert_eq!(table.settings.len(), fields.len(), "{fields:?}");
        }
        check(&batch::OPTIONS);
        check(&vni::NEW);
        check(&vni::CHANGE);
        check(&port::NEW);
        check(&port::CHANGE);
        check(&port::PART);
        check(&peer::CHANGE);
        check(&fdb::ENTRY);
        check(&fdb::DELETE);
        check(&fdb::FLUSH);
        check(&neigh::ENTRY);
        check(&neigh::DELETE);
        check(&nexthop::ENTRY);
        check(&nexthop::DELETE);
        check(&filter::OF_VNI);
        check(&filter::STATS);
    }

    #[test]
    fn what_was_typed_can_be_written_again() {
        fn again<T>(table: &ArgumentList<T>, mut record: T, options: &str) {
            let mut words = options.split(' ');
            while let Some(name) = words.next() {
                let found = table.settings.iter().find(|it| it.argument.name == name);
                let Setting { argument, set, .. } = found.unwrap();
                let text = match argument.takes {
                    Takes::Nothing => "",
                    Takes::Value | Takes::Values => words.next().unwrap(),
                };
                set(&mut record, text).unwrap();
            }
            let written = table.settings.iter().flat_map(|setting| {
                let texts = (setting.get)(&record).into_iter();
                texts.map(|text| match &*text {
                    "" => setting.argument.name.into(),
                    text => format!("{} {text}", setting.argument.name),
                })
            });
            assert_eq!(written.collect::<Vec<String>>().join(" "), options);
        }
        again(
            &vni::NEW,
            VniSpec::blank(),
            "--mode l2 --flood none --group 239.1.1.1 --learning off --suppress on --ageing 60 --max-macs none \
             --inner-vlan pass --ttl inherit --tos 184 --df unset --srcport 1000-2000 --reserved strict",
        );
        again(
            &port::CHANGE,
            PortChange::blank(),
            "--vni 100 --vlan 10 --hook xdp --mac 02:00:00:00:00:01 --mac 02:00:00:00:00:02 --ip fd00::1 --max-macs 5",
        );
        again(&peer::CHANGE, PeerSpec::blank(), "--csum6 on");
        again(
            &run::OPTIONS,
            RunOptions::default(),
            "--iface eth0 --iface eth1 --local 192.0.2.1 --udp-port 8472 --config /etc/vtep.conf --uplink-hook tc \
             --xdp-mode generic --metrics [::1]:9100 --socket-group vtep --view-group adm --teardown --fdb-max 65536 --dup-moves 0 --dup-window 1 --dup-freeze 0",
        );
        again(
            &GLOBALS,
            Globals::default(),
            "--json --instance blue --timeout 2",
        );
    }

    #[test]
    fn a_new_record_has_the_defaults_that_the_help_names() {
        fn check<T>(table: &ArgumentList<T>, record: &T) -> usize {
            let described = table.settings.iter();
            let described = described.filter(|setting| !setting.argument.default.is_empty());
            let defaults = described.map(|Setting { argument, get, .. }| {
                assert_eq!(get(record), [argument.default], "{}", argument.name);
            });
            defaults.count()
        }
        assert_eq!(check(&run::OPTIONS, &RunOptions::default()), 6);
        assert_eq!(check(&GLOBALS, &Globals::default()), 2);
    }

    #[test]
    fn no_two_arguments_of_a_command_have_one_name() {
        for command in commands() {
            let everywhere = GLOBALS.settings.iter().map(|setting| &setting.argument);
            let arguments = command.arguments().chain(everywhere);
            let mut names: Vec<_> = arguments.map(|argument| argument.name).collect();
            let all = names.len();
            names.sort_unstable();
            names.dedup();
            assert_eq!(names.len(), all, "{:?}", command.words);
        }
    }
}
