//! Messages of the server itself to people: alarms, warnings, a welcome. Each goes into INBOX
//! in one transaction; no quota and no rule stops it.

pub mod quota;
pub mod welcome;

use crate::address::Address;
use crate::mail::{Account, AccountId, DateTime, FlagNames, MailboxName};
use crate::secret::random;
use crate::store::{Delivery, Error, Note, Noted, Result, Store};
use mail_builder::MessageBuilder;
use mail_builder::headers::date::Date;
use mail_builder::headers::raw::Raw;

/// What is said, in the language of who reads it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Announcement {
    pub subject: String,
    /// Lines end in LF or CRLF.
    pub text: String,
}

/// Puts it into the account's INBOX; `hostname` is the server's own name.
/// [`Error::NoAccount`] if the account is gone, [`Error::Full`] where the disk is.
pub async fn to(
    store: &Store,
    hostname: &str,
    account: AccountId,
    what: Announcement,
) -> Result<()> {
    to_with(store, hostname, account, what, Vec::new()).await
}

/// As [`to`], and in the same transaction makes the notes that say it was told.
pub async fn to_with(
    store: &Store,
    hostname: &str,
    account: AccountId,
    what: Announcement,
    notes: Vec<Note>,
) -> Result<()> {
    let found = store.look(|snapshot| snapshot.account(account))?;
    let account = found.ok_or(Error::NoAccount)?;
    post(store, hostname, &[account], &what, notes).await
}

/// Puts it into the INBOX of those who look after the server, by their addresses (the setting
/// `server.administrators`), as one message. Gives how many have it; nobody: it is only in the
/// log.
pub async fn to_owner(
    store: &Store,
    hostname: &str,
    administrators: &[Address],
    what: Announcement,
) -> Result<usize> {
    let accounts = store.look(|snapshot| {
        let mut accounts: Vec<Account> = Vec::new();
        for address in administrators {
            match snapshot.account_by_address(address)? {
                Some(account) if accounts.contains(&account) => {}
                Some(account) => accounts.push(account),
                None => log::warn!("server.administrators names {address}: no account here"),
            }
        }
        Ok(accounts)
    })?;
    log::warn!("for the owner: {}", what.subject);
    if !accounts.is_empty() {
        post(store, hostname, &accounts, &what, Vec::new()).await?;
    }
    Ok(accounts.len())
}

async fn post(
    store: &Store,
    hostname: &str,
    accounts: &[Account],
    what: &Announcement,
    notes: Vec<Note>,
) -> Result<()> {
    let date = DateTime {
        unix: jiff::Timestamp::now().as_second(),
        offset: 0,
    };
    let failed = |why: String| Error::Storage(why);
    let number: [u8; 12] = random().map_err(|_| failed("no random numbers".into()))?;
    let number: String = number.iter().map(|byte| format!("{byte:02x}")).collect();
    let bytes = write(hostname, accounts, what, date.unix, &number);
    let bytes = bytes.map_err(|error| failed(error.to_string()))?;
    let mut staging = store.stage(Some(bytes.len() as u64)).await?;
    staging.write(&bytes).await?;
    let delivery = |account: &Account| Delivery {
        account: account.id,
        mailbox: MailboxName::inbox(),
        flags: FlagNames::default(),
    };
    let message = Noted {
        message: &staging.finish().await?,
        date,
        deliveries: accounts.iter().map(delivery).collect(),
    };
    store.deliver_noted(vec![message], notes).await
}

/// Nothing answers it: it says that no person wrote it (RFC 3834, 5).
fn write(
    hostname: &str,
    accounts: &[Account],
    what: &Announcement,
    now: i64,
    number: &str,
) -> std::io::Result<Vec<u8>> {
    let to: Vec<String> = accounts.iter().map(|it| it.address.to_string()).collect();
    let to: Vec<&str> = to.iter().map(String::as_str).collect();
    MessageBuilder::new()
        .header("Return-Path", Raw::new("<>"))
        .from(("pillarbox", format!("postmaster@{hostname}").as_str()))
        .to(to)
        .subject(what.subject.as_str())
        .date(Date::new(now))
        .message_id(format!("{number}@{hostname}"))
        .header("Auto-Submitted", Raw::new("auto-generated"))
        .text_body(what.text.as_str())
        .write_to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secret::{Credential, Secret};
    use crate::store::Options;
    use crate::store::simdisk::SimDisk;
    use smol::block_on;
    use std::sync::Arc;

    fn address(text: &str) -> Address {
        Address::parse(text).unwrap()
    }

    fn store() -> Store {
        let options = Options {
            reserve: 0,
            ballast: 0,
            ..Options::default()
        };
        let store = Store::open_on(Arc::new(SimDisk::default()), options).unwrap();
        let credential = Credential::create(&Secret::new("correct horse".into())).unwrap();
        for name in ["ann@b.test", "bob@b.test"] {
            block_on(store.create_account(address(name), credential.clone())).unwrap();
        }
        block_on(store.add_alias(address("boss@b.test"), AccountId(1))).unwrap();
        store
    }

    fn inbox(store: &Store, account: u32) -> u32 {
        let found = store.look(|it| it.mailbox(AccountId(account), &MailboxName::inbox()));
        found.unwrap().unwrap().messages
    }

    fn what() -> Announcement {
        Announcement {
            subject: "Почта почти заполнена".into(),
            text: "Line one\nстрока два\n".into(),
        }
    }

    #[test]
    fn the_owner_has_it_once_and_strangers_are_passed_over() {
        let store = store();
        let to = ["ann@b.test", "boss@b.test", "nobody@b.test"].map(address);
        let told = block_on(to_owner(&store, "mx.b.test", &to, what()));
        assert_eq!(told, Ok(1));
        assert_eq!((inbox(&store, 1), inbox(&store, 2)), (1, 0));
        assert_eq!(block_on(to_owner(&store, "mx.b.test", &[], what())), Ok(0));
        let gone = super::to(&store, "mx.b.test", AccountId(9), what());
        assert_eq!(block_on(gone), Err(Error::NoAccount));
        block_on(super::to(&store, "mx.b.test", AccountId(2), what())).unwrap();
        assert_eq!(inbox(&store, 2), 1);
    }

    #[test]
    fn it_says_that_no_person_wrote_it() {
        let account = Account {
            id: AccountId(1),
            address: address("ann@b.test"),
            aliases: Vec::new(),
        };
        let text = write("mx.b.test", &[account], &what(), 1_800_000_000, "0123").unwrap();
        let text = String::from_utf8(text).unwrap();
        for line in [
            "Return-Path: <>\r\n",
            "From: \"pillarbox\" <postmaster@mx.b.test>\r\n",
            "To: <ann@b.test>\r\n",
            "Message-ID: <0123@mx.b.test>\r\n",
            "Auto-Submitted: auto-generated\r\n",
            "Subject: =?utf-8?",
        ] {
            assert!(text.contains(line), "{line} is not in {text}");
        }
        assert!(text.is_ascii());
    }
}
