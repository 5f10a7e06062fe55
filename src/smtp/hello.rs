//! EHLO, HELO and LHLO: what is offered.

use super::reply::write_lines;
use super::role::Role;
use super::session::{Client, Next, Session};
use super::transaction::MAX_HOLD;
use crate::sasl::Mechanism;

impl Session {
    pub(super) fn hello(&mut self, name: String, extended: bool, out: &mut Vec<u8>) -> Next {
        let next = self.reset();
        self.client = Some(Client { name, extended });
        let mut lines = vec![self.config.hostname.clone()];
        if extended {
            lines.extend(self.extensions());
        }
        write_lines(250, &lines, out);
        self.go_on(next, out)
    }

    fn extensions(&self) -> Vec<String> {
        let mut lines = vec![
            "PIPELINING".into(),
            format!("SIZE {}", self.config.max_message_size),
            "8BITMIME".into(),
            "SMTPUTF8".into(),
            "CHUNKING".into(),
            "ENHANCEDSTATUSCODES".into(),
        ];
        if self.config.role.offers_dsn() {
            lines.push("DSN".into());
        }
        let messages = self.config.max_messages;
        let messages = messages.map_or_else(String::new, |most| format!("MAILMAX={most} "));
        lines.push(format!(
            "LIMITS {messages}RCPTMAX={}",
            self.config.max_recipients
        ));
        if self.config.role == Role::Submission {
            lines.extend(["BINARYMIME", "MT-PRIORITY", "DELIVERBY"].map(String::from));
            // RFC 4865, 4: the longest time, and the last moment.
            let last = self.config.now.saturating_add(MAX_HOLD);
            if let Ok(last) = jiff::Timestamp::from_second(last) {
                lines.push(format!("FUTURERELEASE {MAX_HOLD} {last}"));
            }
            if self.config.tls {
                lines.push("REQUIRETLS".into());
            }
        }
        lines.extend(self.burl());
        if self.config.role.needs_login() && self.may_log_in() {
            let names = Mechanism::names(self.channel);
            lines.push(format!("AUTH {names}"));
        }
        if !self.config.tls {
            lines.push("STARTTLS".into());
        }
        lines.extend(self.xclient_names().map(|it| format!("XCLIENT {it}")));
        lines.push("HELP".into());
        lines.retain(|it| {
            !self
                .off
                .hides("submission", it.split(' ').next().unwrap_or(it))
        });
        lines
    }

    pub(super) fn may_log_in(&self) -> bool {
        self.config.tls || self.config.plain_login
    }
}
