//! Each service as a mail program uses it: log in, send, find, read and delete a message.

use super::line::{Connection, Wrong};
use crate::secret::Secret;
use crate::settings::{Listen, Service};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rustls::ClientConfig;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

/// What the test logs in as, and what it looks for.
pub struct Visitor {
    pub address: String,
    pub password: Secret<String>,
    /// The server's name, and whom its certificate must be from.
    pub hostname: String,
    pub trust: Arc<ClientConfig>,
    /// In the test messages alone.
    pub token: String,
}

impl Visitor {
    /// Uses the service at `listen` and says what it did.
    pub async fn visit(&self, listen: Listen) -> Result<&'static str, Wrong> {
        match listen.service {
            Service::Submission | Service::Submissions => self.submission(listen).await,
            Service::Imap | Service::Imaps => self.imap(listen).await,
            Service::Pop3 | Service::Pop3s => self.pop3(listen).await,
            Service::Smtp => self.smtp(listen, "EHLO").await,
            Service::Lmtp => self.smtp(listen, "LHLO").await,
        }
    }

    async fn open(&self, listen: Listen) -> Result<Connection, Wrong> {
        let address = match listen.address.ip() {
            IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
            ip => ip,
        };
        let tls = listen.service.implicit_tls();
        let tls = tls.then(|| (self.hostname.as_str(), self.trust.clone()));
        Connection::open(address, listen.address.port(), tls).await
    }

    async fn upgrade(&self, connection: &mut Connection) -> Result<(), Wrong> {
        connection
            .start_tls(&self.hostname, self.trust.clone())
            .await
    }

    async fn submission(&self, listen: Listen) -> Result<&'static str, Wrong> {
        let mut it = self.open(listen).await?;
        smtp(&mut it, None, "220").await?;
        smtp(&mut it, Some("EHLO localhost"), "250").await?;
        if !listen.service.implicit_tls() {
            smtp(&mut it, Some("STARTTLS"), "220").await?;
            self.upgrade(&mut it).await?;
            smtp(&mut it, Some("EHLO localhost"), "250").await?;
        }
        let plain = format!("\0{}\0{}", self.address, self.password.reveal());
        let plain = Secret::new(format!("AUTH PLAIN {}", STANDARD.encode(plain)));
        smtp(&mut it, Some(plain.reveal()), "235").await?;
        let address = &self.address;
        smtp(&mut it, Some(&format!("MAIL FROM:<{address}>")), "250").await?;
        smtp(&mut it, Some(&format!("RCPT TO:<{address}>")), "250").await?;
        smtp(&mut it, Some("DATA"), "354").await?;
        let token = &self.token;
        let message = format!(
            "From: <{address}>\r\nTo: <{address}>\r\nSubject: Test {token}\r\n\r\n\
             `pillarbox test` sends and deletes this: {token}\r\n."
        );
        smtp(&mut it, Some(&message), "250").await?;
        smtp(&mut it, Some("QUIT"), "221").await?;
        Ok("logged in and sent a message")
    }

    async fn imap(&self, listen: Listen) -> Result<&'static str, Wrong> {
        let mut it = self.open(listen).await?;
        it.lines(|line| line.starts_with("* OK")).await?;
        if !listen.service.implicit_tls() {
            imap(&mut it, "STARTTLS").await?;
            self.upgrade(&mut it).await?;
        }
        let login = format!("LOGIN \"{}\" \"{}\"", self.address, self.password.reveal());
        imap(&mut it, Secret::new(login).reveal()).await?;
        imap(&mut it, "SELECT INBOX").await?;
        let token = &self.token;
        let found = imap(&mut it, &format!("UID SEARCH SUBJECT {token}")).await?;
        let uid = found
            .iter()
            .find_map(|line| line.strip_prefix("* SEARCH ")?.split(' ').next());
        let uid = uid.ok_or("the message that was sent is not there")?;
        let text = imap(&mut it, &format!("UID FETCH {uid} BODY.PEEK[TEXT]")).await?;
        whole(&text, token)?;
        imap(
            &mut it,
            &format!("UID STORE {uid} +FLAGS.SILENT (\\Deleted)"),
        )
        .await?;
        imap(&mut it, "EXPUNGE").await?;
        imap(&mut it, "LOGOUT").await?;
        Ok("logged in, found, read and deleted a message")
    }

    async fn pop3(&self, listen: Listen) -> Result<&'static str, Wrong> {
        let mut it = self.open(listen).await?;
        pop3(&mut it, None).await?;
        if !listen.service.implicit_tls() {
            pop3(&mut it, Some("STLS")).await?;
            self.upgrade(&mut it).await?;
        }
        pop3(&mut it, Some(&format!("USER {}", self.address))).await?;
        let pass = Secret::new(format!("PASS {}", self.password.reveal()));
        pop3(&mut it, Some(pass.reveal())).await?;
        if pop3(&mut it, Some("STAT")).await?.starts_with("+OK 0 ") {
            return Err("the message that was sent is not there".into());
        }
        pop3(&mut it, Some("RETR 1")).await?;
        let text = it.lines(|line| line == ".").await?;
        whole(&text, &self.token)?;
        pop3(&mut it, Some("DELE 1")).await?;
        pop3(&mut it, Some("QUIT")).await?;
        Ok("logged in, read and deleted a message")
    }

    /// Mail from elsewhere, up to the message itself.
    async fn smtp(&self, listen: Listen, hello: &str) -> Result<&'static str, Wrong> {
        let mut it = self.open(listen).await?;
        smtp(&mut it, None, "220").await?;
        smtp(&mut it, Some(&format!("{hello} localhost")), "250").await?;
        smtp(&mut it, Some("MAIL FROM:<>"), "250").await?;
        // A stranger may be put off by greylisting, and that is right.
        let here = smtp(&mut it, Some(&format!("RCPT TO:<{}>", self.address)), "").await?;
        if !here.starts_with(['2', '4']) {
            return Err(format!("it refuses mail for an account here: {here}"));
        }
        let away = smtp(&mut it, Some("RCPT TO:<someone@elsewhere.example>"), "").await?;
        if !away.starts_with('5') {
            return Err(format!("it takes mail for others from anybody: {away}"));
        }
        smtp(&mut it, Some("QUIT"), "221").await?;
        Ok("takes mail for an account here, and for nobody elsewhere")
    }
}

/// The last line of the reply, which must begin with `code`.
async fn smtp(
    connection: &mut Connection,
    command: Option<&str>,
    code: &str,
) -> Result<String, Wrong> {
    if let Some(command) = command {
        connection.say(command).await?;
    }
    let over = |line: &str| line.as_bytes().get(3) != Some(&b'-');
    let reply = connection.lines(over).await?.pop().unwrap_or_default();
    match reply.starts_with(code) {
        true => Ok(reply),
        false => Err(format!("it says: {reply}")),
    }
}

async fn imap(connection: &mut Connection, command: &str) -> Result<Vec<String>, Wrong> {
    connection.say(&format!("t {command}")).await?;
    let lines = connection.lines(|line| line.starts_with("t ")).await?;
    match lines.last() {
        Some(last) if last.starts_with("t OK") => Ok(lines),
        last => Err(format!("it says: {}", last.map_or("", String::as_str))),
    }
}

async fn pop3(connection: &mut Connection, command: Option<&str>) -> Result<String, Wrong> {
    if let Some(command) = command {
        connection.say(command).await?;
    }
    let reply = connection.line().await?;
    match reply.starts_with("+OK") {
        true => Ok(reply),
        false => Err(format!("it says: {reply}")),
    }
}

fn whole(text: &[String], token: &str) -> Result<(), Wrong> {
    match text
        .iter()
        .any(|line| line.ends_with(&format!("this: {token}")))
    {
        true => Ok(()),
        false => Err("the message is not what was sent".into()),
    }
}
