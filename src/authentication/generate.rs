//! New private keys. ring makes Ed25519 keys but no RSA keys: crypto-primes says what is a
//! prime, ring checks what came of the primes and alone signs (so that no timing of other code
//! is ever seen from outside).

use super::key::Algorithm;
use crate::secret::Secret;
use crypto_bigint::{NonZero, U1024, U2048};
use crypto_primes::{Flavor, is_prime};
use ring::rand::{SecureRandom, SystemRandom};
use ring::signature::{Ed25519KeyPair, RsaKeyPair};

/// RFC 8301, 3.2: signers use 2048 bits at least; longer ones outgrow a DNS reply.
const PRIME_BYTES: usize = 128;
const EXPONENT: u32 = 65_537;
/// Of what the primes differ by: 2048 / 2 - 100.
const MIN_DISTANCE_BITS: u32 = 924;
/// Times that two primes may not fit each other or the exponent.
const MAX_ATTEMPTS: usize = 8;
/// Random numbers tried for one prime; one in 355 is prime, and FIPS 186-5 (A.1.3) gives up
/// after as many.
const MAX_CANDIDATES: usize = 5 * 2048;
/// Primes below are tried as divisors: seven in eight candidates need no more than that.
const MAX_DIVISOR: u32 = 1 << 13;

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
    let divisors = primes_below(MAX_DIVISOR);
    let (one, two) = (prime(&divisors)?, prime(&divisors)?);
    let (p, q) = if one > two { (one, two) } else { (two, one) };
    // FIPS 186-5, A.1.3: primes too near each other are found from their product.
    if p.wrapping_sub(&q).bits_vartime() <= MIN_DISTANCE_BITS {
        return None;
    }
    let der = private_key_info(&p, &q)?;
    // Sizes, p * q = n, and that the exponents fit: ring looks.
    RsaKeyPair::from_der(der.reveal()).ok()?;
    Some(der)
}

/// Of random numbers, the first that is prime: so each prime is as likely as another. The
/// crate's own search has a table of 49 kB.
fn prime(divisors: &[u32]) -> Option<U1024> {
    (0..MAX_CANDIDATES).find_map(|_| {
        let candidate = candidate()?;
        let divides = |divisor: &u32| remainder(candidate.reveal(), *divisor) == 0;
        // The exponent has an inverse only where it does not divide the prime less one.
        if divisors.iter().any(divides) || remainder(candidate.reveal(), EXPONENT) == 1 {
            return None;
        }
        let number = U1024::from_be_slice(candidate.reveal());
        is_prime(Flavor::Any, &number).then_some(number)
    })
}

/// A random odd number, big-endian; `None` where the system has no randomness.
fn candidate() -> Option<Secret<[u8; PRIME_BYTES]>> {
    let mut bytes = [0; PRIME_BYTES];
    SystemRandom::new().fill(&mut bytes).ok()?;
    // Two bits at the top: the product then has all its 2048.
    bytes[0] |= 0xC0;
    bytes[PRIME_BYTES - 1] |= 1;
    Some(Secret::new(bytes))
}

/// Of a big-endian number; the divisor is not 0.
fn remainder(number: &[u8; PRIME_BYTES], divisor: u32) -> u32 {
    let divisor = u64::from(divisor);
    let rest = number.as_chunks().0.iter().fold(0, |rest, digit| {
        (rest << 32 | u64::from(u32::from_be_bytes(*digit))) % divisor
    });
    // Less than the divisor.
    rest as u32
}

/// The odd ones.
fn primes_below(end: u32) -> Vec<u32> {
    let mut primes: Vec<u32> = Vec::new();
    for odd in (3..end).step_by(2) {
        let mut small = primes.iter().take_while(|it| *it * *it <= odd);
        if small.all(|it| odd % it != 0) {
            primes.push(odd);
        }
    }
    primes
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

#[cfg(test)]
mod tests {
    use super::super::key::{PublicKey, SigningKey};
    use super::*;

    #[test]
    fn primes_are_large_odd_and_fit_the_exponent() {
        let divisors = primes_below(MAX_DIVISOR);
        assert_eq!(divisors[..6], [3, 5, 7, 11, 13, 17]);
        // Of the primes below 8192, all but 2.
        assert_eq!((divisors.len(), divisors.last()), (1027, Some(&8191)));
        let (p, q) = (prime(&divisors).unwrap(), prime(&divisors).unwrap());
        assert_ne!(p, q);
        for it in [p, q] {
            assert!(it.shr(1022) == U1024::from_u32(3) && is_prime(Flavor::Any, &it));
            let bytes = it.to_be_bytes();
            let bytes: &[u8; PRIME_BYTES] = bytes.as_ref().try_into().unwrap();
            assert!(divisors.iter().all(|by| remainder(bytes, *by) != 0));
            assert_ne!(remainder(bytes, EXPONENT), 1);
        }
    }

    #[test]
    fn remainders_are_those_of_whole_numbers() {
        let mut number = [0; PRIME_BYTES];
        number[PRIME_BYTES - 16..]
            .copy_from_slice(&0x1234_5678_9ABC_DEF0_0FED_CBA9_8765_4321_u128.to_be_bytes());
        for by in [1, 3, 8191, EXPONENT, u32::MAX] {
            let expected = 0x1234_5678_9ABC_DEF0_0FED_CBA9_8765_4321_u128 % u128::from(by);
            assert_eq!(u128::from(remainder(&number, by)), expected);
        }
        // 2^1024 - 1 is a multiple of 2^32 - 1 and of 3, and 256^127 is none of 3.
        assert_eq!(remainder(&[0xFF; PRIME_BYTES], u32::MAX), 0);
        number = [0; PRIME_BYTES];
        number[0] = 1;
        assert_eq!(remainder(&number, 3), 1);
    }

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
