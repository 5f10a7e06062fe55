//! MAIL, RCPT and the end of a message: the envelope of one transaction.

use super::command::{
    Hold, Mail, Path, Recipient, Wishes, needs_smtputf8, not_that_body, unknown_parameter,
};
use super::incoming::{Incoming, too_large};
use super::reply::Reply;
use super::role::Role;
use super::session::{
    Arrived, Ask, Asked, Commit, Found, Next, NoRecipient, Phase, Session, Trouble, sequence,
};
use super::tally::Tally;
use crate::address::{Address, Domain};
use crate::mail::outgoing::kept_here;
use crate::mail::outgoing::{self, Body, DeliverBy, Envelope, Notify, Status};
use crate::mail::{AccountId, MailboxName};
use crate::message::notice::{self, Delivered, MAX_RETURNED_HEADER};
use memchr::memmem;
use std::collections::{BTreeMap, BTreeSet};

/// Copies and recipients elsewhere of one message, groups expanded.
const MAX_COPIES: usize = 1000;
/// Longest that a message is held back, seconds: who plans further ahead has a calendar.
pub const MAX_HOLD: i64 = 366 * 24 * 3600;

/// From MAIL to the reply at the end of the data.
pub struct Transaction {
    pub mail: Mail,
    /// Where the message goes to: one copy each, however often it was named.
    pub recipients: BTreeSet<(AccountId, MailboxName)>,
    /// Those on other servers, each once.
    pub remote: Vec<outgoing::Recipient>,
    /// See [`Commit::waiting`].
    pub waiting: BTreeMap<AccountId, outgoing::Recipient>,
    /// RCPT commands accepted.
    pub accepted: usize,
    /// The account of each that is for one alone.
    pub alone: Vec<Option<AccountId>>,
    /// Accounts of groups.
    pub grouped: BTreeSet<AccountId>,
    /// A recipient that is being looked up.
    pub asked: Option<(Address, Wishes)>,
    /// The domain of the first recipient that is here and has members elsewhere.
    pub forwarder: Option<Domain>,
    /// Whether a recipient elsewhere is other than who gets a bounce back.
    pub onward: bool,
    /// Those accepted whose delivery is to be told.
    pub told: Delivered,
    pub incoming: Option<Incoming>,
    /// BURL commands, but the one that began the message.
    pub urls: usize,
    /// A BDAT was refused: what follows of the message must not be taken for a whole one
    /// (RFC 3030, 2).
    pub failed: bool,
    /// The message's name, once it has one.
    pub id: String,
    /// When it began, seconds since 1970.
    pub begun: i64,
    /// Of mail from other servers, once it has begun.
    pub arrived: Option<Arrived>,
    /// Of what LMTP brings: the domain of the From field, if it is one.
    pub author: Option<String>,
}

impl Session {
    pub(super) fn mail(&mut self, mail: Mail, out: &mut Vec<u8>) -> Next {
        let reply = match self.may_mail(&mail) {
            Ok(()) if self.config.max_messages.is_some_and(|it| self.mails >= it) => {
                let text = "One connection brings no more messages than that; connect again";
                return self.close(Reply::new(421, "4.7.0", text), out);
            }
            Ok(()) if mail.hold.is_some() => {
                let size = mail.size;
                self.phase = Phase::Asked(Asked::Mail(Box::new(mail)));
                return Next::Ask(Ask::Hold { size });
            }
            Ok(()) => self.begin_transaction(mail),
            Err(reply) => reply,
        };
        self.say(reply, out)
    }

    pub(super) fn may_be_held(&mut self, mail: Mail, held: Result<(), Trouble>, out: &mut Vec<u8>) {
        let reply = match held {
            Ok(()) => self.begin_transaction(mail),
            Err(trouble) => trouble.reply(self.config.max_message_size),
        };
        self.say(reply, out);
    }

    fn begin_transaction(&mut self, mail: Mail) -> Reply {
        self.mails += 1;
        self.transaction = Some(Transaction {
            mail,
            recipients: BTreeSet::new(),
            remote: Vec::new(),
            waiting: BTreeMap::new(),
            accepted: 0,
            alone: Vec::new(),
            grouped: BTreeSet::new(),
            asked: None,
            forwarder: None,
            onward: false,
            told: Delivered::default(),
            incoming: None,
            urls: 0,
            failed: false,
            id: String::new(),
            begun: 0,
            arrived: None,
            author: None,
        });
        Reply::new(250, "2.1.0", "Ok")
    }

    fn may_mail(&self, mail: &Mail) -> Result<(), Reply> {
        if self.client.is_none() {
            return Err(sequence("Send EHLO first"));
        }
        if self.config.role.needs_login() && self.author().is_none() {
            return Err(self.not_logged_in());
        }
        if self.transaction.is_some() {
            return Err(sequence("One MAIL at a time; RSET ends this one"));
        }
        let submits = self.config.role == Role::Submission;
        let dsn = self.config.role.offers_dsn();
        for (keyword, given, offered) in [
            (
                "REQUIRETLS",
                mail.envelope.require_tls,
                submits && self.config.tls,
            ),
            ("MT-PRIORITY", mail.envelope.priority != 0, submits),
            ("BY", mail.deliver_by.is_some(), submits),
            ("HOLDFOR or HOLDUNTIL", mail.hold.is_some(), submits),
            ("RET", mail.envelope.ret.is_some(), dsn),
            ("ENVID", mail.envelope.envelope_id.is_some(), dsn),
        ] {
            if given && !offered {
                return Err(unknown_parameter(keyword));
            }
        }
        if mail.binary && !submits {
            return Err(not_that_body());
        }
        self.may_hold(mail)?;
        let limit = self.config.max_message_size;
        if mail.size.is_some_and(|size| size > limit) {
            return Err(too_large(limit));
        }
        match (&mail.sender, &self.author) {
            (Some(sender), Some(author)) if !author.owns(&sender.address) => {
                let own = author.addresses();
                // RFC 6409, 6.1.
                Err(Reply::with(
                    550,
                    "5.7.1",
                    format!("This login sends as {own} only"),
                ))
            }
            _ => Ok(()),
        }
    }

    /// Within what EHLO says, and not beyond what DELIVERBY asks (RFC 4865, 4.2 and 5.2).
    fn may_hold(&self, mail: &Mail) -> Result<(), Reply> {
        let refusal = |text| Err(Reply::new(501, "5.5.4", text));
        let seconds = match mail.hold {
            None => return Ok(()),
            Some(Hold::For(seconds)) => seconds,
            Some(Hold::Until(moment)) => moment.saturating_sub(self.config.now),
        };
        if seconds <= 0 {
            return refusal("The time until which to hold the message is over");
        }
        if seconds > MAX_HOLD {
            return refusal("A message is not held for as long as that; EHLO says how long");
        }
        match mail.deliver_by {
            Some(by) if by.until <= seconds => {
                refusal("The message would have to be delivered before it is released")
            }
            _ => Ok(()),
        }
    }

    fn not_logged_in(&self) -> Reply {
        match self.may_log_in() {
            true => Reply::new(530, "5.7.0", "Log in first: AUTH"),
            false => Reply::new(530, "5.7.0", "Begin TLS first: STARTTLS"),
        }
    }

    pub(super) fn recipient(
        &mut self,
        recipient: Recipient,
        wishes: Wishes,
        out: &mut Vec<u8>,
    ) -> Next {
        let dsn = wishes.notify.given || wishes.original.is_some();
        if dsn && !self.config.role.offers_dsn() {
            return self.say(unknown_parameter("NOTIFY or ORCPT"), out);
        }
        match self.may_receive(recipient) {
            Ok(address) => {
                if let Some(transaction) = &mut self.transaction {
                    transaction.asked = Some((address.clone(), wishes));
                }
                self.phase = Phase::Asked(Asked::Recipient);
                Next::Ask(Ask::Recipient(address))
            }
            Err(reply) => self.say(reply, out),
        }
    }

    fn may_receive(&self, recipient: Recipient) -> Result<Address, Reply> {
        let Some(transaction) = &self.transaction else {
            return Err(sequence("Send MAIL first"));
        };
        if transaction.incoming.is_some() || transaction.failed {
            return Err(sequence("The message has begun"));
        }
        if transaction.accepted >= self.config.max_recipients {
            let most = self.config.max_recipients;
            let text =
                format!("A message has at most {most} recipients; send it again to the rest");
            return Err(Reply::with(452, "4.5.3", text));
        }
        match recipient {
            Recipient::Path(Path { text, .. })
                if !text.is_ascii() && !transaction.mail.envelope.smtputf8 =>
            {
                Err(needs_smtputf8())
            }
            Recipient::Path(Path { address, .. }) => Ok(address),
            // The postmaster of the domain that the client belongs to, or of this server.
            Recipient::Postmaster => {
                let domain = match &self.author {
                    Some(author) => author.domain().map_or("", Domain::as_str),
                    None => &self.config.hostname,
                };
                let text = format!("postmaster@{domain}");
                Address::parse(&text).map_err(|error| Reply::new(501, "5.1.3", error.0))
            }
        }
    }

    pub(super) fn recipient_found(&mut self, found: Result<Found, NoRecipient>, out: &mut Vec<u8>) {
        let reply = match found {
            Ok(found) => match &mut self.transaction {
                Some(transaction) if transaction.has_room(&found) => {
                    transaction.accept(found);
                    Reply::new(250, "2.1.5", "Ok")
                }
                _ => {
                    let text =
                        "With this one the recipients are too many; send it again to the rest";
                    Reply::new(452, "4.5.3", text)
                }
            },
            Err(NoRecipient::Unknown) => Reply::new(550, "5.1.1", "There is no such address here"),
            // RFC 3463, 3.3: mailbox disabled, not accepting messages.
            Err(NoRecipient::Disabled) => {
                Reply::new(550, "5.2.1", "This mailbox is disabled and takes no mail")
            }
            Err(NoRecipient::TooManyNew) => Reply::new(
                450,
                "4.7.1",
                "This account has written to as many new addresses as it may in a day: send to \
                 this one tomorrow, or ask who runs this server for more",
            ),
            Err(NoRecipient::OverQuota { never: false }) => mailbox_full(),
            Err(NoRecipient::OverQuota { never: true }) => Reply::new(
                552,
                "5.2.2",
                "The message is larger than all that this mailbox may hold",
            ),
            Err(NoRecipient::NoRoute(why)) => Reply::new(550, "5.7.1", why),
            // RFC 6409, 4.2.
            Err(NoRecipient::Unqualified) => Reply::new(
                554,
                "5.1.2",
                "Write the whole domain: name@example.org, not name@example",
            ),
            Err(NoRecipient::Trouble(trouble)) => trouble.reply(self.config.max_message_size),
        };
        self.say(reply, out);
    }

    /// Whether a message may begin; what the client said of its size.
    pub(super) fn may_send(&self) -> Result<Option<u64>, Reply> {
        let Some(transaction) = &self.transaction else {
            return Err(
                match self.config.role.needs_login() && self.author.is_none() {
                    true => self.not_logged_in(),
                    false => sequence("Send MAIL first"),
                },
            );
        };
        match transaction.recipients.is_empty() && transaction.remote.is_empty() {
            // RFC 2033, 4.2.
            true if self.config.role == Role::Lmtp => Err(sequence("There is no valid recipient")),
            true => Err(Reply::new(554, "5.5.1", "There is no valid recipient")),
            false => Ok(transaction.mail.size),
        }
    }

    /// The data is over and stored, or refused.
    pub(super) fn commit(&mut self, out: &mut Vec<u8>) -> Next {
        let refusal = self.incoming().and_then(|it| it.refusal().cloned());
        if let Some(reply) = refusal {
            return self.refuse_message(reply, out);
        }
        let Some(transaction) = &mut self.transaction else {
            return self.say(sequence("Send MAIL first"), out);
        };
        let commit = Box::new(transaction.commit());
        self.phase = Phase::Asked(Asked::Commit {
            queued: !commit.remote.is_empty(),
        });
        Next::Ask(Ask::Commit(commit))
    }

    pub(super) fn committed(
        &mut self,
        committed: Result<Vec<AccountId>, Trouble>,
        queued: bool,
        out: &mut Vec<u8>,
    ) {
        let times = self.final_replies();
        let (id, alone) = match self.transaction.take() {
            Some(it) => (it.id, it.alone),
            None => (String::new(), Vec::new()),
        };
        let (reply, full) = match committed {
            Ok(full) => {
                self.tally = Tally::default();
                let how = if queued { "Queued" } else { "Delivered" };
                let reply = Reply::with(250, "2.0.0", format!("{how} as {id}"));
                (reply, full)
            }
            Err(trouble) => (trouble.reply(self.config.max_message_size), Vec::new()),
        };
        // To each its own (RFC 2033, 4.2).
        let is_full = |n: usize| matches!(alone.get(n), Some(Some(it)) if full.contains(it));
        let reply_to = |n| match times > 1 && is_full(n) {
            true => mailbox_full(),
            false => reply.clone(),
        };
        (0..times - 1).for_each(|n| reply_to(n).write(out));
        self.say(reply_to(times - 1), out);
    }

    /// The message is over and not taken.
    pub(super) fn refuse_message(&mut self, reply: Reply, out: &mut Vec<u8>) -> Next {
        (1..self.final_replies()).for_each(|_| reply.write(out));
        let next = self.reset();
        self.say_and(reply, next, out)
    }

    /// At the end of a message LMTP has a reply for each RCPT that was accepted (RFC 2033,
    /// 4.2), SMTP one.
    fn final_replies(&self) -> usize {
        match (self.config.role, &self.transaction) {
            (Role::Lmtp, Some(transaction)) => transaction.accepted.max(1),
            _ => 1,
        }
    }
}

/// Put off: its owner may make room (RFC 3463, 3.3).
fn mailbox_full() -> Reply {
    Reply::new(452, "4.2.2", "The mailbox is full, try later")
}

impl Transaction {
    fn has_room(&self, found: &Found) -> bool {
        self.recipients.len() + self.remote.len() + found.local.len() + found.remote.len()
            <= MAX_COPIES
    }

    /// Notes what was found for the recipient that was looked up.
    fn accept(&mut self, found: Found) {
        let Some((address, Wishes { notify, original })) = self.asked.take() else {
            return;
        };
        self.accepted += 1;
        self.onward |= !found.remote.is_empty() && !found.returns;
        self.alone.push(match found.local.as_slice() {
            [(account, _)] if found.remote.is_empty() => Some(*account),
            several => {
                self.grouped.extend(several.iter().map(|it| it.0));
                None
            }
        });
        if self.mail.hold.is_some() {
            // Where it leads is looked up again when its time has come.
            return self.queue(address, notify, original, None);
        }
        let is_group = found.local.len() + found.remote.len() > 1;
        if notify.success && (is_group || !found.local.is_empty()) {
            let told = match is_group {
                true => &mut self.told.expanded,
                false => &mut self.told.recipients,
            };
            told.push(notice::Recipient {
                address: address.to_string(),
                original: original.clone(),
                ..notice::Recipient::default()
            });
        }
        let notify = match is_group {
            true => notify.of_members(),
            false => notify,
        };
        for (account, _) in &found.local {
            self.may_wait(*account, &address, notify, &original, is_group);
        }
        self.recipients.extend(found.local);
        for remote in found.remote {
            // A member of a group: who asks for a notice knows the group alone.
            let is_other = remote.to_string() != address.to_string();
            if is_other {
                self.forwarder
                    .get_or_insert_with(|| address.domain().clone());
            }
            let group = is_other.then(|| address.clone());
            self.queue(remote, notify, original.clone(), group);
        }
    }

    /// How an account here would wait in the queue: by the name that it was given, unless a group
    /// stands for it.
    fn may_wait(
        &mut self,
        account: AccountId,
        address: &Address,
        notify: Notify,
        original: &Option<String>,
        is_group: bool,
    ) {
        let known = self.waiting.get(&account);
        if known.is_some_and(|it| is_group || it.accepted.is_none()) {
            return;
        }
        let recipient = outgoing::Recipient {
            address: address.clone(),
            notify,
            original: original.clone(),
            accepted: is_group.then(|| address.clone()),
            status: Status::waiting(0),
        };
        self.waiting.insert(account, recipient);
    }

    /// For the queue, once: as he is named himself, rather than as a group's member.
    fn queue(
        &mut self,
        address: Address,
        notify: Notify,
        original: Option<String>,
        accepted: Option<Address>,
    ) {
        // Whether case matters in a local part, its own server alone knows.
        let written = address.to_string();
        let known = |it: &outgoing::Recipient| it.address.to_string() == written;
        let at = self.remote.iter().position(known);
        let recipient = outgoing::Recipient {
            address,
            notify,
            original,
            accepted,
            status: Status::waiting(0),
        };
        match at.and_then(|at| self.remote.get_mut(at)) {
            None => self.remote.push(recipient),
            Some(member) if member.accepted.is_some() && recipient.accepted.is_none() => {
                *member = recipient;
            }
            Some(_) => {}
        }
    }

    /// Notes the header, which notices of success give back. `text`: what of the message goes
    /// to the store first.
    pub(super) fn begins_with(&mut self, text: &[u8]) {
        if !self.told.is_empty() {
            let end = memmem::find(text, b"\r\n\r\n").map_or(text.len(), |at| at + 2);
            let header = text.get(kept_here(text)..end.min(MAX_RETURNED_HEADER));
            self.told.header = header.unwrap_or_default().to_vec();
        }
    }

    fn commit(&mut self) -> Commit {
        let mut envelope = std::mem::take(&mut self.mail.envelope);
        // A client that does not say so may still have sent eight bits.
        if self.incoming.as_ref().is_some_and(Incoming::is_eight_bit) {
            envelope.body = envelope.body.max(Body::EightBitMime);
        }
        envelope.deliver_by = self.mail.deliver_by.map(|by| DeliverBy {
            until: self.begun.saturating_add(by.until),
            ..by
        });
        envelope.hold_until = self.mail.hold.map(|hold| match hold {
            Hold::For(seconds) => self.begun.saturating_add(seconds),
            Hold::Until(moment) => moment,
        });
        envelope.hold_for = match self.mail.hold {
            Some(Hold::For(seconds)) => Some(seconds),
            _ => None,
        };
        let delivered = self.delivered(&envelope);
        let next = envelope
            .hold_until
            .map_or(self.begun, |it| it.max(self.begun));
        let mut remote = std::mem::take(&mut self.remote);
        for recipient in &mut remote {
            recipient.status = Status::waiting(next);
        }
        Commit {
            alone: self.held_alone(),
            local: std::mem::take(&mut self.recipients).into_iter().collect(),
            remote,
            waiting: std::mem::take(&mut self.waiting).into_iter().collect(),
            envelope,
            binary: self.mail.binary,
            name: self.id.clone(),
            submitted: self.begun,
            delivered,
            forwarder: self.forwarder.take(),
            returns: !self.onward,
            arrived: self.arrived.take(),
            author: self.author.take(),
        }
    }

    /// Not those whom a group names too: its reply must not lose them.
    fn held_alone(&self) -> Vec<AccountId> {
        let mut alone: Vec<AccountId> = self.alone.iter().flatten().copied().collect();
        alone.retain(|it| !self.grouped.contains(it));
        alone
    }

    /// The notice to be sent; the null path is never told anything (RFC 3461, 5.2.1).
    fn delivered(&mut self, envelope: &Envelope) -> Option<Delivered> {
        let sender = envelope.sender.as_ref()?.to_string();
        let told = std::mem::take(&mut self.told);
        (!told.is_empty()).then(|| Delivered {
            sender,
            envelope: envelope.clone(),
            id: self.id.clone(),
            ..told
        })
    }
}

impl Trouble {
    pub(super) fn reply(self, limit: u64) -> Reply {
        match self {
            Trouble::Full => Reply::new(452, "4.3.1", "There is no room for mail now, try later"),
            Trouble::OverQuota => mailbox_full(),
            Trouble::TooLarge => too_large(limit),
            // RFC 4865, 6.
            Trouble::TooMuchHeld => Reply::new(
                552,
                "5.7.16",
                "As much of your mail is held back already as may be; wait until some has gone",
            ),
            Trouble::Unconvertible => Reply::new(
                554,
                "5.6.3",
                "A binary part can't be converted: it is signed, or no MIME part; send it in base64",
            ),
            Trouble::Later => Reply::new(451, "4.3.0", "Mail can't be stored now, try later"),
            Trouble::Refused(why) => Reply::new(550, "5.7.1", why),
            Trouble::Wait(why) => Reply::new(451, "4.7.1", why),
        }
    }
}
