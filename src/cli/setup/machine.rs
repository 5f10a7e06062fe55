//! Writes what the wizard changes of the machine itself, where that is the server's own.

use crate::net::authority::write_atomically;
use crate::setup::answers::Answers;
use crate::setup::machine::{Change, changes};
use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Command, Stdio};

/// Writes it below `root`, and has it hold at once where that is /. Done twice, it comes to
/// the same. The error is a sentence.
pub fn change(root: &Path, answers: &Answers) -> Result<(), String> {
    for change in changes(answers) {
        let path = root.join(match &change {
            Change::File { path, .. } | Change::Link { path, .. } => path,
        });
        let told = |error: io::Error| format!("{}: {error}", path.display());
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent).map_err(told)?;
        }
        match &change {
            Change::File { text, .. } => {
                write_atomically(&path, text.as_bytes(), 0o644).map_err(|it| it.to_string())?;
            }
            Change::Link { to, .. } => link(&path, to).map_err(told)?,
        }
    }
    if root == Path::new("/") {
        if let Some(hostname) = answers.get("hostname") {
            let _ = rustix::system::sethostname(hostname.as_bytes());
        }
        // Where there is no networkd to tell, the files hold from the next start.
        let _ = Command::new("networkctl")
            .arg("reload")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
    }
    Ok(())
}

fn link(path: &Path, to: &str) -> io::Result<()> {
    let temporary = path.with_extension("new");
    let _ = fs::remove_file(&temporary);
    symlink(to, &temporary)?;
    fs::rename(&temporary, path)
}
