//! From a command to what is asked of the driver: states, names and numbers are checked here.

use super::{Action, Ask, Doing, Fetch, Outcome, Search, Session, State, Step, Store};
use crate::imap::command::{Command, FetchItem, SearchKey, SequenceSet, StatusItem};
use crate::imap::response::{self, Code, Status};
use crate::imap::view::View;
use crate::mail::capability::Capability;
use crate::mail::{MailboxName, NameError, SpecialUse, UidSet};
use std::io::Write;

/// What a NameError is answered with.
pub(super) fn bad_name(error: NameError) -> Outcome {
    Outcome::no(Code::Cannot, format!("{error}: choose another name."))
}

impl Session {
    /// Answers at once, or says what is needed for it.
    pub(super) fn dispatch(&mut self, command: Command, out: &mut Vec<u8>) -> Option<Step> {
        match self.decide(command, out) {
            Ok(step) => step,
            Err(outcome) => {
                self.complete(&outcome, out);
                None
            }
        }
    }

    fn decide(&mut self, command: Command, out: &mut Vec<u8>) -> Result<Option<Step>, Outcome> {
        match command {
            Command::Capability => {
                let _ = write!(out, "* CAPABILITY {}\r\n", self.capabilities());
                Err(Outcome::ok("That is all."))
            }
            Command::Noop => act(Action::Poll("Done.")),
            Command::Logout => {
                response::bye(out, None, "Goodbye.");
                self.complete(&Outcome::ok("Logged out."), out);
                self.state = State::Closed;
                Ok(None)
            }
            Command::Id(fields) => {
                // Who has logged in stays who that is.
                let fields = fields.iter().filter(|_| !self.is_logged_in());
                let told = fields.filter_map(|(name, value)| Some((name, value.as_ref()?)));
                let mut forwarded = self.forwarded;
                told.for_each(|(name, value)| forwarded.heed(name, value));
                self.forwarded = forwarded;
                let version = env!("CARGO_PKG_VERSION");
                response::id(out, &[("name", "pillarbox"), ("version", version)]);
                Err(Outcome::ok("That is who we are."))
            }
            Command::StartTls => self.start_tls(out),
            Command::Login { user, password } => {
                self.check_stranger()?;
                if self.channel.hides_passwords {
                    let text = "No password is taken here: AUTHENTICATE by SCRAM-SHA-256.";
                    return Err(Outcome::no(Code::Cannot, text));
                }
                Ok(Some(self.login(user, password)))
            }
            Command::Authenticate { mechanism, initial } => {
                self.check_stranger()?;
                Ok(self.authenticate(&mechanism, initial, out))
            }
            other => {
                if !self.is_logged_in() {
                    return Err(Outcome::bad("Log in first."));
                }
                self.decide_user(other, out)
            }
        }
    }

    fn start_tls(&mut self, out: &mut Vec<u8>) -> Result<Option<Step>, Outcome> {
        if self.config.tls {
            return Err(Outcome::bad("TLS is on already."));
        }
        if self.is_logged_in() {
            return Err(Outcome::bad("STARTTLS comes before the login."));
        }
        self.complete(&Outcome::ok("Begin TLS."), out);
        Ok(Some(Step::StartTls))
    }

    fn check_stranger(&self) -> Result<(), Outcome> {
        if self.is_logged_in() {
            return Err(Outcome::bad("You are logged in already."));
        }
        if !self.may_login() {
            let text =
                "A password must not cross without TLS: give STARTTLS first, or use port 993.";
            return Err(Outcome::no(Code::PrivacyRequired, text));
        }
        Ok(())
    }

    fn decide_user(
        &mut self,
        command: Command,
        out: &mut Vec<u8>,
    ) -> Result<Option<Step>, Outcome> {
        match command {
            Command::Enable(names) => {
                let condstore = names.iter().any(|name| name == "CONDSTORE")
                    && !self.lacks(Capability::CondStore);
                if condstore {
                    self.enable_condstore(out);
                }
                let enabled: &[&str] = if condstore { &["CONDSTORE"] } else { &[] };
                response::enabled(out, enabled);
                Err(Outcome::ok("Enabled."))
            }
            Command::Select {
                mailbox,
                read_only,
                condstore,
            } => self.decide_select(&mailbox, read_only, condstore, out),
            Command::Create {
                mailbox,
                special_use,
            } => create(&mailbox, &special_use),
            Command::Delete(mailbox) => act(Action::Delete(name(&mailbox)?)),
            Command::Rename { from, to } => act(Action::Rename {
                from: name(&from)?,
                to: name(&to)?,
            }),
            Command::Subscribe(mailbox) => subscribe(&mailbox, true),
            Command::Unsubscribe(mailbox) => subscribe(&mailbox, false),
            Command::List(list) => act(Action::List(list)),
            Command::Lsub { reference, pattern } => act(Action::Lsub { reference, pattern }),
            Command::Status { mailbox, items } => {
                if items.contains(&StatusItem::HighestModSeq) {
                    self.enable_condstore(out);
                }
                act(Action::Status {
                    name: name(&mailbox)?,
                    items,
                })
            }
            Command::Namespace => {
                response::mailbox::namespace(out);
                Err(Outcome::ok("That is all."))
            }
            Command::GetQuota(root) if root.is_empty() => act(Action::Quota(None)),
            Command::GetQuota(_) => {
                let text = "There is no such quota root: GETQUOTAROOT names them.";
                Err(Outcome::no(Code::NonExistent, text))
            }
            Command::GetQuotaRoot(mailbox) => act(Action::Quota(Some(name(&mailbox)?))),
            Command::GenUrlAuth(urls) => act(Action::GenUrlAuth(urls)),
            Command::UrlFetch(urls) => act(Action::UrlFetch(urls)),
            Command::ResetKey {
                mailbox,
                mechanisms,
            } => act(Action::ResetKey {
                mailbox: mailbox.as_deref().map(name).transpose()?,
                mechanisms,
            }),
            Command::Idle => {
                response::continuation(out, "Idling: DONE ends it.");
                self.doing = Doing::Idle;
                Ok(None)
            }
            other => self.decide_selected(other, out),
        }
    }

    /// From the first command that shows a client to know of mod-sequences on, it is told
    /// them; what holds for the mailbox that it has selected is said at once (RFC 7162, 3.1).
    fn enable_condstore(&mut self, out: &mut Vec<u8>) {
        if std::mem::replace(&mut self.condstore, true) {
            return;
        }
        if let Some(modseq) = self.view().map(View::modseq) {
            let code = Code::HighestModSeq(modseq);
            response::untagged(out, Status::Ok, Some(code), "The highest there is.");
        }
    }

    fn decide_select(
        &mut self,
        mailbox: &str,
        read_only: bool,
        condstore: bool,
        out: &mut Vec<u8>,
    ) -> Result<Option<Step>, Outcome> {
        self.condstore |= condstore;
        match name(mailbox) {
            Ok(name) => Ok(Some(Step::Ask(Box::new(Ask::Select { name, read_only })))),
            Err(outcome) => {
                self.close_selected(out);
                Err(outcome)
            }
        }
    }

    fn decide_selected(
        &mut self,
        command: Command,
        out: &mut Vec<u8>,
    ) -> Result<Option<Step>, Outcome> {
        let select_first = || Outcome::bad("SELECT a mailbox first.");
        let view = self.view().ok_or_else(select_first)?;
        match command {
            Command::Check => act(Action::Poll("Checked.")),
            Command::Close => {
                let expunge = !view.read_only;
                act(Action::Close { expunge })
            }
            Command::Unselect => act(Action::Close { expunge: false }),
            Command::Expunge => {
                check_writable(view)?;
                act(Action::Expunge(None))
            }
            Command::UidExpunge(set) => {
                check_writable(view)?;
                act(Action::Expunge(Some(view.numbering().resolve_uids(&set))))
            }
            Command::Copy { uid, set, mailbox } => act(Action::Copy {
                uids: resolve(view, uid, &set)?,
                to: name(&mailbox)?,
            }),
            Command::Move { uid, set, mailbox } => {
                check_writable(view)?;
                act(Action::Move {
                    uids: resolve(view, uid, &set)?,
                    to: name(&mailbox)?,
                })
            }
            Command::Store(command) => {
                check_writable(view)?;
                let uids = resolve(view, command.uid, &command.set)?;
                self.by_number = !command.uid;
                if command.unchanged_since.is_some() {
                    self.enable_condstore(out);
                }
                act(Action::Store(Store::new(command, uids)))
            }
            Command::Fetch {
                uid,
                set,
                items,
                changed_since,
            } => {
                let uids = resolve(view, uid, &set)?;
                self.by_number = !uid;
                if changed_since.is_some() || items.contains(&FetchItem::ModSeq) {
                    self.enable_condstore(out);
                }
                act(Action::Fetch(Fetch {
                    uid,
                    uids,
                    items,
                    changed_since,
                }))
            }
            Command::Search {
                uid, options, key, ..
            } => {
                self.by_number = !uid;
                if names_modseq(&key) {
                    self.enable_condstore(out);
                }
                act(Action::Search(Search {
                    tag: self.tag.clone(),
                    uid,
                    options,
                    key,
                }))
            }
            _ => Err(Outcome::bad("That command is not for this state.")),
        }
    }
}

fn act(action: Action) -> Result<Option<Step>, Outcome> {
    Ok(Some(Step::Ask(Box::new(Ask::Do(action)))))
}

fn name(mailbox: &str) -> Result<MailboxName, Outcome> {
    MailboxName::parse(mailbox).map_err(bad_name)
}

fn create(mailbox: &str, special_use: &[SpecialUse]) -> Result<Option<Step>, Outcome> {
    let special_use = match special_use {
        [] => None,
        [one] => Some(*one),
        _ => {
            let text = "A mailbox has one special use here: name one.";
            return Err(Outcome::no(Code::UseAttribute, text));
        }
    };
    act(Action::Create {
        name: name(mailbox)?,
        special_use,
    })
}

fn subscribe(mailbox: &str, subscribed: bool) -> Result<Option<Step>, Outcome> {
    act(Action::Subscribe {
        name: name(mailbox)?,
        subscribed,
    })
}

fn check_writable(view: &View) -> Result<(), Outcome> {
    if view.read_only {
        let text = "The mailbox is open read-only: SELECT it to change it.";
        return Err(Outcome::no(Code::ReadOnly, text));
    }
    Ok(())
}

fn resolve(view: &View, uid: bool, set: &SequenceSet) -> Result<UidSet, Outcome> {
    if uid {
        return Ok(view.numbering().resolve_uids(set));
    }
    view.numbering().resolve(set).map_err(no_such_number)
}

fn no_such_number(error: crate::imap::numbering::NoSuchNumber) -> Outcome {
    Outcome::bad(format!("There is no message number {}.", error.0))
}

/// Whether the mod-sequences found are to be told (RFC 7162, 3.1.5).
pub fn names_modseq(key: &SearchKey) -> bool {
    match key {
        SearchKey::ModSeq(_) => true,
        SearchKey::And(keys) => keys.iter().any(names_modseq),
        SearchKey::Or(a, b) => names_modseq(a) || names_modseq(b),
        SearchKey::Not(key) => names_modseq(key),
        _ => false,
    }
}
