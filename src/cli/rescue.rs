//! `pillarbox rescue`: the mail of a data directory as files.

use super::{Error, data_dir, parse};
use crate::mail::MailboxInfo;
use crate::store::{Blob, Options, Snapshot, Store};
use argh::FromArgs;
use std::fs::{DirBuilder, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// Bytes of a message that are in memory at once.
const PIECE: u32 = 256 << 10;

/// Write every message as a file of its own, byte for byte: ADDRESS/MAILBOX/UID.eml. No server
/// may have the data directory meanwhile.
#[derive(FromArgs)]
#[argh(subcommand, name = "rescue")]
pub struct Rescue {
    /// directory to write to, made if missing
    #[argh(positional)]
    to: PathBuf,
    /// one account alone
    #[argh(option, arg_name = "address")]
    account: Option<String>,
    /// data directory (default /var/lib/pillarbox)
    #[argh(option)]
    dir: Option<PathBuf>,
}

impl Rescue {
    pub fn run(self) -> Result<(), Error> {
        let dir = data_dir(self.dir);
        // Nothing is made by looking.
        if !dir.join("meta.redb").exists() {
            return Err(format!("there is no store in {}", dir.display()).into());
        }
        let only = self.account.as_deref().map(parse).transpose()?;
        let store = Store::open(&dir, Options::default())
            .map_err(|error| format!("the store in {}: {error}", dir.display()))?;
        let accounts = store.look(|snapshot| snapshot.accounts())?;
        let (mut written, mut failed, mut found) = (0_u64, 0_u64, false);
        for account in accounts {
            if only.as_ref().is_some_and(|it| *it != account.address) {
                continue;
            }
            found = true;
            let place = self.to.join(plain(&account.address.to_string()));
            for mailbox in store.look(|snapshot| snapshot.mailboxes(account.id))? {
                let names = mailbox.name.as_str().split('/').map(plain);
                let place = place.join(names.collect::<PathBuf>());
                make(&place)?;
                let (good, bad) =
                    store.look(|snapshot| Ok(write_all(snapshot, &mailbox, &place)))??;
                written += good;
                failed += bad;
            }
        }
        smol::block_on(store.close());
        if !found {
            return Err("there is no such account".into());
        }
        say!("{written} messages are in {}", self.to.display());
        match failed {
            0 => Ok(()),
            _ => Err(format!("{failed} messages could not be read; the rest is there").into()),
        }
    }
}

/// How many were written, and how many can't be read. An error is the target's.
fn write_all(
    snapshot: &Snapshot,
    mailbox: &MailboxInfo,
    place: &Path,
) -> Result<(u64, u64), Error> {
    let (mut written, mut failed) = (0, 0);
    for uid in snapshot.uids(mailbox.id)?.iter() {
        let Ok(Some(message)) = snapshot.message(mailbox.id, uid) else {
            failed += 1;
            continue;
        };
        let path = place.join(format!("{uid}.eml"));
        match snapshot.blob(message.email) {
            Ok(blob) => match write(blob, &path)? {
                true => written += 1,
                false => failed += 1,
            },
            Err(_) => failed += 1,
        }
    }
    Ok((written, failed))
}

/// Whether all of it could be read; what could stays.
fn write(mut blob: Blob, path: &Path) -> Result<bool, Error> {
    let told = |error: std::io::Error| format!("{}: {error}", path.display());
    let mut options = OpenOptions::new();
    let new = options.write(true).create_new(true).mode(0o600);
    let mut file = new.open(path).map_err(told)?;
    let mut piece = Vec::new();
    let mut at = 0;
    while at < blob.size() {
        let end = blob.size().min(at.saturating_add(PIECE));
        piece.clear();
        if blob.read(at..end, &mut piece).is_err() {
            log::error!("{}: the rest can't be read", path.display());
            return Ok(false);
        }
        file.write_all(&piece).map_err(told)?;
        at = end;
    }
    Ok(true)
}

fn make(place: &Path) -> Result<(), Error> {
    let mut private = DirBuilder::new();
    let made = private.recursive(true).mode(0o700).create(place);
    made.map_err(|error| format!("{}: {error}", place.display()).into())
}

/// A name as that of one file: nothing in it leads elsewhere, or hides it.
fn plain(name: &str) -> String {
    let plain = |(n, c): (usize, char)| match c {
        '.' if n == 0 => '_',
        '/' | '\\' => '_',
        c if c.is_control() => '_',
        c => c,
    };
    name.chars().enumerate().map(plain).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_leads_nowhere_else() {
        for (name, file) in [
            ("INBOX", "INBOX"),
            ("Список 2026", "Список 2026"),
            ("..", "_."),
            (".hidden", "_hidden"),
            ("/etc", "_etc"),
            ("a\0b", "a_b"),
        ] {
            assert_eq!(plain(name), file);
        }
    }
}
