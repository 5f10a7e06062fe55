//! What a section of a FETCH or an IMAP URL means in a message (RFC 3501, 6.4.5).

use super::structure::{ByteRange, Kind, Part};

/// `<start.count>`; a count of `u32::MAX` is all that is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Partial {
    pub start: u32,
    pub count: u32,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Section {
    /// `2.1`; empty is the whole message.
    pub path: Vec<u32>,
    pub text: SectionText,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SectionText {
    /// `[]`, `[2.1]`.
    All,
    Header,
    /// Names as sent.
    HeaderFields(Vec<String>),
    HeaderFieldsNot(Vec<String>),
    Text,
    Mime,
}

/// Where a section's bytes are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Located {
    /// No such part, or no such text of it.
    Missing,
    Bytes(ByteRange),
    /// Fields of the header at this range are to be picked.
    Fields(ByteRange),
}

/// Finds a section. The path goes through multiparts and embedded messages alike; the
/// body of a message that is not a multipart is its part 1.
pub fn locate(root: &Part, section: &Section) -> Located {
    let whole = root.header.start.min(root.body.start)..root.body.end;
    if section.path.is_empty() {
        return match section.text {
            SectionText::All => Located::Bytes(whole),
            SectionText::Mime => Located::Missing,
            _ => message_text(root, &section.text),
        };
    }
    let Some(part) = part(root, &section.path) else {
        return Located::Missing;
    };
    match section.text {
        SectionText::All => Located::Bytes(part.body.clone()),
        SectionText::Mime => Located::Bytes(part.header.clone()),
        _ => match (part.kind, part.children.first()) {
            (Kind::Message, Some(embedded)) => message_text(embedded, &section.text),
            _ => Located::Missing,
        },
    }
}

fn message_text(message: &Part, text: &SectionText) -> Located {
    match text {
        SectionText::Header => Located::Bytes(message.header.clone()),
        SectionText::HeaderFields(_) | SectionText::HeaderFieldsNot(_) => {
            Located::Fields(message.header.clone())
        }
        SectionText::Text => Located::Bytes(message.body.clone()),
        SectionText::All | SectionText::Mime => Located::Missing,
    }
}

/// The part with this path; empty is the message itself.
pub fn part<'a>(root: &'a Part, path: &[u32]) -> Option<&'a Part> {
    let Some((&first, rest)) = path.split_first() else {
        return Some(root);
    };
    let mut at = child_of_message(root, first)?;
    for &n in rest {
        at = match at.kind {
            Kind::Multipart => nth(&at.children, n)?,
            Kind::Message => child_of_message(at.children.first()?, n)?,
            Kind::Text | Kind::Leaf => return None,
        };
    }
    Some(at)
}

fn child_of_message(message: &Part, n: u32) -> Option<&Part> {
    match message.kind {
        Kind::Multipart => nth(&message.children, n),
        _ => (n == 1).then_some(message),
    }
}

fn nth(parts: &[Part], n: u32) -> Option<&Part> {
    parts.get(usize::try_from(n).ok()?.checked_sub(1)?)
}

/// The part of `range` that `<start.count>` asks for; beyond the end it is empty.
pub fn cut(range: ByteRange, partial: Option<Partial>) -> ByteRange {
    let Some(partial) = partial else {
        return range;
    };
    let start = range.start.saturating_add(partial.start).min(range.end);
    start..start.saturating_add(partial.count).min(range.end)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::structure::Encoding;

    fn leaf(kind: Kind, header: ByteRange, body: ByteRange, children: Vec<Part>) -> Part {
        Part {
            kind,
            encoding: Encoding::Identity,
            charset: String::new(),
            header,
            body,
            children,
        }
    }

    /// multipart( text, message( multipart( text, leaf ) ), message( text ) )
    fn sample() -> Part {
        let inner = leaf(
            Kind::Multipart,
            40..50,
            50..90,
            vec![
                leaf(Kind::Text, 52..54, 54..60, vec![]),
                leaf(Kind::Leaf, 62..64, 64..70, vec![]),
            ],
        );
        let plain = leaf(Kind::Text, 110..115, 115..120, vec![]);
        leaf(
            Kind::Multipart,
            0..10,
            10..200,
            vec![
                leaf(Kind::Text, 12..15, 15..20, vec![]),
                leaf(Kind::Message, 30..40, 40..90, vec![inner]),
                leaf(Kind::Message, 100..110, 110..120, vec![plain]),
            ],
        )
    }

    fn at(path: &[u32], text: SectionText) -> Located {
        let section = Section {
            path: path.to_vec(),
            text,
        };
        locate(&sample(), &section)
    }

    #[test]
    fn the_whole_message() {
        assert_eq!(at(&[], SectionText::All), Located::Bytes(0..200));
        assert_eq!(at(&[], SectionText::Header), Located::Bytes(0..10));
        assert_eq!(at(&[], SectionText::Text), Located::Bytes(10..200));
        let names = vec!["From".to_string()];
        assert_eq!(
            at(&[], SectionText::HeaderFields(names)),
            Located::Fields(0..10)
        );
    }

    #[test]
    fn paths_go_through_embedded_messages() {
        assert_eq!(at(&[1], SectionText::All), Located::Bytes(15..20));
        assert_eq!(at(&[1], SectionText::Mime), Located::Bytes(12..15));
        assert_eq!(at(&[2], SectionText::All), Located::Bytes(40..90));
        assert_eq!(at(&[2], SectionText::Mime), Located::Bytes(30..40));
        assert_eq!(at(&[2], SectionText::Header), Located::Bytes(40..50));
        assert_eq!(at(&[2], SectionText::Text), Located::Bytes(50..90));
        assert_eq!(at(&[2, 1], SectionText::All), Located::Bytes(54..60));
        assert_eq!(at(&[2, 2], SectionText::Mime), Located::Bytes(62..64));
        assert_eq!(at(&[3, 1], SectionText::All), Located::Bytes(115..120));
        assert_eq!(at(&[3, 1], SectionText::Mime), Located::Bytes(110..115));
    }

    #[test]
    fn what_is_not_there_is_missing() {
        for path in [&[4][..], &[1, 1], &[2, 3], &[2, 1, 1], &[3, 2], &[0]] {
            assert_eq!(at(path, SectionText::All), Located::Missing, "{path:?}");
        }
        assert_eq!(at(&[1], SectionText::Header), Located::Missing);
        assert_eq!(at(&[2, 1], SectionText::Text), Located::Missing);
    }

    #[test]
    fn part_one_of_a_plain_message_is_its_body() {
        let root = leaf(Kind::Text, 0..10, 10..30, vec![]);
        let section = |path: &[u32]| Section {
            path: path.to_vec(),
            text: SectionText::All,
        };
        assert_eq!(locate(&root, &section(&[1])), Located::Bytes(10..30));
        assert_eq!(locate(&root, &section(&[2])), Located::Missing);
        assert_eq!(locate(&root, &section(&[1, 1])), Located::Missing);
    }

    #[test]
    fn partials_stop_at_the_end() {
        let partial = |start, count| Some(Partial { start, count });
        assert_eq!(cut(10..30, None), 10..30);
        assert_eq!(cut(10..30, partial(5, 5)), 15..20);
        assert_eq!(cut(10..30, partial(15, 500)), 25..30);
        assert_eq!(cut(10..30, partial(20, 1)), 30..30);
        assert_eq!(cut(10..30, partial(u32::MAX, u32::MAX)), 30..30);
    }
}
