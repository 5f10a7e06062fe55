//! What went wrong lately: the last warnings and errors of the log, kept in memory so that
//! the status page can show them where there is no journal to read.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Lines that are kept; the oldest go.
pub const MAX_PROBLEMS: usize = 50;
/// Longest text that is kept, characters.
const MAX_TEXT: usize = 300;

/// A warning or an error of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Seconds since 1970, when it was said last.
    pub at: i64,
    pub error: bool,
    pub text: String,
    /// How often it was said in a row.
    pub times: u32,
}

static PROBLEMS: Mutex<VecDeque<Problem>> = Mutex::new(VecDeque::new());

/// Keeps a line of the log, which is one line without secrets already.
pub fn note(at: i64, error: bool, text: &str) {
    add(&mut problems(), at, error, text);
}

/// The newest last.
pub fn all() -> Vec<Problem> {
    problems().iter().cloned().collect()
}

/// Nothing panics while it is held.
fn problems() -> MutexGuard<'static, VecDeque<Problem>> {
    PROBLEMS.lock().unwrap_or_else(PoisonError::into_inner)
}

fn add(problems: &mut VecDeque<Problem>, at: i64, error: bool, text: &str) {
    let text: String = text.chars().take(MAX_TEXT).collect();
    if let Some(last) = problems.back_mut()
        && last.text == text
    {
        last.at = at;
        last.times = last.times.saturating_add(1);
        return;
    }
    if problems.len() >= MAX_PROBLEMS {
        problems.pop_front();
    }
    problems.push_back(Problem {
        at,
        error,
        text,
        times: 1,
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_are_kept_and_what_repeats_is_counted() {
        let mut problems = VecDeque::new();
        for n in 0..3 * MAX_PROBLEMS as i64 {
            add(&mut problems, n, false, &format!("line {n}"));
        }
        for n in 1000..1005 {
            add(&mut problems, n, true, "the disk is full");
        }
        assert_eq!(problems.len(), MAX_PROBLEMS);
        let last = problems.back().unwrap();
        assert_eq!((last.at, last.times, last.error), (1004, 5, true));
        add(&mut problems, 2000, true, &"é".repeat(2 * MAX_TEXT));
        let last = problems.back().unwrap();
        assert_eq!(last.text.chars().count(), MAX_TEXT);
    }
}
