//! A row of the business and what came of it.

use serde_json::{Map, Value as Json, json};

/// The column in which figures begin.
const TITLE_WIDTH: usize = 30;

/// A row of the business, by its id.
pub(super) struct Row {
    pub(super) id: &'static str,
    title: &'static str,
    figures: Vec<Figure>,
    note: Option<String>,
}

struct Figure {
    name: String,
    server: i64,
    /// What the demo itself knows; nothing where the figure is only told.
    again: Option<i64>,
}

impl Row {
    pub(super) fn new(id: &'static str, title: &'static str) -> Self {
        Self { id, title, figures: Vec::new(), note: None }
    }

    /// A figure that nothing is held against.
    pub(super) fn told(mut self, name: impl Into<String>, figure: i64) -> Self {
        self.figures.push(Figure { name: name.into(), server: figure, again: None });
        self
    }

    /// A figure of the server's, and what it must be.
    pub(super) fn agrees(mut self, name: impl Into<String>, server: i64, again: i64) -> Self {
        self.figures.push(Figure { name: name.into(), server, again: Some(again) });
        self
    }

    /// Words that say more than a figure.
    pub(super) fn note(mut self, words: impl Into<String>) -> Self {
        self.note = Some(words.into());
        self
    }

    /// Every figure is what it must be, and there is one.
    pub(super) fn is_sound(&self) -> bool {
        let counted = || self.figures.iter().filter(|figure| figure.again.is_some());
        counted().next().is_some() && counted().all(Figure::agrees)
    }

    /// By letter, then by number.
    pub(super) fn place(&self) -> (char, u32) {
        let mut letters = self.id.chars();
        (letters.next().unwrap_or(' '), letters.as_str().parse().unwrap_or(0))
    }

    pub(super) fn print(&self) {
        let figures: Vec<String> = self.figures.iter().map(Figure::text).collect();
        let verdict = if self.is_sound() { "agrees" } else { "DIFFERS" };
        println!("  {:<6} {:<TITLE_WIDTH$} {}: {verdict}", self.id, self.title, figures.join(", "));
        if let Some(note) = &self.note {
            println!("         {:TITLE_WIDTH$} {note}", "");
        }
    }

    pub(super) fn json(&self) -> Json {
        let figures: Map<String, Json> =
            self.figures.iter().map(|figure| (figure.name.clone(), figure.json())).collect();
        json!({ "title": self.title, "agrees": self.is_sound(), "figures": figures, "note": self.note })
    }
}

impl Figure {
    fn agrees(&self) -> bool {
        self.again.is_none_or(|again| again == self.server)
    }

    fn text(&self) -> String {
        let Self { name, server, again } = self;
        match again {
            Some(again) if again != server => format!("{name} {server}, MUST BE {again}"),
            _ => format!("{name} {server}"),
        }
    }

    fn json(&self) -> Json {
        json!({ "server": self.server, "again": self.again })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_sound_if_something_was_counted_again_and_is_the_same() {
        let row = || Row::new("R12", "a row").told("seen", 3);
        for (row, sound) in [
            (row(), false),
            (row().agrees("one", 1, 1), true),
            (row().agrees("one", 1, 1).agrees("other", 2, 1), false),
        ] {
            assert_eq!((row.is_sound(), &row.json()["agrees"]), (sound, &Json::from(sound)));
        }
        assert!(row().place() > Row::new("R2", "before").place(), "by number, not by letter");
    }
}
