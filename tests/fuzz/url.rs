//! The parser of IMAP URLs.

use super::fuzz;
use pillarbox::imap_url::url::{ImapUrl, MAX_URL};

const URLS: [&[u8]; 8] = [
    b"/Drafts;UIDVALIDITY=385759045/;UID=20/;section=1.MIME",
    b"imap://joe@example.com/INBOX/;uid=20/;section=1.2;urlauth=submit+fred:internal:91354a473744909de610943775f92038",
    b"imap://a%40b.example;AUTH=*@[::1]:10143/Entw%C3%BCrfe/x%2fy/;UID=4294967295",
    b"//host/x/;UID=1;EXPIRE=2026-11-23T13:00:00.5+01:00;URLAUTH=user+%e2%98%83",
    b";UID=5/;SECTION=2.3.HEADER.FIELDS.NOT%20(DATE%20%22From%22)/;PARTIAL=7.9",
    b"x/y/;UID=5/;SECTION=TEXT/;PARTIAL=4294967295.4294967295",
    b"/x/;UID=1;EXPIRE=9999-12-31T23:59:60-23:59;URLAUTH=anonymous",
    b"/x/;UID=1;URLAUTH=authuser:X-y.2:00000000000000000000000000000000ff",
];

#[test]
fn urls() {
    fuzz("imap urls", &URLS, |bytes| {
        let text = String::from_utf8_lossy(bytes);
        let Ok(url) = ImapUrl::parse(&text) else {
            return;
        };
        assert!(text.len() <= MAX_URL && text.is_ascii());
        assert!(url.server.is_none() || url.rooted && !url.mailbox.is_empty());
        let Some(given) = url.authorization.clone() else {
            return;
        };
        // The rump is a URL of its own that says the same but for the token.
        let rump = text.get(..given.rump).expect("a rump");
        let read = ImapUrl::parse(rump).expect(rump);
        let mut want = url;
        if let Some(authorization) = &mut want.authorization {
            authorization.token = None;
        }
        assert_eq!(read, want);
    });
}
