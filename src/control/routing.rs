//! Requests about routes: where mail for other servers goes.

use super::Reply;
use crate::address::{Address, Domain};
use crate::net::connect::Own;
use crate::net::dns::Resolver;
use crate::queue::route::{self, DEFAULT, KIND, MAX_LOGIN, Route, TlsMode};
use crate::queue::transport::{Transport, Tried};
use crate::sasl::client::Login;
use crate::secret::Secret;
use crate::store::Store;
use async_io::Timer;
use futures_lite::FutureExt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

/// How long a test may take: less than the CLI waits.
const TEST_TIMEOUT: Duration = Duration::from_secs(50);
/// How long a person at the wizard waits for it.
const TRY_TIMEOUT: Duration = Duration::from_secs(8);

/// What the owner asks for.
#[derive(Clone, Debug)]
pub enum Routing {
    /// Rows of domain, server, TLS, user.
    List,
    Set {
        /// As the store has it.
        key: String,
        route: Route,
    },
    Remove {
        key: String,
    },
    /// One row: `well`, `wrong` or `unknown`, and what its server said to us.
    Try {
        route: Route,
    },
    /// Rows of server, finding.
    Test {
        address: Address,
        /// Whose routes to take.
        sender: Option<Address>,
    },
}

impl Routing {
    /// A route as the owner words it. `port` and `tls` have defaults.
    pub fn set(
        name: &str,
        host: &str,
        port: Option<u16>,
        tls: Option<&str>,
        login: Option<(String, Secret<String>)>,
    ) -> Result<Routing, String> {
        let tls = match tls {
            Some(name) => TlsMode::parse(name)
                .ok_or_else(|| format!("{name}: TLS is starttls, implicit or none"))?,
            None => match port {
                Some(465) => TlsMode::Implicit,
                _ => TlsMode::StartTls,
            },
        };
        let host = host.trim_matches(['[', ']']).to_lowercase();
        if host.parse::<IpAddr>().is_err() && Domain::parse(&host).is_err() {
            return Err(format!("{host} is neither a name nor an address"));
        }
        let near = host == "localhost" || host.parse::<IpAddr>().is_ok_and(|it| it.is_loopback());
        if tls == TlsMode::None && !near {
            return Err("without TLS nothing is sent but on this machine: 127.0.0.1 or ::1".into());
        }
        let login = login.map(|(user, password)| Login { user, password });
        if let Some(login) = &login
            && (login.user.is_empty()
                || login.user.len().max(login.password.reveal().len()) > MAX_LOGIN)
        {
            return Err(format!("user and password have 1 to {MAX_LOGIN} bytes"));
        }
        Ok(Routing::Set {
            key: route::key(name)?,
            route: Route {
                host,
                port: port.unwrap_or(tls.port()),
                tls,
                login,
            },
        })
    }

    pub fn remove(name: &str) -> Result<Routing, String> {
        Ok(Routing::Remove {
            key: route::key(name)?,
        })
    }

    /// For logs: without secrets.
    pub fn describe(&self) -> String {
        match self {
            Routing::List => "route list".into(),
            Routing::Set { key, route } => {
                format!("route set {} {}:{}", named(key), route.host, route.port)
            }
            Routing::Remove { key } => format!("route remove {}", named(key)),
            Routing::Try { route } => format!("route try {}:{}", route.host, route.port),
            Routing::Test { address, .. } => format!("route test {address}"),
        }
    }

    /// The request's words.
    pub fn words(&self) -> Secret<Vec<String>> {
        let mut words: Vec<String> = Vec::new();
        match self {
            Routing::List => words.push("route-list".into()),
            Routing::Set { key, route } => {
                words.extend(["route-set".into(), named(key).into()]);
                words.extend(words_of(route));
            }
            Routing::Try { route } => {
                words.push("route-try".into());
                words.extend(words_of(route));
            }
            Routing::Remove { key } => words.extend(["route-remove".into(), named(key).into()]),
            Routing::Test { address, sender } => {
                words.extend(["route-test".into(), address.to_string()]);
                words.extend(sender.iter().map(Address::to_string));
            }
        }
        Secret::new(words)
    }

    /// `None` if they are no request of these.
    pub fn read(words: &[&str]) -> Option<Result<Routing, String>> {
        let address = |text: &str| Address::parse(text).map_err(|error| error.to_string());
        let set = |name, host, port: &str, tls, login| {
            let port = port.parse().map_err(|_| format!("{port} is no port"))?;
            Routing::set(name, host, Some(port), Some(tls), login)
        };
        Some(match words {
            ["route-list"] => Ok(Routing::List),
            ["route-set", name, host, port, tls] => set(name, host, port, tls, None),
            ["route-set", name, host, port, tls, user, password] => {
                let password = Secret::new(password.to_string());
                set(name, host, port, tls, Some((user.to_string(), password)))
            }
            ["route-try", rest @ ..] if matches!(rest.len(), 3 | 5) => {
                let mut set = vec!["route-set", "default"];
                set.extend(rest);
                match Routing::read(&set)? {
                    Ok(Routing::Set { route, .. }) => Ok(Routing::Try { route }),
                    other => other,
                }
            }
            ["route-remove", name] => Routing::remove(name),
            ["route-test", to] => address(to).map(|address| Routing::Test {
                address,
                sender: None,
            }),
            ["route-test", to, from] => address(to).and_then(|to| {
                Ok(Routing::Test {
                    address: to,
                    sender: Some(address(from)?),
                })
            }),
            _ => return None,
        })
    }
}

/// Does it; a test by `transport`, or, where no server runs, by one of its own.
pub async fn perform(store: &Store, transport: Option<&Transport>, request: Routing) -> Reply {
    let sentence = |error: crate::store::Error| error.to_string();
    match request {
        Routing::List => {
            let routes = store.read(Route::all).await.map_err(sentence)?;
            Ok(routes.iter().map(|(key, route)| row(key, route)).collect())
        }
        Routing::Set { key, route } => {
            let done = store.put_record(KIND, &key, route.encode()).await;
            done.map(|()| Vec::new()).map_err(sentence)
        }
        Routing::Remove { key } => match store.remove_record(KIND, &key).await {
            Ok(true) => Ok(Vec::new()),
            Ok(false) => Err(format!("there is no route for {}", named(&key))),
            Err(error) => Err(sentence(error)),
        },
        Routing::Try { route } => {
            let mut own = None;
            let transport = borrowed(store, transport, &mut own)?;
            let late = async {
                Timer::after(TRY_TIMEOUT).await;
                Tried::Unknown("no answer in time".into())
            };
            let (word, text) = match transport.try_route(route).or(late).await {
                Tried::Well(text) => ("well", text),
                Tried::Wrong(text) => ("wrong", text),
                Tried::Unknown(text) => ("unknown", text),
            };
            Ok(vec![vec![word.into(), text]])
        }
        Routing::Test { address, sender } => {
            let mut own = None;
            let transport = borrowed(store, transport, &mut own)?;
            let late = async {
                Timer::after(TEST_TIMEOUT).await;
                Err("the test took too long".to_string())
            };
            let test = async { Ok(transport.test(&address, sender.as_ref()).await) };
            test.or(late).await
        }
    }
}

/// The server's own, or where none runs, one made in `own`.
fn borrowed<'a>(
    store: &Store,
    transport: Option<&'a Transport>,
    own: &'a mut Option<Transport>,
) -> Result<&'a Transport, String> {
    Ok(match transport {
        Some(transport) => transport,
        None => own.insert(alone(store)?),
    })
}

/// Of a store that no server runs on.
fn alone(store: &Store) -> Result<Transport, String> {
    let live = super::stored(store)?;
    let resolver = Resolver::of(&live.now().name_servers);
    let own_ports = Own::new(live.now().listen()?.iter().map(|it| it.address));
    Ok(Transport::new(
        store.clone(),
        resolver,
        Arc::new(live),
        own_ports,
    ))
}

fn words_of(route: &Route) -> Vec<String> {
    let mut words = vec![
        route.host.clone(),
        route.port.to_string(),
        route.tls.to_string(),
    ];
    if let Some(login) = &route.login {
        words.extend([login.user.clone(), login.password.reveal().clone()]);
    }
    words
}

fn row(key: &str, route: &Route) -> Vec<String> {
    let user = route.login.as_ref().map_or("-", |it| it.user.as_str());
    vec![
        named(key).to_owned(),
        format!("{}:{}", route.host, route.port),
        route.tls.to_string(),
        user.to_owned(),
    ]
}

/// A key as the owner names it.
fn named(key: &str) -> &str {
    match key {
        DEFAULT => "default",
        key => key,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(host: &str, port: Option<u16>, tls: Option<&str>) -> Result<Routing, String> {
        let login = ("ann".to_string(), Secret::new("top secret".to_string()));
        Routing::set("default", host, port, tls, Some(login))
    }

    #[test]
    fn routes_have_sensible_defaults_and_limits() {
        let ports = |port, tls| match set("smtp.example", port, tls) {
            Ok(Routing::Set { route, .. }) => (route.port, route.tls.name()),
            other => panic!("{other:?}"),
        };
        assert_eq!(ports(None, None), (587, "starttls"));
        assert_eq!(ports(Some(465), None), (465, "implicit"));
        assert_eq!(ports(None, Some("implicit")), (465, "implicit"));
        assert_eq!(ports(Some(2525), None), (2525, "starttls"));
        assert!(set("smtp.example", None, Some("none")).is_err());
        assert!(set("smtp.example", None, Some("ssl")).is_err());
        assert!(set("127.0.0.1", None, Some("none")).is_ok());
        assert!(set("a b", None, None).is_err());
        assert!(Routing::set("no domain", "smtp.example", None, None, None).is_err());
    }

    #[test]
    fn requests_are_read_as_they_were_written_and_keep_their_secret() {
        let address = || Address::parse("a@example.org").unwrap();
        for request in [
            Routing::List,
            set("smtp.example", None, None).unwrap(),
            Routing::set("example.org", "::1", Some(25), Some("none"), None).unwrap(),
            Routing::remove("example.org").unwrap(),
            match set("smtp.example", Some(465), None).unwrap() {
                Routing::Set { route, .. } => Routing::Try { route },
                other => other,
            },
            Routing::Test {
                address: address(),
                sender: Some(address()),
            },
        ] {
            let words = request.words();
            let words: Vec<&str> = words.reveal().iter().map(String::as_str).collect();
            let again = Routing::read(&words).unwrap().unwrap();
            assert_eq!(again.words().reveal(), request.words().reveal());
            for text in [format!("{again:?}"), again.describe()] {
                assert!(!text.contains("top secret"), "{text}");
            }
        }
        assert!(Routing::read(&["route-set", "default"]).is_none());
    }
}
