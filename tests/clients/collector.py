"""Collectors: pillarbox fetches from Debian's Dovecot, and from another pillarbox, by IMAP and
POP3 over verified TLS; keeps, deletes and moves; nothing is lost and nothing comes twice,
whenever the connection or the server is cut."""

import imaplib
import os
import random
import re
import socket
import subprocess
import threading
import time
import unittest

import harness
import oracle
from harness import DOMAIN, PASSWORD, Server, binary, corpus, message, wait_for
from large import MEMORY_LIMIT, digest, large

KILLS = max(3, int(os.environ.get("PILLARBOX_KILLS", "50")) // 10)
SEED = 7
SOON = 20
# Longer than the pause after a first failure.
LATE = 60
RATE = 1000


def without_received(data):
    """A collected message as the provider had it; AssertionError without the Received line."""
    found = re.match(rb"Received: from [^\r]+\r\n(\t[^\r]+\r\n)+", data)
    assert found and b"(collected" in found.group(0), data[:200]
    return data[found.end() :]


def uids(text):
    """The numbers of a set; `n:*` goes to 9."""
    found = []
    for part in text.decode().replace("*", "9").split(","):
        low, _, high = part.partition(":")
        found += range(int(low), int(high or low) + 1)
    return found


def end_listening(listener, thread):
    """A thread that still waits in accept() would go on with whatever socket gets that number next:
    with the listener of a later test, to which it would give its own answers."""
    listener.shutdown(socket.SHUT_RDWR)
    thread.join()
    listener.close()


class Plain(oracle.Dovecot):
    """An old server: no UIDPLUS, no MOVE, no IDLE."""

    def prepare(self):
        super().prepare()
        with open(os.path.join(self.directory, "dovecot.conf"), "a") as f:
            f.write("imap_capability = IMAP4rev1 SASL-IR\n")


class Proxy:
    """A line between the collector and its provider that can be held or cut: `hook` is given
    what the client sends, and says `pass`, `hold` (nothing more goes on), `cut`, or `last`: that
    goes on, its answer does not come."""

    def __init__(self, port, address="127.0.0.1"):
        self.target = port
        self.hook = lambda data: "pass"
        self.held = threading.Event()
        self.listener = socket.create_server((address, 0))
        self.port = self.listener.getsockname()[1]
        self.thread = threading.Thread(target=self.accept, daemon=True)
        self.thread.start()

    def accept(self):
        while True:
            try:
                client, _ = self.listener.accept()
                server = socket.create_connection(("127.0.0.1", self.target))
            except OSError:
                return
            for source, to, hooked in ((client, server, True), (server, client, False)):
                threading.Thread(target=self.pump, args=(source, to, hooked), daemon=True).start()

    def pump(self, source, to, hooked):
        try:
            while data := source.recv(65536):
                verdict = self.hook(data) if hooked else "pass"
                if verdict != "pass":
                    self.held.set()
                if verdict == "hold":
                    continue
                if verdict == "cut":
                    break
                to.sendall(data)
                if verdict == "last":
                    break
        except OSError:
            pass
        for end in (source, to):
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def close(self):
        end_listening(self.listener, self.thread)


class Collecting(unittest.TestCase):
    """One server that fetches for alice, and one provider; each test has folders of its own."""

    provider_class = oracle.Dovecot

    @classmethod
    def setUpClass(cls):
        cls.provider = cls.provider_class().start()
        cls.server = Server().start()

    @classmethod
    def tearDownClass(cls):
        try:
            cls.server.stop()
            assert "panicked" not in cls.server.log_text(), "a panic in the log\n" + cls.server.log_tail()
            cls.provider.stop()
        finally:
            cls.server.remove()
            cls.provider.remove()

    def setUp(self):
        self.numbers = []
        self.provider.empty("bob")
        self.server.empty("alice")

    def tearDown(self):
        for number in self.numbers:
            self.cli("remove", number)

    def cli(self, *words, status=0, stdin=None):
        done = subprocess.run(
            [binary(), "collector", *map(str, words), "--dir", self.server.directory],
            input=stdin,
            stdin=subprocess.DEVNULL if stdin is None else None,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=60,
        )
        self.assertEqual(done.returncode, status, done.stdout)
        self.assertNotIn(PASSWORD, done.stdout)
        return done.stdout

    def add(self, protocol, *options, host="localhost", tls="implicit", ca=True, port=None):
        """`port`: of a double of ours on 127.0.0.1. localhost is ::1 first, where the same port may
        be another program's, who says what he likes or hangs up."""
        if port and tls == "none" and host == "localhost":
            host = "127.0.0.1"
        service = protocol + ("s" if tls == "implicit" else "")
        words = ["add", f"alice@{DOMAIN}", protocol, host, "--user", "bob", "--password-stdin", "--tls", tls]
        words += ["--port", port or self.provider.port(service)]
        words += ["--ca", self.provider.ca] if ca else []
        number = int(self.cli(*words, *options, stdin=PASSWORD + "\n").split()[1])
        self.numbers.append(number)
        return number

    def fill(self, count, mailbox="INBOX", first=0):
        """Puts messages into bob's mailbox at the provider; gives them."""
        messages = [message(n) for n in range(first, first + count)]
        self.provider.append("bob", mailbox, messages)
        return messages

    def there(self, mailbox="INBOX"):
        """How many messages the provider has."""
        return len(self.provider.bodies("bob", mailbox))

    def here(self, mailbox="INBOX"):
        return [without_received(data) for data in self.server.bodies("alice", mailbox)]

    def count(self, mailbox="INBOX"):
        client = self.server.imap("alice")
        status, answer = client.status(mailbox, "(MESSAGES)")
        client.logout()
        return int(re.search(rb"MESSAGES (\d+)", answer[0]).group(1)) if status == "OK" else 0

    def arrive(self, count, mailbox="INBOX", seconds=SOON):
        """Waits until exactly so many messages are here."""
        wait_for(lambda: self.count(mailbox) >= count, seconds, 0.1, f"{count} messages did not arrive")
        self.assertEqual(self.count(mailbox), count)

    def gone(self, mailbox="INBOX"):
        wait_for(lambda: self.there(mailbox) == 0, SOON, 0.1, "the provider keeps the messages")

    def state(self, number):
        return re.search(r"(?m)^state +(.*)$", self.cli("show", number)).group(1)

    def row(self, number, name):
        return re.search(rf"(?m)^{name} +(.*)$", self.cli("show", number)).group(1)


class FromDovecot(Collecting):
    def test_imap_idle_and_delete(self):
        wanted = [data for _, data in corpus() if b"\0" not in data]
        date = '"06-May-2024 07:08:09 +0200"'
        client = self.provider.imap("bob")
        for n, data in enumerate(wanted):
            flags = (None, "\\Seen \\Flagged", "$Work \\Deleted")[n % 3]
            status, answer = client.append("INBOX", flags, date, data)
            # Dovecot takes no empty message.
            self.assertEqual(status, "OK" if data else "NO", answer)
        had = self.provider.bodies("bob")
        number = self.add("imap", "--after", "delete", "--every", 3600)
        self.arrive(len(had))
        self.assertEqual(self.here(), had)
        mine = self.server.imap("alice")
        mine.select("INBOX", readonly=True)
        _, rows = mine.fetch("1:3", "(FLAGS INTERNALDATE)")
        self.assertNotIn(b"\\Seen", rows[0])
        self.assertIn(b"\\Seen", rows[1])
        self.assertIn(b"\\Flagged", rows[1])
        self.assertIn(b"$Work", rows[2])
        self.assertNotIn(b"\\Deleted", rows[2])
        self.assertTrue(all(b"-May-2024" in row for row in rows), rows)
        mine.logout()
        self.gone()
        # By IDLE: nobody looks again for an hour.
        began = time.monotonic()
        client.append("INBOX", None, None, message(1000))
        self.arrive(len(had) + 1)
        print(f"    told by IDLE: here after {time.monotonic() - began:.2f} s")
        client.logout()
        self.gone()
        self.assertEqual(self.state(number), "well")
        self.assertEqual(self.row(number, "taken"), str(len(had) + 1))

    def test_imap_keep_over_starttls(self):
        client = self.provider.imap("bob")
        client.create("Lists/Rust")
        client.logout()
        self.provider.empty("bob", "Lists/Rust")
        had = self.fill(5, "Lists/Rust")
        number = self.add(
            "imap", "--folder", "Lists/Rust", "--into", "Fetched/Büro", "--every", 10, tls="starttls"
        )
        self.arrive(5, "Fetched/B&APw-ro")
        self.server.stop()
        self.server.start()
        had += self.fill(2, "Lists/Rust", 5)
        self.arrive(7, "Fetched/B&APw-ro")
        self.cli("run", number)
        time.sleep(1)
        self.assertEqual(self.here("Fetched/B&APw-ro"), had)
        self.assertEqual(self.there("Lists/Rust"), 7)

    def test_imap_move(self):
        had = self.fill(60)
        number = self.add("imap", "--after", "move:Taken/Hier")
        self.arrive(60)
        self.assertEqual(self.here(), had)
        self.gone()
        self.assertEqual(self.there("Taken/Hier"), 60)
        self.assertEqual(self.state(number), "well")

    def pop3(self, tls):
        had = self.fill(12)
        number = self.add("pop3", "--every", 10, tls=tls)
        self.arrive(12)
        had += self.fill(2, first=12)
        self.cli("run", number)
        self.arrive(14)
        self.assertEqual(self.here(), had)
        self.assertEqual(self.there(), 14)
        self.cli("remove", self.numbers.pop())
        # Another one knows nothing of it: that is what the manual says.
        self.add("pop3", "--after", "delete", "--into", "Again", tls=tls)
        self.arrive(14, "Again")
        self.gone()
        self.server.empty("alice", "Again")

    def test_pop3(self):
        self.pop3("implicit")

    def test_pop3_starttls(self):
        self.pop3("starttls")

    def test_certificates_are_verified(self):
        self.fill(1)
        began = len(self.provider.log_text())
        for protocol, tls in (("imap", "implicit"), ("imap", "starttls"), ("pop3", "implicit"), ("pop3", "starttls")):
            number = self.add(protocol, ca=False, tls=tls)
            wait_for(lambda: "no TLS with localhost" in self.state(number), SOON, 0.2, "no refusal")
            self.assertIn("its certificate is signed by no authority", self.state(number))
        # The right authority, another name.
        other = Proxy(self.provider.port("imaps"), "127.0.0.2")
        number = self.add("imap", host="127.0.0.2", port=other.port)
        wait_for(lambda: "no TLS with 127.0.0.2" in self.state(number), SOON, 0.2, "no refusal")
        self.assertIn("another name", self.state(number))
        other.close()
        self.assertNotIn("user=<bob>, method", self.provider.log_text()[began:])
        self.assertEqual(self.count(), 0)

    def test_what_claims_to_be_our_word_is_taken_out(self):
        """Anybody who writes to the provider could have put it there (RFC 8601, 5)."""
        name = re.search(r"^220 (\S+)", self.server.greeting("submission")).group(1)
        forged = f"Authentication-Results: {name};\r\n\tspf=pass\r\nauthentication-results : {name.upper()} 1; none\r\n"
        theirs = "Authentication-Results: provider.example; spf=fail\r\n"
        body = message(1).decode()
        self.provider.append("bob", "INBOX", [(forged + theirs + forged + body + forged).encode()])
        for protocol in ("imap", "pop3"):
            self.add(protocol)
            self.arrive(1)
            self.assertEqual(self.here(), [(theirs + body + forged).encode()])
            self.cli("remove", self.numbers.pop())
            self.server.empty("alice")

    def test_nothing_leaves_without_tls(self):
        words = ["add", f"alice@{DOMAIN}", "imap", "imap.example.net", "--user", "bob", "--password-stdin"]
        told = self.cli(*words, "--tls", "none", status=1, stdin=PASSWORD + "\n")
        self.assertIn("another machine", told)

    def test_a_wrong_password_is_told(self):
        words = ["add", f"alice@{DOMAIN}", "imap", "localhost", "--user", "bob", "--password-stdin"]
        words += ["--port", self.provider.port("imaps"), "--ca", self.provider.ca]
        number = int(self.cli(*words, stdin="wrong wrong\n").split()[1])
        self.numbers.append(number)
        wait_for(lambda: "won't let us in" in self.state(number), SOON, 0.2, "no refusal")
        self.assertIn("won't let us in", self.cli("list"))
        self.assertNotIn("wrong wrong", self.server.log_text())

    def test_pause_and_resume(self):
        number = self.add("imap", "--every", 3600)
        wait_for(lambda: self.state(number) == "well", SOON, 0.1, "never well")
        self.cli("pause", number)
        self.assertEqual(self.state(number), "paused")
        self.fill(3)
        time.sleep(1)
        self.assertEqual(self.count(), 0)
        self.cli("resume", number)
        self.arrive(3)
        self.cli("remove", self.numbers.pop())
        self.fill(1, first=3)
        time.sleep(1)
        self.assertEqual(self.count(), 3)
        self.assertIn("there is no collector", self.cli("show", number, status=1))

    def test_rate(self):
        """Many small messages share a commit over here."""
        self.fill(RATE)
        for protocol in ("imap", "pop3"):
            mine = self.server.imap("alice")
            began = time.monotonic()
            self.add(protocol, "--every", 3600)
            have = lambda: f"MESSAGES {RATE}".encode() in mine.status("INBOX", "(MESSAGES)")[1][0]
            wait_for(have, 120, 0.02, "they did not arrive")
            seconds = time.monotonic() - began
            print(f"    {RATE} messages by {protocol}: {RATE / seconds:.0f} a second")
            mine.logout()
            self.cli("remove", self.numbers.pop())
            self.server.empty("alice")

    # Cuts.

    def cut_at(self, protocol, word, verdict, *options):
        """kill -9 where the client says `word`: held back, or passed on with its answer cut."""
        had = self.fill(30)
        proxy = Proxy(self.provider.port(protocol))
        proxy.hook = lambda data: verdict if word in data else "pass"
        number = self.add(protocol, *options, tls="none", ca=False, port=proxy.port)
        wait_for(proxy.held.is_set, SOON, message=f"{word} was never said")
        self.server.kill()
        proxy.hook = lambda data: "pass"
        self.server.start()
        self.arrive(30)
        wait_for(lambda: self.there() == 0, SOON, 0.1, "the provider keeps the messages")
        self.cli("run", number)
        wait_for(lambda: self.state(number) == "well", SOON, 0.1, "not well again")
        self.assertEqual(sorted(self.here()), sorted(had))
        self.cli("remove", self.numbers.pop())
        proxy.close()
        self.server.empty("alice")

    def test_killed_between_fetch_and_delete(self):
        for word in (b"UID STORE", b"UID EXPUNGE"):
            self.cut_at("imap", word, "hold", "--after", "delete")
        self.cut_at("imap", b"UID MOVE", "hold", "--after", "move:Taken")
        for word in (b"DELE 7", b"QUIT"):
            self.cut_at("pop3", word, "hold", "--after", "delete")

    def test_a_cut_connection_is_made_anew(self):
        for protocol, word in (("imap", b"UID FETCH 9 "), ("imap", b"UID EXPUNGE"), ("pop3", b"RETR 9"), ("pop3", b"QUIT")):
            self.provider.empty("bob")
            had = self.fill(20)
            proxy = Proxy(self.provider.port(protocol))
            cuts = []
            # The UIDs of a mailbox go on: any ninth fetch will do.
            def hook(data):
                if len(cuts) < 1 and (word in data or (b"UID FETCH" in data and b"BODY" in data and word == b"UID FETCH 9 ")):
                    cuts.append(word)
                    return "cut"
                return "pass"

            proxy.hook = hook
            number = self.add(protocol, "--after", "delete", tls="none", ca=False, port=proxy.port)
            wait_for(lambda: cuts, SOON, message="never cut")
            wait_for(lambda: "closed the connection" in self.state(number), SOON, 0.1, "no word of it")
            self.cli("run", number)
            self.arrive(20)
            self.gone()
            self.assertEqual(sorted(self.here()), sorted(had))
            self.cli("remove", self.numbers.pop())
            proxy.close()
            self.server.empty("alice")

    def cut_at_every_step(self, protocol):
        """Before what the client says, and before what it hears: at each of its steps."""
        words = []
        for verdict in ("cut", "last"):
            for step in range(1, 40):
                self.provider.empty("bob")
                had = self.fill(3)
                proxy = Proxy(self.provider.port(protocol))
                said = []
                # The first connection alone, and that once.
                proxy.hook = lambda data: said.append(data) or (verdict if len(said) == step else "pass")
                number = self.add(protocol, "--after", "delete", tls="none", ca=False, port=proxy.port)
                over = lambda: proxy.held.is_set() or self.state(number) == "well"
                wait_for(over, SOON, 0.05, "neither cut nor done")
                cut = proxy.held.is_set()
                self.cli("run", number)
                self.arrive(3, seconds=LATE)
                wait_for(lambda: self.state(number) == "well", LATE, 0.1, "not well")
                self.assertEqual(self.there(), 0)
                self.assertEqual(self.here(), had)
                self.assertEqual(self.row(number, "taken"), "3")
                self.cli("remove", self.numbers.pop())
                proxy.close()
                self.server.empty("alice")
                if not cut:
                    break
                words.append(said[step - 1][:20])
        return words

    def test_cut_at_every_step_of_imap(self):
        words = self.cut_at_every_step("imap")
        self.assertGreater(len(words), 10, words)

    def test_cut_at_every_step_of_pop3(self):
        words = self.cut_at_every_step("pop3")
        self.assertGreater(len(words), 14, words)

    def killed_anywhere(self, protocol, after):
        rng = random.Random(SEED)
        had = self.fill(300)
        number = self.add(protocol, "--after", after, "--every", 10)
        for _ in range(KILLS):
            time.sleep(rng.uniform(0.05, 0.6))
            self.server.kill()
            self.server.start()
        self.cli("run", number)
        self.arrive(300, seconds=60)
        if after == "delete":
            self.gone()
        wait_for(lambda: self.state(number) == "well", SOON, 0.1, "not well")
        self.assertEqual(self.row(number, "taken"), "300")
        self.assertEqual(sorted(self.here()), sorted(had))

    def test_killed_anywhere_imap_delete(self):
        self.killed_anywhere("imap", "delete")

    def test_killed_anywhere_imap_keep(self):
        self.killed_anywhere("imap", "keep")

    def test_killed_anywhere_pop3_delete(self):
        self.killed_anywhere("pop3", "delete")

    # Room.

    def quota(self, words):
        self.server.cli("account", "set", f"alice@{DOMAIN}", "quota", words)

    def used(self):
        """KiB of alice's mail, rounded up."""
        client = self.server.imap("alice")
        _, answer = client.getquota('""')
        client.logout()
        return int(re.search(rb"STORAGE (\d+)", answer[0]).group(1))

    def nearly_full(self, protocol):
        """What fits comes, in order; the rest waits over there, until there is room."""
        self.addCleanup(self.quota, "default")
        # Not INBOX: there the account is warned that it is nearly full.
        self.server.empty("alice", "Room")
        sized = lambda n, kib: message(n, body=("x" * 62 + "\r\n") * (16 * kib))
        had = [sized(n, 20) for n in range(10)]
        self.quota("1GiB")
        free = self.used() + 90
        self.quota(f"{free}KiB")
        # One that never fits holds up no other.
        never = sized(10, free + 100)
        self.provider.append("bob", "INBOX", [had[0], never, *had[1:]])
        number = self.add(protocol, "--after", "delete", "--every", 10, "--into", "Room")
        full = lambda: "the mailbox here is full" in self.state(number)
        wait_for(full, SOON, 0.1, "no word of it")
        self.assertEqual(self.here("Room"), had[:4])
        self.assertEqual(self.provider.bodies("bob"), [never, *had[4:]])
        self.assertIn("the mailbox here is full", self.cli("list"))
        # Looking again changes nothing.
        looks = lambda: self.provider.log_text().count("Disconnected: ")
        before = looks()
        self.cli("run", number)
        wait_for(lambda: looks() > before, SOON, 0.1, "it did not look")
        self.assertTrue(full())
        self.assertEqual(self.count("Room"), 4)
        # By itself, when some went: as many as went come, though it is full again then.
        mine = self.server.imap("alice")
        mine.select("Room")
        mine.store("1:2", "+FLAGS", "\\Deleted")
        mine.expunge()
        mine.logout()
        self.arrive(4, "Room", seconds=40)
        wait_for(lambda: self.there() == 5, SOON, 0.1, "the provider keeps what was taken")
        self.assertEqual(self.here("Room"), had[2:6])
        # And by itself when there is more room.
        self.quota("0")
        self.arrive(9, "Room", seconds=40)
        self.gone()
        self.assertEqual(sorted(self.here("Room")), sorted([never, *had[2:]]))
        wait_for(lambda: self.state(number) == "well", SOON, 0.1, "not well")
        self.assertEqual(self.row(number, "taken"), "11")

    def test_nearly_full_by_imap(self):
        self.nearly_full("imap")

    def test_nearly_full_by_pop3(self):
        self.nearly_full("pop3")

    def test_pop3_asks_for_several_at_once(self):
        """Dovecot says PIPELINING: a round trip brings many messages, and lets go of many."""
        had = self.fill(40)
        proxy = Proxy(self.provider.port("pop3"))
        said = []
        proxy.hook = lambda data: said.append(data) or "pass"
        self.add("pop3", "--after", "delete", tls="none", ca=False, port=proxy.port)
        self.arrive(40)
        self.gone()
        self.assertEqual(self.here(), had)
        for word in (b"RETR ", b"DELE "):
            self.assertGreater(max(data.count(word) for data in said), 8, word)
        proxy.close()

    # Size.

    def test_large(self):
        data = large()
        for protocol in ("imap", "pop3"):
            self.server.stop()
            self.provider.append("bob", "INBOX", [data])
            self.server.start()
            self.server.peak = 0
            self.server.reset_memory_peak()
            self.add(protocol, "--after", "delete")
            self.arrive(1, seconds=120)
            self.gone()
            peak = self.server.memory_peak()
            print(f"    50 MB by {protocol}: peak resident memory {peak / 1e6:.1f} MB")
            self.assertLess(peak, MEMORY_LIMIT)
            self.assertEqual(digest(self.here()[0]), digest(data))
            self.cli("remove", self.numbers.pop())
            self.server.empty("alice")


class FromOldServer(Collecting):
    """Without UIDPLUS, MOVE and IDLE."""

    provider_class = Plain

    def test_delete(self):
        had = self.fill(10)
        self.add("imap", "--after", "delete")
        self.arrive(10)
        self.gone()
        self.assertEqual(self.here(), had)

    def test_what_was_not_taken_is_not_expunged(self):
        had = self.fill(3)
        proxy = Proxy(self.provider.port("imap"))
        late = message(50)

        def hook(data):
            # It comes, and is marked, after the listing and before the EXPUNGE.
            if b"UID STORE" in data and not proxy.held.is_set():
                proxy.held.set()
                self.provider.append("bob", "INBOX", [("\\Deleted", late)])
            return "pass"

        proxy.hook = hook
        number = self.add("imap", "--after", "delete", "--every", 10, tls="none", ca=False, port=proxy.port)
        self.arrive(4)
        self.cli("run", number)
        self.gone()
        self.assertEqual(self.here(), had + [late])
        proxy.close()

    def test_move_by_copy(self):
        had = self.fill(10)
        self.add("imap", "--after", "move:Taken")
        self.arrive(10)
        self.gone()
        self.assertEqual(self.here(), had)
        self.assertEqual(self.there("Taken"), 10)


class FromPillarbox(Collecting):
    """Another pillarbox is the provider."""

    provider_class = Server

    def test_imap(self):
        had = self.fill(40)
        number = self.add("imap", "--after", "delete", "--every", 3600)
        self.arrive(40)
        self.gone()
        had += self.fill(1, first=40)
        self.arrive(41)
        self.assertEqual(self.here(), had)
        self.gone()
        self.assertEqual(self.state(number), "well")

    def test_imap_move(self):
        had = self.fill(10)
        self.add("imap", "--after", "move:Archive", tls="starttls")
        self.arrive(10)
        self.gone()
        self.assertEqual(self.here(), had)

    def test_pop3(self):
        had = self.fill(40)
        self.add("pop3", "--after", "delete")
        self.arrive(40)
        self.gone()
        self.assertEqual(self.here(), had)


class FromNobody(Collecting):
    """Servers that are none."""

    provider_class = oracle.Dovecot

    def hostile(self, protocol, script, expected):
        """`script` is what the server says, whatever it hears; the collector says what is wrong."""
        listener = socket.create_server(("127.0.0.1", 0))

        def serve():
            while True:
                try:
                    client, _ = listener.accept()
                except OSError:
                    return
                try:
                    for part in script:
                        client.sendall(part)
                        client.recv(4096)
                except OSError:
                    pass
                client.close()

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        self.addCleanup(end_listening, listener, thread)
        number = self.add(protocol, tls="none", ca=False, port=listener.getsockname()[1])
        wait_for(lambda: self.state(number) not in ("not yet", "well"), SOON, 0.1, "nothing was said")
        self.assertIn(expected, self.state(number))

    def test_imap(self):
        hello = b"* OK [CAPABILITY IMAP4rev1] hi\r\n"
        self.hostile("imap", [b"220 smtp.example.net ESMTP\r\n"], "does not speak IMAP")
        self.hostile("imap", [b"* OK " + b"x" * 100_000], "longer than")
        self.hostile("imap", [b"* BYE too many\r\n"], "too many")
        self.hostile("imap", [hello, b"p7 OK logged in\r\n"], "nobody asked")
        self.hostile("imap", [hello, b"p1 NO [AUTHENTICATIONFAILED] \x1b[2Jno\r\n"], "won't let us in: ?[2Jno")
        self.hostile("imap", [hello, b"p1 OK\r\n", b"p2 OK\r\n", b"* 1 FETCH (BODY[] {99999999999}\r\n"], "nobody asked")
        self.hostile("imap", [], "closed the connection")

    def test_pop3(self):
        self.hostile("pop3", [b"* OK imap\r\n"], "does not speak POP3")
        self.hostile("pop3", [b"+OK\r\n", b"-ERR\r\n", b"+OK\r\n", b"+OK\r\n", b"-ERR no UIDL\r\n"], "lasting")
        self.hostile("pop3", [b"+OK " + b"x" * 10_000], "longer than")
        # Whoever is no server at all.
        number = self.add("pop3", tls="none", ca=False, port=1)
        wait_for(lambda: "can't reach" in self.state(number), SOON, 0.1, "nothing was said")


    def served(self, answer):
        """A server of lines that says what `answer` makes of each; gives its port."""
        listener = socket.create_server(("127.0.0.1", 0))
        wrong = []
        self.addCleanup(lambda: self.assertEqual(wrong, []))

        def talk(client):
            with client, client.makefile("rb") as lines:
                try:
                    client.sendall(answer(None))
                    for line in lines:
                        said = answer(line.decode().strip())
                        # A pair is said, and then it hangs up.
                        client.sendall(said[0] if isinstance(said, tuple) else said)
                        if isinstance(said, tuple):
                            client.shutdown(socket.SHUT_RDWR)
                            return
                except ConnectionError:
                    # The collector has had enough, with something left unread.
                    pass
                except Exception as error:
                    # Else its hanging up would be all that is seen of it.
                    wrong.append(error)
                    raise

        def serve():
            while True:
                try:
                    client, _ = listener.accept()
                except OSError:
                    return
                threading.Thread(target=talk, args=(client,), daemon=True).start()

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        self.addCleanup(end_listening, listener, thread)
        return listener.getsockname()[1]

    def test_a_message_that_imap_does_not_give_holds_up_no_other(self):
        gives = {1: b"{209715200}\r\nx", 2: None, 3: b'"Subject: three"', 4: b"{4}\r\n\r\n4\n"}

        def answer(line):
            if line is None:
                return b"* OK [CAPABILITY IMAP4rev1 AUTH=PLAIN SASL-IR] hi\r\n"
            tag, command = line.encode().split(b" ", 1)
            done = tag + b" OK done\r\n"
            if command.startswith(b"SELECT"):
                return b"* 4 EXISTS\r\n* OK [UIDVALIDITY 7] x\r\n" + done
            if b"RFC822.SIZE" in command:
                return b"".join(b"* %d FETCH (UID %d RFC822.SIZE 9)\r\n" % (n, n) for n in gives) + done
            if b"BODY.PEEK" in command:
                found = uids(command.split()[2])
                given = [b"* %d FETCH (UID %d BODY[] %s)\r\n" % (n, n, gives[n]) for n in found if gives[n]]
                # One that can't be read: what there is of the others, and NO.
                return b"".join(given) + (done if len(given) == len(found) else tag + b" NO can't read it\r\n")
            return done

        number = self.add("imap", tls="none", ca=False, port=self.served(answer))
        # Of several at first, then of this one.
        for which in ("a message", "message 1"):
            told = f"{which} is larger than the provider said"
            wait_for(lambda: told in self.state(number), SOON, 0.1, "nothing was said")
            self.cli("run", number)
        self.arrive(2)
        wait_for(lambda: self.state(number) == "well", SOON, 0.1, "not well")
        self.assertEqual(self.row(number, "left there"), "2")
        self.assertEqual(self.here(), [b"Subject: three", b"\r\n4\r\n"])

    def test_what_came_before_a_cut_comes_once(self):
        """The answer for many messages breaks off; some of them were not given, or out of order."""
        asked = []

        def answer(line):
            if line is None:
                return b"* OK [CAPABILITY IMAP4rev1 AUTH=PLAIN SASL-IR] hi\r\n"
            tag, command = line.encode().split(b" ", 1)
            done = tag + b" OK done\r\n"
            if command.startswith(b"SELECT"):
                return b"* 6 EXISTS\r\n* OK [UIDVALIDITY 7] x\r\n" + done
            if b"RFC822.SIZE" in command:
                listed = [n for n in uids(command.split()[2]) if n <= 6]
                return b"".join(b"* %d FETCH (UID %d RFC822.SIZE 9)\r\n" % (n, n) for n in listed) + done
            if b"BODY.PEEK" in command:
                asked.append(uids(command.split()[2]))
                give = lambda n: b"* %d FETCH (UID %d BODY[] {4}\r\nn: %d)\r\n" % (n, n, n)
                if len(asked) == 1:
                    return give(1) + give(4) + give(3) + b"* 5 FETCH (UID 5 BODY[] {4}\r\nn:", None
                return b"".join(map(give, asked[-1])) + done
            return done

        number = self.add("imap", tls="none", ca=False, port=self.served(answer))
        wait_for(lambda: "closed the connection" in self.state(number), SOON, 0.1, "no word of it")
        self.assertEqual(self.count(), 3)
        self.cli("run", number)
        self.arrive(6)
        self.assertEqual(asked, [[1, 2, 3, 4, 5, 6], [2, 5, 6]])
        self.assertEqual(sorted(self.here()), [b"n: %d" % n for n in range(1, 7)])
        self.assertEqual(self.row(number, "taken"), "6")

    def pop3_in_rounds(self, offers):
        """One message is not given, and the connection is cut within another: each of the others
        comes once, and goes over there. `offers`: whether commands may come together."""
        mailbox, marked, cuts = set(range(1, 61)), set(), []

        def answer(line):
            if line is None:
                marked.clear()
                return b"+OK\r\n"
            word, _, n = line.partition(" ")
            if word == "CAPA":
                return b"+OK\r\nUIDL\r\n" + (b"PIPELINING\r\n" if offers else b"") + b".\r\n"
            if word in ("UIDL", "LIST"):
                return b"+OK\r\n" + b"".join(b"%d %d\r\n" % (it, 1000 + it) for it in sorted(mailbox)) + b".\r\n"
            if line == "RETR 5":
                return b"-ERR can't read it\r\n"
            if line == "RETR 20" and not cuts:
                cuts.append(line)
                return b"+OK\r\nSubject: 20\r\n\r\nhal", None
            if word == "RETR":
                return b"+OK\r\nSubject: %s\r\n\r\nbody\r\n.\r\n" % n.encode()
            if word == "DELE":
                marked.add(int(n))
            if word == "QUIT":
                mailbox.difference_update(marked)
            return b"+OK\r\n"

        proxy = Proxy(self.served(answer))
        self.addCleanup(proxy.close)
        said = []
        proxy.hook = lambda data: said.append(data) or "pass"
        number = self.add("pop3", "--after", "delete", tls="none", ca=False, port=proxy.port)
        wait_for(lambda: "closed the connection" in self.state(number), SOON, 0.1, "no word of it")
        # What came before the cut came.
        self.assertEqual(self.count(), 18)
        self.cli("run", number)
        self.arrive(59)
        wait_for(lambda: self.state(number) == "well", SOON, 0.1, "not well")
        wanted = [b"Subject: %d\r\n\r\nbody\r\n" % n for n in range(1, 61) if n != 5]
        self.assertEqual(self.here(), wanted)
        self.assertEqual(mailbox, {5})
        self.assertEqual((self.row(number, "taken"), self.row(number, "left there")), ("59", "1"))
        return max(data.count(b"\r\n") for data in said)

    def test_pop3_with_pipelining(self):
        self.assertGreater(self.pop3_in_rounds(True), 8)

    def test_pop3_without_pipelining(self):
        self.assertEqual(self.pop3_in_rounds(False), 1)

    def test_a_message_that_pop3_does_not_give_holds_up_no_other(self):
        def answer(line):
            if line == "UIDL":
                return b"+OK\r\n1 a\r\n2 b\r\n3 c\r\n4 d\r\n5 d\r\n.\r\n"
            if line == "LIST":
                return b"+OK\r\n1 9\r\n2 9\r\n3 999999999\r\n4 9\r\n5 9\r\n.\r\n"
            if line == "RETR 1":
                return b"-ERR can't read it\r\n"
            if line == "RETR 2":
                return b"+OK\r\nSubject: two\r\n\r\n..\r\n.\r\n"
            # CAPA is not known; DELE may be said for 2 alone.
            known = line is None or line.split()[0] in ("USER", "PASS", "QUIT") or line == "DELE 2"
            return b"+OK\r\n" if known else b"-ERR\r\n"

        number = self.add("pop3", "--after", "delete", tls="none", ca=False, port=self.served(answer))
        self.arrive(1)
        wait_for(lambda: self.state(number) == "well", SOON, 0.1, "not well")
        self.assertEqual(self.row(number, "left there"), "4")
        self.assertEqual(self.here(), [b"Subject: two\r\n\r\n.\r\n"])

    def test_a_message_that_pop3_does_not_delete_holds_up_no_other(self):
        mailbox, marked = {1, 2, 3}, set()

        def answer(line):
            if line is None:
                marked.clear()
                return b"+OK\r\n"
            word, _, n = line.partition(" ")
            if word in ("UIDL", "LIST"):
                return b"+OK\r\n" + b"".join(b"%d %d\r\n" % (it, 1000 + it) for it in sorted(mailbox)) + b".\r\n"
            if word == "RETR":
                return b"+OK\r\nSubject: %s\r\n\r\nbody\r\n.\r\n" % n.encode()
            if line == "DELE 1":
                return b"-ERR it is locked\r\n"
            if word == "DELE":
                marked.add(int(n))
            if word == "QUIT":
                mailbox.difference_update(marked)
            return b"+OK\r\n" if word in ("USER", "PASS", "DELE", "QUIT") else b"-ERR\r\n"

        number = self.add("pop3", "--after", "delete", tls="none", ca=False, port=self.served(answer))
        self.arrive(3)
        wait_for(lambda: "it is locked" in self.state(number), SOON, 0.1, "no word of it")
        self.assertEqual(mailbox, {1})
        mailbox.update({4, 5})
        self.cli("run", number)
        self.arrive(5)
        wait_for(lambda: mailbox == {1}, SOON, 0.1, "the provider keeps what was taken")
        self.assertEqual(self.here(), [b"Subject: %d\r\n\r\nbody\r\n" % n for n in range(1, 6)])


if __name__ == "__main__":
    harness.main()
