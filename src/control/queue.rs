//! Requests about the queue of outgoing mail.

use super::Reply;
use crate::address::{Address, Domain};
use crate::mail::outgoing::{QueueId, QueueItem, Recipient, Status};
use crate::message::notice::spoken;
use crate::store::{QueueChange, Store};

/// Rows of a list; the rest is counted.
pub const MAX_LISTED: usize = 1000;
/// Messages read or changed at once.
const BATCH: usize = 256;

/// What the owner asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Queue {
    /// Rows of number, next attempt, attempts, sender, recipient, what was said last; then
    /// one of how many recipients more there are.
    List(Which),
    /// Rows of name, value; then of recipient, state, next attempt, attempts, what was said.
    Show(QueueId),
    /// A row of how many messages were changed.
    Change(What, Which),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    Hold,
    Release,
    Retry,
    Drop,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Which {
    One(QueueId),
    All,
    /// Those with a recipient there that waits.
    Domain(Domain),
}

const WHATS: [(&str, What); 4] = [
    ("hold", What::Hold),
    ("release", What::Release),
    ("retry", What::Retry),
    ("drop", What::Drop),
];

impl Queue {
    /// The request's words.
    pub fn words(&self) -> Vec<String> {
        match self {
            Queue::List(which) => vec!["queue-list".into(), which.word()],
            Queue::Show(id) => vec!["queue-show".into(), id.0.to_string()],
            Queue::Change(what, which) => {
                let name = WHATS.iter().find(|it| it.1 == *what).map_or("", |it| it.0);
                vec![format!("queue-{name}"), which.word()]
            }
        }
    }

    /// `None` if it is no request about the queue.
    pub fn read(words: &[&str]) -> Option<Result<Queue, String>> {
        let (verb, argument) = match words {
            [verb, argument] => (verb.strip_prefix("queue-")?, *argument),
            _ => return None,
        };
        let what = WHATS.iter().find(|it| it.0 == verb);
        match (verb, what) {
            ("list", _) => Some(Which::read(argument).map(Queue::List)),
            ("show", _) => Some(number(argument).map(Queue::Show)),
            (_, Some((_, what))) => {
                Some(Which::read(argument).map(|which| Queue::Change(*what, which)))
            }
            _ => None,
        }
    }
}

impl Which {
    fn word(&self) -> String {
        match self {
            Which::One(id) => id.0.to_string(),
            Which::All => "all".into(),
            Which::Domain(domain) => format!("@{domain}"),
        }
    }

    fn read(word: &str) -> Result<Which, String> {
        match word.strip_prefix('@') {
            Some(domain) => match Domain::parse(domain) {
                Ok(domain) => Ok(Which::Domain(domain)),
                Err(error) => Err(error.to_string()),
            },
            None if word == "all" => Ok(Which::All),
            None => number(word).map(Which::One),
        }
    }

    fn has(&self, item: &QueueItem) -> bool {
        match self {
            Which::One(id) => item.id == *id,
            Which::All => true,
            Which::Domain(_) => item.recipients.iter().any(|it| self.wants(it)),
        }
    }

    fn wants(&self, recipient: &Recipient) -> bool {
        let waits = matches!(recipient.status, Status::Waiting { .. });
        waits
            && match self {
                Which::Domain(domain) => recipient.address.domain() == domain,
                _ => true,
            }
    }
}

fn number(word: &str) -> Result<QueueId, String> {
    let number = word.parse().map(QueueId);
    number.map_err(|_| format!("{word} is no number of a queued message"))
}

/// Does it, on the store; a running server's queue hears of the change.
pub async fn perform(store: &Store, request: Queue) -> Reply {
    match request {
        Queue::List(which) => list(store, which).await,
        Queue::Show(id) => show(store, id),
        Queue::Change(what, which) => change(store, what, which).await,
    }
}

async fn list(store: &Store, which: Which) -> Reply {
    let (mut rows, mut more) = (Vec::new(), 0);
    let mut after = QueueId(0);
    while let Some(items) = batch(store, &which, &mut after).await? {
        for item in items.iter().filter(|it| which.has(it)) {
            for recipient in item.recipients.iter().filter(|it| which.wants(it)) {
                match rows.len() < MAX_LISTED {
                    true => rows.push(row(item, recipient)),
                    false => more += 1,
                }
            }
        }
    }
    rows.push(vec![more.to_string()]);
    Ok(rows)
}

fn row(item: &QueueItem, recipient: &Recipient) -> Vec<String> {
    let [state, next, attempts, last] = status(item, recipient);
    let next = if state == "waiting" { next } else { state };
    vec![
        item.id.0.to_string(),
        next,
        attempts,
        sender(item),
        recipient.address.to_string(),
        last,
    ]
}

/// State, next attempt, attempts, what was said last.
fn status(item: &QueueItem, recipient: &Recipient) -> [String; 4] {
    let none = String::new;
    match &recipient.status {
        Status::Waiting {
            attempts,
            next,
            last,
            ..
        } => {
            let state = if item.held { "held" } else { "waiting" };
            let last = last.as_ref().map(spoken).unwrap_or_default();
            [state.into(), next.to_string(), attempts.to_string(), last]
        }
        Status::Delivered(reply) => ["sent".into(), none(), none(), spoken(reply)],
        Status::Failed(reply) => ["failed".into(), none(), none(), spoken(reply)],
    }
}

fn sender(item: &QueueItem) -> String {
    let sender = item.envelope.sender.as_ref().map(Address::to_string);
    sender.unwrap_or_else(|| "<>".into())
}

fn show(store: &Store, id: QueueId) -> Reply {
    let item = store.look(|it| it.queue_item(id));
    let item = item.map_err(|error| error.to_string())?;
    let item = item.ok_or_else(|| format!("there is no message {} in the queue", id.0))?;
    let mut rows = Vec::new();
    let mut put = |name: &str, value: String| rows.push(vec![name.to_string(), value]);
    put("name", item.name.clone());
    put("from", sender(&item));
    put("bytes", item.size.to_string());
    put("since", item.submitted.to_string());
    if let Some(until) = item.envelope.hold_until {
        put("release", until.to_string());
    }
    if let Some(by) = &item.envelope.deliver_by {
        put("by", by.until.to_string());
    }
    if let Some(id) = &item.envelope.envelope_id {
        put("envid", id.clone());
    }
    for recipient in &item.recipients {
        let mut row = vec![recipient.address.to_string()];
        row.extend(status(&item, recipient));
        rows.push(row);
    }
    Ok(rows)
}

async fn change(store: &Store, what: What, which: Which) -> Reply {
    let domain = match &which {
        Which::Domain(domain) => Some(domain.clone()),
        _ => None,
    };
    let now = jiff::Timestamp::now().as_second();
    let change = match what {
        What::Hold => QueueChange::Hold(true),
        What::Release => QueueChange::Hold(false),
        What::Retry => QueueChange::Retry { at: now, domain },
        What::Drop => QueueChange::Drop { domain },
    };
    let (mut found, mut changed) = (false, 0);
    let mut after = QueueId(0);
    while let Some(items) = batch(store, &which, &mut after).await? {
        // What its sender wants sent later, is sent now only where the owner means it.
        let waits = |it: &QueueItem| {
            let until = it.envelope.hold_until.is_some_and(|it| it > now);
            what == What::Retry && until && !matches!(which, Which::One(_))
        };
        let chosen = items.iter().filter(|it| which.has(it) && !waits(it));
        let changes: Vec<_> = chosen.map(|it| (it.id, change.clone())).collect();
        if changes.is_empty() {
            continue;
        }
        found = true;
        let done = store.update_queue(changes, Vec::new()).await;
        changed += done.map_err(|error| error.to_string())?;
    }
    match which {
        Which::One(id) if !found => Err(format!("there is no message {} in the queue", id.0)),
        _ => Ok(vec![vec![changed.to_string()]]),
    }
}

/// The next messages that `which` may mean; `None` at the end.
async fn batch(
    store: &Store,
    which: &Which,
    after: &mut QueueId,
) -> Result<Option<Vec<QueueItem>>, String> {
    let (from, most) = match which {
        Which::One(id) if *after < *id => (QueueId(id.0.saturating_sub(1)), 1),
        Which::One(_) => return Ok(None),
        _ => (*after, BATCH),
    };
    let items = store.read(move |it| it.queue_items(from, most)).await;
    let items = items.map_err(|error| error.to_string())?;
    let last = items.last().map(|it| it.id);
    *after = last.unwrap_or(QueueId(u64::MAX));
    Ok(last.map(|_| items))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mail::DateTime;
    use crate::mail::outgoing::{Envelope, Notify, Reply as Said};
    use crate::store::{NewItem, Options};

    #[test]
    fn words_come_back() {
        let domain = Domain::parse("bücher.example").unwrap();
        for which in [Which::One(QueueId(7)), Which::All, Which::Domain(domain)] {
            let mut requests = vec![Queue::List(which.clone()), Queue::Show(QueueId(9))];
            requests.extend(WHATS.map(|(_, what)| Queue::Change(what, which.clone())));
            for request in requests {
                let words = request.words();
                let words: Vec<&str> = words.iter().map(String::as_str).collect();
                assert_eq!(Queue::read(&words), Some(Ok(request)));
            }
        }
        for words in [&["queue-list"][..], &["queue-eat", "all"], &["hold", "all"]] {
            assert_eq!(Queue::read(words), None);
        }
        for words in [
            ["queue-drop", "-1"],
            ["queue-drop", "@"],
            ["queue-show", "all"],
        ] {
            assert!(matches!(Queue::read(&words), Some(Err(_))), "{words:?}");
        }
    }

    async fn put(store: &Store, to: &[&str]) -> QueueId {
        let mut staging = store.stage(None).await.unwrap();
        staging.write(b"Subject: hi\r\n\r\n").await.unwrap();
        let recipients = to.iter().map(|to| Recipient {
            address: Address::parse(to).unwrap(),
            notify: Notify::default(),
            original: None,
            accepted: None,
            status: Status::waiting(50),
        });
        let item = NewItem {
            account: None,
            ours: true,
            name: "7f".into(),
            submitted: 40,
            envelope: Envelope::default(),
            recipients: recipients.collect(),
        };
        let date = DateTime { unix: 0, offset: 0 };
        let staged = staging.finish().await.unwrap();
        let done = store.deliver(staged, date, vec![], Some(item)).await;
        done.unwrap().unwrap()
    }

    #[test]
    fn the_owner_sees_and_changes_the_queue() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path(), Options::default()).unwrap();
        let ask =
            |words: &[&str]| smol::block_on(perform(&store, Queue::read(words).unwrap().unwrap()));
        let (a, b) = smol::block_on(async {
            let a = put(&store, &["a@x.test", "b@y.test"]).await;
            (a, put(&store, &["c@x.test"]).await)
        });
        let (a, b) = (a.0.to_string(), b.0.to_string());
        let said = Status::Failed(Said {
            code: 550,
            enhanced: "5.1.1".into(),
            text: "no".into(),
            server: Some("mx".into()),
        });
        let id = QueueId(a.parse().unwrap());
        let change = vec![(id, QueueChange::Statuses(vec![(1, said)]))];
        smol::block_on(store.update_queue(change, vec![])).unwrap();
        let rows = ask(&["queue-list", "all"]).unwrap();
        assert_eq!(rows.len(), 3);
        assert_eq!(rows[0], [a.as_str(), "50", "0", "<>", "a@x.test", ""]);
        assert_eq!(rows[2], ["0"]);
        assert_eq!(ask(&["queue-list", "@y.test"]).unwrap(), [["0"]]);
        let rows = ask(&["queue-show", &a]).unwrap();
        assert_eq!(rows[0], ["name", "7f"]);
        let last = rows.last().unwrap();
        assert_eq!(
            *last,
            ["b@y.test", "failed", "", "", "mx said: 550 5.1.1 no"]
        );
        assert_eq!(ask(&["queue-hold", "@x.test"]).unwrap(), [["2"]]);
        assert_eq!(ask(&["queue-list", &b]).unwrap()[0][1], "held");
        assert_eq!(ask(&["queue-release", &b]).unwrap(), [["1"]]);
        assert_eq!(ask(&["queue-retry", "all"]).unwrap(), [["2"]]);
        assert_eq!(ask(&["queue-drop", &b]).unwrap(), [["1"]]);
        let gone = Err(format!("there is no message {b} in the queue"));
        assert_eq!(ask(&["queue-drop", &b]), gone);
        assert_eq!(ask(&["queue-show", &b]), gone);
        assert_eq!(ask(&["queue-drop", "all"]).unwrap(), [["1"]]);
        assert_eq!(ask(&["queue-list", "all"]).unwrap(), [["0"]]);
    }
}
