//! The records of a domain, as they should be.

use std::fmt;

/// Most bytes of one string of a TXT record (RFC 1035, 3.3).
const MAX_STRING: usize = 255;
/// How long others may keep a record, seconds.
const TTL: u32 = 3600;

pub struct Record {
    /// Without a dot at the end.
    pub name: String,
    pub data: Data,
    /// Mail goes without it.
    pub optional: bool,
    /// Said above it.
    pub note: Option<&'static str>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Data {
    Mx(String),
    /// With what it is for, which says how it is checked.
    Txt(Purpose, String),
    Srv(u16, String),
    Cname(String),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    Spf,
    Dkim,
    Dmarc,
    MtaSts,
    TlsRpt,
}

/// Services that mail programs look for (RFC 6186, RFC 8314), the better ones first.
const SERVICES: [(&str, u16); 6] = [
    ("_imaps", 993),
    ("_submissions", 465),
    ("_pop3s", 995),
    ("_imap", 143),
    ("_submission", 587),
    ("_pop3", 110),
];

/// `keys`: rows of domain, selector, algorithm, state, record.
pub fn all(domain: &str, hostname: &str, keys: &[Vec<String>]) -> Vec<Record> {
    let record = |name: String, data: Data, note| Record {
        name,
        data,
        optional: false,
        note,
    };
    let text =
        |name: String, purpose, text: String, note| record(name, Data::Txt(purpose, text), note);
    let mut records = vec![
        record(
            domain.into(),
            Data::Mx(hostname.into()),
            Some("mail for the domain comes here; the name needs an A or AAAA record"),
        ),
        text(
            domain.into(),
            Purpose::Spf,
            "v=spf1 mx -all".into(),
            Some("who sends for the domain; with a relay, add what its provider says: include:…"),
        ),
    ];
    for row in keys {
        if let [its_domain, selector, _, _, txt] = row.as_slice()
            && its_domain == domain
        {
            let name = format!("{selector}._domainkey.{domain}");
            records.push(text(name, Purpose::Dkim, txt.clone(), None));
        }
    }
    let reports = format!("rua=mailto:postmaster@{domain}");
    records.push(text(
        format!("_dmarc.{domain}"),
        Purpose::Dmarc,
        format!("v=DMARC1; p=quarantine; {reports}"),
        Some("what others do with mail that only claims to be the domain's"),
    ));
    let mut more = vec![
        text(
            format!("_smtp._tls.{domain}"),
            Purpose::TlsRpt,
            format!("v=TLSRPTv1; {reports}"),
            Some("where others report failures of TLS"),
        ),
        text(
            format!("_mta-sts.{domain}"),
            Purpose::MtaSts,
            "v=STSv1; id=1".into(),
            Some("only once a web server of yours serves the policy below: see pillarbox help dns"),
        ),
    ];
    for (at, (service, port)) in SERVICES.into_iter().enumerate() {
        more.push(record(
            format!("{service}._tcp.{domain}"),
            Data::Srv(port, hostname.into()),
            (at == 0).then_some("where mail programs find the server"),
        ));
    }
    more.push(record(
        format!("autoconfig.{domain}"),
        Data::Cname(hostname.into()),
        None,
    ));
    more.iter_mut().for_each(|it| it.optional = true);
    records.extend(more);
    records
}

/// The policy that a web server has to give for the domain (RFC 8461, 3.2), a week long.
pub fn mta_sts_policy(hostname: &str) -> String {
    format!("version: STSv1\nmode: enforce\nmx: {hostname}\nmax_age: 604800\n")
}

impl Record {
    pub fn kind(&self) -> &'static str {
        match self.data {
            Data::Mx(_) => "MX",
            Data::Txt(..) => "TXT",
            Data::Srv(..) => "SRV",
            Data::Cname(_) => "CNAME",
        }
    }
}

/// As a zone file has it (RFC 1035, 5.1).
impl fmt::Display for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, kind) = (&self.name, self.kind());
        write!(f, "{name}. {TTL} IN {kind} ")?;
        match &self.data {
            Data::Mx(host) => write!(f, "10 {host}."),
            Data::Srv(port, host) => write!(f, "0 1 {port} {host}."),
            Data::Cname(host) => write!(f, "{host}."),
            Data::Txt(_, text) => {
                let strings: Vec<String> = text
                    .as_bytes()
                    .chunks(MAX_STRING)
                    .map(|it| format!("\"{}\"", String::from_utf8_lossy(it)))
                    .collect();
                f.write_str(&strings.join(" "))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_policy_is_one_that_we_would_heed() {
        let text = mta_sts_policy("mail.b.test");
        let policy = crate::queue::policy::Policy::parse(&text, "1").unwrap();
        assert!(policy.allows("mail.b.test") && !policy.allows("mx.b.test"));
        assert_eq!(policy.max_age, 604_800);
    }

    #[test]
    fn records_are_lines_of_a_zone_file() {
        let keys = vec![
            vec![
                "b.test".into(),
                "r1".into(),
                "rsa".into(),
                "signing".into(),
                "x".repeat(300),
            ],
            vec![
                "c.test".into(),
                "r1".into(),
                "rsa".into(),
                "signing".into(),
                "y".into(),
            ],
        ];
        let lines: Vec<String> = all("b.test", "mail.b.test", &keys)
            .iter()
            .map(Record::to_string)
            .collect();
        assert_eq!(lines[0], "b.test. 3600 IN MX 10 mail.b.test.");
        assert_eq!(lines[1], "b.test. 3600 IN TXT \"v=spf1 mx -all\"");
        let long = format!(
            "r1._domainkey.b.test. 3600 IN TXT \"{}\" \"{}\"",
            "x".repeat(255),
            "x".repeat(45)
        );
        assert_eq!(lines[2], long);
        assert!(lines.contains(&"_imaps._tcp.b.test. 3600 IN SRV 0 1 993 mail.b.test.".into()));
        assert!(lines.iter().all(|line| !line.contains("c.test")));
    }
}
