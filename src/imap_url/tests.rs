//! What URLs give, on a store in memory.

use super::Refusal;
use super::access::{Asker, authorize, open, reset};
use crate::address::Address;
use crate::mail::{AccountId, DateTime, FlagNames, MailboxName};
use crate::secret::{Credential, Secret};
use crate::store::simdisk::SimDisk;
use crate::store::{Options, Origin, Store};
use smol::block_on;
use std::sync::Arc;

const MESSAGE: &[u8] = b"From: a@b.de\r\nSubject: two\r\nMIME-Version: 1.0\r\n\
    Content-Type: multipart/mixed; boundary=x\r\n\r\n--x\r\n\r\none\r\n--x\r\n\
    Content-Type: application/x\r\n\r\ntwo\nlf\r\n--x--\r\n";

/// ann and bob of b.de; ann's INBOX and Drafts/x have [`MESSAGE`] as UID 1.
fn store() -> Store {
    let options = Options {
        reserve: 0,
        ballast: 0,
        ..Options::default()
    };
    let store = Store::open_on(Arc::new(SimDisk::default()), options).unwrap();
    let credential = Credential::create(&Secret::new("correct horse".into())).unwrap();
    block_on(async {
        for name in ["ann@b.de", "bob@b.de"] {
            let address = Address::parse(name).unwrap();
            let made = store.create_account(address, credential.clone());
            made.await.unwrap();
        }
        let ann = AccountId(1);
        let name = |name| MailboxName::parse(name).unwrap();
        let made = store.create_mailbox(ann, name("Drafts/x"), None);
        made.await.unwrap();
        for mailbox in ["INBOX", "Drafts/x"] {
            let found = store.look(|it| it.mailbox(ann, &name(mailbox))).unwrap();
            let mut staging = store.stage(None).await.unwrap();
            staging.write(MESSAGE).await.unwrap();
            let date = DateTime { unix: 0, offset: 0 };
            let message = (staging.finish().await.unwrap(), FlagNames::default(), date);
            let append = store.append(found.unwrap().id, vec![message], Origin(None));
            append.await.unwrap();
        }
    });
    store
}

fn asker(account: u32) -> Asker {
    Asker {
        account: AccountId(account),
        submits: false,
        hostname: "mail.b.de".into(),
        selected: None,
        now: 1_000_000,
    }
}

fn read(store: &Store, asker: &Asker, url: &str) -> Result<String, String> {
    block_on(async {
        let opened = open(store, asker, url).await;
        let mut content = opened.map_err(|refusal| format!("{refusal:?}"))?;
        let (size, mut bytes) = (content.size(), Vec::new());
        loop {
            let piece = content.next(store).await.unwrap();
            if piece.is_empty() {
                break;
            }
            bytes.extend_from_slice(&piece);
        }
        assert_eq!(size, bytes.len() as u64);
        Ok(String::from_utf8(bytes).unwrap())
    })
}

#[test]
fn own_messages_and_parts_come_as_they_are_stored() {
    let store = store();
    let ann = asker(1);
    let cases = [
        ("/INBOX/;UID=1", std::str::from_utf8(MESSAGE).unwrap()),
        ("/INBOX/;UID=1/;SECTION=2", "two\nlf"),
        (
            "/inbox/;UID=1/;SECTION=2.MIME",
            "Content-Type: application/x\r\n\r\n",
        ),
        ("/INBOX/;UID=1/;SECTION=1/;PARTIAL=1.1", "n"),
        ("/INBOX/;UID=1/;PARTIAL=999999", ""),
        (
            "/INBOX/;UID=1/;SECTION=HEADER.FIELDS%20(Subject)/;PARTIAL=9",
            "two\r\n\r\n",
        ),
        ("imap://ann@mail.b.de/INBOX/;UID=1/;SECTION=1", "one"),
        (
            "imap://ann%40b.de@b.de:10143/INBOX/;UID=1/;SECTION=1",
            "one",
        ),
        ("//localhost/Drafts/x/;UID=1/;SECTION=1", "one"),
    ];
    for (url, want) in cases {
        assert_eq!(read(&store, &ann, url).as_deref(), Ok(want), "{url}");
    }
    let refusals = [
        ("/INBOX/;UID=2", "Missing"),
        ("/INBOX;UIDVALIDITY=1/;UID=1", "Missing"),
        ("/nowhere/;UID=1", "Missing"),
        ("/INBOX/;UID=1/;SECTION=3", "Missing"),
        (";UID=1", "Missing"),
        ("imap://bob@mail.b.de/INBOX/;UID=1", "Foreign"),
        ("imap://ann@mail.example/INBOX/;UID=1", "Foreign"),
    ];
    for (url, want) in refusals {
        assert_eq!(read(&store, &ann, url), Err(want.into()), "{url}");
    }
    assert_eq!(
        read(&store, &asker(2), "/INBOX/;UID=1"),
        Err("Missing".into())
    );
}

#[test]
fn relative_urls_are_about_the_selected_mailbox() {
    let store = store();
    let mut ann = asker(1);
    ann.selected = MailboxName::parse("Drafts/y").ok();
    let one = Ok("one".to_owned());
    assert_eq!(read(&store, &ann, "x/;UID=1/;SECTION=1"), one);
    assert_eq!(read(&store, &ann, "/Drafts/x/;UID=1/;SECTION=1"), one);
    ann.selected = MailboxName::parse("Drafts/x").ok();
    assert_eq!(read(&store, &ann, ";UID=1/;SECTION=1"), one);
    assert_eq!(read(&store, &ann, "/;UID=1/;SECTION=1"), one);
}

#[test]
fn a_token_opens_one_url_to_whom_it_names() {
    let store = store();
    let (ann, bob) = (asker(1), asker(2));
    let submits = |asker: &Asker| Asker {
        submits: true,
        ..asker.clone()
    };
    let make = |access: &str| {
        let rump = format!("imap://ann@mail.b.de/INBOX/;UID=1/;SECTION=1;urlauth={access}");
        block_on(authorize(&store, &ann, &rump)).unwrap()
    };
    let no = || Err("Forbidden".to_owned());
    let one = || Ok("one".to_owned());
    let url = make("submit+bob");
    assert_eq!(read(&store, &submits(&bob), &url), one());
    assert_eq!(read(&store, &submits(&ann), &url), no());
    assert_eq!(read(&store, &bob, &url), no());
    let url = make("user+bob");
    assert_eq!(read(&store, &bob, &url), one());
    assert_eq!(read(&store, &ann, &url), no());
    assert_eq!(read(&store, &submits(&bob), &url), no());
    for access in ["authuser", "anonymous"] {
        assert_eq!(read(&store, &bob, &make(access)), one());
    }
    // The rump as it is written, and no other, nor another token.
    let url = make("authuser");
    assert_eq!(
        read(&store, &bob, &url.replace("SECTION=1", "SECTION=2")),
        no()
    );
    assert_eq!(read(&store, &bob, &url.replace("imap:", "IMAP:")), no());
    assert_eq!(
        read(&store, &bob, &url.replace("INTERNAL:01", "INTERNAL:02")),
        no()
    );
    assert_eq!(
        read(&store, &bob, &url.replace("INTERNAL", "EXTERNAL")),
        no()
    );
    let (rump, _) = url.split_once(":INTERNAL").unwrap();
    assert_eq!(read(&store, &bob, rump), no());
    assert_eq!(read(&store, &bob, &url.replace("ann@", "nobody@")), no());
    // Made for a time.
    let rump = |date: &str| {
        let rump =
            format!("imap://ann@b.de/INBOX/;UID=1/;SECTION=1;EXPIRE={date};URLAUTH=authuser");
        block_on(authorize(&store, &ann, &rump)).unwrap()
    };
    assert_eq!(read(&store, &bob, &rump("1970-01-12T13:46:40Z")), one());
    assert_eq!(read(&store, &bob, &rump("1970-01-12T13:46:39Z")), no());
}

#[test]
fn keys_are_reset_and_go_with_their_mailboxes() {
    let store = store();
    let (ann, bob) = (asker(1), asker(2));
    let rump = "imap://ann@b.de/Drafts/x/;UID=1/;SECTION=1;urlauth=authuser";
    let make = || block_on(authorize(&store, &ann, rump)).unwrap();
    let name = MailboxName::parse("Drafts/x").unwrap();
    let one = Ok("one".to_owned());
    let first = make();
    assert_eq!(make(), first);
    assert_eq!(read(&store, &bob, &first), one);
    block_on(reset(&store, ann.account, Some(&name))).unwrap();
    assert!(read(&store, &bob, &first).is_err());
    let second = make();
    assert_eq!(read(&store, &bob, &second), one);
    block_on(reset(&store, ann.account, None)).unwrap();
    assert!(read(&store, &bob, &second).is_err());
    let third = make();
    assert!(first != second && second != third);
    let keys = || store.look(|it| it.record_keys("url-key")).unwrap().len();
    assert_eq!(keys(), 1);
    block_on(store.delete_mailbox(ann.account, name)).unwrap();
    assert_eq!(keys(), 0);
}

#[test]
fn tokens_are_made_for_own_mailboxes_alone() {
    let store = store();
    let refused = |rump: &str| {
        let made = block_on(authorize(&store, &asker(1), rump));
        made.err().map(|refusal| match refusal {
            Refusal::Syntax(_) => "Syntax".to_owned(),
            other => format!("{other:?}"),
        })
    };
    for (rump, want) in [
        ("imap://ann@b.de/INBOX/;UID=1", "Syntax"),
        ("imap://b.de/INBOX/;UID=1;urlauth=authuser", "Syntax"),
        ("/INBOX/;UID=1;urlauth=authuser", "Syntax"),
        ("imap://ann@b.de/INBOX;urlauth=authuser", "Syntax"),
        ("imap://ann@b.de/INBOX/;UID=1;urlauth=submit", "Syntax"),
        ("imap://bob@b.de/INBOX/;UID=1;urlauth=authuser", "Foreign"),
        ("imap://ann@c.de/INBOX/;UID=1;urlauth=authuser", "Foreign"),
        ("imap://ann@b.de/none/;UID=1;urlauth=authuser", "Missing"),
    ] {
        assert_eq!(refused(rump).as_deref(), Some(want), "{rump}");
    }
}
