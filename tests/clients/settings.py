"""`pillarbox settings` on a running server: what is set holds at once and from then on, and
sessions that it does not concern go on."""

import imaplib
import os
import smtplib
import socket
import ssl
import stat
import subprocess

import harness
from dns_double import DnsDouble
from harness import PASSWORD, ServerCase, binary, wait_for


class Settings(ServerCase):
    def tearDown(self):
        self.run_client(binary(), "settings", "--dir", self.server.directory, "import", self.file("none", ""))

    def settings(self, *words, status=0, **options):
        done = subprocess.run(
            [binary(), "settings", "--dir", self.server.directory, *words],
            capture_output=True,
            text=True,
            timeout=60,
            **options,
        )
        self.assertEqual(done.returncode, status, done.stderr)
        return done.stderr if status else done.stdout

    def set(self, name, value):
        self.assertIn(name, self.settings("set", name, value))

    def is_open(self, port, address="127.0.0.1"):
        try:
            socket.create_connection((address, port), 5).close()
            return True
        except ConnectionRefusedError:
            return False

    def greetings(self, count):
        waiting = [socket.create_connection(("127.0.0.1", self.server.port("imap")), 30) for _ in range(count)]
        found = [s.recv(200)[:5] for s in waiting]
        for s in waiting:
            s.close()
        return found

    def announced(self):
        with smtplib.SMTP("127.0.0.1", self.server.port("submission"), timeout=30) as client:
            client.ehlo()
            return client.esmtp_features["size"]

    def test_a_restart_starts_no_new_hour(self):
        """What an account has sent outlives a clean stop."""
        alice = f"alice@{harness.DOMAIN}"
        self.set("submission.max-messages-per-hour", "2")

        def sends():
            with smtplib.SMTP("127.0.0.1", self.server.port("submission"), timeout=30) as client:
                client.login("alice", PASSWORD)
                try:
                    client.sendmail(alice, [alice], harness.message(1, "alice"))
                    return True
                except smtplib.SMTPDataError as refused:
                    self.assertEqual(refused.smtp_code, 451)
                    return False

        self.assertTrue(sends())
        self.server.stop()
        self.server.start()
        self.assertEqual([sends(), sends()], [True, False])
        # An account may have its own.
        self.server.cli("account", "set", alice, "max-messages-per-hour", "0")
        self.assertTrue(sends())
        self.server.cli("account", "set", alice, "max-messages-per-hour", "default")
        self.assertFalse(sends())

    def test_list_says_value_range_and_meaning(self):
        text = self.settings("list")
        self.assertRegex(text, r"(?m)^smtp\.tarpit +5s +default +0s to 30s +how long")
        self.set("smtp.tarpit", "7s")
        self.assertRegex(self.settings("list", "smtp.t"), r"(?m)^smtp\.tarpit +7s +set ")
        self.assertEqual(self.settings("get", "smtp.tarpit"), "7s\n")
        self.settings("reset", "smtp.tarpit")
        self.assertEqual(self.settings("get", "smtp.tarpit"), "5s\n")

    def test_mistakes_are_told(self):
        for name, value, said in (
            ("smtp.tarpit", "31s", "31s is not within 0s to 30s"),
            ("smtp.tarpit", "soon", "soon is no time"),
            ("smtp.tarpid", "1s", "no setting smtp.tarpid"),
            ("imap.port", "587", "imap and submission can't both have port"),
            ("tls.key", "/nowhere", "must be given together"),
        ):
            self.assertIn(said, self.settings("set", name, value, status=1))

    def test_a_service_that_is_off_has_no_port_and_its_sessions_go_on(self):
        session = self.server.imap("alice")
        self.set("imap.enabled", "off")
        for service in ("imap", "imaps"):
            wait_for(lambda: not self.is_open(self.server.port(service)), message=service)
        self.assertTrue(self.is_open(self.server.port("pop3")))
        self.assertEqual(session.select("INBOX")[0], "OK")
        self.set("imap.enabled", "on")
        for service in ("imap", "imaps"):
            wait_for(lambda: self.is_open(self.server.port(service)), message=service)
        self.server.imap("alice").logout()
        session.logout()

    def test_a_port_moves(self):
        port = self.server.base + 333
        self.set("pop3.port", "333")
        wait_for(lambda: self.is_open(port))
        wait_for(lambda: not self.is_open(self.server.port("pop3")))

    def test_addresses_become_more_and_fewer(self):
        before = self.settings("get", "server.addresses").split()
        port = self.server.port("pop3")
        more = "127.0.0.1 ::1 127.0.0.2" if "::1" in before else "127.0.0.3 127.0.0.1"
        known = ["127.0.0.1", "127.0.0.2", "127.0.0.3"] + ["::1"] * ("::1" in before)

        def follows(addresses):
            wanted = [it for it in known if it in addresses.split()]
            pop3, lmtp = (wanted, wanted) if addresses != "::" else (known, ["127.0.0.1"])
            return all(
                self.is_open(at, it) == (it in expected)
                for at, expected in ((port, pop3), (self.server.base + 24, lmtp))
                for it in known
            )

        for addresses in ("127.0.0.2 127.0.0.1", "::", more, "127.0.0.1"):
            self.set("server.addresses", addresses)
            # All of it: what is closing still is in the way of the next change.
            wait_for(lambda: follows(addresses), 30, message=addresses)
        self.set("server.addresses", " ".join(before))
        wait_for(lambda: follows(" ".join(before)), 30, message="as before")

    def test_a_certificate_and_its_key_are_set_together(self):
        key, certificate, other = self.file("key", ""), self.file("certificate", ""), self.file("no", "no\n")
        self.run_client("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", key, "-out", certificate,
                        "-subj", "/CN=localhost")
        said = self.settings("set", "tls.certificate", certificate, status=1)
        self.assertIn("must be given together", said)
        said = self.settings("set", "tls.certificate", certificate, "tls.key", other, status=1)
        self.assertIn("no private key", said)
        strange = self.file("strange", "")
        self.run_client("openssl", "genrsa", "-out", strange)
        said = self.settings("set", "tls.certificate", certificate, "tls.key", strange, status=1)
        self.assertIn("is not the key of the certificate", said)
        # Who comes from now on sees it, who is here goes on.
        old = imaplib.IMAP4_SSL("localhost", self.server.port("imaps"), ssl_context=self.server.tls(), timeout=60)
        old.login("alice", PASSWORD)
        self.settings("set", "tls.certificate", certificate, "tls.key", key)
        with open(certificate) as f:
            wanted = f.read()
        seen = lambda: ssl.get_server_certificate(("127.0.0.1", self.server.port("imaps")))
        wait_for(lambda: seen() == wanted, message="another certificate is served")
        self.assertEqual(old.noop()[0], "OK")
        self.settings("reset", "tls.certificate", "tls.key")
        wait_for(lambda: seen() != wanted, message="it is served still")
        self.assertEqual(old.noop()[0], "OK")
        old.logout()
        self.assertIn("a name and a value", self.settings("set", "smtp.tarpit", status=1))

    def test_another_name_is_told_to_all_who_come_and_sessions_go_on(self):
        context, name = self.server.tls(), "new.demo.test"
        old = imaplib.IMAP4_SSL("localhost", self.server.port("imaps"), ssl_context=context, timeout=60)
        old.login("alice", PASSWORD)

        def is_named():
            with socket.create_connection(("127.0.0.1", self.server.port("imaps")), 30) as plain:
                try:
                    context.wrap_socket(plain, server_hostname=name).close()
                    return True
                except ssl.SSLCertVerificationError:
                    return False

        self.assertFalse(is_named())
        self.set("server.hostname", name)
        wait_for(is_named, message="no certificate for the new name")
        with smtplib.SMTP("127.0.0.1", self.server.port("submission"), timeout=60) as client:
            self.assertTrue(client.ehlo()[1].startswith(name.encode()))
            client.login("alice", PASSWORD)
            alice = f"alice@{harness.DOMAIN}"
            client.sendmail(alice, [alice], harness.message(1, "alice", subject="by another name"))
        mail = [it for it in self.server.bodies("alice") if b"Subject: by another name" in it]
        self.assertRegex(mail[0], rb"(?s)\AReturn-Path[^\n]*\nReceived: .*?by new\.demo\.test")
        self.assertEqual(old.noop()[0], "OK")
        old.logout()

    def test_other_name_servers_are_asked_at_once(self):
        dns = DnsDouble({("far.test", "MX"): [(10, "mx.far.test")], ("mx.far.test", "A"): ["127.0.0.1"]})
        try:
            self.set("dns.servers", f"127.0.0.1:{dns.port}")
            alice = f"alice@{harness.DOMAIN}"

            def asked():
                with smtplib.SMTP("127.0.0.1", self.server.base + 25, timeout=60) as client:
                    client.sendmail("eve@far.test", [alice], harness.message(1, "eve"))
                return any(name == "far.test" for name, _ in dns.asked)

            wait_for(asked, 60, message="nothing was asked")
        finally:
            self.settings("reset", "dns.servers")
            dns.stop()

    def test_authorities_that_cannot_be_read_are_refused(self):
        said = self.settings("set", "tls.authorities", "/nowhere/ca.pem", status=1)
        self.assertIn("can't use /nowhere/ca.pem for tls.authorities", said)
        self.set("tls.authorities", self.server.ca)
        self.settings("reset", "tls.authorities")

    def test_a_port_that_is_taken_is_refused(self):
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            port = taken.getsockname()[1]
            if port <= self.server.base:
                self.fail("the system gives low ports")
            text = self.settings("set", "pop3.port", str(port - self.server.base), status=1)
            self.assertIn(f"can't listen on 127.0.0.1:{port} for pop3", text)
        self.assertTrue(self.is_open(self.server.port("pop3")))
        self.assertEqual(self.settings("get", "pop3.port"), "110\n")

    def test_limits_hold_at_once_under_fifty_sessions(self):
        sessions = [self.server.imap("bob") for _ in range(50)]
        self.set("message.max-size", "1MiB")
        self.assertEqual(self.announced(), str(1 << 20))
        self.set("login.max-connections-per-address", "2")
        # What was here before may take a moment to be gone, and the limit one to be followed.
        wait_for(lambda: self.greetings(3) == [b"* OK ", b"* OK ", b"* BYE"])
        for session in sessions:
            self.assertEqual(session.noop()[0], "OK")
            session.logout()

    def test_a_file_is_read_whole_or_not_at_all(self):
        self.set("smtp.tarpit", "9s")
        self.set("server.max-connections", "77")
        text = self.settings("export")
        self.assertIn('\ntarpit = "9s"\n', text)
        self.assertIn("\nmax-connections = 77\n", text)
        self.assertIn("\n#enabled = true\n", text)
        bad = self.file("bad.toml", text.replace('"9s"', '"10s"').replace("= 77", "= 7"))
        line = 1 + next(n for n, it in enumerate(text.splitlines()) if it == "max-connections = 77")
        self.assertIn(f"line {line}: server.max-connections: 7 is not", self.settings("import", bad, status=1))
        self.assertEqual(self.settings("export"), text)
        self.settings("import", self.file("less.toml", '[smtp]\ntarpit = "10s"\n'))
        self.assertEqual(self.settings("get", "smtp.tarpit"), "10s\n")
        self.assertEqual(self.settings("get", "server.max-connections"), "4096\n")
        self.settings("import", input=text)
        self.assertEqual(self.settings("export"), text)

    def test_an_editor_changes_them(self):
        editor = self.file("editor", '#!/bin/sh\nsed -i "/^.smtp]/,\\$ s/^#tarpit = .*/tarpit = \\"3s\\"/" "$1"\n')
        os.chmod(editor, stat.S_IRWXU)
        said = self.settings("edit", env={**os.environ, "VISUAL": editor})
        self.assertIn("1 of", said)
        self.assertEqual(self.settings("get", "smtp.tarpit"), "3s\n")
        self.assertIn("Nothing was changed", self.settings("edit", env={**os.environ, "VISUAL": "true"}))

    def test_changes_are_remembered(self):
        self.set("pop3.timeout", "11min")
        self.set("pop3.timeout", "12min")
        last = self.settings("changes").splitlines()[-1].split()
        self.assertRegex(last[0], r"\A20\d\d-\d\d-\d\dT")
        self.assertEqual(last[-3:], ["pop3.timeout", "11min", "12min"])
        self.assertEqual(last[1], "root" if os.getuid() == 0 else "user")

    def test_they_outlive_the_server_and_its_options_go_over_them(self):
        self.set("smtp.tarpit", "8s")
        self.server.stop()
        try:
            self.assertEqual(self.settings("get", "smtp.tarpit"), "8s\n")
            self.set("message.max-size", "2MiB")
        finally:
            self.server.start()
        self.assertEqual(self.settings("get", "smtp.tarpit"), "8s\n")
        self.assertEqual(self.announced(), str(2 << 20))


if __name__ == "__main__":
    harness.main()
