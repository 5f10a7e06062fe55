//! Writes what the wizard changes of the machine itself, where that is the server's own.

use crate::appliance::{KEPT, systemctl};
use crate::net::authority::write_atomically;
use crate::setup::answers::Answers;
use crate::setup::machine::{Change, changes};
use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Writes it below `root`, and has it hold at once where that is /. Done twice, it comes to
/// the same. The error is a sentence.
pub fn change(root: &Path, answers: &Answers) -> Result<(), String> {
    for change in changes(answers) {
        let path = place(
            root,
            match &change {
                Change::File { path, .. } | Change::Link { path, .. } | Change::Gone { path } => {
                    path
                }
            },
        );
        let told = |error: io::Error| format!("{}: {error}", path.display());
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent).map_err(told)?;
        }
        match &change {
            Change::File { text, .. } => {
                write_atomically(&path, text.as_bytes(), 0o644).map_err(|it| it.to_string())?;
            }
            Change::Link { to, .. } => link(&path, to).map_err(told)?,
            Change::Gone { .. } => match fs::remove_file(&path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(told(error)),
                _ => {}
            },
        }
    }
    if root == Path::new("/") {
        if let Some(hostname) = answers.get("hostname") {
            let _ = rustix::system::sethostname(hostname.as_bytes());
        }
        // Where there is no networkd to tell, the files hold from the next start. Without D-Bus
        // nobody but systemd itself can tell it.
        let mut networkctl = Command::new("networkctl");
        let quiet = networkctl.arg("reload").stdin(Stdio::null());
        let told = quiet.stdout(Stdio::null()).stderr(Stdio::null()).status();
        if !told.is_ok_and(|it| it.success()) {
            systemctl(root, &["try-restart", "systemd-networkd.service"]);
        }
    }
    Ok(())
}

/// Where it is written: a box's /etc is read-only, and what changes of it are links to where the
/// machine keeps what is its own.
fn place(root: &Path, path: &str) -> PathBuf {
    let kept = Path::new("/").join(KEPT);
    for part in Path::new(path).ancestors() {
        if let Ok(to) = fs::read_link(root.join(part))
            && let (Ok(below), Ok(rest)) =
                (to.strip_prefix("/"), Path::new(path).strip_prefix(part))
            && to.starts_with(&kept)
        {
            let place = root.join(below);
            return if rest.as_os_str().is_empty() {
                place
            } else {
                place.join(rest)
            };
        }
    }
    root.join(path)
}

fn link(path: &Path, to: &str) -> io::Result<()> {
    let temporary = path.with_extension("new");
    let _ = fs::remove_file(&temporary);
    symlink(to, &temporary)?;
    fs::rename(&temporary, path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_box_keeps_is_written_where_the_links_lead() {
        let root = tempfile::tempdir().unwrap();
        let (etc, kept) = (root.path().join("etc"), root.path().join(KEPT));
        fs::create_dir_all(etc.join("systemd")).unwrap();
        fs::create_dir_all(&kept).unwrap();
        let links = [
            ("hostname", "hostname"),
            ("localtime", "localtime"),
            ("systemd/network", "network"),
        ];
        for (name, to) in links {
            symlink(Path::new("/").join(KEPT).join(to), etc.join(name)).unwrap();
        }
        // Made by another start, and to be replaced.
        symlink("/usr/share/zoneinfo/UTC", kept.join("localtime")).unwrap();
        let mut answers = Answers::default();
        for (name, value) in [
            ("network.mode", "dhcp"),
            ("hostname", "mail.example.org"),
            ("time-zone", "Europe/Moscow"),
        ] {
            answers.put(name, value.into());
        }
        change(root.path(), &answers).unwrap();
        assert_eq!(
            fs::read(kept.join("hostname")).unwrap(),
            b"mail.example.org\n"
        );
        let zone = fs::read_link(kept.join("localtime")).unwrap();
        assert_eq!(zone, Path::new("/usr/share/zoneinfo/Europe/Moscow"));
        assert!(kept.join("network/20-pillarbox.network").is_file());
        for (name, _) in links {
            assert!(etc.join(name).is_symlink(), "{name}");
        }
    }
}
