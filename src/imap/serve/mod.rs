//! Drives an IMAP session: bytes between the stream and the state machine, and what the
//! machine asks, from the store and the login service.

mod append;
mod binary;
mod body;
mod change;
mod fetch;
mod home;
mod mailbox;
mod read;
mod refusal;
mod search;
mod todo;
mod url;

use crate::context::Context;
use crate::imap::session::{Action, Ask, Config, Outcome, Session, Step};
use crate::imap::view::Reread;
use crate::mail::option::Protocol;
use crate::mail::{AccountId, Change, MailboxId, ModSeq, Uid};
use crate::net::stream::Stream;
use crate::sasl::{Exchange, Verdict};
use crate::secret::random;
use crate::store::{News, Result, Store, Watch};
use append::Upload;
use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use futures_lite::future;
use std::io;
use std::sync::Arc;
use std::time::Duration;

/// Output is sent when it is this much, bytes, or when the session waits.
const FLUSH: usize = 64 * 1024;
/// How long a client may pause within an APPEND: it holds a place among the uploads.
const UPLOAD_WAIT: Duration = Duration::from_secs(5 * 60);

/// Serves one connection until it ends. With `implicit_tls` the handshake comes first,
/// unless it is done already.
pub async fn serve(context: Arc<Context>, mut stream: Stream, implicit_tls: bool) {
    if implicit_tls && !stream.is_tls() && stream.start_tls(&context.users_tls()).await.is_err() {
        return;
    }
    let mut driver = Driver::new(context, stream);
    if let Err(error) = driver.run().await {
        log::debug!("IMAP {}: {error}", driver.stream.id());
    }
    driver.stream.close().await;
}

/// One connection.
struct Driver {
    context: Arc<Context>,
    stream: Stream,
    session: Session,
    /// What is to be sent; given back while the session waits.
    out: Vec<u8>,
    /// Of the selected mailbox.
    watch: Option<Watch>,
    upload: Option<Box<Upload>>,
}

/// What an idling session woke up for.
enum Woken {
    News,
    Input(io::Result<usize>),
}

impl Driver {
    fn new(context: Arc<Context>, stream: Stream) -> Driver {
        let settings = context.settings();
        let mut session = Session::new(Config {
            hostname: settings.hostname.clone(),
            tls: stream.is_tls(),
            plain_login: context.plain_login(&stream, Protocol::Imap),
            append_limit: settings.max_message_size,
        })
        .with_max_command(settings.imap_max_command as usize);
        session.bind(context.channel(&stream, Protocol::Imap));
        *session.forwarded() = context.forwarded(&stream);
        Driver {
            context,
            stream,
            session,
            out: Vec::new(),
            watch: None,
            upload: None,
        }
    }

    /// What is rarely at work is boxed: the future of an idle connection stays small.
    async fn run(&mut self) -> io::Result<()> {
        let settings = self.context.settings();
        self.session
            .greet(&settings.imap_access.banner, &mut self.out);
        drop(settings);
        loop {
            let step = self.session.step(&mut self.out);
            // A mechanism's login is over in a step, not in an answer.
            if self.session.is_logged_in() {
                self.stream.authenticated();
            }
            match step {
                Step::NeedInput => self.receive().await?,
                Step::Idle => self.idle().await?,
                Step::Ask(ask) => Box::pin(self.answer(*ask)).await?,
                Step::Data(n) => Box::pin(self.store_data(n)).await,
                Step::StartTls => Box::pin(self.start_tls()).await?,
                Step::Close => return self.flush().await,
            }
            if self.out.len() >= FLUSH {
                self.flush().await?;
            }
        }
    }

    async fn flush(&mut self) -> io::Result<()> {
        self.stream.send_out(&mut self.out).await
    }

    /// Sends all, gives the buffers back, and waits for the client.
    async fn receive(&mut self) -> io::Result<()> {
        if !self.session.is_appending() {
            self.upload = None;
        }
        self.flush().await?;
        self.out = Vec::new();
        let wait = self.patience();
        let received = self.stream.receive(self.session.input(), wait).await;
        self.received(received).await
    }

    fn patience(&self) -> Duration {
        let settings = self.context.settings();
        match (self.session.is_logged_in(), self.session.is_appending()) {
            (false, _) => settings.login_timeout,
            (true, true) => UPLOAD_WAIT.min(settings.imap_timeout),
            (true, false) => settings.imap_timeout,
        }
    }

    async fn received(&mut self, received: io::Result<usize>) -> io::Result<()> {
        match received {
            Ok(0) => Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(_) => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::TimedOut => {
                let text = "Nothing was heard for too long: connect again.";
                self.session.bye(text, &mut self.out);
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    /// Tells the news, then waits for more of it, or for the client.
    async fn idle(&mut self) -> io::Result<()> {
        if self.watch.as_ref().is_some_and(|watch| !watch.is_empty()) {
            Box::pin(self.tell_news()).await;
        }
        self.flush().await?;
        self.out = Vec::new();
        if self.session.is_closed() {
            return Ok(());
        }
        let wait = self.patience();
        let input = self.stream.receive(self.session.input(), wait);
        let woken = match &self.watch {
            None => Woken::Input(input.await),
            Some(watch) => {
                let input = async { Woken::Input(input.await) };
                let news = async {
                    watch.changed().await;
                    Woken::News
                };
                future::or(input, news).await
            }
        };
        match woken {
            Woken::News => {
                self.stream.at_work();
                Ok(())
            }
            Woken::Input(received) => self.received(received).await,
        }
    }

    async fn start_tls(&mut self) -> io::Result<()> {
        self.flush().await?;
        // Nothing that came in clear may be read as if it came under TLS.
        self.session.input().clear();
        self.stream.start_tls(&self.context.users_tls()).await?;
        self.session.tls_started();
        let channel = self.context.channel(&self.stream, Protocol::Imap);
        self.session.bind(channel);
        Ok(())
    }

    async fn answer(&mut self, ask: Ask) -> io::Result<()> {
        match ask {
            Ask::Exchange { mechanism } => {
                let bytes: [u8; 18] = random().map_err(io::Error::other)?;
                let nonce = STANDARD_NO_PAD.encode(bytes);
                let exchange = Exchange::new(mechanism, nonce);
                let channel = self.context.channel(&self.stream, Protocol::Imap);
                self.session.begin(exchange.bind(channel));
            }
            Ask::Login(ask) => {
                if let Some(client) = self.session.forwarded().client {
                    self.stream.passed_on_for(client);
                }
                self.flush().await?;
                let verdict = match self.context.login.home(&ask) {
                    Ok(Some(home)) => return Box::pin(self.go_home(ask, home)).await,
                    // What can't be read now, the login service says too.
                    Ok(None) | Err(_) => {
                        let client = Context::client(&self.stream, "imap");
                        self.context.login.answer(&client, ask).await
                    }
                };
                let verdict = self
                    .context
                    .let_in(Protocol::Imap, &mut self.stream, verdict);
                if let Verdict::Granted(account) = &verdict {
                    self.session.go_without(self.context.off(account.id));
                }
                self.session.verdict(verdict, &mut self.out);
            }
            Ask::Select { name, read_only } => self.select(name, read_only).await,
            Ask::Append { append, name } => self.begin_append(append, name).await,
            Ask::AppendUrl(url) => self.append_url(&url).await,
            Ask::AppendText { size, binary } => self.append_text(size, binary),
            Ask::AppendEnd => {
                let outcome = self.end_append().await;
                self.complete(&outcome).await;
            }
            Ask::Do(action) => {
                let outcome = self.act(action).await?;
                self.complete(&outcome).await;
            }
        }
        Ok(())
    }

    /// Ends a command: first what it or others have changed, then how it ended.
    async fn complete(&mut self, outcome: &Outcome) {
        self.tell_news().await;
        self.session.complete(outcome, &mut self.out);
    }

    async fn act(&mut self, action: Action) -> io::Result<Outcome> {
        Ok(match action {
            Action::Poll(text) => Outcome::ok(text),
            Action::Create { name, special_use } => self.create(name, special_use).await,
            Action::Delete(name) => self.delete(name).await,
            Action::Rename { from, to } => self.rename(from, to).await,
            Action::Subscribe { name, subscribed } => self.subscribe(name, subscribed).await,
            Action::List(list) => self.list(list).await?,
            Action::Lsub { reference, pattern } => self.lsub(reference, pattern).await,
            Action::Quota(mailbox) => self.quota(mailbox).await,
            Action::Status { name, items } => self.status(name, items).await,
            Action::Fetch(fetch) => self.fetch(fetch).await?,
            Action::Search(search) => self.search(search).await?,
            Action::Store(store) => self.store_flags(store).await?,
            Action::Copy { uids, to } => self.copy(uids, to).await,
            Action::Move { uids, to } => self.move_messages(uids, to).await,
            Action::GenUrlAuth(urls) => self.generate_urls(urls).await,
            Action::UrlFetch(urls) => self.fetch_urls(urls).await?,
            Action::ResetKey {
                mailbox,
                mechanisms,
            } => self.reset_key(mailbox, &mechanisms).await,
            Action::Expunge(uids) => self.expunge(uids).await,
            Action::Close { expunge } => self.close(expunge).await,
        })
    }

    fn store(&self) -> Store {
        self.context.store.clone()
    }

    /// Of a session that is logged in; the state machine asks of no other.
    fn account(&self) -> AccountId {
        self.session.account().unwrap_or(AccountId(0))
    }

    /// Tells the client what has changed, as far as the command at work allows.
    async fn tell_news(&mut self) {
        if let Err(error) = self.take_news().await {
            log::warn!("IMAP {}: no news: {error}", self.stream.id());
        }
        self.session.report(&mut self.out);
    }

    /// Takes what the hub has into the view.
    async fn take_news(&mut self) -> Result<()> {
        let Some(news) = self.watch.as_mut().map(Watch::take) else {
            return Ok(());
        };
        match news {
            News::Changes(changes) if changes.is_empty() => {}
            News::Changes(changes) => {
                let arrived = |(_, change): &(ModSeq, Change)| matches!(change, Change::Arrived(_));
                let first_recent = match changes.iter().any(arrived) {
                    true => self.first_recent().await?,
                    false => None,
                };
                if let Some(view) = self.session.view_mut() {
                    view.apply(changes, first_recent);
                }
            }
            News::Overflow => self.reread().await?,
        }
        Ok(())
    }

    /// Claims \Recent for this session, or just looks where it may not.
    async fn first_recent(&self) -> Result<Option<Uid>> {
        let Some(view) = self.session.view() else {
            return Ok(None);
        };
        let found = recent(&self.context.store, view.mailbox, view.read_only).await;
        match found {
            Ok(uid) => Ok(Some(uid)),
            Err(crate::store::Error::NoMailbox) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// More has happened than the hub keeps: compare with the mailbox itself.
    async fn reread(&mut self) -> Result<()> {
        let Some(view) = self.session.view() else {
            return Ok(());
        };
        let (mailbox, since) = (view.mailbox, view.modseq());
        let read = self.context.store.read(move |snapshot| {
            let Some(info) = snapshot.mailbox_by_id(mailbox)? else {
                return Ok(None);
            };
            let mut changed = Vec::new();
            snapshot.changed_since(mailbox, since.get(), |message| {
                changed.push((message.uid, message.flags, message.modseq));
                Ok(true)
            })?;
            Ok(Some(Reread {
                uids: snapshot.uids(mailbox)?,
                keywords: info.keywords,
                highest_modseq: info.highest_modseq,
                changed,
            }))
        });
        let now = read.await?;
        let first_recent = self.first_recent().await?;
        if let Some(view) = self.session.view_mut() {
            match now {
                Some(now) => view.reread(now, first_recent),
                None => view.apply(vec![(since, Change::Deleted)], None),
            }
        }
        Ok(())
    }
}

/// The first UID that is \Recent to this session.
async fn recent(store: &Store, mailbox: MailboxId, read_only: bool) -> Result<Uid> {
    match read_only {
        true => store.first_recent(mailbox).await,
        false => store.claim_recent(mailbox).await,
    }
}
