//! Back to how the machine was made. Asking leaves a mark on the disk; the next start removes
//! mail, settings and what the machine keeps of itself, the mark last: a plug that is pulled
//! meanwhile only makes the start after that begin again.

use super::{KEPT, mark, sync_directory};
use std::fs;
use std::io;
use std::path::Path;

/// In [`KEPT`].
const MARK: &str = "reset";

/// From here on the next start removes everything.
pub fn ask(root: &Path) -> io::Result<()> {
    mark(&root.join(KEPT).join(MARK))
}

/// Whether it was asked for.
pub fn is_asked(root: &Path) -> bool {
    root.join(KEPT).join(MARK).exists()
}

/// Removes all of it. Done twice, or after it was broken off, it comes to the same.
pub fn finish(root: &Path, data: &Path) -> io::Result<()> {
    let kept = root.join(KEPT);
    empty(data, None)?;
    empty(&kept, Some(MARK))?;
    for directory in [data, &kept] {
        if directory.exists() {
            fs::File::open(directory)?.sync_all()?;
        }
    }
    fs::remove_file(kept.join(MARK))?;
    sync_directory(&kept.join(MARK))
}

/// Removes what a directory holds, but for one name.
fn empty(directory: &Path, but: Option<&str>) -> io::Result<()> {
    let entries = match fs::read_dir(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries?,
    };
    for entry in entries {
        let entry = entry?;
        if but.is_some_and(|it| entry.file_name() == it) {
            continue;
        }
        // A link is removed itself, never followed.
        match entry.file_type()?.is_dir() {
            true => fs::remove_dir_all(entry.path())?,
            false => fs::remove_file(entry.path())?,
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn all_goes_and_a_reset_that_was_broken_off_goes_on() {
        let root = tempfile::tempdir().unwrap();
        let (data, kept) = (root.path().join("data"), root.path().join(KEPT));
        let outside = root.path().join("outside");
        fs::create_dir_all(data.join("mail")).unwrap();
        fs::create_dir_all(kept.join("ssh/home")).unwrap();
        fs::create_dir(&outside).unwrap();
        for file in [
            data.join("meta.redb"),
            data.join("mail/0001"),
            kept.join("hostname"),
        ] {
            fs::write(file, "secret").unwrap();
        }
        fs::write(outside.join("file"), "stays").unwrap();
        symlink(&outside, data.join("link")).unwrap();
        assert!(!is_asked(root.path()));
        ask(root.path()).unwrap();
        // Broken off in the middle: the mail is gone, the mark is not.
        empty(&data, None).unwrap();
        assert!(is_asked(root.path()) && kept.join("hostname").exists());
        finish(root.path(), &data).unwrap();
        assert!(!is_asked(root.path()));
        assert_eq!(fs::read_dir(&data).unwrap().count(), 0);
        assert_eq!(fs::read_dir(&kept).unwrap().count(), 0);
        assert!(outside.join("file").exists());
        // Nobody asked: nothing to finish, which is said.
        assert!(finish(root.path(), &data).is_err());
    }
}
