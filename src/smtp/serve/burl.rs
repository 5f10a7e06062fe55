//! What a BURL names, found in the store; and what is said where it can't be had
//! (RFC 4468, 6).

use super::{now, trouble};
use crate::context::Context;
use crate::imap_url::Refusal;
use crate::imap_url::access::{self, Asker};
use crate::imap_url::content::Content;
use crate::mail::AccountId;
use crate::settings::Settings;
use crate::smtp::reply::Reply;

/// The well-known port of IMAP.
const IMAP: u16 = 143;

pub async fn open(
    context: &Context,
    account: Option<AccountId>,
    url: &str,
) -> Result<Content, Reply> {
    let account = account.ok_or_else(|| reply(context, Refusal::Foreign))?;
    let asker = Asker {
        account,
        submits: true,
        hostname: context.settings().hostname.clone(),
        selected: None,
        now: now().unix,
    };
    let opened = access::open(&context.store, &asker, url).await;
    opened.map_err(|why| reply(context, why))
}

fn reply(context: &Context, why: Refusal) -> Reply {
    match why {
        Refusal::Syntax(text) => Reply::new(501, "5.5.4", text),
        Refusal::Foreign => Reply::new(
            554,
            "5.7.8",
            "The URL is not about your mailboxes on this server",
        ),
        Refusal::Forbidden => Reply::new(554, "5.7.0", "The URL's authorization does not hold"),
        Refusal::Missing => Reply::new(554, "5.6.6", "The URL names no message or part here"),
        Refusal::Store(error) => trouble(&error).reply(context.settings().max_message_size),
    }
}

/// Where IMAP is, as a URL says it.
pub fn imap_server(settings: &Settings) -> String {
    match settings.imap.port.saturating_add(settings.port_base) {
        IMAP => settings.hostname.clone(),
        port => format!("{}:{port}", settings.hostname),
    }
}
