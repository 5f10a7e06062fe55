"""curl: IMAP, POP3 and submission in both TLS modes."""

import harness
from harness import DOMAIN, PASSWORD, ServerCase, message


class Curl(ServerCase):
    def setUp(self):
        self.server.empty("alice")

    def curl(self, service, path="", *options, tls="required", user="alice", status=(0,)):
        scheme = {"submission": "smtp", "submissions": "smtps"}.get(service, service)
        need = () if service.endswith("s") or tls is None else ("--ssl-reqd",)
        return self.run_client(
            "curl",
            "-sS",
            "--cacert",
            self.server.ca,
            *need,
            "--user",
            f"{user}:{PASSWORD}",
            "--max-time",
            60,
            f"{scheme}://localhost:{self.server.port(service)}/{path}",
            *options,
            status=status,
            text=False,
        ).stdout

    def test_imap_append_fetch_search_flag(self):
        upload = self.file("m.eml", "")
        for n in range(3):
            with open(upload, "wb") as f:
                f.write(message(n))
            self.curl("imap" if n == 1 else "imaps", "INBOX", "-T", upload)
        for service in ("imap", "imaps"):
            self.assertEqual(self.curl(service, "INBOX;MAILINDEX=2"), message(1))
            self.assertIn(b"* SEARCH 3", self.curl(service, "INBOX?SUBJECT%20%22Message%202%22"))
        self.assertEqual(
            self.curl("imaps", "INBOX;MAILINDEX=2;SECTION=TEXT"), message(1).split(b"\r\n\r\n")[1]
        )
        self.curl("imaps", "INBOX", "-X", r"STORE 1 +FLAGS (\Deleted)")
        self.curl("imaps", "INBOX", "-X", "EXPUNGE")
        self.assertEqual(self.server.bodies("alice"), [message(1), message(2)])

    def test_imap_list(self):
        self.assertIn(b'"/" Sent', self.curl("imaps").replace(b'"Sent"', b"Sent"))
        self.assertIn(b"MESSAGES 0", self.curl("imaps", "", "-X", "STATUS INBOX (MESSAGES)"))

    def login(self, service, *options, host="localhost", password=PASSWORD, status=(0,)):
        """Logs in, lists, and ends."""
        url = f"{service}://{host}:{self.server.port(service)}/"
        credentials = ("--cacert", self.server.ca, "-u", f"alice:{password}")
        return self.run_client("curl", "-sS", *credentials, *options, url, status=status)

    def test_imap_wrong_password(self):
        self.login("imaps", password="wrong", status=(67,))

    def test_untrusted_without_the_ca(self):
        self.run_client("curl", "-sS", f"imaps://localhost:{self.server.port('imaps')}/", status=(60,))

    def test_certificate_covers_all_loopback_names(self):
        for host in ("localhost", "127.0.0.1"):
            self.login("imaps", host=host)

    def test_pop3(self):
        self.server.append("alice", "INBOX", [message(n) for n in range(3)])
        for service in ("pop3", "pop3s"):
            self.assertEqual(len(self.curl(service).splitlines()), 3)
            self.assertEqual(self.curl(service, "2"), message(1))
            self.assertEqual(len(self.curl(service, "", "-X", "UIDL").splitlines()), 3)
        self.curl("pop3s", "1", "-X", "DELE", "-I")
        self.assertEqual(self.server.bodies("alice"), [message(1), message(2)])

    def test_submission(self):
        mail = self.file("s.eml", message(5).decode())
        for service in ("submission", "submissions"):
            self.curl(
                service,
                "client.test",
                "--mail-from",
                f"bob@{DOMAIN}",
                "--mail-rcpt",
                f"alice@{DOMAIN}",
                "-T",
                mail,
                user="bob",
            )
        self.assertEqual(len(self.server.bodies("alice")), 2)

    def test_login_options(self):
        for service in ("imaps", "pop3s"):
            for mechanism in ("PLAIN", "LOGIN"):
                self.login(service, "--login-options", f"AUTH={mechanism}")


if __name__ == "__main__":
    harness.main()
