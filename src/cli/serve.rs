//! `pillarbox serve`.

use super::{DEFAULT_DIR, Error};
use crate::serve;
use crate::settings::document::Chosen;
use crate::settings::{Settings, find};
use crate::update;
use argh::FromArgs;
use std::path::PathBuf;

/// Serve the mail of a data directory until told to stop (SIGTERM or Ctrl-C).
#[derive(FromArgs)]
#[argh(subcommand, name = "serve")]
pub struct Serve {
    /// data directory, made if missing (default /var/lib/pillarbox)
    #[argh(option, default = "PathBuf::from(DEFAULT_DIR)")]
    dir: PathBuf,
    /// name that the server greets with and that its certificate holds for (default: this
    /// machine's name)
    #[argh(option)]
    hostname: Option<String>,
    /// address to listen on (default [::], every address of IPv6 and IPv4)
    #[argh(option)]
    address: Option<String>,
    /// number added to every port: with 20000, IMAP is on 20143 (default 0)
    #[argh(option)]
    port_base: Option<String>,
    /// never send mail to other servers directly, only by a relay
    #[argh(switch)]
    no_direct: bool,
    /// pause before mail to another server is tried again; then each is twice as long
    /// (default 5min)
    #[argh(option, arg_name = "time")]
    retry_after: Option<String>,
    /// longest such pause (default 4h)
    #[argh(option, arg_name = "time")]
    retry_every: Option<String>,
    /// when the sender is told that mail takes longer (default 4h)
    #[argh(option, arg_name = "time")]
    tell_delay_after: Option<String>,
    /// when mail that could not be delivered goes back (default 5d)
    #[argh(option, arg_name = "time")]
    give_up_after: Option<String>,
    /// your own TLS certificate with its chain, PEM
    #[argh(option)]
    tls_certificate: Option<PathBuf>,
    /// key of --tls-certificate, PEM
    #[argh(option)]
    tls_key: Option<PathBuf>,
    /// offer logins bound to the TLS connection (SCRAM-SHA-256-PLUS); Debian's mutt can't
    /// send mail then
    #[argh(switch)]
    bind_logins: bool,
    /// ask mail programs for a certificate to log in by (EXTERNAL), see pillarbox help tls
    #[argh(switch)]
    client_certificates: bool,
    /// seconds from one POP3 login of an account to the next (default 0: no limit)
    #[argh(option)]
    pop3_login_delay: Option<u32>,
    /// messages that one account may submit in an hour (default 0: no limit)
    #[argh(option)]
    max_messages_per_hour: Option<u32>,
    /// recipients to which one account may submit in a day (default 0: no limit)
    #[argh(option)]
    max_recipients_per_day: Option<u32>,
    /// of these, addresses on other servers that it never wrote to before (default 200; 0: no
    /// limit)
    #[argh(option)]
    max_new_recipients_per_day: Option<u32>,
    /// certificate authorities to trust when sending mail, beside the system's, PEM
    #[argh(option)]
    tls_authorities: Option<PathBuf>,
    /// put off senders on port 25 that have not been here before (greylisting)
    #[argh(switch)]
    greylist: bool,
    /// put mail into Junk that its author's domain asks to refuse (DMARC)
    #[argh(switch)]
    dmarc_junk: bool,
    /// seconds that each refusal on port 25 is delayed, 0 to 30 (default 5)
    #[argh(option)]
    tarpit: Option<u32>,
    /// name server to ask, ADDRESS or ADDRESS:PORT, up to three times (default: those of
    /// /etc/resolv.conf)
    #[argh(option)]
    name_server: Vec<String>,
    /// leave the store in the form that it has, which the version before can read (so it is
    /// while an update is on trial)
    #[argh(switch)]
    hold_schema: bool,
    /// any setting, over what `pillarbox settings` has: NAME=VALUE; may come again
    #[argh(option, arg_name = "name=value")]
    set: Vec<String>,
}

impl Serve {
    pub fn run(self) -> Result<(), Error> {
        let given = self.given()?;
        let hold = self.hold_schema || update::is_on_trial();
        serve::serve(&self.dir, Settings::of_this_machine(), given, hold)
    }

    /// What the options say, as settings.
    fn given(&self) -> Result<Chosen, Error> {
        let path = |path: &Option<PathBuf>| match path {
            Some(path) => std::path::absolute(path).map(|it| Some(it.display().to_string())),
            None => Ok(None),
        };
        let seconds = |number: Option<u32>| number.map(|it| format!("{it}s"));
        let number = |number: Option<u32>| number.map(|it| it.to_string());
        let switch = |given: bool, value: &str| given.then(|| value.to_string());
        let servers = (!self.name_server.is_empty()).then(|| self.name_server.join(" "));
        let options = [
            ("server.hostname", self.hostname.clone()),
            ("server.addresses", self.address.clone()),
            ("server.port-base", self.port_base.clone()),
            ("queue.direct", switch(self.no_direct, "off")),
            ("queue.retry-after", self.retry_after.clone()),
            ("queue.retry-every", self.retry_every.clone()),
            ("queue.tell-delay-after", self.tell_delay_after.clone()),
            ("queue.give-up-after", self.give_up_after.clone()),
            ("tls.certificate", path(&self.tls_certificate)?),
            ("tls.key", path(&self.tls_key)?),
            ("login.bind", switch(self.bind_logins, "on")),
            (
                "login.client-certificates",
                switch(self.client_certificates, "on"),
            ),
            ("pop3.login-delay", seconds(self.pop3_login_delay)),
            (
                "submission.max-messages-per-hour",
                number(self.max_messages_per_hour),
            ),
            (
                "submission.max-recipients-per-day",
                number(self.max_recipients_per_day),
            ),
            (
                "submission.max-new-recipients-per-day",
                number(self.max_new_recipients_per_day),
            ),
            ("tls.authorities", path(&self.tls_authorities)?),
            ("smtp.greylist", switch(self.greylist, "on")),
            ("smtp.refuse-by-dmarc", switch(self.dmarc_junk, "off")),
            ("smtp.tarpit", seconds(self.tarpit)),
            ("dns.servers", servers),
        ];
        let mut given = Chosen::new();
        for (name, value) in options {
            given.extend(value.map(|value| (name.to_string(), value)));
        }
        for pair in &self.set {
            let (name, value) = pair.split_once('=').ok_or("--set takes NAME=VALUE")?;
            given.insert(find(name)?.name.to_string(), value.to_string());
        }
        Ok(given)
    }
}
