//! Who may read what a URL names: its owner, and whom the owner has given a token
//! (URLAUTH, RFC 4467, with its mechanism INTERNAL).
//!
//! A token is a version octet and HMAC-SHA-256 of the rump, with the mailbox's key.

use super::Refusal;
use super::content::{self, Content};
use super::url::{Access, Authorization, ImapUrl, MAX_URL, Server};
use crate::address::Domain;
use crate::mail::{AccountId, MailboxName};
use crate::secret::random;
use crate::store::{Error, Snapshot, Store, UrlKey};
use ring::hmac;
use std::fmt::Write;

/// The one mechanism.
pub const INTERNAL: &str = "INTERNAL";
/// Says how the token was made, should that ever change (RFC 4467, 2.4.1).
const VERSION: u8 = 1;

type Result<T> = std::result::Result<T, Refusal>;

/// On whose behalf a URL is resolved, and where.
#[derive(Clone, Debug)]
pub struct Asker {
    pub account: AccountId,
    /// By the submission server for that account, not by a session of its own.
    pub submits: bool,
    pub hostname: String,
    /// The mailbox that relative URLs are about.
    pub selected: Option<MailboxName>,
    /// Seconds since 1970.
    pub now: i64,
}

/// Finds what the URL names, if the asker may have it.
pub async fn open(store: &Store, asker: &Asker, text: &str) -> Result<Content> {
    let url = ImapUrl::parse(text).map_err(Refusal::Syntax)?;
    let plausible = random_key()?;
    let (asker, text) = (asker.clone(), text.to_owned());
    let read = store.read(move |snapshot| {
        Ok(match &url.authorization {
            None => own(snapshot, &asker, &url),
            Some(given) => authorized(snapshot, &asker, &url, given, &text, plausible),
        })
    });
    read.await?
}

/// The asker's own, without a token.
fn own(snapshot: &Snapshot, asker: &Asker, url: &ImapUrl) -> Result<Content> {
    let mailbox = own_mailbox(snapshot, asker, url)?;
    content::find(snapshot, asker.account, &mailbox, url)
}

/// The mailbox of a URL that has to be the asker's.
fn own_mailbox(snapshot: &Snapshot, asker: &Asker, url: &ImapUrl) -> Result<MailboxName> {
    if let Some(server) = &url.server {
        check_host(snapshot, asker, server)?;
        if let Some(user) = &server.user
            && snapshot.account_by_login(user)?.map(|it| it.id) != Some(asker.account)
        {
            return Err(Refusal::Foreign);
        }
    }
    content::mailbox(url, asker.selected.as_ref())
}

/// Whether that is a name of this server: its own, or one of or in the domains it has.
fn check_host(snapshot: &Snapshot, asker: &Asker, server: &Server) -> Result<()> {
    let host = server.host.as_str();
    let local = ["localhost", "127.0.0.1", "[::1]"].contains(&host);
    if local || host.eq_ignore_ascii_case(&asker.hostname) {
        return Ok(());
    }
    let above = host.split_once('.').map_or("", |(_, above)| above);
    for name in [host, above] {
        if let Ok(domain) = Domain::parse(name)
            && snapshot.is_local_domain(&domain)?
        {
            return Ok(());
        }
    }
    Err(Refusal::Foreign)
}

/// Anybody's, with a token. Whatever is wrong costs the same and says the same
/// (RFC 4467, 6).
fn authorized(
    snapshot: &Snapshot,
    asker: &Asker,
    url: &ImapUrl,
    given: &Authorization,
    text: &str,
    plausible: UrlKey,
) -> Result<Content> {
    let server = url.server.as_ref().ok_or(Refusal::Forbidden)?;
    check_host(snapshot, asker, server)?;
    let mailbox = content::mailbox(url, None).ok();
    let owner = match &server.user {
        Some(user) => snapshot.account_by_login(user)?,
        None => None,
    };
    let mut key = None;
    if let (Some(owner), Some(mailbox)) = (&owner, &mailbox)
        && let Some(info) = snapshot.mailbox(owner.id, mailbox)?
    {
        key = snapshot.url_key(info.id)?;
    }
    let known = key.is_some();
    let key = signing_key(&key.unwrap_or(plausible));
    let rump = text.get(..given.rump).unwrap_or_default().as_bytes();
    let token = given.token.as_ref();
    let valid = token.is_some_and(|token| {
        let (version, signature) = token.bytes.split_first().unwrap_or((&0, &[]));
        let verified = hmac::verify(&key, rump, signature).is_ok();
        verified && *version == VERSION && token.mechanism == INTERNAL
    });
    let is_asker = |user: &str| -> Result<bool> {
        let account = snapshot.account_by_login(user)?;
        Ok(account.map(|it| it.id) == Some(asker.account))
    };
    let meant = match &given.access {
        Access::Submit(user) => asker.submits && is_asker(user)?,
        Access::User(user) => !asker.submits && is_asker(user)?,
        // There are no anonymous sessions.
        Access::AuthUser | Access::Anonymous => true,
    };
    let alive = given.expire.is_none_or(|last| asker.now <= last);
    match (owner, mailbox) {
        (Some(owner), Some(mailbox)) if valid && known && meant && alive => {
            content::find(snapshot, owner.id, &mailbox, url)
        }
        _ => Err(Refusal::Forbidden),
    }
}

/// What a token adds to its URL: mechanism, version and hash, with their colons.
const TOKEN: usize = 2 + INTERNAL.len() + 2 * (1 + 32);

/// GENURLAUTH: the rump with its token. The mailbox is the asker's own and has a key from
/// now on.
pub async fn authorize(store: &Store, asker: &Asker, rump: &str) -> Result<String> {
    if rump.len() > MAX_URL - TOKEN {
        return Err(Refusal::Syntax("The URL would be too long with its token"));
    }
    let url = ImapUrl::parse(rump).map_err(Refusal::Syntax)?;
    match (&url.server, &url.authorization) {
        (Some(Server { user: Some(_), .. }), Some(given)) if given.token.is_none() => {}
        (Some(Server { user: Some(_), .. }), Some(_)) => {
            return Err(Refusal::Syntax("The URL has a token already"));
        }
        (Some(Server { user: Some(_), .. }), None) => {
            return Err(Refusal::Syntax(
                "The URL has no access identifier: ;URLAUTH=",
            ));
        }
        _ => {
            let text = "The URL has to begin with imap://, its owner's name, @ and this server";
            return Err(Refusal::Syntax(text));
        }
    }
    let id = store.look(|snapshot| {
        let mailbox = own_mailbox(snapshot, asker, &url);
        mailbox.map_or_else(
            |refusal| Ok(Err(refusal)),
            |mailbox| {
                let info = snapshot.mailbox(asker.account, &mailbox)?;
                Ok(info.map(|it| it.id).ok_or(Refusal::Missing))
            },
        )
    })??;
    let key = store.url_key(id, random_key()?, false).await?;
    let tag = hmac::sign(&signing_key(&key), rump.as_bytes());
    let mut full = format!("{rump}:{INTERNAL}:{VERSION:02x}");
    for byte in tag.as_ref() {
        let _ = write!(full, "{byte:02x}");
    }
    Ok(full)
}

/// RESETKEY: all tokens of the mailbox are void; of all mailboxes for none.
pub async fn reset(store: &Store, account: AccountId, name: Option<&MailboxName>) -> Result<()> {
    let Some(name) = name else {
        return Ok(store.forget_url_keys(account).await?);
    };
    let found = store.look(|snapshot| snapshot.mailbox(account, name))?;
    let id = found.ok_or(Refusal::Missing)?.id;
    store.url_key(id, random_key()?, true).await?;
    Ok(())
}

fn random_key() -> Result<UrlKey> {
    let no_random = |_| Error::Storage("the system gives no random numbers".into());
    Ok(UrlKey::new(random().map_err(no_random)?))
}

fn signing_key(key: &UrlKey) -> hmac::Key {
    hmac::Key::new(hmac::HMAC_SHA256, key.reveal())
}
