"""What a guest wrote to its disk, as QEMU's blklogwrites recorded it (the format of Linux's
dm-log-writes), and disks as a power cut would have left them: everything up to a flush, then
none or a random part of what followed it."""

import mmap
import os
import struct

MAGIC = 0x6A736677736872
SECTOR = 512
FLUSH, DISCARD, MARK = 1, 4, 8
# Where the superblock counts the entries; QEMU writes it with each flush.
COUNT_OFFSET = 16


def flushed(path):
    """How many entries had been recorded by the last flush that ended."""
    with open(path, "rb") as f:
        data = os.pread(f.fileno(), 8, COUNT_OFFSET)
    return struct.unpack("<Q", data)[0] if len(data) == 8 else 0


class Write:
    """One recorded write: `offset` and `length` on the disk in bytes; where its data are in the log."""

    __slots__ = ("offset", "length", "at", "flush")

    def __init__(self, offset, length, at, flush):
        self.offset, self.length, self.at, self.flush = offset, length, at, flush


class Recording:
    """A finished log, read."""

    def __init__(self, path):
        self.file = open(path, "rb")
        self.map = mmap.mmap(self.file.fileno(), 0, access=mmap.ACCESS_READ)
        magic, version, count, size = struct.unpack_from("<QQQI", self.map, 0)
        assert (magic, version, size) == (MAGIC, 1, SECTOR), (magic, version, size)
        self.writes, at = [], SECTOR
        for _ in range(count):
            sector, sectors, flags, extra = struct.unpack_from("<QQQQ", self.map, at)
            assert not flags & MARK and extra == 0, (flags, extra)
            at += SECTOR
            # What is discarded may be there or not: it stays.
            length = 0 if flags & DISCARD else sectors * SECTOR
            self.writes.append(Write(sector * SECTOR, length, at, bool(flags & FLUSH)))
            at += length

    def flushes(self):
        """The indexes of the flushes."""
        return [n for n, write in enumerate(self.writes) if write.flush]

    def data(self, write, length=None):
        return self.map[write.at : write.at + (write.length if length is None else length)]

    def close(self):
        self.map.close()
        self.file.close()


class Disk:
    """One partition, as it was at a point of a recording."""

    def __init__(self, recording, image, start, length, path):
        """`image`: the disk before the recording; `path`: the file that takes the partition."""
        self.recording, self.start, self.length, self.path = recording, start, length, path
        self.reached = 0
        copy_range(image, start, length, path)

    def apply(self, file, write, length=None):
        """Writes what falls into the partition, `length` bytes of it if given."""
        data = self.recording.data(write, length)
        if not data or write.offset >= self.start + self.length or write.offset + len(data) <= self.start:
            return
        skip = max(0, self.start - write.offset)
        data = data[skip : self.start + self.length - write.offset]
        os.pwrite(file, data, write.offset + skip - self.start)

    def advance(self, to, leave_out=()):
        """Everything of the recording before the entry `to` is on the disk, but what is left out."""
        file = os.open(self.path, os.O_WRONLY)
        for n in range(self.reached, to):
            if n not in leave_out:
                self.apply(file, self.recording.writes[n])
        os.close(file)
        self.reached = max(self.reached, to)

    def cut(self, path, rng, following):
        """A disk whose power failed now, in the file `path`: of the entries that follow up to
        `following` none, or a random part in any order, the last of them torn within."""
        copy_sparse(self.path, path)
        after = [write for write in self.recording.writes[self.reached : following] if write.length]
        if not after or rng.random() < 0.25:
            return 0
        chosen = rng.sample(after, rng.randint(1, len(after)))
        file = os.open(path, os.O_WRONLY)
        for write in chosen[:-1]:
            self.apply(file, write)
        torn = rng.randrange(0, chosen[-1].length + 1, SECTOR)
        self.apply(file, chosen[-1], torn)
        os.close(file)
        return len(chosen)


def copy_sparse(source, target):
    copy_range(source, 0, os.path.getsize(source), target)


def copy_range(source, start, length, target):
    """Copies a range of a file into a file of its own; holes stay holes."""
    with open(source, "rb") as f, open(target, "wb") as out:
        out.truncate(length)
        end = min(start + length, os.fstat(f.fileno()).st_size)
        at = start
        while at < end:
            try:
                at = os.lseek(f.fileno(), at, os.SEEK_DATA)
                hole = min(os.lseek(f.fileno(), at, os.SEEK_HOLE), end)
            except OSError:
                return
            while at < hole:
                sent = os.copy_file_range(f.fileno(), out.fileno(), hole - at, at, at - start)
                if sent == 0:
                    return
                at += sent
