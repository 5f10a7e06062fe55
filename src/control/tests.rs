use super::*;
use crate::address::Address;
use crate::net::connect::Own;
use crate::net::dns::{Resolver, ResolverConfig};
use crate::net::tls::Tls;
use crate::secret::Secret;
use crate::settings::Settings;

fn add(address: &str, password: &str) -> Request {
    Request::AddAccount {
        address: Address::parse(address).unwrap(),
        password: Secret::new(password.to_string()),
    }
}

fn address(text: &str) -> Address {
    Address::parse(text).unwrap()
}

/// The whole life of an account and an alias, in sentences that an owner understands.
fn script(dir: &Path) {
    let is = |request: Request, text: &str| {
        assert_eq!(ask(dir, request), Err(text.to_string()));
    };
    assert_eq!(ask(dir, Request::ListAccounts), Ok(vec![]));
    assert_eq!(
        ask(dir, add("Alice@example.org", "correct horse")),
        Ok(vec![])
    );
    is(
        add("alice@EXAMPLE.org", "correct horse"),
        "alice@example.org exists already, as an account or an alias",
    );
    is(
        add("bob@example.org", "short"),
        "a password needs at least 8 characters",
    );
    is(
        add("Guest@example.org", "correct horse"),
        "Guest@example.org: the name guest is reserved; choose another",
    );
    let alias = |account: &str| Request::AddAlias {
        alias: address("office@example.org"),
        account: address(account),
    };
    is(
        alias("bob@example.org"),
        "there is no account bob@example.org",
    );
    assert_eq!(ask(dir, alias("alice@example.org")), Ok(vec![]));
    is(
        alias("alice@example.org"),
        "office@example.org exists already, as an account or an alias",
    );
    let row = ["office@example.org", "Alice@example.org"]
        .map(String::from)
        .to_vec();
    assert_eq!(ask(dir, Request::ListAliases), Ok(vec![row]));
    let delete = |address: Address| Request::DeleteAccount { address };
    is(
        delete(address("office@example.org")),
        "office@example.org is an alias of Alice@example.org",
    );
    let remove = |alias: &str| Request::RemoveAlias {
        alias: address(alias),
    };
    is(
        remove("alice@example.org"),
        "alice@example.org is an account, not an alias",
    );
    assert_eq!(ask(dir, remove("office@example.org")), Ok(vec![]));
    is(
        remove("office@example.org"),
        "there is no alias office@example.org",
    );
    let password = Request::SetPassword {
        address: address("alice@example.org"),
        password: Secret::new("another horse".to_string()),
    };
    assert_eq!(ask(dir, password), Ok(vec![]));
    let alice = || address("alice@example.org");
    let state = || {
        let mut rows = ask(dir, Request::ListAccounts).unwrap();
        let row = rows.pop().unwrap();
        assert_eq!(row[..3], ["Alice@example.org", "0", "0"]);
        row[3].clone()
    };
    assert_eq!(state(), "");
    let done = |request: Lifecycle| {
        assert_eq!(ask(dir, Request::Lifecycle(request)), Ok(vec![]));
    };
    done(Lifecycle::Disable {
        address: alice(),
        takes_mail: false,
    });
    assert_eq!(state(), "disabled, refuses mail");
    done(Lifecycle::Enable { address: alice() });
    is(
        Request::Lifecycle(Lifecycle::Purge { address: alice() }),
        "alice@example.org is not deleted",
    );
    let until = ask(dir, delete(alice())).unwrap();
    assert!(matches!(until.as_slice(), [row] if row.len() == 1 && row[0].ends_with('Z')));
    assert!(state().starts_with("deleted, kept until 20"));
    is(
        add("alice@example.org", "correct horse"),
        "alice@example.org exists already, as an account or an alias",
    );
    let again = ask(dir, delete(alice())).unwrap_err();
    assert!(again.contains("is deleted, and can be had back until"));
    done(Lifecycle::Restore { address: alice() });
    let choose = |value: &str| {
        let chosen = [("server.administrators".to_owned(), value.to_owned())].into();
        ask(dir, Request::Choosing(Choosing::Set(chosen))).unwrap();
    };
    let administrators = || {
        let rows = ask(dir, Request::Choosing(Choosing::List)).unwrap();
        let row = rows.into_iter().find(|it| it[0] == "server.administrators");
        row.unwrap()[3].clone()
    };
    let rename = |from: &str, to: &str, keep_alias: bool| {
        done(Lifecycle::Rename {
            address: address(from),
            to: address(to),
            keep_alias,
        });
    };
    choose("carol@example.org ALICE@example.org");
    rename("alice@example.org", "eve@example.org", false);
    assert_eq!(administrators(), "carol@example.org eve@example.org");
    choose("carol@example.org");
    rename("eve@example.org", "alice@example.org", false);
    assert_eq!(administrators(), "carol@example.org");
    choose("alice@example.org");
    rename("alice@example.org", "bob@example.org", true);
    assert_eq!(administrators(), "bob@example.org");
    assert!(ask(dir, delete(alice())).is_err());
    ask(dir, delete(address("bob@example.org"))).unwrap();
    done(Lifecycle::Purge {
        address: address("bob@example.org"),
    });
    assert_eq!(ask(dir, Request::ListAccounts), Ok(vec![]));
}

#[test]
fn without_a_server_the_store_itself_is_changed() {
    let dir = tempfile::tempdir().unwrap();
    script(dir.path());
}

#[test]
fn a_running_server_is_asked() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path(), Options::default()).unwrap();
    // A socket that a dead server left.
    drop(UnixListener::bind(socket_path(dir.path())).unwrap());
    let listener = bind(dir.path()).unwrap();
    let mode = fs::metadata(socket_path(dir.path()))
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);
    let resolver = Resolver::new(ResolverConfig::servers([]));
    let live = Live::fixed(Settings::default());
    let transport = Transport::new(
        store.clone(),
        resolver.clone(),
        live.clone(),
        Own::default(),
    );
    let gate = || crate::net::limit::Gate::new(Default::default());
    let local = crate::net::tls::Source::Local {
        data: dir.path().to_path_buf(),
        names: vec!["localhost".into()],
    };
    let vitals = Vitals {
        began: jiff::Timestamp::now(),
        dir: dir.path().to_path_buf(),
        tls: crate::net::tls::Tls::new(local).unwrap(),
        users: gate(),
        servers: gate(),
    };
    let tls = Tls::local(dir.path(), "localhost").unwrap();
    let keeper = Keeper::new(store.clone(), live.clone(), tls, resolver, dir.path());
    let serving = smol::spawn(serve(
        listener,
        store.clone(),
        Arc::new(transport),
        live.clone(),
        Arc::default(),
        vitals,
        keeper,
    ));
    script(dir.path());
    // Garbage and a line without end are answered, and the next client is served.
    for (bytes, reply) in [
        (
            b"what?\n".to_vec(),
            "error the%20server%20does%20not%20know%20this%20request\n",
        ),
        (
            vec![b'x'; MAX_LINE + 10],
            "error the%20request%20is%20too%20long\n",
        ),
    ] {
        let mut socket = UnixStream::connect(socket_path(dir.path())).unwrap();
        socket.write_all(&bytes).unwrap();
        let mut line = String::new();
        io::BufRead::read_line(&mut BufReader::new(&socket), &mut line).unwrap();
        assert_eq!(line, reply);
    }
    assert_eq!(ask(dir.path(), Request::ListAccounts), Ok(vec![]));
    smol::block_on(async {
        serving.cancel().await;
        store.close().await;
    });
}

#[test]
fn a_directory_that_is_not_there_is_not_made() {
    let dir = tempfile::tempdir().unwrap();
    let missing = dir.path().join("missing");
    let error = ask(&missing, Request::ListAccounts).unwrap_err();
    assert!(error.starts_with("there is no mail store in "), "{error}");
    assert!(!missing.exists());
}

#[test]
fn the_first_account_makes_the_store() {
    let dir = tempfile::tempdir().unwrap();
    let new = dir.path().join("new");
    assert_eq!(
        ask(&new, add("ann@office.test", "a good password")),
        Ok(vec![])
    );
    let mode = std::fs::metadata(&new).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o700);
    let accounts = ask(&new, Request::ListAccounts).unwrap();
    assert_eq!(
        accounts.first().unwrap().first().unwrap(),
        "ann@office.test"
    );
}
