//! The code that lets somebody set a new machine up by network: its own screen or serial console
//! shows it, so who knows it has seen the machine.

use super::remove;
use crate::secret::random;
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// In memory alone, below the root: another start, another code.
const FILE: &str = "run/pillarbox-box/code";
/// Thirty-two that nobody takes for another: five bits each.
const LETTERS: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";

/// Forty bits: five guesses a connection, with a pause after each, get nowhere.
pub type Code = [u8; 8];

/// Makes one, which [`read`] gives from now on.
pub fn make(root: &Path) -> io::Result<()> {
    let bytes = random::<8>().map_err(|error| io::Error::other(error.to_string()))?;
    let letter = |byte: u8| LETTERS.get(usize::from(byte % 32)).copied().unwrap_or(b'a');
    let path = root.join(FILE);
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent)?;
    }
    remove(&path)?;
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&path)?;
    file.write_all(&bytes.map(letter))
}

/// None if the machine is set up, or this user may not know.
pub fn read(root: &Path) -> Option<Code> {
    let bytes = fs::read(root.join(FILE)).ok()?;
    bytes.try_into().ok()
}

/// It holds no more.
pub fn forget(root: &Path) {
    let _ = remove(&root.join(FILE));
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::MetadataExt;

    #[test]
    fn a_code_is_another_each_time_and_its_owner_s_alone() {
        let root = tempfile::tempdir().unwrap();
        assert_eq!(read(root.path()), None);
        make(root.path()).unwrap();
        let first = read(root.path()).unwrap();
        assert!(first.iter().all(|it| LETTERS.contains(it)));
        let mode = fs::metadata(root.path().join(FILE)).unwrap().mode();
        assert_eq!(mode & 0o777, 0o600);
        make(root.path()).unwrap();
        assert_ne!(read(root.path()).unwrap(), first);
        forget(root.path());
        assert_eq!(read(root.path()), None);
    }
}
