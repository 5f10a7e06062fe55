//! Messages like an office's, the same for both servers: message `n` of a kind is always the same.
//!
//! Text is drawn from a vocabulary by Zipf's law, so that it compresses about as English does;
//! attachments are base64 of noise, which doesn't compress below 3/4.

use base64::Engine;
use std::fmt::Write;
use std::sync::{Arc, OnceLock};

/// What a mailbox is filled with.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// 2 to 20 KB of text, and with every tenth message an attachment of some 100 KB.
    Mixed,
    /// 1 to 4 KB of text, for mailboxes with very many messages.
    Small,
}

/// In the subject of every thousandth message.
pub const SUBJECT_NEEDLE: &str = "zanzibar";
/// In the body of every thousandth message, from the 500th on.
pub const BODY_NEEDLE: &str = "heliotrope";

/// How many of messages 0 to `count` carry [`SUBJECT_NEEDLE`].
pub fn with_subject_needle(count: usize) -> usize {
    count.div_ceil(1000)
}

/// How many of messages 0 to `count` carry [`BODY_NEEDLE`].
pub fn with_body_needle(count: usize) -> usize {
    (count + 500) / 1000
}

/// Message `n`, from `sender`. Every line ends in CRLF, none begins with a dot.
pub fn message(kind: Kind, n: usize, sender: &str) -> Arc<[u8]> {
    let mut random = Random(n as u64 ^ ((kind as u64) << 40) ^ 0x5eed);
    let mut out = String::new();
    header(&mut out, &mut random, n, sender);
    let (low, high) = match kind {
        Kind::Mixed => (2_000, 20_000),
        Kind::Small => (800, 3_500),
    };
    // Sizes lean to the small end, as in real mailboxes.
    let span = (random.below(high - low) * random.below(1000)) / 1000;
    let needle = (n % 1000 == 500).then_some(BODY_NEEDLE);
    let body = prose(&mut random, low + span, needle);
    match (kind, n % 10) {
        (Kind::Mixed, 9) => with_attachment(&mut out, &mut random, &body, 75_000),
        (Kind::Small, 9) => with_attachment(&mut out, &mut random, &body, 600),
        (_, 3 | 6) => with_html(&mut out, &body),
        _ => {
            out.push_str("Content-Type: text/plain; charset=utf-8; format=flowed\r\n");
            out.push_str("Content-Transfer-Encoding: 7bit\r\n\r\n");
            out.push_str(&body);
        }
    }
    out.into_bytes().into()
}

/// The number of the message in whose Message-ID field this is.
pub fn number(message_id: &str) -> Option<usize> {
    let (_, rest) = message_id.split_once('<')?;
    let (number, _) = rest.split_once(".bench@")?;
    number.parse().ok()
}

fn header(out: &mut String, random: &mut Random, n: usize, sender: &str) {
    let (day, hour, minute, second) = (n / 1440 % 28 + 1, n / 60 % 24, n % 60, random.below(60));
    let date = format!("{day} Oct 2026 {hour:02}:{minute:02}:{second:02} +0200");
    let mut subject: Vec<&str> = (0..3 + random.below(6)).map(|_| word(random)).collect();
    if n.is_multiple_of(1000) {
        subject.push(SUBJECT_NEEDLE);
    }
    let name = format!("{} {}", word(random), word(random));
    let _ = write!(
        out,
        "Received: from [192.168.{}.{}] (unknown)\r\n\tby relay.example.net (Postfix) with ESMTPSA id {:012X}\r\n\tfor <team@example.net>; {date}\r\n\
         From: \"{name}\" <{sender}>\r\nTo: Team <team@example.net>, {} <{}@example.org>\r\n\
         Subject: {}\r\nDate: {date}\r\nMessage-ID: <{n}.bench@example.net>\r\n",
        random.below(256),
        random.below(256),
        random.next() >> 16,
        word(random),
        word(random),
        subject.join(" "),
    );
    if n % 3 == 2 {
        let parent = n - 1;
        let _ = write!(
            out,
            "In-Reply-To: <{parent}.bench@example.net>\r\nReferences: <{parent}.bench@example.net>\r\n"
        );
    }
    out.push_str("User-Agent: Bench/1.0 (X11; Linux x86_64)\r\nMIME-Version: 1.0\r\n");
}

fn with_html(out: &mut String, body: &str) {
    out.push_str("Content-Type: multipart/alternative; boundary=\"=_alternative\"\r\n\r\n");
    out.push_str("--=_alternative\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n");
    let half = body[..body.len() / 2].rfind("\r\n").map_or(0, |at| at + 2);
    out.push_str(&body[..half]);
    out.push_str(
        "\r\n--=_alternative\r\nContent-Type: text/html; charset=utf-8\r\n\r\n<html><body>\r\n<p>",
    );
    out.push_str(&body[half..]);
    out.push_str("</p>\r\n</body></html>\r\n--=_alternative--\r\n");
}

fn with_attachment(out: &mut String, random: &mut Random, body: &str, size: usize) {
    out.push_str("Content-Type: multipart/mixed; boundary=\"=_mixed\"\r\n\r\n");
    out.push_str("--=_mixed\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n");
    out.push_str(body);
    out.push_str("\r\n--=_mixed\r\nContent-Type: application/pdf; name=\"report.pdf\"\r\n");
    out.push_str("Content-Disposition: attachment; filename=\"report.pdf\"\r\n");
    out.push_str("Content-Transfer-Encoding: base64\r\n\r\n");
    let size = size / 2 + random.below(size);
    let noise: Vec<u8> = (0..size.div_ceil(8))
        .flat_map(|_| random.next().to_le_bytes())
        .collect();
    // 57 bytes make a line of 76 characters (RFC 2045, 6.8).
    for line in noise.chunks(57) {
        base64::engine::general_purpose::STANDARD.encode_string(line, out);
        out.push_str("\r\n");
    }
    out.push_str("--=_mixed--\r\n");
}

/// About `size` bytes of text in lines of up to 72 characters.
fn prose(random: &mut Random, size: usize, needle: Option<&str>) -> String {
    let mut out = String::with_capacity(size + 80);
    let mut column = 0;
    let mut add = |out: &mut String, word: &str| {
        if column + word.len() > 71 {
            out.push_str("\r\n");
            column = 0;
        } else if column > 0 {
            out.push(' ');
        }
        out.push_str(word);
        column += word.len() + 1;
    };
    if let Some(needle) = needle {
        add(&mut out, needle);
    }
    while out.len() < size {
        let next = word(random);
        add(&mut out, next);
    }
    out.push_str("\r\n");
    out
}

/// A word; the k-th of the vocabulary about 1/k as often as the first.
fn word(random: &mut Random) -> &'static str {
    static WORDS: OnceLock<Vec<String>> = OnceLock::new();
    let words = WORDS.get_or_init(vocabulary);
    let spread = (words.len() as f64).powf(random.below(1 << 20) as f64 / f64::from(1 << 20));
    &words[(spread as usize - 1).min(words.len() - 1)]
}

fn vocabulary() -> Vec<String> {
    const SOUNDS: [&str; 24] = [
        "an", "be", "co", "de", "er", "fi", "ga", "he", "in", "ju", "ko", "le", "mi", "no", "or",
        "pa", "re", "si", "te", "un", "ve", "wi", "ya", "st",
    ];
    let mut random = Random(7);
    (0..6000)
        .map(|_| {
            let length = 1 + random.below(4);
            (0..length).map(|_| SOUNDS[random.below(24)]).collect()
        })
        .collect()
}

/// SplitMix64.
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit as u64) as usize
    }
}
