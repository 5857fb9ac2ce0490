//! Codes that bring a coupon: 65 bits that cannot be guessed and a check sign, in letters that are not mistaken for
//! others.

use std::{fmt, str::FromStr};

/// Digits and capital letters without 0, 1, I and O.
const ALPHABET: &[u8; 32] = b"23456789ABCDEFGHJKLMNPQRSTUVWXYZ";
/// Signs that carry the code, of five bits each.
pub const SIGNS: usize = 13;
/// Where hyphens stand.
const GROUP: usize = 5;

/// A code: the numbers of its signs, without the check sign.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Code([u8; SIGNS]);

/// A text that is no code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadCode {
    /// Too long, too short, or with a sign that no code has.
    #[error("a code has 14 letters and digits, without 0, 1, I and O")]
    Form,
    /// The check sign does not fit: it was mistyped.
    #[error("the code was mistyped: its signs do not fit each other")]
    Mistyped,
}

impl Code {
    /// The code of some random bytes: five bits of each.
    pub fn of(random: &[u8; SIGNS]) -> Self {
        Self(random.map(|byte| byte % 32))
    }

    /// As a key in the store.
    pub const fn bytes(self) -> [u8; SIGNS] {
        self.0
    }

    /// The sign that makes the whole fit: as of a polynomial over 32 numbers, so that one wrong sign or two that changed
    /// places are always found.
    fn check(self) -> u8 {
        times_alpha(self.0.iter().fold(0, |sum, sign| times_alpha(sum) ^ sign))
    }
}

/// In the field of 32 numbers, of x⁵ + x² + 1.
const fn times_alpha(number: u8) -> u8 {
    let doubled = number << 1;
    if doubled & 32 == 0 { doubled } else { doubled ^ 0b10_0101 }
}

impl fmt::Display for Code {
    /// In groups: `7K2MQ-XW4RT-9ABC`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, sign) in self.0.iter().chain([&self.check()]).enumerate() {
            if at > 0 && at % GROUP == 0 {
                f.write_str("-")?;
            }
            write!(f, "{}", char::from(ALPHABET[usize::from(*sign % 32)]))?;
        }
        Ok(())
    }
}

impl fmt::Debug for Code {
    /// A code is worth money: it is in no log.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Code(…)")
    }
}

impl FromStr for Code {
    type Err = BadCode;

    /// As people type it: in small letters, with spaces or hyphens anywhere.
    fn from_str(text: &str) -> Result<Self, BadCode> {
        let mut signs = [0; SIGNS + 1];
        let mut count = 0;
        for byte in text.bytes().filter(|byte| !matches!(byte, b'-' | b' ')) {
            let sign = ALPHABET.iter().position(|known| *known == byte.to_ascii_uppercase());
            let sign = sign.and_then(|sign| u8::try_from(sign).ok()).ok_or(BadCode::Form)?;
            *signs.get_mut(count).ok_or(BadCode::Form)? = sign;
            count += 1;
        }
        let (Some((check, rest)), true) = (signs.split_last(), count == SIGNS + 1) else { return Err(BadCode::Form) };
        let code = Self(*rest.first_chunk().ok_or(BadCode::Form)?);
        if code.check() == *check { Ok(code) } else { Err(BadCode::Mistyped) }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Every code reads back; one sign wrong, or two neighbours changed, is told.
        #[test]
        fn typos_are_told(random in any::<[u8; SIGNS]>(), at in 0..SIGNS + 1, other in 1..32_usize) {
            let code = Code::of(&random);
            let shown = code.to_string();
            prop_assert_eq!(shown.len(), 16);
            prop_assert_eq!(shown.to_lowercase().replace('-', " ").parse(), Ok(code));
            let plain: Vec<u8> = shown.bytes().filter(|byte| *byte != b'-').collect();
            let mut wrong = plain.clone();
            let sign = ALPHABET.iter().position(|known| *known == wrong[at]).expect("a sign");
            wrong[at] = ALPHABET[(sign + other) % 32];
            let wrong = String::from_utf8(wrong).expect("text");
            prop_assert_eq!(wrong.parse::<Code>(), Err(BadCode::Mistyped));
            let mut swapped = plain.clone();
            swapped.swap(at, (at + 1).min(SIGNS));
            if swapped != plain {
                let swapped = String::from_utf8(swapped).expect("text");
                prop_assert_eq!(swapped.parse::<Code>(), Err(BadCode::Mistyped));
            }
        }
    }

    #[test]
    fn what_is_no_code() {
        for bad in ["", "7K2MQ", "0K2MQ-XW4RT-9ABC", "7K2MQ-XW4RT-9ABCDE", "七K2MQ-XW4RT-9ABC"] {
            assert_eq!(bad.parse::<Code>(), Err(BadCode::Form), "{bad}");
        }
    }
}
