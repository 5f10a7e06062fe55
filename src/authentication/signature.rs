//! A DKIM-Signature field, or an ARC-Message-Signature, as it is written (RFC 6376, 3.5;
//! RFC 8617, 4.1.2).

use super::canonical::Form;
use super::is_within;
use super::key::Algorithm;
use super::tags::Tags;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// Most names in `h=`.
const MAX_SIGNED_FIELDS: usize = 512;
/// Longest signature, bytes: RSA of 4096 bits.
const MAX_SIGNATURE: usize = 512;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signature {
    pub algorithm: Algorithm,
    pub header_form: Form,
    pub body_form: Form,
    /// `l=`: how much of the canonical body is signed.
    pub body_length: Option<u64>,
    pub body_hash: [u8; 32],
    pub signature: Vec<u8>,
    /// `d=`, in A-labels and lower case.
    pub domain: String,
    pub selector: String,
    /// `i=` of DKIM; `@` and the domain where there is none.
    pub identity: String,
    /// `h=`, in lower case.
    pub fields: Vec<String>,
    /// `x=`, seconds since 1970.
    pub expires: Option<u64>,
}

/// Which of the two it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Dkim,
    Arc,
}

/// What is wrong with a field: words for Authentication-Results.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SignatureError {
    Syntax,
    /// Of these the domain is told all the same.
    Algorithm,
    NoFrom,
    Identity,
    Query,
}

impl SignatureError {
    pub fn text(self) -> &'static str {
        match self {
            SignatureError::Syntax => "the signature is malformed",
            SignatureError::Algorithm => "the algorithm is not accepted",
            SignatureError::NoFrom => "From is not signed",
            SignatureError::Identity => "the identity is not within the domain",
            SignatureError::Query => "the key is not in DNS",
        }
    }
}

impl Signature {
    /// Reads the field's value.
    pub fn parse(kind: Kind, value: &[u8]) -> Result<Signature, SignatureError> {
        const SYNTAX: SignatureError = SignatureError::Syntax;
        let tags = Tags::parse(value).ok_or(SYNTAX)?;
        if kind == Kind::Dkim && tags.get("v") != Some("1") {
            return Err(SYNTAX);
        }
        let algorithm = tags.get("a").ok_or(SYNTAX)?;
        let algorithm = Algorithm::parse(algorithm).ok_or(SignatureError::Algorithm)?;
        let (header_form, body_form) = forms(tags.get("c")).ok_or(SYNTAX)?;
        let domain = name(tags.get("d")).ok_or(SYNTAX)?;
        let fields: Vec<String> = tags
            .compact("h")
            .ok_or(SYNTAX)?
            .split(':')
            .map(str::to_ascii_lowercase)
            .collect();
        if fields.len() > MAX_SIGNED_FIELDS {
            return Err(SYNTAX);
        }
        if !fields.iter().any(|it| it == "from") {
            return Err(SignatureError::NoFrom);
        }
        let identity = match (kind, tags.compact("i")) {
            (Kind::Dkim, Some(identity)) => identity,
            _ => format!("@{domain}"),
        };
        let its_domain = identity.rsplit_once('@').map(|(_, it)| name(Some(it)));
        if !matches!(its_domain, Some(Some(it)) if is_within(&it, &domain)) {
            return Err(SignatureError::Identity);
        }
        let is_dns = |it: &str| it.eq_ignore_ascii_case("dns/txt");
        if !tags
            .compact("q")
            .is_none_or(|list| list.split(':').any(is_dns))
        {
            return Err(SignatureError::Query);
        }
        let hash = decode(&tags, "bh").ok_or(SYNTAX)?;
        let signature = decode(&tags, "b").ok_or(SYNTAX)?;
        if signature.len() > MAX_SIGNATURE {
            return Err(SYNTAX);
        }
        let (signed, expires) = (number(&tags, "t")?, number(&tags, "x")?);
        if let (Some(signed), Some(expires)) = (signed, expires)
            && expires <= signed
        {
            return Err(SYNTAX);
        }
        Ok(Signature {
            algorithm,
            header_form,
            body_form,
            body_length: number(&tags, "l")?,
            body_hash: hash.try_into().map_err(|_| SYNTAX)?,
            signature,
            domain,
            selector: name(tags.get("s")).ok_or(SYNTAX)?,
            identity,
            fields,
            expires,
        })
    }

    /// Where the key is.
    pub fn key_name(&self) -> String {
        format!("{}._domainkey.{}", self.selector, self.domain)
    }
}

/// `c=`: header and body; what is not said is simple.
fn forms(value: Option<&str>) -> Option<(Form, Form)> {
    let value = value.unwrap_or("simple");
    let (header, body) = value.split_once('/').unwrap_or((value, "simple"));
    Some((Form::parse(header)?, Form::parse(body)?))
}

/// A domain or a selector, as it is asked for.
pub(super) fn name(value: Option<&str>) -> Option<String> {
    let name = super::ascii_domain(value?)?;
    let fits = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_');
    let is_label = |label: &str| (1..=63).contains(&label.len()) && label.bytes().all(fits);
    name.split('.').all(is_label).then_some(name)
}

pub(super) fn decode(tags: &Tags<'_>, tag: &str) -> Option<Vec<u8>> {
    STANDARD.decode(tags.compact(tag)?).ok()
}

fn number(tags: &Tags<'_>, tag: &str) -> Result<Option<u64>, SignatureError> {
    let Some(text) = tags.get(tag) else {
        return Ok(None);
    };
    // Up to 76 digits are allowed (RFC 6376, 3.5): what is beyond counting is just large.
    match !text.is_empty() && text.len() <= 76 && text.bytes().all(|b| b.is_ascii_digit()) {
        true => Ok(Some(text.parse().unwrap_or(u64::MAX))),
        false => Err(SignatureError::Syntax),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BASE: &str = "v=1; a=rsa-sha256; d=Example.com; s=Sel.x; h=From : to:TO;\r\n\t\
                        bh=47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=; b=AA\r\n AA";

    fn parse(extra: &str) -> Result<Signature, SignatureError> {
        Signature::parse(Kind::Dkim, format!("{BASE}; {extra}").as_bytes())
    }

    #[test]
    fn a_signature_is_read() {
        let it = parse("c=relaxed; l=5; t=7; x=9; i=a@sub.example.com; z=?").unwrap();
        assert_eq!(it.key_name(), "sel.x._domainkey.example.com");
        assert_eq!(
            (it.header_form, it.body_form),
            (Form::Relaxed, Form::Simple)
        );
        assert_eq!(it.fields, ["from", "to", "to"]);
        assert_eq!(it.signature, [0, 0, 0]);
        assert_eq!((it.body_length, it.expires), (Some(5), Some(9)));
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (extra, error) in [
            ("c=other", SignatureError::Syntax),
            ("l=-1", SignatureError::Syntax),
            ("t=9; x=9", SignatureError::Syntax),
            ("i=a@example.org", SignatureError::Identity),
            ("i=a@badexample.com", SignatureError::Identity),
            ("i=example.com", SignatureError::Identity),
            ("q=http", SignatureError::Query),
            ("d=x.example", SignatureError::Syntax),
        ] {
            assert_eq!(parse(extra), Err(error), "{extra}");
        }
        let with = |from: &str, to: &str| {
            Signature::parse(Kind::Dkim, BASE.replace(from, to).as_bytes()).map(|_| ())
        };
        assert_eq!(with("v=1", "v=1"), Ok(()));
        assert_eq!(with("v=1", "v=2"), Err(SignatureError::Syntax));
        assert_eq!(
            with("rsa-sha256", "rsa-sha1"),
            Err(SignatureError::Algorithm)
        );
        assert_eq!(with("From", "Fro"), Err(SignatureError::NoFrom));
        assert_eq!(with("Sel.x", "a/b"), Err(SignatureError::Syntax));
        assert_eq!(with("47DE", "47D"), Err(SignatureError::Syntax));
    }
}
