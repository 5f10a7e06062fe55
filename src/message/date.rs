//! The Date field (RFC 5322, 3.3 and 4.3), read leniently.

use super::lexer::{Broken, Cursor};

/// A moment as a Date field gives it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sent {
    /// Seconds since 1970-01-01T00:00:00Z.
    pub unix: i64,
    /// Days since 1970-01-01 of the date as written, whatever its zone: SENTON and its like
    /// disregard time and zone (RFC 3501, 6.4.4).
    pub day: i32,
}

const MONTHS: [&[u8; 3]; 12] = [
    b"jan", b"feb", b"mar", b"apr", b"may", b"jun", b"jul", b"aug", b"sep", b"oct", b"nov", b"dec",
];

/// `[weekday ","] day month year hour ":" minute [":" second] [zone]`, comments and folds
/// anywhere. Two and three digit years as RFC 5322, 4.3 says; an unknown zone is UTC.
pub fn parse(value: &[u8]) -> Option<Sent> {
    let mut reader = Reader {
        cursor: Cursor::new(value),
    };
    reader.date().ok()
}

struct Reader<'a> {
    cursor: Cursor<'a>,
}

impl Reader<'_> {
    fn date(&mut self) -> Result<Sent, Broken> {
        self.cursor.cfws()?;
        let mut word = self.word()?;
        if word.first().is_some_and(|b| b.is_ascii_alphabetic()) {
            self.separator(b",");
            word = self.word()?;
        }
        let mut parts = date_parts(&word);
        while parts.len() < 3 {
            parts.push(self.word()?);
        }
        let [day, month, year] = <[Vec<u8>; 3]>::try_from(parts).map_err(|_| Broken)?;
        let days = days_since_1970(full_year(&year)?, month_number(&month)?, number(&day, 2)?)?;
        let seconds = self.time_of_day()?;
        let offset = self.zone();
        Ok(Sent {
            unix: i64::from(days) * 86_400 + seconds - offset,
            day: days,
        })
    }

    /// The next atom, lower case; the white space and comments behind it are skipped.
    fn word(&mut self) -> Result<Vec<u8>, Broken> {
        let mut word = Vec::new();
        self.cursor.atom(&mut word)?;
        word.make_ascii_lowercase();
        Ok(word)
    }

    fn separator(&mut self, any_of: &[u8]) -> bool {
        let found = self.cursor.peek().is_some_and(|b| any_of.contains(&b));
        if found {
            self.cursor.bump();
            let _ = self.cursor.cfws();
        }
        found
    }

    /// Seconds since midnight; a date without a time is midnight, without seconds :00.
    fn time_of_day(&mut self) -> Result<i64, Broken> {
        if self.cursor.at_end() {
            return Ok(0);
        }
        let hour = number(&self.word()?, 2)?;
        if !self.separator(b":.") {
            return Err(Broken);
        }
        let minute = number(&self.word()?, 2)?;
        let second = match self.separator(b":.") {
            true => number(&self.word()?, 2)?,
            false => 0,
        };
        // 60 is a leap second; 24:00 is seen for midnight.
        if hour > 24 || minute > 59 || second > 60 {
            return Err(Broken);
        }
        Ok(i64::from(hour * 3600 + minute * 60 + second))
    }

    /// Offset from UTC, seconds.
    fn zone(&mut self) -> i64 {
        let zone = self.word().unwrap_or_default();
        match zone.as_slice() {
            [sign @ (b'+' | b'-'), digits @ ..] if digits.len() == 4 => {
                let Ok(number) = number(digits, 4) else {
                    return 0;
                };
                let seconds = i64::from(number / 100 * 3600 + number % 100 * 60);
                if *sign == b'-' { -seconds } else { seconds }
            }
            b"edt" => -4 * 3600,
            b"est" | b"cdt" => -5 * 3600,
            b"cst" | b"mdt" => -6 * 3600,
            b"mst" | b"pdt" => -7 * 3600,
            b"pst" => -8 * 3600,
            b"cet" | b"met" => 3600,
            b"cest" | b"mest" => 2 * 3600,
            // Military letters were given wrong in RFC 822: they say nothing (RFC 5322, 4.3).
            _ => 0,
        }
    }
}

/// `4-Jul-2026`, as some write it, in its parts.
fn date_parts(word: &[u8]) -> Vec<Vec<u8>> {
    word.splitn(3, |b| *b == b'-').map(<[u8]>::to_vec).collect()
}

fn number(digits: &[u8], longest: usize) -> Result<u32, Broken> {
    if digits.is_empty() || digits.len() > longest || !digits.iter().all(u8::is_ascii_digit) {
        return Err(Broken);
    }
    Ok(digits
        .iter()
        .fold(0, |n, digit| n * 10 + u32::from(digit - b'0')))
}

fn month_number(word: &[u8]) -> Result<u32, Broken> {
    let start = word.get(..3).ok_or(Broken)?;
    (1..)
        .zip(MONTHS)
        .find(|(_, name)| *name == start)
        .map(|(n, _)| n)
        .ok_or(Broken)
}

fn full_year(digits: &[u8]) -> Result<u32, Broken> {
    let year = number(digits, 4)?;
    match digits.len() {
        4 if year >= 1900 => Ok(year),
        3 => Ok(year + 1900),
        2 if year < 50 => Ok(year + 2000),
        2 => Ok(year + 1900),
        _ => Err(Broken),
    }
}

/// Proleptic Gregorian, months from March so that the leap day comes last.
pub(crate) fn days_since_1970(year: u32, month: u32, day: u32) -> Result<i32, Broken> {
    if !(1..=31).contains(&day) {
        return Err(Broken);
    }
    let (year, month) = match month {
        1 | 2 => (year - 1, month + 9),
        _ => (year, month - 3),
    };
    let days = year * 365 + year / 4 - year / 100 + year / 400 + (month * 153 + 2) / 5 + day;
    i32::try_from(days)
        .map(|days| days - 719_469)
        .map_err(|_| Broken)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unix(text: &str) -> Option<i64> {
        parse(text.as_bytes()).map(|sent| sent.unix)
    }

    #[test]
    fn the_usual_form() {
        let sent = parse(b"Fri, 21 Nov 1997 09:55:06 -0600");
        assert_eq!(
            sent,
            Some(Sent {
                unix: 880_127_706,
                day: 10_186
            })
        );
        assert_eq!(unix("Thu, 1 Jan 1970 00:00:00 +0000"), Some(0));
        assert_eq!(unix("29 Feb 2024 12:00:00 +0000"), Some(1_709_208_000));
        assert_eq!(unix("1 Mar 1900 00:00:00 +0000"), Some(-2_203_891_200));
    }

    #[test]
    fn obsolete_and_sloppy_forms() {
        assert_eq!(
            unix("21 Nov 97 09(comment):  55  :  06 CST"),
            Some(880_127_706)
        );
        assert_eq!(
            unix("Fri,\r\n 21 Nov 097 09:55 -0600 (x)"),
            Some(880_127_700)
        );
        assert_eq!(unix("Fri 21-Nov-1997 09.55.06 -0600"), Some(880_127_706));
        assert_eq!(unix("21 November 1997 15:55:06"), Some(880_127_706));
        assert_eq!(unix("21 Nov 1997 15:55:06 Z"), Some(880_127_706));
        assert_eq!(unix("21 Nov 26 00:00 GMT"), Some(1_795_219_200));
        assert_eq!(unix("21 Nov 1997"), Some(880_070_400));
    }

    #[test]
    fn the_day_is_as_written() {
        let day = |text: &str| parse(text.as_bytes()).map(|sent| sent.day);
        assert_eq!(day("2 Jan 1970 23:30:00 -0500"), Some(1));
        assert_eq!(day("2 Jan 1970 00:30:00 +0500"), Some(1));
    }

    #[test]
    fn what_is_no_date() {
        for text in [
            "",
            "yesterday",
            "32 Jan 2020 0:00",
            "0 Jan 2020 0:00",
            "1 Foo 2020 0:00",
            "1 Jan 1800 0:00",
            "1 Jan 2020 25:00",
            "1 Jan 2020 10",
            "1 Jan 20200 10:00",
            "1-2",
        ] {
            assert_eq!(unix(text), None, "{text}");
        }
    }
}
