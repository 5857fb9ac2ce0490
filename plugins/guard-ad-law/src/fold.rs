//! Text as it reads, whatever stands between and around its letters.

/// One letter or digit of a text, folded, and where it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Letter {
    pub(crate) folded: char,
    /// In bytes.
    pub(crate) start: usize,
    pub(crate) end: usize,
}

/// The letters and digits of a text in order: full-width forms as plain ones, capitals as small ones, and without what
/// lies between them: spaces, punctuation, symbols, marks, zero-width and invisible characters.
pub(crate) fn fold(text: &str) -> Vec<Letter> {
    let mut letters = Vec::with_capacity(text.len() / 3);
    for (start, letter) in text.char_indices() {
        let end = start + letter.len_utf8();
        let plain = plain(letter);
        if plain.is_ascii() {
            if plain.is_ascii_alphanumeric() {
                letters.push(Letter { folded: plain.to_ascii_lowercase(), start, end });
            }
        } else if plain.is_alphanumeric() && !is_blank(plain) {
            letters.extend(plain.to_lowercase().map(|folded| Letter { folded, start, end }));
        }
    }
    letters
}

/// A full-width form as the plain character.
fn plain(letter: char) -> char {
    match letter {
        '\u{FF01}'..='\u{FF5E}' => char::from_u32(u32::from(letter) - 0xFEE0).unwrap_or(letter),
        _ => letter,
    }
}

/// Letters that show nothing: the fillers of Hangul.
fn is_blank(letter: char) -> bool {
    matches!(letter, '\u{115F}' | '\u{1160}' | '\u{3164}' | '\u{FFA0}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_reads_is_left() {
        let check = |text: &str, expect: &str| {
            let folded: String = fold(text).iter().map(|letter| letter.folded).collect();
            assert_eq!(folded, expect, "{text:?}");
        };
        check("特 效", "特效");
        check("特\u{200B}\u{FEFF}效", "特效");
        check("特·效！", "特效");
        check("特\u{3164}效", "特效");
        check("特\u{20E3}\u{FE0F}效🙂", "特效");
        check("Ｃｕｒｅ Ｎｏ．１", "cureno1");
        check("É 100%", "é100");
    }

    #[test]
    fn letters_know_their_place() {
        let letters = fold("a，特");
        assert_eq!(letters.iter().map(|letter| (letter.start, letter.end)).collect::<Vec<_>>(), [(0, 1), (4, 7)]);
    }
}
