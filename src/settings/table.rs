//! Every setting there is. The manual's page `settings` is made from this table.

use super::setting::{Field, Setting};
use Field::{
    Addresses, Choice, Count, Endpoints, Host, Hosts, Login, Name, Networks, Number, Order, Path,
    People, Port, Servers, Size, Switch, Text, Time, Words,
};

const MIN: u64 = 60;
const HOUR: u64 = 60 * MIN;
const DAY: u64 = 24 * HOUR;

/// Each holds at once, for what begins after it was set.
const fn live(
    name: &'static str,
    field: Field,
    meaning: &'static str,
    source: &'static str,
) -> Setting {
    Setting {
        name,
        field,
        meaning,
        source,
    }
}

/// By service, in the order in which they are shown.
pub const SETTINGS: &[Setting] = &[
    live(
        "server.hostname",
        Host(|s| &mut s.hostname),
        "the name that the server greets with and that its certificate holds for",
        "RFC 5321, 4.1.1.1",
    ),
    live(
        "server.administrators",
        People(|s| &mut s.administrators),
        "accounts here that are told by mail what the owner should know",
        "",
    ),
    live(
        "server.keep-log",
        Time(|s| &mut s.keep_log, DAY, 3650 * DAY),
        "how long logins and changes stay in the audit log",
        "",
    ),
    live(
        "server.addresses",
        Addresses(|s| &mut s.addresses),
        "where services listen; :: is every address of IPv6 and IPv4",
        "",
    ),
    live(
        "server.port-base",
        Port(|s| &mut s.port_base),
        "added to every port; 0 for the well-known ones",
        "",
    ),
    live(
        "server.max-connections",
        Count(|s| &mut s.max_connections, 16, 65_536),
        "connections of users at once, of all services",
        "",
    ),
    live(
        "server.write-timeout",
        Time(|s| &mut s.write_timeout, 10, 10 * MIN),
        "how long a client may leave what was sent to it unread",
        "",
    ),
    live(
        "server.drain-timeout",
        Time(|s| &mut s.drain_timeout, 1, 5 * MIN),
        "how long commands that run may take to end when the server stops",
        "",
    ),
    live(
        "account.quota",
        Size(|s| &mut s.account_quota, 0, 1 << 46),
        "how much mail an account may hold; 0 for no limit",
        "RFC 9208",
    ),
    live(
        "account.max-messages",
        Number(|s| &mut s.account_max_messages, 0, u32::MAX),
        "messages that an account may hold; 0 for no limit",
        "RFC 9208",
    ),
    live(
        "account.keep-deleted",
        Time(|s| &mut s.keep_deleted, 0, 3650 * DAY),
        "how long a deleted account can be had back; 0 deletes at once",
        "",
    ),
    live(
        "account.language",
        Choice(|s| &mut s.language, &["en", "ru"]),
        "what the server writes to people in, where their account has no own",
        "",
    ),
    live(
        "message.max-size",
        Size(|s| &mut s.max_message_size, 1 << 10, 1 << 30),
        "the largest message that is taken",
        "RFC 1870, RFC 7889",
    ),
    live(
        "message.max-recipients",
        Count(|s| &mut s.max_recipients, 1, 1000),
        "recipients of one message",
        "RFC 5321, 4.5.3.1.8",
    ),
    live(
        "login.timeout",
        Time(|s| &mut s.login_timeout, 10, 10 * MIN),
        "how long a client may stay silent before it has logged in",
        "",
    ),
    live(
        "login.max-connections",
        Count(|s| &mut s.max_unauthenticated, 4, 65_536),
        "connections at once that have not logged in",
        "",
    ),
    live(
        "login.max-connections-per-address",
        Count(|s| &mut s.max_unauthenticated_per_source, 1, 65_536),
        "of these, from one address (IPv6: one /64)",
        "",
    ),
    live(
        "login.bind",
        Switch(|s| &mut s.bind_logins),
        "offer SCRAM-SHA-256-PLUS; Debian's mutt can't send mail then",
        "RFC 7677, RFC 9266",
    ),
    live(
        "login.client-certificates",
        Switch(|s| &mut s.client_certificates),
        "ask mail programs for a certificate to log in by (EXTERNAL)",
        "RFC 4422, appendix A",
    ),
    live(
        "login.plain-on-loopback",
        Switch(|s| &mut s.plain_login_on_loopback),
        "take passwords without TLS from programs on this machine",
        "",
    ),
    live(
        "login.trusted-proxies",
        Networks(|s| &mut s.trusted_proxies),
        "servers in front that are believed who the client is: XCLIENT, ID",
        "",
    ),
    live(
        "imap.enabled",
        Switch(|s| &mut s.imap.enabled),
        "serve IMAP",
        "RFC 3501",
    ),
    live(
        "imap.port",
        Port(|s| &mut s.imap.port),
        "IMAP with STARTTLS",
        "RFC 3501",
    ),
    live(
        "imap.tls-port",
        Port(|s| &mut s.imap.tls_port),
        "IMAP over TLS",
        "RFC 8314",
    ),
    live(
        "imap.timeout",
        Time(|s| &mut s.imap_timeout, 30 * MIN, DAY),
        "how long a client may stay silent after login",
        "RFC 9051, 5.4",
    ),
    live(
        "imap.max-command-size",
        Size(|s| &mut s.imap_max_command, 64 << 10, 1 << 20),
        "the longest command after login, messages left out",
        "RFC 7162, 4",
    ),
    live(
        "imap.max-connections",
        Count(|s| &mut s.imap_access.max_connections, 1, 65_536),
        "connections at once, logged in or not",
        "",
    ),
    live(
        "imap.max-connections-per-address",
        Count(
            |s| &mut s.imap_access.max_connections_per_address,
            1,
            65_536,
        ),
        "of these, from one address (IPv6: one /64)",
        "",
    ),
    live(
        "imap.max-connections-per-account",
        Count(
            |s| &mut s.imap_access.max_connections_per_account,
            1,
            65_536,
        ),
        "of these, logged in to one account",
        "",
    ),
    live(
        "imap.login-type",
        Login(|s| &mut s.imap_access.login),
        "logins that are taken in clear, or any; scram: those that show no password",
        "RFC 8314, 3",
    ),
    live(
        "imap.banner",
        Words(|s| &mut s.imap_access.banner),
        "what the greeting says; empty for the server's own words",
        "",
    ),
    live(
        "imap.protocol-log",
        Switch(|s| &mut s.imap_access.log),
        "commands and replies go to the log, without passwords and mail",
        "",
    ),
    live(
        "pop3.enabled",
        Switch(|s| &mut s.pop3.enabled),
        "serve POP3",
        "RFC 1939",
    ),
    live(
        "pop3.port",
        Port(|s| &mut s.pop3.port),
        "POP3 with STLS",
        "RFC 2595",
    ),
    live(
        "pop3.tls-port",
        Port(|s| &mut s.pop3.tls_port),
        "POP3 over TLS",
        "RFC 8314",
    ),
    live(
        "pop3.timeout",
        Time(|s| &mut s.pop3_timeout, 10 * MIN, DAY),
        "how long a client may stay silent after login",
        "RFC 1939, 3",
    ),
    live(
        "pop3.login-delay",
        Time(|s| &mut s.pop3_login_delay, 0, HOUR),
        "shortest time from one login of an account to the next",
        "RFC 2449, 6.5",
    ),
    live(
        "pop3.order",
        Order(|s| &mut s.pop3_order),
        "whether message 1 is the oldest or the newest; an account may have its own",
        "",
    ),
    live(
        "pop3.max-command-size",
        Size(|s| &mut s.pop3_max_command, 255, 4 << 10),
        "the longest command line, AUTH and PASS left out",
        "RFC 2449, 4",
    ),
    live(
        "pop3.max-connections",
        Count(|s| &mut s.pop3_access.max_connections, 1, 65_536),
        "connections at once, logged in or not",
        "",
    ),
    live(
        "pop3.max-connections-per-address",
        Count(
            |s| &mut s.pop3_access.max_connections_per_address,
            1,
            65_536,
        ),
        "of these, from one address (IPv6: one /64)",
        "",
    ),
    live(
        "pop3.max-connections-per-account",
        Count(
            |s| &mut s.pop3_access.max_connections_per_account,
            1,
            65_536,
        ),
        "of these, logged in to one account",
        "",
    ),
    live(
        "pop3.login-type",
        Login(|s| &mut s.pop3_access.login),
        "logins that are taken in clear, or any; scram: those that show no password",
        "RFC 8314, 3",
    ),
    live(
        "pop3.banner",
        Words(|s| &mut s.pop3_access.banner),
        "what the greeting says; empty for the server's own words",
        "",
    ),
    live(
        "pop3.protocol-log",
        Switch(|s| &mut s.pop3_access.log),
        "commands and replies go to the log, without passwords and mail",
        "",
    ),
    live(
        "submission.enabled",
        Switch(|s| &mut s.submission.enabled),
        "take mail from mail programs",
        "RFC 6409",
    ),
    live(
        "submission.port",
        Port(|s| &mut s.submission.port),
        "submission with STARTTLS",
        "RFC 6409",
    ),
    live(
        "submission.tls-port",
        Port(|s| &mut s.submission.tls_port),
        "submission over TLS",
        "RFC 8314",
    ),
    live(
        "submission.max-messages-per-hour",
        Number(|s| &mut s.max_messages_per_hour, 0, 1_000_000),
        "messages that one account may submit in an hour; 0 for no limit",
        "",
    ),
    live(
        "submission.max-recipients-per-day",
        Number(|s| &mut s.max_recipients_per_day, 0, 1_000_000),
        "recipients to which one account may submit in a day; 0 for no limit",
        "",
    ),
    live(
        "submission.max-new-recipients-per-day",
        Number(|s| &mut s.max_new_recipients_per_day, 0, 1_000_000),
        "of these, those elsewhere that it never wrote to; 0 for no limit",
        "",
    ),
    live(
        "submission.max-messages-per-minute",
        Number(|s| &mut s.submission_max_messages_per_source, 0, 1_000_000),
        "messages in a minute from one address (IPv6: one /64); 0 for no limit",
        "",
    ),
    live(
        "submission.max-protocol-errors",
        Number(|s| &mut s.submission_max_protocol_errors, 1, 1_000_000),
        "commands that are none or come out of order, before it is closed",
        "RFC 5321, 7.8",
    ),
    live(
        "submission.tarpit",
        Time(|s| &mut s.submission_tarpit, 0, 30),
        "how long each refusal of a command is delayed before login",
        "",
    ),
    live(
        "submission.max-connections",
        Count(|s| &mut s.submission_access.max_connections, 1, 65_536),
        "connections at once, logged in or not",
        "",
    ),
    live(
        "submission.max-connections-per-address",
        Count(
            |s| &mut s.submission_access.max_connections_per_address,
            1,
            65_536,
        ),
        "of these, from one address (IPv6: one /64)",
        "",
    ),
    live(
        "submission.max-connections-per-account",
        Count(
            |s| &mut s.submission_access.max_connections_per_account,
            1,
            65_536,
        ),
        "of these, logged in to one account",
        "",
    ),
    live(
        "submission.login-type",
        Login(|s| &mut s.submission_access.login),
        "logins that are taken in clear, or any; scram: those that show no password",
        "RFC 8314, 3",
    ),
    live(
        "submission.banner",
        Words(|s| &mut s.submission_access.banner),
        "what the greeting says; empty for the server's own words",
        "",
    ),
    live(
        "submission.protocol-log",
        Switch(|s| &mut s.submission_access.log),
        "commands and replies go to the log, without passwords and mail",
        "",
    ),
    live(
        "smtp.enabled",
        Switch(|s| &mut s.smtp.enabled),
        "take mail from other servers",
        "RFC 5321",
    ),
    live("smtp.port", Port(|s| &mut s.smtp.port), "SMTP", "RFC 5321"),
    live(
        "smtp.timeout",
        Time(|s| &mut s.smtp_timeout, 5 * MIN, HOUR),
        "how long a client of SMTP or submission may stay silent",
        "RFC 5321, 4.5.3.2.7",
    ),
    live(
        "smtp.max-connections",
        Count(|s| &mut s.max_incoming, 4, 65_536),
        "connections of other servers at once, SMTP and LMTP",
        "",
    ),
    live(
        "smtp.max-connections-per-address",
        Count(|s| &mut s.max_incoming_per_source, 1, 65_536),
        "of these, from one address (IPv6: one /64)",
        "",
    ),
    live(
        "smtp.max-messages-per-minute",
        Number(|s| &mut s.max_messages_per_source, 1, 1_000_000),
        "messages in a minute from one address (IPv6: one /64)",
        "",
    ),
    live(
        "smtp.max-messages-per-connection",
        Number(|s| &mut s.max_messages_per_connection, 1, 1_000_000),
        "messages over one connection",
        "RFC 9422, 4",
    ),
    live(
        "smtp.max-unknown-per-hour",
        Number(|s| &mut s.max_unknown_per_source, 0, 1_000_000),
        "unknown recipients in an hour from one address; 0 for no limit",
        "",
    ),
    live(
        "smtp.max-refusals",
        Number(|s| &mut s.max_refusals, 1, 1_000_000),
        "refusals on one connection, submission's too, before it is closed",
        "RFC 5321, 7.8",
    ),
    live(
        "smtp.max-protocol-errors",
        Number(|s| &mut s.max_protocol_errors, 1, 1_000_000),
        "commands that are none or come out of order, before it is closed",
        "RFC 5321, 7.8",
    ),
    live(
        "smtp.tarpit",
        Time(|s| &mut s.tarpit, 0, 30),
        "how long each refusal is delayed",
        "",
    ),
    live(
        "smtp.greylist",
        Switch(|s| &mut s.greylist),
        "put off senders that have not been here before",
        "RFC 6647",
    ),
    live(
        "smtp.refuse-by-dmarc",
        Switch(|s| &mut s.refuse_by_dmarc),
        "refuse mail that its author's domain asks to refuse; off puts it into Junk",
        "RFC 7489, 6.3",
    ),
    live(
        "smtp.banner",
        Words(|s| &mut s.smtp_banner),
        "what the greeting says behind the name; empty for the server's own words",
        "RFC 5321, 4.2",
    ),
    live(
        "smtp.protocol-log",
        Switch(|s| &mut s.smtp_log),
        "commands and replies of SMTP and LMTP go to the log, without mail",
        "",
    ),
    live(
        "lmtp.enabled",
        Switch(|s| &mut s.lmtp.enabled),
        "take mail from a server on this machine",
        "RFC 2033",
    ),
    live(
        "lmtp.port",
        Port(|s| &mut s.lmtp.port),
        "LMTP, on loopback alone",
        "RFC 2033",
    ),
    live(
        "internal.hostname",
        Name(|s| &mut s.internal.hostname),
        "the name by which mail programs in this network reach this server",
        "RFC 6186",
    ),
    live(
        "internal.imap",
        Endpoints(|s| &mut s.internal.imap),
        "in this network, what to connect to for imap; empty: as it listens",
        "RFC 6186",
    ),
    live(
        "internal.pop3",
        Endpoints(|s| &mut s.internal.pop3),
        "in this network, what to connect to for pop3; empty: as it listens",
        "RFC 6186",
    ),
    live(
        "internal.submission",
        Endpoints(|s| &mut s.internal.submission),
        "in this network, what to connect to for submission; empty: as it listens",
        "RFC 6186",
    ),
    live(
        "external.hostname",
        Name(|s| &mut s.external.hostname),
        "the name by which mail programs outside reach this server",
        "RFC 6186",
    ),
    live(
        "external.imap",
        Endpoints(|s| &mut s.external.imap),
        "outside, what to connect to for imap; empty: as it listens",
        "RFC 6186",
    ),
    live(
        "external.pop3",
        Endpoints(|s| &mut s.external.pop3),
        "outside, what to connect to for pop3; empty: as it listens",
        "RFC 6186",
    ),
    live(
        "external.submission",
        Endpoints(|s| &mut s.external.submission),
        "outside, what to connect to for submission; empty: as it listens",
        "RFC 6186",
    ),
    live(
        "connections.tell",
        Switch(|s| &mut s.tell_connections),
        "tell users what to connect to: in the welcome message, by autoconfig",
        "RFC 6186",
    ),
    live(
        "queue.direct",
        Switch(|s| &mut s.direct),
        "send to other servers directly where no relay is set",
        "RFC 5321, 5.1",
    ),
    live(
        "queue.retry-after",
        Time(|s| &mut s.retry_after, 1, DAY),
        "pause before mail is tried again; then each is twice as long",
        "RFC 5321, 4.5.4.1",
    ),
    live(
        "queue.retry-every",
        Time(|s| &mut s.retry_every, 1, 7 * DAY),
        "the longest such pause",
        "RFC 5321, 4.5.4.1",
    ),
    live(
        "queue.tell-delay-after",
        Time(|s| &mut s.tell_delay_after, 1, 30 * DAY),
        "when the sender is told that mail takes longer",
        "RFC 3464, 2.3.3",
    ),
    live(
        "queue.give-up-after",
        Time(|s| &mut s.give_up_after, 1, 90 * DAY),
        "when mail that could not be delivered goes back",
        "RFC 5321, 4.5.4.1",
    ),
    live(
        "queue.max-sending",
        Count(|s| &mut s.max_sending, 1, 200),
        "messages on their way at once",
        "",
    ),
    live(
        "queue.max-sending-per-destination",
        Count(|s| &mut s.max_sending_per_destination, 1, 200),
        "of these, to one destination, and by connections to one server",
        "",
    ),
    live(
        "tls.source",
        Choice(|s| &mut s.tls_source, &["auto", "local", "files", "acme"]),
        "whose certificate is served; auto: your files where they are set, else local",
        "",
    ),
    live(
        "tls.names",
        Hosts(|s| &mut s.tls_names),
        "what a certificate of local or acme holds for beside server.hostname",
        "RFC 5280, 4.2.1.6",
    ),
    live(
        "tls.certificate",
        Path(|s| &mut s.tls_certificate),
        "your own certificate with its chain, PEM",
        "",
    ),
    live(
        "tls.key",
        Path(|s| &mut s.tls_key),
        "the key of tls.certificate, PEM",
        "",
    ),
    live(
        "tls.authorities",
        Path(|s| &mut s.tls_authorities),
        "authorities to trust when sending mail, beside the system's, PEM",
        "",
    ),
    live(
        "acme.directory",
        Text(|s| &mut s.acme_directory),
        "the URL of the ACME authority's directory; Let's Encrypt's unless set",
        "RFC 8555, 7.1.1",
    ),
    live(
        "acme.agree-to-terms",
        Switch(|s| &mut s.acme_agreed),
        "whether you agree to that authority's terms; it gives nothing without",
        "RFC 8555, 7.3.3",
    ),
    live(
        "acme.contact",
        Text(|s| &mut s.acme_contact),
        "mail address at which that authority can reach you",
        "RFC 8555, 7.3",
    ),
    live(
        "acme.challenge",
        Choice(
            |s| &mut s.acme_challenge,
            &["http-01", "tls-alpn-01", "dns-01"],
        ),
        "how the names are shown to be yours: by port 80, port 443, or your DNS",
        "RFC 8555, 8; RFC 8737",
    ),
    live(
        "dns.servers",
        Servers(|s| &mut s.name_servers),
        "name servers to ask; none for those of the system",
        "",
    ),
];

/// By name; the error names those that are near.
pub fn find(name: &str) -> Result<&'static Setting, String> {
    let found = SETTINGS.iter().find(|it| it.name == name);
    found.ok_or_else(|| {
        let last = name.rsplit('.').next().unwrap_or(name);
        let near: Vec<&str> = SETTINGS
            .iter()
            .map(|it| it.name)
            .filter(|it| {
                !last.is_empty() && it.contains(last) || it.starts_with(&format!("{name}."))
            })
            .collect();
        match near.as_slice() {
            [] => format!("there is no setting {name}; `pillarbox settings list` shows them"),
            near => format!("there is no setting {name}; there is {}", near.join(", ")),
        }
    })
}
