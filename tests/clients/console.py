"""The administrator and the console: who runs the server has a password of their own, which no
mail protocol takes."""

import imaplib
import poplib
import smtplib
import subprocess

import harness
from harness import DOMAIN, PASSWORD, ServerCase, binary

ADMINISTRATOR = "a hedgehog at night"


class Identity(ServerCase):
    def test_the_administrator_logs_in_by_no_mail_protocol(self):
        """Neither with the administrator's password, nor as an alias of somebody, with theirs."""
        self.run_client(
            binary(), "administrator", "password", "--password-stdin", "--dir", self.server.directory,
            stdin=ADMINISTRATOR + "\n",
        )
        self.server.cli("alias", "add", f"administrator@{DOMAIN}", f"alice@{DOMAIN}")
        for password in (ADMINISTRATOR, PASSWORD):
            for name in ("administrator", f"Administrator@{DOMAIN}"):
                imap = imaplib.IMAP4("127.0.0.1", self.server.port("imap"))
                with self.assertRaises(imaplib.IMAP4.error):
                    imap.login(name, password)
                imap.shutdown()
                pop = poplib.POP3("127.0.0.1", self.server.port("pop3"))
                pop.user(name)
                with self.assertRaises(poplib.error_proto):
                    pop.pass_(password)
                pop.close()
                with smtplib.SMTP("127.0.0.1", self.server.port("submission")) as smtp:
                    with self.assertRaises(smtplib.SMTPAuthenticationError):
                        smtp.login(name, password)
        # Who has the alias is let in by their own name.
        self.server.imap("alice").logout()

    def test_no_account_can_have_the_name(self):
        done = subprocess.run(
            [binary(), "account", "add", f"administrator@{DOMAIN}", "--dir", self.server.directory],
            input="long enough\n", capture_output=True, text=True, timeout=60,
        )
        self.assertEqual(done.returncode, 1)
        self.assertIn("reserved", done.stderr)


if __name__ == "__main__":
    harness.main()
