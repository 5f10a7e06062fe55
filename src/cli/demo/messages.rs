//! The demo's mail: an office week, part of the corpus of the tests.

/// A message and its envelope; names are local parts of the demo's accounts.
pub struct Message {
    pub from: &'static str,
    pub to: &'static [&'static str],
    pub bytes: &'static [u8],
}

macro_rules! messages {
    ($($file:literal: $from:literal => $($to:literal)+;)+) => {
        &[$(Message {
            from: $from,
            to: &[$($to),+],
            bytes: include_bytes!(concat!("../../../tests/messages/demo/", $file, ".eml")),
        }),+]
    };
}

/// In the order in which they were written.
pub const MESSAGES: &[Message] = messages! {
    "01-welcome-to-the-office": "alice" => "bob" "carol";
    "02-re-our-own-mail-server": "bob" => "alice" "carol";
    "03-chair-invoice": "carol" => "alice";
    "04-numbers-of-december": "bob" => "alice" "carol";
    "05-planning-invitation": "alice" => "bob" "carol";
    "06-lunch": "carol" => "bob";
    "07-re-lunch": "bob" => "carol";
    "08-sitzung-am-donnerstag": "alice" => "bob" "carol";
    "09-contracts-forwarded": "bob" => "alice";
    "10-photo-of-the-cupboard": "carol" => "alice" "bob";
    "11-delivery-from-warehouse": "bob" => "carol";
    "12-privet": "carol" => "alice";
    "13-minutes": "alice" => "bob" "carol";
    "14-shipping-from-shenzhen": "bob" => "alice";
    "15-server-is-a-bar-of-soap": "carol" => "bob" "alice";
};

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::demo::ACCOUNTS;

    #[test]
    fn every_message_of_the_directory_is_sent_by_its_author() {
        let dir = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/messages/demo");
        let files = std::fs::read_dir(dir).unwrap().count();
        assert_eq!(MESSAGES.len(), files);
        for message in MESSAGES {
            let text = String::from_utf8_lossy(message.bytes);
            let author = format!("<{}@demo.test>", message.from);
            let from = text
                .lines()
                .find(|line| line.starts_with("From: "))
                .unwrap();
            assert!(from.contains(&author), "{from} is not by {author}");
            assert!(ACCOUNTS.contains(&message.from));
            assert!(message.to.iter().all(|to| ACCOUNTS.contains(to)));
        }
    }
}
