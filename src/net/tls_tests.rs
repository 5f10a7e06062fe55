use super::*;
use rcgen::{CertificateParams, KeyPair};
use rustix::fs::{CWD, FileType, Mode, mknodat};
use std::fs;
use std::io::Write;
use std::time::Duration;

struct Pem {
    dir: tempfile::TempDir,
}

impl Pem {
    /// A certificate for `mail.example.org`, valid from and to these years.
    fn new(from: i32, to: i32) -> Pem {
        let dir = tempfile::tempdir().unwrap();
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec!["mail.example.org".to_string()]).unwrap();
        params.not_before = rcgen::date_time_ymd(from, 1, 1);
        params.not_after = rcgen::date_time_ymd(to, 1, 1);
        let certificate = params.self_signed(&key).unwrap();
        fs::write(dir.path().join("cert.pem"), certificate.pem()).unwrap();
        fs::write(dir.path().join("key.pem"), key.serialize_pem()).unwrap();
        Pem { dir }
    }

    fn certificate(&self) -> PathBuf {
        self.dir.path().join("cert.pem")
    }

    fn key(&self) -> PathBuf {
        self.dir.path().join("key.pem")
    }
}

fn files(certificate: &Path, key: &Path) -> Result<Tls, Error> {
    Tls::new(Source::Files {
        certificate: certificate.to_path_buf(),
        key: key.to_path_buf(),
    })
}

fn error(certificate: &Path, key: &Path) -> String {
    match files(certificate, key) {
        Ok(_) => "no error".to_string(),
        Err(error) => error.to_string(),
    }
}

#[test]
fn the_owners_files_are_served() {
    let pem = Pem::new(2020, 2090);
    let tls = files(&pem.certificate(), &pem.key()).unwrap();
    let before = tls.config();
    let next = Pem::new(2020, 2080);
    fs::copy(next.certificate(), pem.certificate()).unwrap();
    // The key is still the old one: the server goes on with what it has.
    assert!(tls.reload().is_err());
    assert!(Arc::ptr_eq(&before, &tls.config()));
    fs::copy(next.key(), pem.key()).unwrap();
    tls.reload().unwrap();
    assert!(!Arc::ptr_eq(&before, &tls.config()));
}

#[test]
fn errors_say_which_file_and_why() {
    let good = Pem::new(2020, 2090);
    let other = Pem::new(2020, 2090);
    let over = Pem::new(2020, 2021);
    let early = Pem::new(2089, 2090);
    let mismatch = error(&good.certificate(), &other.key());
    assert!(
        mismatch.contains("is not the key of the certificate"),
        "{mismatch}"
    );
    let expired = error(&over.certificate(), &over.key());
    assert!(
        expired.ends_with("expired at 2021-01-01T00:00:00Z"),
        "{expired}"
    );
    let early = error(&early.certificate(), &early.key());
    assert!(
        early.ends_with("not valid before 2089-01-01T00:00:00Z"),
        "{early}"
    );
    let missing = error(Path::new("/nonexistent/cert.pem"), &good.key());
    assert!(
        missing.starts_with("can't read /nonexistent/cert.pem: "),
        "{missing}"
    );
    let swapped = error(&good.key(), &good.certificate());
    assert!(swapped.contains("holds no certificate in PEM"), "{swapped}");
    let no_key = error(&good.certificate(), &good.certificate());
    assert!(no_key.contains("holds no private key in PEM"), "{no_key}");
}

#[test]
fn what_an_acme_authority_gave_goes_over_the_servers_own() {
    let dir = tempfile::tempdir().unwrap();
    let source = Source::Acme {
        data: dir.path().to_path_buf(),
        names: vec!["mail.example.org".to_string()],
    };
    let tls = Tls::new(source.clone()).unwrap();
    assert_eq!(tls.served().from, "local");
    let pem = Pem::new(2020, 2090);
    let text = |path| fs::read_to_string(path).unwrap();
    let both = text(pem.key()) + &text(pem.certificate());
    Authority::new(dir.path()).keep_acme(&both).unwrap();
    tls.reload().unwrap();
    assert_eq!(tls.served().from, "acme");
    assert_eq!(tls.served().names, ["mail.example.org"]);
    // A file that is damaged leaves the server's own.
    Authority::new(dir.path()).keep_acme("nothing").unwrap();
    assert_eq!(look(&source).unwrap().from, "local");
}

#[test]
fn a_start_goes_on_with_files_that_are_not_good() {
    let dir = tempfile::tempdir().unwrap();
    let local = Source::Local {
        data: dir.path().to_path_buf(),
        names: vec!["mail.example.org".to_string()],
    };
    let start = |certificate: &Path, key: &Path| {
        let source = Source::Files {
            certificate: certificate.to_path_buf(),
            key: key.to_path_buf(),
        };
        let tls = Tls::start(source.clone(), &local).unwrap();
        assert!(tls.is_from(&source));
        tls
    };
    let (over, early, good) = (
        Pem::new(2020, 2021),
        Pem::new(2089, 2090),
        Pem::new(2020, 2090),
    );
    for pem in [&over, &early, &good] {
        let tls = start(&pem.certificate(), &pem.key());
        assert_eq!(tls.served().from, "files");
    }
    assert_eq!(
        start(&good.certificate(), &over.key()).served().from,
        "local"
    );
    let tls = start(&dir.path().join("none.pem"), &good.key());
    assert_eq!(tls.served().from, "local");
    // Once the file is there, it is served.
    fs::copy(good.certificate(), dir.path().join("none.pem")).unwrap();
    tls.reload().unwrap();
    assert_eq!(tls.served().from, "files");
}

/// What is served, of one source as a whole: its source, and what clients see.
fn seen(tls: &Tls) -> (Source, Timestamp) {
    let current = tls.current();
    (current.source.clone(), current.served.ends)
}

#[test]
fn of_two_changes_at_once_the_later_one_counts() {
    type Change = fn(&Tls, &Source) -> Result<(), Error>;
    let changes: [Change; 2] = [|tls, source| tls.set(source.clone()), |tls, _| tls.reload()];
    for change in changes {
        let (slow, next) = (Pem::new(2020, 2080), Pem::new(2020, 2090));
        let [early, later] = [&slow, &next].map(|it| Source::Files {
            certificate: it.certificate(),
            key: it.key(),
        });
        let tls = Tls::new(early.clone()).unwrap();
        // Its certificate comes when the test says so.
        let text = fs::read(slow.certificate()).unwrap();
        fs::remove_file(slow.certificate()).unwrap();
        let mode = Mode::RUSR | Mode::WUSR;
        mknodat(CWD, slow.certificate(), FileType::Fifo, mode, 0).unwrap();
        std::thread::scope(|scope| {
            let first = scope.spawn(|| change(&tls, &early));
            // This ends when the first one reads.
            let mut pipe = fs::OpenOptions::new()
                .write(true)
                .open(slow.certificate())
                .unwrap();
            let second = scope.spawn(|| tls.set(later.clone()));
            // Time for the second one to be served too early, if it can.
            for _ in 0..20 {
                if !second.is_finished() {
                    std::thread::sleep(Duration::from_millis(5));
                }
            }
            pipe.write_all(&text).unwrap();
            drop(pipe);
            first.join().unwrap().unwrap();
            second.join().unwrap().unwrap();
        });
        assert_eq!(seen(&tls), (later, look_ends(&next)));
    }
}

fn look_ends(pem: &Pem) -> Timestamp {
    files(&pem.certificate(), &pem.key()).unwrap().served().ends
}

#[test]
fn a_pair_is_whole_however_often_it_changes() {
    let pems = [Pem::new(2020, 2080), Pem::new(2020, 2090)];
    let wholes = pems.each_ref().map(|it| {
        let source = Source::Files {
            certificate: it.certificate(),
            key: it.key(),
        };
        (source, look_ends(it))
    });
    let tls = Tls::new(wholes[0].0.clone()).unwrap();
    let over = std::sync::atomic::AtomicBool::new(false);
    let is_over = || over.load(std::sync::atomic::Ordering::SeqCst);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !is_over() {
                tls.reload().unwrap();
            }
        });
        scope.spawn(|| {
            while !is_over() {
                assert!(wholes.contains(&seen(&tls)));
            }
        });
        for turn in 1..100 {
            let whole = &wholes[turn % 2];
            let set = tls.set(whole.0.clone());
            let found = seen(&tls);
            if turn == 99 || set.is_err() || found != *whole {
                over.store(true, std::sync::atomic::Ordering::SeqCst);
            }
            assert_eq!((set, &found), (Ok(()), whole));
        }
    });
}
