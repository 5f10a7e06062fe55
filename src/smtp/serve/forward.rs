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

/// Senders too long to be rewritten that are remembered at once.
const MAX_SENDERS: usize = 5000;
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
    let rewriter = rewriter(&context.store).await?;
    commit.envelope.sender = match rewriter.rewrite(sender, &own, now) {
        Some(rewritten) => Some(rewritten),
        None => {
            let short = shortened(&context.store, &rewriter, sender, &own, now, MAX_SENDERS);
            Some(short.await?)
        }
    };
    Ok(())
}

/// For a sender that gets too long, as those of bulk mail do: it is remembered for as long as
/// bounces may come, one of `most`.
async fn shortened(
    store: &Store,
    rewriter: &Rewriter,
    sender: &Address,
    own: &Domain,
    now: i64,
    most: usize,
) -> Result<Address, Trouble> {
    let Some((short, token)) = rewriter.shorten(sender, own, now) else {
        return Err(Trouble::Refused(
            "A member of that group is elsewhere, and its domain too long for a sender of its own",
        ));
    };
    let row = srs::remember(sender, now);
    let known = store.look(|it| it.record(srs::SENDERS, &token));
    if known.map_err(|error| trouble(&error))? == Some(row.clone()) {
        return Ok(short);
    }
    let noted = async {
        let is_full = || store.look(|it| Ok(it.record_keys(srs::SENDERS)?.len() >= most));
        if is_full()? {
            forget(store, now).await?;
            if is_full()? {
                return Ok(false);
            }
        }
        store.put_record(srs::SENDERS, &token, row).await?;
        Ok(true)
    };
    match noted.await {
        Ok(true) => Ok(short),
        Ok(false) => Err(Trouble::Wait(
            "Too many long senders' addresses went on to other servers lately; try later",
        )),
        Err(error) => Err(trouble(&error)),
    }
}

/// Those to whom no bounce is taken any more.
async fn forget(store: &Store, now: i64) -> store::Result<()> {
    let all = store.look(|it| it.records(srs::SENDERS))?;
    for (token, row) in all {
        if srs::remembered(&row).is_none_or(|(day, _)| srs::is_over(day, now)) {
            store.remove_record(srs::SENDERS, &token).await?;
        }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Options;
    use crate::store::simdisk::SimDisk;

    const DAY: i64 = 24 * 3600;

    #[test]
    fn long_senders_are_remembered_once_and_forgotten_when_they_are_old() {
        let options = Options {
            reserve: 0,
            ballast: 0,
            ..Options::default()
        };
        let store = Store::open_on(Arc::new(SimDisk::new()), options).unwrap();
        let rewriter = Rewriter::new(b"key");
        let own = Domain::parse("office.test").unwrap();
        let long = Address::parse(&format!("{}@far.test", "x".repeat(60))).unwrap();
        let kept = || store.look(|it| it.record_keys(srs::SENDERS)).unwrap().len();
        smol::block_on(async {
            let short = async |who: &Address, now| {
                super::shortened(&store, &rewriter, who, &own, now, 10).await
            };
            let first = short(&long, DAY).await.unwrap();
            assert_eq!(short(&long, DAY).await, Ok(first));
            assert_eq!(kept(), 1);
            // As many as there may be, half of them old.
            for n in 1..10 {
                let day = DAY * if n % 2 == 0 { 1 } else { 100 };
                let row = srs::remember(&long, day);
                let token = n.to_string();
                let put = store.put_record(srs::SENDERS, &token, row);
                put.await.unwrap();
            }
            let other = Address::parse(&format!("{}@far.test", "y".repeat(60))).unwrap();
            let soon = short(&other, 2 * DAY).await;
            assert!(matches!(soon, Err(Trouble::Wait(_))), "{soon:?}");
            short(&other, 100 * DAY).await.unwrap();
            assert_eq!(kept(), 6);
        });
    }
}
