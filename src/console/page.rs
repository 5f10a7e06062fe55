//! The status page, and other answers of the server, put into a person's words. Pure.

use super::text::*;
use crate::setup::phrases::say;
use crate::setup::text::{Language, Text, WIDTH};

/// Where the values of the status page begin.
pub const COLUMN: usize = 13;

/// The page, of the rows that [`crate::control::Request::Status`] gives. `now` is in seconds
/// since 1970.
pub fn page(rows: &[Vec<String>], now: i64, language: Language) -> String {
    let mut page = Page {
        language,
        now,
        text: String::new(),
    };
    page.heading(rows);
    page.put(ADDRESSES, &values(rows, "address").join("  "));
    page.services(rows);
    page.put(ACCOUNTS, &values(rows, "accounts").join(" "));
    if let Some([users, servers]) = row(rows, "connections") {
        page.put(CONNECTIONS, &CONNECTED.with(language, &[users, servers]));
    }
    page.queue(rows);
    page.storage(rows);
    page.certificate(rows);
    page.reach(rows);
    page.checked(rows);
    page.collectors(rows);
    page.problems(rows);
    page.text
}

/// What went wrong last alone.
pub fn problems(rows: &[Vec<String>], now: i64, language: Language) -> String {
    let mut page = Page {
        language,
        now,
        text: String::new(),
    };
    page.problems(rows);
    page.text
}

struct Page {
    language: Language,
    now: i64,
    text: String,
}

impl Page {
    /// A label and its value, which goes on in the same column.
    fn put(&mut self, label: Text, value: &str) {
        self.line(label.of(self.language), value);
    }

    fn line(&mut self, label: &str, value: &str) {
        if value.is_empty() {
            return;
        }
        let mut label = label.to_string();
        for piece in pieces(value, WIDTH - COLUMN) {
            let line = format!("{label:<COLUMN$}{piece}");
            self.text.push_str(line.trim_end());
            self.text.push('\n');
            label.clear();
        }
    }

    fn heading(&mut self, rows: &[Vec<String>]) {
        let one = |name| values(rows, name).first().copied().unwrap_or("");
        let (version, host) = (one("version"), one("host"));
        let text = match one("running").parse::<i64>() {
            Ok(since) => {
                let span = span(self.now - since, self.language);
                RUNS.with(self.language, &[version, host, &span])
            }
            Err(_) => STOPPED.with(self.language, &[version, host]),
        };
        for piece in pieces(&text, WIDTH) {
            self.text.push_str(&piece);
            self.text.push('\n');
        }
    }

    fn services(&mut self, rows: &[Vec<String>]) {
        let mut label = SERVICES.of(self.language);
        for row in rows.iter().filter(|row| is(row, "service")) {
            if let [_, name, state, ports] = row.as_slice() {
                let state = if state == "on" { ON } else { OFF };
                let state = state.of(self.language);
                self.line(label, format!("{name:<11} {state:<5} {ports}").trim_end());
                label = "";
            }
        }
    }

    fn queue(&mut self, rows: &[Vec<String>]) {
        let Some([waiting, oldest, held]) = row(rows, "queue") else {
            return;
        };
        let text = match oldest.parse::<i64>() {
            Ok(oldest) => {
                let span = span(self.now - oldest, self.language);
                QUEUED.with(self.language, &[waiting, &span, held])
            }
            Err(_) => QUEUE_EMPTY.of(self.language).into(),
        };
        self.put(QUEUE, &text);
    }

    fn storage(&mut self, rows: &[Vec<String>]) {
        let number = |text: &str| text.parse::<u64>().unwrap_or(0);
        let Some([messages, bytes]) = row(rows, "mail") else {
            return;
        };
        let stored = size(number(bytes), self.language);
        self.put(MAIL, &STORED.with(self.language, &[messages, &stored]));
        let Some([free, all]) = row(rows, "disk") else {
            return;
        };
        let [left, whole] = [free, all].map(|it| size(number(it), self.language));
        let mut text = FREE.with(self.language, &[&left, &whole]);
        // Of the size of those that are here; packed as they are stored, it is more.
        let average = number(bytes).checked_div(number(messages)).unwrap_or(0);
        if let Some(room) = number(free).checked_div(average) {
            text += &ROOM.with(self.language, &[&rounded(room)]);
        }
        self.put(DISK, &text);
    }

    fn certificate(&mut self, rows: &[Vec<String>]) {
        let found = values(rows, "certificate");
        let text = match found.as_slice() {
            [] => return,
            [kind, until] => {
                let kind = match *kind {
                    "local" => LOCAL,
                    "acme" => ACME,
                    _ => FILES,
                };
                let kind = kind.of(self.language);
                let left = until.parse::<i64>().unwrap_or(0) - self.now;
                match left.div_euclid(24 * 3600) {
                    ..0 => EXPIRED.with(self.language, &[kind]),
                    days => DAYS_LEFT.with(self.language, &[kind, &days.to_string()]),
                }
            }
            _ => UNREADABLE.of(self.language).into(),
        };
        self.put(CERTIFICATE, &text);
    }

    fn reach(&mut self, rows: &[Vec<String>]) {
        let mut label = PROGRAMS.of(self.language);
        for row in rows.iter().filter(|row| is(row, "reach")) {
            if let [_, side, ways] = row.as_slice() {
                let side = if side == "external" { OUTSIDE } else { INSIDE };
                self.line(label, &side.with(self.language, &[ways]));
                label = "";
            }
        }
    }

    fn checked(&mut self, rows: &[Vec<String>]) {
        let text = match values(rows, "checked").as_slice() {
            [verdict, at] => {
                let verdict = match *verdict {
                    "sound" => SOUND,
                    "repaired" => REPAIRED,
                    "repairable" => REPAIRABLE,
                    "damaged" => DAMAGED,
                    _ => UNFINISHED,
                };
                let span = span(self.now - at.parse().unwrap_or(0), self.language);
                CHECKED_AGO.with(self.language, &[verdict.of(self.language), &span])
            }
            ["never"] => NEVER_CHECKED.of(self.language).into(),
            _ => return,
        };
        self.put(CHECKED, &text);
    }

    fn collectors(&mut self, rows: &[Vec<String>]) {
        let mut label = COLLECTORS.of(self.language);
        for row in rows.iter().filter(|row| is(row, "collector")) {
            if let [_, source, state] = row.as_slice() {
                let state = say(state, self.language);
                self.line(label, &format!("{source}: {state}"));
                label = "";
            }
        }
    }

    fn problems(&mut self, rows: &[Vec<String>]) {
        let mut label = PROBLEMS.of(self.language);
        for row in rows.iter().filter(|row| is(row, "problem")) {
            if let [_, at, _, times, text] = row.as_slice() {
                let at = moment(at.parse().unwrap_or(0));
                let times = match times.as_str() {
                    "1" => String::new(),
                    times => TIMES.with(self.language, &[times]),
                };
                let text = say(text, self.language);
                self.line(label, &format!("{at} {text}{times}"));
                label = "";
            }
        }
        if !label.is_empty() {
            self.put(PROBLEMS, NO_PROBLEMS.of(self.language));
        }
    }
}

fn is(row: &[String], name: &str) -> bool {
    row.first().is_some_and(|it| it == name)
}

/// The values of all rows of a name.
fn values<'a>(rows: &'a [Vec<String>], name: &str) -> Vec<&'a str> {
    let rows = rows.iter().filter(|row| is(row, name));
    rows.flat_map(|row| row.iter().skip(1).map(String::as_str))
        .collect()
}

/// The values of the one row of a name.
fn row<'a, const N: usize>(rows: &'a [Vec<String>], name: &str) -> Option<[&'a str; N]> {
    values(rows, name).try_into().ok()
}

/// Rows under a heading, as wide as they must be; a line that no terminal takes is broken.
pub fn table(heading: &[Text], rows: &[Vec<String>], language: Language) -> String {
    let heading = heading.iter().map(|it| it.of(language).to_string());
    let all: Vec<Vec<String>> = std::iter::once(heading.collect())
        .chain(
            rows.iter()
                .map(|row| row.iter().map(|it| clean(it)).collect()),
        )
        .collect();
    let width = |column: usize| {
        let cells = all.iter().filter_map(|row| row.get(column));
        cells.map(|it| it.chars().count()).max().unwrap_or(0)
    };
    let mut text = String::new();
    for row in &all {
        let cells = row.iter().enumerate();
        let line: String = cells
            .map(|(n, cell)| format!("{cell:<width$}  ", width = width(n)))
            .collect();
        for piece in pieces(line.trim_end(), WIDTH) {
            text.push_str(&piece);
            text.push('\n');
        }
    }
    text
}

/// Text that others have a hand in, for a terminal: no control character, no line too wide.
pub fn printable(text: &str) -> String {
    let mut out = String::new();
    for line in text.lines() {
        for piece in pieces(&clean(line), WIDTH) {
            out.push_str(&piece);
            out.push('\n');
        }
    }
    out
}

/// What a terminal would obey becomes a mark; so do the characters that turn the direction of
/// a line around.
fn clean(text: &str) -> String {
    let obeyed = |c: char| {
        c.is_control()
            || matches!(c, '\u{200e}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    text.chars()
        .map(|c| if obeyed(c) { '?' } else { c })
        .collect()
}

/// Pieces of at most `width` characters, broken at spaces where there are any.
fn pieces(text: &str, width: usize) -> Vec<String> {
    let text = clean(text);
    let mut pieces = Vec::new();
    let mut rest: Vec<char> = text.chars().collect();
    while rest.len() > width {
        let space = rest.iter().take(width + 1).rposition(|c| *c == ' ');
        // A space early in the line helps nobody.
        let at = space.filter(|at| *at > width / 3).unwrap_or(width);
        let after: Vec<char> = rest.split_off(at);
        pieces.push(rest.iter().collect::<String>().trim_end().to_string());
        rest = after.into_iter().skip_while(|c| *c == ' ').collect();
    }
    if !rest.is_empty() || pieces.is_empty() {
        pieces.push(rest.iter().collect());
    }
    pieces
}

/// Seconds in words, rounded down.
pub fn span(seconds: i64, language: Language) -> String {
    const MINUTE: i64 = 60;
    const HOUR: i64 = 60 * MINUTE;
    const DAY: i64 = 24 * HOUR;
    let put = |text: Text, words: &[i64]| {
        let words: Vec<String> = words.iter().map(i64::to_string).collect();
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        text.with(language, &words)
    };
    match seconds.max(0) {
        it @ ..MINUTE => put(SECONDS, &[it]),
        it @ MINUTE..HOUR => put(MINUTES, &[it / MINUTE]),
        it @ HOUR..DAY => put(HOURS, &[it / HOUR, it % HOUR / MINUTE]),
        it => put(DAYS, &[it / DAY, it % DAY / HOUR]),
    }
}

/// Bytes as a person reads them.
pub fn size(bytes: u64, language: Language) -> String {
    let (unit, text) = match bytes {
        0..1_000 => return BYTES.with(language, &[&bytes.to_string()]),
        1_000..1_000_000 => (1_000, KILOBYTES),
        1_000_000..1_000_000_000 => (1_000_000, MEGABYTES),
        _ => (1_000_000_000, GIGABYTES),
    };
    let number = format!("{}.{}", bytes / unit, bytes % unit / (unit / 10));
    text.with(language, &[&number])
}

/// The first two digits: more would pretend to know.
fn rounded(number: u64) -> String {
    let mut unit = 1;
    while number / unit >= 100 {
        unit *= 10;
    }
    (number / unit * unit).to_string()
}

/// In UTC, to the minute.
fn moment(unix: i64) -> String {
    let moment = jiff::Timestamp::from_second(unix).unwrap_or_default();
    moment.strftime("%Y-%m-%d %H:%MZ").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(text: &str) -> Vec<Vec<String>> {
        let words = |line: &str| line.split('|').map(str::to_string).collect();
        text.lines().map(words).collect()
    }

    const FULL: &str = "version|0.1.0\nrunning|1000\nhost|mail.example.org\n\
        address|192.0.2.7\naddress|2001:db8::7\nservice|imap|on|143 993\nservice|pop3|off|\n\
        accounts|3\nmail|200|8200000\nqueue|2|100000|1\nconnections|12|1\n\
        disk|12100000000|28000000000\ncertificate|local|8640000\n\
        collector|imap.provider.test|well\n\
        problem|172800|warning|3|a very long line of the log that goes on and on until it does \
        not fit on the terminal\x1b[2J any more";

    #[test]
    fn the_page_is_whole_in_both_languages_and_fits() {
        let now = 200_000;
        let english = page(&rows(FULL), now, Language::English);
        let russian = page(&rows(FULL), now, Language::Russian);
        for text in [&english, &russian] {
            assert!(text.lines().all(|it| it.chars().count() <= WIDTH), "{text}");
            assert!(text.lines().count() <= 22, "{text}");
            assert!(!text.contains('\x1b'));
            for known in [
                "mail.example.org",
                "2001:db8::7",
                "143 993",
                "imap.provider.test",
            ] {
                assert!(text.contains(known), "{known} {text}");
            }
        }
        for said in [
            "running for 2 d 7 h",
            "imap        on    143 993",
            "2 waiting, the oldest for 1 d 3 h; 1 held",
            "12.1 GB free of 28.0 GB: room for about 290000 messages more",
            "97 days left",
            "1970-01-03 00:00Z a very long line",
            "(3 times)",
        ] {
            assert!(english.contains(said), "{said}\n{english}");
        }
        assert!(russian.contains("свободно 12.1 ГБ из 28.0 ГБ"), "{russian}");
    }

    #[test]
    fn what_is_not_known_is_not_there() {
        let text = page(
            &rows("version|1\nstopped\nhost|h\nqueue|0||0\ncertificate|broken"),
            0,
            Language::English,
        );
        assert!(text.starts_with("pillarbox 1 on h, STOPPED\n"));
        assert!(!text.contains("Connections") && !text.contains("Disk"));
        assert!(text.contains("nothing waits") && text.contains("can't be read"));
    }

    #[test]
    fn tables_fit_and_obey_nobody() {
        let rows = vec![
            vec!["1".into(), "\x1b]0;title\x07".into()],
            vec!["2".into(), "x".repeat(200)],
        ];
        let text = table(&[COLUMN_NUMBER, COLUMN_REPLY], &rows, Language::English);
        assert!(text.lines().all(|it| it.chars().count() <= WIDTH));
        assert!(!text.contains('\x1b') && text.contains("?]0;title?"));
        assert_eq!(printable("a\u{202e}b\r\nc"), "a?b\nc\n");
    }
}
