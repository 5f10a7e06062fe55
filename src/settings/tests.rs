use super::document::{self, Chosen};
use super::*;

fn changed(changes: &[(&str, &str)]) -> Result<Settings, String> {
    let mut settings = Settings::default();
    for (name, value) in changes {
        find(name)?.set(&mut settings, value)?;
    }
    settings.check().map(|()| settings)
}

#[test]
fn each_setting_has_its_own_place_and_reads_what_it_shows() {
    let defaults = Settings::default();
    for setting in SETTINGS {
        let mut settings = defaults.clone();
        let shown = setting.show(&defaults);
        setting.set(&mut settings, &shown).unwrap();
        assert_eq!(setting.show(&settings), shown, "{}", setting.name);
        let others =
            "off on 7 77 2d ru 1h 29s 35min 10min 2MiB /x x.test ::1 a@x.test 1KiB 128KiB clear \
                      descending 993:tls 300 local dns-01 https://x.test/"
                .split_whitespace();
        let mut others = others.filter(|it| {
            *it != shown
                && setting.set(&mut settings, it).is_ok()
                && setting.show(&settings) != shown
        });
        assert!(others.next().is_some(), "{} takes none", setting.name);
        let moved: Vec<&str> = SETTINGS
            .iter()
            .filter(|it| it.show(&settings) != it.show(&defaults))
            .map(|it| it.name)
            .collect();
        assert_eq!(moved, [setting.name]);
    }
}

#[test]
fn names_are_unique_and_grouped() {
    let mut seen: Vec<&str> = Vec::new();
    for setting in SETTINGS {
        let (table, key) = setting.name.split_once('.').unwrap();
        let fits = |text: &str| {
            text.bytes()
                .all(|b| b.is_ascii_lowercase() || b"-3".contains(&b))
        };
        assert!(
            fits(table.trim_end_matches('3')) && fits(key),
            "{}",
            setting.name
        );
        assert!(
            seen.last() == Some(&table) || !seen.contains(&table),
            "{table} comes twice"
        );
        seen.push(table);
        assert_eq!(
            SETTINGS.iter().filter(|it| it.name == setting.name).count(),
            1
        );
        assert!(setting.meaning.len() <= 76, "{}", setting.name);
    }
}

#[test]
fn what_is_out_of_range_is_refused_with_the_range() {
    let refusal = changed(&[("smtp.tarpit", "31s")]).unwrap_err();
    assert_eq!(refusal, "smtp.tarpit: 31s is not within 0s to 30s");
    let refusal = changed(&[("message.max-size", "2GiB")]).unwrap_err();
    assert_eq!(refusal, "message.max-size: 2GiB is not within 1KiB to 1GiB");
    for (name, value) in [
        ("imap.port", "65536"),
        ("imap.enabled", "perhaps"),
        ("server.hostname", "-x.test"),
        ("server.hostname", ""),
        ("server.address", "localhost"),
        ("tls.key", "key.pem"),
        ("dns.servers", "1.1.1.1 2.2.2.2 3.3.3.3 4.4.4.4"),
        ("queue.retry-after", "x\ny"),
        ("tls.source", "none"),
        ("tls.source", "files"),
        ("tls.names", "a.test -b.test"),
        ("acme.directory", "http://ca.test/"),
        ("acme.contact", "me"),
    ] {
        assert!(changed(&[(name, value)]).is_err(), "{name} {value}");
    }
    let refusal = changed(&[("imap.tls-prt", "1")]).unwrap_err();
    assert!(
        refusal.starts_with("there is no setting imap.tls-prt"),
        "{refusal}"
    );
    let refusal = changed(&[("tarpit", "1s")]).unwrap_err();
    assert_eq!(
        refusal,
        "there is no setting tarpit; there is submission.tarpit, smtp.tarpit"
    );
}

#[test]
fn what_does_not_go_together_is_refused() {
    let refusal = changed(&[("imap.port", "25")]).unwrap_err();
    assert_eq!(refusal, "imap and smtp can't both have port 25");
    assert!(changed(&[("imap.port", "25"), ("smtp.enabled", "off")]).is_ok());
    assert!(changed(&[("tls.key", "/k.pem")]).is_err());
    assert!(changed(&[("server.port-base", "65000")]).is_err());
    assert!(changed(&[("queue.retry-after", "5h")]).is_err());
}

#[test]
fn services_that_are_off_listen_nowhere() {
    let settings = changed(&[("imap.enabled", "off"), ("pop3.port", "0")]).unwrap();
    let services: Vec<Service> = settings
        .listen()
        .unwrap()
        .iter()
        .map(|it| it.service)
        .collect();
    use Service::{Lmtp, Pop3s, Smtp, Submission, Submissions};
    assert_eq!(services, [Pop3s, Submission, Submissions, Smtp, Lmtp]);
    let lmtp = settings.listen().unwrap().pop().unwrap();
    assert!(lmtp.address.ip().is_loopback());
}

#[test]
fn lmtp_has_loopback_once() {
    let settings = changed(&[("server.addresses", "127.0.0.1 ::1 192.0.2.5 192.0.2.6")]).unwrap();
    let listen = settings.listen().unwrap();
    let lmtp: Vec<&Listen> = listen
        .iter()
        .filter(|it| it.service == Service::Lmtp)
        .collect();
    assert_eq!(lmtp.len(), 2);
    assert!(lmtp.iter().all(|it| it.address.ip().is_loopback()));
    assert_eq!(listen.len(), 7 * 4 + 2);
}

#[test]
fn a_file_is_read_as_it_was_written() {
    let defaults = Settings::default();
    let chosen: Chosen = [
        ("smtp.tarpit", "9s"),
        ("imap.enabled", "off"),
        ("imap.port", "1143"),
        ("dns.servers", "127.0.0.1:5353"),
        ("tls.certificate", "/etc/\"odd\" \\ name.pem"),
        ("tls.key", "/etc/key.pem"),
    ]
    .map(|(name, value)| (name.to_string(), value.to_string()))
    .into();
    let text = document::write(&chosen, &defaults);
    assert_eq!(document::read(&text, &defaults), Ok(chosen.clone()));
    assert!(text.lines().all(|line| line.len() <= 160));
    let mut settings = defaults.clone();
    document::apply(&mut settings, &chosen).unwrap();
    assert_eq!(settings.tarpit, Duration::from_secs(9));
    assert!(!settings.imap.enabled);
    let none = document::write(&Chosen::new(), &defaults);
    assert_eq!(document::read(&none, &defaults), Ok(Chosen::new()));
    // The comments are right: without their mark they change nothing.
    let bare: String = none
        .lines()
        .map(|line| match line.strip_prefix('#') {
            Some(rest) if !rest.starts_with(' ') => format!("{rest}\n"),
            _ => format!("{line}\n"),
        })
        .collect();
    assert_eq!(document::read(&bare, &defaults), Ok(Chosen::new()));
}

#[test]
fn a_bad_file_is_refused_with_line_and_reason() {
    let defaults = Settings::default();
    for (text, refusal) in [
        (
            "[smtp]\ntarpit = \"31s\"\n",
            "line 2: smtp.tarpit: 31s is not within 0s to 30s",
        ),
        (
            "\n\n[smtp]\ntarpi = 3\n",
            "line 4: there is no setting smtp.tarpi",
        ),
        (
            "[imap]\nport = [1]\n",
            "line 2: imap.port is a text, a number or true or false",
        ),
        ("port = 1\n", "line 1: port stands in no [table]"),
        ("[imap]\nport = 1\nport = 2\n", "line 3: duplicate key"),
        (
            "[imap]\nport = 25\n",
            "imap and smtp can't both have port 25",
        ),
    ] {
        let said = document::read(text, &defaults).unwrap_err();
        assert!(said.starts_with(refusal), "{said}");
    }
    assert!(document::read(&"#".repeat(document::MAX_LENGTH + 1), &defaults).is_err());
}
