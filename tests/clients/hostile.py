"""What the tests of hostile clients share: a well-behaved neighbour that must notice
nothing, a limit on memory, and ways to be rude."""

import random
import threading
import time

from harness import DOMAIN, ServerCase, message
from wire import Closed, Imap, Line

MEMORY_LIMIT = 96_000_000
LATENCY_LIMIT = 1.0
SEED = 13
PLAIN = ("imap", "pop3", "submission")
IMPLICIT = ("imaps", "pop3s", "submissions")
ALICE, BOB = f"alice@{DOMAIN}", f"bob@{DOMAIN}"


class Neighbour(threading.Thread):
    """A well-behaved IMAP session that works on, and the longest it had to wait."""

    def __init__(self, server):
        super().__init__(daemon=True)
        self.imap = Imap(server, user="carol")
        self.imap.ok("SELECT INBOX")
        self.worst, self.rounds, self.error, self.over = 0.0, 0, None, False

    def run(self):
        while not self.over:
            began = time.monotonic()
            try:
                self.imap.ok("NOOP")
                self.imap.ok("FETCH 1 (FLAGS ENVELOPE BODY.PEEK[])")
            except (OSError, Closed, AssertionError) as error:
                self.error = error
                return
            self.worst = max(self.worst, time.monotonic() - began)
            self.rounds += 1
            time.sleep(0.02)


class Hostile(ServerCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.server.empty("carol")
        cls.server.append("carol", "INBOX", [message(1)])

    def setUp(self):
        self.server.empty("alice")
        self.server.reset_memory_peak()
        self.neighbour = Neighbour(self.server)
        self.neighbour.start()
        self.rng = random.Random(SEED)

    def tearDown(self):
        self.neighbour.over = True
        self.neighbour.join(10)
        self.neighbour.imap.close()
        self.assertIsNone(self.neighbour.error, "the session beside it broke")
        self.assertLess(self.neighbour.worst, LATENCY_LIMIT, "the session beside it had to wait")
        self.assertIsNone(self.server.process.poll(), "the server ended")
        self.assertLess(self.server.memory_peak(), MEMORY_LIMIT)

    def hostile(self, service, data, seconds=15, tls=None):
        """Sends `data`, repeated callables allowed, and gives all that the server says until it
        closes or falls silent for a moment."""
        line = Line(self.server, service, tls=tls, timeout=seconds, greeting=tls is not False)
        try:
            for piece in data if isinstance(data, (list, tuple)) else [data]:
                line.send(piece)
        except OSError:
            pass
        line.socket.settimeout(1.5)
        answer = line.rest()
        line.close()
        return answer

    def imap(self):
        client = Imap(self.server, user="alice")
        self.addCleanup(client.close)
        return client

    def refused(self, client, command):
        """The command gets NO or BAD, or the connection is closed with a BYE."""
        try:
            _, tagged = client.command(command)
        except (Closed, OSError):
            return
        self.assertRegex(tagged, rb"^(NO|BAD) ", command[:80])
