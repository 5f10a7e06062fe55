//! Which capabilities a command makes use of: without them it is one that is not known.

use super::command::{Command, FetchItem, List, SearchKey, StatusItem};
use crate::mail::capability::{Capability, Off};

/// Those of the command and of all that stands in it.
pub fn needs(command: &Command) -> Off {
    let one = |capability| Off::NONE.and(capability);
    match command {
        Command::Id(_) => one(Capability::Id),
        Command::Enable(_) => one(Capability::Enable),
        Command::Idle => one(Capability::Idle),
        Command::Namespace => one(Capability::Namespace),
        Command::UidExpunge(_) => one(Capability::UidPlus),
        Command::Move { .. } => one(Capability::Move),
        Command::Unselect => one(Capability::Unselect),
        Command::GetQuota(_) | Command::GetQuotaRoot(_) => one(Capability::Quota),
        Command::GenUrlAuth(_) | Command::UrlFetch(_) | Command::ResetKey { .. } => {
            one(Capability::UrlAuth)
        }
        Command::Select { condstore, .. } => Off::NONE.and_if(*condstore, Capability::CondStore),
        Command::Create { special_use, .. } => {
            Off::NONE.and_if(!special_use.is_empty(), Capability::CreateSpecialUse)
        }
        Command::List(list) => of_list(list),
        Command::Status { items, .. } => of_status(Off::NONE, items),
        Command::Store(store) => {
            Off::NONE.and_if(store.unchanged_since.is_some(), Capability::CondStore)
        }
        Command::Fetch {
            items,
            changed_since,
            ..
        } => of_fetch(items).and_if(changed_since.is_some(), Capability::CondStore),
        Command::Search { options, key, .. } => {
            of_search(Off::NONE, key).and_if(options.is_some(), Capability::ESearch)
        }
        _ => Off::NONE,
    }
}

fn of_list(list: &List) -> Off {
    let special_use = list.select_special_use || list.return_special_use;
    // RETURN (CHILDREN) comes with LIST-EXTENDED whatever else is told (RFC 5258, 3.2).
    let extended = list.patterns.len() > 1
        || list.select_subscribed
        || list.select_remote
        || list.select_recursive_match
        || list.return_subscribed
        || list.return_children;
    of_status(Off::NONE, &list.return_status)
        .and_if(special_use, Capability::SpecialUse)
        .and_if(extended, Capability::ListExtended)
        .and_if(!list.return_status.is_empty(), Capability::ListStatus)
}

fn of_status(needs: Off, items: &[StatusItem]) -> Off {
    items.iter().fold(needs, |needs, item| match item {
        StatusItem::Size => needs.and(Capability::StatusSize),
        StatusItem::HighestModSeq => needs.and(Capability::CondStore),
        StatusItem::AppendLimit => needs.and(Capability::AppendLimit),
        StatusItem::Deleted | StatusItem::DeletedStorage => needs.and(Capability::Quota),
        _ => needs,
    })
}

fn of_fetch(items: &[FetchItem]) -> Off {
    items.iter().fold(Off::NONE, |needs, item| match item {
        FetchItem::ModSeq => needs.and(Capability::CondStore),
        FetchItem::Binary { .. } | FetchItem::BinarySize(_) => needs.and(Capability::Binary),
        _ => needs,
    })
}

/// No deeper than the parser lets keys stand in each other.
fn of_search(needs: Off, key: &SearchKey) -> Off {
    match key {
        SearchKey::And(keys) => keys.iter().fold(needs, of_search),
        SearchKey::Or(a, b) => of_search(of_search(needs, a), b),
        SearchKey::Not(key) => of_search(needs, key),
        SearchKey::ModSeq(_) => needs.and(Capability::CondStore),
        SearchKey::Older(_) | SearchKey::Younger(_) => needs.and(Capability::Within),
        _ => needs,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::imap::parse;

    fn needed(line: &str) -> String {
        let request = parse::command(format!("t {line}").as_bytes()).unwrap();
        let names: Vec<&str> = needs(&request.command).names().collect();
        names.join(" ").replace("imap.", "")
    }

    #[test]
    fn a_command_needs_what_stands_in_it() {
        for (line, names) in [
            ("NOOP", ""),
            ("SELECT INBOX", ""),
            ("SELECT INBOX (CONDSTORE)", "CONDSTORE"),
            ("ID NIL", "ID"),
            ("IDLE", "IDLE"),
            ("ENABLE CONDSTORE", "ENABLE"),
            ("UID EXPUNGE 1", "UIDPLUS"),
            ("EXPUNGE", ""),
            ("MOVE 1 Trash", "MOVE"),
            ("UID MOVE 1 Trash", "MOVE"),
            ("COPY 1 Trash", ""),
            ("UNSELECT", "UNSELECT"),
            ("NAMESPACE", "NAMESPACE"),
            ("GETQUOTAROOT INBOX", "QUOTA"),
            ("GETQUOTA \"\"", "QUOTA"),
            ("URLFETCH imap://x/y", "URLAUTH"),
            ("RESETKEY", "URLAUTH"),
            ("CREATE a", ""),
            ("CREATE a (USE (\\Junk))", "CREATE-SPECIAL-USE"),
            ("LIST \"\" *", ""),
            ("LIST \"\" (a b)", "LIST-EXTENDED"),
            ("LIST (SUBSCRIBED) \"\" *", "LIST-EXTENDED"),
            ("LIST \"\" * RETURN (CHILDREN)", "LIST-EXTENDED"),
            ("LIST \"\" * RETURN (SPECIAL-USE)", "SPECIAL-USE"),
            (
                "LIST \"\" * RETURN (STATUS (SIZE))",
                "LIST-STATUS STATUS=SIZE",
            ),
            ("STATUS INBOX (MESSAGES UIDNEXT)", ""),
            (
                "STATUS INBOX (HIGHESTMODSEQ APPENDLIMIT)",
                "CONDSTORE APPENDLIMIT",
            ),
            ("STATUS INBOX (DELETED-STORAGE)", "QUOTA"),
            ("FETCH 1 (FLAGS UID)", ""),
            ("FETCH 1 (FLAGS) (CHANGEDSINCE 5)", "CONDSTORE"),
            ("UID FETCH 1 BINARY.SIZE[1]", "BINARY"),
            ("STORE 1 +FLAGS (\\Seen)", ""),
            ("STORE 1 (UNCHANGEDSINCE 5) FLAGS (\\Seen)", "CONDSTORE"),
            ("SEARCH ALL", ""),
            ("SEARCH RETURN (COUNT) ALL", "ESEARCH"),
            ("SEARCH NOT OR (YOUNGER 5) MODSEQ 7", "CONDSTORE WITHIN"),
        ] {
            assert_eq!(needed(line), names, "{line}");
        }
    }
}
