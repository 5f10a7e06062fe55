//! Where a message waits until it is judged: in memory while it is small, else in a file
//! without a name, which goes with it.

use crate::task;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::PathBuf;

/// Bytes that are kept in memory.
const IN_MEMORY: usize = 128 * 1024;
/// Bytes that are read back at a time.
const CHUNK: usize = 64 * 1024;

pub struct Spool {
    directory: PathBuf,
    file: Option<File>,
    /// What follows what is in the file.
    tail: Vec<u8>,
}

impl Spool {
    pub fn new(directory: PathBuf) -> Spool {
        Spool {
            directory,
            file: None,
            tail: Vec::new(),
        }
    }

    pub async fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.tail.extend_from_slice(bytes);
        if self.tail.len() < IN_MEMORY {
            return Ok(());
        }
        let (file, directory) = (self.file.take(), self.directory.clone());
        let mut tail = std::mem::take(&mut self.tail);
        let written = task::unblock(move || {
            let mut file = match file {
                Some(file) => file,
                None => tempfile::tempfile_in(directory)?,
            };
            file.write_all(&tail)?;
            tail.clear();
            io::Result::Ok((file, tail))
        });
        let (file, tail) = written.await?;
        self.file = Some(file);
        self.tail = tail;
        Ok(())
    }

    /// Begins to give back what it holds, from `skip` on.
    pub async fn rewind(&mut self, skip: u64) -> io::Result<()> {
        let Some(mut file) = self.file.take() else {
            let skip = usize::try_from(skip).unwrap_or(usize::MAX);
            self.tail.drain(..skip.min(self.tail.len()));
            return Ok(());
        };
        // The header is shorter than what a file begins with.
        let file = task::unblock(move || {
            file.seek(SeekFrom::Start(skip))?;
            io::Result::Ok(file)
        });
        self.file = Some(file.await?);
        Ok(())
    }

    /// The next bytes; empty at the end.
    pub async fn read(&mut self) -> io::Result<Vec<u8>> {
        if let Some(file) = self.file.take() {
            let read = task::unblock(move || {
                let mut chunk = Vec::with_capacity(CHUNK);
                (&file).take(CHUNK as u64).read_to_end(&mut chunk)?;
                io::Result::Ok((file, chunk))
            });
            let (file, chunk) = read.await?;
            if !chunk.is_empty() {
                self.file = Some(file);
                return Ok(chunk);
            }
        }
        Ok(std::mem::take(&mut self.tail))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A header of up to this is skipped; a file holds more than that.
    const HEADER: usize = crate::authentication::hashing::MAX_HEADER;

    async fn through(size: usize, step: usize, skip: usize) -> io::Result<()> {
        let bytes: Vec<u8> = (0..size).map(|n| (n % 251) as u8).collect();
        let mut spool = Spool::new(std::env::temp_dir());
        for chunk in bytes.chunks(step) {
            spool.write(chunk).await?;
        }
        spool.rewind(skip as u64).await?;
        let mut back = Vec::new();
        loop {
            let chunk = spool.read().await?;
            if chunk.is_empty() {
                break;
            }
            back.extend(chunk);
        }
        assert!(back == bytes[skip..], "{size} by {step} from {skip}");
        Ok(())
    }

    #[test]
    fn what_goes_in_comes_out() {
        futures_lite::future::block_on(async {
            for (size, step, skip) in [
                (0, 1, 0),
                (10, 3, 4),
                (IN_MEMORY - 1, 1000, 7),
                (IN_MEMORY, 65_536, 100),
                (3 * IN_MEMORY + 5, 9999, 0),
                (4 * IN_MEMORY + 5, 70_000, HEADER),
            ] {
                through(size, step, skip).await.unwrap();
            }
        });
    }
}
