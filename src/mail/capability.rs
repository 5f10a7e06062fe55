//! What of a protocol the owner can take away from one account, for a program that stumbles
//! over it. What belongs to a protocol itself is not among it, nor what only holds before a
//! login: nobody knows yet whose it is.

/// In the order of [`NAMES`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Capability {
    LiteralPlus,
    Enable,
    Id,
    Idle,
    Namespace,
    UidPlus,
    Move,
    Unselect,
    Children,
    SpecialUse,
    CreateSpecialUse,
    ListExtended,
    ListStatus,
    CondStore,
    ESearch,
    StatusSize,
    Binary,
    Within,
    Catenate,
    UrlAuth,
    Quota,
    AppendLimit,
    Top,
    Uidl,
    Lang,
    Pop3Pipelining,
    SmtpPipelining,
    Size,
    EightBitMime,
    SmtpUtf8,
    Chunking,
    BinaryMime,
    Dsn,
    Limits,
    MtPriority,
    DeliverBy,
    FutureRelease,
    RequireTls,
    Burl,
}

/// By the protocol, a dot, and the name as the protocol tells it.
const NAMES: [&str; 39] = [
    "imap.LITERAL+",
    "imap.ENABLE",
    "imap.ID",
    "imap.IDLE",
    "imap.NAMESPACE",
    "imap.UIDPLUS",
    "imap.MOVE",
    "imap.UNSELECT",
    "imap.CHILDREN",
    "imap.SPECIAL-USE",
    "imap.CREATE-SPECIAL-USE",
    "imap.LIST-EXTENDED",
    "imap.LIST-STATUS",
    "imap.CONDSTORE",
    "imap.ESEARCH",
    "imap.STATUS=SIZE",
    "imap.BINARY",
    "imap.WITHIN",
    "imap.CATENATE",
    "imap.URLAUTH",
    "imap.QUOTA",
    "imap.APPENDLIMIT",
    "pop3.TOP",
    "pop3.UIDL",
    "pop3.LANG",
    "pop3.PIPELINING",
    "submission.PIPELINING",
    "submission.SIZE",
    "submission.8BITMIME",
    "submission.SMTPUTF8",
    "submission.CHUNKING",
    "submission.BINARYMIME",
    "submission.DSN",
    "submission.LIMITS",
    "submission.MT-PRIORITY",
    "submission.DELIVERBY",
    "submission.FUTURERELEASE",
    "submission.REQUIRETLS",
    "submission.BURL",
];

/// Capabilities that an account goes without: a bit for each of [`NAMES`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Off(u64);

impl Off {
    pub const NONE: Off = Off(0);

    /// With what may not be told without it: SMTPUTF8 goes with 8BITMIME (RFC 6531, 3.1),
    /// BINARYMIME with CHUNKING (RFC 3030, 3).
    pub fn complete(self) -> Off {
        self.and_if(self.has(Capability::EightBitMime), Capability::SmtpUtf8)
            .and_if(self.has(Capability::Chunking), Capability::BinaryMime)
    }

    pub fn has(self, capability: Capability) -> bool {
        self.0 & 1 << capability as u64 != 0
    }

    pub fn and(self, capability: Capability) -> Off {
        Off(self.0 | 1 << capability as u64)
    }

    pub fn and_if(self, holds: bool, capability: Capability) -> Off {
        if holds { self.and(capability) } else { self }
    }

    /// Whether any is in both.
    pub fn meets(self, other: Off) -> bool {
        self.0 & other.0 != 0
    }

    /// Whether what the protocol tells in that word is among them: `QUOTA=RES-STORAGE` goes
    /// with `QUOTA`. The protocol is named as in [`NAMES`].
    pub fn hides(self, protocol: &str, word: &str) -> bool {
        self.names().any(|it| {
            let name = it
                .strip_prefix(protocol)
                .and_then(|it| it.strip_prefix('.'));
            let rest = name.and_then(|name| word.strip_prefix(name));
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('='))
        })
    }

    pub fn names(self) -> impl Iterator<Item = &'static str> {
        let all = NAMES.iter().enumerate();
        all.filter(move |(at, _)| self.0 & 1 << at != 0)
            .map(|(_, name)| *name)
    }

    /// Turns one off or on, in any case of its name. The error is a sentence for the owner.
    pub fn set(&mut self, name: &str, off: bool) -> Result<(), String> {
        let Some(at) = NAMES.iter().position(|it| it.eq_ignore_ascii_case(name)) else {
            return Err(format!(
                "{name} is not among the capabilities that can be turned off: {}",
                NAMES.join(", ")
            ));
        };
        match off {
            true => self.0 |= 1 << at,
            false => self.0 &= !(1 << at),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_capability_has_its_name() {
        assert_eq!(NAMES.len(), Capability::Burl as usize + 1);
        for (capability, name) in [
            (Capability::LiteralPlus, "imap.LITERAL+"),
            (Capability::CondStore, "imap.CONDSTORE"),
            (Capability::AppendLimit, "imap.APPENDLIMIT"),
            (Capability::Top, "pop3.TOP"),
            (Capability::Pop3Pipelining, "pop3.PIPELINING"),
            (Capability::SmtpPipelining, "submission.PIPELINING"),
            (Capability::Dsn, "submission.DSN"),
            (Capability::Burl, "submission.BURL"),
        ] {
            let mut off = Off::NONE;
            off.set(&name.to_lowercase(), true).unwrap();
            assert!(off.has(capability), "{name}");
            assert_eq!(off, Off::NONE.and(capability));
            assert_eq!(off.names().collect::<Vec<_>>(), [name]);
            off.set(name, false).unwrap();
            assert_eq!(off, Off::NONE);
        }
    }

    #[test]
    fn what_needs_another_goes_with_it() {
        let told = |off: Off| off.complete().names().collect::<Vec<_>>().join(" ");
        let one = |capability| Off::NONE.and(capability);
        assert_eq!(told(Off::NONE), "");
        let eight_bit = told(one(Capability::EightBitMime));
        assert_eq!(eight_bit, "submission.8BITMIME submission.SMTPUTF8");
        let chunking = told(one(Capability::Chunking));
        assert_eq!(chunking, "submission.CHUNKING submission.BINARYMIME");
        assert_eq!(told(one(Capability::SmtpUtf8)), "submission.SMTPUTF8");
    }

    #[test]
    fn words_are_hidden_with_what_follows_them() {
        let off = Off::NONE.and(Capability::Quota).and(Capability::StatusSize);
        for word in ["QUOTA", "QUOTA=RES-STORAGE", "STATUS=SIZE"] {
            assert!(off.hides("imap", word), "{word}");
        }
        for word in ["IMAP4rev1", "QUOTASET", "STATUS", "IDLE"] {
            assert!(!off.hides("imap", word), "{word}");
        }
        assert!(!off.hides("pop3", "QUOTA"));
    }

    #[test]
    fn what_belongs_to_a_protocol_can_not_be_turned_off() {
        let mut off = Off::NONE;
        for name in [
            "imap.IMAP4rev1",
            "imap.STARTTLS",
            "pop3.USER",
            "submission.AUTH",
            "IDLE",
            "",
        ] {
            let refusal = off.set(name, true).unwrap_err();
            assert!(refusal.contains("imap.IDLE") && refusal.contains("pop3.TOP"));
        }
        assert_eq!(off, Off::NONE);
    }
}
