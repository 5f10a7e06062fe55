//! What an update brings, and what is found on a card.

use super::fuzz;
use pillarbox::acme::http;
use pillarbox::update::board::Running;
use pillarbox::update::device::partition;
use pillarbox::update::minisign::{Keys, Verifier};
use pillarbox::update::package::{Head, MAX_HEAD, Version};
use pillarbox::update::state::{BLOCK, Slot, Standing, State};

/// Of tests that nobody signs with any more.
const KEY: &str = "untrusted comment: minisign public key A0EB67A6EDB353C3\n\
    RWTDU7PtpmfroLAbr/9OLWBiMXi3JWWsaRt/qh5wvwfZ2cE7VrSCDZpF\n";
const SIGNATURE: &str = "untrusted comment: signature from minisign secret key\n\
    RUTDU7PtpmfroFmFALrqNaH/SV7nLbAbxYFhLMR6bm6mgRgJk4nGZNlC+oyzCt9pd5HDe+pvEQ9N25iLKpLZFsvilXz66gXpuwA=\n\
    trusted comment: file f\n\
    sM/ei6QUFMalrer+AUH24jad/rlYzi/ZTWh4rhkNiXTQdLNQYjnI3r4tUKM4zEz0AgWyv57DF0V0oBxl6vWFDA==\n";

#[test]
fn update_state() {
    let state = State {
        serial: 0xffff_fffe,
        first: Slot::B,
        a: Standing::GOOD,
        b: Standing::ON_TRIAL,
    };
    let mut read = 0;
    fuzz(
        "boot state",
        &[&state.encode(), &State::NEW.encode()],
        |bytes| {
            // Its own checksum, or nearly nothing would come through.
            let mut block = bytes.to_vec();
            block.resize(BLOCK, 0);
            let crc = crc32fast::hash(&block[4..]);
            block[..4].copy_from_slice(&crc.to_le_bytes());
            if let Some(found) = State::decode(&block) {
                assert_eq!(State::decode(&found.encode()), Some(found));
                let standing = found.of(found.next_boot());
                let other = found.of(found.next_boot().other());
                assert!(standing.good || standing.tries > 0 || other == Standing::EMPTY);
                read += 1;
            }
            if let Some(found) = State::decode(bytes) {
                assert_eq!(bytes.len().min(BLOCK), BLOCK);
                assert!(found.a.tries <= 3 && found.b.tries <= 3);
            }
            let text = String::from_utf8_lossy(bytes);
            Running::read(&text);
        },
    );
    assert!(read >= 2);
}

#[test]
fn update_file() {
    let head = Head {
        board: "virt-arm64".into(),
        version: Version::parse("0.2.0-rc.1").expect("a version"),
        schema: 3,
        length: 1 << 27,
        sha256: [7; 32],
    };
    let text = head.write();
    let mut table = [0; 512];
    table[446 + 16..446 + 32].fill(0x17);
    table[510..].copy_from_slice(&[0x55, 0xaa]);
    let response = b"HTTP/1.1 302 Found\r\nLocation: https://a.test/x\r\n\r\nbody";
    let seeds: [&[u8]; 5] = [
        text.as_bytes(),
        KEY.as_bytes(),
        SIGNATURE.as_bytes(),
        &table,
        response,
    ];
    let keys = Keys::read(KEY).expect("a key");
    let mut read = 0;
    fuzz("update file", &seeds, |bytes| {
        if let Some((found, length)) = Head::read(bytes) {
            assert!(length <= MAX_HEAD && found.write().len() <= MAX_HEAD);
            assert_eq!(
                Head::read(found.write().as_bytes()).map(|it| it.0),
                Some(found.clone())
            );
            assert!(!found.version.is_older_than(&found.version));
            read += 1;
        }
        let text = String::from_utf8_lossy(bytes);
        read += usize::from(Keys::read(&text).is_ok());
        if let Ok(mut verifier) = Verifier::new(&keys, &text) {
            verifier.update(bytes);
            assert!(verifier.finish().is_err());
            read += 1;
        }
        if let Some(sector) = bytes.first_chunk() {
            for number in 0..6 {
                if let Some(found) = partition(sector, number, 1 << 33) {
                    assert!(found.length > 0 && found.start + found.length <= 1 << 33);
                }
            }
        }
        if let Some(Some((_, begin))) = http::head(bytes) {
            assert!(begin <= bytes.len());
            read += 1;
        }
    });
    assert!(read >= 4);
}
