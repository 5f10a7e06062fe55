//! How long a client may take: a byte a minute is no silence, but has an end all the same.
//! The clock is the caller's.

use std::time::{Duration, Instant};

/// Longest that a message may take to come, before its size is looked at …
const SLOWEST: Duration = Duration::from_secs(600);
/// … and how many bytes a second prolong that.
const SLOWEST_RATE: u64 = 500;

/// What the client is at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// A command, or a line of a login.
    Command,
    /// The text of a message, DATA or a chunk, read away or not.
    Text,
    /// A command, between two chunks of a message.
    Between,
}

/// Of one connection.
pub struct Patience {
    /// When we last spoke: since then it is the client's turn.
    turn: Instant,
    /// When the text of a message began to come, and how much has.
    text: Option<(Instant, u64)>,
}

impl Patience {
    pub fn new(now: Instant) -> Patience {
        Patience {
            turn: now,
            text: None,
        }
    }

    /// We have said something.
    pub fn spoken(&mut self, now: Instant) {
        self.turn = now;
    }

    /// So many bytes have come.
    pub fn received(&mut self, bytes: usize) {
        if let Some((_, size)) = &mut self.text {
            *size += bytes as u64;
        }
    }

    /// How long the client may still take; `turn`: for a command, from our last reply on.
    pub fn left(&mut self, stage: Stage, turn: Duration, now: Instant) -> Duration {
        let turn = turn.saturating_sub(now.saturating_duration_since(self.turn));
        if stage == Stage::Command {
            self.text = None;
            return turn;
        }
        let (began, size) = *self.text.get_or_insert((now, 0));
        let whole = SLOWEST + Duration::from_secs(size / SLOWEST_RATE);
        let text = whole.saturating_sub(now.saturating_duration_since(began));
        match stage {
            Stage::Between => text.min(turn),
            _ => text,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);
    const TURN: Duration = Duration::from_secs(300);

    /// How many bytes a client brings that sends `bytes` a minute, before its time is over.
    fn drip(patience: &mut Patience, mut now: Instant, stage: Stage, bytes: usize) -> usize {
        let mut sum = 0;
        while patience.left(stage, TURN, now) > MINUTE {
            now += MINUTE;
            patience.received(bytes);
            sum += bytes;
            assert!(sum < 10_000_000, "it never ends");
        }
        sum
    }

    #[test]
    fn a_byte_a_minute_ends_at_every_stage() {
        let now = Instant::now();
        let mut patience = Patience::new(now);
        assert_eq!(drip(&mut patience, now, Stage::Command, 1), 4);
        assert_eq!(drip(&mut patience, now, Stage::Text, 1), 9);
        // Chunks of a byte each, each with its reply.
        let mut patience = Patience::new(now);
        let (mut at, mut chunks) = (now, 0);
        while patience.left(Stage::Between, TURN, at) > MINUTE {
            patience.left(Stage::Text, TURN, at);
            patience.received(1);
            at += MINUTE;
            patience.spoken(at);
            chunks += 1;
        }
        assert_eq!(chunks, 9);
    }

    #[test]
    fn a_reply_gives_a_new_turn_and_bytes_more_time() {
        let now = Instant::now();
        let mut patience = Patience::new(now);
        assert_eq!(
            patience.left(Stage::Command, TURN, now + TURN),
            Duration::ZERO
        );
        patience.spoken(now + TURN);
        assert_eq!(patience.left(Stage::Command, TURN, now + TURN), TURN);
        // Ten times the slowest rate: 50 MB take what they take.
        let mut sum = 0;
        let mut at = now;
        while sum < 50_000_000 {
            assert!(patience.left(Stage::Text, TURN, at) > MINUTE, "after {sum}");
            at += MINUTE;
            patience.received(300_000);
            sum += 300_000;
        }
        // The next message begins anew.
        assert_eq!(patience.left(Stage::Command, TURN, now + TURN), TURN);
        assert_eq!(patience.left(Stage::Text, TURN, at), SLOWEST);
    }
}
