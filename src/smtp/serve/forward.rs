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
use crate::store::{self, Note, Snapshot, Store};
use async_lock::Mutex;
use std::sync::Arc;

/// Senders too long to be rewritten that are remembered at once; a tenth of them of one domain,
/// as of bulk mail, each of whose messages may have another.
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
        let domain = sender.domain().clone();
        let all =
            store.read(move |it| Ok(forgotten(it.records(srs::SENDERS)?, &domain, now, most)));
        let note = |key, value| Note {
            kind: srs::SENDERS,
            key,
            value,
        };
        let mut notes: Vec<Note> = all.await?.into_iter().map(|key| note(key, None)).collect();
        notes.push(note(token, Some(row)));
        store.deliver_noted(Vec::new(), notes).await
    };
    noted.await.map_err(|error| trouble(&error))?;
    Ok(short)
}

/// The tokens that make room for one more sender of `domain`: those to whom no bounce is taken
/// any more, and the oldest where there are as many as may be, a tenth of them at once.
fn forgotten(rows: Vec<(String, Vec<u8>)>, domain: &Domain, now: i64, most: usize) -> Vec<String> {
    let (mut kept, mut gone) = (Vec::new(), Vec::new());
    for (token, row) in rows {
        match srs::remembered(&row) {
            Some((day, sender)) if !srs::is_over(day, now) => kept.push((day, token, sender)),
            _ => gone.push(token),
        }
    }
    kept.sort_by_key(|it| it.0);
    let mut shed = |kept: &mut Vec<(i64, String, Address)>, most: usize, of: Option<&Domain>| {
        let is_of = |it: &Address| of.is_none_or(|domain| it.domain() == domain);
        let count = kept.iter().filter(|it| is_of(&it.2)).count();
        let mut surplus = match count >= most {
            true => count - most + (most / 10).max(1),
            false => 0,
        };
        kept.retain(|(_, token, sender)| {
            let goes = surplus > 0 && is_of(sender);
            if goes {
                surplus -= 1;
                gone.push(token.clone());
            }
            !goes
        });
    };
    shed(&mut kept, (most / 10).max(1), Some(domain));
    shed(&mut kept, most, None);
    gone
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
                super::shortened(&store, &rewriter, who, &own, now, 20).await
            };
            let first = short(&long, DAY).await.unwrap();
            assert_eq!(short(&long, DAY).await, Ok(first));
            assert_eq!(kept(), 1);
            // As many as there may be, of many domains, half of them old.
            for n in 1..20 {
                let day = DAY * if n % 2 == 0 { 1 } else { 100 };
                let who = Address::parse(&format!("ann@far{n}.test")).unwrap();
                let row = srs::remember(&who, day);
                let token = format!("{n:02}");
                let put = store.put_record(srs::SENDERS, &token, row);
                put.await.unwrap();
            }
            let long = |c: &str, n: usize| format!("{}@far{n}.test", c.repeat(60));
            let other = Address::parse(&long("y", 90)).unwrap();
            short(&other, 100 * DAY).await.unwrap();
            assert_eq!(kept(), 11);
            // One domain takes no more than its part, and the last come always.
            for c in ["a", "b", "c", "d", "e"] {
                let who = Address::parse(&long(c, 91)).unwrap();
                let (short, now) = (short(&who, 101 * DAY).await.unwrap(), 101 * DAY);
                assert!(rewriter.restore(&short, now).is_some_and(|it| it.is_ok()));
                assert!(kept() <= 13, "{}", kept());
            }
            for n in 100..120 {
                let who = Address::parse(&long("z", n)).unwrap();
                short(&who, 102 * DAY).await.unwrap();
                let row = srs::remember(&who, 102 * DAY);
                let all = store.look(|it| it.records(srs::SENDERS)).unwrap();
                assert!(all.len() <= 20 && all.iter().any(|it| it.1 == row));
            }
        });
    }
}
