//! Taking: several small messages come by one FETCH and are delivered by one commit.

use super::talk::{UNASKED, away, broken};
use super::{Imap, Listed, MAX_REFUSED};
use crate::collect::collector::After;
use crate::collect::failure::Failure;
use crate::collect::job::now;
use crate::collect::memory::{MAX_RANGES, Uids};
use crate::collect::take::{Batch, Incoming, MAX_BATCH, MAX_BATCH_BYTES};
use crate::imap::client::{Body, Command, Event, Fetch, Step};
use crate::mail::{Quota, Uid, UidSet};
use crate::store;
use std::collections::BTreeSet;

/// What a FETCH has given.
#[derive(Default)]
struct Given {
    uids: BTreeSet<Uid>,
    batch: Batch,
}

/// Cuts what was listed into what one FETCH asks for, in order. Larger messages, and those of
/// unknown size, come alone; with `singly` all do.
pub(super) fn groups(listed: &[Listed], singly: bool) -> Vec<&[Listed]> {
    let mut groups = Vec::new();
    let mut rest = listed;
    while !rest.is_empty() {
        let mut room = MAX_BATCH_BYTES;
        let fits = rest.iter().take(if singly { 1 } else { MAX_BATCH });
        let fits = fits.take_while(|it| {
            let left = room.checked_sub(it.size).filter(|_| it.size > 0);
            room = left.unwrap_or(0);
            left.is_some()
        });
        let (group, others) = rest.split_at(fits.count().max(1));
        groups.push(group);
        rest = others;
    }
    groups
}

impl Imap<'_> {
    /// Takes a group; gives how many were taken: one may be too large, or gone, or not be given.
    pub(super) async fn take_group(&mut self, group: &[Listed]) -> Result<u64, Failure> {
        // Of what has no room together, the first may have.
        if group.len() > 1 && self.must_hold(group).is_err() {
            let mut taken = 0;
            for message in group {
                taken += self.take(std::slice::from_ref(message)).await?;
            }
            return Ok(taken);
        }
        let mut taken = self.take(group).await?;
        // One that can't be had is no reason to do without the others.
        let missing = group.iter().filter(|_| group.len() > 1);
        for message in missing {
            if !self.memory.has(message.uid) {
                taken += self.take(std::slice::from_ref(message)).await?;
            }
        }
        Ok(taken)
    }

    async fn take(&mut self, group: &[Listed]) -> Result<u64, Failure> {
        if let [message] = group
            && message.size > self.job.max_size()
        {
            return self.leave(message.uid).await.map(|()| 0);
        }
        self.must_hold(group)?;
        let mut given = Given::default();
        let fetched = self.fetch(group, &mut given).await;
        let taken = given.uids.len() as u64;
        // What came before the connection was cut came.
        self.keep(group, given, fetched.is_ok()).await?;
        fetched.map(|()| taken)
    }

    /// By the sizes that were listed.
    fn must_hold(&self, group: &[Listed]) -> Result<(), Failure> {
        let more = Quota {
            bytes: group.iter().fold(0, |all, it| all.saturating_add(it.size)),
            messages: group.len() as u64,
        };
        self.job.target.must_hold(&self.job.store, more)
    }

    /// Delivers what was given and remembers it, and what was not, in one commit. What comes
    /// after the last one given may still be given, unless the answer is `whole`.
    async fn keep(&mut self, group: &[Listed], given: Given, whole: bool) -> Result<(), Failure> {
        let last = given.uids.last().copied();
        let mut next = self.memory.clone();
        for uid in group.iter().map(|it| it.uid) {
            if given.uids.contains(&uid) {
                next.pass(uid);
                if self.job.collector.after != After::Keep {
                    next.pending.insert(uid);
                }
            } else if whole || last.is_some_and(|last| uid < last) {
                next.leave(uid);
            }
        }
        check(&next)?;
        if next == self.memory {
            return Ok(());
        }
        let status = self.job.more(given.uids.len() as u64);
        let notes = [next.note(self.job.number), status.note(self.job.number)];
        let mut batch = given.batch;
        notes.into_iter().for_each(|it| batch.note(it));
        batch.deliver(&self.job.store, &self.job.target).await?;
        self.memory = next;
        self.job.set_status(status);
        Ok(())
    }

    /// Remembers a message that can't be taken now, and passes over it.
    async fn leave(&mut self, uid: Uid) -> Result<(), Failure> {
        let mut next = self.memory.clone();
        next.leave(uid);
        check(&next)?;
        if next == self.memory {
            return Ok(());
        }
        let note = next.note(self.job.number);
        self.job.store.note(vec![note]).await?;
        self.memory = next;
        Ok(())
    }

    /// Asks for the messages. Those that are gone, or are not given, are missing from `given`.
    async fn fetch(&mut self, group: &[Listed], given: &mut Given) -> Result<(), Failure> {
        let uids: UidSet = group.iter().map(|it| it.uid).collect();
        self.give(&Command::Fetch(&uids)).await?;
        let mut incoming: Option<Incoming> = None;
        loop {
            let event = match self.client.step().map_err(broken)? {
                Step::NeedInput => {
                    self.link.receive(self.client.input()).await?;
                    continue;
                }
                Step::Data(bytes) => {
                    let written = match &mut incoming {
                        Some(incoming) => incoming.write(bytes).await,
                        None => return Err(Failure::passing(UNASKED)),
                    };
                    match written {
                        Ok(()) => continue,
                        Err(store::Error::TooLarge) => return self.too_large(group).await,
                        Err(error) => return Err(error.into()),
                    }
                }
                Step::Event(event) => event,
            };
            match event {
                Event::Body(_) if incoming.is_some() => return Err(Failure::passing(UNASKED)),
                Event::Body(size) if size > self.job.max_size() => {
                    return self.too_large(group).await;
                }
                Event::Body(size) => {
                    self.link.allow(size);
                    incoming = Some(self.begin(Some(size)).await?);
                }
                Event::Fetch(fetch) if fetch.body != Body::None => {
                    self.given(*fetch, &uids, incoming.take(), given).await?;
                }
                Event::Done(outcome) if !outcome.ok && group.len() == 1 => {
                    self.refused += 1;
                    return match self.refused > MAX_REFUSED {
                        true => Err(Failure::said_no("give its messages", &outcome.text)),
                        false => Ok(()),
                    };
                }
                Event::Done(_) if incoming.is_some() => return Err(Failure::passing(UNASKED)),
                Event::Done(_) => return Ok(()),
                Event::Bye(text) => return Err(away(&text)),
                Event::Exists(_) => self.news = true,
                _ => {}
            }
        }
    }

    async fn begin(&mut self, size: Option<u64>) -> store::Result<Incoming> {
        self.trace.now = now();
        Incoming::begin(&self.job.store, &self.trace, size).await
    }

    /// A message is whole.
    async fn given(
        &mut self,
        fetch: Fetch,
        asked: &UidSet,
        incoming: Option<Incoming>,
        given: &mut Given,
    ) -> Result<(), Failure> {
        // A message of which nobody says which it is, is nobody's.
        let uid = fetch.uid.filter(|uid| asked.contains(*uid));
        let uid = uid.ok_or_else(|| Failure::passing(UNASKED))?;
        let incoming = match (incoming, &fetch.body) {
            (None, Body::Inline(text)) => {
                let mut whole = self.begin(None).await?;
                whole.write(text).await?;
                whole
            }
            (Some(incoming), _) => incoming,
            (None, _) => return Err(Failure::passing(UNASKED)),
        };
        let flags = fetch.flags.unwrap_or_default();
        let date = fetch.date.unwrap_or(self.trace.now);
        let message = incoming.finish(flags, date).await?;
        if !given.uids.insert(uid) {
            return Err(Failure::passing(UNASKED));
        }
        given.batch.push(message);
        Ok(())
    }

    /// It was listed as smaller. What has been announced would have to be read to its end:
    /// the connection is begun anew instead. Of several nobody knows which it is: they come
    /// one by one then.
    async fn too_large(&mut self, group: &[Listed]) -> Result<(), Failure> {
        let which = match group {
            [message] => {
                let uid = message.uid;
                self.leave(uid).await?;
                self.job.note_too_large(self.unique(uid));
                format!("message {uid} is larger than the provider said; it stays there")
            }
            _ => {
                self.job.set_singly(true);
                "a message is larger than the provider said".to_owned()
            }
        };
        Err(Failure::passing(which))
    }
}

fn check(memory: &Uids) -> Result<(), Failure> {
    if memory.pending.ranges().len() > MAX_RANGES {
        return Err(Failure::refused(
            "the provider does not let go of the messages taken",
        ));
    }
    if memory.left.ranges().len() > MAX_RANGES {
        return Err(Failure::refused(
            "too many messages are too large, or are not given",
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listed(sizes: &[u64]) -> Vec<Listed> {
        let uids = (1..).filter_map(Uid::new);
        let rows = uids.zip(sizes);
        rows.map(|(uid, &size)| Listed { uid, size }).collect()
    }

    #[test]
    fn small_messages_come_together_in_order() {
        let lengths = |sizes: &[u64], singly| {
            let listed = listed(sizes);
            let groups = groups(&listed, singly);
            let uids: Vec<u32> = groups
                .iter()
                .copied()
                .flatten()
                .map(|it| it.uid.get())
                .collect();
            assert!(uids.iter().copied().eq(1..=sizes.len() as u32));
            groups.iter().map(|it| it.len()).collect::<Vec<_>>()
        };
        assert_eq!(lengths(&[], false), [0; 0]);
        assert_eq!(lengths(&[9, 9, 9], false), [3]);
        assert_eq!(lengths(&[9, 9, 9], true), [1, 1, 1]);
        assert_eq!(lengths(&[9; 250], false), [MAX_BATCH, MAX_BATCH, 50]);
        let most = MAX_BATCH_BYTES;
        assert_eq!(lengths(&[most, 1, most - 1, 1], false), [1, 2, 1]);
        assert_eq!(
            lengths(&[9, most + 1, u64::MAX, 9, 0, 9, 9], false),
            [1, 1, 1, 1, 1, 2]
        );
    }
}
