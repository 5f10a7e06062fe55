//! Message rows, 32 UIDs a block.
//!
//! ```text
//! block = highest mod-sequence | bitmap of the UIDs (4 bytes LE, bit = uid & 31)
//!       | for each UID, ascending: flags | highest - mod-sequence | email id | unix time
//!         | zone | save date | size
//! ```
//!
//! Varints; email id, times and zone as differences, the first from 0, the others from the
//! row before, the save date from the row's own time. A row takes about 14 bytes. The head
//! alone tells CHANGEDSINCE to skip a block, and SEARCH its UIDs.

use super::codec::{Reader, put, put_signed};
use super::error::{Error, Result};
use crate::mail::*;

/// UIDs a block spans.
pub(super) const SPAN: u32 = 32;

/// The highest mod-sequence and the UIDs of an encoded block.
pub(super) fn head(bytes: &[u8]) -> Result<(u64, u32)> {
    let row = &mut Reader(bytes);
    let modseq = row.take()?;
    Ok((modseq, u32::from_le_bytes(row.take_fixed()?)))
}

/// Calls `f` for each message of an encoded block, ascending, until it returns false;
/// returns whether it never did. `first` is the UID of bit 0.
pub(super) fn decode(
    first: u32,
    bytes: &[u8],
    mut f: impl FnMut(Message) -> Result<bool>,
) -> Result<bool> {
    let row = &mut Reader(bytes);
    let highest = row.take()?;
    let mut bitmap = u32::from_le_bytes(row.take_fixed()?);
    let (mut email, mut unix, mut offset) = (0u64, 0i64, 0i64);
    while bitmap != 0 {
        let uid = first | bitmap.trailing_zeros();
        bitmap &= bitmap - 1;
        let flags = Flags(row.take()?);
        let modseq = highest.wrapping_sub(row.take()?);
        email = email.wrapping_add_signed(row.take_signed()?);
        unix = unix.wrapping_add(row.take_signed()?);
        offset = offset.wrapping_add(row.take_signed()?);
        let save_date = unix.wrapping_add(row.take_signed()?);
        let size = row.take_u32()?;
        let (Some(uid), Some(modseq)) = (Uid::new(uid), ModSeq::new(modseq)) else {
            return Err(Error::corrupt("a block of messages"));
        };
        let message = Message {
            uid,
            email: EmailId(email),
            flags,
            internal_date: DateTime {
                unix,
                offset: offset as i16,
            },
            save_date,
            modseq,
            size,
        };
        if !f(message)? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Encodes messages of one block, ascending by UID.
pub(super) fn encode(messages: &[Message]) -> Vec<u8> {
    let highest = messages.iter().map(|m| m.modseq.get()).max().unwrap_or(0);
    let bitmap = messages
        .iter()
        .fold(0u32, |bits, m| bits | 1 << (m.uid.get() % SPAN));
    let mut out = Vec::with_capacity(16 + 16 * messages.len());
    put(&mut out, highest);
    out.extend_from_slice(&bitmap.to_le_bytes());
    let (mut email, mut unix, mut offset) = (0u64, 0i64, 0i64);
    for message in messages {
        let date = message.internal_date;
        put(&mut out, message.flags.0);
        put(&mut out, highest - message.modseq.get());
        put_signed(&mut out, message.email.0.wrapping_sub(email) as i64);
        put_signed(&mut out, date.unix.wrapping_sub(unix));
        put_signed(&mut out, i64::from(date.offset) - offset);
        put_signed(&mut out, message.save_date.wrapping_sub(date.unix));
        put(&mut out, u64::from(message.size));
        email = message.email.0;
        unix = date.unix;
        offset = i64::from(date.offset);
    }
    out
}

/// The block numbers (`uid >> 5`) that hold `uids`, as ascending inclusive ranges: many
/// scattered UIDs become few scans.
pub(super) fn spans(uids: &UidSet) -> Vec<(u32, u32)> {
    let blocks = uids
        .ranges()
        .iter()
        .map(|&(low, high)| (low / SPAN, high / SPAN));
    let mut spans: Vec<(u32, u32)> = Vec::new();
    for (low, high) in blocks {
        match spans.last_mut() {
            Some(last) if low <= last.1.saturating_add(1) => last.1 = last.1.max(high),
            _ => spans.push((low, high)),
        }
    }
    spans
}

/// Asks ascending UIDs whether they are in a set, without a search each.
pub(super) struct Ascending<'a>(&'a [(u32, u32)]);

impl<'a> Ascending<'a> {
    pub fn new(set: &'a UidSet) -> Ascending<'a> {
        Ascending(set.ranges())
    }

    #[inline]
    pub fn contains(&mut self, uid: Uid) -> bool {
        let uid = uid.get();
        while let Some(((low, high), rest)) = self.0.split_first() {
            if uid <= *high {
                return uid >= *low;
            }
            self.0 = rest;
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(uid: u32, modseq: u64) -> Message {
        Message {
            uid: Uid::new(uid).unwrap(),
            email: EmailId(u64::from(uid) * 7 % 50),
            flags: Flags(u64::from(uid) << 40 | 3),
            internal_date: DateTime {
                unix: 1_700_000_000 - i64::from(uid) * 1000,
                offset: if uid.is_multiple_of(2) { -480 } else { 120 },
            },
            save_date: 1_700_000_500,
            modseq: ModSeq::new(modseq).unwrap(),
            size: uid * 1000,
        }
    }

    fn decoded(first: u32, bytes: &[u8]) -> Result<Vec<Message>> {
        let mut messages = Vec::new();
        decode(first, bytes, |message| {
            messages.push(message);
            Ok(true)
        })?;
        Ok(messages)
    }

    #[test]
    fn blocks_come_back() {
        let messages: Vec<Message> = [64, 65, 70, 95]
            .map(|uid| message(uid, u64::from(200 - uid)))
            .into();
        let bytes = encode(&messages);
        assert_eq!(head(&bytes), Ok((136, 1 | 2 | 1 << 6 | 1 << 31)));
        assert_eq!(decoded(64, &bytes), Ok(messages));
        for end in 0..bytes.len() {
            assert!(decoded(64, &bytes[..end]).is_err(), "{end}");
        }
    }

    #[test]
    fn scattered_uids_become_few_scans() {
        let uids = UidSet::from_ranges((1..400).step_by(2).map(|uid| (uid, uid)).collect());
        assert_eq!(spans(&uids), vec![(0, 12)]);
        let far = UidSet::from_ranges(vec![(5, 5), (1000, 4_294_967_295)]);
        assert_eq!(spans(&far), vec![(0, 0), (31, u32::MAX / SPAN)]);
        let mut ascending = Ascending::new(&far);
        let hits: Vec<bool> = [4, 5, 6, 999, 1000, 2000]
            .map(|uid| ascending.contains(Uid::new(uid).unwrap()))
            .into();
        assert_eq!(hits, [false, true, false, false, true, true]);
    }
}
