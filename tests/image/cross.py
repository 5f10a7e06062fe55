"""The binaries for boards, run by qemu-user: each serves over TLS from a redb store of its own, is
killed, comes back, finds its mail and its store in order; and a PC's binary reads that store.

    python3 tests/image/cross.py [TEST...]

PILLARBOX_CROSS_TARGETS: the targets to run, separated by spaces (all that board/binary builds).
They are taken from PILLARBOX_BOARD_BINARIES, or else from CARGO_TARGET_DIR, or target/, where
board/binary puts them.
"""

import os
import poplib
import smtplib
import struct
import subprocess
import sys
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "clients"))
import harness
from harness import DOMAIN, ROOT, Server

# A start generates keys and hashes passwords in an emulated processor.
harness.READY_SECONDS = 180
CHECK_SECONDS = 300
# Target: the emulator with the oldest processor that it has to run on, ELF machine, static or not.
TARGETS = {
    "aarch64-unknown-linux-musl": (["qemu-aarch64-static", "-cpu", "cortex-a53"], 183, True),
    "armv7-unknown-linux-gnueabihf": (
        ["qemu-arm-static", "-cpu", "cortex-a7", "-L", "/usr/arm-linux-gnueabihf"], 40, False,
    ),
    # A Raspberry Pi Zero's.
    "arm-unknown-linux-musleabihf": (["qemu-arm-static", "-cpu", "arm1176"], 40, True),
}
PT_INTERP = 3


def binary(target):
    directory = os.environ.get("PILLARBOX_BOARD_BINARIES") or os.environ.get("CARGO_TARGET_DIR")
    return os.path.join(directory or os.path.join(ROOT, "target"), target, "release", "pillarbox")


def elf(path):
    """(machine, whether it asks for a dynamic linker) of a little-endian ELF file."""
    with open(path, "rb") as f:
        data = f.read(4096)
    assert data[:4] == b"\x7fELF" and data[5] == 1, path
    (machine,) = struct.unpack_from("<H", data, 18)
    if data[4] == 2:
        (offset,) = struct.unpack_from("<Q", data, 32)
        size, count = struct.unpack_from("<HH", data, 54)
    else:
        (offset,) = struct.unpack_from("<I", data, 28)
        size, count = struct.unpack_from("<HH", data, 42)
    kinds = [struct.unpack_from("<I", data, offset + n * size)[0] for n in range(count)]
    return machine, PT_INTERP in kinds


class Emulated(Server):
    """`pillarbox demo` of another architecture."""

    def __init__(self, target):
        super().__init__()
        self.target = target

    def command(self):
        return [*TARGETS[self.target][0], binary(self.target), *super().command()[1:]]


def proof(target):
    """The test of one target."""

    def test(self):
        emulator, machine, static = TARGETS[target]
        path = binary(target)
        self.assertTrue(os.path.exists(path), f"board/binary {target} has not built {path}")
        self.assertEqual(elf(path), (machine, not static))
        server = Emulated(target)
        self.addCleanup(server.remove)
        self.addCleanup(lambda: server.process and server.process.poll() is None and server.kill())
        server.start()
        message = harness.message(7, body="By an emulated processor.\r\n" * 3000)
        with smtplib.SMTP("localhost", server.port("submission"), timeout=120) as client:
            client.starttls(context=server.tls())
            client.login("bob", server.password)
            client.sendmail(f"bob@{DOMAIN}", [f"alice@{DOMAIN}"], message)
        with self.assertRaises(smtplib.SMTPAuthenticationError):
            with smtplib.SMTP_SSL(
                "localhost", server.port("submissions"), timeout=120, context=server.tls()
            ) as client:
                client.login("bob", "not the password")
        before = server.bodies()
        self.assertTrue(before[-1].endswith(message), before[-1][:500])
        server.kill()
        server.start()
        client = poplib.POP3_SSL("localhost", server.port("pop3s"), timeout=120, context=server.tls())
        client.user("alice")
        client.pass_(server.password)
        listed = len(client.list()[1])
        received = b"\r\n".join(client.retr(listed)[1]) + b"\r\n"
        client.quit()
        self.assertEqual((listed, received), (len(before), before[-1]))
        server.stop()
        # Its own look at all that is stored, then a PC's: the file is the same on every machine.
        for command in ([*emulator, path], [harness.binary()]):
            done = subprocess.run(
                [*command, "check", "--dir", server.directory], capture_output=True, text=True, timeout=CHECK_SECONDS
            )
            self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        print(f"    {target}: {os.path.getsize(path)} bytes", flush=True)

    return test


class Cross(unittest.TestCase):
    pass


for name in os.environ.get("PILLARBOX_CROSS_TARGETS", " ".join(TARGETS)).split():
    setattr(Cross, "test_" + name.replace("-", "_"), proof(name))

if __name__ == "__main__":
    harness.main()
