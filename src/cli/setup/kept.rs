//! The answers of a wizard that has not come to its end, in the data directory: after each
//! question on the disk, so that neither a power cut nor kill -9 takes more than the line that
//! was being typed.
//!
//! Only the directory's owner can read the file (mode 0600). Passwords for this server are in
//! it as what verifies them, as the store has them later, never as they were typed; the
//! password of a relay is in it as it is, for so the store has to keep it too.

use crate::net::authority::{read_limited, write_atomically};
use crate::secret::Secret;
use crate::setup::answers::Answers;
use crate::setup::document;
use std::fs;
use std::os::unix::fs::{MetadataExt, chown};
use std::path::{Path, PathBuf};

pub struct Kept {
    dir: PathBuf,
    path: PathBuf,
}

impl Kept {
    pub fn new(dir: &Path) -> Kept {
        Kept {
            dir: dir.to_path_buf(),
            path: dir.join("setup-answers.toml"),
        }
    }

    /// None if there are none, or what is there can't be read.
    pub fn read(&self) -> Answers {
        let bytes = read_limited(&self.path).map(Secret::new);
        let text = bytes.map(|it| String::from_utf8_lossy(it.reveal()).into_owned());
        match text.map(Secret::new) {
            Ok(text) => document::resume(text.reveal()),
            Err(_) => Answers::default(),
        }
    }

    pub fn write(&self, text: &Secret<String>) -> Result<(), String> {
        let written = write_atomically(&self.path, text.reveal().as_bytes(), 0o600);
        written.map_err(|error| error.to_string())?;
        // By root, for the server's user, who may go on with it.
        if let Ok(owner) = fs::metadata(&self.dir) {
            let _ = chown(&self.path, Some(owner.uid()), Some(owner.gid()));
        }
        Ok(())
    }

    pub fn remove(&self) {
        let _ = fs::remove_file(&self.path);
    }
}
