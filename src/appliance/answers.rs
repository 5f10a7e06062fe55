//! `pillarbox.toml` on the boot partition, which a PC can write to: it sets a new machine up.
//! What came of it is told beside it, in `pillarbox.txt`; passwords do not stay there.

use super::{remove, sync_directory};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// Longest file that is overwritten before it is removed, bytes; answers are shorter.
const MAX_WIPED: u64 = 1 << 20;

/// Where the answers are, if there are any.
pub fn find(boot: &Path) -> Option<PathBuf> {
    let path = boot.join("pillarbox.toml");
    path.is_file().then_some(path)
}

/// Tells who looks at the partition on a PC.
pub fn tell(boot: &Path, text: &str) -> io::Result<()> {
    let path = boot.join("pillarbox.txt");
    let mut file = File::create(&path)?;
    // As every PC's editor shows it.
    file.write_all(text.replace('\n', "\r\n").as_bytes())?;
    file.sync_all()?;
    sync_directory(&path)
}

/// Overwrites the answers, then removes them.
pub fn wipe(path: &Path) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).open(path)?;
    let length = file.metadata()?.len().min(MAX_WIPED);
    io::copy(&mut io::Read::take(io::repeat(0), length), &mut file)?;
    file.sync_all()?;
    drop(file);
    remove(path)?;
    // Where an editor has kept what was there before.
    for name in [
        "pillarbox.toml~",
        ".pillarbox.toml.swp",
        "pillarbox.toml.bak",
    ] {
        let left = path.with_file_name(name);
        if left.is_file() {
            fs::remove_file(left)?;
        }
    }
    sync_directory(path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::FileExt;

    #[test]
    fn used_answers_are_gone_to_the_last_byte() {
        let boot = tempfile::tempdir().unwrap();
        assert_eq!(find(boot.path()), None);
        let path = boot.path().join("pillarbox.toml");
        fs::write(&path, "password = \"a hedgehog at night\"").unwrap();
        fs::write(boot.path().join("pillarbox.toml~"), "older").unwrap();
        let open = File::open(find(boot.path()).unwrap()).unwrap();
        wipe(&path).unwrap();
        tell(boot.path(), "one\ntwo\n").unwrap();
        let mut bytes = [1; 32];
        open.read_exact_at(&mut bytes, 0).unwrap();
        assert_eq!(bytes, [0; 32]);
        let left: Vec<_> = fs::read_dir(boot.path()).unwrap().collect();
        assert_eq!(left.len(), 1);
        let told = fs::read(boot.path().join("pillarbox.txt")).unwrap();
        assert_eq!(told, b"one\r\ntwo\r\n");
    }
}
