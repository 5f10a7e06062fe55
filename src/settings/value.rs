//! Values as the owner writes them: numbers with a unit, on and off.

use std::time::Duration;

const UNITS_OF_TIME: [(u64, &str); 4] = [(24 * 3600, "d"), (3600, "h"), (60, "min"), (1, "s")];
const UNITS_OF_SIZE: [(u64, &str); 4] = [
    (1 << 30, "GiB"),
    (1 << 20, "MiB"),
    (1 << 10, "KiB"),
    (1, "B"),
];

/// A number with s, min, h or d; 0 needs none.
pub fn time(text: &str) -> Result<Duration, String> {
    let seconds = with_unit(text, &UNITS_OF_TIME);
    seconds
        .map(Duration::from_secs)
        .ok_or_else(|| format!("{text} is no time: 90s, 5min, 4h or 5d"))
}

/// A number with B, KiB, MiB or GiB.
pub fn size(text: &str) -> Result<u64, String> {
    with_unit(text, &UNITS_OF_SIZE)
        .ok_or_else(|| format!("{text} is no size: 512KiB, 100MiB or 1GiB"))
}

/// In the largest unit that leaves no rest.
pub fn show_time(time: Duration) -> String {
    show_with_unit(time.as_secs(), &UNITS_OF_TIME)
}

/// In the largest unit that leaves no rest.
pub fn show_size(size: u64) -> String {
    show_with_unit(size, &UNITS_OF_SIZE)
}

pub fn switch(text: &str) -> Result<bool, String> {
    match text {
        "on" | "true" | "yes" => Ok(true),
        "off" | "false" | "no" => Ok(false),
        _ => Err(format!("{text} is neither on nor off")),
    }
}

pub fn show_switch(on: bool) -> &'static str {
    if on { "on" } else { "off" }
}

fn with_unit(text: &str, units: &[(u64, &str)]) -> Option<u64> {
    let split = text.find(|c: char| !c.is_ascii_digit());
    let (number, unit) = text.split_at(split.unwrap_or(text.len()));
    let number: u64 = number.parse().ok()?;
    if number == 0 && unit.is_empty() {
        return Some(0);
    }
    let (factor, _) = units.iter().find(|(_, name)| *name == unit.trim_start())?;
    number.checked_mul(*factor)
}

fn show_with_unit(number: u64, units: &[(u64, &str)]) -> String {
    let fits = |(factor, _): &&(u64, &str)| number.is_multiple_of(*factor) && number >= *factor;
    let found = units.iter().find(fits).or(units.last());
    let (factor, name) = found.copied().unwrap_or((1, ""));
    format!("{}{name}", number / factor)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_a_unit() {
        for (text, seconds) in [
            ("90s", 90),
            ("5min", 300),
            ("4h", 14_400),
            ("5d", 432_000),
            ("0", 0),
        ] {
            assert_eq!(time(text), Ok(Duration::from_secs(seconds)));
        }
        for text in ["", "5", "min", "-1s", "1m", "4294967296123456789d", "s1"] {
            assert!(time(text).is_err(), "{text}");
        }
    }

    #[test]
    fn values_are_shown_as_they_are_read() {
        for seconds in [0, 1, 59, 60, 61, 3600, 5400, 86_400, 432_000] {
            let shown = show_time(Duration::from_secs(seconds));
            assert_eq!(time(&shown), Ok(Duration::from_secs(seconds)), "{shown}");
        }
        for bytes in [0, 1, 1023, 1024, 100 << 20, 1 << 30, (1 << 30) + 1] {
            let shown = show_size(bytes);
            assert_eq!(size(&shown), Ok(bytes), "{shown}");
        }
        assert_eq!(show_time(Duration::from_secs(5400)), "90min");
        assert_eq!(show_size(100 << 20), "100MiB");
        assert!(size("100MB").is_err());
        assert_eq!(switch("on"), Ok(true));
        assert!(switch("perhaps").is_err());
    }
}
