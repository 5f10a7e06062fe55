"""Logging in: what is offered where, equal text and time for an unknown user and a wrong
password, back-off that doesn't lock the owner out, SCRAM that proves the server."""

import base64
import re
import time

import harness
from harness import DOMAIN, PASSWORD, ServerCase
from wire import Closed, Imap, Pop, Scram, Smtp

SAMPLES = 9


class Login(ServerCase):
    def fresh(self):
        """A server without any back-off in its memory."""
        self.server.stop()
        self.server.start()

    def test_full_address_and_short_name_in_any_case(self):
        for name in ("alice", f"alice@{DOMAIN}", f"Alice@{DOMAIN.upper()}"):
            imap = Imap(self.server)
            imap.ok(f'LOGIN "{name}" "{PASSWORD}"')
            imap.close()

    def test_offers_before_and_after_tls(self):
        imap = Imap(self.server, service="imap")
        (capability,) = [it for it in imap.ok("CAPABILITY") if it[0] == b"CAPABILITY"]
        self.assertIn(b"STARTTLS", capability)
        plain = b"AUTH=PLAIN" in capability
        # A loopback peer may be let in without TLS; LOGINDISABLED says which it is.
        self.assertEqual(b"LOGINDISABLED" in capability, not plain)
        if not plain:
            self.assertTrue(imap.command(f'LOGIN alice "{PASSWORD}"')[1].startswith(b"NO"))
        imap.ok("STARTTLS")
        imap.start_tls()
        (capability,) = [it for it in imap.ok("CAPABILITY") if it[0] == b"CAPABILITY"]
        self.assertNotIn(b"STARTTLS", capability)
        self.assertNotIn(b"LOGINDISABLED", capability)
        for name in (b"AUTH=PLAIN", b"AUTH=SCRAM-SHA-256", b"SASL-IR"):
            self.assertIn(name, capability)
        imap.ok(f'LOGIN alice "{PASSWORD}"')
        imap.close()

    def test_scram_by_imap(self):
        for initial in (True, False):
            imap = Imap(self.server)
            scram = Scram("alice", PASSWORD)
            first = base64.b64encode(scram.first())
            if initial:
                tag = imap.begin(b"AUTHENTICATE SCRAM-SHA-256 " + first)
            else:
                tag = imap.begin("AUTHENTICATE SCRAM-SHA-256")
                self.assertEqual(imap.line().strip(), b"+")
                imap.send(first + b"\r\n")
            imap.send(base64.b64encode(scram.final(base64.b64decode(imap.line()[2:]))) + b"\r\n")
            self.assertTrue(scram.server_is_genuine(base64.b64decode(imap.line()[2:])))
            imap.send(b"\r\n")
            self.assertTrue(imap.finish(tag)[1].startswith(b"OK"))
            imap.ok("SELECT INBOX")
            imap.close()

    def test_scram_with_a_wrong_password_and_an_unknown_user(self):
        self.fresh()
        answers = set()
        for user, password in (("alice", "wrong"), ("nobody", "wrong")):
            imap = Imap(self.server)
            scram = Scram(user, password)
            tag = imap.begin(b"AUTHENTICATE SCRAM-SHA-256 " + base64.b64encode(scram.first()))
            challenge = imap.line()
            self.assertTrue(challenge.startswith(b"+ "), challenge)
            imap.send(base64.b64encode(scram.final(base64.b64decode(challenge[2:]))) + b"\r\n")
            answers.add(imap.finish(tag)[1])
            imap.close()
        self.assertEqual(len(answers), 1, answers)
        self.assertTrue(answers.pop().startswith(b"NO"))

    def test_salt_of_an_unknown_user_is_steady(self):
        salts = set()
        for _ in range(3):
            imap = Imap(self.server)
            imap.begin(b"AUTHENTICATE SCRAM-SHA-256 " + base64.b64encode(Scram("nobody", "x").first()))
            salts.add(base64.b64decode(imap.line()[2:]).split(b",", 1)[1])
            imap.close()
        self.assertEqual(len(salts), 1, "a salt that changes tells that the user doesn't exist")

    def refuse(self, service, user):
        """One refused login: (seconds, text)."""
        if service == "imaps":
            client = Imap(self.server)
            began = time.monotonic()
            answer = client.command(f"LOGIN {user} wrong")[1]
        elif service == "pop3s":
            client = Pop(self.server)
            self.assertTrue(client.command(f"USER {user}").startswith(b"+OK"))
            began = time.monotonic()
            answer = client.command("PASS wrong")
        else:
            client = Smtp(self.server)
            client.expect("EHLO x.test", 250)
            began = time.monotonic()
            answer = client.command("AUTH PLAIN " + base64.b64encode(f"\0{user}\0wrong".encode()).decode())[
                :2
            ]
        client.close()
        return time.monotonic() - began, answer

    def test_unknown_user_and_wrong_password_look_alike(self):
        for service in ("imaps", "pop3s", "submissions"):
            # A load on the machine may part them once; what can be told apart is so every time.
            self.assertTrue(any(self.look_alike(service) for _ in range(4)), f"{service}: told apart by time")

    def look_alike(self, service):
        """Whether the fastest refusals of a known and an unknown user take the same time."""
        times = {"alice": [], "nobody": []}
        texts = set()
        for n in range(SAMPLES):
            # A fresh server now and then: back-off is told apart by account by design.
            if n % 3 == 0:
                self.fresh()
            for user in times:
                seconds, text = self.refuse(service, user)
                times[user].append(seconds)
                texts.add(text)
        self.assertEqual(len(texts), 1, texts)
        known, unknown = (min(it) for it in times.values())
        print(f"    {service}: known {known * 1000:.1f} ms, unknown {unknown * 1000:.1f} ms")
        return abs(known - unknown) < 0.25 * max(known, unknown) + 0.002

    def test_backoff_slows_guessing_and_lets_the_owner_in(self):
        self.fresh()
        imap = Imap(self.server, user="alice")
        imap.close()
        began = time.monotonic()
        guesses = 0
        while time.monotonic() - began < 10 and guesses < 200:
            try:
                self.refuse("imaps", "alice")
            except (Closed, OSError):
                pass
            guesses += 1
        rate = guesses / (time.monotonic() - began)
        print(f"    {rate:.1f} guesses a second in the first ten")
        self.assertLess(rate, 10, "guessing is not slowed")
        began = time.monotonic()
        owner = Imap(self.server, timeout=60)
        owner.ok(f'LOGIN alice "{PASSWORD}"')
        owner.close()
        self.assertLess(time.monotonic() - began, 30, "the owner is locked out")
        other = time.monotonic()
        Imap(self.server, user="bob", timeout=60).close()
        print(f"    the owner waits {other - began:.1f} s, another user {time.monotonic() - other:.1f} s")
        self.fresh()

    def test_a_login_storm_stays_within_memory(self):
        self.fresh()
        clients = [Imap(self.server) for _ in range(60)]
        for n, client in enumerate(clients):
            client.begin(f"LOGIN {('alice', 'bob', 'carol')[n % 3]} wrong{n}")
        began = time.monotonic()
        Imap(self.server, service="imaps").ok("CAPABILITY")
        self.assertLess(time.monotonic() - began, 3, "a session that doesn't log in waits for those that do")
        for client in clients:
            client.close()
        peak = self.server.memory_peak()
        print(f"    peak {peak / 1e6:.0f} MB")
        self.assertLess(peak, 100_000_000)
        self.fresh()

    def test_malformed_exchanges(self):
        self.fresh()
        for given in (
            b"AUTHENTICATE PLAIN !!!!",
            b"AUTHENTICATE PLAIN AAAA",
            b"AUTHENTICATE SCRAM-SHA-256 eCx4",
            b"AUTHENTICATE NOPE",
            b"AUTHENTICATE PLAIN =",
        ):
            imap = Imap(self.server)
            answer = imap.command(given)[1]
            self.assertRegex(answer, rb"^(NO|BAD)", given)
            imap.close()
        imap = Imap(self.server)
        tag = imap.begin("AUTHENTICATE PLAIN")
        imap.line()
        imap.send(b"*\r\n")
        self.assertTrue(imap.finish(tag)[1].startswith(b"BAD"))
        imap.ok(f'LOGIN alice "{PASSWORD}"')
        imap.close()

    def test_a_password_is_never_logged(self):
        self.server.stop()
        self.server.environment = {"PILLARBOX_LOG": "trace"}
        began = len(self.server.log_text())
        self.server.start()
        try:
            for secret in ("hunter2-secret", PASSWORD):
                token = base64.b64encode(f"\0alice\0{secret}".encode()).decode()
                Imap(self.server).command(f'LOGIN alice "{secret}"')
                Imap(self.server).command(f"AUTHENTICATE PLAIN {token}")
                Imap(self.server).command(f'LOGIN "{secret}" alice')
                pop = Pop(self.server)
                pop.command("USER alice")
                pop.command(f"PASS {secret}")
                pop.command("QUIT")
                Pop(self.server).command(f"AUTH PLAIN {token}")
                smtp = Smtp(self.server)
                smtp.command("EHLO x.test")
                smtp.command(f"AUTH PLAIN {token}")
                smtp.command(f"NOT A COMMAND {secret}")
        finally:
            self.server.stop()
            self.server.environment = {}
            self.server.start()
        # What the demo prints of its password is for the person who started it.
        log = [line for line in self.server.log_text()[began:].splitlines() if re.match(r"\d{4}-", line)]
        self.assertTrue(any("login: alice" in line for line in log), "nothing was logged")
        for secret in ("hunter2-secret", PASSWORD):
            token = base64.b64encode(f"\0alice\0{secret}".encode()).decode()
            self.assertFalse([line for line in log if secret in line or token in line])


if __name__ == "__main__":
    harness.main()
