//! Signatures in minisign's form (<https://jedisct1.github.io/minisign/>), the prehashed one:
//! Ed25519 (RFC 8032) of the file's BLAKE2b-512 (RFC 7693). The file itself passes in pieces.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use blake2::{Blake2b512, Digest};
use ring::signature::{ED25519, UnparsedPublicKey};

/// Longest file of keys, and of a signature, bytes.
pub const MAX_FILE: usize = 8 << 10;
/// Most keys of a file.
const MAX_KEYS: usize = 16;

/// Why a file can't be trusted, in a sentence.
pub type Refused = &'static str;

/// Whom updates are taken from.
#[derive(Clone, Debug)]
pub struct Keys(Vec<Key>);

#[derive(Clone, Debug)]
struct Key {
    id: [u8; 8],
    key: [u8; 32],
}

impl Keys {
    /// A file as `minisign -G` makes it, or several of them one behind the other: the next key
    /// is known before the last one goes.
    pub fn read(text: &str) -> Result<Keys, Refused> {
        let lines = text.lines().map(str::trim);
        let lines = lines.filter(|it| !it.is_empty() && !it.starts_with("untrusted comment:"));
        let keys: Option<Vec<Key>> = lines.take(MAX_KEYS).map(Key::read).collect();
        match keys {
            Some(keys) if !keys.is_empty() => Ok(Keys(keys)),
            _ => Err("the file of public keys holds none that minisign made"),
        }
    }
}

impl Key {
    fn read(line: &str) -> Option<Key> {
        let bytes = STANDARD.decode(line).ok()?;
        let (id, key) = bytes.strip_prefix(b"Ed")?.split_first_chunk()?;
        Some(Key {
            id: *id,
            key: key.try_into().ok()?,
        })
    }
}

/// A signature, and the file so far.
pub struct Verifier {
    key: Key,
    signature: [u8; 64],
    hash: Blake2b512,
}

impl Verifier {
    /// By the signature's file; its comment that is signed too has to be as it was signed.
    pub fn new(keys: &Keys, signature: &str) -> Result<Verifier, Refused> {
        let malformed = "the signature is none that minisign made";
        let mut lines = signature.lines();
        let mut line = || lines.next().ok_or(malformed);
        line()?;
        let bytes = STANDARD.decode(line()?.trim()).map_err(|_| malformed)?;
        let comment = line()?.strip_prefix("trusted comment: ").ok_or(malformed)?;
        let global = STANDARD.decode(line()?.trim()).map_err(|_| malformed)?;
        if bytes.starts_with(b"Ed") {
            return Err("the signature is minisign's old kind: sign with minisign -H");
        }
        let rest = bytes.strip_prefix(b"ED").ok_or(malformed)?;
        let (id, signature) = rest.split_first_chunk::<8>().ok_or(malformed)?;
        let signature: [u8; 64] = signature.try_into().map_err(|_| malformed)?;
        let key = keys.0.iter().find(|it| it.id == *id);
        let key = key.ok_or("the signature is by a key that this machine does not trust")?;
        let signed = [&signature[..], comment.as_bytes()].concat();
        verify(key, &signed, &global).map_err(|_| "the signature's comment was changed")?;
        Ok(Verifier {
            key: key.clone(),
            signature,
            hash: Blake2b512::new(),
        })
    }

    pub fn update(&mut self, bytes: &[u8]) {
        self.hash.update(bytes);
    }

    pub fn finish(self) -> Result<(), Refused> {
        verify(&self.key, &self.hash.finalize(), &self.signature)
            .map_err(|_| "the signature does not fit the file: it is not as it was signed")
    }
}

fn verify(key: &Key, message: &[u8], signature: &[u8]) -> Result<(), ring::error::Unspecified> {
    UnparsedPublicKey::new(&ED25519, &key.key).verify(message, signature)
}

#[cfg(test)]
mod tests {
    use super::*;

    // Made by Debian's minisign 0.11; its secret keys are gone.
    const KEY: &str = "untrusted comment: minisign public key A0EB67A6EDB353C3\n\
        RWTDU7PtpmfroLAbr/9OLWBiMXi3JWWsaRt/qh5wvwfZ2cE7VrSCDZpF\n";
    const OTHER: &str = "untrusted comment: minisign public key 5CA348DF3B664E8C\n\
        RWSMTmY730ijXB10TKXsns2vWwfnpnHSV9G+8RE+ai8ZBj6DDFlDHwgN\n";
    const FILE: &[u8] = b"a small update\n";
    const SIGNATURE: &str = "untrusted comment: signature from minisign secret key\n\
        RUTDU7PtpmfroFmFALrqNaH/SV7nLbAbxYFhLMR6bm6mgRgJk4nGZNlC+oyzCt9pd5HDe+pvEQ9N25iLKpLZFsvilXz66gXpuwA=\n\
        trusted comment: file f\n\
        sM/ei6QUFMalrer+AUH24jad/rlYzi/ZTWh4rhkNiXTQdLNQYjnI3r4tUKM4zEz0AgWyv57DF0V0oBxl6vWFDA==\n";
    const OLD_KIND: &str = "untrusted comment: signature from minisign secret key\n\
        RWTDU7PtpmfroL/gr8y4aRn7yW8/8z+Gxsy2TQPotpH1SUGV9/M1ooDFdGN4dssJYFs2b0Inak4QlfBYxWxWYgcrVGOSq38FsA0=\n\
        trusted comment: x\n\
        3uxfs7fzKbCxq95Lbea03pSU/fuqDdcMSFTjMy7uuGWHD+OwNKWxlDu2XGw6Rh4J+W/vev9/3Q9F6dY0N4nDCg==\n";

    fn check(keys: &str, signature: &str, file: &[u8]) -> Result<(), Refused> {
        let mut verifier = Verifier::new(&Keys::read(keys)?, signature)?;
        for piece in file.chunks(4) {
            verifier.update(piece);
        }
        verifier.finish()
    }

    #[test]
    fn a_file_is_good_by_a_key_that_is_known() {
        assert_eq!(check(KEY, SIGNATURE, FILE), Ok(()));
        assert_eq!(check(&[OTHER, KEY].concat(), SIGNATURE, FILE), Ok(()));
        let why = check(OTHER, SIGNATURE, FILE).unwrap_err();
        assert!(why.contains("does not trust"), "{why}");
        let why = check(KEY, OLD_KIND, FILE).unwrap_err();
        assert!(why.contains("-H"), "{why}");
    }

    #[test]
    fn whatever_is_changed_it_is_not() {
        for at in 0..FILE.len() {
            let mut file = FILE.to_vec();
            file[at] ^= 4;
            assert!(check(KEY, SIGNATURE, &file).is_err());
            assert!(check(KEY, SIGNATURE, &FILE[..at]).is_err());
        }
        // All but what is not signed, and the bits of the encoding that mean nothing.
        let signed = SIGNATURE.find('\n').unwrap() + 1;
        for (at, byte) in SIGNATURE.bytes().enumerate().skip(signed) {
            if matches!(byte, b'\n' | b'=') {
                continue;
            }
            let mut bytes = SIGNATURE.as_bytes().to_vec();
            bytes[at] = if byte == b'A' { b'B' } else { b'A' };
            let changed = String::from_utf8(bytes).unwrap();
            assert!(check(KEY, &changed, FILE).is_err(), "{changed}");
        }
        for end in 0..SIGNATURE.trim_end().len() {
            assert!(check(KEY, &SIGNATURE[..end], FILE).is_err());
        }
        for keys in ["", "untrusted comment: none\n", "RWTDU7Pt", "x"] {
            assert!(Keys::read(keys).is_err());
        }
    }
}
