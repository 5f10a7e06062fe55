//! New private keys. ring makes Ed25519 keys but no RSA keys: the primes come from
//! crypto-primes, ring checks what came of them and alone signs (so that no timing of other
//! code is ever seen from outside).

use super::key::Algorithm;
use crate::secret::Secret;
use crypto_bigint::rand_core::{TryCryptoRng, TryRng};
use crypto_bigint::{NonZero, U1024, U2048};
use crypto_primes::hazmat::{SetBits, SmallFactorsSieveFactory};
use crypto_primes::{Flavor, is_prime, sieve_and_find};
use ring::rand::{SecureRandom, SystemRandom};
use ring::signature::{Ed25519KeyPair, RsaKeyPair};
use std::convert::Infallible;

/// RFC 8301, 3.2: signers use 2048 bits at least; longer ones outgrow a DNS reply.
const PRIME_BITS: u32 = 1024;
const EXPONENT: u32 = 65_537;
/// Times that two primes may not fit each other or the exponent.
const MAX_ATTEMPTS: usize = 8;

/// Ed25519 in PKCS #8, RSA (2048 bits, 65537) in PKCS #1; takes RSA a second or so: not on the
/// executor. `None` where the system has no randomness.
pub fn private_key(algorithm: Algorithm) -> Option<Secret<Vec<u8>>> {
    match algorithm {
        Algorithm::Ed25519 => {
            let made = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new());
            Some(Secret::new(made.ok()?.as_ref().to_vec()))
        }
        Algorithm::Rsa => (0..MAX_ATTEMPTS).find_map(|_| rsa()),
    }
}

fn rsa() -> Option<Secret<Vec<u8>>> {
    let mut random = Random { failed: false };
    let (one, two) = (prime(&mut random)?, prime(&mut random)?);
    if random.failed {
        return None;
    }
    let (p, q) = if one > two { (one, two) } else { (two, one) };
    let der = private_key_info(&p, &q)?;
    // Sizes, p * q = n, the distance of p and q, and that the exponents fit: ring looks.
    RsaKeyPair::from_der(der.reveal()).ok()?;
    Some(der)
}

fn prime(random: &mut Random) -> Option<U1024> {
    // Two bits at the top: the product then has all its 2048.
    let candidates =
        SmallFactorsSieveFactory::new(Flavor::Any, PRIME_BITS, SetBits::TwoMsb).ok()?;
    let found = sieve_and_find(random, candidates, |_, it| is_prime(Flavor::Any, it));
    found.ok()?
}

/// RSAPrivateKey (RFC 8017, A.1.2) of two primes, the larger first.
fn private_key_info(p: &U1024, q: &U1024) -> Option<Secret<Vec<u8>>> {
    let less_one = |it: &U1024| it.wrapping_sub(&U1024::ONE);
    let (p1, q1) = (less_one(p), less_one(q));
    let n: U2048 = p.concatenating_mul(q);
    let phi: U2048 = p1.concatenating_mul(&q1);
    let e = U1024::from_u32(EXPONENT);
    let inverse = |of: &U1024, modulus: U1024| {
        of.invert_mod(&NonZero::new(modulus).into_option()?)
            .into_option()
    };
    let d = U2048::from_u32(EXPONENT)
        .invert_mod(&NonZero::new(phi).into_option()?)
        .into_option()?;
    let (dp, dq) = (inverse(&e, p1)?, inverse(&e, q1)?);
    let coefficient = inverse(q, *p)?;
    let mut content = vec![0x02, 0x01, 0x00];
    integer(n.to_be_bytes().as_ref(), &mut content);
    integer(e.to_be_bytes().as_ref(), &mut content);
    integer(d.to_be_bytes().as_ref(), &mut content);
    for number in [*p, *q, dp, dq, coefficient] {
        integer(number.to_be_bytes().as_ref(), &mut content);
    }
    let content = Secret::new(content);
    let mut der = Vec::with_capacity(content.reveal().len() + 4);
    value(0x30, content.reveal(), &mut der);
    Some(Secret::new(der))
}

/// SubjectPublicKeyInfo (RFC 5280, 4.1) around an RSAPublicKey.
pub(super) fn subject_public_key_info(key: &[u8]) -> Vec<u8> {
    let mut content = super::key::RSA_ENCRYPTION.to_vec();
    let bits: Vec<u8> = [&[0], key].concat();
    value(0x03, &bits, &mut content);
    let mut der = Vec::new();
    value(0x30, &content, &mut der);
    der
}

fn integer(big_endian: &[u8], out: &mut Vec<u8>) {
    let zeros = big_endian.iter().take_while(|b| **b == 0).count();
    let digits = big_endian.get(zeros..).unwrap_or_default();
    // A first bit set would make it negative.
    match digits.first() {
        Some(0..0x80) => value(0x02, digits, out),
        _ => {
            let padded = Secret::new([&[0], digits].concat());
            value(0x02, padded.reveal(), out);
        }
    }
}

/// Tag, length (up to 65,535) and content.
fn value(tag: u8, content: &[u8], out: &mut Vec<u8>) {
    out.push(tag);
    let [_, .., high, low] = content.len().to_be_bytes();
    match content.len() {
        0..0x80 => out.push(low),
        0x80..0x100 => out.extend([0x81, low]),
        _ => out.extend([0x82, high, low]),
    }
    out.extend_from_slice(content);
}

/// The system's randomness, as crypto-primes takes it; where there is none, `failed` says so
/// and nothing of what was made is used.
struct Random {
    failed: bool,
}

impl TryRng for Random {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        let mut bytes = [0; 4];
        self.try_fill_bytes(&mut bytes)?;
        Ok(u32::from_le_bytes(bytes))
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        let mut bytes = [0; 8];
        self.try_fill_bytes(&mut bytes)?;
        Ok(u64::from_le_bytes(bytes))
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Infallible> {
        self.failed |= SystemRandom::new().fill(bytes).is_err();
        Ok(())
    }
}

impl TryCryptoRng for Random {}

#[cfg(test)]
mod tests {
    use super::super::key::{PublicKey, SigningKey};
    use super::*;

    #[test]
    fn new_keys_sign_what_their_records_verify() {
        for algorithm in Algorithm::ALL {
            let private = private_key(algorithm).unwrap();
            let key = SigningKey::new("Example.ORG", "s1", algorithm, private.reveal()).unwrap();
            assert_eq!((key.domain(), key.algorithm()), ("example.org", algorithm));
            let public = PublicKey::parse(key.record().as_bytes()).unwrap();
            let signature = key.sign(b"text").unwrap();
            assert!(public.verifies(b"text", &signature));
            assert!(!public.verifies(b"texts", &signature));
            let other = private_key(algorithm).unwrap();
            assert_ne!(private.reveal(), other.reveal());
        }
    }
}
