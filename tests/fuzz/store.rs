//! What the store reads from its own files.

use super::fuzz;
use pillarbox::store::rewritten;

/// Rows of the log that can be read are written so that they read the same.
#[test]
fn redo() {
    let seeds: [&[u8]; 4] = [
        b"\x02\x02\x01\x00",
        b"\x02\x02\x01\x06hello\x03\x08\x80\x01\x01",
        b"\x06\x06\x01\x03ab\x00\x02\x01",
        b"\x02\x07\x05\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
    ];
    fuzz("redo", &seeds, |bytes| {
        let Some(written) = rewritten(bytes) else {
            return;
        };
        assert_eq!(rewritten(&written).as_deref(), Some(&written[..]));
    });
}
