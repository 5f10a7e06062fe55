//! LIST, LIST-EXTENDED (RFC 5258) and LSUB: which names are listed, and as what. Pure.

use crate::imap::command::List;
use crate::imap::pattern::Pattern;
use crate::mail::{MailboxInfo, MailboxName};
use std::collections::BTreeMap;

/// One LIST or LSUB response.
#[derive(Debug, PartialEq, Eq)]
pub struct Entry {
    pub name: MailboxName,
    pub attributes: Vec<&'static str>,
    pub child_info: bool,
    /// Where in the mailboxes given; `None` for a name that is none.
    pub mailbox: Option<usize>,
}

/// What is known of a name.
#[derive(Clone, Copy, Default)]
struct Known {
    mailbox: Option<usize>,
    subscribed: bool,
}

/// Every name that can be listed: mailboxes, subscribed names, and all above them.
struct Names<'a> {
    known: BTreeMap<MailboxName, Known>,
    mailboxes: &'a [MailboxInfo],
}

impl<'a> Names<'a> {
    fn new(mailboxes: &'a [MailboxInfo], subscriptions: &[MailboxName]) -> Names<'a> {
        let mut known: BTreeMap<MailboxName, Known> = BTreeMap::new();
        for (n, mailbox) in mailboxes.iter().enumerate() {
            known.entry(mailbox.name.clone()).or_default().mailbox = Some(n);
        }
        for name in subscriptions {
            known.entry(name.clone()).or_default().subscribed = true;
        }
        let all: Vec<MailboxName> = known.keys().cloned().collect();
        for name in all {
            let mut above = name.parent();
            while let Some(name) = above {
                above = name.parent();
                known.entry(name).or_default();
            }
        }
        Names { known, mailboxes }
    }

    /// All names, INBOX and what is below it first.
    fn iter(&self) -> impl Iterator<Item = (&MailboxName, Known)> {
        let under_inbox = |name: &MailboxName| name.as_str().split('/').next() == Some("INBOX");
        let first = self.known.iter().filter(move |(name, _)| under_inbox(name));
        let others = self
            .known
            .iter()
            .filter(move |(name, _)| !under_inbox(name));
        first.chain(others).map(|(name, known)| (name, *known))
    }

    fn below(&self, name: &MailboxName) -> impl Iterator<Item = (&MailboxName, Known)> {
        // Names that sort between `a` and `a/` (as `a b`) are passed over on the way.
        self.known
            .range(name.clone()..)
            .skip(1)
            .take_while(move |(other, _)| other.as_str().starts_with(name.as_str()))
            .filter(move |(other, _)| other.is_below(name))
            .map(|(name, known)| (name, *known))
    }

    fn has_mailboxes_below(&self, name: &MailboxName) -> bool {
        self.below(name).any(|(_, known)| known.mailbox.is_some())
    }

    fn special_use(&self, known: Known) -> Option<&'static str> {
        let mailbox = self.mailboxes.get(known.mailbox?)?;
        mailbox.special_use.map(|special_use| special_use.name())
    }
}

/// The answer to LIST. An empty pattern is the caller's: it asks for the separator.
pub fn list(
    mailboxes: &[MailboxInfo],
    subscriptions: &[MailboxName],
    command: &List,
) -> Vec<Entry> {
    let names = Names::new(mailboxes, subscriptions);
    let patterns = patterns(&command.reference, &command.patterns);
    let matches = |name: &MailboxName| patterns.iter().any(|it| it.matches(name.as_str()));
    let selected = |known: Known| {
        (!command.select_subscribed || known.subscribed)
            && (!command.select_special_use || names.special_use(known).is_some())
    };
    let mut entries = Vec::new();
    for (name, known) in names.iter().filter(|(name, _)| matches(name)) {
        let chosen = match command.select_subscribed || command.select_special_use {
            true => selected(known),
            false => known.mailbox.is_some() || names.has_mailboxes_below(name),
        };
        let below = || names.below(name).filter(|(_, known)| selected(*known));
        let child_info = command.select_recursive_match && below().next().is_some();
        let unseen_child =
            command.select_recursive_match && below().any(|(name, _)| !matches(name));
        if chosen || unseen_child {
            entries.push(Entry {
                attributes: attributes(&names, name, known, command),
                name: name.clone(),
                child_info: child_info && command.select_subscribed,
                mailbox: known.mailbox,
            });
        }
    }
    entries
}

fn patterns(reference: &str, patterns: &[String]) -> Vec<Pattern> {
    let patterns = patterns.iter().map(|it| Pattern::new(reference, it));
    patterns.collect()
}

fn attributes(
    names: &Names,
    name: &MailboxName,
    known: Known,
    command: &List,
) -> Vec<&'static str> {
    let extended = command.patterns.len() > 1
        || command.select_subscribed
        || command.select_special_use
        || command.return_subscribed
        || command.return_children
        || command.return_special_use
        || !command.return_status.is_empty();
    let mut attributes = Vec::new();
    if known.mailbox.is_none() {
        attributes.push(if extended {
            "\\NonExistent"
        } else {
            "\\Noselect"
        });
    }
    if known.subscribed && (command.select_subscribed || command.return_subscribed) {
        attributes.push("\\Subscribed");
    }
    if command.return_children || !command.without_children {
        attributes.push(match names.has_mailboxes_below(name) {
            true => "\\HasChildren",
            false => "\\HasNoChildren",
        });
    }
    let special_use = names.special_use(known);
    attributes.extend(special_use.filter(|_| !command.without_special_use));
    attributes
}

/// The answer to LSUB: subscribed names, and with `%` names above them that it stops at
/// (RFC 3501, 6.3.9).
pub fn lsub(
    mailboxes: &[MailboxInfo],
    subscriptions: &[MailboxName],
    reference: &str,
    pattern: &str,
) -> Vec<Entry> {
    let names = Names::new(mailboxes, subscriptions);
    let pattern = Pattern::new(reference, pattern);
    let mut entries = Vec::new();
    for (name, known) in names.iter() {
        if !pattern.matches(name.as_str()) {
            continue;
        }
        let stops_here = || {
            names
                .below(name)
                .any(|(below, known)| known.subscribed && !pattern.matches(below.as_str()))
        };
        if known.subscribed || stops_here() {
            let selectable = known.subscribed && known.mailbox.is_some();
            entries.push(Entry {
                name: name.clone(),
                attributes: if selectable {
                    vec![]
                } else {
                    vec!["\\Noselect"]
                },
                child_info: false,
                mailbox: known.mailbox,
            });
        }
    }
    entries
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mail::{AccountId, MailboxId, ModSeq, SpecialUse, Uid};

    fn name(name: &str) -> MailboxName {
        MailboxName::parse(name).unwrap()
    }

    fn mailboxes() -> Vec<MailboxInfo> {
        let names = ["INBOX", "Sent", "a", "a b", "a/b/c", "a/x"];
        let make = |(n, it): (usize, &&str)| MailboxInfo {
            id: MailboxId(n as u32),
            account: AccountId(1),
            name: name(it),
            uid_validity: Uid::MIN,
            uid_next: Uid::MIN,
            highest_modseq: ModSeq::MIN,
            messages: 0,
            unseen: 0,
            deleted: 0,
            size: 0,
            special_use: (*it == "Sent").then_some(SpecialUse::Sent),
            subscribed: false,
            keywords: vec![],
        };
        names.iter().enumerate().map(make).collect()
    }

    fn said(entries: &[Entry]) -> Vec<String> {
        let say = |entry: &Entry| {
            let info = if entry.child_info { " CHILDINFO" } else { "" };
            format!("{} {}{info}", entry.name, entry.attributes.join(" "))
        };
        entries.iter().map(say).collect()
    }

    fn listed(command: List) -> Vec<String> {
        let subscriptions = [name("a/x"), name("gone"), name("Sent")];
        said(&list(&mailboxes(), &subscriptions, &command))
    }

    fn plain(pattern: &str) -> List {
        List {
            patterns: vec![pattern.into()],
            ..List::default()
        }
    }

    #[test]
    fn everything() {
        assert_eq!(
            listed(plain("*")),
            [
                "INBOX \\HasNoChildren",
                "Sent \\HasNoChildren \\Sent",
                "a \\HasChildren",
                "a b \\HasNoChildren",
                "a/b \\Noselect \\HasChildren",
                "a/b/c \\HasNoChildren",
                "a/x \\HasNoChildren",
            ]
        );
    }

    #[test]
    fn one_level_and_names_that_are_no_mailboxes() {
        assert_eq!(
            listed(plain("a/%")),
            ["a/b \\Noselect \\HasChildren", "a/x \\HasNoChildren"]
        );
        assert_eq!(listed(plain("gone")), [""; 0]);
        assert_eq!(listed(plain("inbox")), ["INBOX \\HasNoChildren"]);
    }

    #[test]
    fn subscribed_names_need_not_exist() {
        let command = List {
            select_subscribed: true,
            ..plain("*")
        };
        assert_eq!(
            listed(command),
            [
                "Sent \\Subscribed \\HasNoChildren \\Sent",
                "a/x \\Subscribed \\HasNoChildren",
                "gone \\NonExistent \\Subscribed \\HasNoChildren",
            ]
        );
    }

    #[test]
    fn recursive_match_tells_of_children_out_of_sight() {
        let command = List {
            select_subscribed: true,
            select_recursive_match: true,
            ..plain("%")
        };
        assert_eq!(
            listed(command),
            [
                "Sent \\Subscribed \\HasNoChildren \\Sent",
                "a \\HasChildren CHILDINFO",
                "gone \\NonExistent \\Subscribed \\HasNoChildren",
            ]
        );
    }

    #[test]
    fn special_use_selects() {
        let command = List {
            select_special_use: true,
            return_subscribed: true,
            ..plain("*")
        };
        assert_eq!(
            listed(command),
            ["Sent \\Subscribed \\HasNoChildren \\Sent"]
        );
    }

    #[test]
    fn lsub_stops_at_percent() {
        let subscriptions = [name("a/x"), name("gone"), name("Sent")];
        let listed = |pattern| said(&lsub(&mailboxes(), &subscriptions, "", pattern));
        assert_eq!(listed("*"), ["Sent ", "a/x ", "gone \\Noselect"]);
        assert_eq!(listed("%"), ["Sent ", "a \\Noselect", "gone \\Noselect"]);
        assert_eq!(listed("a/%"), ["a/x "]);
    }
}
