//! A machine that is the server's own: its first boot, SSH to its console, and the way back to
//! how it was made. What such a machine keeps of itself is on its data partition, beside the mail.

pub mod answers;
pub mod code;
pub mod reset;
pub mod ssh;

use std::fs::{self, File};
use std::io;
use std::path::Path;
use std::process::{Command, Stdio};

/// What the machine keeps of itself, below the root.
pub const KEPT: &str = "var/lib/pillarbox-box";

/// A file that is there or not, and stays so through a power cut.
fn mark(path: &Path) -> io::Result<()> {
    File::create(path)?.sync_all()?;
    sync_directory(path)
}

/// No error if there is none.
fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
        Ok(()) => sync_directory(path),
    }
}

/// The directory that a path is in.
fn sync_directory(path: &Path) -> io::Result<()> {
    match path.parent() {
        Some(parent) => File::open(parent)?.sync_all(),
        None => Ok(()),
    }
}

/// Has systemd do something, where this is the running system. Whether it did.
pub fn systemctl(root: &Path, words: &[&str]) -> bool {
    if root != Path::new("/") {
        return true;
    }
    let mut command = Command::new("/usr/bin/systemctl");
    let quiet = command.args(words).stdin(Stdio::null());
    let ran = quiet.stdout(Stdio::null()).stderr(Stdio::null()).status();
    ran.is_ok_and(|it| it.success())
}
