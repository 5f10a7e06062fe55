//! Authentication-Results (RFC 8601): written, and forged ones recognized.

use super::arc::Chain;
use super::dkim::Verified;
use super::{Verdict, dmarc, spf};
use crate::message::header::Field;
use crate::message::lexer::Cursor;
use std::fmt::Write;

/// What was checked of a message.
#[derive(Clone, Debug, Default)]
pub struct Results {
    /// With `smtp.mailfrom` or, for the null path, `smtp.helo`, and its value.
    pub spf: Option<(spf::Outcome, &'static str, String)>,
    pub dkim: Vec<Verified>,
    pub dmarc: Option<dmarc::Outcome>,
    pub arc: Option<Chain>,
}

impl Results {
    /// The field; `hostname` is the authserv-id.
    pub fn field(&self, hostname: &str) -> Vec<u8> {
        format!("Authentication-Results: {}\r\n", self.text(hostname)).into_bytes()
    }

    /// What the field says.
    pub fn text(&self, hostname: &str) -> String {
        let mut text = hostname.to_owned();
        if let Some((outcome, property, value)) = &self.spf {
            result(&mut text, "spf", outcome.verdict, outcome.reason);
            property_value(&mut text, property, value);
        }
        if self.dkim.is_empty() {
            result(&mut text, "dkim", Verdict::None, "");
        }
        for it in &self.dkim {
            result(&mut text, "dkim", it.verdict, it.reason);
            for (property, value) in [
                ("header.d", &it.domain),
                ("header.s", &it.selector),
                ("header.a", &it.algorithm),
                ("header.b", &it.start),
            ] {
                property_value(&mut text, property, value);
            }
        }
        if let Some(it) = &self.dmarc {
            result(&mut text, "dmarc", it.verdict, it.reason);
            if it.verdict == Verdict::Fail {
                let _ = write!(text, " (p={})", it.policy.word());
            }
            property_value(&mut text, "header.from", &it.domain);
        }
        if let Some(it) = self.arc.as_ref().filter(|it| it.verdict != Verdict::None) {
            result(&mut text, "arc", it.verdict, it.reason);
            property_value(&mut text, "header.d", &it.sealer);
        }
        text
    }
}

fn result(text: &mut String, method: &str, verdict: Verdict, reason: &str) {
    let _ = write!(text, ";\r\n\t{method}={verdict}");
    if !reason.is_empty() {
        let _ = write!(text, " reason=\"{reason}\"");
    }
}

/// Quoted where it must be; what can't be told is left out.
fn property_value(text: &mut String, property: &str, value: &str) {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-._@+!#$%&'*^`{|}~".contains(c);
    let harmless = |c: char| !c.is_control() && !matches!(c, '"' | '\\');
    if value.is_empty() {
    } else if value.chars().all(plain) {
        let _ = write!(text, " {property}={value}");
    } else if value.chars().all(harmless) {
        let _ = write!(text, " {property}=\"{value}\"");
    }
}

/// Whether a field claims to be our own word, which it can't be in a message that comes from
/// outside (RFC 8601, 5). One that can't be read is not trusted either.
pub fn is_forged(field: &Field<'_>, hostname: &str) -> bool {
    if !field.is(b"Authentication-Results") {
        return false;
    }
    let mut cursor = Cursor::new(field.value());
    let mut id = Vec::new();
    let read = cursor.cfws().and_then(|_| match cursor.is_at(b'"') {
        true => cursor.quoted_string(&mut id),
        false => cursor.dot_atom(&mut id),
    });
    read.is_err() || id.is_empty() || id.eq_ignore_ascii_case(hostname.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::header::fields;

    #[test]
    fn the_field_tells_all() {
        let results = Results {
            spf: Some((
                spf::Outcome {
                    verdict: Verdict::SoftFail,
                    ..spf::Outcome::default()
                },
                "smtp.mailfrom",
                "a=\u{e9}@example.org".into(),
            )),
            dkim: vec![Verified {
                verdict: Verdict::Fail,
                reason: "the body hash does not match",
                domain: "example.org".into(),
                start: "ab+/=".into(),
                ..Verified::default()
            }],
            dmarc: Some(dmarc::Outcome {
                verdict: Verdict::Fail,
                policy: dmarc::Policy::Reject,
                domain: "example.org".into(),
                reason: "",
                ..dmarc::Outcome::default()
            }),
            arc: Some(Chain::default()),
        };
        assert_eq!(
            String::from_utf8(results.field("mx.test")).unwrap(),
            "Authentication-Results: mx.test;\r\n\
             \tspf=softfail smtp.mailfrom=\"a=\u{e9}@example.org\";\r\n\
             \tdkim=fail reason=\"the body hash does not match\" header.d=example.org header.b=\"ab+/=\";\r\n\
             \tdmarc=fail (p=reject) header.from=example.org\r\n"
        );
        let none = Results::default().field("mx.test");
        assert_eq!(none, b"Authentication-Results: mx.test;\r\n\tdkim=none\r\n");
    }

    #[test]
    fn our_own_word_is_known() {
        let forged = |line: &str| fields(line.as_bytes()).all(|it| is_forged(&it, "mx.test"));
        for line in [
            "Authentication-Results: mx.test; spf=pass\r\n",
            "authentication-results:\r\n (x) MX.Test 1; spf=pass\r\n",
            "Authentication-Results : \"mx.test\"; none\r\n",
            "Authentication-Results: ; none\r\n",
            "Authentication-Results: (mx.test\r\n",
        ] {
            assert!(forged(line), "{line}");
        }
        for line in [
            "Authentication-Results: mx.test.example; spf=pass\r\n",
            "Authentication-Results: other.test; mx.test=pass\r\n",
            "ARC-Authentication-Results: i=1; mx.test\r\n",
            "X-Authentication-Results: mx.test\r\n",
        ] {
            assert!(!forged(line), "{line}");
        }
    }
}
