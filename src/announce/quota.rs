//! Quotas: which one holds for an account, and the messages that warn of it, once each until
//! there is room again.

use super::{Announcement, to_with};
use crate::mail::option::Language;
use crate::mail::{AccountId, Quota};
use crate::settings::Settings;
use crate::store::{Note, Result, Snapshot, Store};

/// The kind of the records of what was warned of: by account, the percentage.
const WARNED: &str = "quota-warned";

/// What holds for accounts that have no quota of their own.
pub fn default_quota(settings: &Settings) -> Quota {
    Quota {
        bytes: settings.account_quota,
        messages: settings.account_max_messages.into(),
    }
}

/// Warns the accounts that have come to another [`Quota::level`] since they were looked at last.
pub async fn warn(store: &Store, settings: &Settings) {
    let default = default_quota(settings);
    let found = store.read(move |snapshot| due(snapshot, default)).await;
    let due = match found {
        Ok(due) => due,
        Err(error) => return log::warn!("quotas can't be looked at: {error}"),
    };
    for it in due {
        let note = Note {
            kind: WARNED,
            key: it.account.0.to_string(),
            value: it.level.map(|level| level.to_string().into_bytes()),
        };
        let done = match it.level.filter(|level| Some(*level) > it.before) {
            Some(_) => {
                let language = it
                    .language
                    .unwrap_or_else(|| Language::of(settings.language));
                let what = warning(it.percent, it.quota, language);
                to_with(store, &settings.hostname, it.account, what, vec![note]).await
            }
            None => store.note(vec![note]).await,
        };
        if let Err(error) = done {
            log::warn!(
                "account {} can't be warned of its quota: {error}",
                it.account.0
            );
        }
    }
}

/// An account whose level is not what it was.
#[derive(Debug, PartialEq, Eq)]
struct Due {
    account: AccountId,
    language: Option<Language>,
    quota: Quota,
    percent: u64,
    before: Option<u64>,
    level: Option<u64>,
}

fn due(snapshot: &Snapshot, default: Quota) -> Result<Vec<Due>> {
    let mut due = Vec::new();
    for account in snapshot.accounts()? {
        let options = snapshot.account_options(account.id)?;
        let quota = default.or(&options);
        let warned = snapshot.record(WARNED, &account.id.0.to_string())?;
        if quota == Quota::default() && warned.is_none() {
            continue;
        }
        let used = snapshot.usage(account.id)?;
        let (percent, level) = (quota.percent(used), quota.level(used));
        let before = warned.and_then(|it| String::from_utf8(it).ok()?.parse().ok());
        if level != before {
            due.push(Due {
                account: account.id,
                language: options.language,
                quota,
                percent,
                before,
                level,
            });
        }
    }
    Ok(due)
}

fn warning(percent: u64, quota: Quota, language: Language) -> Announcement {
    let percent = percent.to_string();
    let mut limits = Vec::new();
    if quota.bytes > 0 {
        limits.push(format!("{} MiB", quota.bytes >> 20));
    }
    if quota.messages > 0 {
        let messages = language.choose("messages", "писем");
        limits.push(format!("{} {messages}", quota.messages));
    }
    let limits = limits.join(", ");
    Announcement {
        subject: language.choose(
            format!("Your mailbox is {percent} % full"),
            format!("Почтовый ящик заполнен на {percent} %"),
        ),
        text: language.choose(
            format!(
                "Your mailbox is {percent} % full. It may hold {limits}.\n\n\
                 Once it is full, new mail is refused. Delete what you need no more,\n\
                 and empty the trash.\n"
            ),
            format!(
                "Почтовый ящик заполнен на {percent} %. Он вмещает {limits}.\n\n\
                 Когда он заполнится, новые письма приниматься не будут. Удалите\n\
                 ненужное и очистите корзину.\n"
            ),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::address::Address;
    use crate::mail::{DateTime, FlagNames, MailboxName, UidSet};
    use crate::secret::{Credential, Secret};
    use crate::store::simdisk::SimDisk;
    use crate::store::{Delivery, Options, Origin};
    use smol::block_on;
    use std::sync::Arc;

    #[test]
    fn warnings_come_once_each_until_there_is_room_again() {
        let options = Options {
            reserve: 0,
            ballast: 0,
            ..Options::default()
        };
        let store = Store::open_on(Arc::new(SimDisk::default()), options).unwrap();
        let credential = Credential::create(&Secret::new("correct horse".into())).unwrap();
        let address = Address::parse("ann@b.test").unwrap();
        let ann = block_on(store.create_account(address, credential)).unwrap();
        let settings = Settings {
            account_max_messages: 20,
            ..Settings::default()
        };
        let inbox = || {
            let found = store.look(|it| it.mailbox(ann, &MailboxName::inbox()));
            found.unwrap().unwrap()
        };
        let put = |count: usize| {
            for _ in 0..count {
                block_on(async {
                    let mut staging = store.stage(None).await.unwrap();
                    staging.write(b"Subject: x\r\n\r\n").await.unwrap();
                    let delivery = Delivery {
                        account: ann,
                        mailbox: MailboxName::inbox(),
                        flags: FlagNames::default(),
                    };
                    let (staged, date) = (
                        staging.finish().await.unwrap(),
                        DateTime { unix: 1, offset: 0 },
                    );
                    store
                        .deliver(staged, date, vec![delivery], None)
                        .await
                        .unwrap();
                });
            }
        };
        let after = || {
            for _ in 0..3 {
                block_on(warn(&store, &settings));
            }
            inbox().messages
        };
        put(15);
        assert_eq!(after(), 15);
        put(1);
        assert_eq!(after(), 17, "80 %");
        put(1);
        assert_eq!(after(), 18);
        put(1);
        assert_eq!(after(), 20, "95 %");
        let all = UidSet::from_ranges(vec![(1, 5)]);
        block_on(store.expunge(inbox().id, Some(all), true, Origin(None))).unwrap();
        assert_eq!(after(), 15);
        put(1);
        assert_eq!(after(), 17, "80 % again");
        // A quota of its own goes before the server's.
        block_on(store.change_options(ann, |it| it.max_messages = Some(0))).unwrap();
        assert_eq!(after(), 17);
        assert_eq!(store.look(|it| it.record_keys(WARNED)), Ok(Vec::new()));
    }

    #[test]
    fn a_warning_says_what_there_is_room_for() {
        let quota = Quota {
            bytes: 2 << 30,
            messages: 10,
        };
        let what = warning(95, quota, Language::English);
        assert!(what.text.contains("2048 MiB, 10 messages"));
        let what = warning(80, quota, Language::Russian);
        assert!(what.subject.contains("80 %") && what.text.contains("10 писем"));
    }
}
