//! The answers of a wizard that has not come to its end, in the data directory: after each
//! question on the disk, so that neither a power cut nor kill -9 takes more than the line that
//! was being typed.
//!
//! Only the directory's owner can read the file (mode 0600). Passwords for this server are in
//! it as what verifies them, as the store has them later, never as they were typed; the
//! password of a relay is in it as it is, for so the store has to keep it too.

use crate::net::authority::{read_limited, write_owned};
use crate::secret::Secret;
use crate::setup::answers::Answers;
use crate::setup::document;
use std::fs;
use std::os::unix::fs::MetadataExt;
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
        // By root, for the server's user, who may go on with it.
        let owner = fs::metadata(&self.dir).ok().map(|it| (it.uid(), it.gid()));
        let written = write_owned(&self.path, text.reveal().as_bytes(), 0o600, owner);
        written.map_err(|error| error.to_string())
    }

    pub fn remove(&self) {
        let _ = fs::remove_file(&self.path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{chown, symlink};

    #[test]
    fn the_file_is_the_directory_s_owner_s_and_no_link_is_followed() {
        let dir = tempfile::tempdir().unwrap();
        let (data, other) = (dir.path().join("data"), dir.path().join("other"));
        fs::create_dir(&data).unwrap();
        fs::write(&other, "untouched").unwrap();
        // As far as who tests may.
        let _ = chown(&data, Some(4242), Some(4242));
        let before = fs::metadata(&other).unwrap().uid();
        for name in ["setup-answers.toml", "setup-answers.new"] {
            symlink(&other, data.join(name)).unwrap();
        }
        let kept = Kept::new(&data);
        kept.write(&Secret::new("mode = 1".into())).unwrap();
        let file = fs::symlink_metadata(data.join("setup-answers.toml")).unwrap();
        assert!(file.is_file());
        assert_eq!(file.mode() & 0o777, 0o600);
        assert_eq!(file.uid(), fs::metadata(&data).unwrap().uid());
        assert_eq!(fs::metadata(&other).unwrap().uid(), before);
        assert_eq!(fs::read(&other).unwrap(), b"untouched");
    }
}
