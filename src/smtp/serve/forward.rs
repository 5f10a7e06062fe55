//! Mail from outside that goes on to another domain, as a group or a catch-all has it: from a
//! sender of ours, to whom bounces come back, and sealed.

use super::trouble;
use crate::address::{Address, Domain};
use crate::authentication::key::SigningKey;
use crate::authentication::seal;
use crate::context::Context;
use crate::keys;
use crate::mail::srs::{self, Rewriter};
use crate::recipient;
use crate::secret::random;
use crate::smtp::session::{Commit, Trouble};
use crate::store::{self, Snapshot, Store};
use async_lock::Mutex;
use std::sync::Arc;

/// The first two messages must not make a key each.
static MAKING: Mutex<()> = Mutex::new(());

/// Gives the message a sender of ours, where it goes on for a domain of ours and has another:
/// SPF speaks for us alone.
pub async fn rewrite(context: &Context, commit: &mut Commit, now: i64) -> Result<(), Trouble> {
    let (Some(forwarder), Some(sender)) = (&commit.forwarder, &commit.envelope.sender) else {
        return Ok(());
    };
    let found = context.store.look(|it| own(it, forwarder, sender));
    let Some(own) = found.map_err(|error| trouble(&error))? else {
        return Ok(());
    };
    match rewriter(&context.store).await?.rewrite(sender, &own, now) {
        Some(rewritten) => commit.envelope.sender = Some(rewritten),
        None => log::info!("{sender} is too long to be rewritten; it goes on as it is"),
    }
    Ok(())
}

/// The domain of ours that the message goes on from; `None` where its sender is one of ours.
fn own(snapshot: &Snapshot, forwarder: &Domain, sender: &Address) -> store::Result<Option<Domain>> {
    if snapshot.is_local_domain(sender.domain())? {
        return Ok(None);
    }
    // The postmaster of this server may be written with its own name, which need not be one.
    match snapshot.is_local_domain(forwarder)? {
        true => Ok(Some(forwarder.clone())),
        false => Ok(snapshot.local_domains()?.into_iter().next()),
    }
}

async fn rewriter(store: &Store) -> Result<Rewriter, Trouble> {
    let _one = MAKING.lock().await;
    let known = store.look(recipient::rewriter);
    if let Some(known) = known.map_err(|error| trouble(&error))? {
        return Ok(known);
    }
    let secret: [u8; 32] = random().map_err(|_| Trouble::Later)?;
    let put = store.put_record(srs::KEYS, srs::KEY, secret.to_vec());
    put.await.map_err(|error| trouble(&error))?;
    Ok(Rewriter::new(&secret))
}

/// What seals a message that goes on; none where nothing does, or there is no key.
pub fn sealer(store: &Store, commit: &Commit) -> Option<Arc<SigningKey>> {
    let forwarder = commit.forwarder.as_ref()?;
    match keys::signers(store) {
        Ok(keys) => seal::sealer(&keys, forwarder.as_str()),
        Err(error) => {
            // Better unsealed than late, as with signatures.
            log::error!("the DKIM keys can't be read: {error}");
            None
        }
    }
}
