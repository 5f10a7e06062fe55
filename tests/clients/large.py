"""A message of 50 MB: in by submission, BDAT and APPEND, out by FETCH and RETR, byte for
byte, while the server's peak resident memory stays under 32 MB."""

import hashlib
import random
import unittest

import harness
from harness import DOMAIN, new_server
from python_smtp import without_trace
from wire import Imap, Pop, Smtp

SIZE = 50_000_000
MEMORY_LIMIT = 32_000_000
CHUNK = 1 << 20


def large():
    """50 MB with a real-looking head: half base64-like noise, half repetitive text, dots too."""
    rng = random.Random(7)
    head = b"From: bob@demo.test\r\nTo: alice@demo.test\r\nSubject: The film\r\nDate: Mon, 2 Feb 2026 10:00:00 +0000\r\nMessage-ID: <film@demo.test>\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=film\r\n\r\n--film\r\nContent-Type: text/plain\r\n\r\n"
    text = (
        b"".join(b".%d lines of text that compress well\r\n" % n for n in range(600_000))[: SIZE // 2].rsplit(
            b"\r\n", 1
        )[0]
        + b"\r\n"
    )
    part = b"--film\r\nContent-Type: video/mp4\r\nContent-Transfer-Encoding: base64\r\n\r\n"
    table = bytes(
        b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"[n % 64] for n in range(256)
    )
    pieces = [head, text, part]
    have = sum(map(len, pieces))
    while have < SIZE - 10:
        noise = rng.randbytes(76 * 1000).translate(table)
        block = b"".join(noise[at : at + 76] + b"\r\n" for at in range(0, len(noise), 76))
        pieces.append(block)
        have += len(block)
    return b"".join(pieces)[: SIZE - 12].rstrip(b"\r\n") + b"\r\n--film--\r\n"


def digest(data):
    return len(data), hashlib.sha256(data).hexdigest()


class Large(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = new_server()
        cls.data = large()
        cls.server.empty("alice")
        # The memory is measured of a server that serves, not of one that makes its accounts.
        cls.server.stop()
        cls.server.start()
        cls.server.peak = 0

    @classmethod
    def tearDownClass(cls):
        cls.server.stop()
        cls.server.remove()

    def tearDown(self):
        peak = self.server.memory_peak()
        print(f"    peak resident memory so far {peak / 1e6:.1f} MB")
        self.assertLess(peak, MEMORY_LIMIT)

    def newest(self, partial=None):
        imap = Imap(self.server, user="alice", timeout=120)
        imap.ok("SELECT INBOX")
        untagged = imap.ok(f"FETCH * (BODY.PEEK[]{partial or ''})")
        imap.close()
        return next(it[2][1] for it in untagged if len(it) == 3 and it[1] == b"FETCH")

    def test_1_submission(self):
        smtp = Smtp(self.server, user="bob", timeout=120)
        reply = smtp.submit(f"bob@{DOMAIN}", [f"alice@{DOMAIN}"], self.data)
        self.assertEqual(reply[0], 250, reply)
        self.assertEqual(digest(without_trace(self.newest())), digest(self.data))

    def test_2_submission_by_bdat(self):
        smtp = Smtp(self.server, user="bob", timeout=120)
        smtp.expect(f"MAIL FROM:<bob@{DOMAIN}> SIZE={len(self.data)}", 250)
        smtp.expect(f"RCPT TO:<alice@{DOMAIN}>", 250)
        smtp.send(b"BDAT %d LAST\r\n" % len(self.data) + self.data)
        self.assertEqual(smtp.reply()[0], 250)
        self.assertEqual(digest(without_trace(self.newest())), digest(self.data))

    def test_3_append_and_fetch(self):
        imap = Imap(self.server, user="alice", timeout=120)
        self.assertTrue(imap.append("INBOX", self.data).startswith(b"OK"))
        imap.close()
        self.assertEqual(digest(self.newest()), digest(self.data))
        at = 44_444_444
        self.assertEqual(self.newest(f"<{at}.100000>"), self.data[at : at + 100_000])

    def test_4_retr(self):
        pop = Pop(self.server, user="alice", timeout=120)
        count = int(pop.ok("STAT").split()[1])
        pop.ok(f"RETR {count}")
        # Read by hand: unstuffing 50 MB line by line would take minutes.
        got = bytearray()
        while not got.endswith(b"\r\n.\r\n"):
            got += pop.take(len(pop.buffer)) if pop.buffer else pop.socket.recv(CHUNK)
        got = bytes(got)[:-3].replace(b"\r\n..", b"\r\n.")
        self.assertEqual(digest(got), digest(self.data))
        pop.ok("QUIT")

    def test_5_search_in_it(self):
        imap = Imap(self.server, user="alice", timeout=120)
        imap.ok("SELECT INBOX")
        untagged = imap.ok('SEARCH BODY "599999 lines of" SUBJECT film')
        self.assertEqual(len(untagged[0]) - 1, 0)
        untagged = imap.ok('SEARCH BODY "99999 lines of" SUBJECT film')
        self.assertGreater(len(untagged[0]) - 1, 0)
        imap.close()

    def test_6_deleting_gives_the_space_back(self):
        self.server.empty("alice")
        self.assertEqual(self.server.bodies("alice"), [])


if __name__ == "__main__":
    harness.main()
