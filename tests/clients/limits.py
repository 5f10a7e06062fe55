"""Every limit and switch of a service that an owner may set, reached from outside: what is said
there, and that it holds at once. Those of port 25 are in incoming.py."""

import base64
import os
import re
import select
import shutil
import smtplib
import socket
import subprocess
import sys
import tempfile
import threading
import time

import harness
from harness import PASSWORD, ServerCase, binary, wait_for

# Why a login was refused is in the log alone.
os.environ["PILLARBOX_LOG"] = "info"
ALICE, BOB = f"alice@{harness.DOMAIN}", f"bob@{harness.DOMAIN}"
SERVICES = ("imap", "pop3", "submission")


class Talk:
    """A connection in clear by hand: lines there and back."""

    def __init__(self, server, service, source="127.0.0.1"):
        port = server.port(service)
        self.socket = socket.create_connection(("127.0.0.1", port), 60, source_address=(source, 0))
        self.file = self.socket.makefile("rb")
        self.service = service
        self.greeting = self.line()

    def line(self):
        """Without its end; empty at the end of the connection."""
        try:
            return self.file.readline().decode().rstrip("\r\n")
        except ConnectionResetError:
            return ""

    def say(self, text):
        """The reply's last line."""
        if self.service == "imap":
            return self.answer(f"t {text}", lambda line: line.startswith(("t ", "* BYE")))
        if self.service == "pop3":
            return self.answer(text, lambda line: True)
        return self.answer(text, lambda line: line[3:4] == " ")

    def answer(self, text, last):
        self.socket.sendall(f"{text}\r\n".encode())
        while line := self.line():
            if last(line):
                return line
        return ""

    def login(self, user="alice", password=PASSWORD):
        if self.service == "imap":
            return self.say(f'LOGIN {user} "{password}"')
        if self.service == "pop3":
            self.say(f"USER {user}")
            return self.say(f"PASS {password}")
        self.say("EHLO client.test")
        plain = base64.b64encode(f"\0{user}\0{password}".encode()).decode()
        return self.say(f"AUTH PLAIN {plain}")

    def close(self):
        self.file.close()
        self.socket.close()


LOGGED_IN = {"imap": "t OK ", "pop3": "+OK ", "submission": "235 "}


class Limited(ServerCase):
    def tearDown(self):
        self.settings("import", self.file("none", ""))
        for option in SERVICES:
            self.server.cli("account", "set", ALICE, option, "on")

    def settings(self, *words):
        return self.run_client(binary(), "settings", "--dir", self.server.directory, *words).stdout

    def set(self, *pairs):
        self.settings("set", *pairs)

    def talk(self, service, source="127.0.0.1"):
        talk = Talk(self.server, service, source)
        self.addCleanup(talk.close)
        return talk

    def logged_in(self, service, user="alice", source="127.0.0.1"):
        talk = self.talk(service, source)
        said = talk.login(user)
        self.assertTrue(said.startswith(LOGGED_IN[service]), said)
        return talk


class Connections(Limited):
    REFUSED = {
        "imap": "* BYE [UNAVAILABLE] Too many connections, try again later",
        "pop3": "-ERR [SYS/TEMP] Too many connections, try again later",
        "submission": "421 4.3.2 Too many connections, try again later",
    }

    def room(self, service, source):
        """How many of five connections at once are let in."""
        talks = [Talk(self.server, service, source) for _ in range(5)]
        refused = [talk for talk in talks if talk.greeting == self.REFUSED[service]]
        for talk in talks:
            talk.close()
        return len(talks) - len(refused)

    def place(self, service, source):
        """A connection that is let in, or None."""
        talk = self.talk(service, source)
        return None if talk.greeting == self.REFUSED[service] else talk

    def test_in_all_and_per_address(self):
        for service in SERVICES:
            self.set(f"{service}.max-connections", "3", f"{service}.max-connections-per-address", "2")
            # Those that were there before may take a moment to be gone.
            wait_for(lambda: self.room(service, "127.0.0.2") == 2, message=f"{service} per address")
            first = [wait_for(lambda: self.place(service, "127.0.0.2"), message=service) for _ in range(2)]
            # A login gives no place back here, and no other service is concerned.
            first[0].login()
            wait_for(lambda: self.room(service, "127.0.0.3") == 1, message=f"{service} in all")
            wait_for(lambda: self.room(service, "127.0.0.2") == 0, message=service)
            other = next(it for it in SERVICES if it != service)
            self.assertEqual(self.room(other, "127.0.0.2"), 5)
            for talk in first:
                talk.close()
            self.settings("reset", f"{service}.max-connections")
            self.settings("reset", f"{service}.max-connections-per-address")

    def test_per_account(self):
        for service, limit, said in (
            ("imap", 2, "t NO [LIMIT] This account has too many connections"),
            ("pop3", 1, "-ERR [SYS/TEMP] This account has too many connections"),
            ("submission", 2, "454 4.7.0 This account has too many connections"),
        ):
            self.set(f"{service}.max-connections-per-account", str(limit))
            held = [self.logged_in(service, source=f"127.0.0.{n + 2}") for n in range(limit)]
            late = self.talk(service)
            self.assertTrue(late.login().startswith(said), service)
            # Another account has its own, and a place that is free is there for the next try.
            self.logged_in(service, "bob").close()
            held.pop().close()
            wait_for(lambda: late.login().startswith(LOGGED_IN[service]), message=service)
            self.settings("reset", f"{service}.max-connections-per-account")

    def test_the_defaults(self):
        # The demo has its own; a file without a word is the defaults of a server.
        text = self.settings("export")
        for line in ("#max-connections-per-account = 16", "#max-command-size = \"256KiB\"", "#login-type = \"tls\"",
                     "#max-protocol-errors = 5", "#max-recipients = 200", "#protocol-log = false"):
            self.assertIn(f"\n{line}\n", text)
        for name, value in (("imap.timeout", "29min"), ("pop3.timeout", "9min"), ("pop3.max-command-size", "254B")):
            with self.assertRaisesRegex(AssertionError, "is not within"):
                self.set(name, value)


class Silence(Limited):
    def test_before_login(self):
        self.set("login.timeout", "10s")
        silent = {service: self.talk(service) for service in SERVICES}
        began = time.monotonic()
        said = {service: talk.line() for service, talk in silent.items()}
        self.assertGreater(time.monotonic() - began, 9)
        self.assertEqual(said["imap"], "* BYE Nothing was heard for too long: connect again.")
        # Nothing that POP3 could say would answer a command.
        self.assertEqual(said["pop3"], "")
        self.assertEqual(said["submission"], "421 4.4.2 Nothing came for too long")


class AfterLogin(Limited):
    """The timeouts after login are 5 minutes and more. The server's own clock is set ahead by what
    is preloaded into it (tests/support/clock.c; Debian's faketime stops it: it takes part in the
    waiting too). Who sleeps sees the new time when another connection wakes him."""

    @classmethod
    def setUpClass(cls):
        cls.work = tempfile.mkdtemp(prefix="client-")
        clock = os.path.join(cls.work, "clock.so")
        source = os.path.join(harness.ROOT, "tests", "support", "clock.c")
        subprocess.run(["gcc", "-O1", "-shared", "-fPIC", "-o", clock, source], check=True)
        cls.ahead = os.path.join(cls.work, "ahead")
        cls.jump_to(0)
        cls.server = harness.Server()
        cls.server.environment = {"LD_PRELOAD": clock, "CLOCK_AHEAD": cls.ahead}
        cls.server.start()

    @classmethod
    def tearDownClass(cls):
        # What it waits for in the kernel waits by the clock it believed in.
        cls.server.kill()
        cls.server.no_bugs()
        cls.server.remove()
        shutil.rmtree(cls.work, ignore_errors=True)

    @classmethod
    def jump_to(cls, seconds):
        """The server's clock is that far ahead of ours."""
        with open(cls.ahead, "ab") as f:
            f.truncate(8)
        with open(cls.ahead, "r+b", buffering=0) as f:
            f.write(seconds.to_bytes(8, sys.byteorder))
        cls.now = seconds

    def pass_minutes(self, minutes):
        self.jump_to(self.now + minutes * 60)
        self.wake()

    def wake(self):
        for service in SERVICES:
            self.talk(service).close()

    def end(self, talk):
        """What is said to one whose time is over, once the server has seen that it is."""
        def comes():
            self.wake()
            return select.select([talk.socket], [], [], 0.2)[0]

        wait_for(comes, 50, message=f"the end of {talk.service}")
        return talk.line()

    def is_silent(self, *talks):
        """Nothing comes, though all that was due has been looked at."""
        ready = select.select([talk.socket for talk in talks], [], [], 1)[0]
        self.assertEqual([talk.line() for talk in talks if talk.socket in ready], [])

    def idle(self):
        talk = self.logged_in("imap")
        talk.say("SELECT INBOX")
        talk.socket.sendall(b"t IDLE\r\n")
        self.assertTrue(talk.line().startswith("+"))
        return talk

    BYE = "* BYE Nothing was heard for too long: connect again."

    def test_each_service_waits_as_long_as_its_protocol_asks_and_no_longer(self):
        self.server.empty("carol")
        self.server.append("carol", "INBOX", [harness.message(1)])
        quiet, idle, again = self.logged_in("imap"), self.idle(), self.idle()
        submission = self.logged_in("submission")
        pop3 = self.logged_in("pop3", "carol")
        self.assertTrue(pop3.say("DELE 1").startswith("+OK"))
        self.pass_minutes(4)
        self.is_silent(quiet, idle, again, submission, pop3)
        self.pass_minutes(2)
        # RFC 5321, 4.5.3.2.7: 5 minutes.
        self.assertEqual([self.end(submission), submission.line()], ["421 4.4.2 Nothing came for too long", ""])
        self.pass_minutes(3)
        self.is_silent(quiet, idle, again, pop3)
        self.pass_minutes(2)
        # RFC 1939, 3: 10 minutes, then the end, without a word, and nothing is deleted.
        self.assertEqual(self.end(pop3), "")
        self.assertEqual(len(self.server.bodies("carol")), 1)
        self.pass_minutes(17)
        # RFC 2177: a client begins anew before 29 minutes are over.
        again.socket.sendall(b"DONE\r\nt IDLE\r\n")
        self.assertEqual([again.line(), again.line()[:1]], ["t OK Idle ended.", "+"])
        self.is_silent(quiet, idle, again)
        self.pass_minutes(3)
        # RFC 9051, 5.4: 30 minutes; IDLE is no exception.
        for talk in (quiet, idle):
            self.assertEqual([self.end(talk), talk.line()], [self.BYE, ""])
        self.is_silent(again)
        self.pass_minutes(20)
        self.server.append("alice", "INBOX", [harness.message(2)])
        self.assertRegex(again.line(), r"^\* \d+ EXISTS$")

    def test_a_longer_time_holds_at_once(self):
        self.set("imap.timeout", "60min", "pop3.timeout", "20min")
        imap, idle, pop3 = self.logged_in("imap"), self.idle(), self.logged_in("pop3", "bob")
        self.pass_minutes(19)
        self.is_silent(imap, idle, pop3)
        self.pass_minutes(2)
        self.assertEqual(self.end(pop3), "")
        self.pass_minutes(37)
        self.is_silent(imap, idle)
        self.pass_minutes(3)
        for talk in (imap, idle):
            self.assertEqual(self.end(talk), self.BYE)


class Without(Limited):
    """A capability that is off for one account is one that the server never had."""

    def tearDown(self):
        for name in self.server.cli("account", "show", ALICE).split():
            if "." in name and name.split(".")[0] in SERVICES:
                self.server.cli("account", "set", ALICE, name, "on")
        super().tearDown()

    def off(self, *names):
        for name in names:
            self.server.cli("account", "set", ALICE, name, "off")

    def told(self, talk, command, last):
        talk.socket.sendall(f"{command}\r\n".encode())
        lines = []
        while line := talk.line():
            lines.append(line)
            if last(line):
                return lines
        self.fail(f"{command}: {lines}")

    def test_imap(self):
        before = self.logged_in("imap")
        self.off("imap.IDLE", "imap.UIDPLUS", "imap.move", "imap.CONDSTORE", "imap.LITERAL+", "imap.SPECIAL-USE",
                 "imap.CHILDREN", "imap.QUOTA", "imap.ESEARCH", "imap.URLAUTH")
        self.assertRegex(self.server.cli("account", "show", ALICE), r"(?m)imap\.MOVE +off$")
        talk = self.talk("imap")
        said = talk.login()
        plain = before.answer("t CAPABILITY", lambda line: line.startswith("* CAPABILITY")).split()
        before.line()
        gone = {"IDLE", "UIDPLUS", "MOVE", "CONDSTORE", "LITERAL+", "SPECIAL-USE", "CHILDREN", "QUOTA",
                "QUOTA=RES-STORAGE", "QUOTA=RES-MESSAGE", "ESEARCH", "URLAUTH"}
        told = re.search(r"\[CAPABILITY ([^]]*)\]", said)[1].split()
        self.assertEqual(told, [it for it in plain[2:] if it not in gone])
        done = lambda line: line.startswith("t ")
        selected = self.told(talk, "t SELECT INBOX", done)
        self.assertNotRegex(" ".join(selected), "HIGHESTMODSEQ|URLMECH")
        for command in ("IDLE", "UID EXPUNGE 1", "MOVE 1 Trash", "SELECT INBOX (CONDSTORE)", "FETCH 1 MODSEQ",
                        "STATUS INBOX (HIGHESTMODSEQ)", "GETQUOTAROOT INBOX", "SEARCH RETURN (COUNT) ALL",
                        'LIST "" * RETURN (SPECIAL-USE)', "RESETKEY"):
            self.assertEqual(self.told(talk, f"t {command}", done), ["t BAD an unknown command"], command)
        self.assertEqual(self.told(talk, "t SEARCH SUBJECT {3+}\r\nabc", done), ["t BAD a literal has to wait to be asked for"])
        self.assertEqual(self.told(talk, "t ENABLE CONDSTORE", done)[0], "* ENABLED")
        listed = self.told(talk, 't LIST "" *', done)
        self.assertIn('* LIST () "/" Trash', listed)
        # LIST-EXTENDED, which is told, has this whatever else is.
        listed = self.told(talk, 't LIST "" Trash RETURN (CHILDREN)', done)
        self.assertIn('* LIST (\\HasNoChildren) "/" Trash', listed)
        copied = self.told(talk, "t COPY 1 Drafts", done)[-1]
        self.assertTrue(copied.startswith("t OK") and "[" not in copied, copied)
        # Who was there before keeps what he was told of, and so does everybody else.
        before.socket.sendall(b"t IDLE\r\n")
        self.assertTrue(before.line().startswith("+"))
        self.assertIn(" IDLE ", self.talk("imap").login("bob"))

    def test_a_real_program_does_without(self):
        self.server.empty("alice")
        self.server.append("alice", "INBOX", [harness.message(n) for n in range(4)])
        self.off("imap.MOVE", "imap.LITERAL+", "imap.NAMESPACE", "imap.CONDSTORE", "imap.SPECIAL-USE")
        config = self.file("mbsyncrc", f"""
FSync no
IMAPStore far
Host localhost
Port {self.server.port("imaps")}
User alice
Pass "{PASSWORD}"
SSLType IMAPS
CertificateFile {self.server.ca}
SystemCertificates no

MaildirStore near
Path {self.work}/mail/
Inbox {self.work}/mail/INBOX

Channel inbox
Far :far:INBOX
Near :near:INBOX
Create Near
Sync All
SyncState *
""")
        os.makedirs(os.path.join(self.work, "mail"), exist_ok=True)
        self.run_client("mbsync", "-c", config, "inbox")
        box = os.path.join(self.work, "mail", "INBOX")
        self.assertEqual(sum(len(os.listdir(os.path.join(box, it))) for it in ("cur", "new")), 4)
        # It waits to be asked for what it uploads.
        with open(os.path.join(box, "new", "upload"), "wb") as f:
            f.write(harness.message(9).replace(b"\r\n", b"\n"))
        self.run_client("mbsync", "-c", config, "inbox")
        self.run_client("mbsync", "-c", config, "inbox")
        self.assertEqual(len(self.server.bodies("alice")), 5)

    def test_pop3(self):
        self.off("pop3.TOP", "pop3.UIDL", "pop3.LANG", "pop3.PIPELINING")
        talk = self.logged_in("pop3")
        capabilities = self.told(talk, "CAPA", lambda line: line == ".")
        for name in ("TOP", "UIDL", "LANG", "PIPELINING"):
            self.assertNotIn(name, capabilities)
        self.assertIn("EXPIRE NEVER", capabilities)
        for command in ("TOP 1 0", "UIDL", "UIDL 1", "LANG"):
            self.assertEqual(talk.say(command), "-ERR Command not recognized")
        self.assertTrue(talk.say("STAT").startswith("+OK"))
        self.assertTrue(self.logged_in("pop3", "bob").say("UIDL").startswith("+OK"))

    def test_submission(self):
        self.off("submission.CHUNKING", "submission.DSN", "submission.8BITMIME", "submission.SIZE")
        talk = self.logged_in("submission")
        told = [line[4:] for line in self.told(talk, "EHLO x", lambda line: line[3] == " ")]
        words = {line.split()[0] for line in told}
        # SMTPUTF8 may not be told without 8BITMIME, nor BINARYMIME without CHUNKING.
        self.assertFalse(words & {"CHUNKING", "DSN", "8BITMIME", "SIZE", "SMTPUTF8", "BINARYMIME"}, words)
        self.assertTrue(words >= {"PIPELINING", "DELIVERBY", "AUTH"}, words)
        for parameter in ("BODY=8BITMIME", "SIZE=100", "RET=HDRS", "SMTPUTF8", "BODY=BINARYMIME"):
            self.assertRegex(talk.say(f"MAIL FROM:<{ALICE}> {parameter}"), "^555 5.5.4 ")
        self.assertTrue(talk.say(f"MAIL FROM:<{ALICE}>").startswith("250"))
        self.assertRegex(talk.say(f"RCPT TO:<{ALICE}> NOTIFY=NEVER"), "^555 5.5.4 ")
        self.assertTrue(talk.say(f"RCPT TO:<{ALICE}>").startswith("250"))
        # Its bytes are not taken for commands.
        talk.socket.sendall(b"BDAT 6 LAST\r\nNOOP\r\n")
        self.assertEqual([talk.line()[:9], talk.line()], ["500 5.5.1", ""])
        with smtplib.SMTP("127.0.0.1", self.server.port("submission"), timeout=30) as client:
            client.login("alice", PASSWORD)
            client.ehlo()
            self.assertFalse(client.has_extn("size"))
            self.assertEqual(client.sendmail(ALICE, [BOB], harness.message(3, "alice")), {})

    def test_what_can_not_be_turned_off_is_refused_with_what_can(self):
        for name in ("imap.IMAP4rev1", "imap.LOGIN", "pop3.RETR", "submission.AUTH", "imap.QRESINK"):
            with self.assertRaisesRegex(AssertionError, r"imap\.IDLE, .*pop3\.TOP, .*submission\.BURL"):
                self.off(name)


class Commands(Limited):
    def test_imap(self):
        def search(talk, bytes):
            half = "x" * (bytes // 2)
            command = f"t SEARCH SUBJECT {{{len(half)}+}}\r\n{half} SUBJECT {{{len(half)}+}}\r\n{half}"
            return talk.answer(command, lambda line: line.startswith(("t ", "* BYE")))

        talk = self.logged_in("imap")
        talk.say("SELECT INBOX")
        self.assertTrue(search(talk, 100_000).startswith("t OK"))
        self.set("imap.max-command-size", "64KiB")
        talk = self.logged_in("imap")
        talk.say("SELECT INBOX")
        self.assertTrue(search(talk, 60_000).startswith("t OK"))
        self.assertRegex(search(talk, 100_000), r"t (NO|BAD) \[(LIMIT|TOOBIG)\]")
        # It is in step still.
        self.assertTrue(talk.say("NOOP").startswith("t OK"))

    def test_pop3(self):
        long = "LANG " + "x" * 300
        self.assertEqual(self.talk("pop3").say(long), "-ERR The line is too long")
        self.set("pop3.max-command-size", "1KiB")
        self.assertEqual(self.talk("pop3").say(long), "-ERR That language is not spoken here")

    def test_protocol_errors_of_submission(self):
        self.set("submission.max-protocol-errors", "2")
        talk = self.talk("submission")
        said = [talk.say("WHAT"), talk.say("WHAT"), talk.say("WHAT"), talk.line(), talk.line()]
        self.assertEqual([it[:9] for it in said[:3]], ["500 5.5.1"] * 3)
        self.assertEqual(said[3:], ["421 4.7.0 Too many errors", ""])

    def test_tarpit_of_submission(self):
        def seconds(talk, command, code):
            began = time.monotonic()
            self.assertEqual(talk.say(command)[:3], code)
            return time.monotonic() - began

        self.set("submission.tarpit", "2s")
        talk = self.talk("submission")
        talk.say("EHLO client.test")
        self.assertGreater(seconds(talk, f"MAIL FROM:<{ALICE}>", "530"), 1.9)
        # Who has logged in is no stranger.
        self.assertTrue(talk.login().startswith("235"))
        self.assertLess(seconds(talk, "WHAT", "500"), 1.9)

    def test_recipients_and_rate_of_submission(self):
        self.set("message.max-recipients", "2", "submission.max-messages-per-minute", "1")
        talk = self.logged_in("submission")
        talk.say(f"MAIL FROM:<{ALICE}>")
        said = [talk.say(f"RCPT TO:<{it}@{harness.DOMAIN}>")[:9] for it in ("alice", "bob", "carol")]
        self.assertEqual(said, ["250 2.1.5", "250 2.1.5", "452 4.5.3"])
        self.assertTrue(talk.say("DATA").startswith("354"))
        self.assertTrue(talk.say("From: alice@demo.test\r\n\r\nHi\r\n.").startswith("250"))
        talk.say(f"MAIL FROM:<{ALICE}>")
        talk.say(f"RCPT TO:<{ALICE}>")
        said = talk.say("DATA")
        self.assertEqual(said, "451 4.7.1 Too many messages from your address in a minute, try later")
        # From another address it is another minute.
        other = self.logged_in("submission", source="127.0.0.9")
        other.say(f"MAIL FROM:<{ALICE}>")
        other.say(f"RCPT TO:<{ALICE}>")
        self.assertTrue(other.say("DATA").startswith("354"))


class Words(Limited):
    def test_banners(self):
        self.set("imap.banner", "Authorized use only", "pop3.banner", "POP, authorized use only",
                 "submission.banner", "authorized use only")
        self.assertRegex(self.talk("imap").greeting, r"^\* OK \[CAPABILITY IMAP4rev1 [^]]*\] Authorized use only$")
        self.assertEqual(self.talk("pop3").greeting, "+OK POP, authorized use only")
        self.assertRegex(self.talk("submission").greeting, r"^220 \S+ ESMTP authorized use only$")
        for text in ("<1.2@stamp>", "[ALERT]", "two\nlines", "x" * 201, "größer"):
            with self.assertRaises(AssertionError):
                self.set("pop3.banner", text)

    def test_login_types(self):
        def offered(service):
            talk = self.talk(service)
            if service == "imap":
                return talk.answer("t CAPABILITY", lambda line: line.startswith("* CAPABILITY"))
            command, last = ("CAPA", ".") if service == "pop3" else ("EHLO x", "250 HELP")
            talk.socket.sendall(f"{command}\r\n".encode())
            return " ".join(iter(talk.line, last))

        refused = {
            "imap": "t NO [CANNOT] No password is taken here: AUTHENTICATE by SCRAM-SHA-256.",
            "pop3": "-ERR The mechanisms are SCRAM-SHA-256",
            "submission": "504 5.5.4 The mechanisms are SCRAM-SHA-256",
        }
        first = {
            "imap": "t NO [PRIVACYREQUIRED]",
            "pop3": "-ERR Begin TLS first: STLS",
            "submission": "538 5.7.11 Begin TLS first: STARTTLS",
        }
        # Loopback is no exception.
        self.set("login.plain-on-loopback", "off")
        for service in SERVICES:
            self.assertNotIn("PLAIN", offered(service))
            self.assertTrue(self.talk(service).login().startswith(first[service]), service)
            self.set(f"{service}.login-type", "clear")
            self.assertIn("PLAIN", offered(service))
            self.logged_in(service).close()
            self.set(f"{service}.login-type", "scram")
            self.assertRegex(offered(service), "SCRAM-SHA-256")
            self.assertNotIn("PLAIN", offered(service))
            self.assertEqual(self.talk(service).login(), refused[service])
            self.set(f"{service}.login-type", "tls-scram")
            self.assertNotIn("SCRAM", offered(service))
        # Under TLS passwords are refused too, and SCRAM works.
        with smtplib.SMTP("localhost", self.server.port("submission"), timeout=30) as client:
            client.starttls(context=self.server.tls())
            client.ehlo()
            self.assertEqual(client.esmtp_features["auth"].split(), ["SCRAM-SHA-256"])

    def test_the_protocol_log_has_no_password_and_no_mail(self):
        self.set(*(word for it in SERVICES for word in (f"{it}.protocol-log", "on")))
        for service in SERVICES:
            talk = self.logged_in(service)
            if service == "submission":
                for command in (f"MAIL FROM:<{ALICE}>", f"RCPT TO:<{ALICE}>", "DATA"):
                    talk.say(command)
                self.assertTrue(talk.say(f"From: {ALICE}\r\nSubject: hidden\r\n\r\nQUIT hidden\r\n.").startswith("250"))
            talk.say("NOOP")
            talk.close()
        log = self.server.log_text()
        for line in ("imap #\\d+ C: t LOGIN \\.\\.\\.$", "imap #\\d+ C: t NOOP$", "pop3 #\\d+ C: PASS \\.\\.\\.$",
                     "pop3 #\\d+ S: \\+OK", "submission #\\d+ C: AUTH \\.\\.\\.$",
                     "submission #\\d+ C: RCPT TO:<alice@demo.test>$", "submission #\\d+ S: 354 "):
            self.assertRegex(log, f"(?m){line}")
        # The demo tells its password itself, before the first connection.
        said = [line for line in log.splitlines() if " C: " in line or " S: " in line]
        secrets = (PASSWORD, "hidden", base64.b64encode(f"\0alice\0{PASSWORD}".encode()).decode())
        self.assertEqual([line for line in said for it in secrets if it in line], [])
        self.settings("reset", *(f"{it}.protocol-log" for it in SERVICES))
        quiet = self.talk("imap")
        quiet.login()
        self.assertNotIn("t LOGIN", self.server.log_text()[len(log):])

    def test_order_of_pop3(self):
        self.server.empty("carol")
        self.server.append("carol", "INBOX", [harness.message(n, body=f"{n}\r\n") for n in (1, 2)])

        def first():
            talk = self.logged_in("pop3", "carol")
            talk.say("RETR 1")
            lines = list(iter(talk.line, "."))
            talk.say("QUIT")
            return lines[-1]

        self.assertEqual(first(), "1")
        self.set("pop3.order", "descending")
        self.assertEqual(first(), "2")
        # An account may have its own.
        carol = f"carol@{harness.DOMAIN}"
        self.server.cli("account", "set", carol, "pop3-order", "ascending")
        self.assertEqual(first(), "1")
        self.server.cli("account", "set", carol, "pop3-order", "default")
        self.assertEqual(first(), "2")

    def test_a_read_receipt_is_the_mail_programs_to_send(self):
        """What Exchange's SuppressReadReceipt turns off is never done: nothing is sent when a message
        is fetched, and its request reaches the program byte for byte."""
        self.server.empty("carol")
        self.server.empty("bob")
        asking = harness.message(7).replace(b"\r\n\r\n", f"\r\nDisposition-Notification-To: <{BOB}>\r\n\r\n".encode(), 1)
        self.server.append("carol", "INBOX", [asking])
        self.assertEqual(self.server.bodies("carol"), [asking])
        talk = self.logged_in("pop3", "carol")
        talk.say("RETR 1")
        self.assertEqual("\r\n".join([*iter(talk.line, "."), ""]).encode(), asking)
        talk.say("QUIT")
        # Programs of one account tell each other that it was sent (RFC 3503).
        one, other = self.server.imap("carol"), self.server.imap("carol")
        one.select("INBOX")
        other.select("INBOX")
        self.assertEqual(one.store("1", "+FLAGS", "$MDNSent")[0], "OK")
        self.assertIn(b"$MDNSent", other.fetch("1", "FLAGS")[1][0])
        for client in (one, other):
            client.logout()
        self.assertEqual(self.server.bodies("bob"), [])
        self.assertNotIn(BOB, self.server.cli("queue", "list"))


class Switches(Limited):
    REFUSED = {
        "imap": "t NO [CONTACTADMIN] IMAP is off for this account: ask the administrator.",
        "pop3": "-ERR [AUTH] POP3 is off for this account; ask the administrator",
        "submission": "525 5.7.13 Submission is off for this account; ask the administrator",
    }
    WRONG = {"imap": "t NO [AUTHENTICATIONFAILED]", "pop3": "-ERR [AUTH] Wrong", "submission": "535 5.7.8 Wrong"}
    ENDED = {"imap": "* BYE This login holds no more", "pop3": "", "submission": "421 4.7.0 This login holds no more"}

    def test_a_service_is_off_for_one_account(self):
        for service in SERVICES:
            live, others = self.logged_in(service), self.logged_in(service, "bob")
            rest = [self.logged_in(it) for it in SERVICES if it != service]
            self.server.cli("account", "set", ALICE, service, "off")
            self.assertIn("off", self.server.cli("account", "show", ALICE))
            # The session ends, that one alone.
            self.assertEqual(live.line(), self.ENDED[service])
            self.assertEqual(live.line(), "")
            for talk in (others, *rest):
                self.assertNotEqual(talk.say("NOOP"), "", talk.service)
                talk.close()
            self.assertEqual(self.talk(service).login(), self.REFUSED[service])
            said = self.talk(service).login(password="not the one")
            self.assertTrue(said.startswith(self.WRONG[service]), said)
            self.assertRegex(self.server.log_text(), f"{service}: {ALICE} from .* {service} is off for it")
            self.server.cli("account", "set", ALICE, service, "on")
            self.logged_in(service).close()

    def test_an_idle_session_ends(self):
        talk = self.logged_in("imap")
        talk.say("SELECT INBOX")
        talk.socket.sendall(b"t IDLE\r\n")
        self.assertTrue(talk.line().startswith("+"))
        self.server.cli("account", "set", ALICE, "imap", "off")
        self.assertEqual(talk.line(), "* BYE This login holds no more")

    def test_mail_comes_all_the_same(self):
        self.server.empty("alice")
        self.server.cli("account", "set", ALICE, "submission", "off")
        with smtplib.SMTP("127.0.0.1", self.server.port("submission"), timeout=30) as client:
            client.login("bob", PASSWORD)
            client.sendmail(BOB, [ALICE], harness.message(5))
        self.assertEqual(len(self.server.bodies("alice")), 1)

    def test_who_is_deleted_is_logged_out(self):
        gone = f"gone@{harness.DOMAIN}"
        self.run_client(binary(), "account", "add", gone, "--password-stdin", "--dir", self.server.directory,
                        stdin=PASSWORD + "\n")
        talk = self.logged_in("imap", gone)
        self.server.cli("account", "delete", gone, "--yes")
        self.assertEqual(talk.line(), "* BYE This login holds no more")


class Told(Limited):
    def rows(self):
        text = self.settings("connections")
        return [line.split() for line in text.splitlines() if line.startswith(("internal", "external"))]

    def test_connections_are_derived_and_overridden(self):
        port = lambda service: str(self.server.port(service))
        host = self.settings("get", "server.hostname").strip()
        inside = [
            ["internal", "imap", host, port("imaps"), "tls"],
            ["internal", "imap", host, port("imap"), "starttls"],
            ["internal", "pop3", host, port("pop3s"), "tls"],
            ["internal", "pop3", host, port("pop3"), "starttls"],
            ["internal", "submission", host, port("submissions"), "tls"],
            ["internal", "submission", host, port("submission"), "starttls"],
        ]
        self.assertEqual(self.rows(), inside)
        self.set("pop3.enabled", "off", "imap.port", "0", "external.hostname", "mail.example.test",
                 "external.submission", "out.example.test:2465:tls")
        self.assertEqual(self.rows(), [
            inside[0], inside[4], inside[5],
            ["external", "imap", "mail.example.test", port("imaps"), "tls"],
            ["external", "submission", "out.example.test", "2465", "tls"],
        ])


class Storm(Limited):
    """Two hundred sources guess at two people's passwords, as fast as they are let."""

    # Seconds that a person may have to wait; alone it takes a tenth of one.
    PATIENCE = 15

    def guess(self, source, n):
        while not self.over.is_set():
            try:
                talk = Talk(self.server, "imap", source)
                for user in ("alice", "bob"):
                    self.said.append(talk.login(user, f"guess {n} {len(self.said)}")[:20])
                talk.close()
            except OSError:
                pass

    def seconds(self, user, source):
        """How long a right login takes, from connecting to its reply."""
        began = time.monotonic()
        self.logged_in("imap", user, source).close()
        return time.monotonic() - began

    def test_the_owner_gets_in(self):
        self.logged_in("imap", "alice", "127.0.7.1").close()
        self.server.cli("account", "set", BOB, "sent-copy", "on")
        # What is known of places outlives the server; what is known of passwords does not.
        self.server.stop()
        self.server.start()
        self.over, self.said = threading.Event(), []
        sources = [f"127.1.{n}.1" for n in range(200)]
        threads = [threading.Thread(target=self.guess, args=it, daemon=True) for it in zip(sources, range(200))]
        for thread in threads:
            thread.start()
        try:
            wait_for(lambda: len(self.said) >= 400, 120, message="no storm")
            # Alice comes from where she was before, if not from the same address.
            self.assertLess(self.seconds("alice", "127.0.7.2"), self.PATIENCE)
            # Bob was nowhere before.
            self.assertLess(self.seconds("bob", "127.2.0.1"), self.PATIENCE)
            for _ in range(5):
                self.assertLess(self.seconds("alice", "127.0.7.2"), self.PATIENCE)
                self.assertLess(self.seconds("bob", "127.2.0.1"), self.PATIENCE)
            # Others do not notice.
            self.assertLess(self.seconds("carol", "127.2.0.2"), self.PATIENCE)
        finally:
            self.over.set()
            for thread in threads:
                thread.join(60)
        self.assertEqual([it for it in self.said if it.startswith("t OK")], [])
        # The log tells of it by network, and still of what was before.
        self.server.stop()
        self.server.start()
        self.assertRegex(self.server.cli("log", "--failed"), r"(?m) 127\.1\.\d+\.0/24 ")
        log = self.server.cli("log", "--changes", "--account", BOB)
        self.assertIn(f"account set {BOB} sent-copy on", log)


class Tried(Limited):
    """`pillarbox test` on servers with something wrong."""

    def tried(self, status):
        done = self.run_client(binary(), "test", "--dir", self.server.directory, status=(status,))
        return done.stdout

    def test_all_is_well_and_times_are_printed(self):
        said = self.tried(0)
        for service in ("submission", "submissions", "imap", "imaps", "pop3", "pop3s"):
            self.assertRegex(said, rf"(?m)^ok +{service} +\d+ ms  logged in")
        self.assertIn("All is well", said)
        # Nobody is left behind.
        self.assertNotIn("pillarbox-test-", self.server.cli("account", "list"))

    def test_what_is_wrong_is_named(self):
        self.set("server.hostname", "box", "imap.login-type", "tls-scram")
        said = self.tried(0)
        self.assertRegex(said, r"(?m)^look +imap +not tried: its login-type takes no password")
        self.assertRegex(said, r"(?m)^look +name +box is no full name: pillarbox settings set server.hostname")
        # What was set does not hold for the connection that is here already.
        self.settings("reset", "imap.login-type", "server.hostname")
        held = self.logged_in("imap")
        self.set("imap.max-connections", "1")
        self.assertRegex(self.tried(1), r"(?m)^FAIL +imap +\d+ ms  port \d+: ")
        held.close()


class LiveSessions(Limited):
    def test_fifty_sessions_of_all_services_outlive_every_change_that_is_not_theirs(self):
        idle = [self.logged_in("imap", user) for user in ("alice", "bob", "carol") for _ in range(10)]
        for talk in idle:
            talk.say("SELECT INBOX")
            talk.socket.sendall(b"t IDLE\r\n")
            self.assertTrue(talk.line().startswith("+"))
        polling = [self.logged_in("pop3", user) for user in ("alice", "bob", "carol")]
        sending = [self.logged_in("submission", user) for user in ("alice", "bob", "carol") for _ in range(6)]
        self.assertGreaterEqual(len(idle + polling + sending), 50)
        self.set("pop3.max-connections", "1", "imap.max-connections-per-account", "1",
                 "submission.max-connections-per-address", "1", "login.timeout", "10s",
                 "imap.banner", "Hello", "imap.login-type", "tls-scram", "pop3.order", "descending",
                 "submission.max-protocol-errors", "1", "message.max-size", "1MiB", "server.write-timeout", "30s")
        self.set("submission.enabled", "off", "imap.port", "0")
        self.set("pop3.port", "334")
        wait_for(lambda: self.closed("submission") and self.closed("imap") and self.closed("pop3"))
        self.server.cli("account", "set", ALICE, "pop3", "off")
        # Alice's POP3 is concerned, and nothing else.
        self.assertEqual(polling[0].line(), "")
        for talk in idle:
            talk.socket.sendall(b"DONE\r\n")
            self.assertEqual(talk.line(), "t OK Idle ended.")
        for talk in (*polling[1:], *sending):
            self.assertIn(talk.say("NOOP")[:3], ("+OK", "250"))
        changes = self.settings("changes").splitlines()
        self.assertRegex(changes[-1], r"^20\S+T\S+Z +(root|user \d+) +pop3\.port +\S+ +334$")

    def closed(self, service):
        try:
            Talk(self.server, service).close()
            return False
        except ConnectionRefusedError:
            return True


if __name__ == "__main__":
    harness.main()
