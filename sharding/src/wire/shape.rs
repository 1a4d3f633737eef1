//! A walk through the types on the wire: none is recursive, and no sequence has elements that take no bytes.
//!
//! Either would be a bomb: recursion ends the stack, and a sequence of nothing costs a decoder time without costing its sender input, whatever
//! limit it has. The walk decodes each type from an input that it makes up on the way: every option is there, every sequence has one
//! element, every enum is taken through all its variants. A recursive type never ends that way, and is found by its depth.

use std::fmt;

use serde::de::{self, DeserializeSeed, Deserializer, IntoDeserializer as _, Visitor};

/// Deeper than any type of ours, and far below what a stack holds.
const MOST_DEPTH: usize = 48;

/// More ways through one type than any of ours has.
const MOST_WAYS: usize = 20_000;

/// Walks through every variant of a type; returns how many ways there are.
///
/// # Errors
/// What is wrong with it.
pub(crate) fn walk<T: de::Deserialize<'static>>() -> Result<usize, Bomb> {
    let mut walk = Walk::default();
    for ways in 1..=MOST_WAYS {
        (walk.at, walk.depth, walk.bytes) = (0, 0, 0);
        T::deserialize(&mut walk)?;
        if !walk.turn_to_next_way() {
            return Ok(ways);
        }
    }
    Err(Bomb(format!("more than {MOST_WAYS} ways lead through it")))
}

/// Why a type must not be on the wire.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Bomb(String);

impl fmt::Display for Bomb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Bomb {}

impl de::Error for Bomb {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self(message.to_string())
    }
}

#[derive(Default)]
struct Walk {
    /// The variant taken at each enum of the present way, and how many that enum has.
    variants: Vec<(usize, usize)>,
    /// The next enum of the way.
    at: usize,
    depth: usize,
    /// Bytes that a decoder would have read so far, at least.
    bytes: usize,
}

impl Walk {
    /// Goes on with the next variant of the last enum that has one; false when all ways were gone.
    fn turn_to_next_way(&mut self) -> bool {
        self.variants.truncate(self.at);
        while let Some((taken, of)) = self.variants.pop() {
            if taken + 1 < of {
                self.variants.push((taken + 1, of));
                return true;
            }
        }
        false
    }

    fn deeper<T>(&mut self, go: impl FnOnce(&mut Self) -> Result<T, Bomb>) -> Result<T, Bomb> {
        self.depth += 1;
        if self.depth > MOST_DEPTH {
            return Err(Bomb("it is recursive".to_owned()));
        }
        let gone = go(self)?;
        self.depth -= 1;
        Ok(gone)
    }
}

/// Values that every check of ours lets pass.
macro_rules! plain {
    ($($method:ident => $visit:ident($value:expr),)*) => {$(
        fn $method<V: Visitor<'static>>(self, visitor: V) -> Result<V::Value, Bomb> {
            self.bytes += 1;
            visitor.$visit($value)
        }
    )*};
}

impl Deserializer<'static> for &mut Walk {
    type Error = Bomb;

    plain! {
        deserialize_bool => visit_bool(true),
        deserialize_i8 => visit_i8(1),
        deserialize_i16 => visit_i16(1),
        deserialize_i32 => visit_i32(1),
        deserialize_i64 => visit_i64(1),
        deserialize_i128 => visit_i128(1),
        deserialize_u8 => visit_u8(1),
        deserialize_u16 => visit_u16(1),
        deserialize_u32 => visit_u32(1),
        deserialize_u64 => visit_u64(1),
        deserialize_u128 => visit_u128(1),
        deserialize_f32 => visit_f32(1.0),
        deserialize_f64 => visit_f64(1.0),
        deserialize_char => visit_char('a'),
        deserialize_str => visit_borrowed_str("a"),
        deserialize_string => visit_borrowed_str("a"),
        deserialize_bytes => visit_borrowed_bytes(b"a"),
        deserialize_byte_buf => visit_borrowed_bytes(b"a"),
    }

    fn is_human_readable(&self) -> bool {
        false
    }

    fn deserialize_any<V: Visitor<'static>>(self, _: V) -> Result<V::Value, Bomb> {
        Err(Bomb("it asks the bytes what it is, which bincode cannot say".to_owned()))
    }

    fn deserialize_option<V: Visitor<'static>>(self, visitor: V) -> Result<V::Value, Bomb> {
        self.bytes += 1;
        self.deeper(|walk| visitor.visit_some(walk))
    }

    fn deserialize_unit<V: Visitor<'static>>(self, visitor: V) -> Result<V::Value, Bomb> {
        visitor.visit_unit()
    }

    fn deserialize_unit_struct<V: Visitor<'static>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Bomb> {
        visitor.visit_unit()
    }

    fn deserialize_newtype_struct<V: Visitor<'static>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Bomb> {
        self.deeper(|walk| visitor.visit_newtype_struct(walk))
    }

    fn deserialize_seq<V: Visitor<'static>>(self, visitor: V) -> Result<V::Value, Bomb> {
        self.bytes += 1;
        self.deeper(|walk| visitor.visit_seq(Elements { walk, left: 1, counted: true }))
    }

    fn deserialize_tuple<V: Visitor<'static>>(
        self,
        left: usize,
        visitor: V,
    ) -> Result<V::Value, Bomb> {
        self.deeper(|walk| visitor.visit_seq(Elements { walk, left, counted: false }))
    }

    fn deserialize_tuple_struct<V: Visitor<'static>>(
        self,
        _: &'static str,
        length: usize,
        visitor: V,
    ) -> Result<V::Value, Bomb> {
        self.deserialize_tuple(length, visitor)
    }

    fn deserialize_map<V: Visitor<'static>>(self, visitor: V) -> Result<V::Value, Bomb> {
        self.bytes += 1;
        self.deeper(|walk| visitor.visit_map(Elements { walk, left: 1, counted: true }))
    }

    fn deserialize_struct<V: Visitor<'static>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Bomb> {
        self.deserialize_tuple(fields.len(), visitor)
    }

    fn deserialize_enum<V: Visitor<'static>>(
        self,
        _: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Bomb> {
        self.bytes += 1;
        if self.at == self.variants.len() {
            self.variants.push((0, variants.len()));
        }
        self.at += 1;
        self.deeper(|walk| visitor.visit_enum(Chosen { walk }))
    }

    fn deserialize_identifier<V: Visitor<'static>>(self, visitor: V) -> Result<V::Value, Bomb> {
        self.deserialize_any(visitor)
    }

    fn deserialize_ignored_any<V: Visitor<'static>>(self, visitor: V) -> Result<V::Value, Bomb> {
        self.deserialize_any(visitor)
    }
}

/// The elements of a sequence or of a map, or the fields of a tuple.
struct Elements<'a> {
    walk: &'a mut Walk,
    left: usize,
    /// How many there are stands in the input, so each must cost some of it.
    counted: bool,
}

impl Elements<'_> {
    fn element<S: DeserializeSeed<'static>>(&mut self, seed: S) -> Result<S::Value, Bomb> {
        let before = self.walk.bytes;
        let element = seed.deserialize(&mut *self.walk)?;
        if self.counted && self.walk.bytes == before {
            return Err(Bomb("it has a sequence whose elements take no bytes".to_owned()));
        }
        Ok(element)
    }
}

impl de::SeqAccess<'static> for Elements<'_> {
    type Error = Bomb;

    fn next_element_seed<S: DeserializeSeed<'static>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, Bomb> {
        if self.left == 0 {
            return Ok(None);
        }
        self.left -= 1;
        self.element(seed).map(Some)
    }
}

impl de::MapAccess<'static> for Elements<'_> {
    type Error = Bomb;

    fn next_key_seed<S: DeserializeSeed<'static>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, Bomb> {
        de::SeqAccess::next_element_seed(self, seed)
    }

    fn next_value_seed<S: DeserializeSeed<'static>>(&mut self, seed: S) -> Result<S::Value, Bomb> {
        seed.deserialize(&mut *self.walk)
    }
}

/// The variant that this way takes at an enum.
struct Chosen<'a> {
    walk: &'a mut Walk,
}

impl<'a> de::EnumAccess<'static> for Chosen<'a> {
    type Error = Bomb;
    type Variant = &'a mut Walk;

    fn variant_seed<S: DeserializeSeed<'static>>(
        self,
        seed: S,
    ) -> Result<(S::Value, &'a mut Walk), Bomb> {
        let (taken, _) = self.walk.variants[self.walk.at - 1];
        let number = u32::try_from(taken).map_err(de::Error::custom)?;
        let value: Result<S::Value, Bomb> = seed.deserialize(number.into_deserializer());
        Ok((value?, self.walk))
    }
}

impl de::VariantAccess<'static> for &mut Walk {
    type Error = Bomb;

    fn unit_variant(self) -> Result<(), Bomb> {
        Ok(())
    }

    fn newtype_variant_seed<S: DeserializeSeed<'static>>(self, seed: S) -> Result<S::Value, Bomb> {
        seed.deserialize(self)
    }

    fn tuple_variant<V: Visitor<'static>>(
        self,
        length: usize,
        visitor: V,
    ) -> Result<V::Value, Bomb> {
        self.deserialize_tuple(length, visitor)
    }

    fn struct_variant<V: Visitor<'static>>(
        self,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Bomb> {
        self.deserialize_tuple(fields.len(), visitor)
    }
}

#[cfg(test)]
#[path = "shape/tests.rs"]
mod tests;
