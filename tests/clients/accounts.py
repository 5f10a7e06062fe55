"""Accounts: passwords for one device each, quotas and their warnings, disabling, another address,
deleting and having back, and the log that tells of all of it. As curl, swaks, mbsync and Python
see it."""

import base64
import imaplib
import os
import poplib
import re
import smtplib
import subprocess

import harness
from harness import DOMAIN, PASSWORD, ServerCase, binary, message, wait_for
from wire import Imap, Scram

# Seconds within which a warning comes of a quota that mail has filled: it is a few.
SOON = 30


class Accounts(ServerCase):
    def cli(self, *words, status=0, stdin=""):
        done = subprocess.run(
            [binary(), *words, "--dir", self.server.directory],
            input=stdin, capture_output=True, text=True, timeout=60,
        )
        self.assertEqual(done.returncode, status, done.stdout + done.stderr)
        return done.stderr if status else done.stdout

    def person(self, name, *options):
        """A new account with an empty INBOX; its address."""
        address = f"{name}@{DOMAIN}"
        self.cli("account", "add", address, "--password-stdin", *(options or ["--no-welcome"]), stdin=PASSWORD + "\n")
        return address

    def login(self, address, password=PASSWORD):
        client = imaplib.IMAP4_SSL(
            "localhost", self.server.port("imaps"), ssl_context=self.server.tls(), timeout=60
        )
        client.login(address, password)
        return client

    def curl(self, address, password, service="imaps"):
        url = f"{service}://localhost:{self.server.port(service)}/"
        done = subprocess.run(
            ["curl", "-sS", "--cacert", self.server.ca, "--login-options", "AUTH=PLAIN",
             "--user", f"{address}:{password}", url],
            capture_output=True, text=True, timeout=60,
        )
        return done.returncode

    def submit(self, to, data):
        """As smtplib does it: it tells the size. Gives the recipients that are refused."""
        with smtplib.SMTP("localhost", self.server.port("submission"), timeout=60) as client:
            client.starttls(context=self.server.tls())
            client.login("bob", PASSWORD)
            return client.sendmail(f"bob@{DOMAIN}", to, data)

    def announce(self, to, size):
        """The reply to a recipient of a message of that size."""
        with smtplib.SMTP("localhost", self.server.port("submission"), timeout=60) as client:
            client.starttls(context=self.server.tls())
            client.login("bob", PASSWORD)
            client.mail(f"bob@{DOMAIN}", [f"size={size}"])
            return client.rcpt(to)

    def uids(self, address, mailbox="INBOX"):
        client = self.login(address)
        client.select(mailbox, readonly=True)
        validity = client.response("UIDVALIDITY")[1]
        found = client.uid("SEARCH", "ALL")[1]
        client.logout()
        return validity, found

    def test_an_app_password_is_one_devices_until_it_is_revoked(self):
        ann = self.person("ann")
        phone = self.cli("account", "app-password", "add", ann, "phone").strip()
        tablet = self.cli("account", "app-password", "add", ann, "tablet", "--only", "pop3").strip()
        self.assertRegex(phone, r"^([a-z1-9]{4}-){5}[a-z1-9]{4}$")
        self.assertEqual(self.curl(ann, phone), 0)
        self.assertEqual(self.curl(ann, phone.replace("-", "").upper()), 0)
        self.assertEqual(self.curl(ann, phone, "pop3s"), 0)
        self.assertEqual(self.curl(ann, tablet, "pop3s"), 0)
        self.assertNotEqual(self.curl(ann, tablet), 0)
        self.assertEqual(self.curl(ann, PASSWORD), 0)
        listed = self.cli("account", "app-password", "list", ann)
        self.assertRegex(listed, r"(?m)^phone +\S+ +20\d\d-\S+, (imap|pop3) from \S+ +imap pop3 submission$")
        self.assertRegex(listed, r"(?m)^tablet +\S+ +20\d\d-\S+, pop3 from \S+ +pop3$")
        self.assertNotIn(phone, listed)
        self.assertIn("has an app password phone already", self.cli("account", "app-password", "add", ann, "phone", status=1))
        live, other = self.login(ann, phone), self.login(ann)
        self.cli("account", "app-password", "remove", ann, "phone")
        self.assertNotEqual(self.curl(ann, phone), 0)

        def has_ended():
            try:
                live.noop()
            except (imaplib.IMAP4.abort, OSError):
                return True
            return False

        wait_for(has_ended, 30, every=0.2)
        self.assertEqual(other.noop()[0], "OK")
        other.logout()
        log = self.cli("log", "--account", ann)
        for expected in ("app password phone", "app-password-remove", "wrong name or password"):
            self.assertIn(expected, log)
        self.assertNotIn(phone, log + self.server.log_text())

    def test_scram_finds_the_devices_password_by_the_login_name(self):
        ann = self.person("scram")
        phone = self.cli("account", "app-password", "add", ann, "phone").strip()
        for name, password, right in (
            (f"{ann}/phone", phone, True),
            (ann, phone, False),
            (ann, PASSWORD, True),
            (f"{ann}/phone", PASSWORD, False),
        ):
            imap = Imap(self.server)
            scram = Scram(name, password)
            tag = imap.begin(b"AUTHENTICATE SCRAM-SHA-256 " + base64.b64encode(scram.first()))
            imap.send(base64.b64encode(scram.final(base64.b64decode(imap.line()[2:]))) + b"\r\n")
            if right:
                self.assertTrue(scram.server_is_genuine(base64.b64decode(imap.line()[2:])))
                imap.send(b"\r\n")
            self.assertEqual(imap.finish(tag)[1].startswith(b"OK"), right, name)
            imap.close()

    def test_a_full_mailbox_refuses_by_every_way_in(self):
        ann, eve = self.person("full"), self.person("empty")
        self.cli("account", "set", ann, "quota", "100KiB")
        large = message(1, "bob", "full", body="x" * 60 + "\r\n") + (b"y" * 70 + b"\r\n") * 900
        client = self.login(ann)
        self.assertEqual(client.append("INBOX", None, None, large)[0], "OK")
        status, answer = client.append("INBOX", None, None, large)
        self.assertEqual((status, answer[0][:11]), ("NO", b"[OVERQUOTA]"))
        client.select("INBOX")
        status, answer = client.copy("1", "Archive")
        self.assertEqual((status, answer[0][:11]), ("NO", b"[OVERQUOTA]"))
        status, answer = client.getquotaroot("INBOX")
        self.assertEqual(status, "OK")
        self.assertEqual(answer[0], [b'INBOX ""'])
        self.assertRegex(answer[1][0], rb'^"" \(STORAGE \d\d 100\)$')
        self.assertEqual(client.store("1", "+FLAGS", "\\Deleted")[0], "OK")
        status = client.status("INBOX", "(DELETED DELETED-STORAGE)")[1][0]
        self.assertRegex(status, rb"DELETED 1 DELETED-STORAGE \d{5}\)$")
        # A message alone is refused at RCPT where its size is told, else at its end.
        done = subprocess.run(
            ["swaks", "--server", "localhost", "--port", str(self.server.port("submission")), "--tls",
             "--auth", "PLAIN", "--auth-user", "bob", "--auth-password", PASSWORD,
             "--from", f"bob@{DOMAIN}", "--to", ann, "--body", ("z" * 70 + "\n") * 1000],
            capture_output=True, text=True, timeout=60,
        )
        self.assertIn("452 4.2.2", done.stdout)
        with self.assertRaises(smtplib.SMTPRecipientsRefused) as refused:
            self.submit([ann], large)
        self.assertEqual(refused.exception.recipients[ann][0], 452)
        self.assertEqual(self.announce(ann, 200_000)[0], 552)
        self.assertEqual(self.announce(ann, 1000)[0], 250)
        # Who is refused keeps nobody else from it.
        self.assertEqual(list(self.submit([ann, eve], large)), [ann])
        with smtplib.LMTP("localhost", self.server.base + 24) as lmtp:
            lmtp.ehlo()
            lmtp.mail("")
            self.assertEqual(lmtp.rcpt(ann)[0], 250)
            self.assertEqual(lmtp.rcpt(eve)[0], 250)
            lmtp.putcmd("data")
            self.assertEqual(lmtp.getreply()[0], 354)
            lmtp.send(large + b".\r\n")
            first, second = lmtp.getreply(), lmtp.getreply()
        self.assertEqual((first[0], first[1][:5]), (452, b"4.2.2"))
        self.assertEqual(second[0], 250)
        self.assertEqual(len(self.server_bodies(eve)), 2)
        # With room again it is taken.
        client.expunge()
        self.assertEqual(self.submit([ann], large), {})
        client.logout()

    def server_bodies(self, address):
        client = self.login(address)
        client.select("INBOX", readonly=True)
        found = [it[1] for it in client.fetch("1:*", "(BODY.PEEK[])")[1] if isinstance(it, tuple)]
        client.logout()
        return found

    def test_warnings_come_once_and_in_the_accounts_language(self):
        ann = self.person("warned")
        self.cli("account", "set", ann, "max-messages", "20")
        self.cli("account", "set", ann, "language", "ru")
        client = self.login(ann)
        for n in range(16):
            self.assertEqual(client.append("INBOX", None, None, message(n))[0], "OK")

        def count():
            client.noop()
            return int(client.select("INBOX")[1][0])

        wait_for(lambda: count() == 17, SOON, every=0.2)
        self.assertEqual(client.append("INBOX", None, None, message(17))[0], "OK")
        self.assertEqual(client.append("INBOX", None, None, message(18))[0], "OK")
        # 95 %: the second, and no third of 80 %.
        wait_for(lambda: count() == 20, SOON, every=0.2)
        warnings = [it for it in self.server_bodies(ann) if b"Auto-Submitted: auto-generated" in it]
        self.assertEqual(len(warnings), 2)
        self.assertTrue(all(b"Subject: =?utf-8?" in it for it in warnings))
        self.assertIn("100 %", self.cli("account", "show", ann))
        client.logout()

    def test_a_disabled_account_says_so_to_who_has_its_password(self):
        ann = self.person("off")
        live = self.login(ann)
        self.cli("account", "disable", ann)

        def has_ended():
            try:
                live.noop()
            except (imaplib.IMAP4.abort, OSError):
                return True
            return False

        wait_for(has_ended, 30, every=0.2)
        for password, code in ((PASSWORD, b"[CONTACTADMIN]"), ("wrong", b"[AUTHENTICATIONFAILED]")):
            with self.assertRaises(imaplib.IMAP4.error) as refused:
                self.login(ann, password)
            self.assertIn(code, refused.exception.args[0])
        pop = poplib.POP3_SSL("localhost", self.server.port("pop3s"), context=self.server.tls(), timeout=60)
        pop.user(ann)
        with self.assertRaises(poplib.error_proto) as refused:
            pop.pass_(PASSWORD)
        self.assertIn(b"[SYS/PERM]", refused.exception.args[0])
        pop.close()
        with smtplib.SMTP("localhost", self.server.port("submission"), timeout=60) as smtp:
            smtp.starttls(context=self.server.tls())
            with self.assertRaises(smtplib.SMTPAuthenticationError) as refused:
                smtp.login(ann, PASSWORD)
        self.assertEqual(refused.exception.smtp_code, 525)
        self.assertEqual(self.submit([ann], message(1)), {})
        self.cli("account", "disable", ann, "--refuse-mail")
        with self.assertRaises(smtplib.SMTPRecipientsRefused) as refused:
            self.submit([ann], message(2))
        code, text = refused.exception.recipients[ann]
        self.assertEqual((code, text.split()[0]), (550, b"5.2.1"))
        self.assertRegex(self.cli("account", "list"), rf"(?m)^{ann} .*disabled, refuses mail$")
        self.cli("account", "enable", ann)
        self.assertEqual(len(self.server_bodies(ann)), 1)
        self.assertIn("the account is disabled", self.cli("log", "--failed", "--account", ann))

    def test_another_address_keeps_what_mbsync_knows(self):
        ann, new = self.person("maiden"), f"married@{DOMAIN}"
        client = self.login(ann)
        for n in range(30):
            client.append("INBOX", None, None, message(n))
        client.logout()
        before = self.uids(ann)
        self.assertEqual(len(self.sync(ann)), 30)
        self.assertIn("reserved", self.cli("account", "rename", ann, f"guest@{DOMAIN}", status=1))
        self.assertIn("exists already", self.cli("account", "rename", ann, f"bob@{DOMAIN}", status=1))
        self.cli("account", "rename", ann, new, "--alias")
        self.assertEqual(self.uids(new), before)
        names = self.local()
        self.assertEqual(self.sync(new), names, "nothing is fetched again")
        self.assertEqual(self.submit([ann], message(99)), {})
        self.assertEqual(len(self.sync(new)), 31)
        self.cli("alias", "remove", ann)
        with self.assertRaises(smtplib.SMTPRecipientsRefused):
            self.submit([ann], message(100))

    def test_sessions_live_through_what_does_not_concern_them(self):
        def works(client):
            try:
                return client.noop()[0] == "OK"
            except (imaplib.IMAP4.abort, OSError):
                return False

        ann, new, last = self.person("live"), f"living@{DOMAIN}", f"lived@{DOMAIN}"
        mine, bobs = self.login(ann), self.login(f"bob@{DOMAIN}")
        mine.select("INBOX")
        self.cli("account", "rename", ann, new, "--alias")
        # It goes on, and sees what comes to either address.
        self.assertEqual(self.submit([ann, new], message(1)), {})
        wait_for(lambda: works(mine) and mine.response("EXISTS")[1] != [None], 30, message="no EXISTS")
        self.cli("account", "rename", new, last)
        wait_for(lambda: not works(mine), 30, every=0.2, message="renamed without an alias")
        mine = self.login(last)
        self.cli("account", "delete", last)
        wait_for(lambda: not works(mine), 30, every=0.2, message="deleted")
        self.cli("account", "restore", last)
        self.assertTrue(works(self.login(last)))
        self.assertTrue(works(bobs))
        bobs.logout()

    def sync(self, user):
        config = self.file(
            "mbsyncrc",
            f"""
FSync no

IMAPAccount server
Host localhost
Port {self.server.port("imaps")}
User {user}
Pass "{PASSWORD}"
SSLType IMAPS
CertificateFile {self.server.ca}
SystemCertificates no

IMAPStore far
Account server

MaildirStore near
Path {self.work}/mail/
Inbox {self.work}/mail/INBOX

Channel inbox
Far :far:INBOX
Near :near:INBOX
Create Near
SyncState *
""",
        )
        os.makedirs(os.path.join(self.work, "mail"), exist_ok=True)
        self.run_client("mbsync", "-c", config, "inbox", timeout=120)
        return self.local()

    def local(self):
        box = os.path.join(self.work, "mail", "INBOX")
        found = [name for sub in ("cur", "new") for name in os.listdir(os.path.join(box, sub))]
        return sorted(re.sub(r"(,U=\d+).*", r"\1", name) for name in found)

    def test_a_deleted_account_comes_back_with_every_uid(self):
        ann = self.person("gone")
        self.server_append(ann, 20)
        before = self.uids(ann)
        told = self.cli("account", "delete", ann)
        self.assertIn("`account restore` brings it back", told)
        with self.assertRaises(imaplib.IMAP4.error) as refused:
            self.login(ann)
        self.assertIn(b"[AUTHENTICATIONFAILED]", refused.exception.args[0])
        with self.assertRaises(smtplib.SMTPRecipientsRefused) as refused:
            self.submit([ann], message(1))
        self.assertEqual(refused.exception.recipients[ann][0], 550)
        again = self.cli("account", "add", ann, "--password-stdin", status=1, stdin=PASSWORD + "\n")
        self.assertIn("exists already", again)
        # As much after a power cut.
        self.server.kill()
        self.server.start()
        self.cli("account", "restore", ann)
        self.assertEqual(self.uids(ann), before)
        self.cli("account", "delete", ann, "--now")
        self.assertIn("there is no account", self.cli("account", "restore", ann, status=1))
        self.person("gone")
        self.assertEqual(self.uids(ann)[1], [b""])

    def server_append(self, address, count):
        client = self.login(address)
        for n in range(count):
            client.append("INBOX", None, None, message(n))
        client.logout()

    def test_a_welcome_names_the_settings_in_the_accounts_language(self):
        for name, language, word in (("hello", "en", "Password"), ("privet", "ru", "Пароль")):
            address = self.person(name, "--language", language)
            (welcome,) = self.server_bodies(address)
            lines = self.run_client("python3", "-c", f"""
import email, email.policy, sys
print(email.message_from_bytes({welcome!r}, policy=email.policy.default).get_body().get_content())
""").stdout
            self.assertIn(word, lines)
            self.assertIn(address, lines)
            self.assertIn(str(self.server.port("imaps")), lines)

    def test_the_log_names_who_changed_what(self):
        self.cli("account", "set", f"carol@{DOMAIN}", "sent-copy", "on")
        log = self.cli("log", "--changes", "--account", f"carol@{DOMAIN}", "--since", "1h")
        self.assertRegex(log, rf"(?m)change +- +control +(root|user \d+) +account set carol@{DOMAIN} sent-copy on")
        self.assertNotIn("login ", log)
        secret = "tell nobody of this"
        imap = Imap(self.server)
        imap.command(f'LOGIN "{secret}" "{secret}"')
        imap.close()
        log = self.cli("log", "--failed", "--last", "5")
        self.assertRegex(log, r"refused +- +imap +\S+ +wrong name or password")
        self.assertNotIn(secret, log)


if __name__ == "__main__":
    harness.main()
