//! `pillarbox demo`: a whole server on loopback with three people and their mail, to try
//! mail programs on. The mail comes in through its own submission port.

mod messages;
mod submit;

use super::Error;
use crate::control::{Request, perform};
use crate::net::authority::{Authority, read_limited, write_atomically};
use crate::secret::Secret;
use crate::serve::Server;
use crate::settings::document::Chosen;
use crate::settings::{Access, Service, Settings};
use crate::task;
use crate::{address::Address, net};
use argh::FromArgs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The demo's domain; `.test` is nobody's (RFC 2606, 2).
pub const DOMAIN: &str = "demo.test";
/// Its accounts' local parts.
pub const ACCOUNTS: [&str; 3] = ["alice", "bob", "carol"];
/// Letters of a made-up password; none looks like another.
const LETTERS: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";
/// Length of a made-up password: 60 bits.
const PASSWORD_LENGTH: usize = 12;

/// Try it: a server on loopback with three accounts, with mail in them.
#[derive(FromArgs)]
#[argh(subcommand, name = "demo")]
pub struct Demo {
    /// keep the mail in this directory (default: a temporary one, deleted at the end)
    #[argh(option)]
    dir: Option<PathBuf>,
    /// number added to every port (default 20000: IMAP is on 20143)
    #[argh(option, default = "20000")]
    port_base: u16,
    /// password of all three accounts (default: a made-up one)
    #[argh(option)]
    password: Option<String>,
    /// offer logins bound to the TLS connection (SCRAM-SHA-256-PLUS); Debian's mutt can't
    /// send mail then
    #[argh(switch)]
    bind_logins: bool,
}

impl Demo {
    pub fn run(self) -> Result<(), Error> {
        let temporary = match self.dir {
            Some(_) => None,
            None => Some(
                tempfile::Builder::new()
                    .prefix("pillarbox-demo-")
                    .tempdir()?,
            ),
        };
        let dir = match (&self.dir, &temporary) {
            (Some(dir), _) => std::path::absolute(dir)?,
            (None, Some(dir)) => dir.path().to_path_buf(),
            (None, None) => return Err("there is no directory".into()),
        };
        let settings = Settings {
            bind_logins: self.bind_logins,
            ..settings(self.port_base)
        };
        smol::block_on(async {
            let mut server = Server::open(&dir, settings, Chosen::new(), false).await?;
            let filled = fill(&mut server, &dir, self.password, self.port_base).await;
            let ran = match filled {
                Ok(password) => {
                    server.accept(&Service::ALL);
                    print(&dir, temporary.is_some(), self.port_base, password.reveal());
                    server.run().await
                }
                Err(error) => Err(error),
            };
            server.stop().await;
            ran
        })?;
        if let Some(temporary) = temporary {
            temporary.close()?;
        }
        Ok(())
    }
}

/// Of one account of the demo.
const MAX_CONNECTIONS: usize = 4096;

/// Loopback alone, by IPv4 and, where there is one, IPv6.
fn settings(base: u16) -> Settings {
    let v6 = IpAddr::V6(Ipv6Addr::LOCALHOST);
    let mut addresses = vec![IpAddr::V4(Ipv4Addr::LOCALHOST)];
    if net::listen::bind(SocketAddr::new(v6, 0)).is_ok() {
        addresses.push(v6);
    }
    Settings {
        addresses,
        port_base: base,
        direct: false,
        demo: true,
        // Who tries things out makes mistakes, and has three accounts for all of it.
        submission_tarpit: Duration::ZERO,
        imap_access: Access {
            max_connections_per_account: MAX_CONNECTIONS,
            ..Access::default()
        },
        submission_access: Access {
            max_connections_per_account: MAX_CONNECTIONS,
            ..Access::default()
        },
        ..Settings::default()
    }
}

/// Makes accounts and mail, unless an earlier run in this directory has. Gives the password.
/// Nobody can look at the mail before it is all there.
async fn fill(
    server: &mut Server,
    dir: &Path,
    wanted: Option<String>,
    base: u16,
) -> Result<Secret<String>, Error> {
    let ca = read_limited(&Authority::new(dir).ca_path())?;
    let shown = dir.join("ca.pem");
    // On a full disk an earlier demo's is as good.
    if read_limited(&shown).ok().as_ref() != Some(&ca) {
        write_atomically(&shown, &ca, 0o644)?;
    }
    // Holds the password; written when everything is there.
    let done = dir.join("demo-password");
    let earlier = match done.exists() {
        true => Some(Secret::new(String::from_utf8(read_limited(&done)?)?)),
        false => None,
    };
    let password = match (wanted, &earlier) {
        (Some(wanted), _) => Secret::new(wanted),
        (None, Some(earlier)) => earlier.clone(),
        (None, None) => make_password()?,
    };
    let unchanged = earlier
        .as_ref()
        .is_some_and(|it| it.reveal() == password.reveal());
    if !unchanged {
        make_accounts(server, &password).await?;
    }
    if earlier.is_none() {
        server.accept(&[Service::Submission]);
        let port = Service::Submission.port() + base;
        let secret = password.clone();
        task::unblock(move || submit::all(port, &secret)).await?;
    }
    if !unchanged {
        write_atomically(&done, password.reveal().as_bytes(), 0o600)?;
    }
    Ok(password)
}

/// Makes the accounts; those that are there get the password.
async fn make_accounts(server: &Server, password: &Secret<String>) -> Result<(), Error> {
    let store = &server.context.store;
    let known = perform(store, Request::ListAccounts).await?;
    for name in ACCOUNTS {
        let address = Address::parse(&format!("{name}@{DOMAIN}")).map_err(|it| it.to_string())?;
        let password = password.clone();
        let text = address.to_string();
        let request = if known.iter().any(|row| row.first() == Some(&text)) {
            Request::SetPassword { address, password }
        } else {
            Request::AddAccount { address, password }
        };
        perform(store, request).await?;
    }
    Ok(())
}

fn make_password() -> Result<Secret<String>, Error> {
    let random: [u8; PASSWORD_LENGTH] = crate::secret::random()?;
    let letter = |byte: &u8| char::from(LETTERS[usize::from(byte % 32)]);
    Ok(Secret::new(random.iter().map(letter).collect()))
}

fn print(dir: &Path, temporary: bool, base: u16, password: &str) {
    let port = |service: Service| service.port() + base;
    let row = |name: &str, tls: Service, starttls: Service| {
        say!("  {name:<11} {:<10} {}", port(tls), port(starttls));
    };
    let ca = quoted(&dir.join("ca.pem").display().to_string());
    let shown = quoted(&dir.display().to_string());
    say!("pillarbox is serving a demo on this machine. Ctrl-C ends it.\n");
    say!(
        "  Accounts    {}",
        ACCOUNTS.map(|name| format!("{name}@{DOMAIN}")).join(", ")
    );
    say!(
        "  Login       the address, or just the name: {}",
        ACCOUNTS.join(", ")
    );
    say!("  Password    {password}");
    say!("  Server      localhost");
    say!("  CA file     {}", dir.join("ca.pem").display());
    let kept = if temporary {
        "deleted at the end"
    } else {
        "kept"
    };
    say!("  Mail        {} ({kept})\n", dir.display());
    say!("              TLS port   STARTTLS port");
    row("IMAP", Service::Imaps, Service::Imap);
    row("POP3", Service::Pop3s, Service::Pop3);
    row("Submission", Service::Submissions, Service::Submission);
    say!(
        "  From other servers: SMTP {}, LMTP {}",
        port(Service::Smtp),
        port(Service::Lmtp)
    );
    let (imaps, submissions) = (port(Service::Imaps), port(Service::Submissions));
    let login = quoted(&format!("alice:{password}"));
    say!("\nTry, in another terminal:\n");
    say!("  curl --cacert {ca} --user {login} 'imaps://localhost:{imaps}/INBOX;MAILINDEX=1'\n");
    let secret = match quoted(password) == password {
        true => password.to_string(),
        false => format!(
            "\"{}\"",
            password.replace('\\', "\\\\").replace('"', "\\\"")
        ),
    };
    let mutt = format!(
        "set certificate_file={} folder=imaps://alice@localhost:{imaps} spoolfile=+INBOX \
         imap_pass={secret} from=alice@{DOMAIN} \
         smtp_url=smtps://alice@localhost:{submissions} smtp_pass={secret}",
        dir.join("ca.pem").display()
    );
    say!("  mutt -n -e {}\n", quoted(&mutt));
    say!("  openssl s_client -quiet -crlf -connect localhost:{imaps} -CAfile {ca}\n");
    say!("  pillarbox account list --dir {shown}\n");
}

/// As a shell takes it.
fn quoted(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-:@+".contains(c);
    if text.chars().all(plain) {
        text.to_string()
    } else {
        format!("'{}'", text.replace('\'', "'\\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shell_reads_back_what_was_quoted() {
        assert_eq!(quoted("/tmp/a-b.c"), "/tmp/a-b.c");
        assert_eq!(quoted("it's"), "'it'\\''s'");
        assert_eq!(quoted("a b"), "'a b'");
    }

    #[test]
    fn a_made_up_password_can_be_typed_and_is_long_enough() {
        let (one, two) = (make_password().unwrap(), make_password().unwrap());
        assert_ne!(one.reveal(), two.reveal());
        assert!(one.reveal().len() >= crate::secret::MIN_PASSWORD);
        assert!(one.reveal().bytes().all(|byte| LETTERS.contains(&byte)));
    }
}
