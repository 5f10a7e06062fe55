"""GNU SASL's own client logs in, bound to its TLS connection and not (RFC 5802, RFC 9266)."""

import harness
from harness import PASSWORD, ServerCase


class GnuSasl(ServerCase):
    options = ("--bind-logins",)

    def gsasl(self, service, mechanism, password=PASSWORD, status=(0,), *options):
        return self.run_client(
            "gsasl",
            "--smtp" if service == "submission" else "--imap",
            "--connect=localhost:%d" % self.server.port(service),
            "--x509-ca-file=" + self.server.ca,
            "--mechanism=" + mechanism,
            "--authentication-id=alice",
            "--password=" + password,
            "--no-client-first",
            "--verbose",
            *(() if mechanism.endswith("PLUS") else ("--no-cb",)),
            *options,
            status=status,
            timeout=60,
        ).stdout

    def test_mechanisms(self):
        for service in ("imap", "submission"):
            for mechanism in ("PLAIN", "LOGIN", "SCRAM-SHA-256", "SCRAM-SHA-256-PLUS"):
                with self.subTest(service=service, mechanism=mechanism):
                    said = self.gsasl(service, mechanism)
                    self.assertIn("Client authentication finished", said)

    def test_wrong_password(self):
        for mechanism in ("SCRAM-SHA-256", "SCRAM-SHA-256-PLUS"):
            with self.subTest(mechanism):
                self.gsasl("imap", mechanism, "wrong", (1,))

    def test_no_binding_under_tls_1_2(self):
        priority = "--priority=NORMAL:-VERS-TLS1.3"
        said = self.gsasl("imap", "SCRAM-SHA-256", PASSWORD, (0,), priority)
        self.assertNotIn("SCRAM-SHA-256-PLUS", said.split("STARTTLS")[-1])


if __name__ == "__main__":
    harness.main()
