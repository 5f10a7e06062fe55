//! Requests about home servers.

use super::Reply;
use crate::mail::home::{HomeServer, Whose};
use crate::store::{HOME_SERVER, Home, Store};

/// What the owner asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Homes {
    Set {
        whose: Whose,
        server: HomeServer,
    },
    Remove {
        whose: Whose,
    },
    /// Rows of whose, host, TLS, ports, what it is told, authorities.
    List,
}

impl Homes {
    /// The request's words.
    pub fn words(&self) -> Vec<String> {
        match self {
            Homes::Set { whose, server } => {
                vec!["home-set".into(), whose.to_string(), server.to_string()]
            }
            Homes::Remove { whose } => vec!["home-remove".into(), whose.to_string()],
            Homes::List => vec!["home-list".into()],
        }
    }

    /// `None` if they are no request of these.
    pub fn read(words: &[&str]) -> Option<Result<Homes, String>> {
        let whose = |text: &str| Whose::parse(text).map_err(|error| format!("{text}: {error}"));
        Some(match words {
            ["home-set", name, server] => whose(name).and_then(|whose| {
                let server = HomeServer::parse(server)?;
                Ok(Homes::Set { whose, server })
            }),
            ["home-remove", name] => whose(name).map(|whose| Homes::Remove { whose }),
            ["home-list"] => Ok(Homes::List),
            _ => return None,
        })
    }

    /// For logs.
    pub fn describe(&self) -> String {
        match self {
            Homes::Set { whose, server } => format!("home set {whose} --host {}", server.host),
            Homes::Remove { whose } => format!("home remove {whose}"),
            Homes::List => "home list".into(),
        }
    }
}

/// Errors are sentences for the owner.
pub async fn perform(store: &Store, request: Homes) -> Reply {
    match request {
        Homes::Set { whose, server } => {
            let record = server.to_string().into_bytes();
            let put = store.put_record(HOME_SERVER, &whose.key(), record).await;
            put.map(|()| Vec::new()).map_err(|error| error.to_string())
        }
        Homes::Remove { whose } => match store.remove_record(HOME_SERVER, &whose.key()).await {
            Ok(true) => Ok(Vec::new()),
            Ok(false) => Err(format!("{whose} has no home server")),
            Err(error) => Err(error.to_string()),
        },
        Homes::List => {
            let homes = store.look(|snapshot| snapshot.home_servers());
            let homes = homes.map_err(|error| error.to_string())?;
            Ok(homes.iter().map(row).collect())
        }
    }
}

fn row(home: &Home) -> Vec<String> {
    let server = &home.server;
    let ports = [server.imap, server.pop3, server.submission];
    let told = if server.trusted { "client" } else { "nothing" };
    let authorities = match server.authorities.len() {
        0 => "the system's".into(),
        own => format!("{own} of its own"),
    };
    vec![
        home.key.clone(),
        server.host.clone(),
        server.tls.name().into(),
        ports.map(|it| it.to_string()).join(","),
        told.into(),
        authorities,
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mail::home::Tls;

    #[test]
    fn every_request_is_read_as_it_was_written() {
        let whose = || Whose::parse("@b.de").unwrap();
        let mut server = HomeServer::new("mail.b.de", Tls::StartTls).unwrap();
        server.authorities.push("AAAA".into());
        for request in [
            Homes::Set {
                whose: Whose::parse("ann@b.de").unwrap(),
                server,
            },
            Homes::Remove { whose: whose() },
            Homes::List,
        ] {
            let words = request.words();
            let words: Vec<&str> = words.iter().map(String::as_str).collect();
            assert_eq!(Homes::read(&words), Some(Ok(request)));
        }
        assert_eq!(Homes::read(&["alias-list"]), None);
        for wrong in [&["home-set", "ann@b.de", ""][..], &["home-remove", "ann"]] {
            assert!(matches!(Homes::read(wrong), Some(Err(_))), "{wrong:?}");
        }
    }
}
