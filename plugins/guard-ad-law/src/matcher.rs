//! Finds many phrases in one pass (Aho–Corasick): the time grows with the text and the hits, not with the phrases.

use std::collections::VecDeque;

/// The phrases as a tree of their letters, with links from each beginning to the longest shorter one that ends alike.
pub(crate) struct Matcher {
    nodes: Vec<Node>,
}

#[derive(Default)]
struct Node {
    /// Ascending by letter.
    next: Vec<(char, usize)>,
    /// Where to go on when no letter fits.
    fail: usize,
    /// The phrase that ends here.
    phrase: Option<usize>,
    letters: usize,
    /// The nearest node along the links where a phrase ends; the root for none.
    shorter: usize,
}

/// A phrase that stands in a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Hit {
    /// Its number.
    pub(crate) phrase: usize,
    /// Places of letters: the first, and the one behind the last.
    pub(crate) start: usize,
    pub(crate) end: usize,
}

impl Matcher {
    /// Knows no phrase yet.
    pub(crate) fn new() -> Self {
        Self { nodes: vec![Node::default()] }
    }

    /// Adds a phrase; `number` is kept for one that is new, and given back for one that was there before.
    pub(crate) fn add(&mut self, phrase: impl Iterator<Item = char>, number: usize) -> usize {
        let mut at = 0;
        for letter in phrase {
            let letters = self.nodes[at].letters + 1;
            at = match self.nodes[at].next.binary_search_by_key(&letter, |(known, _)| *known) {
                Ok(place) => self.nodes[at].next[place].1,
                Err(place) => {
                    let new = self.nodes.len();
                    self.nodes[at].next.insert(place, (letter, new));
                    self.nodes.push(Node { letters, ..Node::default() });
                    new
                }
            };
        }
        *self.nodes[at].phrase.get_or_insert(number)
    }

    /// Links the tree, shorter beginnings first. Must follow the last [`Matcher::add`].
    pub(crate) fn link(mut self) -> Self {
        let mut waiting: VecDeque<usize> = self.nodes[0].next.iter().map(|(_, node)| *node).collect();
        while let Some(at) = waiting.pop_front() {
            let fail = self.nodes[at].fail;
            self.nodes[at].shorter = if self.nodes[fail].phrase.is_some() { fail } else { self.nodes[fail].shorter };
            for (letter, node) in self.nodes[at].next.clone() {
                self.nodes[node].fail = self.step(fail, letter);
                waiting.push_back(node);
            }
        }
        self
    }

    /// Every phrase of the text, by its end, the longest first.
    pub(crate) fn find(&self, text: impl Iterator<Item = char>, mut found: impl FnMut(Hit)) {
        let mut at = 0;
        for (place, letter) in text.enumerate() {
            at = self.step(at, letter);
            let mut ends = at;
            while ends != 0 {
                let node = &self.nodes[ends];
                if let Some(phrase) = node.phrase {
                    found(Hit { phrase, start: place + 1 - node.letters, end: place + 1 });
                }
                ends = node.shorter;
            }
        }
    }

    fn step(&self, mut at: usize, letter: char) -> usize {
        loop {
            let node = &self.nodes[at];
            match node.next.binary_search_by_key(&letter, |(known, _)| *known) {
                Ok(place) => return node.next[place].1,
                Err(_) if at == 0 => return 0,
                Err(_) => at = node.fail,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(phrases: &[&str], text: &str) {
        let mut matcher = Matcher::new();
        for (number, phrase) in phrases.iter().enumerate() {
            assert_eq!(matcher.add(phrase.chars(), number), number);
        }
        let mut found = Vec::new();
        matcher.link().find(text.chars(), |hit| found.push((hit.start, hit.end, hit.phrase)));
        found.sort_unstable();
        let letters: Vec<char> = text.chars().collect();
        let mut expect = Vec::new();
        for (number, phrase) in phrases.iter().enumerate() {
            let phrase: Vec<char> = phrase.chars().collect();
            let places = letters.windows(phrase.len()).enumerate().filter(|(_, window)| **window == *phrase);
            expect.extend(places.map(|(start, _)| (start, start + phrase.len(), number)));
        }
        expect.sort_unstable();
        assert_eq!(found, expect, "{phrases:?} in {text:?}");
    }

    #[test]
    fn it_finds_what_a_plain_search_finds() {
        check(&["he", "she", "his", "hers"], "ushers and his shears");
        check(&["a", "aa", "aaa", "aaaa"], "aaaaaaa");
        check(&["治愈", "愈", "根治愈合"], "根治愈合与治愈");
        check(&["abcd", "bc"], "abce");
        let phrases: Vec<String> = (0..64_u32)
            .map(|bits| (0..=bits % 6).map(|at| if bits >> at & 1 == 0 { 'a' } else { 'b' }).collect())
            .collect();
        let mut distinct: Vec<&str> = phrases.iter().map(String::as_str).collect();
        distinct.sort_unstable();
        distinct.dedup();
        for seed in 0..50_u32 {
            let text: String = (0..40_u32)
                .map(|at| if seed.wrapping_mul(2_654_435_761).wrapping_mul(at + 1) >> 13 & 1 == 0 { 'a' } else { 'b' })
                .collect();
            check(&distinct, &text);
        }
    }
}
