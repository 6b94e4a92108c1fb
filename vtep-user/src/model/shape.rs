//! What the API's document says of values that are plain texts and numbers here, but take less than any text or number.

use utoipa::openapi::RefOr;
use utoipa::openapi::schema::{
    AnyOfBuilder, KnownFormat, ObjectBuilder, Schema, SchemaFormat, Type,
};
use utoipa::{Number, PartialSchema};

pub(super) fn text() -> ObjectBuilder {
    ObjectBuilder::new().schema_type(Type::String)
}

pub(super) fn number(least: u64, most: u64) -> ObjectBuilder {
    let bound = |number: u64| Some(Number::UInt(usize::try_from(number).unwrap_or(usize::MAX)));
    ObjectBuilder::new()
        .schema_type(Type::Integer)
        .minimum(bound(least))
        .maximum(bound(most))
}

/// Names for schemas.
macro_rules! named {
    ($($type:ty = $name:literal),+ $(,)?) => {$(
        impl utoipa::ToSchema for $type {
            fn name() -> std::borrow::Cow<'static, str> {
                std::borrow::Cow::Borrowed($name)
            }
        }
    )+};
}
pub(super) use named;
named!(Ip = "Ip", DeviceName = "DeviceName", Count = "Count");

/// An address of a host or VTEP.
pub struct Ip;

impl PartialSchema for Ip {
    fn schema() -> RefOr<Schema> {
        let of = |format| text().format(Some(SchemaFormat::KnownFormat(format)));
        AnyOfBuilder::new()
            .description(Some("An IPv4 or IPv6 address."))
            .item(of(KnownFormat::Ipv4))
            .item(of(KnownFormat::Ipv6))
            .into()
    }
}

/// The name of an interface.
pub struct DeviceName;

impl PartialSchema for DeviceName {
    fn schema() -> RefOr<Schema> {
        text()
            .description(Some("The name of an interface."))
            .min_length(Some(1))
            .max_length(Some(15))
            .pattern(Some("^[^/:\\s]+$"))
            .into()
    }
}

/// A number of 32 bits.
pub struct Count;

impl PartialSchema for Count {
    fn schema() -> RefOr<Schema> {
        number(0, u32::MAX.into())
            .description(Some("A number of 32 bits."))
            .into()
    }
}
