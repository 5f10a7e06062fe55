"""Mail from other servers: port 25 and LMTP, as Python, swaks and Postfix bring it, with DNS
from a double."""

import concurrent.futures
import imaplib
import os
import smtplib
import socket
import subprocess
import time
import unittest

import harness
from dns_double import DnsDouble
from harness import PASSWORD, Server, binary, free_port_base, wait_for
from oracle import LmtpProxy
from peers import Peer, Postfix

OFFICE = "office.test"
ERIN, FRANK = f"erin@{OFFICE}", f"frank@{OFFICE}"
ANN = "ann@far.test"
SMTP, LMTP = 25, 24

RECORDS = {
    ("far.test", "TXT"): ["v=spf1 ip4:127.0.0.1 -all"],
    ("_dmarc.far.test", "TXT"): ["v=DMARC1; p=reject"],
    ("strict.test", "TXT"): ["v=spf1 -all"],
    ("_dmarc.strict.test", "TXT"): ["v=DMARC1; p=reject"],
    ("careful.test", "TXT"): ["v=spf1 mx -all"],
    ("careful.test", "MX"): [(10, "mx.careful.test")],
    ("mx.careful.test", "A"): ["192.0.2.7"],
    ("_dmarc.careful.test", "TXT"): ["v=DMARC1; p=quarantine"],
    ("spfonly.test", "TXT"): ["v=spf1 ip4:192.0.2.0/24 -all"],
}


class Office(Server):
    """`pillarbox serve` with two accounts, its DNS a double, on loopback."""

    announces = None

    def __init__(self, *options, dns=None, **more):
        super().__init__(**more)
        self.dns = dns or DnsDouble(RECORDS)
        self.options = options
        self.tarpit = 0
        for name in (ERIN, FRANK):
            self.make_account(name)

    def make_account(self, name):
        subprocess.run(
            [binary(), "account", "add", name, "--no-welcome", "--password-stdin", "--dir", self.directory],
            input=PASSWORD + "\n", capture_output=True, text=True, timeout=30, check=True,
        )

    def command(self):
        return [
            binary(), "serve", "--dir", self.directory, "--address", "127.0.0.1",
            "--port-base", str(self.base), "--hostname", "localhost",
            "--name-server", self.dns.address, "--tarpit", str(self.tarpit),
            "--set", f"submission.tarpit={self.tarpit}s", *self.options,
        ]

    def smtp(self, source="127.0.0.1"):
        return smtplib.SMTP(
            "127.0.0.1", self.base + SMTP, local_hostname="mx.far.test", timeout=60, source_address=(source, 0)
        )

    def bodies(self, user="erin", mailbox="INBOX"):
        """Every message of a mailbox, by IMAP without TLS, as loopback may."""
        client = imaplib.IMAP4("127.0.0.1", self.base + 143, timeout=60)
        client.login(f"{user}@{OFFICE}", PASSWORD)
        status, count = client.select(mailbox, readonly=True)
        assert status == "OK", count
        found = []
        if count != [b"0"]:
            _, answer = client.fetch("1:*", "(BODY.PEEK[])")
            found = [part[1] for part in answer if isinstance(part, tuple)]
        client.logout()
        return found

    def end(self):
        try:
            self.stop()
        finally:
            self.dns.stop()
            self.remove()


def mail(sender=ANN, recipient=ERIN, subject="hello", body="text\r\n"):
    return (
        f"From: {sender}\r\nTo: {recipient}\r\nSubject: {subject}\r\n"
        f"Date: Mon, 2 Feb 2026 10:00:00 +0000\r\nMessage-ID: <{subject}@far.test>\r\n\r\n{body}"
    ).encode()


def results(message):
    """The Authentication-Results field that stands first, unfolded."""
    header = message.split(b"\r\n\r\n")[0].replace(b"\r\n\t", b" ").decode()
    return next(line for line in header.split("\r\n") if line.startswith("Authentication-Results:"))


class OfficeCase(unittest.TestCase):
    options = ()

    @classmethod
    def setUpClass(cls):
        cls.server = Office(*cls.options)
        cls.server.start()

    @classmethod
    def tearDownClass(cls):
        cls.server.end()

    def found(self, subject, user="erin", mailbox="INBOX"):
        """The messages of that subject."""
        wanted = f"Subject: {subject}\r\n".encode()
        return [it for it in self.server.bodies(user, mailbox) if wanted in it]


class Incoming(OfficeCase):
    def test_swaks_delivers_and_the_findings_are_told(self):
        done = subprocess.run(
            ["swaks", "--server", "127.0.0.1", "--port", str(self.server.base + SMTP), "--helo", "mx.far.test",
             "--tls", "--from", ANN, "--to", f"{ERIN},{FRANK}", "--header", "Subject: swaks",
             "--header", f"From: Ann <{ANN}>"],
            capture_output=True, text=True, timeout=60,
        )
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        for user in ("erin", "frank"):
            (message,) = self.found("swaks", user)
            self.assertIn("spf=pass smtp.mailfrom=ann@far.test", results(message))
            self.assertIn("dkim=none", results(message))
            self.assertIn("dmarc=pass header.from=far.test", results(message))
            self.assertTrue(message.startswith(b"Return-Path: <ann@far.test>\r\nAuthentication-Results: localhost;"))
            self.assertIn(b"Received: from mx.far.test ([127.0.0.1])\r\n\tby localhost with ESMTPS id ", message)

    def test_the_message_itself_is_not_touched(self):
        data = mail(subject="same").replace(b"\r\n\r\n", b"\r\nBcc: x@far.test\r\nX-Odd :  a\r\n\tb \r\n\r\n", 1)
        data += b"..dots\r\n\xe9\xff\r\n\r\n\r\n"
        with self.server.smtp() as smtp:
            smtp.sendmail(ANN, [ERIN], data)
        (message,) = self.found("same")
        self.assertTrue(message.endswith(data), message)

    def test_a_domain_that_asks_to_refuse_is_heard(self):
        with self.server.smtp() as smtp:
            with self.assertRaises(smtplib.SMTPDataError) as refused:
                smtp.sendmail("x@strict.test", [ERIN], mail("x@strict.test", subject="refused"))
        self.assertEqual(refused.exception.smtp_code, 550)
        self.assertIn(b"5.7.1", refused.exception.smtp_error)
        self.assertEqual(self.found("refused"), [])
        self.assertEqual(self.found("refused", mailbox="Junk"), [])

    def test_what_fails_otherwise_goes_to_junk(self):
        # The sender's own domain passes, the author's is another: that is what counts.
        for n, (sender, author, finding) in enumerate(
            [
                (ANN, "x@careful.test", "dmarc=fail (p=quarantine)"),
                ("x@spfonly.test", "x@spfonly.test", "spf=fail"),
                (ANN, f"{ANN}, y@strict.test", "dmarc=permerror"),
            ]
        ):
            with self.server.smtp() as smtp:
                smtp.sendmail(sender, [ERIN], mail(author, subject=f"junk{n}"))
            (message,) = self.found(f"junk{n}", mailbox="Junk")
            self.assertIn(finding, results(message))
            self.assertEqual(self.found(f"junk{n}"), [])

    def test_without_dns_mail_still_comes(self):
        self.server.dns.silent.add("_dmarc.mute.test")
        with self.server.smtp() as smtp:
            smtp.sendmail("x@mute.test", [ERIN], mail("x@mute.test", subject="mute"))
        (message,) = self.found("mute")
        self.assertIn("dmarc=temperror", results(message))

    def test_our_own_word_can_not_be_forged(self):
        forged = b"Authentication-Results: LOCALHOST; dmarc=pass\r\nAuthentication-Results: else.test; spf=pass\r\n"
        with self.server.smtp() as smtp:
            smtp.sendmail(ANN, [ERIN], forged + mail(subject="forged"))
        (message,) = self.found("forged")
        self.assertEqual(message.lower().count(b"authentication-results: localhost"), 1)
        self.assertIn(b"Authentication-Results: else.test", message)

    def test_large_messages_pass_through_little_memory(self):
        body = ("0123456789abcdef" * 4 + "\r\n") * (50 * 1024 * 1024 // 66)

        def send(n):
            with self.server.smtp() as smtp:
                smtp.sendmail(ANN, [ERIN], mail(subject=f"large{n}", body=body))

        with concurrent.futures.ThreadPoolExecutor(4) as pool:
            list(pool.map(send, range(4)))
        peak = self.server.memory_peak() / 1048576
        print(f"    memory at its highest, four messages of 50 MB: {peak:.1f} MiB")
        self.assertLess(peak, 32)
        (message,) = self.found("large3")
        self.assertTrue(message.endswith(body.encode()))
        left = [it for it in os.listdir(self.server.directory) if it.startswith(".tmp")]
        self.assertEqual(left, [])


class Lmtp(OfficeCase):
    def deliver(self, host, port, subject):
        lmtp = smtplib.LMTP(host, port, local_hostname="mta.office.test")
        # smtplib reads one reply a recipient by itself; the unknown one is refused at RCPT.
        refused = lmtp.sendmail(ANN, [ERIN, f"nobody@{OFFICE}", FRANK], mail(subject=subject))
        lmtp.quit()
        self.assertEqual(list(refused), [f"nobody@{OFFICE}"])
        for user in ("erin", "frank"):
            (message,) = self.found(subject, user)
            self.assertTrue(message.startswith(b"Return-Path: <ann@far.test>\r\nReceived: from mta.office.test"))
            self.assertTrue(message.endswith(mail(subject=subject)))

    def test_python_on_tcp(self):
        self.deliver("127.0.0.1", self.server.base + LMTP, "tcp")

    def test_python_on_a_unix_socket(self):
        self.deliver(os.path.join(self.server.directory, "lmtp.sock"), 0, "unix")

    def test_postfix(self):
        """Postfix takes the mail of the internet and hands it over."""
        transport = f"lmtp:inet:127.0.0.1:{self.server.base + LMTP}"
        postfix = Postfix("127.0.0.25", OFFICE, settings={"virtual_transport": transport})
        try:
            with smtplib.SMTP("127.0.0.25", 25, timeout=30) as smtp:
                smtp.sendmail(ANN, [ERIN, FRANK], mail(subject="postfix"))
            for user in ("erin", "frank"):
                wait_for(lambda: self.found("postfix", user), 30, message="Postfix hands nothing over")
                (message,) = self.found("postfix", user)
                self.assertTrue(message.startswith(b"Return-Path: <ann@far.test>\r\nReceived: from postfix.office.test"))
        finally:
            postfix.stop()

    def test_dovecot(self):
        """Dovecot, as a director in front, hands it over and tells its client each outcome."""
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        proxy = LmtpProxy(port, self.server.base + LMTP)
        try:
            wait_for(lambda: self.answers(port), 30, message="Dovecot does not answer")
            lmtp = smtplib.LMTP("127.0.0.1", port, local_hostname="mta.office.test")
            refused = lmtp.sendmail(ANN, [ERIN, f"nobody@{OFFICE}", FRANK], mail(subject="dovecot"))
            lmtp.quit()
            self.assertEqual(list(refused), [f"nobody@{OFFICE}"], proxy.log_text())
            self.assertEqual(refused[f"nobody@{OFFICE}"][0], 550)
            for user in ("erin", "frank"):
                (message,) = self.found("dovecot", user)
                self.assertTrue(message.endswith(mail(subject="dovecot")))
        finally:
            proxy.stop()

    def answers(self, port):
        try:
            with socket.create_connection(("127.0.0.1", port), 5) as s:
                s.settimeout(5)
                return s.recv(200).startswith(b"220")
        except OSError:
            return False

    def test_swaks(self):
        done = subprocess.run(
            ["swaks", "--protocol", "LMTP", "--server", "127.0.0.1", "--port", str(self.server.base + LMTP),
             "--from", ANN, "--to", f"{ERIN},{FRANK}", "--header", "Subject: swaks"],
            capture_output=True, text=True, timeout=60,
        )
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        self.assertEqual(len(self.found("swaks", "frank")), 1)


class Dialogue:
    """A connection by hand: what is said, and the replies as (code, text)."""

    def __init__(self, port, source="127.0.0.1"):
        self.socket = socket.create_connection(("127.0.0.1", port), 60, source_address=(source, 0))
        self.file = self.socket.makefile("rb")

    def send(self, data):
        self.socket.sendall(data)

    def reply(self):
        """The next reply, its last line; None at the end."""
        while line := self.file.readline():
            if line[3:4] == b" ":
                return int(line[:3]), line[4:].rstrip().decode()
        return None

    def say(self, line):
        self.send(line.encode() + b"\r\n")
        return self.reply()

    def hello(self):
        """Past the greeting; the words of EHLO."""
        self.reply()
        self.send(b"EHLO mx.far.test\r\n")
        words = []
        while (line := self.file.readline())[3:4] == b"-":
            words.append(line[4:].strip().decode())
        return words

    def close(self):
        self.file.close()
        self.socket.close()


class Limits(unittest.TestCase):
    """Each option, reached from outside."""

    def office(self, *options):
        server = Office(*options).start()
        self.addCleanup(server.end)
        return server

    def dialogue(self, server, source="127.0.0.1"):
        dialogue = Dialogue(server.base + SMTP, source)
        self.addCleanup(dialogue.close)
        return dialogue

    def envelope(self, dialogue, *recipients):
        """The reply to the last of MAIL and RCPTs."""
        reply = dialogue.say(f"MAIL FROM:<{ANN}>")
        for recipient in recipients:
            reply = dialogue.say(f"RCPT TO:<{recipient}>")
        return reply

    def test_connections(self):
        server = self.office("--set", "smtp.max-connections=4", "--set", "smtp.max-connections-per-address=2")
        first, second = self.dialogue(server), self.dialogue(server)
        self.assertEqual((first.reply()[0], second.reply()[0]), (220, 220))
        self.assertEqual(self.dialogue(server).reply(), (421, "4.3.2 Too many connections, try again later"))
        others = [self.dialogue(server, f"127.0.0.{n}") for n in (2, 3)]
        self.assertEqual([it.reply()[0] for it in others], [220, 220])
        self.assertEqual(self.dialogue(server, "127.0.0.4").reply(), (421, "4.3.2 Too many connections, try again later"))
        # Users are counted apart.
        Dialogue(server.base + 587).close()
        imaplib.IMAP4("127.0.0.1", server.base + 143, timeout=60).logout()
        self.assertEqual(first.say("QUIT")[0], 221)

        def again():
            dialogue = self.dialogue(server)
            return dialogue.reply()[0] == 220

        wait_for(again, 20, 0.1, message="no place comes back")

    def test_messages(self):
        server = self.office(
            "--set", "message.max-size=1MiB", "--set", "message.max-recipients=2",
            "--set", "smtp.max-messages-per-connection=3", "--set", "smtp.max-messages-per-minute=2",
        )
        dialogue = self.dialogue(server)
        words = dialogue.hello()
        self.assertIn("SIZE 1048576", words)
        self.assertIn("LIMITS MAILMAX=3 RCPTMAX=2", words)
        self.assertEqual(dialogue.say(f"MAIL FROM:<{ANN}> SIZE=1048577"), (552, "5.3.4 The message is larger than 1048576 bytes"))
        self.assertEqual(self.envelope(dialogue, ERIN, FRANK, ERIN)[0], 452)
        self.assertEqual(dialogue.say("DATA")[0], 354)
        dialogue.send(mail(subject="limits", body="x" * 998 + "\r\n") + b".\r\n")
        self.assertEqual(dialogue.reply()[0], 250)
        self.envelope(dialogue, ERIN)
        self.assertEqual(dialogue.say("DATA")[0], 354)
        dialogue.send(mail(subject="too-large", body=("x" * 998 + "\r\n") * 1100) + b".\r\n")
        self.assertEqual(dialogue.reply(), (552, "5.3.4 The message is larger than 1048576 bytes"))
        self.envelope(dialogue, ERIN)
        self.assertEqual(dialogue.say("DATA"), (451, "4.7.1 Too many messages from your address in a minute, try later"))
        self.assertEqual(
            dialogue.say(f"MAIL FROM:<{ANN}>"),
            (421, "4.7.0 One connection brings no more messages than that; connect again"),
        )
        self.assertIsNone(dialogue.reply())
        self.assertEqual(len(server.bodies()), 1)

    def test_refusals(self):
        server = self.office("--set", "smtp.max-refusals=3")
        dialogue = self.dialogue(server)
        dialogue.hello()
        for n in range(4):
            self.assertEqual(self.envelope(dialogue, f"x{n}@far.test")[0], 550)
            if n < 3:
                self.assertEqual(dialogue.say("RSET")[0], 250)
        self.assertEqual(dialogue.reply(), (421, "4.7.0 Too many errors"))

    def test_mistakes_words_and_the_protocol_log(self):
        server = self.office(
            "--set", "smtp.max-protocol-errors=2", "--set", "smtp.banner=authorized mail only",
            "--set", "smtp.protocol-log=on",
        )
        dialogue = self.dialogue(server)
        self.assertEqual(dialogue.reply(), (220, "localhost ESMTP authorized mail only"))
        self.assertEqual([dialogue.say("WHAT")[0] for _ in range(3)], [500] * 3)
        self.assertEqual(dialogue.reply(), (421, "4.7.0 Too many errors"))
        self.assertIsNone(dialogue.reply())
        # What is no command may be anything, a password too.
        for line in (r"smtp #\d+ C: \(4 bytes\)$", r"smtp #\d+ S: 421 4\.7\.0 Too many errors$"):
            self.assertRegex(server.log_text(), f"(?m){line}")

    def test_guessing_is_slow_and_ends_and_a_restart_forgets_nothing(self):
        server = Office("--set", "smtp.max-unknown-per-hour=2")
        server.tarpit = 1
        server.start()
        self.addCleanup(server.end)
        dialogue = self.dialogue(server)
        dialogue.hello()
        began = time.monotonic()
        self.assertEqual(self.envelope(dialogue, f"anna@{OFFICE}"), (550, "5.1.1 There is no such address here"))
        self.assertEqual(dialogue.say(f"RCPT TO:<bert@{OFFICE}>")[0], 550)
        self.assertGreaterEqual(time.monotonic() - began, 2)
        over = (451, "4.7.1 Too many unknown recipients; try later")
        self.assertEqual(dialogue.say(f"RCPT TO:<{ERIN}>"), over)
        # Others are not concerned.
        other = self.dialogue(server, "127.0.0.2")
        other.hello()
        self.assertEqual(self.envelope(other, ERIN)[0], 250)
        server.stop()
        server.start()
        dialogue = self.dialogue(server)
        dialogue.hello()
        self.assertEqual(self.envelope(dialogue, ERIN), over)

    def test_greylisting_is_remembered_over_a_restart(self):
        """The store holds it: that a minute's wait counts on is a unit test's, by its clock."""
        server = self.office("--greylist")
        dialogue = self.dialogue(server)
        dialogue.hello()
        self.assertEqual(self.envelope(dialogue, ERIN)[0], 451)
        server.stop()
        server.start()
        dialogue = self.dialogue(server)
        dialogue.hello()
        self.assertEqual(self.envelope(dialogue, ERIN)[0], 451)


# What servers have taken for the end of a message that is none (RFC 5321, 2.3.8; CVE-2023-51764).
ENDS = [
    b"\n.\n", b"\n.\r\n", b"\r\n.\n", b"\r.\r", b"\r\n.\r", b"\n\r\n.\n", b"\r.\r\n", b"\r.\n",
    b"\r\n\0.\r\n", b"\r\n.\0\r\n", b"\n.\r", b"\r\r\n.\r\r\n",
]


class Smuggling(OfficeCase):
    """None of them ends a message, however it is cut, nor goes on to another server."""

    @classmethod
    def setUpClass(cls):
        port = free_port_base() + 26
        cls.peer = Peer("127.0.0.1", port=port)
        cls.server = Office("--set", "smtp.max-refusals=1000")
        cls.tell("route", "set", "default", "--host", "127.0.0.1", "--port", str(port), "--tls", "none")
        cls.tell("group", "add", f"team@{OFFICE}", ERIN, "hal@away.test")
        cls.server.start()

    @classmethod
    def tearDownClass(cls):
        super().tearDownClass()
        cls.peer.stop()

    @classmethod
    def tell(cls, *words):
        subprocess.run([binary(), *words, "--dir", cls.server.directory], check=True, capture_output=True, timeout=60)

    def message(self, n, end):
        smuggled = f"MAIL FROM:<x@far.test>\r\nRCPT TO:<{ERIN}>\r\nDATA\r\nSubject: second\r\n\r\nx".encode()
        return mail(subject=f"first{n}", body="text") + end + smuggled + b"\r\n"

    def begin(self, port, hello):
        dialogue = Dialogue(self.server.base + port)
        dialogue.reply()
        self.assertEqual(dialogue.say(f"{hello} mx.far.test")[0], 250)
        self.assertEqual(dialogue.say(f"MAIL FROM:<{ANN}>")[0], 250)
        self.assertEqual(dialogue.say(f"RCPT TO:<team@{OFFICE}>")[0], 250)
        return dialogue

    def over(self, dialogue, end):
        """One refusal, and the session is in step."""
        code, text = dialogue.reply()
        self.assertEqual((code, text[:5]), (554, "5.6.0"), end)
        self.assertEqual(dialogue.say("NOOP")[0], 250)
        self.assertEqual(dialogue.say("QUIT")[0], 221)
        self.assertIsNone(dialogue.reply())
        dialogue.close()

    def test_data_however_it_is_cut(self):
        for port, hello in ((SMTP, "EHLO"), (LMTP, "LHLO")):
            for n, end in enumerate(ENDS):
                data = self.message(n, end)
                at = data.index(b"text" + end) + 4
                for cut in range(at, at + len(end) + 1):
                    dialogue = self.begin(port, hello)
                    self.assertEqual(dialogue.say("DATA")[0], 354)
                    dialogue.send(data[:cut])
                    # So that the pieces are read apart, as often as that goes.
                    time.sleep(0.002)
                    dialogue.send(data[cut:] + b".\r\n")
                    self.over(dialogue, end)
        self.nothing_came()

    def test_chunks_however_they_are_cut(self):
        for n, end in enumerate(ENDS):
            data = self.message(n, end)
            at = data.index(b"text" + end) + 4
            for cut in range(at, at + len(end) + 1):
                dialogue = self.begin(SMTP, "EHLO")
                pieces = [data[:cut], data[cut:]]
                dialogue.send(b"BDAT %d\r\n" % len(pieces[0]) + pieces[0])
                first = dialogue.reply()
                if first[0] == 250:
                    dialogue.send(b"BDAT %d LAST\r\n" % len(pieces[1]) + pieces[1])
                    self.over(dialogue, end)
                else:
                    self.assertEqual((first[0], first[1][:5]), (554, "5.6.0"))
                    dialogue.close()
        self.nothing_came()

    def test_pipelined(self):
        for n, end in enumerate(ENDS):
            dialogue = Dialogue(self.server.base + SMTP)
            dialogue.hello()
            head = f"MAIL FROM:<{ANN}>\r\nRCPT TO:<team@{OFFICE}>\r\nDATA\r\n".encode()
            dialogue.send(head + self.message(n, end) + b".\r\nRSET\r\nQUIT\r\n")
            codes = [it[0] for it in iter(dialogue.reply, None)]
            self.assertEqual(codes, [250, 250, 354, 554, 250, 221], end)
            dialogue.close()
        self.nothing_came()

    def nothing_came(self):
        self.assertEqual([it for it in self.server.bodies() if b"first" in it or b"second" in it], [])
        # What is sent after them arrives after them: nothing of them is on its way.
        mark = f"mark{time.monotonic_ns()}"
        with self.server.smtp() as smtp:
            smtp.sendmail(ANN, [f"team@{OFFICE}"], mail(subject=mark))
        wait_for(lambda: any(mark.encode() in it.body for it in self.peer.taken), 30, message="nothing goes on")
        for taken in self.peer.taken:
            self.assertIn(b"Subject: mark", taken.body)


# What has ever made a server pass mail on. None of them may be taken without a login.
RELAYS = [
    "x@far.test", "x%far.test@office.test", "x@far.test@office.test", '"x@far.test"@office.test',
    '"x%far.test"@office.test', "far.test!x@office.test", "far.test!x", "x@[192.0.2.1]", "x@[127.0.0.1]",
    "x@[IPv6:::1]", "x%far.test@[127.0.0.1]", "@office.test:x@far.test", "@office.test,@b.test:x@far.test",
    "x@far.test%office.test", "x@sub.office.test", "x@localhost", "x%far.test@localhost", '"x@far.test"',
    "x%far.test", "x@office.test.far.test", "x@far.test.", "x@OFFICE.test@far.test", "x@far.test(office.test)",
    '"far.test!x"@office.test', '"x\\@far.test"@office.test', "@far.test:x@office.test", "@[127.0.0.1]:x@far.test",
    '"@office.test:x@far.test"@office.test', "x%far.test%office.test@localhost", "x@far.test,office.test",
    "x@far.test;office.test", "x@far.test erin@office.test", "erin@office.test x@far.test", "x@office.test\0@far.test",
    "x@[office.test]", "x@[127.0.0.1].far.test", "x@127.0.0.1", "x@2130706433", "x@[IPv6:::ffff:127.0.0.1]",
    "root@far.test", "postmaster@far.test", "erin%far.test@office.test", "erin+x@far.test@office.test",
    # Of addresses that were rewritten here, made up.
    "SRS0=AAAAAA=AA=far.test=x@office.test", "SRS0=x@far.test", "SRS0+AAAA=AA=far.test=x@office.test",
    "SRS1=AAAAAA=far.test==AAAA=AA=b.test=x@office.test", "srs0=far.test=x@office.test",
    # Other scripts: an o of the Cyrillic, wide letters, a wide @, a stop of the Chinese.
    "x@\u043effice.test", "x@\uff46\uff41\uff52.test", "x\uff20far.test@office.test", "x@far\u3002test",
    "x@office\u3002test.far.test", "x%far\u3002test@office.test", "x@xn--ffice-uye.test",
]
HAL = "hal@away.test"
# What an owner may set up; with a catch-all anything in our domain is taken, for its address alone.
SETUPS = {
    "nothing": [],
    "a group": [["group", "add", f"team@{OFFICE}", ERIN, HAL]],
    "a grant": [["grant", "add", ERIN, "@far.test"]],
    "an alias": [["alias", "add", f"postmaster@{OFFICE}", ERIN]],
    "homes": [
        ["home", "set", f"ida@{OFFICE}", "--host", "127.0.0.1", "--tls", "starttls"],
        ["home", "set", "@homes.test", "--host", "127.0.0.1", "--tls", "starttls"],
    ],
    "a route": [["route", "set", "far.test", "--host", "127.0.0.1", "--port", "1", "--tls", "none"]],
    "a device": [["device", "add", "scanner", "127.0.0.0/16", "--no-tls", "--relay"]],
    "a catch-all": [["catch-all", "set", OFFICE, HAL]],
}
OPTIONS = {"as it comes": (), "greylist": ("--greylist",), "junk": ("--dmarc-junk",), "no direct": ("--no-direct",)}
SENDERS = (ERIN, ANN, "", "root@localhost", FRANK, f"nobody@{OFFICE}", HAL)


class NoOpenRelay(unittest.TestCase):
    """In no combination of settings does mail go on that came without a login, but to where the
    owner sends it. A route leads to a peer that takes all: what it gets is looked at."""

    @classmethod
    def setUpClass(cls):
        cls.port = free_port_base() + 26
        cls.peer = Peer("127.0.0.1", port=cls.port)

    @classmethod
    def tearDownClass(cls):
        cls.peer.stop()

    def check(self, setups, options=()):
        server = Office("--set", "smtp.max-refusals=100000", "--set", "smtp.max-unknown-per-hour=0", *options)
        self.peer.taken.clear()
        rows = [["route", "set", "default", "--host", "127.0.0.1", "--port", str(self.port), "--tls", "none"]]
        for name in setups:
            rows += SETUPS[name]
        for words in rows:
            done = subprocess.run([binary(), *words, "--dir", server.directory], capture_output=True, text=True)
            self.assertEqual(done.returncode, 0, (words, done.stderr))
        server.start()
        try:
            # A device that may relay does so on the port for it.
            ports = [(SMTP, "EHLO"), (LMTP, "LHLO")] + [(587, "EHLO")] * ("a device" not in setups)
            for port, hello in ports:
                for sender in SENDERS:
                    self.try_all(server, port, hello, sender, "a catch-all" in setups)
            self.assertEqual(self.strangers(server), [])
        finally:
            server.end()

    def strangers(self, server):
        """Who else than the owner's choice gets mail, by the queue and by the peer."""
        queue = server.cli("queue", "list")
        taken = [rcpt for it in self.peer.taken for rcpt in it.rcpts if rcpt != f"RCPT TO:<{HAL}>"]
        return taken + [line for line in queue.splitlines() if "@" in line and HAL not in line]

    def try_all(self, server, port, hello, sender, catches):
        for address in RELAYS:
            dialogue = Dialogue(server.base + port)
            dialogue.reply()
            dialogue.say(f"{hello} far.test")
            utf8 = "" if address.isascii() else " SMTPUTF8"
            dialogue.say(f"MAIL FROM:<{sender}>{utf8}")
            code, text = dialogue.say(f"RCPT TO:<{address}>")
            if code == 250 and catches:
                # It goes to the catch-all and nowhere else.
                self.assertFalse(address.lower().startswith(("srs0=", "srs1=")), (port, sender, address))
                self.assertEqual(dialogue.say("DATA")[0], 354)
                dialogue.send(mail(subject="caught") + b".\r\n")
                dialogue.reply()
            elif not (code == 451 and catches and text.startswith("4.7.1 Greylisted")):
                self.assertEqual(code // 100, 5, (port, sender, address, text))
            dialogue.close()

    def test_each_setting_alone(self):
        for name in SETUPS:
            with self.subTest(name):
                self.check([name])

    def test_all_settings_with_each_option(self):
        everything = [name for name in SETUPS if name != "a device"]
        for name, options in OPTIONS.items():
            with self.subTest(name):
                self.check(everything, options)
                self.check([*everything, "a device"], options)

    def test_all_but_one(self):
        for name in SETUPS:
            if name not in ("nothing", "a device"):
                with self.subTest(name):
                    self.check([it for it in SETUPS if it not in (name, "a catch-all")])


class Greylist(OfficeCase):
    options = ("--greylist",)

    def test_strangers_are_put_off(self):
        with self.server.smtp() as smtp:
            with self.assertRaises(smtplib.SMTPRecipientsRefused) as refused:
                smtp.sendmail(ANN, [ERIN], mail())
        ((code, text),) = refused.exception.recipients.values()
        self.assertEqual(code, 451)
        self.assertIn(b"Greylisted", text)
        # Who hands over by LMTP is no stranger.
        lmtp = smtplib.LMTP("127.0.0.1", self.server.base + LMTP)
        lmtp.sendmail(ANN, [ERIN], mail(subject="known"))
        lmtp.quit()
        self.assertEqual(len(self.found("known")), 1)


if __name__ == "__main__":
    harness.main()
