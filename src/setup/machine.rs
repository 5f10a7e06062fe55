//! What the answers change of the machine itself, where that is the server's own: files for
//! systemd-networkd, the host's name, the time zone.

use super::answers::Answers;

/// What marks the machine as the server's own.
pub const MARKER: &str = "etc/pillarbox-appliance";
/// Where the time zones are.
pub const ZONES: &str = "usr/share/zoneinfo";

/// One change, at a path below the root.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    File {
        path: &'static str,
        text: String,
    },
    Link {
        path: &'static str,
        to: String,
    },
    /// What is not to be there.
    Gone {
        path: &'static str,
    },
}

/// What allows the console by SSH, by being there; and the keys that open it then. With keys
/// nobody comes without one; with none, the administrator's password lets in.
const SSH_ON: &str = "var/lib/pillarbox-box/ssh/enabled";
const SSH_KEYS: &str = "var/lib/pillarbox-box/ssh/home/.ssh/authorized_keys";

pub fn changes(answers: &Answers) -> Vec<Change> {
    let mut changes = vec![Change::File {
        path: "etc/systemd/network/20-pillarbox.network",
        text: network(answers),
    }];
    if let Some(hostname) = answers.get("hostname") {
        changes.push(Change::File {
            path: "etc/hostname",
            text: format!("{hostname}\n"),
        });
    }
    if let Some(zone) = answers.get("time-zone") {
        changes.push(Change::Link {
            path: "etc/localtime",
            to: format!("/{ZONES}/{zone}"),
        });
    }
    let file = |path, text| Change::File { path, text };
    let gone = |path| Change::Gone { path };
    match (answers.get("ssh.mode"), answers.get("ssh.key")) {
        (Some("keys"), Some(key)) => changes.extend([
            file(SSH_KEYS, format!("{key}\n")),
            file(SSH_ON, String::new()),
        ]),
        (Some("password"), _) => changes.extend([gone(SSH_KEYS), file(SSH_ON, String::new())]),
        (Some(_), _) => changes.push(gone(SSH_ON)),
        (None, _) => {}
    }
    changes
}

/// As systemd.network(5) has it, for every wired interface.
fn network(answers: &Answers) -> String {
    let mut text = String::from(
        "# Written by pillarbox setup.\n[Match]\nName=en* eth*\n\n[Network]\nMulticastDNS=yes\n",
    );
    if !answers.is("network.mode", "static") {
        text.push_str("DHCP=yes\n");
        return text;
    }
    let one = |key: &str, value: &str| format!("{key}={value}\n");
    for (key, name) in [
        ("Address", "network.address"),
        ("Gateway", "network.gateway"),
    ] {
        text.extend(answers.get(name).map(|it| one(key, it)));
    }
    let servers = answers.get("network.name-servers").unwrap_or_default();
    text.extend(servers.split_whitespace().map(|it| one("DNS", it)));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networkd_gets_what_was_answered() {
        let mut answers = Answers::default();
        answers.put("network.mode", "dhcp".into());
        assert!(network(&answers).ends_with("[Network]\nMulticastDNS=yes\nDHCP=yes\n"));
        for (name, value) in [
            ("network.mode", "static"),
            ("network.address", "192.168.1.20/24"),
            ("network.gateway", "192.168.1.1"),
            ("network.name-servers", "192.168.1.1 2001:db8::1"),
            ("hostname", "mail.example.org"),
            ("time-zone", "Europe/Moscow"),
        ] {
            answers.put(name, value.into());
        }
        let text = network(&answers);
        let end =
            "Address=192.168.1.20/24\nGateway=192.168.1.1\nDNS=192.168.1.1\nDNS=2001:db8::1\n";
        assert!(text.ends_with(end) && !text.contains("DHCP"), "{text}");
        let link = Change::Link {
            path: "etc/localtime",
            to: "/usr/share/zoneinfo/Europe/Moscow".into(),
        };
        assert_eq!(changes(&answers).last(), Some(&link));
    }

    #[test]
    fn ssh_is_off_or_for_keys_or_for_the_password() {
        let mut answers = Answers::default();
        let of = |answers: &Answers| changes(answers).split_off(1);
        let on = Change::File {
            path: SSH_ON,
            text: String::new(),
        };
        // Answers of a version that did not ask change nothing of it.
        assert!(of(&answers).is_empty());
        answers.put("ssh.mode", "off".into());
        assert_eq!(of(&answers), [Change::Gone { path: SSH_ON }]);
        answers.put("ssh.mode", "password".into());
        assert_eq!(of(&answers), [Change::Gone { path: SSH_KEYS }, on.clone()]);
        answers.put("ssh.mode", "keys".into());
        answers.put("ssh.key", "ssh-ed25519 AAAA a".into());
        let keys = Change::File {
            path: SSH_KEYS,
            text: "ssh-ed25519 AAAA a\n".into(),
        };
        // The keys are there before anybody is let in.
        assert_eq!(of(&answers), [keys, on]);
    }
}
