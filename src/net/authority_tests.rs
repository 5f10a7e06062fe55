use super::*;
use std::os::unix::fs::PermissionsExt;

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn hosts(name: &str) -> Vec<String> {
    vec![name.to_string()]
}

#[test]
fn a_certificate_is_made_once_and_renewed_in_time() {
    let dir = tempfile::tempdir().unwrap();
    let authority = Authority::new(dir.path());
    let start = at("2026-11-20T12:00:00Z");
    assert_eq!(
        authority.ensure(&hosts("mail.example.org"), start),
        Ok(true)
    );
    let ca = fs::read(authority.ca_path()).unwrap();
    let first = fs::read(authority.key_path()).unwrap();
    assert_eq!(
        authority.ensure(&hosts("mail.example.org"), start),
        Ok(false)
    );
    assert_eq!(
        authority.ensure(&hosts("MAIL.example.org"), start),
        Ok(false)
    );
    let later = at("2027-11-01T12:00:00Z");
    assert_eq!(
        authority.ensure(&hosts("mail.example.org"), later),
        Ok(false)
    );
    assert_eq!(fs::read(authority.key_path()).unwrap(), first);
    // 28 days are left.
    let due = at("2027-11-24T12:00:00Z");
    assert_eq!(authority.ensure(&hosts("mail.example.org"), due), Ok(true));
    assert_eq!(authority.ensure(&hosts("mail.example.org"), due), Ok(false));
    assert_ne!(fs::read(authority.key_path()).unwrap(), first);
    assert_eq!(fs::read(authority.ca_path()).unwrap(), ca);
}

#[test]
fn a_new_hostname_gets_a_new_certificate() {
    let dir = tempfile::tempdir().unwrap();
    let authority = Authority::new(dir.path());
    let now = at("2026-11-20T12:00:00Z");
    assert_eq!(authority.ensure(&hosts("localhost"), now), Ok(true));
    assert_eq!(authority.ensure(&hosts("mail.example.org"), now), Ok(true));
    assert_eq!(authority.ensure(&hosts("localhost"), now), Ok(false));
    assert_eq!(authority.ensure(&hosts("bücher.example"), now), Ok(true));
    assert_eq!(
        authority.ensure(&hosts("xn--bcher-kva.example"), now),
        Ok(false)
    );
}

#[test]
fn a_damaged_or_foreign_certificate_is_replaced() {
    let dir = tempfile::tempdir().unwrap();
    let authority = Authority::new(dir.path());
    let now = at("2026-11-20T12:00:00Z");
    authority.ensure(&hosts("localhost"), now).unwrap();
    fs::write(authority.key_path(), "garbage").unwrap();
    assert_eq!(authority.ensure(&hosts("localhost"), now), Ok(true));
    // Signed by an authority that is gone: clients trust the one that is there.
    fs::remove_file(authority.ca_key_path()).unwrap();
    assert_eq!(authority.ensure(&hosts("localhost"), now), Ok(true));
    assert_eq!(authority.ensure(&hosts("localhost"), now), Ok(false));
}

#[test]
fn keys_are_the_owners_alone() {
    let dir = tempfile::tempdir().unwrap();
    let authority = Authority::new(dir.path());
    authority
        .ensure(&hosts("localhost"), Timestamp::now())
        .unwrap();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&authority.key_path()), 0o600);
    assert_eq!(mode(&authority.ca_key_path()), 0o600);
    assert_eq!(mode(&authority.dir), 0o700);
}

#[test]
fn a_clock_at_1970_makes_no_certificate_that_is_over() {
    let dir = tempfile::tempdir().unwrap();
    let authority = Authority::new(dir.path());
    assert_eq!(
        authority.ensure(&hosts("localhost"), at("1970-01-01T00:00:09Z")),
        Ok(true)
    );
    assert_eq!(
        authority.ensure(&hosts("localhost"), at("1970-01-02T00:00:09Z")),
        Ok(false)
    );
    assert_eq!(
        authority.ensure(&hosts("localhost"), at("2026-06-01T00:00:00Z")),
        Ok(false)
    );
}
