//! Submission, by transcripts.

use crate::support::transcript::{Protocol, run_all};
use pillarbox::smtp;

#[test]
fn transcripts() {
    run_all(Protocol::Smtp, |context, stream, tls| {
        Box::pin(smtp::serve::serve(context, stream, tls))
    });
}
