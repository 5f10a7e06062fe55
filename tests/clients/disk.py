"""A full disk, a 64 MB tmpfs: refused with the right codes, nothing acknowledged is lost,
deletion works on the full disk, and service resumes by itself when there is room."""

import contextlib
import os
import random
import shutil
import socket
import subprocess
import sys
import tempfile
import unittest

import harness
from harness import DOMAIN, Server, message, wait_for
from python_smtp import without_trace
from wire import Closed, Imap, Pop, Smtp

SIZE_MB = 64
MESSAGE = 700_000


def noise(n):
    """Message `n`, incompressible."""
    rng = random.Random(n)
    table = bytes(
        b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"[n % 64] for n in range(256)
    )
    data = rng.randbytes(MESSAGE).translate(table)
    return message(n, body="") + b"\r\n".join(data[at : at + 76] for at in range(0, len(data), 76)) + b"\r\n"


class Disk(unittest.TestCase):
    """The mount needs root, or a user namespace in which we are."""

    def setUp(self):
        self.top = tempfile.mkdtemp(prefix="disk-")
        self.mount = os.path.join(self.top, "tmpfs")
        os.mkdir(self.mount)
        subprocess.run(
            ["mount", "-t", "tmpfs", "-o", f"size={SIZE_MB}m,mode=700", "pillarbox-test", self.mount],
            check=True,
        )
        self.addCleanup(lambda: subprocess.run(["umount", "-l", self.mount]) and shutil.rmtree(self.top))
        self.server = Server(directory=os.path.join(self.mount, "store")).start()
        self.addCleanup(self.server.remove)
        self.addCleanup(self.server.stop)
        for user in harness.USERS:
            self.server.empty(user)

    def free(self):
        stat = os.statvfs(self.mount)
        return stat.f_bavail * stat.f_frsize

    def submit(self, n):
        """The final reply to message `n`, or the first that refuses it."""
        smtp = Smtp(self.server, user="bob")
        try:
            for command in (f"MAIL FROM:<bob@{DOMAIN}>", f"RCPT TO:<alice@{DOMAIN}>", "DATA"):
                reply = smtp.command(command)
                if reply[0] >= 400:
                    return reply
            smtp.send(noise(n) + b".\r\n")
            return smtp.reply()
        finally:
            smtp.close()

    def append(self, n):
        imap = Imap(self.server, user="alice", timeout=60)
        try:
            return imap.append("INBOX", noise(n))
        finally:
            imap.close()

    def bodies(self):
        return sorted(without_trace(data) for data in self.server.bodies("alice"))

    def fill(self):
        """Fills by both doors until both refuse; the messages taken, and the refusals."""
        taken, smtp_refusal, imap_refusal = [], None, None
        for n in range(1000):
            if not smtp_refusal:
                reply = self.submit(2 * n)
                if reply[0] == 250:
                    taken.append(noise(2 * n))
                else:
                    smtp_refusal = reply
            if not imap_refusal:
                answer = self.append(2 * n + 1)
                if answer.startswith(b"OK"):
                    taken.append(noise(2 * n + 1))
                else:
                    imap_refusal = answer
            if smtp_refusal and imap_refusal:
                return taken, smtp_refusal, imap_refusal
        self.fail("the disk never filled")

    def test_full_disk(self):
        taken, smtp_refusal, imap_refusal = self.fill()
        print(
            f"    {len(taken)} messages of {MESSAGE} bytes taken, {self.free()} bytes free; {smtp_refusal[:2]}; {imap_refusal}"
        )
        self.assertGreater(len(taken), 25)
        self.assertEqual(smtp_refusal[0], 452)
        self.assertTrue(smtp_refusal[1].startswith(b"4.3.1"), smtp_refusal)
        self.assertRegex(imap_refusal, rb"^NO \[(OVERQUOTA|UNAVAILABLE)\]")

        # Still refused, still serving: nothing that was acknowledged is lost.
        self.expect_refusals()
        self.assertEqual(self.bodies(), sorted(taken))
        pop = Pop(self.server, user="alice")
        self.assertEqual(int(pop.ok("STAT").split()[1]), len(taken))
        pop.ok("QUIT")

        # Worse: something else eats the rest of the disk to the last block.
        self.eat_all()
        self.expect_refusals()
        self.assertEqual(self.bodies(), sorted(taken))

        # Deletion works on the full disk.
        kept = self.delete_five(taken)

        # Killed while full: it comes back, with everything.
        self.server.kill()
        self.server.start()
        self.assertEqual(self.bodies(), kept)
        self.expect_refusals()
        kept = self.delete_five(kept)

        # Again, and now the ballast's room is eaten too.
        self.server.kill()
        for _ in range(2):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(os.path.join(self.server.directory, "ballast"))
            self.eat_all()
            self.server.start()
            self.assertEqual(self.bodies(), kept)
            self.expect_refusals()
            self.server.kill()
        self.server.start()
        self.assertEqual(self.bodies(), kept)

        # Room again: service resumes by itself, and what was deleted gives its space back.
        os.unlink(os.path.join(self.mount, "glutton"))
        wait_for(lambda: self.accepted(6000), 30, every=0.5, message="submission does not resume")
        self.assertTrue(wait_for(lambda: self.append(6001).startswith(b"OK"), 30, every=0.5))
        self.assertEqual(self.bodies(), sorted(kept + [noise(6000), noise(6001)]))

    def eat_all(self):
        """Fills the disk to its last block with a file of somebody else's."""
        with open(os.path.join(self.mount, "glutton"), "ab", buffering=0) as glutton:
            try:
                while True:
                    glutton.write(b"x" * 4096)
            except OSError:
                self.assertLess(self.free(), 4096)

    def expect_refusals(self):
        refusal = self.submit(5000)
        self.assertEqual(refusal[0], 452)
        self.assertTrue(refusal[1].startswith(b"4.3.1"), refusal)
        self.assertRegex(self.append(5001), rb"^NO \[(OVERQUOTA|UNAVAILABLE)\]")

    def delete_five(self, there):
        """The first five messages go; what is left."""
        imap = Imap(self.server, user="alice")
        imap.ok("SELECT INBOX")
        imap.ok(r"STORE 1:5 +FLAGS.SILENT (\Deleted)")
        imap.ok("EXPUNGE")
        imap.close()
        kept = self.bodies()
        self.assertEqual(len(kept), len(there) - 5)
        self.assertEqual(set(kept) - set(there), set())
        return kept

    def accepted(self, n):
        try:
            return self.submit(n)[0] == 250
        except Closed:
            return False

    def bring(self, size, announced):
        """Another server brings a message of `size` bytes: the replies to MAIL, RCPT, DATA and
        its end, up to the first that refuses."""
        with socket.create_connection(("127.0.0.1", self.server.base + 25), 60) as s:
            file, replies = s.makefile("rb"), []

            def reply():
                while (line := file.readline())[3:4] == b"-":
                    pass
                return line.decode().strip()

            reply()
            s.sendall(b"EHLO mx.far.test\r\n")
            reply()
            announced = f" SIZE={size}" if announced else ""
            for line in (f"MAIL FROM:<ann@far.test>{announced}", f"RCPT TO:<alice@{DOMAIN}>", "DATA"):
                s.sendall(line.encode() + b"\r\n")
                replies.append(reply())
                if replies[-1] >= "4":
                    return replies
            line = b"x" * 998 + b"\r\n"
            s.sendall(b"From: ann@far.test\r\n\r\n" + line * (size // 1000) + b".\r\n")
            return replies + [reply()]

    def leave(self, room):
        """Fills the disk but for so many bytes."""
        with open(os.path.join(self.mount, "glutton"), "wb", buffering=0) as glutton:
            while self.free() > room:
                glutton.write(b"x" * min(1 << 16, self.free() - room + 1))

    def test_mail_from_other_servers_waits_for_room_too(self):
        """It is spooled until it is judged: that needs room of its own (452, RFC 3463 4.3.1)."""
        # Between the reserve of 8 MiB and what two such messages need.
        self.leave(16 << 20)
        refusal = "452 4.3.1 There is no room for mail now, try later"
        self.assertEqual(self.bring(20_000_000, True), ["250 2.1.0 Ok", "250 2.1.5 Ok", refusal])
        free = self.free()
        replies = self.bring(20_000_000, False)
        self.assertEqual([it[:3] for it in replies], ["250", "250", "354", "452"], replies)
        self.assertEqual(replies[-1], refusal)
        # What was spooled of it is gone, and the reserve was never touched.
        wait_for(lambda: self.free() >= free - (1 << 20), 20, message="the spool stays")
        self.assertEqual(self.bodies(), [])
        self.assertEqual(self.bring(500_000, True)[-1][:3], "250")
        os.unlink(os.path.join(self.mount, "glutton"))
        resumed = lambda: self.bring(9_000_000, True)[-1][:3] == "250"
        wait_for(resumed, 30, every=0.5, message="it does not resume")
        self.assertEqual(len(self.server.bodies("alice")), 2)

    def test_space_of_deleted_mail_is_used_again(self):
        """Three times the disk's size goes through it, deleted in between."""
        n = 10_000
        for _ in range(8):
            for _ in range(30):
                n += 1
                answer = wait_for(
                    lambda: (lambda a: a if a.startswith(b"OK") else None)(self.append(n)),
                    30,
                    every=0.3,
                    message="no room though all was deleted",
                )
                self.assertTrue(answer.startswith(b"OK"))
            self.server.empty("alice")


if __name__ == "__main__":
    if os.geteuid() != 0:
        os.execvp("unshare", ["unshare", "--map-root-user", "--mount", sys.executable, *sys.argv])
    harness.main()
