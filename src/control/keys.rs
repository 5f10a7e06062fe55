//! Requests about domains and their DKIM keys.

use super::Reply;
use crate::address::Domain;
use crate::authentication::ascii_domain;
use crate::keys::{self, Key, State};
use crate::store::Store;

/// What the owner asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Keys {
    /// Rows of domain, accounts, state of signing.
    Domains,
    /// Rows of domain, selector, algorithm, state, the TXT record.
    List,
    /// Rows as `List`, of what was made.
    Make {
        domain: Domain,
    },
    /// One row: how many sign now, how many are retired by it.
    Rotate {
        domain: Domain,
    },
    Remove {
        domain: Domain,
        selector: String,
    },
}

impl Keys {
    /// The request's words.
    pub fn words(&self) -> Vec<String> {
        let words = |words: &[&dyn ToString]| words.iter().map(|it| it.to_string()).collect();
        match self {
            Keys::Domains => words(&[&"domain-list"]),
            Keys::List => words(&[&"dkim-list"]),
            Keys::Make { domain } => words(&[&"dkim-make", domain]),
            Keys::Rotate { domain } => words(&[&"dkim-rotate", domain]),
            Keys::Remove { domain, selector } => words(&[&"dkim-remove", domain, selector]),
        }
    }

    /// `None` if they are no request of these.
    pub fn read(words: &[&str]) -> Option<Result<Keys, String>> {
        let domain = |text: &str| Domain::parse(text).map_err(|error| format!("{text}: {error}"));
        Some(match words {
            ["domain-list"] => Ok(Keys::Domains),
            ["dkim-list"] => Ok(Keys::List),
            ["dkim-make", name] => domain(name).map(|domain| Keys::Make { domain }),
            ["dkim-rotate", name] => domain(name).map(|domain| Keys::Rotate { domain }),
            ["dkim-remove", name, selector] => domain(name).map(|domain| Keys::Remove {
                domain,
                selector: selector.to_string(),
            }),
            _ => return None,
        })
    }
}

/// Errors are sentences for the owner.
pub async fn perform(store: &Store, request: Keys) -> Reply {
    match request {
        Keys::Domains => domains(store),
        Keys::List => {
            let found = store.look(|snapshot| keys::list(snapshot, None));
            let found = found.map_err(|error| error.to_string())?;
            Ok(found.iter().map(row).collect())
        }
        Keys::Make { domain } => {
            let day = jiff::Timestamp::now().strftime("%Y%m%d").to_string();
            let made = keys::make(store, &domain, &day).await?;
            Ok(made.iter().map(row).collect())
        }
        Keys::Rotate { domain } => {
            let (signing, retired) = keys::rotate(store, &domain).await?;
            Ok(vec![vec![signing.to_string(), retired.to_string()]])
        }
        Keys::Remove { domain, selector } => {
            keys::remove(store, &domain, &selector).await?;
            Ok(Vec::new())
        }
    }
}

fn row(key: &Key) -> Vec<String> {
    let record = key.signer().map(|it| it.record());
    vec![
        key.domain.clone(),
        key.selector.clone(),
        key.algorithm.name().into(),
        key.state.word().into(),
        record.unwrap_or_else(|| "unreadable".into()),
    ]
}

fn domains(store: &Store) -> Reply {
    let found = store.look(|snapshot| {
        let domains = snapshot.local_domains()?;
        let accounts = snapshot.accounts()?;
        Ok((domains, accounts, keys::list(snapshot, None)?))
    });
    let (domains, accounts, keys) = found.map_err(|error| error.to_string())?;
    let row = |domain: &Domain| {
        let count = accounts.iter().filter(|it| it.address.domain() == domain);
        let name = ascii_domain(domain.as_str()).unwrap_or_default();
        let own = keys.iter().filter(|it| it.domain == name);
        let signing = own.filter(|it| it.state == State::Signing).count();
        vec![
            domain.to_string(),
            count.count().to_string(),
            if signing > 0 { "signs" } else { "no key" }.to_string(),
        ]
    };
    let mut rows: Vec<Vec<String>> = domains.iter().map(row).collect();
    rows.sort_unstable();
    Ok(rows)
}
