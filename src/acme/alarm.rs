//! When people are told that a certificate ends: at 14 and 3 days before, and when it is over;
//! for one that lives less than 90 days at a sixth and a thirtieth of its life. Pure.

use jiff::{SignedDuration, Timestamp};

const FIRST: SignedDuration = SignedDuration::from_hours(14 * 24);
const LAST: SignedDuration = SignedDuration::from_hours(3 * 24);

/// How urgent it is; each is told once for a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    First,
    Last,
    Over,
}

impl Level {
    const ALL: [Level; 3] = [Level::First, Level::Last, Level::Over];

    /// As it is kept.
    pub fn number(self) -> u8 {
        self as u8
    }

    pub fn of(number: u8) -> Option<Level> {
        Level::ALL.into_iter().find(|it| it.number() == number)
    }
}

/// What is to be told now of a certificate that holds `begins` to `ends`; `told` is the last
/// that was told, and of which end.
pub fn due(
    (begins, ends): (Timestamp, Timestamp),
    now: Timestamp,
    told: Option<(Timestamp, Level)>,
) -> Option<Level> {
    let (life, left) = (ends.duration_since(begins), ends.duration_since(now));
    let level = match left {
        _ if left <= SignedDuration::ZERO => Level::Over,
        _ if left <= LAST.min(life / 30) => Level::Last,
        _ if left <= FIRST.min(life / 6) => Level::First,
        _ => return None,
    };
    let known = told.is_some_and(|(of, known)| of == ends && known >= level);
    (!known).then_some(level)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_is_told_once_for_each_certificate() {
        let at = |text: &str| text.parse::<Timestamp>().unwrap();
        let dates = (at("2026-01-01T00:00:00Z"), at("2026-05-01T00:00:00Z"));
        let mut told = None;
        let mut said = Vec::new();
        let mut now = at("2026-04-01T00:00:00Z");
        while now < at("2026-05-10T00:00:00Z") {
            if let Some(level) = due(dates, now, told) {
                said.push((now.to_string(), level));
                told = Some((dates.1, level));
            }
            now += SignedDuration::from_hours(1);
        }
        let wanted = [
            ("2026-04-17T00:00:00Z", Level::First),
            ("2026-04-28T00:00:00Z", Level::Last),
            ("2026-05-01T00:00:00Z", Level::Over),
        ];
        assert_eq!(said, wanted.map(|(when, level)| (when.to_string(), level)));
        // The next certificate is another matter.
        let next = (dates.0, at("2026-05-20T00:00:00Z"));
        assert_eq!(
            due(next, at("2026-05-10T00:00:00Z"), told),
            Some(Level::First)
        );
        // One that comes late is told of as it stands then.
        assert_eq!(
            due(dates, at("2026-04-30T00:00:00Z"), None),
            Some(Level::Last)
        );
    }

    #[test]
    fn one_for_six_days_is_no_alarm_on_its_first() {
        let at = |text: &str| text.parse::<Timestamp>().unwrap();
        let dates = (at("2026-01-01T00:00:00Z"), at("2026-01-07T00:00:00Z"));
        assert_eq!(due(dates, at("2026-01-05T12:00:00Z"), None), None);
        assert_eq!(
            due(dates, at("2026-01-06T01:00:00Z"), None),
            Some(Level::First)
        );
    }

    #[test]
    fn levels_are_kept_as_numbers() {
        for level in Level::ALL {
            assert_eq!(Level::of(level.number()), Some(level));
        }
        assert_eq!(Level::of(3), None);
    }
}
