//! IMAP, by transcripts.

use crate::support::transcript::{Protocol, run_all};
use pillarbox::imap;

#[test]
fn transcripts() {
    run_all(Protocol::Imap, |context, stream, tls| {
        Box::pin(imap::serve::serve(context, stream, tls))
    });
}
