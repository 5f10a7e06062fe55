//! The head of an update file, which a slot's label repeats. Pure.
//!
//! ```text
//! file = head | the slot's image, by zstd
//! head = "pillarbox-update 1" LF, then "NAME=VALUE" LF of board, version, schema, length and
//!        sha256 in this order, then LF
//! ```
//!
//! Length and hash are those of the image itself.

use std::cmp::Ordering;
use std::fmt;

/// Longest head, bytes.
pub const MAX_HEAD: usize = 1024;
/// Longest name of a board, and of a version.
const MAX_NAME: usize = 64;
const MAGIC: &str = "pillarbox-update 1";

/// What an image is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// The one kind of machine that it is for.
    pub board: String,
    pub version: Version,
    /// The newest schema of the store that it reads, see [`crate::store`]'s.
    pub schema: u64,
    /// Bytes of the image.
    pub length: u64,
    pub sha256: [u8; 32],
}

impl Head {
    /// From the first bytes of a file, with its own length; `None` if that is no head.
    pub fn read(bytes: &[u8]) -> Option<(Head, usize)> {
        let bytes = bytes.get(..bytes.len().min(MAX_HEAD))?;
        let end = memchr::memmem::find(bytes, b"\n\n")?;
        let text = std::str::from_utf8(bytes.get(..end)?).ok()?;
        let mut lines = text.split('\n');
        if lines.next()? != MAGIC {
            return None;
        }
        let mut value = |name: &str| lines.next()?.strip_prefix(name)?.strip_prefix('=');
        let head = Head {
            board: name(value("board")?)?,
            version: Version(name(value("version")?)?),
            schema: number(value("schema")?)?,
            length: number(value("length")?)?,
            sha256: hash(value("sha256")?)?,
        };
        lines.next().is_none().then_some((head, end + 2))
    }

    pub fn write(&self) -> String {
        let hash: String = self.sha256.iter().map(|it| format!("{it:02x}")).collect();
        format!(
            "{MAGIC}\nboard={}\nversion={}\nschema={}\nlength={}\nsha256={hash}\n\n",
            self.board, self.version, self.schema, self.length
        )
    }
}

fn name(text: &str) -> Option<String> {
    let fits = |b: u8| b.is_ascii_alphanumeric() || b".+-_~".contains(&b);
    let usable = (1..=MAX_NAME).contains(&text.len()) && text.bytes().all(fits);
    usable.then(|| text.to_string())
}

/// Decimal, without a sign.
fn number(text: &str) -> Option<u64> {
    let digits = text.bytes().all(|b| b.is_ascii_digit());
    text.parse().ok().filter(|_| digits)
}

fn hash(text: &str) -> Option<[u8; 32]> {
    let mut hash = [0; 32];
    if text.len() != 64 || !text.bytes().all(|b| b.is_ascii_hexdigit()) {
        return None;
    }
    for (n, byte) in hash.iter_mut().enumerate() {
        *byte = u8::from_str_radix(text.get(2 * n..2 * n + 2)?, 16).ok()?;
    }
    Some(hash)
}

/// A version, in the order of <https://semver.org>, about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Version(String);

impl Version {
    /// `None` if it has characters that none has.
    pub fn parse(text: &str) -> Option<Version> {
        name(text).map(Version)
    }

    /// Whether it came before `other`; what follows `+` does not count.
    pub fn is_older_than(&self, other: &Version) -> bool {
        order(&self.0, &other.0) == Ordering::Less
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn order(one: &str, two: &str) -> Ordering {
    let parts = |text: &str| {
        let text = text.split('+').next().unwrap_or_default().to_string();
        match text.split_once(['-', '~']) {
            Some((release, before)) => (release.to_string(), Some(before.to_string())),
            None => (text, None),
        }
    };
    let ((one, one_before), (two, two_before)) = (parts(one), parts(two));
    let before = match (one_before, two_before) {
        (None, None) => Ordering::Equal,
        (Some(_), None) => Ordering::Less,
        (None, Some(_)) => Ordering::Greater,
        (Some(one), Some(two)) => by_fields(&one, &two),
    };
    by_fields(&one, &two).then(before)
}

/// Fields between dots: numbers by value and before words; more of them are later.
fn by_fields(one: &str, two: &str) -> Ordering {
    let (mut one, mut two) = (one.split('.'), two.split('.'));
    loop {
        let order = match (one.next(), two.next()) {
            (None, None) => return Ordering::Equal,
            (None, Some(_)) => Ordering::Less,
            (Some(_), None) => Ordering::Greater,
            (Some(one), Some(two)) => match (number(one), number(two)) {
                (Some(one), Some(two)) => one.cmp(&two),
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
                (None, None) => one.cmp(two),
            },
        };
        if order != Ordering::Equal {
            return order;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_comes_back_and_what_is_none_is_refused() {
        let head = Head {
            board: "virt-arm64".into(),
            version: Version::parse("0.2.0-rc.1+7").unwrap(),
            schema: 3,
            length: 100_663_296,
            sha256: [0xa7; 32],
        };
        let text = head.write();
        let file = [text.as_bytes(), b"\x28\xb5\x2f\xfd", &[b'\n'; 2000]].concat();
        assert_eq!(Head::read(&file), Some((head, text.len())));
        for end in 0..text.len() {
            assert_eq!(Head::read(&file[..end]), None);
        }
        for (what, other) in [
            ("update 1", "update 2"),
            ("virt-arm64", "virt arm64"),
            ("virt-arm64", ""),
            ("schema=3", "schema=+3"),
            ("schema=3", "schema=-3"),
            ("schema=3\n", ""),
            ("schema=3\n", "schema=3\nmore=1\n"),
            ("length=1", "length=9999999999999999999991"),
            ("sha256=a7", "sha256="),
            ("sha256=a7", "sha256=g7"),
            ("\nboard", "\nxboard"),
        ] {
            let text = text.replace(what, other);
            let found = Head::read(text.as_bytes());
            assert!(found.is_none(), "{text}");
        }
        let long = text.replace("virt-arm64", &"x".repeat(65));
        assert_eq!(Head::read(long.as_bytes()), None);
    }

    #[test]
    fn versions_are_in_order() {
        let version = |text: &str| Version::parse(text).unwrap();
        let sorted = [
            "0.1.0-alpha",
            "0.1.0-rc.2",
            "0.1.0-rc.10",
            "0.1.0",
            "0.1.1",
            "0.1.10",
            "0.2",
            "0.2.0",
            "1.0.0",
            "10.0.0",
        ];
        for (n, one) in sorted.iter().enumerate() {
            for (m, two) in sorted.iter().enumerate() {
                assert_eq!(
                    version(one).is_older_than(&version(two)),
                    n < m,
                    "{one} {two}"
                );
            }
        }
        assert!(!version("1.0+1").is_older_than(&version("1.0+2")));
        assert_eq!(Version::parse("1.0 0"), None);
    }
}
