//! JSON in which an object is written as one. serde's derives also take an array of the values of its fields, in the order of the sources:
//! a request that means nothing to whoever wrote it would be done.

use serde::de::{
    self, Deserialize, DeserializeSeed, Deserializer, EnumAccess, MapAccess, SeqAccess,
    VariantAccess, Visitor,
};

/// Reads a value, in which no array stands for an object.
///
/// # Errors
///
/// If it is no such value.
pub fn from_slice<'de, T: Deserialize<'de>>(text: &'de [u8]) -> Result<T, serde_json::Error> {
    let mut whole = serde_json::Deserializer::from_slice(text);
    let value = T::deserialize(Objects(&mut whole))?;
    whole.end()?;
    Ok(value)
}

/// Whatever reads, with all that it reads from.
struct Objects<T>(T);

macro_rules! pass_on {
    ($($method:ident($($argument:ident: $type:ty),*);)+) => {$(
        fn $method<V: Visitor<'de>>(self, $($argument: $type,)* visitor: V) -> Result<V::Value, D::Error> {
            self.0.$method($($argument,)* Objects(visitor))
        }
    )+};
}

impl<'de, D: Deserializer<'de>> Deserializer<'de> for Objects<D> {
    type Error = D::Error;

    pass_on! {
        deserialize_any();
        deserialize_bool();
        deserialize_i8();
        deserialize_i16();
        deserialize_i32();
        deserialize_i64();
        deserialize_u8();
        deserialize_u16();
        deserialize_u32();
        deserialize_u64();
        deserialize_f32();
        deserialize_f64();
        deserialize_char();
        deserialize_str();
        deserialize_string();
        deserialize_bytes();
        deserialize_byte_buf();
        deserialize_option();
        deserialize_unit();
        deserialize_unit_struct(name: &'static str);
        deserialize_newtype_struct(name: &'static str);
        deserialize_seq();
        deserialize_tuple(len: usize);
        deserialize_tuple_struct(name: &'static str, len: usize);
        deserialize_map();
        deserialize_enum(name: &'static str, variants: &'static [&'static str]);
        deserialize_identifier();
        deserialize_ignored_any();
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, D::Error> {
        self.0.deserialize_map(Objects(visitor))
    }
}

macro_rules! visit {
    ($($method:ident($type:ty);)+) => {$(
        fn $method<E: de::Error>(self, value: $type) -> Result<V::Value, E> {
            self.0.$method(value)
        }
    )+};
}

impl<'de, V: Visitor<'de>> Visitor<'de> for Objects<V> {
    type Value = V::Value;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.expecting(f)
    }

    visit! {
        visit_bool(bool);
        visit_i64(i64);
        visit_u64(u64);
        visit_f64(f64);
        visit_str(&str);
        visit_borrowed_str(&'de str);
        visit_string(String);
    }

    fn visit_none<E: de::Error>(self) -> Result<V::Value, E> {
        self.0.visit_none()
    }

    fn visit_unit<E: de::Error>(self) -> Result<V::Value, E> {
        self.0.visit_unit()
    }

    fn visit_some<D: Deserializer<'de>>(self, inner: D) -> Result<V::Value, D::Error> {
        self.0.visit_some(Objects(inner))
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(self, inner: D) -> Result<V::Value, D::Error> {
        self.0.visit_newtype_struct(Objects(inner))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, items: A) -> Result<V::Value, A::Error> {
        self.0.visit_seq(Objects(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, fields: A) -> Result<V::Value, A::Error> {
        self.0.visit_map(Objects(fields))
    }

    fn visit_enum<A: EnumAccess<'de>>(self, variant: A) -> Result<V::Value, A::Error> {
        self.0.visit_enum(Objects(variant))
    }
}

impl<'de, S: DeserializeSeed<'de>> DeserializeSeed<'de> for Objects<S> {
    type Value = S::Value;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<S::Value, D::Error> {
        self.0.deserialize(Objects(from))
    }
}

impl<'de, A: SeqAccess<'de>> SeqAccess<'de> for Objects<A> {
    type Error = A::Error;

    fn next_element_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, A::Error> {
        self.0.next_element_seed(Objects(seed))
    }

    fn size_hint(&self) -> Option<usize> {
        self.0.size_hint()
    }
}

impl<'de, A: MapAccess<'de>> MapAccess<'de> for Objects<A> {
    type Error = A::Error;

    fn next_key_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, A::Error> {
        self.0.next_key_seed(seed)
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, A::Error> {
        self.0.next_value_seed(Objects(seed))
    }

    fn size_hint(&self) -> Option<usize> {
        self.0.size_hint()
    }
}

impl<'de, A: EnumAccess<'de>> EnumAccess<'de> for Objects<A> {
    type Error = A::Error;
    type Variant = Objects<A::Variant>;

    fn variant_seed<S: DeserializeSeed<'de>>(
        self,
        seed: S,
    ) -> Result<(S::Value, Self::Variant), A::Error> {
        let (name, variant) = self.0.variant_seed(seed)?;
        Ok((name, Objects(variant)))
    }
}

impl<'de, A: VariantAccess<'de>> VariantAccess<'de> for Objects<A> {
    type Error = A::Error;

    fn unit_variant(self) -> Result<(), A::Error> {
        self.0.unit_variant()
    }

    fn newtype_variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<S::Value, A::Error> {
        self.0.newtype_variant_seed(Objects(seed))
    }

    fn tuple_variant<V: Visitor<'de>>(self, len: usize, visitor: V) -> Result<V::Value, A::Error> {
        self.0.tuple_variant(len, Objects(visitor))
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, A::Error> {
        self.0.newtype_variant_seed(Fields(visitor))
    }
}

/// The fields of a variant.
struct Fields<V>(V);

impl<'de, V: Visitor<'de>> DeserializeSeed<'de> for Fields<V> {
    type Value = V::Value;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<V::Value, D::Error> {
        from.deserialize_map(Objects(self.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{ConfigLine, Op, PortSpec, RunLine, VniSpec};

    fn refused<'de, T: Deserialize<'de> + std::fmt::Debug>(text: &'de str) {
        assert!(
            serde_json::from_str::<T>(text).is_ok(),
            "serde takes {text}"
        );
        let refusal = from_slice::<T>(text.as_bytes()).unwrap_err().to_string();
        assert!(refusal.contains("sequence"), "{text}: {refusal}");
    }

    #[test]
    fn no_array_stands_for_an_object() {
        refused::<VniSpec>("[]");
        refused::<VniSpec>("[\"l2\"]");
        refused::<ConfigLine>("[\"f\", 1, {\"vni_add\": {\"vni\": 1}}]");
        refused::<Op>("{\"vni_add\": [1]}");
        refused::<Op>("{\"vni_add\": {\"vni\": 1, \"spec\": []}}");
        refused::<Op>("{\"fdb_flush\": [1]}");
        refused::<RunLine>("{\"at\": \"f:1\", \"options\": [[\"--iface\", \"eth0\"]]}");
    }

    #[test]
    fn what_is_written_as_it_should_be_is_read_as_ever() {
        for text in [
            "{\"vni_add\": {\"vni\": 7, \"spec\": {\"mode\": \"l2\", \"srcport\": [1, 2], \"ttl\": \"inherit\", \"tos\": 4}}}",
            "{\"port_add\": {\"dev\": \"tap0\", \"vni\": 7, \"macs\": [\"02:00:00:00:00:01\"], \"ips\": [\"::1\"]}}",
            "{\"port_set\": {\"dev\": \"tap0\", \"change\": {\"vlan\": null, \"isolated\": true}}}",
            "{\"fdb_flush\": {\"static\": true}}",
        ] {
            assert_eq!(
                from_slice::<Op>(text.as_bytes()).unwrap(),
                serde_json::from_str(text).unwrap()
            );
        }
        for text in [
            "",
            "{}",
            "{\"dev\": 1}",
            "{\"dev\": \"a\", \"vni\": 1} 2",
            "{\"dev\"",
        ] {
            let refusal = from_slice::<PortSpec>(text.as_bytes()).unwrap_err();
            let usual = serde_json::from_str::<PortSpec>(text).unwrap_err();
            assert_eq!(refusal.to_string(), usual.to_string());
        }
    }
}
