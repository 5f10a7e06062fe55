"""Home servers: pillarbox in front of Debian's Dovecot and Postfix, and of another pillarbox:
IMAP, POP3 and submission are connected through, failures are told, loops end; the latency that
this adds is printed beside a direct connection."""

import base64
import imaplib
import os
import poplib
import shutil
import smtplib
import socket
import statistics
import subprocess
import tempfile
import threading
import time
import unittest

import harness
import oracle
from harness import DOMAIN, PASSWORD, Server, free_port_base, message, wait_for
from large import MEMORY_LIMIT
from peers import Authority, Postfix

# What the accounts have on the server in front: it must not be asked for.
FRONT_PASSWORD = "another horse 8"
# Where clients come from, to be seen by home servers that are told.
CLIENT = "127.0.0.5"
POSTFIX = "127.0.0.77"
ROUNDS = 200
SOON = 20


class TellingDovecot(oracle.Dovecot):
    """Trusts who is in front, and checks passwords for Postfix."""

    def prepare(self):
        super().prepare()
        self.auth = self.base + 26
        with open(os.path.join(self.directory, "dovecot.conf"), "a") as f:
            f.write("login_trusted_networks = 127.0.0.1\nauth_verbose = yes\n")
            f.write("service auth {\n  inet_listener {\n    address = 127.0.0.1\n    port = %d\n  }\n}\n" % self.auth)


class Telling(Server):
    """Says in its log who logs in."""

    def command(self):
        program, *words = super().command()
        return [program, "--log", "info", *words]


def home(front, whose, server, *options, tls="implicit", ca=True, host="localhost"):
    """Sets the home server of an address."""
    names = ("imaps", "pop3s", "submissions") if tls == "implicit" else ("imap", "pop3", "submission")
    words = ["home", "set", f"{whose}@{DOMAIN}", "--host", host, "--tls", tls, *options]
    for option, service in zip(("--imap-port", "--pop3-port", "--submission-port"), names):
        if option not in options:
            words += [option, str(server.port(service))]
    return front.cli(*words, *(["--ca", server.ca] if ca else []))


def imap(server, user, password=PASSWORD):
    client = imaplib.IMAP4_SSL("localhost", server.port("imaps"), ssl_context=server.tls(), timeout=60)
    client.login(user, password)
    return client


def pop(server, user, password=PASSWORD):
    client = poplib.POP3_SSL("localhost", server.port("pop3s"), context=server.tls(), timeout=60)
    client.user(user)
    client.pass_(password)
    return client


def smtp(server, user, password=PASSWORD, source=None):
    where = (source, 0) if source else None
    client = smtplib.SMTP_SSL(
        "localhost", server.port("submissions"), context=server.tls(), timeout=60, source_address=where
    )
    client.login(user, password)
    return client


class Line:
    """A line of any protocol over TLS."""

    def __init__(self, server, service, source="127.0.0.1"):
        plain = socket.create_connection(("127.0.0.1", server.port(service)), 60, (source, 0))
        self.socket = server.tls().wrap_socket(plain, server_hostname="localhost")
        self.file = self.socket.makefile("rwb")
        self.greeting = self.read()

    def read(self):
        return self.file.readline()

    def ask(self, line):
        self.file.write(line.encode() + b"\r\n")
        self.file.flush()
        return self.read()

    def until(self, start):
        """Lines up to the one that begins so; that one."""
        while True:
            line = self.read()
            if not line or line.startswith(start):
                return line


class HomeCase(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = cls.run_server(Server(password=FRONT_PASSWORD))

    @classmethod
    def run_server(cls, server):
        server.start()
        cls.addClassCleanup(server.remove)
        cls.addClassCleanup(server.stop)
        return server

    def refused(self, connect, error, *texts):
        with self.assertRaises(error) as caught:
            connect()
        for text in texts:
            self.assertIn(text, str(caught.exception))


class ThroughPillarbox(HomeCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.home = cls.run_server(Server())
        home(cls.server, "bob", cls.home)
        home(cls.server, "carol", cls.home, tls="starttls")

    def test_imap(self):
        for user in ("bob", "carol"):
            self.home.empty(user)
            self.home.append(user, "INBOX", [message(n) for n in range(5)])
            client = imap(self.server, user)
            self.assertEqual(client.select("INBOX")[1], [b"5"])
            _, answer = client.fetch("1:*", "(BODY.PEEK[])")
            bodies = [part[1] for part in answer if isinstance(part, tuple)]
            self.assertEqual(bodies, self.home.bodies(user))
            client.logout()
        self.assertEqual(imap(self.server, "alice", FRONT_PASSWORD).select("INBOX")[0], "OK")

    def test_idle(self):
        line = Line(self.server, "imaps")
        self.assertIn(b"OK [CAPABILITY", line.ask(f'a LOGIN bob "{PASSWORD}"'))
        line.ask("b SELECT INBOX")
        line.until(b"b OK")
        self.assertTrue(line.ask("c IDLE").startswith(b"+"))
        self.home.append("bob", "INBOX", [message(77)])
        self.assertRegex(line.until(b"*"), rb"\* \d+ (EXISTS|RECENT)")

    def test_pop3(self):
        self.home.empty("bob")
        self.home.append("bob", "INBOX", [message(n) for n in range(3)])
        client = pop(self.server, "bob")
        self.assertEqual(client.stat()[0], 3)
        self.assertEqual(b"\r\n".join(client.retr(2)[1]) + b"\r\n", self.home.bodies("bob")[1])
        client.dele(1)
        client.quit()
        self.assertEqual(len(self.home.bodies("bob")), 2)

    def test_submission(self):
        self.home.empty("carol")
        sent = message(5, sender="bob", recipient="carol")
        with smtp(self.server, "bob") as client:
            client.sendmail(f"bob@{DOMAIN}", [f"carol@{DOMAIN}"], sent)
        bodies = wait_for(lambda: self.home.bodies("carol"), SOON)
        self.assertTrue(bodies[0].endswith(sent.split(b"\r\n\r\n")[1]))

    def test_passwords(self):
        """The home server's word counts, and no other."""
        for password in (FRONT_PASSWORD, "wrong"):
            self.refused(lambda: imap(self.server, "bob", password), imaplib.IMAP4.error, "AUTHENTICATIONFAILED")
            self.refused(lambda: pop(self.server, "bob", password), poplib.error_proto, "[AUTH]")
            self.refused(lambda: smtp(self.server, "bob", password), smtplib.SMTPAuthenticationError, "535")

    def test_mechanisms(self):
        plain = base64.b64encode(f"\0bob\0{PASSWORD}".encode()).decode()
        first = base64.b64encode(b"n,,n=bob,r=abcdefgh").decode()
        line = Line(self.server, "imaps")
        self.assertIn(b"needs the password itself", line.ask(f"a AUTHENTICATE SCRAM-SHA-256 {first}"))
        self.assertTrue(line.ask(f"b AUTHENTICATE PLAIN {plain}").startswith(b"b OK"))
        line = Line(self.server, "pop3s")
        self.assertIn(b"needs the password itself", line.ask(f"AUTH SCRAM-SHA-256 {first}"))
        self.assertTrue(line.ask(f"AUTH PLAIN {plain}").startswith(b"+OK"))
        line = Line(self.server, "submissions")
        line.ask("EHLO client.test")
        line.until(b"250 ")
        self.assertIn(b"needs the password itself", line.ask(f"AUTH SCRAM-SHA-256 {first}"))
        self.assertTrue(line.ask(f"AUTH PLAIN {plain}").startswith(b"235"))

    def test_commands_in_one_go(self):
        """What a client sends ahead of the login's answer is passed on, in order."""
        line = Line(self.server, "imaps")
        answer = line.ask(f'a LOGIN bob "{PASSWORD}"\r\nb NOOP\r\nc LOGOUT')
        self.assertTrue(answer.startswith(b"a OK"), answer)
        self.assertTrue(line.until(b"b OK"))
        self.assertTrue(line.until(b"c OK"))
        self.assertEqual(line.read(), b"")

    def test_mail_for_it_is_not_kept_here(self):
        client = smtplib.SMTP("localhost", self.server.base + 25, timeout=60)
        client.ehlo()
        client.mail("someone@elsewhere.test")
        self.assertEqual(client.rcpt(f"alice@{DOMAIN}")[0], 250)
        self.assertEqual(client.rcpt(f"bob@{DOMAIN}")[0] // 100, 5)
        client.close()

    def test_large(self):
        data = b"Subject: large\r\n\r\n" + b"0123456789abcdef" * 4 * (50 << 14)
        self.home.empty("bob")
        self.server.reset_memory_peak()
        client = imap(self.server, "bob")
        self.assertEqual(client.append("INBOX", None, None, data)[0], "OK")
        client.select("INBOX")
        _, answer = client.fetch("1", "(BODY.PEEK[])")
        self.assertTrue(answer[0][1] == data)
        peak = self.server.memory_peak()
        print(f"  50 MiB there and back, in front: {peak >> 20} MiB at most")
        self.assertLess(peak, MEMORY_LIMIT)
        client.logout()
        self.home.empty("bob")

    def test_latency(self):
        """What the server in front adds, beside a direct connection."""

        def times(what, rounds):
            found = []
            for _ in range(rounds):
                began = time.monotonic()
                what()
                found.append((time.monotonic() - began) * 1000)
            return statistics.median(found)

        rows = []
        for name, server in (("direct", self.home), ("through", self.server)):
            login = times(lambda: imap(server, "bob").logout(), 10)
            client = imap(server, "bob")
            client.select("INBOX")
            noop = times(client.noop, ROUNDS)
            client.logout()
            rows.append((login, noop))
            print(f"  {name}: connection, login and logout {login:.1f} ms, NOOP {noop:.2f} ms (medians)")
        self.assertLess(rows[1][1] - rows[0][1], 50)


class PassedOn(HomeCase):
    """A pillarbox as home server: from whom it trusts it takes who the client is."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.home = cls.run_server(Telling())
        words = ["settings", "--dir", cls.home.directory, "set", "login.trusted-proxies", "127.0.0.1"]
        subprocess.run([harness.binary(), *words], check=True, capture_output=True, timeout=60)
        home(cls.server, "alice", cls.home)
        home(cls.server, "bob", cls.home, "--trusted")
        home(cls.server, "carol", cls.home, "--trusted", tls="starttls")
        # The demo's own mail has come by logins too.
        cls.began = len(cls.home.log_text())

    def logins(self, server, user, source, *before):
        """Logs in by all three protocols."""
        plain = base64.b64encode(f"\0{user}\0{PASSWORD}".encode()).decode()
        xclient = "".join(f"XCLIENT {it}\r\n" for it in before)
        line = Line(server, "imaps", source)
        for address in before:
            line.ask(f'i ID ("x-originating-ip" "{address[5:]}" "x-proxy-ttl" "4")')
            line.until(b"i OK")
        self.assertIn(b"a OK", line.ask(f"a AUTHENTICATE PLAIN {plain}"))
        line = Line(server, "pop3s", source)
        self.assertIn(b"+OK", line.ask(f"{xclient}AUTH PLAIN {plain}"))
        line = Line(server, "submissions", source)
        for _ in range(1 + len(before)):
            line.ask("EHLO client.test")
            line.until(b"250 ")
            for it in before[:1]:
                self.assertIn(b"220", line.ask(f"XCLIENT {it}"))
                before = ()
        self.assertIn(b"235", line.ask(f"AUTH PLAIN {plain}"))

    def named(self, user, address):
        return self.home.log_text()[self.began :].count(f"login: {user}@{DOMAIN} from {address}\n")

    def test_the_client_is_named(self):
        for user, source in (("bob", "127.0.0.5"), ("carol", "127.0.0.6")):
            self.logins(self.server, user, source)
            wait_for(lambda: self.named(user, source) == 3, SOON, message=f"{user} came from elsewhere")
            self.assertEqual(self.named(user, "127.0.0.1"), 0)

    def test_who_is_not_told_is_not_told_on(self):
        """Without --trusted the home server sees this one."""
        self.logins(self.server, "alice", "127.0.0.7")
        wait_for(lambda: self.named("alice", "127.0.0.1") == 3, SOON)
        self.assertEqual(self.named("alice", "127.0.0.7"), 0)

    def test_a_wrong_password_counts_as_the_clients(self):
        line = Line(self.server, "imaps", "127.0.0.8")
        self.assertIn(b"a NO", line.ask("a LOGIN bob wrong"))
        wait_for(lambda: "login: refused from 127.0.0.8\n" in self.home.log_text(), SOON)

    def test_a_stranger_is_not_believed(self):
        self.logins(self.home, "bob", "127.0.0.9", "ADDR=192.0.2.1")
        wait_for(lambda: self.named("bob", "127.0.0.9") == 3, SOON)
        self.logins(self.home, "bob", "127.0.0.1", "ADDR=192.0.2.2")
        wait_for(lambda: self.named("bob", "192.0.2.2") == 3, SOON)
        self.assertNotIn("192.0.2.1", self.home.log_text())


class ThroughDovecot(HomeCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.dovecot = TellingDovecot()
        cls.run_server(cls.dovecot)
        home(cls.server, "bob", cls.dovecot, "--trusted")
        home(cls.server, "carol", cls.dovecot, tls="starttls")

    def test_imap(self):
        for user in ("bob", "carol"):
            self.dovecot.append(user, "INBOX", [message(n) for n in range(3)])
            client = imap(self.server, user)
            self.assertIn("SORT", client.capability()[1][0].decode())
            self.assertEqual(client.select("INBOX")[1], [b"3"])
            client.logout()
        self.refused(lambda: imap(self.server, "bob", "wrong"), imaplib.IMAP4.error, "AUTHENTICATIONFAILED")

    def test_pop3(self):
        self.dovecot.empty("bob")
        self.dovecot.append("bob", "INBOX", [message(n) for n in range(4)])
        client = pop(self.server, "bob")
        self.assertEqual(client.stat()[0], 4)
        client.quit()
        self.refused(lambda: pop(self.server, "bob", "wrong"), poplib.error_proto, "[AUTH]")

    def test_the_client_is_named_to_whom_we_trust(self):
        line = Line(self.server, "imaps", CLIENT)
        self.assertIn(b"a OK", line.ask(f'a LOGIN bob "{PASSWORD}"'))
        wait_for(lambda: f"rip={CLIENT}" in self.dovecot.log_text(), SOON, message="Dovecot does not know the client")
        line = Line(self.server, "imaps", "127.0.0.6")
        self.assertIn(b"a OK", line.ask(f'a LOGIN carol "{PASSWORD}"'))
        wait_for(lambda: "Login: user=<carol>" in self.dovecot.log_text(), SOON)
        self.assertNotIn("rip=127.0.0.6", self.dovecot.log_text())

        line = Line(self.server, "pop3s", CLIENT)
        line.ask("USER bob")
        self.assertIn(b"+OK", line.ask(f"PASS {PASSWORD}"))
        told = lambda: [it for it in self.dovecot.log_text().splitlines() if "pop3-login" in it and f"rip={CLIENT}" in it]
        wait_for(told, SOON, message="Dovecot does not know the client of POP3")

    def test_postfix(self):
        authority = Authority(tempfile.mkdtemp())
        self.addCleanup(shutil.rmtree, authority.directory)
        # Postfix takes a comma in the name for the end of it.
        certificate = authority.path("postfix.pem")
        shutil.copy(authority.certificate(f"localhost,IP:{POSTFIX}"), certificate)
        postfix = Postfix(POSTFIX, "postfix.test", certificate, self.submission())
        self.addCleanup(postfix.stop)
        options = ["--trusted", "--submission-port", "25", "--ca", authority.ca]
        home(self.server, "alice", self.dovecot, *options, tls="starttls", ca=False, host=POSTFIX)
        self.addCleanup(self.server.cli, "home", "remove", f"alice@{DOMAIN}")
        self.refused(lambda: smtp(self.server, "alice", "wrong"), smtplib.SMTPAuthenticationError, "535")
        with smtp(self.server, "alice", source=CLIENT) as client:
            client.sendmail(f"alice@{DOMAIN}", ["someone@postfix.test"], message(9))
        found = wait_for(postfix.messages, SOON, message="Postfix has nothing:\n" + postfix.log())
        self.assertIn(CLIENT.encode(), found[0])

    def submission(self):
        return {
            "smtpd_sasl_auth_enable": "yes",
            "smtpd_sasl_type": "dovecot",
            "smtpd_sasl_path": f"inet:127.0.0.1:{self.dovecot.auth}",
            "smtpd_tls_auth_only": "yes",
            "smtpd_authorized_xclient_hosts": "127.0.0.1",
            "smtpd_recipient_restrictions": "permit_sasl_authenticated, reject",
        }.items()


class Failing(HomeCase):
    def told(self, *texts):
        """All three protocols say that bob's mailbox can't be had now, and why."""
        imap_text = lambda: imap(self.server, "bob")
        self.refused(imap_text, imaplib.IMAP4.error, "[UNAVAILABLE]", *texts)
        self.refused(lambda: pop(self.server, "bob"), poplib.error_proto, "[SYS/TEMP]", *texts)
        self.refused(lambda: smtp(self.server, "bob"), smtplib.SMTPAuthenticationError, "451", "4.4.1", *texts)

    def test_down(self):
        down = Server(base=free_port_base())
        home(self.server, "bob", down, ca=False)
        down.remove()
        self.told("can't be reached")

    def test_wrong_certificate(self):
        other = self.run_server(Server())
        # An authority that has not signed it.
        home(self.server, "bob", other, "--ca", self.server.ca, ca=False)
        self.told("can't prove who it is")
        home(self.server, "bob", other)
        imap(self.server, "bob").logout()

    def test_certificate_for_another_name(self):
        authority = Authority(tempfile.mkdtemp())
        self.addCleanup(shutil.rmtree, authority.directory)
        context = authority.context("another.test")
        listener = socket.create_server(("127.0.0.1", 0))
        self.addCleanup(listener.close)

        def serve():
            while True:
                try:
                    context.wrap_socket(listener.accept()[0], server_side=True).recv(1)
                except OSError:
                    if listener.fileno() < 0:
                        return

        threading.Thread(target=serve, daemon=True).start()
        ports = ("--imap-port", "--pop3-port", "--submission-port")
        options = [word for port in ports for word in (port, str(listener.getsockname()[1]))]
        home(self.server, "bob", self.server, *options, "--ca", authority.ca, ca=False)
        self.told("can't prove who it is")

    def test_this_server(self):
        home(self.server, "bob", self.server)
        self.told("leads back")

    def test_a_circle(self):
        other = self.run_server(Server())
        home(self.server, "bob", other)
        home(other, "bob", self.server)
        self.refused(lambda: imap(self.server, "bob"), imaplib.IMAP4.error, "[UNAVAILABLE]", "leads back")
        self.refused(lambda: pop(self.server, "bob"), poplib.error_proto, "SYS/TEMP", "leads back")
        self.refused(lambda: smtp(self.server, "bob"), smtplib.SMTPAuthenticationError, "451", "leads back")
        # At once: not when there are no connections left.
        self.assertLess(other.log_text().count("leads back"), 3 * 6)

    def test_killed(self):
        """A home server that goes down within a session: the client is told."""
        other = self.run_server(Server())
        home(self.server, "bob", other)
        lines = {service: Line(self.server, service) for service in ("imaps", "pop3s", "submissions")}
        self.assertIn(b"a OK", lines["imaps"].ask(f'a LOGIN bob "{PASSWORD}"'))
        lines["pop3s"].ask("USER bob")
        self.assertIn(b"+OK", lines["pop3s"].ask(f"PASS {PASSWORD}"))
        lines["submissions"].ask("EHLO client.test")
        lines["submissions"].until(b"250 ")
        plain = base64.b64encode(f"\0bob\0{PASSWORD}".encode()).decode()
        self.assertIn(b"235", lines["submissions"].ask(f"AUTH PLAIN {plain}"))
        other.kill()
        self.assertTrue(lines["imaps"].read().startswith(b"* BYE"))
        self.assertEqual(lines["imaps"].read(), b"")
        self.assertEqual(lines["pop3s"].read(), b"")
        self.assertTrue(lines["submissions"].read().startswith(b"421"))
        self.assertEqual(lines["submissions"].read(), b"")

    def test_commands(self):
        self.server.cli("home", "set", "@other.test", "--host", "mail.other.test", "--trusted")
        listed = self.server.cli("home", "list")
        self.assertRegex(listed, r"@other\.test +mail\.other\.test +implicit +993,995,465 +client")
        self.server.cli("home", "remove", "@other.test")
        self.assertNotIn("other.test", self.server.cli("home", "list"))
        with self.assertRaises(AssertionError):
            self.server.cli("home", "remove", "@other.test")
        with self.assertRaises(AssertionError):
            self.server.cli("home", "set", "@other.test", "--host", "a b")


if __name__ == "__main__":
    harness.main()
