//! POP3, by transcripts.

use crate::support::transcript::{Protocol, run_all};
use pillarbox::pop3;

#[test]
fn transcripts() {
    run_all(Protocol::Pop3, |context, stream, tls| {
        Box::pin(pop3::serve::serve(context, stream, tls))
    });
}
