//! What there is over there that has not been taken.

use super::talk::{UNASKED, away};
use super::{Imap, Listed, MAX_LISTED};
use crate::collect::failure::Failure;
use crate::collect::memory::Unique;
use crate::imap::client::{Command, Event, command};
use crate::mail::{Uid, UidSet};

impl Imap<'_> {
    /// What is not taken yet, in order.
    pub(super) async fn list(&mut self) -> Result<Vec<Listed>, Failure> {
        let mut listed = Vec::new();
        for left in command::chunks(&self.memory.left) {
            self.list_by(&Command::ListOf(&left), &mut listed).await?;
        }
        // Those that are gone need no memory.
        let there: UidSet = listed.iter().map(|it: &Listed| it.uid).collect();
        let still = self.memory.left.iter().filter(|uid| there.contains(*uid));
        self.memory.left = still.collect();
        let (left, max_size) = (&self.memory.left, self.job.max_size());
        listed.retain(|it| {
            left.contains(it.uid)
                && it.size <= max_size
                && !self.job.is_too_large(self.unique(it.uid))
        });
        let Some(from) = self.memory.highest.checked_add(1).and_then(Uid::new) else {
            return Ok(listed);
        };
        let mut new = Vec::new();
        self.list_by(&Command::List(from), &mut new).await?;
        // `n:*` has the last message even where that is below n (RFC 3501, 9).
        new.retain(|it| it.uid >= from);
        listed.append(&mut new);
        listed.sort_unstable_by_key(|it| it.uid);
        listed.dedup_by_key(|it| it.uid);
        listed.truncate(MAX_LISTED);
        Ok(listed)
    }

    async fn list_by(
        &mut self,
        command: &Command<'_>,
        listed: &mut Vec<Listed>,
    ) -> Result<(), Failure> {
        self.give(command).await?;
        loop {
            match self.next().await? {
                Event::Fetch(fetch) => {
                    // One that does not say its size is found out when it comes.
                    if let Some(uid) = fetch.uid {
                        let size = fetch.size.unwrap_or(0);
                        listed.push(Listed { uid, size });
                    }
                }
                Event::Done(outcome) if outcome.ok => return Ok(()),
                Event::Done(outcome) => {
                    return Err(Failure::said_no("list its messages", &outcome.text));
                }
                Event::Bye(text) => return Err(away(&text)),
                Event::Body(_) => return Err(Failure::passing(UNASKED)),
                _ => {}
            }
        }
    }

    pub(super) fn unique(&self, uid: Uid) -> Unique {
        Unique::new(&format!("{} {uid}", self.memory.validity))
    }
}
