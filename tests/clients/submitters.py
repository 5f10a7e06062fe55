"""msmtp, swaks and openssl s_client submit mail and look at TLS."""

import harness
from harness import DOMAIN, PASSWORD, ServerCase, message


class Submitters(ServerCase):
    def setUp(self):
        self.server.empty("alice")

    # msmtp

    def msmtp(self, service, auth="on", *options, stdin=None, status=(0,)):
        config = self.file(
            "msmtprc",
            f"""
account default
host localhost
port {self.server.port(service)}
tls on
tls_starttls {"off" if service == "submissions" else "on"}
tls_trust_file {self.server.ca}
auth {auth}
user bob
password {PASSWORD}
from bob@{DOMAIN}
""",
        )
        return self.run_client("msmtp", "-C", config, *options, stdin=stdin, status=status, timeout=60).stdout

    def test_msmtp_modes_and_mechanisms(self):
        mechanisms = ("on", "plain", "login", "scram-sha-256")
        for service in ("submission", "submissions"):
            for auth in mechanisms:
                self.msmtp(service, auth, f"alice@{DOMAIN}", stdin=message(1).decode())
        got = self.server.bodies("alice")
        self.assertEqual(len(got), 2 * len(mechanisms))
        self.assertTrue(all(data.endswith(message(1)) for data in got))

    def test_msmtp_and_the_copy_in_sent(self):
        for mailbox in ("INBOX", "Sent"):
            self.server.empty("bob", mailbox)
        self.server.cli("account", "set", f"bob@{DOMAIN}", "sent-copy", "on")
        try:
            data = message(1).decode()
            # With -t the recipients are those of the header; bob is one by Bcc.
            self.msmtp("submissions", "on", "-t", stdin=f"Bcc: bob@{DOMAIN}\r\n{data}")
        finally:
            self.server.cli("account", "set", f"bob@{DOMAIN}", "sent-copy", "off")
        for user, mailbox in (("alice", "INBOX"), ("bob", "INBOX"), ("bob", "Sent")):
            (got,) = self.server.bodies(user, mailbox)
            self.assertTrue(got.endswith(message(1)), got)
            self.assertNotIn(b"\r\nBcc:", got)
        imap = self.server.imap("bob")
        imap.select("Sent", readonly=True)
        self.assertEqual(imap.search(None, "SEEN")[1], [b"1"])
        imap.logout()

    def test_msmtp_serverinfo(self):
        info = self.msmtp("submissions", "on", "--serverinfo")
        for name in ("SIZE", "PIPELINING", "DSN", "AUTH", "PLAIN", "LOGIN", "SCRAM-SHA-256"):
            self.assertIn(name, info)
        self.assertIn("STARTTLS", self.msmtp("submission", "on", "--serverinfo", "--tls=off"))

    def test_msmtp_refused_recipient(self):
        out = self.msmtp("submissions", "on", f"nobody@{DOMAIN}", stdin=message(1).decode(), status=(65, 67))
        self.assertIn("550", out)

    # swaks

    def swaks(self, service, *options, status=(0,)):
        tls = "--tls-on-connect" if service == "submissions" else "--tls"
        return self.run_client(
            "swaks",
            "--server",
            "localhost",
            "--port",
            self.server.port(service),
            tls,
            "--tls-verify",
            "--tls-ca-path",
            self.server.ca,
            "--from",
            f"bob@{DOMAIN}",
            "--to",
            f"alice@{DOMAIN}",
            "--auth-user",
            "bob",
            "--auth-password",
            PASSWORD,
            *options,
            status=status,
            timeout=60,
        ).stdout

    def test_swaks_mechanisms(self):
        for service in ("submission", "submissions"):
            for mechanism in ("PLAIN", "LOGIN"):
                out = self.swaks(service, "--auth", mechanism)
                self.assertIn("235 ", out)
        self.assertEqual(len(self.server.bodies("alice")), 4)
        # Weak mechanisms are not offered: swaks ends with 28.
        self.swaks("submissions", "--auth", "CRAM-MD5,DIGEST-MD5,NTLM", status=(28,))

    def test_swaks_pipelining_prdr_and_attachment(self):
        attachment = self.file("a.txt", "attached\n")
        self.swaks(
            "submissions",
            "--auth",
            "PLAIN",
            "--pipeline",
            "--attach",
            f"@{attachment}",
            "--header-X-Test",
            "yes",
        )
        (got,) = self.server.bodies("alice")
        self.assertIn(b"X-Test: yes", got)
        self.assertIn(b"a.txt", got)

    def test_swaks_tls_versions(self):
        for version in ("tlsv1_2", "tlsv1_3"):
            self.swaks("submissions", "--auth", "PLAIN", "--tls-protocol", version, "--quit-after", "AUTH")
        for version in ("tlsv1", "tlsv1_1"):
            self.swaks("submissions", "--auth", "PLAIN", "--tls-protocol", version, status=(29,))

    def test_swaks_without_tls_or_login_is_refused(self):
        plain = self.run_client(
            "swaks",
            "--server",
            "localhost",
            "--port",
            self.server.port("submission"),
            "--from",
            f"bob@{DOMAIN}",
            "--to",
            f"alice@{DOMAIN}",
            status=None,
            timeout=60,
        )
        self.assertNotEqual(plain.returncode, 0)
        self.assertRegex(plain.stdout, r"5[35]0 5\.7\.0")
        self.assertEqual(self.server.bodies("alice"), [])

    # openssl

    def openssl(self, service, *options, stdin="", status=(0,)):
        return self.run_client(
            "openssl",
            "s_client",
            "-connect",
            f"localhost:{self.server.port(service)}",
            "-CAfile",
            self.server.ca,
            "-verify_return_error",
            "-verify_hostname",
            "localhost",
            *options,
            stdin=stdin,
            status=status,
            timeout=30,
        ).stdout

    def test_openssl_verifies_every_port(self):
        for service, starttls in (
            ("imaps", None),
            ("pop3s", None),
            ("submissions", None),
            ("imap", "imap"),
            ("pop3", "pop3"),
            ("submission", "smtp"),
        ):
            for version in ("-tls1_2", "-tls1_3"):
                options = (version,) + (("-starttls", starttls) if starttls else ())
                self.assertIn("Verify return code: 0 (ok)", self.openssl(service, *options))

    def test_openssl_name_of_the_address(self):
        for host in ("127.0.0.1", "::1"):
            self.assertIn(
                "Verify return code: 0 (ok)",
                self.run_client(
                    "openssl",
                    "s_client",
                    "-connect",
                    f"localhost:{self.server.port('imaps')}",
                    "-CAfile",
                    self.server.ca,
                    "-verify_ip",
                    host,
                    "-verify_return_error",
                    stdin="",
                    timeout=30,
                ).stdout,
            )

    def test_openssl_old_versions_and_resumption(self):
        self.openssl("imaps", "-tls1_1", "-cipher", "DEFAULT@SECLEVEL=0", status=(1,))
        session = f"{self.work}/session"
        self.openssl("imaps", "-tls1_2", "-sess_out", session)
        self.assertIn("Reused, TLSv1.2", self.openssl("imaps", "-tls1_2", "-sess_in", session))


if __name__ == "__main__":
    harness.main()
