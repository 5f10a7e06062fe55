//! A server within the test: a store in a temporary directory, three accounts, and
//! connections that run a protocol's own driver.

use super::client::Client;
use pillarbox::address::Address;
use pillarbox::context::Context;
use pillarbox::context::homes::Homes;
use pillarbox::context::maildrops::Maildrops;
use pillarbox::context::sources::Sources;
use pillarbox::login::Login;
use pillarbox::mail::{Account, DateTime, FlagNames, Flags, MailboxName};
use pillarbox::net::dns::{Resolver, ResolverConfig};
use pillarbox::net::stream::Stream;
use pillarbox::net::tls::Tls;
use pillarbox::secret::{Credential, Secret};
use pillarbox::settings::document::Chosen;
use pillarbox::settings::{Live, Settings};
use pillarbox::store::{Delivery, Options, Store};
use std::future::Future;
use std::os::unix::net::UnixStream;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use tempfile::TempDir;

/// The password of every test account.
pub const PASSWORD: &str = "test-password";
/// Each has the address NAME@demo.test.
pub const ACCOUNTS: [&str; 3] = ["alice", "bob", "carol"];

/// A driver: `imap::serve::serve` and its like, boxed.
pub type Driver = fn(Arc<Context>, Stream, bool) -> Pin<Box<dyn Future<Output = ()> + Send>>;

pub struct Server {
    pub context: Arc<Context>,
    /// Removed with the server.
    _dir: TempDir,
}

impl Server {
    pub fn new(settings: Settings) -> Server {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let options = Options {
            max_message: settings.max_message_size,
            reserve: 0,
            ballast: 0,
            ..Options::default()
        };
        let store = Store::open(&dir.path().join("store"), options).expect("a store");
        for name in ACCOUNTS {
            let address = Address::parse(&format!("{name}@demo.test")).expect("an address");
            smol::block_on(store.create_account(address, credential())).expect("an account");
        }
        let live = Live::new(settings, Chosen::new(), &Chosen::new()).expect("settings");
        let context = Arc::new(Context {
            login: Login::new(store.clone()).expect("a login service"),
            store,
            live: Arc::new(live),
            tls: tls(),
            resolver: Resolver::new(ResolverConfig::servers([])),
            maildrops: Maildrops::default(),
            rates: Default::default(),
            sources: Sources::default(),
            homes: Homes::default(),
            dir: dir.path().to_path_buf(),
        });
        Server { context, _dir: dir }
    }

    /// Connects over a socket pair, with TLS from the first byte or not.
    pub fn connect(&self, driver: Driver, tls: bool) -> Client {
        let (stream, client) = Stream::pair().expect("a socket pair");
        smol::spawn(driver(self.context.clone(), stream, tls)).detach();
        let client: UnixStream = client.into_inner().expect("a socket");
        let mut client = Client::new(client);
        if tls {
            client.start_tls().expect("a TLS handshake");
        }
        client
    }

    pub fn account(&self, name: &str) -> Account {
        let login = name.to_owned();
        let found = self
            .context
            .store
            .read(move |snapshot| snapshot.account_by_login(&login));
        smol::block_on(found)
            .expect("the store reads")
            .unwrap_or_else(|| panic!("no account {name}"))
    }

    /// Delivers a message, its lines as they are.
    pub fn deliver(&self, account: &str, mailbox: &str, flags: FlagNames, message: &[u8]) {
        let delivery = Delivery {
            account: self.account(account).id,
            mailbox: MailboxName::parse(mailbox).expect("a mailbox name"),
            flags,
        };
        let date = DateTime {
            unix: 1_700_000_000,
            offset: 60,
        };
        let store = &self.context.store;
        smol::block_on(async {
            let mut staging = store.stage(None).await?;
            staging.write(message).await?;
            let staged = staging.finish().await?;
            store.deliver(staged, date, vec![delivery], None).await
        })
        .expect("a delivery");
    }

    /// The messages of a mailbox, oldest first, with their flags.
    pub fn messages(&self, account: &str, mailbox: &str) -> Vec<(Vec<u8>, Flags)> {
        let account = self.account(account).id;
        let mailbox = MailboxName::parse(mailbox).expect("a mailbox name");
        let read = self.context.store.read(move |snapshot| {
            let Some(mailbox) = snapshot.mailbox(account, &mailbox)? else {
                return Ok(Vec::new());
            };
            let uids = snapshot.uids(mailbox.id)?;
            let mut rows = Vec::new();
            snapshot.messages(mailbox.id, &uids, |message| {
                rows.push(message);
                Ok(true)
            })?;
            let mut messages = Vec::new();
            for row in rows {
                let mut bytes = Vec::new();
                let mut blob = snapshot.blob(row.email)?;
                blob.read(0..blob.size(), &mut bytes)?;
                messages.push((bytes, row.flags));
            }
            Ok(messages)
        });
        smol::block_on(read).expect("the store reads")
    }
}

/// Made once: argon2 is slow on purpose.
fn credential() -> Credential {
    static CREDENTIAL: OnceLock<Credential> = OnceLock::new();
    CREDENTIAL
        .get_or_init(|| {
            Credential::create(&Secret::new(PASSWORD.to_owned())).expect("a credential")
        })
        .clone()
}

fn tls() -> Tls {
    static TLS: OnceLock<(TempDir, Tls)> = OnceLock::new();
    let (_, tls) = TLS.get_or_init(|| {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let tls = Tls::local(dir.path(), "localhost").expect("a certificate");
        (dir, tls)
    });
    tls.clone()
}
