"""Logins by a client's certificate (SASL EXTERNAL, RFC 4422, appendix A): openssl makes the
certificates, GNU SASL, curl and Python show them."""

import base64
import imaplib
import os
import poplib
import smtplib
import ssl
import subprocess

import harness
from harness import DOMAIN, PASSWORD, ServerCase

ALICE = f"alice@{DOMAIN}"


class External(ServerCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.asks("on")

    @classmethod
    def asks(cls, value):
        command = [harness.binary(), "settings", "--dir", cls.server.directory]
        command += ["set", "login.client-certificates", value]
        subprocess.run(command, check=True, capture_output=True, timeout=60)

    def made(self, name, days="30"):
        """A certificate and its key, made by openssl unless they are there."""
        certificate = os.path.join(self.work, name + ".pem")
        key = os.path.join(self.work, name + ".key")
        if not os.path.exists(certificate):
            request = os.path.join(self.work, name + ".csr")
            extensions = self.file("extensions", "extendedKeyUsage=clientAuth\n")
            self.run_client(
                "openssl", "req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
                "-nodes", "-subj", f"/CN={name}", "-keyout", key, "-out", request,
            )
            self.run_client(
                "openssl", "x509", "-req", "-in", request, "-signkey", key, "-days", days,
                "-extfile", extensions, "-out", certificate,
            )
        return certificate, key

    def known(self, name):
        """As `made`, and alice has it."""
        certificate, key = self.made(name)
        if self.fingerprint(certificate) not in self.server.cli("account", "certificate", "list", ALICE):
            self.server.cli("account", "certificate", "add", ALICE, certificate)
        return certificate, key

    def fingerprint(self, certificate):
        said = self.run_client("openssl", "x509", "-noout", "-fingerprint", "-sha256", "-in", certificate)
        return said.stdout.split("=")[1].strip().replace(":", "").lower()

    def context(self, pair, version=None):
        context = self.server.tls()
        if pair:
            context.load_cert_chain(*pair)
        if version:
            context.maximum_version = version
        return context

    def imap(self, pair, version=None):
        return imaplib.IMAP4_SSL(
            "localhost", self.server.port("imaps"), ssl_context=self.context(pair, version), timeout=30
        )

    def test_offered_to_those_alone_whose_certificate_is_known(self):
        for pair, offered in ((None, False), (self.made("stranger"), False), (self.known("alice"), True)):
            client = self.imap(pair)
            self.assertEqual("AUTH=EXTERNAL" in client.capabilities, offered)
            if not offered:
                with self.assertRaises(imaplib.IMAP4.error):
                    client.authenticate("EXTERNAL", lambda _: b"")
            # With or without one, a password still holds.
            client.login(ALICE, PASSWORD)
            client.logout()

    def test_python_by_each_protocol_and_version(self):
        pair = self.known("alice")
        for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
            context = self.context(pair, version)
            client = self.imap(pair, version)
            client.authenticate("EXTERNAL", lambda _: b"")
            self.assertEqual(client.select("INBOX")[0], "OK")
            client.logout()
            client = poplib.POP3_SSL("localhost", self.server.port("pop3s"), context=context, timeout=30)
            self.assertIn("EXTERNAL", client.capa()["SASL"])
            client._shortcmd("AUTH EXTERNAL =")
            self.assertGreaterEqual(client.stat()[0], 0)
            client.quit()
            client = smtplib.SMTP("localhost", self.server.port("submission"), timeout=30)
            client.starttls(context=context)
            client.ehlo()
            self.assertIn("EXTERNAL", client.esmtp_features["auth"])
            # Whom to act as: nobody but oneself, by any of one's names.
            self.assertEqual(client.docmd("AUTH", "EXTERNAL " + coded("bob"))[0], 535)
            self.assertEqual(client.docmd("AUTH", "EXTERNAL " + coded(ALICE.upper()))[0], 235)
            self.assertEqual(client.mail(f"bob@{DOMAIN}")[0], 550)
            self.assertEqual(client.mail(ALICE)[0], 250)
            client.quit()

    def test_gnu_sasl(self):
        certificate, key = self.known("alice")
        for service in ("imap", "submission"):
            said = self.run_client(
                "gsasl", "--smtp" if service == "submission" else "--imap",
                "--connect=localhost:%d" % self.server.port(service),
                "--x509-ca-file=" + self.server.ca, "--x509-cert-file=" + certificate,
                "--x509-key-file=" + key, "--mechanism=EXTERNAL", "--authorization-id=",
                "--no-client-first", "--verbose", timeout=60,
            ).stdout
            self.assertIn("Client authentication finished", said)

    def test_curl(self):
        certificate, key = self.known("alice")
        said = self.run_client(
            "curl", "--silent", "--show-error", "--cacert", self.server.ca, "--cert", certificate,
            "--key", key, "--user", "alice:", "--login-options", "AUTH=EXTERNAL",
            "imaps://localhost:%d/" % self.server.port("imaps"),
        ).stdout
        self.assertIn("INBOX", said)

    def test_removed_and_expired(self):
        pair = self.known("removed")
        client = self.imap(pair)
        self.server.cli("account", "certificate", "remove", ALICE, self.fingerprint(pair[0]))
        with self.assertRaises(imaplib.IMAP4.error):
            client.authenticate("EXTERNAL", lambda _: b"")
        client.shutdown()
        # An expired one is not taken in the first place.
        expired = self.made("expired", days="-1")
        with self.assertRaisesRegex(AssertionError, "expired"):
            self.server.cli("account", "certificate", "add", ALICE, expired[0])

    def test_one_account_each(self):
        certificate, _ = self.known("alice")
        with self.assertRaisesRegex(AssertionError, "certificate already"):
            self.server.cli("account", "certificate", "add", f"bob@{DOMAIN}", certificate)

    def test_not_asked_for_unless_the_owner_wants_it(self):
        pair = self.known("alice")
        self.asks("off")
        try:
            client = self.imap(pair)
            self.assertNotIn("AUTH=EXTERNAL", client.capabilities)
            client.shutdown()
        finally:
            self.asks("on")


def coded(text):
    return base64.b64encode(text.encode()).decode()


if __name__ == "__main__":
    harness.main()
