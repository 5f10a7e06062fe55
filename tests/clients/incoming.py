"""Mail from other servers: port 25 and LMTP, as Python, swaks and Postfix bring it, with DNS
from a double."""

import concurrent.futures
import imaplib
import os
import smtplib
import socket
import subprocess
import unittest

import harness
from dns_double import DnsDouble
from harness import PASSWORD, Server, binary, wait_for
from peers import Postfix

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
            [binary(), "account", "add", name, "--password-stdin", "--dir", self.directory],
            input=PASSWORD + "\n", capture_output=True, text=True, timeout=30, check=True,
        )

    def command(self):
        return [
            binary(), "serve", "--dir", self.directory, "--address", "127.0.0.1",
            "--port-base", str(self.base), "--hostname", "localhost",
            "--name-server", self.dns.address, "--tarpit", str(self.tarpit), *self.options,
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

    def test_smuggled_messages_stay_within_one(self):
        for n, end in enumerate([b"\n.\n", b"\n.\r\n", b"\r\n.\n", b"\r.\r", b"\r\n.\r", b"\n\r\n.\n", b"\r.\r\n"]):
            smuggled = b"MAIL FROM:<x@far.test>\r\nRCPT TO:<" + ERIN.encode() + b">\r\nDATA\r\nSubject: second\r\n\r\nx"
            data = mail(subject=f"first{n}") + b"text" + end + smuggled
            with socket.create_connection(("127.0.0.1", self.server.base + SMTP), 20) as s:
                file = s.makefile("rb")
                s.sendall(b"EHLO a\r\nMAIL FROM:<%s>\r\nRCPT TO:<%s>\r\nDATA\r\n" % (ANN.encode(), ERIN.encode()))
                while not file.readline().startswith(b"354"):
                    pass
                s.sendall(data + b"\r\n.\r\nQUIT\r\n")
                replies = file.read().splitlines()
            self.assertEqual([it[:3] for it in replies], [b"554", b"221"], end)
        self.assertEqual(self.found("second"), [])

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

    def test_swaks(self):
        done = subprocess.run(
            ["swaks", "--protocol", "LMTP", "--server", "127.0.0.1", "--port", str(self.server.base + LMTP),
             "--from", ANN, "--to", f"{ERIN},{FRANK}", "--header", "Subject: swaks"],
            capture_output=True, text=True, timeout=60,
        )
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        self.assertEqual(len(self.found("swaks", "frank")), 1)


# What has ever made a server pass mail on. None of them may be taken without a login.
RELAYS = [
    "x@far.test", "x%far.test@office.test", "x@far.test@office.test", '"x@far.test"@office.test',
    '"x%far.test"@office.test', "far.test!x@office.test", "far.test!x", "x@[192.0.2.1]", "x@[127.0.0.1]",
    "x@[IPv6:::1]", "x%far.test@[127.0.0.1]", "@office.test:x@far.test", "@office.test,@b.test:x@far.test",
    "x@far.test%office.test", "x@sub.office.test", "x@localhost", "x%far.test@localhost", '"x@far.test"',
    "x%far.test", "x@office.test.far.test", "x@far.test.", "x@OFFICE.test@far.test", "x@far.test(office.test)",
]


class NoOpenRelay(unittest.TestCase):
    def check(self, *options, setup=(), ports=((SMTP, "EHLO"), (LMTP, "LHLO"), (587, "EHLO"))):
        server = Office(*options)
        for words in setup:
            subprocess.run([binary(), *words, "--dir", server.directory], check=True, capture_output=True)
        server.start()
        try:
            for port, hello in ports:
                for sender in (ERIN, ANN, "", "root@localhost", FRANK):
                    self.try_all(server, port, hello, sender)
            queue = subprocess.run(
                [binary(), "queue", "list", "--dir", server.directory], capture_output=True, text=True
            )
            self.assertNotIn("far.test", queue.stdout)
        finally:
            server.end()

    def try_all(self, server, port, hello, sender):
        taken = []
        for address in RELAYS:
            with socket.create_connection(("127.0.0.1", server.base + port), 20) as s:
                file = s.makefile("rb")
                file.readline()
                s.sendall(f"{hello} far.test\r\nMAIL FROM:<{sender}>\r\nRCPT TO:<{address}>\r\nQUIT\r\n".encode())
                replies = [it for it in file.read().split(b"\r\n") if it and it[3:4] == b" "]
                # Those to hello, MAIL, RCPT and QUIT.
                if replies[2][:1] != b"5":
                    taken.append((port, sender, address, replies[2]))
        self.assertEqual(taken, [])

    def test_as_it_comes(self):
        self.check()

    def test_with_every_option_of_port_25(self):
        self.check("--greylist", "--dmarc-junk", "--no-direct")

    def test_a_device_that_may_relay_may_not_on_other_ports(self):
        device = ["device", "add", "scanner", "127.0.0.0/16", "--no-tls", "--relay"]
        self.check(setup=[device], ports=((SMTP, "EHLO"), (LMTP, "LHLO")))

    def test_with_a_route(self):
        route = ["route", "set", "default", "--host", "127.0.0.1", "--port", "1", "--tls", "none"]
        self.check(setup=[route])


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
