//! What a client has tried in vain since its last message: who goes on too long is let go.

use super::reply::Reply;
use super::role::Role;

/// Commands that are none or come out of order, unless the owner has another limit: programs
/// that guess make them, mail servers and mail programs don't.
pub const MAX_PROTOCOL_ERRORS: u32 = 5;
/// Commands that bring no message nearer: NOOP, RSET, VRFY, HELP, EHLO.
const MAX_IDLE: u32 = 100;
/// "Not now" (450 to 452): a message to very many recipients gets some.
const MAX_PUT_OFF: u32 = 1000;

#[derive(Debug, Default)]
pub struct Tally {
    refusals: u32,
    /// Of those, commands that are none or come out of order.
    protocol_errors: u32,
    put_off: u32,
    idle: u32,
    /// Refusals that were not waited for yet.
    guesses: u32,
}

impl Tally {
    pub fn count(&mut self, reply: &Reply) {
        let before = self.refusals;
        self.count_login(reply);
        self.guesses += self.refusals - before;
    }

    /// Of a login: those that guess passwords are held up elsewhere.
    pub fn count_login(&mut self, reply: &Reply) {
        match reply.code {
            // That there is no room, or not yet, is no guess: the client is to come again.
            450..=452 => self.put_off += 1,
            400.. => self.refusals += 1,
            _ => {}
        }
        if matches!(reply.code, 500..=504) {
            self.protocol_errors += 1;
        }
    }

    pub fn idle(&mut self) {
        self.idle += 1;
    }

    /// Refusals since this was asked last or a message was taken, those of logins left out.
    pub fn take_guesses(&mut self) -> u32 {
        std::mem::take(&mut self.guesses)
    }

    /// The last reply, once it was too much; both limits: without a message between them.
    pub fn over(&self, role: Role, max_refusals: u32, max_errors: u32) -> Option<Reply> {
        let strange = role == Role::Incoming;
        let text = if self.refusals > max_refusals || self.protocol_errors > max_errors {
            "Too many errors"
        } else if self.put_off > MAX_PUT_OFF {
            "Too many tries in vain"
        } else if strange && self.idle > MAX_IDLE {
            "Too many commands without a message"
        } else {
            return None;
        };
        Some(Reply::new(421, "4.7.0", text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many replies of that code it takes.
    fn limit(code: u16, role: Role) -> usize {
        let mut tally = Tally::default();
        let mut count = 0;
        while tally.over(role, 20, MAX_PROTOCOL_ERRORS).is_none() {
            tally.count(&Reply::new(code, "", ""));
            count += 1;
            assert!(count < 10_000, "{code} has no limit");
        }
        count
    }

    #[test]
    fn every_refusal_has_its_limit() {
        for (code, most) in [
            (500, 6),
            (503, 6),
            (550, 21),
            (554, 21),
            (421, 21),
            (450, 1001),
            (451, 1001),
            (452, 1001),
        ] {
            assert_eq!(limit(code, Role::Incoming), most, "{code}");
            assert_eq!(limit(code, Role::Submission), most, "{code}");
        }
        let mut tally = Tally::default();
        (0..=MAX_IDLE).for_each(|_| tally.idle());
        assert!(tally.over(Role::Incoming, 20, 5).is_some());
        // Mail clients hold a connection open like that.
        assert!(tally.over(Role::Submission, 20, 5).is_none());
        (0..1000).for_each(|_| tally.count(&Reply::new(250, "", "")));
        assert_eq!(tally.take_guesses(), 0);
    }
}
