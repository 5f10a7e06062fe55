//! What is said to people, in every language: one form for the wizard and the console. Pure.

/// Widest line of what is said, columns: a terminal of 80 breaks none of them.
pub const WIDTH: usize = 79;

/// What people are spoken to in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Language {
    #[default]
    English,
    Russian,
}

impl Language {
    pub const ALL: [Language; 2] = [Language::English, Language::Russian];

    /// Of ISO 639-1.
    pub fn code(self) -> &'static str {
        match self {
            Language::English => "en",
            Language::Russian => "ru",
        }
    }

    pub fn parse(code: &str) -> Option<Language> {
        Language::ALL.into_iter().find(|it| it.code() == code)
    }
}

/// One text in every language; `{}` stands where something is put in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Text {
    pub english: &'static str,
    pub russian: &'static str,
}

impl Text {
    pub fn of(self, language: Language) -> &'static str {
        match language {
            Language::English => self.english,
            Language::Russian => self.russian,
        }
    }

    /// With `words` in place of each `{}` in turn.
    pub fn with(self, language: Language, words: &[&str]) -> String {
        let mut words = words.iter();
        let mut pieces = self.of(language).split("{}");
        let mut text = pieces.next().unwrap_or_default().to_string();
        for piece in pieces {
            text.push_str(words.next().unwrap_or(&""));
            text.push_str(piece);
        }
        text
    }
}

/// Lines that are wider than [`WIDTH`] are broken at spaces, and go on as far in as they
/// began. A word that is wider stays whole: it may be one to copy.
pub fn wrap(text: &str) -> String {
    let mut out = String::new();
    for (n, line) in text.split('\n').enumerate() {
        if n > 0 {
            out.push('\n');
        }
        if line.chars().count() <= WIDTH {
            out.push_str(line);
            continue;
        }
        let body = line.trim_start_matches(' ');
        let indent = line.len() - body.len();
        let mut column = 0;
        for word in body.split(' ') {
            let width = word.chars().count();
            if column > 0 && column + 1 + width > WIDTH {
                out.push('\n');
                column = 0;
            }
            match column {
                0 => {
                    out.extend(std::iter::repeat_n(' ', indent));
                    column = indent + width;
                }
                _ => {
                    out.push(' ');
                    column += 1 + width;
                }
            }
            out.push_str(word);
        }
    }
    out
}

/// A table of texts: `NAME: "English", "Russian";` makes the constant `NAME`, and `ALL` for
/// the test that none is missing ([`prove`]).
macro_rules! texts {
    ($($name:ident: $english:expr, $russian:expr;)+) => {
        $(pub const $name: $crate::setup::text::Text = $crate::setup::text::Text {
            english: $english,
            russian: $russian,
        };)+

        #[cfg(test)]
        pub const ALL: &[(&str, $crate::setup::text::Text)] = &[$((stringify!($name), $name)),+];
    };
}
pub(crate) use texts;

/// Panics unless every text is there in every language, with as many places to fill in, and
/// no line too wide.
#[cfg(test)]
pub fn prove(all: &[(&str, Text)]) {
    for (name, text) in all {
        let [english, russian] = Language::ALL.map(|it| text.of(it));
        assert!(!english.is_empty() && !russian.is_empty(), "{name}");
        assert!(english.is_ascii(), "{name}: {english}");
        let cyrillic = |c: char| ('\u{400}'..'\u{500}').contains(&c);
        assert!(russian.chars().any(cyrillic), "{name}: {russian}");
        let count = |text: &str| text.matches("{}").count();
        assert_eq!(count(english), count(russian), "{name}");
        for line in wrap(english).lines().chain(wrap(russian).lines()) {
            assert!(line.chars().count() <= WIDTH, "{name}: {line}");
        }
        // A text that has breaks of its own is not broken anew.
        let fixed = |text: &str| text.contains('\n') && wrap(text) != text;
        assert!(!fixed(english) && !fixed(russian), "{name}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_stand_where_they_belong() {
        let text = Text {
            english: "{} of {}",
            russian: "{} из {}",
        };
        assert_eq!(text.with(Language::English, &["1", "2"]), "1 of 2");
        assert_eq!(text.with(Language::Russian, &["1"]), "1 из ");
    }

    #[test]
    fn long_lines_are_broken_and_nothing_is_lost() {
        let long = format!("  {}end\nshort", "word ".repeat(40));
        let wrapped = wrap(&long);
        assert!(wrapped.lines().count() > 3);
        assert!(wrapped.lines().all(|it| it.chars().count() <= WIDTH));
        assert!(wrapped.lines().next().unwrap().starts_with("  word"));
        assert!(wrapped.lines().nth(1).unwrap().starts_with("  word"));
        let words =
            |text: &str| -> Vec<String> { text.split_whitespace().map(str::to_string).collect() };
        assert_eq!(words(&wrapped), words(&long));
        let cyrillic = "слово ".repeat(30);
        assert!(
            wrap(&cyrillic)
                .lines()
                .all(|it| it.chars().count() <= WIDTH)
        );
        let whole = "x".repeat(200);
        assert_eq!(wrap(&whole), whole);
    }
}
