//! Logs to standard error: with systemd's level prefixes under its journal, with a time
//! elsewhere. Nothing secret is ever given to it.

use crate::recent;
use jiff::Timestamp;
use log::{Level, LevelFilter, Log, Metadata, Record};
use std::io::Write;

struct Logger {
    /// Whether standard error goes to the journal, which keeps time and level itself.
    journal: bool,
}

/// Sets the level: `level`, else PILLARBOX_LOG, else `default`. A panic becomes a line that
/// says where; its text, which may quote mail, is for debug alone.
pub fn init(level: Option<&str>, default: LevelFilter) {
    let from_environment = std::env::var("PILLARBOX_LOG").ok();
    let wanted = level.or(from_environment.as_deref());
    let parsed = wanted.map(str::parse::<LevelFilter>);
    log::set_max_level(match parsed {
        Some(Ok(level)) => level,
        _ => default,
    });
    let journal = std::env::var_os("JOURNAL_STREAM").is_some();
    // Fails only if there is a logger already.
    let _ = log::set_boxed_logger(Box::new(Logger { journal }));
    if let Some(Err(_)) = parsed {
        log::warn!("unknown log level {wanted:?}; it stays at {default}");
    }
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string);
        log::error!("bug at {}", place.as_deref().unwrap_or("an unknown place"));
        log::debug!("{panic}");
    }));
}

impl Log for Logger {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.level() <= log::max_level()
    }

    fn log(&self, record: &Record<'_>) {
        if !self.enabled(record.metadata()) {
            return;
        }
        let text = one_line(&record.args().to_string());
        let now = Timestamp::now();
        if record.level() <= Level::Warn {
            recent::note(now.as_second(), record.level() == Level::Error, &text);
        }
        let line = if self.journal {
            format!("<{}>{text}\n", priority(record.level()))
        } else {
            format!("{now:.3} {:5} {text}\n", record.level())
        };
        // There is nowhere else to complain.
        let _ = std::io::stderr().lock().write_all(line.as_bytes());
    }

    fn flush(&self) {}
}

/// syslog(3).
fn priority(level: Level) -> u8 {
    match level {
        Level::Error => 3,
        Level::Warn => 4,
        Level::Info => 6,
        Level::Debug | Level::Trace => 7,
    }
}

/// What a client sent must not look like a line of ours.
fn one_line(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() { '\u{fffd}' } else { c })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_can_not_forge_a_line() {
        assert_eq!(
            one_line("login of a\r\n<3>b"),
            "login of a\u{fffd}\u{fffd}<3>b"
        );
    }
}
