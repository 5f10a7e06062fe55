//! What is said at the end: the records to copy into DNS, and what people enter in their mail
//! programs.

use super::text::{Language, wrap};
use super::words::*;
use crate::settings::connections::Connection;

/// What there is to tell.
pub struct Ending {
    pub domain: String,
    pub account: String,
    /// Records as a zone file has them.
    pub records: Vec<String>,
    pub programs: Vec<Connection>,
    /// The authority's certificate, where devices must be told to trust it.
    pub authority: Option<String>,
    /// Whether a server runs by these answers now.
    pub runs: bool,
}

/// Widest piece of a record's text, so that its line fits.
const PIECE: usize = 70;

pub fn say(ending: &Ending, language: Language) -> String {
    let mut out = format!("\n{}\n", DONE.of(language));
    let mut paragraph = |text: String| {
        out.push_str(&wrap(&text));
        out.push('\n');
    };
    paragraph(format!("\n{}\n", RECORDS.with(language, &[&ending.domain])));
    for record in &ending.records {
        paragraph(fold(record));
    }
    paragraph(format!("\n{}\n", PROGRAMS.of(language)));
    paragraph(format!("  {}", USER.with(language, &[&ending.account])));
    for it in &ending.programs {
        let (service, encryption) = (it.service, it.encryption.to_string());
        let encryption = encryption.to_uppercase();
        paragraph(format!(
            "  {service:<10}  {}  {}  {encryption}",
            it.host, it.port
        ));
    }
    if let Some(path) = &ending.authority {
        paragraph(format!("\n{}", OWN_AUTHORITY.with(language, &[path])));
    }
    paragraph(String::new());
    if !ending.runs {
        paragraph(NOT_RUNNING.of(language).into());
    }
    paragraph(NEXT.of(language).into());
    out
}

/// A record that is too wide for a line goes over several, in parentheses (RFC 1035, 5.1);
/// its strings are cut, which changes nothing of what they say together.
fn fold(record: &str) -> String {
    if record.chars().count() <= PIECE {
        return record.into();
    }
    let (head, strings) = match record.split_once(" \"") {
        Some((head, strings)) => (head, strings),
        None => match record.rsplit_once(' ') {
            Some((head, last)) => return format!("{head} (\n  {last} )"),
            None => return record.into(),
        },
    };
    let text: String = strings.trim_end_matches('"').replace("\" \"", "");
    let chars: Vec<char> = text.chars().collect();
    let pieces: Vec<String> = chars
        .chunks(PIECE)
        .map(|it| format!("  \"{}\"", it.iter().collect::<String>()))
        .collect();
    format!("{head} (\n{} )", pieces.join("\n"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::Settings;
    use crate::settings::connections::connections;
    use crate::setup::text::WIDTH;

    #[test]
    fn a_wide_record_is_folded_and_says_the_same() {
        let text = "k".repeat(300);
        let record = format!(
            "r1._domainkey.b.test. 3600 IN TXT \"{}\" \"{}\"",
            &text[..255],
            &text[255..]
        );
        let folded = fold(&record);
        assert!(
            folded.lines().all(|it| it.chars().count() <= WIDTH),
            "{folded}"
        );
        assert!(folded.starts_with("r1._domainkey.b.test. 3600 IN TXT (\n  \"kkk"));
        assert!(folded.ends_with("\" )"));
        let strings: String = folded.split('"').skip(1).step_by(2).collect();
        assert_eq!(strings, text);
        let mx = "b.test. 3600 IN MX 10 mail.b.test.";
        assert_eq!(fold(mx), mx);
        let long = format!("b.test. 3600 IN MX 10 {}.test.", "m".repeat(60));
        assert_eq!(
            fold(&long),
            format!("b.test. 3600 IN MX 10 (\n  {}.test. )", "m".repeat(60))
        );
    }

    #[test]
    fn the_end_fits_and_names_what_is_served() {
        let settings = Settings {
            hostname: "mail.example.org".into(),
            ..Settings::default()
        };
        let ending = Ending {
            domain: "example.org".into(),
            account: "anna@example.org".into(),
            records: vec!["example.org. 3600 IN MX 10 mail.example.org.".into()],
            programs: connections(&settings),
            authority: Some("/var/lib/pillarbox/ca.pem".into()),
            runs: false,
        };
        for language in Language::ALL {
            let text = say(&ending, language);
            assert!(text.lines().all(|it| it.chars().count() <= WIDTH), "{text}");
            for expected in [
                "  imap        mail.example.org  993  TLS\n",
                "MX 10",
                "ca.pem",
                "anna@",
            ] {
                assert!(text.contains(expected), "{text}");
            }
        }
    }
}
