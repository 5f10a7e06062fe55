"""kill -9 of the real binary, 50 times under load from four connections: two submit, one
APPENDs, one STOREs, EXPUNGEs, COPYs, MOVEs and DELETEs. After each restart every acknowledged
change is there, once, and nothing half done is to be seen."""

import os
import random
import re
import ssl
import threading
import time
import unittest

import harness
from harness import DOMAIN, Server, message
from wire import Closed, Imap, Smtp

KILLS = int(os.environ.get("PILLARBOX_KILLS", "50"))
SEED = 50
BODY = 3000
BROKEN = (OSError, Closed, ssl.SSLError, AssertionError)


def labelled(label, rng):
    """A message that names itself in its first and last line."""
    noise = bytes(rng.choice(b"abcdefghij klmnop\n") for _ in range(rng.randint(10, BODY))).replace(
        b"\n", b"\r\n"
    )
    return (
        message(0, "bob", "alice", subject=label, body="").rstrip(b"\r\n")
        + b"\r\n\r\n"
        + noise
        + b"\r\nEND %s\r\n" % label.encode()
    )


def label_of(data):
    """The label of a whole message; AssertionError if any of it is missing."""
    label = re.search(rb"(?m)^Subject: (\S+)\r$", data)
    assert label and data.endswith(b"\r\nEND %s\r\n" % label.group(1)), (
        "a damaged message",
        data[:300],
        data[-100:],
    )
    return label.group(1).decode()


class Load(threading.Thread):
    """One connection's work until the server is gone. Says what was acknowledged and what
    was under way at the end."""

    def __init__(self, server, round_number):
        super().__init__(daemon=True)
        self.server = server
        self.rng = random.Random(SEED * 1000 + round_number)
        self.round = round_number
        self.error = None

    def run(self):
        try:
            self.work()
        except BROKEN as error:
            # A connection that breaks is what the test is about; a refusal is not.
            self.error = error if isinstance(error, AssertionError) else None


class Submit(Load):
    """Submits to alice and carol in one transaction."""

    def __init__(self, server, round_number, name):
        super().__init__(server, round_number)
        self.label = name
        self.acknowledged, self.open = set(), None

    def work(self):
        smtp = Smtp(self.server, user="bob")
        n = 0
        while True:
            n += 1
            self.open = f"{self.label}-{self.round}-{n}"
            reply = smtp.submit(
                f"bob@{DOMAIN}", [f"alice@{DOMAIN}", f"carol@{DOMAIN}"], labelled(self.open, self.rng)
            )
            assert reply[0] == 250, reply
            self.acknowledged.add(self.open)
            self.open = None


class Append(Load):
    """APPENDs to alice's Appended."""

    def __init__(self, server, round_number):
        super().__init__(server, round_number)
        self.acknowledged, self.open = set(), None

    def work(self):
        imap = Imap(self.server, user="alice")
        n = 0
        while True:
            n += 1
            self.open = f"append-{self.round}-{n}"
            answer = imap.append("Appended", labelled(self.open, self.rng), b"(\\Flagged) ")
            if not answer:
                raise Closed(b"")
            assert answer.startswith(b"OK"), answer
            self.acknowledged.add(self.open)
            self.open = None


class Change(Load):
    """STOREs, EXPUNGEs, COPYs and MOVEs in bob's Work, whose model it keeps by UID; now and then
    a copy goes to a mailbox that is then DELETEd."""

    def __init__(self, server, round_number, model):
        super().__init__(server, round_number)
        self.model = model
        self.open = None

    def work(self):
        imap = Imap(self.server, user="bob")
        imap.ok("SELECT Work")
        while len(self.model.work) > 20:
            uid = self.rng.choice(sorted(self.model.work))
            kind = self.rng.choice(("flag", "unflag", "label", "copy", "move", "expunge", "delete"))
            self.open = (kind, uid)
            if kind == "copy":
                untagged = imap.ok(f"UID COPY {uid} Copied")
                self.model.copied.append(self.model.work[uid][0])
            elif kind == "delete":
                imap.ok("CREATE Doomed")
                self.model.doomed = []
                imap.ok(f"UID COPY {uid} Doomed")
                self.model.doomed = [self.model.work[uid][0]]
                self.open = ("deletion", uid)
                imap.ok("DELETE Doomed")
                self.model.doomed = None
            elif kind == "move":
                untagged = imap.ok(f"UID MOVE {uid} Moved")
                assert any(b"COPYUID" in it[-1] for it in untagged if it[0] == b"OK"), untagged
                self.model.moved.add(self.model.work.pop(uid)[0])
            elif kind == "expunge":
                imap.ok(f"UID STORE {uid} +FLAGS.SILENT (\\Deleted)")
                self.model.work[uid][1].add(b"\\deleted")
                imap.ok(f"UID EXPUNGE {uid}")
                self.model.gone.add(self.model.work.pop(uid)[0])
            else:
                sign, flag = {
                    "flag": ("+", "\\Flagged"),
                    "unflag": ("-", "\\Flagged"),
                    "label": ("+", "Label"),
                }[kind]
                imap.ok(f"UID STORE {uid} {sign}FLAGS.SILENT ({flag})")
                change = self.model.work[uid][1]
                (change.add if sign == "+" else change.discard)(flag.lower().encode())
            self.open = None
            self.model.done[kind] = self.model.done.get(kind, 0) + 1


class Model:
    """What bob's mailboxes must hold: UID -> (label, flags) of Work; labels of Moved, of Copied, of
    Doomed (None: there is none) and of nowhere. And how often each kind of change was acknowledged."""

    def __init__(self):
        self.work, self.moved, self.gone = {}, set(), set()
        self.copied, self.doomed = [], None
        self.done = {}


class Power(unittest.TestCase):
    def setUp(self):
        self.server = Server().start()
        self.rng = random.Random(SEED)
        self.model = Model()
        for user in ("alice", "carol", "bob"):
            self.server.empty(user)
        alice = Imap(self.server, user="alice")
        alice.ok("CREATE Appended")
        alice.close()
        bob = Imap(self.server, user="bob")
        bob.ok("CREATE Work")
        bob.ok("CREATE Moved")
        bob.ok("CREATE Copied")
        bob.close()
        self.refill(0)

    def tearDown(self):
        self.server.stop()
        self.server.remove()

    def refill(self, round_number):
        """Puts messages into Work until it has 60; reads their UIDs."""
        bob = Imap(self.server, user="bob")
        for n in range(60 - len(self.model.work)):
            label = f"work-{round_number}-{n}"
            answer = bob.append("Work", labelled(label, self.rng))
            uid = int(re.search(rb"APPENDUID \d+ (\d+)", answer).group(1))
            self.model.work[uid] = (label, set())
        bob.close()

    def messages(self, user, mailbox):
        """[(uid, label, flags)] of a mailbox, each message whole."""
        imap = Imap(self.server, user=user)
        imap.ok(f"EXAMINE {mailbox}")
        found = []
        for it in imap.ok("UID FETCH 1:* (FLAGS BODY.PEEK[])"):
            if len(it) == 3 and it[1] == b"FETCH":
                items = {bytes(it[2][i]): it[2][i + 1] for i in range(0, len(it[2]), 2)}
                flags = {flag.lower() for flag in items[b"FLAGS"]} - {b"\\recent"}
                found.append((int(items[b"UID"]), label_of(items[b"BODY[]"]), flags))
        imap.close()
        return found

    def once(self, labels, acknowledged, possible, where):
        """All acknowledged labels are there, once, and none but those and the possible."""
        self.assertEqual(len(labels), len(set(labels)), f"twice in {where}")
        self.assertEqual(acknowledged - set(labels), set(), f"acknowledged but lost from {where}")
        self.assertEqual(set(labels) - acknowledged - possible, set(), f"never acknowledged but in {where}")

    def test_kill_under_load(self):
        submitted, appended = set(), set()
        done = {"deliver": 0, "append": 0}
        slowest = 0.0
        for n in range(KILLS):
            loads = [
                Submit(self.server, n, "one"),
                Submit(self.server, n, "two"),
                Append(self.server, n),
                Change(self.server, n, self.model),
            ]
            for load in loads:
                load.start()
            time.sleep(self.rng.uniform(0.15, 0.7))
            self.server.kill()
            for load in loads:
                load.join(20)
                self.assertIsNone(load.error, f"round {n}: refused")
            began = time.monotonic()
            self.server.start()
            slowest = max(slowest, time.monotonic() - began)

            submitted |= loads[0].acknowledged | loads[1].acknowledged
            possible = {load.open for load in loads[:2] if load.open}
            alice = [label for _, label, _ in self.messages("alice", "INBOX")]
            carol = [label for _, label, _ in self.messages("carol", "INBOX")]
            self.once(alice, submitted, possible, f"alice's INBOX after kill {n}")
            self.assertEqual(
                sorted(alice), sorted(carol), f"one transaction reached one recipient alone after kill {n}"
            )
            submitted |= set(alice)

            appended |= loads[2].acknowledged
            found = self.messages("alice", "Appended")
            self.once([label for _, label, _ in found], appended, {loads[2].open}, f"Appended after kill {n}")
            self.assertTrue(all(flags == {b"\\flagged"} for _, _, flags in found))
            appended |= {label for _, label, _ in found}

            self.check_changes(loads[3].open, n)
            self.refill(n + 1)
            if n % 10 == 9:
                # Emptied now and then, so that reading it all stays quick.
                for user, mailbox in (
                    ("alice", "INBOX"),
                    ("carol", "INBOX"),
                    ("alice", "Appended"),
                    ("bob", "Moved"),
                    ("bob", "Copied"),
                ):
                    self.server.empty(user, mailbox)
                done["deliver"] += len(submitted)
                done["append"] += len(appended)
                submitted, appended = set(), set()
                self.model.moved, self.model.copied = set(), []
        done["deliver"] += len(submitted)
        done["append"] += len(appended)
        done.update(self.model.done)
        acknowledged = sum(done.values())
        print(
            f"    {KILLS} kills, {acknowledged} acknowledged changes, slowest restart {slowest:.2f} s, peak {self.server.peak >> 20} MiB"
        )
        print("    " + ", ".join(f"{kind} {count}" for kind, count in sorted(done.items())))
        for kind in ("deliver", "append", "flag", "expunge", "copy", "move", "delete"):
            self.assertGreaterEqual(done.get(kind, 0), KILLS // 5, f"too little {kind} to prove anything")
        self.assertGreater(acknowledged, 20 * KILLS, "too little load to prove anything")

    def check_changes(self, open_change, n):
        """Compares Work and Moved with the model; the change under way may have happened or not."""
        kind, uid = open_change or (None, None)
        work = {uid: (label, flags) for uid, label, flags in self.messages("bob", "Work")}
        moved = [label for _, label, _ in self.messages("bob", "Moved")]
        copied = [label for _, label, _ in self.messages("bob", "Copied")]
        label = self.model.work[uid][0] if uid in self.model.work else None
        if uid is not None and uid not in work:
            self.assertIn(kind, ("move", "expunge"), f"message {uid} lost by {kind} at kill {n}")
            del self.model.work[uid]
            (self.model.moved if kind == "move" else self.model.gone).add(label)
        elif uid is not None:
            self.model.work[uid] = (label, work[uid][1])
        if kind == "copy" and len(copied) > len(self.model.copied):
            self.model.copied.append(label)
        self.assertEqual(sorted(copied), sorted(self.model.copied), f"Copied after kill {n}, {open_change}")
        self.check_doomed(kind, label, n)
        self.assertEqual(work, self.model.work, f"Work after kill {n}, {open_change}")
        self.assertEqual(sorted(moved), sorted(self.model.moved), f"Moved after kill {n}, {open_change}")

    def check_doomed(self, kind, label, n):
        """The mailbox to be deleted is as it was told to be; the command under way may have been done."""
        bob = Imap(self.server, user="bob")
        there = any(b"Doomed" in it for it in bob.ok('LIST "" Doomed') if it[0] == b"LIST")
        found = [label for _, label, _ in self.messages("bob", "Doomed")] if there else None
        possible = [self.model.doomed]
        if kind == "delete":
            # CREATE, or COPY, was under way.
            possible.append([] if self.model.doomed is None else [label])
        elif kind == "deletion":
            possible.append(None)
        self.assertIn(found, possible, f"Doomed after kill {n}, {kind}")
        if there:
            bob.ok("DELETE Doomed")
        self.model.doomed = None
        bob.close()


if __name__ == "__main__":
    harness.main()
