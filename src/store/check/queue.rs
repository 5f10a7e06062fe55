//! The queue: each item has its place in the order, and each place its item.

use super::{Check, Checked, readable, repair::Fix};
use crate::mail::outgoing::QueueId;
use crate::store::error::Result;
use crate::store::outbox::{ITEM, place};
use crate::store::outbox_row::decode;
use crate::store::schema::*;
use crate::store::snapshot::Snapshot;
use crate::store::table::Field;

impl Check<'_> {
    pub(super) fn queue(&mut self) -> Checked<()> {
        self.walk(
            OUTBOX.name(),
            vec![],
            None,
            &mut |it, snapshot, key, value| {
                let (moment, id) = readable(<(u64, u64)>::read(key))?;
                match moment {
                    ITEM => it.queue_item(snapshot, QueueId(id), value),
                    moment => it.queue_place(snapshot, moment, QueueId(id)),
                }
            },
        )
    }

    fn queue_item(&mut self, snapshot: &Snapshot, id: QueueId, value: &[u8]) -> Result<()> {
        let item = decode(id, value)?;
        let outbox = OUTBOX.read(&snapshot.txn)?;
        if outbox.get((place(&item), id.0))?.is_none() {
            let what = format!("message {} of the queue is never tried", id.0);
            self.derived(what, Fix::Place(id));
        }
        Ok(())
    }

    fn queue_place(&mut self, snapshot: &Snapshot, moment: u64, id: QueueId) -> Result<()> {
        // One that can't be read is told of there.
        let Ok(item) = snapshot.queue_item(id) else {
            return Ok(());
        };
        if item.is_none_or(|item| place(&item) != moment) {
            let what = format!(
                "message {} of the queue has a wrong place in the order",
                id.0
            );
            self.derived(what, Fix::StrayPlace(moment, id));
        }
        Ok(())
    }
}
