"""Outgoing mail: the queue against a peer that misbehaves in each way there is, notices, the
owner's commands, and a run with kill -9 in between against Debian's Postfix.

PILLARBOX_QUEUE (300 unless given) is how many messages that run queues, PILLARBOX_QUEUE_KILLS
(4) how often it kills. The full size is 10000 and 20."""

import imaplib
import os
import random
import re
import smtplib
import socket
import subprocess
import threading
import time
import unittest

import harness
from harness import DOMAIN, PASSWORD, Server, wait_for
from faulty import Faulty, Postfix, Slow

MESSAGES = int(os.environ.get("PILLARBOX_QUEUE", "300"))
KILLS = int(os.environ.get("PILLARBOX_QUEUE_KILLS", "4"))
# Connections to one server at once: as many messages may be cut off by one kill.
CONNECTIONS = 4
LARGE = 50 << 20
MEMORY = 32 << 20


class Serving(Server):
    """`pillarbox serve` with accounts at two domains, which have routes of their own."""

    announces = None
    hostname = f"mail.{DOMAIN}"

    def __init__(self, *options):
        super().__init__()
        self.options = options
        for address in (f"alice@{DOMAIN}", "bob@other.test"):
            self.admin("account", "add", address, "--no-welcome", "--password-stdin", said=PASSWORD)

    def command(self):
        return [
            harness.binary(), "--log", "info", "serve", "--dir", self.directory,
            "--port-base", str(self.base), "--address", "127.0.0.1",
            "--hostname", self.hostname, "--no-direct",
            "--max-new-recipients-per-day", "0", *self.options,
        ]

    def imap(self, user):
        client = imaplib.IMAP4("127.0.0.1", self.port("imap"), timeout=60)
        client.login(user, PASSWORD)
        return client

    def admin(self, *words, said=None):
        done = subprocess.run(
            [harness.binary(), *words, "--dir", self.directory],
            input=said, capture_output=True, text=True, timeout=120,
        )
        if done.returncode != 0:
            raise AssertionError((words, done.stdout, done.stderr))
        return done.stdout

    def route(self, domain, port):
        self.admin("route", "set", domain, "--host", "127.0.0.1", "--port", str(port), "--tls", "none")

    def submit(self, sender, recipients, label, body="hello\r\n", mail=(), rcpt=()):
        client = smtplib.SMTP("127.0.0.1", self.port("submission"), timeout=60)
        try:
            client.ehlo()
            client.login(sender, PASSWORD)
            client.sendmail(sender, recipients, text(sender, label, body), list(mail), list(rcpt))
        finally:
            client.close()

    def waits(self):
        """Rows of the queue's list, as words."""
        lines = self.admin("queue", "list").splitlines()
        return [] if lines == ["Nothing waits."] else [line.split() for line in lines[1:]]

    def empty_queue(self, seconds=60):
        try:
            wait_for(lambda: not self.waits(), seconds, 0.2, "the queue does not empty")
        except AssertionError as error:
            # What keeps them, since only that tells a slow machine from a lost message.
            rows = "\n".join(" ".join(row) for row in self.waits()[:5])
            raise AssertionError(f"{error}\n{rows}\n{self.log_tail()}") from None


def text(sender, label, body="hello\r\n"):
    return (
        f"From: {sender}\r\nTo: somebody@remote.test\r\nSubject: {label}\r\n"
        f"Date: Mon, 2 Feb 2026 10:00:00 +0000\r\nMessage-ID: <{label}@{DOMAIN}>\r\n\r\n{body}"
    )


def fill(server, count):
    """Submits so many messages from four clients; their subjects."""
    labels = [f"m{n}" for n in range(count)]
    errors = []

    def submit(share):
        try:
            client = smtplib.SMTP("127.0.0.1", server.port("submission"), timeout=60)
            client.login(f"alice@{DOMAIN}", PASSWORD)
            for label in share:
                to = [f"{label}@remote.test"]
                client.sendmail(f"alice@{DOMAIN}", to, text(f"alice@{DOMAIN}", label, "x" * 50 + "\r\n" * 3))
            client.quit()
        except (OSError, smtplib.SMTPException) as error:
            errors.append(error)

    threads = [threading.Thread(target=submit, args=(labels[n::4],)) for n in range(4)]
    [it.start() for it in threads]
    [it.join() for it in threads]
    assert not errors, errors
    return labels


class Faults(unittest.TestCase):
    """Alice's mail goes by a peer that misbehaves, Bob's by a sound one."""

    @classmethod
    def setUpClass(cls):
        cls.server = Serving(
            "--retry-after", "1s", "--retry-every", "2s", "--tell-delay-after", "3s",
            "--give-up-after", "9s",
        )
        cls.server.start()
        cls.faulty, cls.sound = Faulty(), Faulty(extensions=("PIPELINING", "DSN", "SIZE 100000000"))
        cls.server.route(DOMAIN, cls.faulty.port)
        cls.server.route("other.test", cls.sound.port)

    @classmethod
    def tearDownClass(cls):
        try:
            cls.server.stop()
        finally:
            cls.server.remove()
            cls.faulty.stop()
            cls.sound.stop()

    def setUp(self):
        self.faulty.fault = None
        self.faulty.taken.clear()
        self.faulty.tries.clear()
        self.server.admin("queue", "drop", "--all")
        self.server.empty(f"alice@{DOMAIN}")

    def taken(self, peer, label):
        found = [it for it in peer.taken if f"Subject: {label}\r\n".encode() in it[2]]
        return found

    def notices(self, user=f"alice@{DOMAIN}"):
        return [it.decode(errors="replace") for it in self.server.bodies(user)]

    def test_what_was_submitted_arrives_byte_for_byte(self):
        body = "..dots\r\n.\r\n.x\r\n" + "grüße " * 20 + "\r\n" + "x" * 900 + "\r\n"
        message = text(f"alice@{DOMAIN}", "bytes", body).encode()
        client = smtplib.SMTP("127.0.0.1", self.server.port("submission"), timeout=60)
        client.login(f"alice@{DOMAIN}", PASSWORD)
        client.sendmail(f"alice@{DOMAIN}", ["x@remote.test"], message, ["BODY=8BITMIME"])
        client.quit()
        wait_for(lambda: self.taken(self.faulty, "bytes"), message="nothing came")
        (_, _, wire), = self.taken(self.faulty, "bytes")
        came = b"\r\n".join(line[1:] if line.startswith(b"..") else line for line in wire.split(b"\r\n"))
        self.assertTrue(came.endswith(message), came)
        trace = came[: -len(message)]
        self.assertRegex(trace, rb"^Received: [^\r]*\r\n(\t[^\r]*\r\n)*$")

    def test_each_recipient_fares_as_its_server_says(self):
        to = ["ok@remote.test", "no@remote.test", "twice@remote.test"]
        self.server.submit(f"alice@{DOMAIN}", to, "mixed", mail=["ENVID=QQ", "RET=FULL"])
        wait_for(lambda: len(self.taken(self.faulty, "mixed")) == 2, 20, message="two deliveries")
        self.server.empty_queue()
        told = wait_for(self.notices, message="no notice")
        self.assertEqual(len(told), 1, told)
        for expected in ("no@remote.test", "550 5.1.1 there is no such user", "Action: failed",
                         "Original-Envelope-Id: QQ", "Subject: mixed", "\r\nhello\r\n"):
            self.assertIn(expected, told[0])
        for other in ("ok@remote.test", "twice@remote.test"):
            self.assertNotIn(other, told[0])
        names = [sorted(re.findall("<(.*?)@", line)[0] for line in it[1]) for it in self.taken(self.faulty, "mixed")]
        self.assertEqual(names, [["ok"], ["twice"]])

    def test_a_delay_is_told_once_and_then_the_failure(self):
        self.server.submit(f"alice@{DOMAIN}", ["busy@remote.test"], "slow")
        wait_for(lambda: len(self.notices()) == 2, 30, 0.3, "two notices")
        delay, failure = self.notices()
        self.assertIn("Action: delayed", delay)
        self.assertIn("450 4.2.1 the mailbox is busy", delay)
        self.assertIn("Action: failed", failure)
        self.assertIn("Status: 5.4.7", failure)
        self.assertEqual(self.server.waits(), [])
        self.assertGreater(self.faulty.tries["busy"], 3)

    def test_who_asks_for_nothing_or_for_success_is_told_that(self):
        self.server.submit(f"alice@{DOMAIN}", ["no@remote.test"], "never", rcpt=["NOTIFY=NEVER"])
        self.server.submit(f"alice@{DOMAIN}", ["ok@remote.test"], "please", rcpt=["NOTIFY=SUCCESS"])
        told = wait_for(self.notices, message="no notice")
        self.assertIn("Action: relayed", told[0])
        # Where the next server knows DSN, it is told, and nobody else.
        self.server.submit("bob@other.test", ["ok@remote.test"], "pass",
                           mail=["RET=HDRS", "ENVID=E1"], rcpt=["NOTIFY=SUCCESS", "ORCPT=rfc822;x@y.test"])
        wait_for(lambda: self.taken(self.sound, "pass"), message="nothing came")
        sender, recipients, _ = self.taken(self.sound, "pass")[0]
        self.assertIn("RET=HDRS", sender)
        self.assertIn("ENVID=E1", sender)
        self.assertIn("NOTIFY=SUCCESS", recipients[0])
        self.assertIn("ORCPT=rfc822;x@y.test", recipients[0])
        self.server.empty_queue()
        self.assertEqual(len(self.notices()), 1)
        self.assertEqual(self.notices("bob@other.test"), [])

    def test_lost_after_the_dot_it_comes_again(self):
        self.server.submit(f"alice@{DOMAIN}", ["lost@remote.test"], "dot")
        wait_for(lambda: len(self.taken(self.faulty, "dot")) == 2, 20, message="no second time")
        self.server.empty_queue()
        time.sleep(3)
        self.assertEqual(len(self.taken(self.faulty, "dot")), 2)
        self.assertEqual(self.notices(), [])

    def test_garbage_and_lost_connections_cost_an_attempt_and_no_mail(self):
        for kind in ("garbage", "close"):
            for verb in ("CONNECT", "EHLO", "MAIL", "RCPT", "DATA"):
                with self.subTest(kind=kind, verb=verb):
                    label = f"{kind}-{verb}"
                    self.faulty.fault = (kind, verb)
                    before = self.faulty.connections
                    self.server.submit(f"alice@{DOMAIN}", ["a@remote.test"], label)
                    # An idle connection that was kept is not tried from its start.
                    wait_for(lambda: self.faulty.connections > before or self.taken(self.faulty, label), 20)
                    self.faulty.fault = None
                    if not self.taken(self.faulty, label):
                        self.server.admin("queue", "retry", "--all")
                    wait_for(lambda: self.taken(self.faulty, label), 75, 0.1, f"{label} is lost")
                    self.server.empty_queue()
                    self.assertEqual(len(self.taken(self.faulty, label)), 1)
        self.assertEqual(self.notices(), [])

    def test_the_owner_sees_and_steers(self):
        self.server.submit(f"alice@{DOMAIN}", ["busy@remote.test"], "seen")
        rows = wait_for(lambda: [it for it in self.server.waits() if "450" in it], message="no row")
        number = rows[0][0]
        self.assertIn("busy@remote.test", rows[0])
        self.server.admin("queue", "hold", number)
        self.assertEqual(self.server.waits()[0][1], "held")
        shown = self.server.admin("queue", "show", number)
        self.assertIn("127.0.0.1 said: 450 4.2.1 the mailbox is busy", shown)
        tries = self.faulty.tries["busy"]
        time.sleep(3)
        self.assertEqual(self.faulty.tries["busy"], tries)
        self.assertEqual(self.server.admin("queue", "release", "--all"), "1 message released.\n")
        wait_for(lambda: self.faulty.tries["busy"] > tries, message="not released")
        self.assertEqual(self.server.admin("queue", "drop", number), "1 message dropped.\n")
        self.assertEqual(self.server.waits(), [])
        # It may have taken long enough for a notice of delay; of what is dropped nobody is told.
        self.assertEqual([it for it in self.notices() if "Action: delayed" not in it], [])


class Live(unittest.TestCase):
    """Settings of the queue, changed while it runs."""

    @classmethod
    def setUpClass(cls):
        cls.server = Serving()
        cls.server.start()
        cls.peer = Faulty()
        cls.server.route("default", cls.peer.port)

    @classmethod
    def tearDownClass(cls):
        try:
            cls.server.stop()
        finally:
            cls.server.remove()
            cls.peer.stop()

    def settings(self, *words):
        command = [harness.binary(), "settings", "--dir", self.server.directory, *words]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
        self.assertEqual(done.returncode, 0, done.stderr)

    def tearDown(self):
        self.server.admin("queue", "drop", "--all")

    def is_open(self, port):
        try:
            socket.create_connection(("127.0.0.1", port), 5).close()
            return True
        except ConnectionRefusedError:
            return False

    def test_times_hold_from_the_next_attempt_and_sessions_go_on(self):
        session = self.server.imap(f"alice@{DOMAIN}")
        self.server.submit(f"alice@{DOMAIN}", ["busy@remote.test"], "patient")
        row, = wait_for(lambda: [it for it in self.server.waits() if "450" in it], message="no attempt")
        self.assertEqual(row[3], "min", "the default's pause")
        self.settings("set", "queue.retry-after", "1s", "queue.retry-every", "2s")
        self.server.admin("queue", "retry", "--all")
        wait_for(lambda: self.peer.tries["busy"] > 4, 60, 0.1, "the pauses stay as they were")
        self.settings("set", "queue.give-up-after", "1s")
        wait_for(lambda: not self.server.waits(), 60, 0.1, "it is not given up")
        self.assertEqual(session.select("INBOX")[0], "OK")
        told = session.fetch("1", "(BODY[])")[1][0][1]
        self.assertIn(b"Action: failed", told)
        session.logout()

    def test_a_route_back_to_a_port_that_was_moved_is_a_loop(self):
        self.settings("set", "smtp.port", "26")
        port = self.server.base + 26
        try:
            wait_for(lambda: self.is_open(port), 30, message="the port did not move")
            self.server.route("other.test", port)
            self.server.submit("bob@other.test", ["x@remote.test"], "back", rcpt=["NOTIFY=FAILURE"])
            told = wait_for(lambda: self.server.bodies("bob@other.test"), 60, message="no notice")
            self.assertIn(b"5.4.6", told[0])
        finally:
            self.server.admin("route", "remove", "other.test")
            self.settings("reset", "smtp.port")


class Stalls(unittest.TestCase):
    """A peer that says nothing any more, at each command."""

    def test_they_hold_up_nobody_else(self):
        self.server = Serving()
        faulty, sound = Faulty(), Faulty()
        try:
            self.server.start()
            self.server.route(DOMAIN, faulty.port)
            self.server.route("other.test", sound.port)
            for verb in ("EHLO", "MAIL", "RCPT", "DATA"):
                faulty.fault = ("stall", verb)
                before = faulty.connections
                self.server.submit(f"alice@{DOMAIN}", [f"a@{verb}.test"], verb)
                wait_for(lambda: faulty.connections > before, message="no connection")
                self.server.submit("bob@other.test", ["a@quick.test"], f"other-{verb}")
                wait_for(lambda: any(f"other-{verb}".encode() in it[2] for it in sound.taken), 5,
                         message="held up")
            # What is on its way is not called back, and does not keep the server from ending.
            self.assertEqual(len(self.server.waits()), 4)
            self.server.stop()
        finally:
            self.server.kill()
            self.server.remove()
            faulty.stop()
            sound.stop()


class Smuggling(unittest.TestCase):
    """What looks like the end of a message to some server ends it at none: peers with DATA
    alone, with CHUNKING, and with BINARYMIME too."""

    ENDS = [a + b"." + b for a in (b"\r\n", b"\n", b"\r") for b in (b"\r\n", b"\n", b"\r")]
    COMMANDS = b"MAIL FROM:<eve@evil.test>\r\nRCPT TO:<victim@remote.test>\r\nDATA\r\nSubject: no\r\n\r\nno"

    @classmethod
    def setUpClass(cls):
        cls.server = Serving()
        cls.server.admin("account", "add", "carol@third.test", "--no-welcome", "--password-stdin", said=PASSWORD)
        cls.server.start()
        cls.peers = {
            f"alice@{DOMAIN}": Faulty(("PIPELINING", "8BITMIME")),
            "bob@other.test": Faulty(("PIPELINING", "8BITMIME", "CHUNKING")),
            "carol@third.test": Faulty(("8BITMIME", "CHUNKING", "BINARYMIME")),
        }
        for sender, peer in cls.peers.items():
            cls.server.route(sender.split("@")[1], peer.port)

    @classmethod
    def tearDownClass(cls):
        try:
            cls.server.stop()
        finally:
            cls.server.remove()
            [it.stop() for it in cls.peers.values()]

    def bdat(self, sender, message):
        """Submits bytes as they are; the reply."""
        client = smtplib.SMTP("127.0.0.1", self.server.port("submission"), timeout=60)
        try:
            client.ehlo()
            client.login(sender, PASSWORD)
            self.assertEqual(client.mail(sender)[0], 250)
            self.assertEqual(client.rcpt("x@remote.test")[0], 250)
            client.send(b"BDAT %d LAST\r\n" % len(message) + message)
            return client.getreply()
        finally:
            client.close()

    def come(self, peer, label):
        wanted = b"Subject: " + label.encode() + b"\r\n"
        return [it[2] for it in peer.taken if wanted in it[2]]

    def test_no_text_ends_a_message_early(self):
        for sender, peer in self.peers.items():
            taken = 0
            for n, end in enumerate(self.ENDS):
                with self.subTest(sender=sender, end=end):
                    label = f"ends-{n}-"
                    message = text(sender, label).encode() + b"before" + end + self.COMMANDS + end
                    code, reply = self.bdat(sender, message)
                    # A CR or LF alone does not even come in, unless declared to be binary.
                    self.assertEqual(code, 250 if end == b"\r\n.\r\n" else 554, reply)
                    if code == 250:
                        taken += 1
                        wait_for(lambda: self.come(peer, label), message="nothing came")
            self.server.empty_queue()
            self.assertEqual(len(peer.taken), taken)
            for mail, recipients, wire in peer.taken:
                self.assertEqual(mail.split()[1], f"FROM:<{sender}>")
                self.assertEqual([it.split()[1] for it in recipients], ["TO:<x@remote.test>"])
                # By DATA a line never is a dot alone.
                by_data = sender.startswith("alice")
                self.assertEqual(wire.count(b"\r\n.\r\n"), 0 if by_data else 2, wire)
            peer.taken.clear()

    def test_a_message_is_passed_on_byte_for_byte(self):
        for sender, peer in self.peers.items():
            with self.subTest(sender=sender):
                body = b".\r\n..\r\n.x\r\n\r\n" + "grüße ".encode() * 20 + b"\r\n" + b"x" * 950 + b"\r\n.\r\n"
                message = text(sender, "whole").encode() + body
                self.assertEqual(self.bdat(sender, message)[0], 250)
                wire, = wait_for(lambda: self.come(peer, "whole"), message="nothing came")
                if sender.startswith("alice"):
                    wire = b"\r\n".join(it[1:] if it.startswith(b".") else it for it in wire.split(b"\r\n"))
                self.assertTrue(wire.endswith(message), wire)
                self.assertRegex(wire[: -len(message)], rb"^Received: [^\r]*\r\n(\t[^\r]*\r\n)*$")
                peer.taken.clear()


class Memory(unittest.TestCase):
    """10,000 messages wait while four of 50 MB are on their way to a server that is slow."""

    COUNT = 10_000

    def test_it_stays_under_32_mb(self):
        server, peer = Serving(), Slow()
        try:
            server.start()
            server.route("default", peer.port)
            line = "0123456789abcdef" * 4 + "\r\n"
            for n in range(4):
                server.submit(f"alice@{DOMAIN}", [f"large{n}@remote.test"], f"large{n}", line * (LARGE // len(line)))
            wait_for(lambda: peer.stalled == 4, 60, message="they are not on their way")
            labels = fill(server, self.COUNT)
            self.assertEqual(len(peer.taken), 0)
            queued = server.admin("queue", "list").splitlines()
            self.assertRegex(queued[-1], f"and {self.COUNT + 4 - 1000} recipients more")
            peer.go.set()
            wait_for(lambda: len(peer.sizes) == 4, 120, message="the large ones do not arrive")
            peak = server.memory_peak()
            print(f"    peak memory with {self.COUNT} queued and 4 of 50 MB on their way: {peak / 2**20:.1f} MB", flush=True)
            self.assertLess(peak, MEMORY)
            wait_for(lambda: len(peer.taken) == self.COUNT + 4, 300, message="not all arrived")
            self.assertEqual(set(peer.taken), set(labels) | {f"large{n}" for n in range(4)})
            self.assertEqual(set(peer.taken.values()), {1})
            self.assertLess(server.memory_peak(), MEMORY)
            server.empty_queue()
            server.stop()
        finally:
            server.kill()
            server.remove()
            peer.stop()


class Kills(unittest.TestCase):
    """MESSAGES in the queue, then Postfix comes, and the server is killed KILLS times. Each of
    its lives says EHLO by a name of its own, which Postfix writes into what it takes."""

    # Longest time without a message that arrives while any is due, seconds. Postfix may be slow
    # to sync; a wait of ours for one reply is longer, so that no such wait is taken for work.
    STILL = 240

    def test_all_arrive_and_none_twice_but_those_that_were_cut(self):
        self.server, self.postfix, self.life = Serving(), Postfix(), 0
        server, postfix = self.server, self.postfix
        try:
            self.live()
            server.route("default", postfix.port)
            labels = fill(server, MESSAGES)
            self.assertGreaterEqual(len({row[0] for row in server.waits()}), min(MESSAGES, 1000))
            postfix.start()
            labels += self.large(server)
            # Of what is on its way, not of how it came in.
            server.reset_memory_peak()
            server.admin("queue", "retry", "--all")
            self.cut(len(labels))
            self.drain()
            peak = server.memory_peak()
            print(f"    peak memory with {MESSAGES} queued and 4 of 50 MB: {peak / 2**20:.1f} MB", flush=True)
            self.assertLess(peak, MEMORY)
            self.judge(labels)
            server.stop()
        finally:
            server.kill()
            server.remove()
            postfix.stop()

    def live(self):
        """Starts the server under the next name."""
        self.life += 1
        self.server.hostname = f"life{self.life}.{DOMAIN}"
        self.server.start()

    def large(self, server):
        """Four messages of 50 MB, submitted while the others wait."""
        labels = [f"large{n}" for n in range(4)]
        line = "0123456789abcdef" * 4 + "\r\n"
        body = line * (LARGE // len(line))
        server.admin("queue", "hold", "--all")
        for label in labels:
            server.submit(f"alice@{DOMAIN}", [f"{label}@remote.test"], label, body)
        server.admin("queue", "release", "--all")
        return labels

    def cut(self, count):
        rng = random.Random(7)
        for n in range(KILLS):
            # Spread over the run: each kill waits for its share of the messages.
            share = count * (n + 1) // (KILLS + 2)
            self.moving(lambda: len(self.postfix.paths()) >= share)
            time.sleep(rng.random() / 5)
            self.server.kill()
            self.live()

    def drain(self):
        self.moving(lambda: not self.server.waits())

    def moving(self, done):
        """Waits until `done`, as long as messages arrive. What Postfix has put off, and that
        alone, is sent again before its time."""
        arrived, since = -1, time.monotonic()
        while not done():
            time.sleep(0.05)
            now = len(self.postfix.paths())
            if now > arrived:
                arrived, since = now, time.monotonic()
            still = time.monotonic() - since
            if still < 2:
                continue
            rows = self.server.waits()
            if rows and all(row[1] == "in" for row in rows):
                for row in map(" ".join, rows):
                    print(f"    put off: {row}", flush=True)
                    self.assertRegex(row, r"127\.0\.0\.1 said: 4\d\d ", self.server.log_tail())
                self.server.admin("queue", "retry", "--all")
            elif still > self.STILL:
                shown = "\n".join(map(" ".join, rows[:8]))
                self.fail(f"nothing arrives, and {len(rows)} wait\n{shown}\n{self.server.log_tail()}")
            time.sleep(1)

    def arrivals(self):
        """By subject, the life of the server in which each message came, and Postfix's number
        for it."""
        found = {}
        trace = rb"(?m)^Received: from life(\d+)\." + DOMAIN.encode() + rb"[^;]*? id (\w+)"
        for head in self.postfix.heads():
            label, came = re.search(rb"(?m)^Subject: (\S+)\r?$", head), re.search(trace, head)
            if label and came:
                found.setdefault(label.group(1).decode(), []).append((int(came.group(1)), came.group(2).decode()))
        return found

    def judge(self, labels):
        # Postfix delivers after its 250; its queue is empty when all of it is there.
        wait_for(lambda: set(self.arrivals()) >= set(labels) and self.postfix.is_empty(), 120, 1, "not all arrived")
        found = self.arrivals()
        self.assertEqual(set(found), set(labels))
        # Life: the connections whose message came again, because that life was cut short.
        cuts = {life: [] for life in range(1, self.life)}
        connections = self.postfix.connections()
        for label, came in found.items():
            # One life never sends it twice; each but the last was cut before our commit.
            self.assertEqual(len(came), len({life for life, _ in came}), (label, came))
            for life, number in sorted(came)[:-1]:
                cuts[life].append(connections[number])
        counts = [len(it) for it in cuts.values()]
        print(f"    {len(labels)} arrived, {len(cuts)} kills, {sum(counts)} came twice: "
              f"{' '.join(map(str, counts))} by kill", flush=True)
        for life, cut in cuts.items():
            self.assertEqual(len(cut), len(set(cut)), f"kill {life}: more than one of a connection")
            self.assertLessEqual(len(cut), CONNECTIONS, f"kill {life}")


if __name__ == "__main__":
    harness.main()
