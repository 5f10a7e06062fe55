"""`pillarbox check`: beside a server that delivers, and on the files of a stopped one, of which
bytes are flipped: what is damaged is named, and mail programs read all the rest."""

import glob
import imaplib
import os
import poplib
import pty
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import unittest

import harness
from harness import PASSWORD, Server, ServerCase, binary, message, wait_for

SEED = int(os.environ.get("PILLARBOX_SEED", random.randrange(1 << 32)))
SOUND, FAILED, REPAIRABLE, DAMAGED, UNFINISHED = range(5)


def check(directory, *words):
    """Exit code, and what is printed."""
    done = subprocess.run(
        [binary(), "check", "--dir", directory, *words], capture_output=True, text=True, timeout=300
    )
    return done.returncode, done.stdout + done.stderr


class Beside(ServerCase):
    def test_a_running_server_is_sound_and_delivers_all_the_while(self):
        """The check changes nothing, and nobody waits for it."""
        self.server.append("bob", "INBOX", [message(n, body=f"{n} " * 3000) for n in range(50)])
        code, said = check(self.server.directory)
        self.assertEqual(code, SOUND, said)
        self.assertIn("All is well.", said)
        # What it can't see is said with how to see it, and the verdict is kept.
        self.assertIn("stop it and check again", said)
        status = self.server.cli("status")
        self.assertRegex(status, r"(?m)^Last check +all is well \(\d+ s ago\)$")
        self.assertRegex(status, rf"(?m)^Programs +inside: imap \S+:{self.server.port('imaps')} tls, pop3 ")
        over = threading.Event()
        results = []

        def checks():
            while not over.is_set():
                results.append(check(self.server.directory, "--repair"))

        def append(count):
            client = self.server.imap()
            times = []
            for n in range(count):
                began = time.monotonic()
                self.assertEqual(client.append("INBOX", None, None, message(n))[0], "OK")
                times.append(time.monotonic() - began)
            client.logout()
            return statistics.median(times) * 1000, max(times) * 1000

        quiet = append(100)
        beside = threading.Thread(target=checks)
        beside.start()
        busy = append(100)
        over.set()
        beside.join()
        print(f"  an APPEND took {quiet[0]:.1f} ms (at most {quiet[1]:.1f}), beside a check "
              f"{busy[0]:.1f} ms (at most {busy[1]:.1f})")
        # Half of them; the slowest is the machine's.
        self.assertLess(busy[0], quiet[0] + 50)
        for code, said in results:
            self.assertIn(code, (SOUND, UNFINISHED), said)
            self.assertNotIn("damaged", said)

    def test_one_check_at_a_time_that_ends_when_told(self):
        self.server.append("carol", "INBOX", [message(n, body="x" * 200000) for n in range(20)])
        first = subprocess.Popen(
            [binary(), "check", "--dir", self.server.directory], stdout=subprocess.PIPE, text=True
        )
        said, _ = first.communicate(timeout=300)
        self.assertEqual(first.returncode, SOUND, said)
        self.assertIn("The check ends.", check(self.server.directory, "--stop")[1])


class Damaged(unittest.TestCase):
    """Each on a copy of one stopped server's files."""

    @classmethod
    def setUpClass(cls):
        print(f"  seed {SEED}")
        cls.random = random.Random(SEED)
        server = Server().start()
        server.empty("alice")
        cls.sent = [message(n, body="".join(f"{cls.random.random()}\r\n" for _ in range(40 + 40 * n)))
                    for n in range(30)]
        cls.sent.append(message(30, body="y" * 70 + "\r\n" + cls.random.randbytes(300_000).hex()))
        server.append("alice", "INBOX", cls.sent)
        server.append("bob", "Archive", cls.sent[:10])
        server.stop()
        cls.base = server.base
        cls.original = server.directory
        cls.copies = []

    @classmethod
    def tearDownClass(cls):
        for directory in (cls.original, *cls.copies):
            shutil.rmtree(directory, ignore_errors=True)

    def copy(self):
        directory = tempfile.mkdtemp(prefix="check-")
        shutil.rmtree(directory)
        shutil.copytree(self.original, directory)
        self.copies.append(directory)
        return directory

    def flip(self, path, at):
        with open(path, "r+b") as f:
            f.seek(at)
            byte = f.read(1)[0]
            f.seek(at)
            f.write(bytes([byte ^ (1 << self.random.randrange(8))]))

    def serve(self, directory):
        """As a mail server, not as a demo, which would add to it."""
        server = Server(directory=directory)
        server.announces = None
        command = [binary(), "serve", "--dir", directory, "--port-base", str(server.base)]
        server.command = lambda: command
        return server.start()

    def read_all(self, server, user, mailbox):
        """Messages that come, and how many don't; one session for all of them."""
        client = server.imap(user)
        _, count = client.select(mailbox, readonly=True)
        found, lost = [], 0
        for n in range(1, int(count[0]) + 1):
            try:
                status, answer = client.fetch(str(n), "(BODY.PEEK[])")
            except imaplib.IMAP4.abort:
                # Damaged far behind its announced length: once, then it is refused.
                client = server.imap(user)
                client.select(mailbox, readonly=True)
                status, answer = client.fetch(str(n), "(BODY.PEEK[])")
                self.assertEqual(status, "NO")
            parts = [part[1] for part in answer if isinstance(part, tuple)]
            if status == "OK":
                found += parts
            else:
                self.assertEqual(parts, [])
                self.assertIn(b"CORRUPTION", answer[0])
                lost += 1
        self.assertEqual(client.noop()[0], "OK")
        client.logout()
        return found, lost

    def test_a_terminal_shows_how_far_it_is_and_nobody_else_does(self):
        """On one line that is written over and cleared, before the verdict."""
        directory = self.copy()
        words = [binary(), "check", "--dir", directory]
        terminal, line = pty.openpty()
        checking = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=line, stderr=line)
        os.close(line)
        said = b""
        while True:
            try:
                data = os.read(terminal, 4096)
            except OSError:
                # The other end is closed.
                break
            if not data:
                break
            said += data
        os.close(terminal)
        self.assertEqual(checking.wait(60), SOUND, said)
        self.assertTrue(said.startswith(b"\rchecking pages"), said)
        # A line of nothing lies over what was shown, and the verdict follows.
        self.assertRegex(said, rb"\r {14,}\r\d+ messages, .*\r\nAll is well\.\r\n$")
        self.assertNotIn("checking", check(directory)[1])

    def test_a_sound_store(self):
        directory = self.copy()
        code, said = check(directory)
        self.assertEqual(code, SOUND, said)
        self.assertEqual(check(directory, "--quick")[0], SOUND)

    def test_flipped_bytes_in_the_files_of_messages(self):
        """Some messages are lost and named; all others come as they were sent."""
        for _ in range(3):
            directory = self.copy()
            for _ in range(6):
                paths = sorted(glob.glob(os.path.join(directory, "mail", "*.seg")))
                path = self.random.choice(paths)
                self.flip(path, self.random.randrange(os.path.getsize(path)))
            code, said = check(directory, "--repair")
            named = said.count("alice@demo.test INBOX UID"), said.count("bob@demo.test Archive UID")
            self.assertIn(code, (SOUND, DAMAGED), said)
            if code == SOUND:
                self.assertEqual(named, (0, 0), said)
            server = self.serve(directory)
            try:
                lost = []
                for user, mailbox, sent in (("alice", "INBOX", self.sent), ("bob", "Archive", self.sent[:10])):
                    found, gone = self.read_all(server, user, mailbox)
                    self.assertEqual(len(found) + gone, len(sent))
                    self.assertTrue(all(it in sent for it in found))
                    lost.append(gone)
                self.assertEqual(tuple(lost), named, said)
                self.pop(server, named[0])
                again, said = check(directory)
                self.assertEqual(again, code, said)
            finally:
                server.stop()
                os.unlink(server.log)

    def pop(self, server, lost):
        client = poplib.POP3_SSL("localhost", server.port("pop3s"), context=server.tls(), timeout=60)
        client.user("alice")
        client.pass_(PASSWORD)
        count, _ = client.stat()
        refused = 0
        for n in range(1, count + 1):
            try:
                lines = client.retr(n)[1]
                self.assertIn(b"\r\n".join(lines) + b"\r\n", self.sent)
            except poplib.error_proto as error:
                self.assertIn(b"-ERR", error.args[0])
                refused += 1
        self.assertEqual(refused, lost)
        client.quit()

    def test_flipped_bytes_in_the_database(self):
        """It is said before anything is opened, nothing is written, and nothing else is said."""
        found = 0
        for _ in range(10):
            directory = self.copy()
            path = os.path.join(directory, "meta.redb")
            self.flip(path, self.random.randrange(os.path.getsize(path)))
            with open(path, "rb") as f:
                before = f.read()
            code, said = check(directory, "--repair")
            if code == DAMAGED and "meta.redb has pages" in said:
                found += 1
                with open(path, "rb") as f:
                    self.assertEqual(f.read(), before)
            else:
                # A free page, which nobody reads.
                self.assertEqual(code, SOUND, said)
        print(f"  {found} of 10 flipped bytes were in pages that are in use")

    def test_a_missing_file_of_messages(self):
        directory = self.copy()
        path = sorted(glob.glob(os.path.join(directory, "mail", "*.seg")))[-1]
        os.unlink(path)
        code, said = check(directory, "--quick", "--repair")
        self.assertEqual(code, DAMAGED, said)
        self.assertIn(os.path.basename(path), said)

    def test_no_store(self):
        code, said = check(os.path.join(self.original, "nowhere"))
        self.assertEqual(code, FAILED, said)


if __name__ == "__main__":
    harness.main()
