//! The one seam to the disk: everything the store writes or reads goes through [`Disk`]
//! and [`File`], so that a test can cut the power between two syncs.

use rustix::fs::OFlags;
use std::fmt::Debug;
use std::fs::{self, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt, fchown, lchown};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

/// A directory tree of the store. Names are relative, parts joined by `/`.
pub trait Disk: Send + Sync + Debug + 'static {
    /// Opens for reading and writing; makes the file, empty, if `create` and it is missing.
    fn open(&self, name: &str, create: bool) -> io::Result<Arc<dyn File>>;
    fn remove(&self, name: &str) -> io::Result<()>;
    /// File names in a directory, which is made if missing.
    fn list(&self, directory: &str) -> io::Result<Vec<String>>;
    /// Makes names created or removed in `directory` durable.
    fn sync_directory(&self, directory: &str) -> io::Result<()>;
    /// Bytes that can still be written.
    fn free(&self) -> io::Result<u64>;
    /// Keeps other processes out; false if one is in.
    fn lock(&self) -> io::Result<bool>;
    fn unlock(&self);
}

/// An open file; stays readable after its name is removed.
pub trait File: Send + Sync + Debug + 'static {
    /// Fills `out` or fails.
    fn read_at(&self, offset: u64, out: &mut [u8]) -> io::Result<()>;
    /// Writes all of `bytes`, growing the file as needed.
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()>;
    /// Bytes from the start to the end.
    fn length(&self) -> io::Result<u64>;
    fn set_len(&self, length: u64) -> io::Result<()>;
    /// Makes content and length durable.
    fn sync(&self) -> io::Result<()>;
}

/// A directory of the file system.
#[derive(Debug)]
pub struct RealDisk {
    directory: PathBuf,
    lock: fs::File,
    /// Whose directory it is, by user and group number, where that is not who runs this.
    other: Option<(u32, u32)>,
}

impl RealDisk {
    /// Makes the directory, for its owner alone, if missing.
    pub fn new(directory: &Path) -> io::Result<RealDisk> {
        let is_new = !directory.exists();
        fs::DirBuilder::new()
            .recursive(true)
            .open_mode()
            .create(directory)?;
        if is_new && let Some(parent) = directory.canonicalize()?.parent() {
            fs::File::open(parent)?.sync_all()?;
        }
        let found = fs::metadata(directory)?;
        let me = rustix::process::geteuid().as_raw();
        let other = (found.uid() != me).then(|| (found.uid(), found.gid()));
        Ok(RealDisk {
            directory: directory.into(),
            lock: open_file(&directory.join("lock"), true, other)?,
            other,
        })
    }
}

/// Root may look after another user's store: that user has to be able to go on with every file,
/// and may not lead root elsewhere by a link.
fn open_file(path: &Path, create: bool, other: Option<(u32, u32)>) -> io::Result<fs::File> {
    let mut options = private();
    options.truncate(false);
    let Some((user, group)) = other else {
        return options.create(create).open(path);
    };
    options.custom_flags(OFlags::NOFOLLOW.bits().cast_signed());
    match options.open(path) {
        Err(error) if create && error.kind() == io::ErrorKind::NotFound => {
            let file = options.create_new(true).open(path)?;
            fchown(&file, Some(user), Some(group))?;
            Ok(file)
        }
        opened => opened,
    }
}

trait OpenMode {
    fn open_mode(&mut self) -> &mut Self;
}

impl OpenMode for fs::DirBuilder {
    fn open_mode(&mut self) -> &mut fs::DirBuilder {
        use std::os::unix::fs::DirBuilderExt;
        self.mode(0o700)
    }
}

/// Mail is nobody else's business.
fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(true).write(true).mode(0o600);
    options
}

impl Disk for RealDisk {
    fn open(&self, name: &str, create: bool) -> io::Result<Arc<dyn File>> {
        let file = open_file(&self.directory.join(name), create, self.other)?;
        Ok(Arc::new(RealFile(file)))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        fs::remove_file(self.directory.join(name))
    }

    fn list(&self, directory: &str) -> io::Result<Vec<String>> {
        let path = self.directory.join(directory);
        fs::DirBuilder::new()
            .recursive(true)
            .open_mode()
            .create(&path)?;
        if let Some((user, group)) = self.other {
            lchown(&path, Some(user), Some(group))?;
        }
        let mut names = Vec::new();
        for entry in fs::read_dir(path)? {
            // A name that isn't UTF-8 isn't ours.
            names.extend(entry?.file_name().into_string());
        }
        Ok(names)
    }

    fn sync_directory(&self, directory: &str) -> io::Result<()> {
        fs::File::open(self.directory.join(directory))?.sync_all()
    }

    fn free(&self) -> io::Result<u64> {
        let stat = rustix::fs::fstatvfs(&self.lock)?;
        Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
    }

    fn lock(&self) -> io::Result<bool> {
        match self.lock.try_lock() {
            Ok(()) => Ok(true),
            Err(TryLockError::WouldBlock) => Ok(false),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }

    fn unlock(&self) {
        // It ends with the process at the latest.
        self.lock.unlock().ok();
    }
}

#[derive(Debug)]
struct RealFile(fs::File);

impl File for RealFile {
    fn read_at(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.0.read_exact_at(out, offset)
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.0.write_all_at(bytes, offset)
    }

    fn length(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        self.0.set_len(length)
    }

    fn sync(&self) -> io::Result<()> {
        self.0.sync_data()
    }
}

/// What the store has done since it was opened.
#[derive(Debug, Default)]
pub struct Counters {
    /// Syncs of files and directories.
    pub syncs: AtomicU64,
    /// Bytes written to any file.
    pub written: AtomicU64,
    /// Durable transactions.
    pub commits: AtomicU64,
    /// Those of them that made the database durable and the log before them needless.
    pub checkpoints: AtomicU64,
    /// Writes (deliveries, flag changes …) in those.
    pub operations: AtomicU64,
}

/// Counts what passes to the disk below.
#[derive(Debug)]
pub(super) struct CountedDisk {
    pub below: Arc<dyn Disk>,
    pub counters: Arc<Counters>,
}

impl Disk for CountedDisk {
    fn open(&self, name: &str, create: bool) -> io::Result<Arc<dyn File>> {
        Ok(Arc::new(CountedFile {
            below: self.below.open(name, create)?,
            counters: self.counters.clone(),
        }))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.below.remove(name)
    }

    fn list(&self, directory: &str) -> io::Result<Vec<String>> {
        self.below.list(directory)
    }

    fn sync_directory(&self, directory: &str) -> io::Result<()> {
        self.counters.syncs.fetch_add(1, Relaxed);
        self.below.sync_directory(directory)
    }

    fn free(&self) -> io::Result<u64> {
        self.below.free()
    }

    fn lock(&self) -> io::Result<bool> {
        self.below.lock()
    }

    fn unlock(&self) {
        self.below.unlock();
    }
}

#[derive(Debug)]
struct CountedFile {
    below: Arc<dyn File>,
    counters: Arc<Counters>,
}

impl File for CountedFile {
    fn read_at(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.below.read_at(offset, out)
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.counters.written.fetch_add(bytes.len() as u64, Relaxed);
        self.below.write_at(offset, bytes)
    }

    fn length(&self) -> io::Result<u64> {
        self.below.length()
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        self.below.set_len(length)
    }

    fn sync(&self) -> io::Result<()> {
        self.counters.syncs.fetch_add(1, Relaxed);
        self.below.sync()
    }
}

/// A file as redb wants it.
#[derive(Debug)]
pub(super) struct Backend {
    pub file: Arc<dyn File>,
    /// Set when a write failed for want of space: redb reports later failures without the cause.
    pub full: Arc<AtomicBool>,
}

impl Backend {
    fn note<T>(&self, result: io::Result<T>) -> io::Result<T> {
        if let Err(error) = &result
            && matches!(
                error.kind(),
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
            )
        {
            self.full.store(true, Relaxed);
        }
        result
    }
}

impl redb::StorageBackend for Backend {
    fn len(&self) -> io::Result<u64> {
        self.file.length()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.file.read_at(offset, out)
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        self.note(self.file.set_len(length))
    }

    fn sync_data(&self) -> io::Result<()> {
        self.note(self.file.sync())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.note(self.file.write_at(offset, data))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{chown, symlink};

    #[test]
    fn no_link_of_another_user_s_is_followed() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        let found = fs::metadata(dir.path()).unwrap();
        let other = Some((found.uid(), found.gid()));
        fs::write(at("outside"), "untouched").unwrap();
        symlink(at("outside"), at("link")).unwrap();
        symlink(at("none"), at("nowhere")).unwrap();
        for name in ["link", "nowhere"] {
            assert!(open_file(&at(name), true, other).is_err(), "{name}");
        }
        assert!(!at("none").exists());
        assert!(open_file(&at("new"), false, other).is_err());
        for _ in 0..2 {
            open_file(&at("new"), true, other).unwrap();
        }
        // Who owns the directory may have put it elsewhere.
        assert!(open_file(&at("link"), true, None).is_ok());
    }

    #[test]
    fn what_is_made_belongs_to_who_owns_the_directory() {
        let dir = tempfile::tempdir().unwrap();
        // Root alone can give it away; for others it is their own, and stays so.
        let _ = chown(dir.path(), Some(4242), Some(4242));
        let disk = RealDisk::new(dir.path()).unwrap();
        disk.open("meta", true).unwrap();
        disk.list("mail").unwrap();
        disk.open("mail/0001", true).unwrap();
        let of = |name: &str| {
            let found = fs::metadata(dir.path().join(name)).unwrap();
            (found.uid(), found.gid())
        };
        for name in ["lock", "meta", "mail", "mail/0001"] {
            assert_eq!(of(name), of(""), "{name}");
        }
    }
}
