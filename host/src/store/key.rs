//! Keys as bytes that sort like the values they stand for.
//!
//! No encoding is a beginning of another one of its type, so parts can be put side by side in a tuple, and the first
//! parts of a tuple are a prefix that a scan can ask for. The bytes are pinned by golden tests: they never change.

use jiff::Timestamp;

use crate::ids::Id;

use super::table::Seq;

/// A value that can be (a part of) a key.
///
/// Implementations keep the order (`a < b` exactly if the bytes of `a` come before those of `b`), and no encoding of the
/// type begins another one.
pub trait Key: Sized + Send + 'static {
    /// Appends the bytes of this key.
    fn encode(&self, to: &mut Vec<u8>);

    /// Takes one key from the front of `from`; `None` if the bytes are no key of this type.
    fn decode(from: &mut &[u8]) -> Option<Self>;

    /// The bytes of this key alone: what an opaque cursor is made of.
    fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        self.encode(&mut bytes);
        bytes
    }

    /// Reads back [`Key::to_bytes`]; `None` if the bytes are no key of this type, or more than one.
    fn from_bytes(mut bytes: &[u8]) -> Option<Self> {
        let key = Self::decode(&mut bytes)?;
        bytes.is_empty().then_some(key)
    }
}

/// The first parts of `K`, or all of it: what a scan of a table with key `K` can begin or end at.
///
/// `()` is the empty prefix; for `(A, B, C)` the prefixes are `A`, `(A, B)` and the whole key.
pub trait KeyPrefix<K> {
    /// Appends the bytes of this prefix.
    fn encode_prefix(&self, to: &mut Vec<u8>);
}

impl<K: Key> KeyPrefix<K> for () {
    fn encode_prefix(&self, _: &mut Vec<u8>) {}
}

impl<K: Key> KeyPrefix<K> for K {
    fn encode_prefix(&self, to: &mut Vec<u8>) {
        self.encode(to);
    }
}

fn take<const N: usize>(from: &mut &[u8]) -> Option<[u8; N]> {
    let (head, tail) = from.split_first_chunk::<N>()?;
    *from = tail;
    Some(*head)
}

macro_rules! unsigned_keys {
    ($($int:ty),*) => {$(
        impl Key for $int {
            fn encode(&self, to: &mut Vec<u8>) { to.extend_from_slice(&self.to_be_bytes()); }
            fn decode(from: &mut &[u8]) -> Option<Self> { take(from).map(Self::from_be_bytes) }
        }
    )*};
}
unsigned_keys!(u8, u16, u32, u64, u128);

/// Signed numbers have their sign bit flipped, so that negative ones sort first.
macro_rules! signed_keys {
    ($($int:ty as $bits:ty),*) => {$(
        impl Key for $int {
            fn encode(&self, to: &mut Vec<u8>) { (self.cast_unsigned() ^ (1 << (<$bits>::BITS - 1))).encode(to); }
            fn decode(from: &mut &[u8]) -> Option<Self> {
                <$bits>::decode(from).map(|bits| (bits ^ (1 << (<$bits>::BITS - 1))).cast_signed())
            }
        }
    )*};
}
signed_keys!(i32 as u32, i64 as u64);

impl<T: Id> Key for T {
    fn encode(&self, to: &mut Vec<u8>) {
        self.to_bits().encode(to);
    }
    fn decode(from: &mut &[u8]) -> Option<Self> {
        u128::decode(from).map(Self::from_bits)
    }
}

impl Key for Seq {
    fn encode(&self, to: &mut Vec<u8>) {
        self.get().encode(to);
    }
    fn decode(from: &mut &[u8]) -> Option<Self> {
        u64::decode(from).map(Self::new)
    }
}

impl Key for bool {
    fn encode(&self, to: &mut Vec<u8>) {
        to.push(u8::from(*self));
    }
    fn decode(from: &mut &[u8]) -> Option<Self> {
        match u8::decode(from)? {
            0 => Some(false),
            1 => Some(true),
            _ => None,
        }
    }
}

/// Whole milliseconds since the epoch.
impl Key for Timestamp {
    fn encode(&self, to: &mut Vec<u8>) {
        self.as_millisecond().encode(to);
    }
    fn decode(from: &mut &[u8]) -> Option<Self> {
        Self::from_millisecond(i64::decode(from)?).ok()
    }
}

/// Fixed-size bytes stand as they are: digests, mostly.
impl<const N: usize> Key for [u8; N] {
    fn encode(&self, to: &mut Vec<u8>) {
        to.extend_from_slice(self);
    }
    fn decode(from: &mut &[u8]) -> Option<Self> {
        take(from)
    }
}

/// `00` is written as `00 FF`, and `00 00` ends the text: a shorter text sorts before its continuations.
impl Key for String {
    fn encode(&self, to: &mut Vec<u8>) {
        for &byte in self.as_bytes() {
            to.push(byte);
            if byte == 0 {
                to.push(0xFF);
            }
        }
        to.extend_from_slice(&[0, 0]);
    }
    fn decode(from: &mut &[u8]) -> Option<Self> {
        let mut bytes = Vec::new();
        loop {
            let (&byte, tail) = from.split_first()?;
            *from = tail;
            if byte == 0 {
                match u8::decode(from)? {
                    0 => return Self::from_utf8(bytes).ok(),
                    0xFF => {}
                    _ => return None,
                }
            }
            bytes.push(byte);
        }
    }
}

macro_rules! tuple_keys {
    ($(($($part:ident . $at:tt),+))*) => {$(
        impl<$($part: Key),+> Key for ($($part,)+) {
            fn encode(&self, to: &mut Vec<u8>) { $(self.$at.encode(to);)+ }
            fn decode(from: &mut &[u8]) -> Option<Self> { Some(($($part::decode(from)?,)+)) }
        }
    )*};
}
tuple_keys! { (A.0, B.1) (A.0, B.1, C.2) (A.0, B.1, C.2, D.3) }

macro_rules! tuple_prefixes {
    ($($prefix:ty => $whole:ty, <$($part:ident),+>;)*) => {$(
        impl<$($part: Key),+> KeyPrefix<$whole> for $prefix {
            fn encode_prefix(&self, to: &mut Vec<u8>) { self.encode(to); }
        }
    )*};
}
tuple_prefixes! {
    A => (A, B), <A, B>;
    A => (A, B, C), <A, B, C>;
    (A, B) => (A, B, C), <A, B, C>;
    A => (A, B, C, D), <A, B, C, D>;
    (A, B) => (A, B, C, D), <A, B, C, D>;
    (A, B, C) => (A, B, C, D), <A, B, C, D>;
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::ids::{MemberId, OrderId};

    fn check<K: Key + PartialOrd + PartialEq + std::fmt::Debug>(a: &K, b: &K) -> Result<(), TestCaseError> {
        let (left, right) = (a.to_bytes(), b.to_bytes());
        prop_assert_eq!(a.partial_cmp(b), Some(left.cmp(&right)));
        let read = K::from_bytes(&left);
        prop_assert_eq!(read.as_ref(), Some(a));
        if a != b {
            prop_assert!(!right.starts_with(&left), "no key begins another one");
        }
        Ok(())
    }

    /// Few distinct characters, so that texts share beginnings and hold zero bytes.
    fn text() -> impl Strategy<Value = String> {
        "[\u{0}\u{1}a\u{7f}é]{0,4}"
    }

    proptest! {
        /// Bytes sort as the values do, and read back to the same value.
        #[test]
        fn bytes_keep_the_order(
            numbers in any::<[(u64, i64, i32, bool); 2]>(),
            texts in (text(), text()),
            millis in (-1_000_000_000_000..10_000_000_000_000i64, -1_000_000_000_000..10_000_000_000_000i64),
            ids in any::<(u128, u128)>(),
        ) {
            let [a, b] = numbers;
            check(&a, &b)?;
            check(&a.1, &b.1)?;
            check(&texts.0, &texts.1)?;
            check(&(texts.0.clone(), a.1), &(texts.1.clone(), b.1))?;
            check(&(texts.0.clone(), texts.1.clone()), &(texts.1.clone(), texts.0.clone()))?;
            check(&MemberId::from_bits(ids.0), &MemberId::from_bits(ids.1))?;
            let [c, d] = [millis.0, millis.1].map(|millis| Timestamp::from_millisecond(millis).unwrap());
            check(&(c, Seq::new(a.0)), &(d, Seq::new(b.0)))?;
        }

        /// Any bytes either decode to a key that encodes to the same bytes, or do not decode; none panics.
        #[test]
        fn hostile_bytes_never_panic(bytes in prop::collection::vec(prop_oneof![Just(0u8), Just(0xFF), any::<u8>()], 0..24)) {
            if let Some(key) = <(String, bool, u16)>::from_bytes(&bytes) {
                prop_assert_eq!(key.to_bytes(), bytes);
            }
        }
    }

    #[test]
    fn golden_bytes() {
        let member = MemberId::from_bits(0x0123_4567_89ab_cdef_0123_4567_89ab_cdef);
        let cases: [(Vec<u8>, &str); 8] = [
            (7u16.to_bytes(), "0007"),
            ((-1i64).to_bytes(), "7fffffffffffffff"),
            (1i32.to_bytes(), "80000001"),
            (true.to_bytes(), "01"),
            ("a\0b".to_owned().to_bytes(), "6100ff620000"),
            (Timestamp::from_millisecond(1_700_000_000_000).unwrap().to_bytes(), "8000018bcfe56800"),
            ((member, 3u8).to_bytes(), "0123456789abcdef0123456789abcdef03"),
            ([1u8, 2, 3].to_bytes(), "010203"),
        ];
        for (bytes, hex) in cases {
            let found: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
            assert_eq!(found, hex);
        }
    }

    #[test]
    fn the_first_parts_of_a_key_are_its_prefix() {
        fn prefix<K: Key>(prefix: &impl KeyPrefix<K>) -> Vec<u8> {
            let mut bytes = Vec::new();
            prefix.encode_prefix(&mut bytes);
            bytes
        }
        type Wide = (MemberId, OrderId, u8, String);
        let (member, order) = (MemberId::from_bits(1), OrderId::from_bits(2));
        let whole = (member, order, 3u8, "x".to_owned()).to_bytes();
        assert!(whole.starts_with(&prefix::<Wide>(&member)));
        assert!(whole.starts_with(&prefix::<Wide>(&(member, order))));
        assert!(whole.starts_with(&prefix::<Wide>(&(member, order, 3u8))));
        assert_eq!(prefix::<Wide>(&()), Vec::<u8>::new());
    }
}
