//! What can be set, given and shown of each thing: one file for each.

pub mod fdb;
pub mod filter;
pub mod neigh;
pub mod nexthop;
pub mod peer;
pub mod port;
pub mod vni;

#[cfg(test)]
mod tests {
    use utoipa::PartialSchema;
    use utoipa::openapi::{RefOr, Schema};

    use super::*;
    use crate::model::Parameters;
    use crate::model::argument::ArgumentList;
    use crate::model::request::operations;

    #[test]
    fn every_field_of_a_record_has_its_argument() {
        fn check<T: PartialSchema + Parameters>(table: &ArgumentList<T>) {
            let RefOr::T(Schema::Object(object)) = T::schema() else {
                panic!("a record is an object")
            };
            let fields: Vec<_> = object.properties.keys().collect();
            assert_eq!(table.settings.len(), fields.len(), "{fields:?}");
        }
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
        fn again<T: Parameters>(table: &ArgumentList<T>, options: &str) {
            let mut record = T::blank();
            let mut words = options.split(' ');
            while let Some(name) = words.next() {
                let setting = table.settings.iter().find(|it| it.argument.name == name);
                (setting.unwrap().set)(&mut record, words.next().unwrap()).unwrap();
            }
            let written = table.settings.iter().flat_map(|setting| {
                let texts = (setting.get)(&record).into_iter();
                texts.map(|text| format!("{} {text}", setting.argument.name))
            });
            assert_eq!(written.collect::<Vec<_>>().join(" "), options);
        }
        again(
            &vni::NEW,
            "--mode l2 --flood none --group 239.1.1.1 --learning off --suppress on --ageing 60 --max-macs none \
             --inner-vlan pass --ttl inherit --tos 184 --df unset --srcport 1000-2000 --reserved strict",
        );
        again(
            &port::CHANGE,
            "--vni 100 --vlan 10 --hook xdp --mac 02:00:00:00:00:01 --mac 02:00:00:00:00:02 --ip fd00::1 --max-macs 5",
        );
        again(&peer::CHANGE, "--csum6 on");
    }

    #[test]
    fn no_two_arguments_of_a_command_have_one_name() {
        for command in operations().filter_map(|operation| operation.command()) {
            let mut names: Vec<_> = command.arguments().map(|argument| argument.name).collect();
            let all = names.len();
            names.sort_unstable();
            names.dedup();
            assert_eq!(names.len(), all, "{:?}", command.words);
        }
    }
}
