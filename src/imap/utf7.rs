//! Modified UTF-7, the encoding of mailbox names on the wire (RFC 3501, 5.1.3).

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+,";

/// Appends `name` in modified UTF-7.
pub fn encode(name: &str, out: &mut Vec<u8>) {
    let mut rest = name;
    while let Some(c) = rest.chars().next() {
        if is_direct(c) {
            out.push(c as u8);
            if c == '&' {
                out.push(b'-');
            }
            rest = &rest[1..];
        } else {
            let end = rest.find(is_direct).unwrap_or(rest.len());
            shifted(&rest[..end], out);
            rest = &rest[end..];
        }
    }
}

/// The name that `text` encodes. `None` for whatever [`encode`] would not have made: a
/// name has one spelling only, or two mailboxes could look the same to one client.
pub fn decode(text: &str) -> Option<String> {
    let mut name = String::with_capacity(text.len());
    let mut rest = text;
    let mut after_shift = false;
    while let Some(c) = rest.chars().next() {
        if !is_direct(c) {
            return None;
        }
        rest = &rest[1..];
        if c != '&' {
            name.push(c);
            after_shift = false;
            continue;
        }
        let (run, tail) = rest.split_once('-')?;
        rest = tail;
        if run.is_empty() {
            name.push('&');
        } else if after_shift {
            // `&…-&…-` would be one run.
            return None;
        } else {
            unshift(run, &mut name)?;
        }
        after_shift = !run.is_empty();
    }
    Some(name)
}

/// Printable US-ASCII stands for itself.
fn is_direct(c: char) -> bool {
    matches!(c, ' '..='~')
}

fn shifted(run: &str, out: &mut Vec<u8>) {
    let digit = |n: u32| ALPHABET.get((n & 63) as usize).copied().unwrap_or(b'A');
    out.push(b'&');
    let (mut bits, mut held) = (0u32, 0u32);
    for unit in run.encode_utf16() {
        bits = bits << 16 | u32::from(unit);
        held += 16;
        while held >= 6 {
            held -= 6;
            out.push(digit(bits >> held));
        }
        bits &= (1 << held) - 1;
    }
    if held > 0 {
        out.push(digit(bits << (6 - held)));
    }
    out.push(b'-');
}

fn unshift(run: &str, name: &mut String) -> Option<()> {
    let (mut bits, mut held) = (0u32, 0u32);
    let mut units = Vec::with_capacity(run.len() * 3 / 8 + 1);
    for b in run.bytes() {
        let digit = ALPHABET.iter().position(|&a| a == b)?;
        bits = bits << 6 | digit as u32;
        held += 6;
        if held >= 16 {
            held -= 16;
            units.push((bits >> held) as u16);
            bits &= (1 << held) - 1;
        }
    }
    // What is left is padding: less than a digit, and zero.
    if held >= 6 || bits != 0 {
        return None;
    }
    for c in char::decode_utf16(units) {
        let c = c.ok()?;
        if is_direct(c) {
            return None;
        }
        name.push(c);
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encoded(name: &str) -> String {
        let mut out = Vec::new();
        encode(name, &mut out);
        String::from_utf8(out).unwrap_or_default()
    }

    #[test]
    fn known_names() {
        let cases = [
            ("", ""),
            ("INBOX", "INBOX"),
            ("R&D", "R&-D"),
            ("&&", "&-&-"),
            ("é&", "&AOk-&-"),
            ("&é", "&-&AOk-"),
            // RFC 3501, 5.1.3.
            ("~peter/mail/台北/日本語", "~peter/mail/&U,BTFw-/&ZeVnLIqe-"),
            ("Entwürfe", "Entw&APw-rfe"),
            ("😀", "&2D3eAA-"),
            ("\t", "&AAk-"),
        ];
        for (name, wire) in cases {
            assert_eq!(encoded(name), wire);
            assert_eq!(decode(wire).as_deref(), Some(name));
        }
    }

    #[test]
    fn refuses_other_spellings() {
        for wire in [
            "&",
            "&AOk",
            "R&D",
            "&AOk-&AOk-",
            "&AGE-",
            "&AO-",
            "&AOkA-",
            "&AOl-",
            "&2D0-",
            "&3gA-",
            "&A/k-",
            "é",
            "a\tb",
            "&AA-",
            "&A-",
            "&ÿ-",
        ] {
            assert_eq!(decode(wire), None, "{wire}");
        }
    }

    #[test]
    fn round_trip_of_random_names() {
        let mut state = 0x2545_f491_4f6c_dd1d_u64;
        let mut random = move || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state
        };
        for _ in 0..20_000 {
            let length = random() % 12;
            let name: String = (0..length)
                .filter_map(|_| {
                    let limit = [0x80, 0x800, 0x1_0000, 0x11_0000][(random() % 4) as usize];
                    char::from_u32((random() % limit) as u32)
                })
                .collect();
            let wire = encoded(&name);
            assert!(wire.bytes().all(|b| (0x20..0x7f).contains(&b)), "{name:?}");
            assert_eq!(decode(&wire).as_deref(), Some(name.as_str()), "{wire}");
        }
    }
}
