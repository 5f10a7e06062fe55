//! Submission, mail from other servers and LMTP, by transcripts.

use crate::support::transcript::{Protocol, run_all};
use pillarbox::smtp;

#[test]
fn transcripts() {
    run_all(Protocol::Smtp, |context, stream, tls| {
        Box::pin(smtp::serve::serve(context, stream, tls))
    });
}

#[test]
fn incoming_transcripts() {
    run_all(Protocol::Incoming, |context, stream, tls| {
        Box::pin(smtp::serve::serve_incoming(context, stream, tls))
    });
}

#[test]
fn lmtp_transcripts() {
    run_all(Protocol::Lmtp, |context, stream, tls| {
        Box::pin(smtp::serve::serve_lmtp(context, stream, tls))
    });
}
