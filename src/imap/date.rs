//! IMAP's two date forms: `date-time` of INTERNALDATE and APPEND, and `date` of SEARCH
//! (RFC 3501, 9).

use crate::mail::DateTime;

const MONTHS: [&str; 12] = [
    "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
];
const DAY: i64 = 24 * 60 * 60;
/// 0000-01-01 and 9999-12-31 as days since 1970-01-01: what four digits can say.
const FIRST_DAY: i64 = -719_528;
const LAST_DAY: i64 = 2_932_896;

/// `date-text`: `1-Feb-1994` as days since 1970-01-01.
pub fn parse_day(text: &str) -> Option<i64> {
    let mut parts = text.splitn(3, '-');
    let day = digits(parts.next()?.trim_start_matches(' '), 1, 2)?;
    let month = month(parts.next()?)?;
    let year = digits(parts.next()?, 4, 4)?;
    (1..=days_in_month(year, month))
        .contains(&day)
        .then(|| days_from_civil(year, month, day))
}

/// The inside of a `date-time`: ` 1-Feb-1994 12:34:56 +0100`. The day may come without
/// the leading space that the grammar asks for.
pub fn parse_date_time(text: &str) -> Option<DateTime> {
    let text = text.trim_start_matches(' ');
    let mut words = text.split(' ');
    let days = parse_day(words.next()?)?;
    let seconds = time_of_day(words.next()?)?;
    let offset = zone(words.next()?)?;
    if words.next().is_some() {
        return None;
    }
    Some(DateTime {
        unix: days * DAY + seconds - i64::from(offset) * 60,
        offset,
    })
}

/// Appends the quoted `date-time`, 28 bytes. A moment outside of the years 0 to 9999 is
/// written as the nearest inside.
pub fn write_date_time(out: &mut Vec<u8>, date: DateTime) {
    let local = date.unix.saturating_add(i64::from(date.offset) * 60);
    let days = local.div_euclid(DAY).clamp(FIRST_DAY, LAST_DAY);
    let seconds = local.rem_euclid(DAY);
    let (year, month, day) = civil_from_days(days);
    out.push(b'"');
    if day < 10 {
        out.push(b' ');
        out.push(b'0' + day as u8);
    } else {
        two(out, day);
    }
    out.push(b'-');
    let name = MONTHS.get(month as usize - 1).copied().unwrap_or("Jan");
    out.extend_from_slice(name.as_bytes());
    out.push(b'-');
    two(out, year / 100);
    two(out, year % 100);
    out.push(b' ');
    two(out, seconds / 3600);
    out.push(b':');
    two(out, seconds / 60 % 60);
    out.push(b':');
    two(out, seconds % 60);
    out.push(b' ');
    out.push(if date.offset < 0 { b'-' } else { b'+' });
    let offset = i64::from(date.offset.unsigned_abs());
    two(out, offset / 60 % 100);
    two(out, offset % 60);
    out.push(b'"');
}

/// The day of a moment in its own zone, days since 1970-01-01: what SEARCH BEFORE, ON
/// and SINCE compare (RFC 3501, 6.4.4: "disregarding time and timezone").
pub fn day_of(date: DateTime) -> i64 {
    date.unix
        .saturating_add(i64::from(date.offset) * 60)
        .div_euclid(DAY)
}

fn two(out: &mut Vec<u8>, n: i64) {
    out.push(b'0' + (n / 10 % 10) as u8);
    out.push(b'0' + (n % 10) as u8);
}

fn digits(text: &str, least: usize, most: usize) -> Option<i64> {
    let right = (least..=most).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
    if right { text.parse().ok() } else { None }
}

fn month(name: &str) -> Option<i64> {
    let at = MONTHS.iter().position(|m| m.eq_ignore_ascii_case(name))?;
    Some(at as i64 + 1)
}

fn time_of_day(text: &str) -> Option<i64> {
    let mut parts = text.splitn(3, ':');
    let hour = digits(parts.next()?, 2, 2)?;
    let minute = digits(parts.next()?, 2, 2)?;
    let second = digits(parts.next()?, 2, 2)?;
    // 60 is a leap second.
    (hour < 24 && minute < 60 && second <= 60).then_some(hour * 3600 + minute * 60 + second)
}

/// `+0100` in minutes.
fn zone(text: &str) -> Option<i16> {
    let (sign, rest) = match text.as_bytes().first()? {
        b'+' => (1, &text[1..]),
        b'-' => (-1, &text[1..]),
        _ => return None,
    };
    let n = digits(rest, 4, 4)?;
    let (hours, minutes) = (n / 100, n % 100);
    (hours < 24 && minutes < 60).then(|| sign * (hours * 60 + minutes) as i16)
}

fn days_in_month(year: i64, month: i64) -> i64 {
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    match month {
        2 if leap => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Howard Hinnant's `days_from_civil`: years begin in March, so that the leap day is last.
fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

fn civil_from_days(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 {
        shifted + 3
    } else {
        shifted - 9
    };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (year, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(unix: i64, offset: i16) -> String {
        let mut out = Vec::new();
        write_date_time(&mut out, DateTime { unix, offset });
        String::from_utf8(out).unwrap_or_default()
    }

    #[test]
    fn known_moments() {
        // RFC 3501, 6.3.11 and 7.4.2.
        let date = parse_date_time("17-Jul-1996 02:44:25 -0700");
        assert_eq!(date.map(|d| (d.unix, d.offset)), Some((837_596_665, -420)));
        assert_eq!(written(837_596_665, -420), "\"17-Jul-1996 02:44:25 -0700\"");
        assert_eq!(written(0, 0), "\" 1-Jan-1970 00:00:00 +0000\"");
        assert_eq!(written(951_782_400, 330), "\"29-Feb-2000 05:30:00 +0530\"");
        assert_eq!(parse_day("1-Feb-1994"), Some(8797));
        assert_eq!(parse_day(" 1-feb-1994"), Some(8797));
        assert_eq!(parse_day("31-Dec-1969"), Some(-1));
    }

    #[test]
    fn day_is_that_of_its_own_zone() {
        let date = |unix, offset| day_of(DateTime { unix, offset });
        assert_eq!(date(0, -60), -1);
        assert_eq!(date(86_399, 0), 0);
        assert_eq!(date(86_399, 60), 1);
    }

    #[test]
    fn refuses_what_is_no_date() {
        for text in [
            "",
            "1-Foo-1994",
            "0-Feb-1994",
            "30-Feb-1994",
            "29-Feb-1900",
            "1-Feb-94",
            "1-Feb-1994-",
            "+1-Feb-1994",
            "1-Feb-+994",
        ] {
            assert_eq!(parse_day(text), None, "{text:?}");
        }
        for text in [
            "1-Feb-1994",
            "1-Feb-1994 24:00:00 +0000",
            "1-Feb-1994 00:60:00 +0000",
            "1-Feb-1994 00:00:00 0000",
            "1-Feb-1994 00:00:00 +2400",
            "1-Feb-1994 00:00:00 +0060",
            "1-Feb-1994 00:00:00 +0000 x",
            "1-Feb-1994  00:00:00 +0000",
            "1-Feb-1994 00:00:00 é000",
        ] {
            assert_eq!(parse_date_time(text), None, "{text:?}");
        }
    }

    #[test]
    fn round_trip() {
        let mut unix = FIRST_DAY * DAY + DAY;
        let mut offset: i16 = -1439;
        while unix < LAST_DAY * DAY {
            let date = DateTime { unix, offset };
            let text = written(unix, offset);
            assert_eq!(text.len(), 28, "{text}");
            assert_eq!(
                parse_date_time(text.trim_matches('"')),
                Some(date),
                "{text}"
            );
            unix += 97_654_321;
            offset = if offset > 1400 { -1439 } else { offset + 37 };
        }
    }

    #[test]
    fn any_number_is_written() {
        assert_eq!(written(i64::MAX, i16::MAX).len(), 28);
        assert_eq!(written(i64::MIN, i16::MIN).len(), 28);
    }
}
