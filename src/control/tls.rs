//! Requests about the server's certificate; a running server alone has one.

use super::Reply;
use crate::acme::{Keeper, Status};
use jiff::Timestamp;

/// What the owner asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Certificate {
    /// Rows of name and value: `from`, `name` each, `begins`, `ends`, `left` in days,
    /// `renewal`, `failures`, `error`, `busy`, `ended`; of `record`, name and value.
    Status,
    /// Orders one by ACME now. A row of what `ended` is when it has ended.
    Renew,
    /// A row of the local authority's certificate, PEM.
    Authority,
}

impl Certificate {
    const ALL: [(Certificate, &str); 3] = [
        (Certificate::Status, "tls-status"),
        (Certificate::Renew, "tls-renew"),
        (Certificate::Authority, "tls-authority"),
    ];

    /// The request's one word.
    pub fn word(self) -> &'static str {
        let found = Certificate::ALL.iter().find(|it| it.0 == self);
        found.map_or("", |it| it.1)
    }

    /// The request's words.
    pub fn words(self) -> Vec<String> {
        vec![self.word().into()]
    }

    /// `None` if it is no request of these.
    pub fn read(words: &[&str]) -> Option<Result<Certificate, String>> {
        let found = Certificate::ALL.iter().find(|it| words == [it.1]);
        found.map(|it| Ok(it.0))
    }
}

/// Errors are sentences for the owner.
pub fn perform(keeper: Option<&Keeper>, request: Certificate) -> Reply {
    let keeper = keeper.ok_or("no server runs here: start it, then ask again")?;
    match request {
        Certificate::Status => Ok(rows(&keeper.status()?, Timestamp::now())),
        Certificate::Renew => Ok(vec![vec![keeper.order_now()?.to_string()]]),
        Certificate::Authority => Ok(vec![vec![keeper.authority()?]]),
    }
}

fn rows(status: &Status, now: Timestamp) -> Vec<Vec<String>> {
    let (served, tries, progress) = (&status.served, &status.tries, &status.progress);
    let left = served.ends.duration_since(now).as_hours().div_euclid(24);
    let mut rows = vec![("from", served.from.to_string())];
    rows.extend(served.names.iter().map(|it| ("name", it.clone())));
    rows.extend([
        ("begins", served.begins.to_string()),
        ("ends", served.ends.to_string()),
        ("left", left.to_string()),
        ("failures", tries.failures.to_string()),
        ("error", tries.error.clone()),
        ("busy", progress.busy.to_string()),
        ("ended", progress.ended.to_string()),
    ]);
    rows.extend(status.renewal.map(|it| ("renewal", it.to_string())));
    let rows = rows.into_iter();
    let mut rows: Vec<Vec<String>> = rows.map(|(name, it)| vec![name.into(), it]).collect();
    let records = progress.records.iter().cloned();
    rows.extend(records.map(|(name, value)| vec!["record".into(), name, value]));
    rows
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_request_is_read_as_it_was_written() {
        for (request, word) in Certificate::ALL {
            assert_eq!(request.word(), word);
            assert_eq!(Certificate::read(&[word]), Some(Ok(request)));
        }
        assert_eq!(Certificate::read(&["tls-status", "x"]), None);
        assert!(perform(None, Certificate::Status).is_err());
    }
}
