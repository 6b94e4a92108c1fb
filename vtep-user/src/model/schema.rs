//! What the API's document says of values whose types are written here, and of keys and parameters.

use std::borrow::Cow;

use utoipa::openapi::RefOr;
use utoipa::openapi::schema::{AnyOfBuilder, ArrayBuilder, Schema};
use utoipa::{PartialSchema, ToSchema};
use vtep_common::abi::policer::Policer;

use super::shape::{DeviceName, Ip, named, number, text};
use super::{
    BitRate, FrameBytes, FrameRate, MacAddr, OrInherit, PortRange, Prefix, TraceTo, VlanId, Vni,
};

named!(
    Prefix = "Prefix",
    BitRate = "BitRate",
    FrameRate = "FrameRate",
    VlanId = "VlanId",
    PortRange = "PortRange",
    FrameBytes = "FrameBytes",
    TraceTo = "TraceTo",
);

impl PartialSchema for FrameBytes {
    fn schema() -> RefOr<Schema> {
        text()
            .description(Some(
                "The bytes of a frame as hexadecimal digits, with or without separators.",
            ))
            // Two digits for each byte.
            .pattern(Some("^[:.,\\s-]*((0x)?[0-9a-fA-F][0-9a-fA-F][:.,\\s-]*)+$"))
            .into()
    }
}

impl PartialSchema for TraceTo {
    fn schema() -> RefOr<Schema> {
        AnyOfBuilder::new()
            .description(Some("A MAC, or the IP of a host."))
            .item(MacAddr::schema())
            .item(Ip::schema())
            .into()
    }
}

impl PartialSchema for Prefix {
    fn schema() -> RefOr<Schema> {
        text()
            .description(Some(
                "An IP address, or a prefix whose bits behind its length are zero: `192.0.2.1`, `192.0.2.0/24`, `2001:db8::/64`.",
            ))
            .pattern(Some(
                "^[0-9]{1,3}(\\.[0-9]{1,3}){3}(/[0-9]{1,2})?$|^[0-9a-fA-F:.]*:[0-9a-fA-F:.]*(/[0-9]{1,3})?$",
            ))
            .into()
    }
}

impl PartialSchema for FrameRate {
    fn schema() -> RefOr<Schema> {
        number(0, Policer::FRAMES.1)
            .description(Some("Frames a second, or 0 for any number of them."))
            .into()
    }
}

impl PartialSchema for BitRate {
    fn schema() -> RefOr<Schema> {
        let (least, most) = Policer::BITS;
        AnyOfBuilder::new()
            .description(Some("Bits a second, or 0 for any number of them."))
            .item(number(0, 0))
            .item(number(least, most))
            .into()
    }
}

impl PartialSchema for VlanId {
    fn schema() -> RefOr<Schema> {
        number(1, 4094)
            .description(Some("An 802.1Q VLAN ID that a frame can carry."))
            .into()
    }
}

impl PartialSchema for PortRange {
    fn schema() -> RefOr<Schema> {
        ArrayBuilder::new()
            .description(Some(
                "The lowest and the highest UDP source port; the first is no larger than the second.",
            ))
            .items(number(1, u16::MAX.into()))
            .min_items(Some(2))
            .max_items(Some(2))
            .into()
    }
}

impl<T: TryFrom<u8>> PartialSchema for OrInherit<T> {
    fn schema() -> RefOr<Schema> {
        let least = u64::from(T::try_from(0).is_err());
        AnyOfBuilder::new()
            .description(Some(
                "A value of its own, or `inherit` for that of the inner packet.",
            ))
            .item(number(least, u8::MAX.into()))
            .item(text().enum_values(Some(["inherit"])))
            .into()
    }
}

impl<T: TryFrom<u8>> ToSchema for OrInherit<T> {
    fn name() -> Cow<'static, str> {
        Cow::Borrowed(if T::try_from(0).is_ok() {
            "ByteOrInherit"
        } else {
            "PositiveByteOrInherit"
        })
    }
}

/// The schema of a key in a path of the API, and what the document says of it.
#[must_use]
pub fn key(name: &str) -> (RefOr<Schema>, &'static str) {
    fn of<T: ToSchema>() -> RefOr<Schema> {
        RefOr::Ref(utoipa::openapi::Ref::from_schema_name(T::name()))
    }
    match name {
        "vni" => (of::<Vni>(), "The VNI."),
        "mac" => (of::<MacAddr>(), "The MAC; all zero for the flood list."),
        "ip" => (of::<Ip>(), "The remote VTEP."),
        _ => (of::<DeviceName>(), "The device."),
    }
}

/// The schemas that parameters refer to.
#[must_use]
pub fn of_parameters() -> Vec<(String, RefOr<Schema>)> {
    fn of<T: ToSchema>() -> (String, RefOr<Schema>) {
        (T::name().into(), T::schema())
    }
    vec![
        of::<Vni>(),
        of::<MacAddr>(),
        of::<Ip>(),
        of::<DeviceName>(),
        of::<VlanId>(),
        of::<Prefix>(),
        of::<FrameBytes>(),
        of::<TraceTo>(),
        of::<super::Source>(),
    ]
}
