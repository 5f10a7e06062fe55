//! When a recipient is tried again, when no more, and what its sender is told of. Pure.

use crate::mail::outgoing::{DeliverBy, Envelope, Outcome, Recipient, Reply, Status};

/// Up to one part in so many is added to or taken from a pause, so that what failed together
/// does not come again together.
const JITTER: i64 = 10;

/// How patient the queue is; seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Between the first attempt and the second.
    pub first_pause: i64,
    /// Between two attempts at most; until then each pause is twice the one before.
    pub longest_pause: i64,
    /// After which a message that could not be delivered goes back.
    pub expiry: i64,
    /// After which the sender is told that it takes longer.
    pub delay_notice: i64,
}

/// What a sender may be told of one recipient (RFC 3461, 6).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Event {
    Failed,
    Delayed,
    /// Taken by a server that tells nothing itself.
    Relayed,
    /// In its mailbox here.
    Delivered,
    /// Sent on to the members of a group.
    Expanded,
}

impl Event {
    pub const ALL: [Event; 5] = [
        Event::Failed,
        Event::Delayed,
        Event::Relayed,
        Event::Delivered,
        Event::Expanded,
    ];
}

/// What is known of a message whose recipient was tried.
#[derive(Clone, Copy, Debug)]
pub struct Attempt<'a> {
    pub envelope: &'a Envelope,
    /// Seconds since 1970.
    pub submitted: i64,
    pub now: i64,
    /// For the jitter.
    pub seed: u64,
}

impl Policy {
    /// The recipient's status after an attempt, and what its sender is to be told.
    pub fn settle(
        &self,
        attempt: &Attempt<'_>,
        recipient: &Recipient,
        outcome: Outcome,
    ) -> (Status, Option<Event>) {
        match outcome {
            Outcome::Delivered {
                reply,
                notifies,
                keeps_time,
            } => {
                // RFC 2852, 4.1.4: with a trace each relaying is told, whoever else tells of
                // it; and that nobody keeps the time any more, where it is not over yet.
                let by = attempt.envelope.deliver_by;
                let ends = |by: DeliverBy| !by.returns && !keeps_time && attempt.now < by.until;
                let traced = by.is_some_and(|by| by.trace || ends(by));
                let tell = (traced && !recipient.notify.is_never())
                    || (recipient.notify.success && !notifies);
                (Status::Delivered(reply), tell.then_some(Event::Relayed))
            }
            Outcome::Failed(reply) => failed(recipient, reply),
            Outcome::Deferred(reply) => self.defer(attempt, recipient, reply),
        }
    }

    /// Why a recipient is not to be tried any more: DELIVERBY's time is over (RFC 2852, 4.1.4).
    /// The usual time ends with an attempt, however long the server was down.
    pub fn overdue(attempt: &Attempt<'_>, recipient: &Recipient) -> Option<Reply> {
        let by = attempt.envelope.deliver_by?;
        let last = match &recipient.status {
            Status::Waiting { last, .. } => last.as_ref(),
            _ => None,
        };
        let text = "the time that its sender gave it is over";
        (by.returns && attempt.now >= by.until).then(|| expiry_reply(text, last))
    }

    fn defer(
        &self,
        attempt: &Attempt<'_>,
        recipient: &Recipient,
        reply: Reply,
    ) -> (Status, Option<Event>) {
        let (attempts, told) = match &recipient.status {
            Status::Waiting { attempts, told, .. } => (attempts.saturating_add(1), *told),
            _ => (1, true),
        };
        if attempt.now >= self.ends(attempt) {
            let text = "it could not be delivered for too long";
            return failed(recipient, expiry_reply(text, Some(&reply)));
        }
        let delayed = !told && attempt.now >= self.tells_delay(attempt);
        let mut next = attempt.now + self.pause(attempts, attempt.seed);
        // What is due at a certain moment is looked at then.
        let mut moments = vec![self.ends(attempt)];
        moments.extend(attempt.envelope.deliver_by.map(|by| by.until));
        for moment in moments.into_iter().filter(|it| *it > attempt.now) {
            next = next.min(moment);
        }
        let status = Status::Waiting {
            attempts,
            next,
            last: Some(reply),
            told: told || delayed,
        };
        let tell = delayed && recipient.notify.delay;
        (status, tell.then_some(Event::Delayed))
    }

    /// Seconds until the next attempt, after so many.
    fn pause(&self, attempts: u32, seed: u64) -> i64 {
        let doubled = attempts.saturating_sub(1).min(30);
        let pause = self.first_pause.max(1).saturating_mul(1 << doubled);
        let pause = pause.min(self.longest_pause.max(1));
        let span = pause / JITTER;
        let jitter = (seed % (2 * span as u64 + 1)) as i64 - span;
        (pause + jitter).max(1)
    }

    /// When the message goes back.
    pub fn ends(&self, attempt: &Attempt<'_>) -> i64 {
        begins(attempt.envelope, attempt.submitted).saturating_add(self.expiry)
    }

    /// Who says by when it should be there is told then, and once (RFC 2852, 4.1.3).
    fn tells_delay(&self, attempt: &Attempt<'_>) -> i64 {
        let begins = begins(attempt.envelope, attempt.submitted);
        match attempt.envelope.deliver_by {
            Some(by) if !by.returns && by.until < self.ends(attempt) => by.until,
            _ => begins.saturating_add(self.delay_notice),
        }
    }
}

/// When a message's time begins: what was to be held back has not waited until then
/// (RFC 4865, 5).
pub(super) fn begins(envelope: &Envelope, submitted: i64) -> i64 {
    submitted.max(envelope.hold_until.unwrap_or(i64::MIN))
}

fn failed(recipient: &Recipient, reply: Reply) -> (Status, Option<Event>) {
    let tell = recipient.notify.failure;
    (Status::Failed(reply), tell.then_some(Event::Failed))
}

/// 4.4.7: "delivery time expired" (RFC 3463, 3.5), for good here.
fn expiry_reply(text: &str, last: Option<&Reply>) -> Reply {
    let enhanced = String::from("5.4.7");
    let ours = Reply {
        code: 0,
        enhanced: enhanced.clone(),
        text: text.into(),
        server: None,
    };
    match last {
        None => ours,
        Some(last) if last.code == 0 => Reply {
            text: format!("{text}; at last: {}", last.text),
            server: last.server.clone(),
            ..ours
        },
        // What the server said stays what it said: a notice repeats it (RFC 3461, 6.3).
        Some(last) => Reply {
            enhanced,
            text: format!("{} {} ({text})", last.enhanced, last.text),
            ..last.clone()
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::address::Address;
    use crate::mail::outgoing::Notify;

    const POLICY: Policy = Policy {
        first_pause: 300,
        longest_pause: 14_400,
        expiry: 432_000,
        delay_notice: 14_400,
    };

    fn recipient(status: Status) -> Recipient {
        Recipient {
            address: Address::parse("a@x.example").unwrap(),
            notify: Notify::default(),
            original: None,
            accepted: None,
            status,
        }
    }

    fn busy() -> Reply {
        Reply {
            code: 450,
            enhanced: "4.2.0".into(),
            text: "busy".into(),
            server: Some("mx".into()),
        }
    }

    fn attempt(envelope: &Envelope, now: i64) -> Attempt<'_> {
        Attempt {
            envelope,
            submitted: 0,
            now,
            seed: 0,
        }
    }

    /// Tries until it is over: the moments of the attempts, and of the notices.
    fn lifetime(envelope: &Envelope, seed: u64) -> (Vec<i64>, Vec<(i64, Event)>) {
        let mut recipient = recipient(Status::waiting(0));
        let (mut moments, mut events) = (Vec::new(), Vec::new());
        while let Status::Waiting { next, .. } = recipient.status {
            assert!(moments.last() < Some(&next), "no progress at {next}");
            moments.push(next);
            let attempt = Attempt {
                envelope,
                submitted: 0,
                now: next,
                seed: seed.wrapping_mul(next as u64 + 7),
            };
            let outcome = match Policy::overdue(&attempt, &recipient) {
                Some(reply) => Outcome::Failed(reply),
                None => Outcome::Deferred(busy()),
            };
            let (status, event) = POLICY.settle(&attempt, &recipient, outcome);
            events.extend(event.map(|event| (next, event)));
            recipient.status = status;
        }
        (moments, events)
    }

    #[test]
    fn pauses_double_up_to_the_longest_and_end_with_the_expiry() {
        for seed in [1, 99, 12_345_678_901] {
            let (moments, events) = lifetime(&Envelope::default(), seed);
            let pauses: Vec<i64> = moments.windows(2).map(|it| it[1] - it[0]).collect();
            for (n, pause) in pauses.iter().enumerate().take(20) {
                let expected = (300 << n.min(20)).min(14_400);
                assert!((pause - expected).abs() <= expected / 10, "{n}: {pause}");
            }
            assert_eq!(moments.last(), Some(&432_000));
            assert_eq!(events.last(), Some(&(432_000, Event::Failed)));
            assert_eq!(events.len(), 2, "{events:?}");
            let (told, event) = events[0];
            assert_eq!(event, Event::Delayed);
            assert!((14_400..30_000).contains(&told), "{told}");
        }
    }

    #[test]
    fn what_must_be_there_by_a_time_goes_back_at_it_or_is_told_late() {
        let by = |returns| Envelope {
            deliver_by: Some(DeliverBy {
                until: 1000,
                returns,
                trace: false,
            }),
            ..Envelope::default()
        };
        let (moments, events) = lifetime(&by(true), 3);
        assert_eq!(moments.last(), Some(&1000));
        assert_eq!(events, [(1000, Event::Failed)]);
        let (moments, events) = lifetime(&by(false), 3);
        assert!(moments.contains(&1000));
        assert_eq!(events[0], (1000, Event::Delayed));
        assert_eq!(events.len(), 2);
    }

    #[test]
    fn what_was_held_back_has_its_full_time() {
        let held = Envelope {
            hold_until: Some(1_000_000),
            ..Envelope::default()
        };
        let attempt = attempt(&held, 1_000_000);
        let outcome = Outcome::Deferred(busy());
        let (status, event) = POLICY.settle(&attempt, &recipient(Status::waiting(0)), outcome);
        assert_eq!(event, None);
        assert!(matches!(status, Status::Waiting { attempts: 1, .. }));
    }

    #[test]
    fn only_what_was_asked_for_is_told() {
        let envelope = Envelope::default();
        let attempt = attempt(&envelope, 432_000);
        let mut quiet = recipient(Status::waiting(0));
        quiet.notify = Notify {
            success: false,
            failure: false,
            delay: false,
            given: true,
        };
        let mut eager = quiet.clone();
        eager.notify.success = true;
        let delivered = |notifies| Outcome::Delivered {
            reply: busy(),
            notifies,
            keeps_time: true,
        };
        for (who, outcome, expected) in [
            (&quiet, Outcome::Failed(busy()), None),
            (&quiet, Outcome::Deferred(busy()), None),
            (&quiet, delivered(false), None),
            (&eager, delivered(false), Some(Event::Relayed)),
            (&eager, delivered(true), None),
        ] {
            assert_eq!(POLICY.settle(&attempt, who, outcome).1, expected);
        }
        let by = DeliverBy {
            until: 500_000,
            returns: true,
            trace: true,
        };
        let traced = Envelope {
            deliver_by: Some(by),
            ..Envelope::default()
        };
        let attempt = self::attempt(&traced, 432_000);
        let told = |who| POLICY.settle(&attempt, who, delivered(true)).1;
        let plain = recipient(Status::waiting(0));
        assert_eq!(told(&plain), Some(Event::Relayed));
        assert_eq!(told(&quiet), None, "NOTIFY=NEVER");
    }

    /// RFC 2852, 4.1.4.2: from a server that does not know DELIVERBY on, nobody keeps the time.
    #[test]
    fn that_nobody_keeps_the_time_any_more_is_told() {
        let envelope = Envelope {
            deliver_by: Some(DeliverBy {
                until: 1000,
                returns: false,
                trace: false,
            }),
            ..Envelope::default()
        };
        let plain = recipient(Status::waiting(0));
        let mut never = plain.clone();
        never.notify = Notify {
            success: false,
            failure: false,
            delay: false,
            given: true,
        };
        let relayed = Some(Event::Relayed);
        for (now, who, keeps_time, expected) in [
            (999, &plain, false, relayed),
            (999, &plain, true, None),
            (999, &never, false, None),
            (1000, &plain, false, None),
        ] {
            let outcome = Outcome::Delivered {
                reply: busy(),
                notifies: true,
                keeps_time,
            };
            let told = POLICY.settle(&attempt(&envelope, now), who, outcome).1;
            assert_eq!(told, expected, "{now} {keeps_time}");
        }
    }

    #[test]
    fn what_has_waited_too_long_goes_back_with_what_was_said_last() {
        let envelope = Envelope::default();
        let attempt = attempt(&envelope, 10_000_000);
        let late = recipient(Status::waiting(0));
        assert_eq!(Policy::overdue(&attempt, &late), None);
        let (status, event) = POLICY.settle(&attempt, &late, Outcome::Deferred(busy()));
        assert_eq!(event, Some(Event::Failed));
        let Status::Failed(reply) = status else {
            panic!("{status:?}")
        };
        assert_eq!(
            (reply.enhanced.as_str(), reply.server),
            ("5.4.7", Some("mx".into()))
        );
        assert_eq!(reply.code, 450);
        let text = "4.2.0 busy (it could not be delivered for too long)";
        assert_eq!(reply.text, text);
    }
}
