//! How an account stands: in use, disabled, or deleted and still to be restored.

use super::account;
use super::codec::{Reader, put, put_signed};
use super::error::{Error, Result};
use super::record;
use super::snapshot::Snapshot;
use super::tx::Tx;
use crate::mail::{AccountId, Standing};

const KIND: &str = "account-standing";

/// Seconds.
const DAY: i64 = 24 * 3600;
/// Somebody else was faster.
const CHANGED: Error = Error::Forbidden("the account has changed meanwhile; look at it again");

/// What is left of the time in which a deleted account can be had back, apart from the clock:
/// one that was wrong may come right at once and be weeks ahead.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Undo {
    /// Days.
    left: i64,
    /// The last that was counted, since 1970.
    day: i64,
}

impl Undo {
    fn until(until: i64, now: i64) -> Undo {
        Undo {
            left: until.saturating_sub(now).saturating_add(DAY / 2) / DAY,
            day: now.div_euclid(DAY),
        }
    }

    /// Each day that comes is one less, however far the clock has gone; where it has gone
    /// back, each that was lived through.
    fn counted(self, now: i64, day_passed: bool) -> Undo {
        let today = now.div_euclid(DAY);
        let one_less = today > self.day || day_passed && today < self.day;
        Undo {
            left: self.left.saturating_sub(i64::from(one_less)).max(0),
            day: self.day.max(today),
        }
    }

    fn is_over(self, until: i64, now: i64) -> bool {
        self.left == 0 && until <= now
    }
}

/// [`Error::Forbidden`] if it does not stand as `from` says.
pub(super) fn set(tx: &mut Tx<'_>, id: AccountId, from: Standing, to: Standing) -> Result<()> {
    account::must_exist(tx, id)?;
    if get(tx, id)?.0 != from {
        return Err(CHANGED);
    }
    match to {
        Standing::Active => forget(tx, id),
        Standing::Disabled { takes_mail } => {
            let mut row = Vec::new();
            put(&mut row, DISABLED);
            put(&mut row, u64::from(takes_mail));
            record::put_one_of_each(tx, KIND, &id.0.to_string(), &row)
        }
        Standing::Deleted { until } => put_deleted(tx, id, until, Undo::until(until, tx.now)),
    }
}

fn put_deleted(tx: &mut Tx<'_>, id: AccountId, until: i64, undo: Undo) -> Result<()> {
    let mut row = Vec::new();
    put(&mut row, DELETED);
    for number in [until, undo.left, undo.day] {
        put_signed(&mut row, number);
    }
    record::put_one_of_each(tx, KIND, &id.0.to_string(), &row)
}

fn get(tx: &Tx<'_>, id: AccountId) -> Result<(Standing, Undo)> {
    decode(record::get(tx, KIND, &id.0.to_string())?)
}

/// Takes the account away for good, which must be deleted.
pub(super) fn purge(tx: &mut Tx<'_>, id: AccountId) -> Result<()> {
    account::must_exist(tx, id)?;
    match get(tx, id)?.0 {
        Standing::Deleted { .. } => account::delete(tx, id),
        _ => Err(CHANGED),
    }
}

/// Counts a day of a deleted account, and takes it away if that was the last. Whether it did.
pub(super) fn expire(tx: &mut Tx<'_>, id: AccountId, now: i64, day_passed: bool) -> Result<bool> {
    let (Standing::Deleted { until }, undo) = get(tx, id)? else {
        return Ok(false);
    };
    let counted = undo.counted(now, day_passed);
    if counted.is_over(until, now) {
        account::delete(tx, id)?;
        return Ok(true);
    }
    if counted != undo {
        put_deleted(tx, id, until, counted)?;
    }
    Ok(false)
}

const DISABLED: u64 = 1;
const DELETED: u64 = 2;

pub(super) fn forget(tx: &mut Tx<'_>, id: AccountId) -> Result<()> {
    record::remove(tx, KIND, &id.0.to_string()).map(|_| ())
}

fn decode(row: Option<Vec<u8>>) -> Result<(Standing, Undo)> {
    let mut undo = Undo::default();
    let Some(row) = row else {
        return Ok((Standing::Active, undo));
    };
    let row = &mut Reader(&row);
    let standing = match row.take()? {
        DISABLED => Standing::Disabled {
            takes_mail: row.take()? != 0,
        },
        DELETED => {
            let until = row.take_signed()?;
            // Of old no days were counted.
            if !row.is_empty() {
                undo.left = row.take_signed()?;
                undo.day = row.take_signed()?;
            }
            Standing::Deleted { until }
        }
        _ => return Err(Error::corrupt("how an account stands")),
    };
    Ok((standing, undo))
}

impl Snapshot {
    pub fn standing(&self, id: AccountId) -> Result<Standing> {
        Ok(decode(self.record(KIND, &id.0.to_string())?)?.0)
    }

    /// The deleted accounts of which a day is to be counted, or which are to go.
    pub fn falling_due(&self, now: i64, day_passed: bool) -> Result<Vec<AccountId>> {
        let mut due = Vec::new();
        for (key, row) in self.records(KIND)? {
            let id = key
                .parse()
                .map_err(|_| Error::corrupt("an account's number"))?;
            let (Standing::Deleted { until }, undo) = decode(Some(row))? else {
                continue;
            };
            let counted = undo.counted(now, day_passed);
            if counted != undo || counted.is_over(until, now) {
                due.push(AccountId(id));
            }
        }
        Ok(due)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// When an account that is kept for `days` goes, by the readings of a clock that is looked
    /// at, and whether a day has passed since the last of them.
    fn goes_at(deleted: i64, days: i64, looks: impl Iterator<Item = (i64, bool)>) -> Option<usize> {
        let until = deleted + days * DAY;
        let mut undo = Undo::until(until, deleted);
        let mut counted = looks.map(|(now, day_passed)| {
            undo = undo.counted(now, day_passed);
            undo.is_over(until, now)
        });
        counted.position(|over| over)
    }

    #[test]
    fn a_clock_that_jumps_takes_no_time_away() {
        let now = 20_000 * DAY;
        let hourly = |from: i64| (0..).map(move |n| (from + n * 3600, n % 24 == 0));
        // A clock that is right: to the hour.
        assert_eq!(goes_at(now + 7000, 30, hourly(now + 7000)), Some(720));
        // One of 1970 that comes right.
        let looks = (0..3).map(|n| (n, false)).chain(hourly(now));
        let gone = goes_at(100, 30, looks).unwrap();
        assert!((29 * 24..=30 * 24 + 3).contains(&gone), "{gone}");
        // One that starts there again and again counts no more days than there are.
        let looks = (0..400).map(|n| (if n % 2 == 0 { 100 } else { now + n }, false));
        assert_eq!(goes_at(100, 30, looks), None);
        // One far ahead that comes right does not keep it for good.
        let looks = std::iter::once((2 * now, false)).chain(hourly(now));
        let gone = goes_at(now, 30, looks).unwrap();
        assert!((28 * 24..=30 * 24 + 1).contains(&gone), "{gone}");
    }

    #[test]
    fn a_row_without_days_goes_by_the_clock() {
        let mut row = Vec::new();
        put(&mut row, DELETED);
        put_signed(&mut row, 77);
        let (standing, undo) = decode(Some(row)).unwrap();
        assert_eq!(standing, Standing::Deleted { until: 77 });
        assert!(undo.is_over(77, 77) && !undo.is_over(77, 76));
    }
}
