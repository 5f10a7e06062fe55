"""The card: partitions, file systems and boot state, written into a plain file.

  0 to 3 MiB    master boot record, and the board's first loader where its chip looks for it
  3 MiB         boot state, copy 0; copy 1 is 64 KiB behind
  p1   4 MiB    boot, FAT, 64 MiB
  p2  68 MiB    slot a, 96 MiB
  p3 164 MiB    slot b, the same
  p4 260 MiB    data, ext4, to the end; the first start makes it as large as the card
"""

import os
import shutil
import struct
import zlib

from . import update
from .common import Problem, run, say

MIB = 1 << 20
SECTOR = 512
# A power of two: QEMU's models of real boards take no other size of card.
CARD = 512 * MIB
# Start and size in MiB, type, as in the table above. Slots have a type that PCs leave alone.
BOOT, SLOT_A, SLOT_B, DATA = (4, 64, 0x0C), (68, 96, 0xDA), (164, 96, 0xDA), (260, 252, 0x83)
# By this the start finds its card ("pilb").
SIGNATURE = 0x626C6970
STATE_AT, STATE_APART, STATE_SIZE = 3 * MIB, 64 << 10, 1024
# A slot's partition ends with its label; the file system before it leaves room.
SLOT_IMAGE = 95 * MIB
LABEL_SIZE = 4096
DATA_UUID = "70696c6c-6172-426f-8000-646174610001"


def make_slot(meta, work, schema):
    """The file system of a slot, which is also what an update carries."""
    files = sorted(path for path in (work / "slot").rglob("*") if path.is_file())
    lines = [f"board={meta['name']}", f"version={meta['version']}", f"schema={schema}"]
    for path in files:
        lines.append(f"{update.digest(path)}  {path.relative_to(work / 'slot')}")
    (work / "slot/slot.txt").write_text("\n".join(lines) + "\n")
    image = work / "slot.img"
    fat(image, SLOT_IMAGE, work / "slot", "PILLARSLOT", "70620002", ("-F", "16", "-s", "4"))
    return image


def fat(image, size, place, label, serial, options):
    """A FAT file system with all files of `place`; its bytes depend on nothing else."""
    epoch = int(os.environ["SOURCE_DATE_EPOCH"])
    with open(image, "wb") as file:
        file.truncate(size)
    run("mkfs.vfat", "--invariant", "-i", serial, "-n", label, *options, image)
    for path in sorted(place.rglob("*")):
        os.utime(path, (epoch, epoch))
        target = f"::/{path.relative_to(place)}"
        if path.is_dir():
            run("mmd", "-i", image, target)
        else:
            run("mcopy", "-m", "-i", image, path, target)


def make_card(meta, work, slot):
    """The whole card, as a sparse file."""
    image = work / "card.img"
    fat(work / "boot.img", BOOT[1] * MIB, work / "boot", "PILLARBOX", "70620001", ("-F", "32", "-s", "1"))
    data(work / "data.img")
    with open(image, "wb") as card:
        card.truncate(CARD)
        for file in sorted((work / "loader").iterdir()):
            place_loader(card, file)
        card.seek(440)
        card.write(boot_record())
        for copy in range(2):
            card.seek(STATE_AT + copy * STATE_APART)
            card.write(boot_state(copy))
        copy_sparse(work / "boot.img", card, BOOT[0] * MIB)
        copy_sparse(slot, card, SLOT_A[0] * MIB)
        card.seek((SLOT_A[0] + SLOT_A[1]) * MIB - LABEL_SIZE)
        card.write(update.label(meta, work, slot).ljust(LABEL_SIZE, b"\0"))
        copy_sparse(work / "data.img", card, DATA[0] * MIB)
    return image


def data(image):
    """An empty file system that can grow to 16 TiB while it is mounted."""
    with open(image, "wb") as file:
        file.truncate(DATA[1] * MIB)
    run("mke2fs", "-q", "-F", "-t", "ext4", "-b", "4096", "-L", "pillarbox-data", "-U", DATA_UUID,
        "-J", "size=16", "-m", "1",
        "-E", f"hash_seed={DATA_UUID},lazy_itable_init=1,lazy_journal_init=0,root_owner=0:0", image)


def place_loader(card, file):
    """A loader at the KiB that its name says."""
    start, content = int(file.name) << 10, file.read_bytes()
    if start < SECTOR or start + len(content) > STATE_AT:
        raise Problem(f"the loader at {file.name} KiB does not fit before the boot state")
    card.seek(start)
    card.write(content)


def boot_record():
    """Bytes 440 to 512 of the first sector: signature, four entries, the mark."""
    record = struct.pack("<IH", SIGNATURE, 0)
    for start, size, kind in (BOOT, SLOT_A, SLOT_B, DATA):
        active = 0x80 if kind == BOOT[2] else 0
        # Cylinders, heads and sectors are those that mean: look at the numbers of blocks.
        record += struct.pack("<B3sB3sII", active, b"\xfe\xff\xff", kind, b"\xfe\xff\xff",
                              start * MIB // SECTOR, size * MIB // SECTOR)
    return record + b"\x55\xaa"


def boot_state(copy):
    """A block of U-Boot's environment: slot a is good, slot b is empty. Numbers are hexadecimal."""
    values = {"pb_serial": copy, "pb_order": "a b", "pb_good_a": 1, "pb_good_b": 0, "pb_tries_a": 0, "pb_tries_b": 0}
    body = b"".join(f"{name}={value}\0".encode() for name, value in values.items()) + b"\0"
    body = body.ljust(STATE_SIZE - 4, b"\0")
    return struct.pack("<I", zlib.crc32(body)) + body


def copy_sparse(source, card, start):
    """Copies a file to a place of the card, leaving out blocks of zeros."""
    with open(source, "rb") as file:
        position = start
        while block := file.read(MIB):
            if block.count(0) != len(block):
                card.seek(position)
                card.write(block)
            position += len(block)


def compress(meta, work, image, slot, target):
    """The card in zstd, as three frames: the middle one is slot a, which the update file holds too,
    so that it is compressed once. Any zstd reads frames one after another as one file."""
    say("compressing the card")
    begin, end = SLOT_A[0] * MIB, SLOT_A[0] * MIB + slot.stat().st_size
    parts = []
    for name, start, size in (("head", 0, begin), ("tail", end, CARD - end)):
        part = work / f"{name}.part"
        with open(image, "rb") as card, open(part, "wb") as file:
            card.seek(start)
            while size > 0 and (block := card.read(min(size, MIB))):
                file.seek(len(block), os.SEEK_CUR) if block.count(0) == len(block) else file.write(block)
                size -= len(block)
            file.truncate(file.tell())
        parts.append(frame(meta, part))
    parts.insert(1, frame(meta, slot))
    with open(target, "wb") as file:
        for part in parts:
            with open(part, "rb") as opened:
                shutil.copyfileobj(opened, file)


def frame(meta, file):
    """The file in zstd, beside it; the window stays at 8 MiB, which a box of 256 MiB can unpack."""
    packed = file.with_name(file.name + ".zst")
    if not packed.exists():
        run("zstd", "-q", f"-{meta['level']}", "-T0", file, "-o", packed)
    return packed
