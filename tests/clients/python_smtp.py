"""Python's smtplib against submission, and submission's own rules on the wire."""

import base64
import email
import re
import smtplib

import harness
from harness import DOMAIN, PASSWORD, ServerCase, corpus, message
from wire import Scram, Smtp

ALICE, BOB, CAROL = (f"{name}@{DOMAIN}" for name in harness.USERS)


def without_trace(data):
    """A delivered message without the Received fields on top."""
    return re.sub(rb"\A(Received:[^\r]*\r\n([ \t][^\r]*\r\n)*|Return-Path:[^\r]*\r\n)+", b"", data)


class PythonSmtp(ServerCase):
    def setUp(self):
        for user in ("alice", "carol"):
            self.server.empty(user)

    def client(self, login=True):
        client = smtplib.SMTP_SSL(
            "localhost", self.server.port("submissions"), context=self.server.tls(), timeout=30
        )
        if login:
            client.login(BOB, PASSWORD)
        return client

    def test_starttls_and_login(self):
        client = smtplib.SMTP("localhost", self.server.port("submission"), timeout=30)
        client.ehlo()
        self.assertTrue(client.has_extn("starttls"))
        client.starttls(context=self.server.tls())
        client.ehlo()
        self.assertFalse(client.has_extn("starttls"))
        for name in ("size", "pipelining", "8bitmime", "smtputf8", "chunking", "enhancedstatuscodes", "dsn"):
            self.assertTrue(client.has_extn(name), name)
        client.login("bob", PASSWORD)
        client.sendmail(BOB, [ALICE], message(1))
        client.quit()
        self.assertEqual([without_trace(m) for m in self.server.bodies("alice")], [message(1)])

    def test_auth_mechanisms(self):
        for mechanism in ("PLAIN", "LOGIN"):
            client = self.client(False)
            client.ehlo()
            client.user, client.password = BOB, PASSWORD
            answer = client.auth(mechanism, getattr(client, "auth_" + mechanism.lower()))
            self.assertEqual(answer[0], 235)
            client.quit()

    def test_binarymime(self):
        """Binary comes by BDAT, and is base64 for whoever reads it (RFC 3030, 3)."""
        picture = bytes(range(256)) * 1000 + b"\r\n.\r\n\0"
        head = (
            f"From: {BOB}\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=limit\r\n"
            "Content-Transfer-Encoding: binary\r\n\r\n--limit\r\nContent-Type: image/x\r\n"
            "Content-Transfer-Encoding: binary\r\n\r\n"
        ).encode()
        data = head + picture + b"\r\n--limit--\r\n"
        client = self.client()
        client.ehlo()
        self.assertTrue(client.has_extn("binarymime"))
        self.assertEqual(client.mail(BOB, ["BODY=BINARYMIME"])[0], 250)
        self.assertEqual(client.rcpt(ALICE)[0], 250)
        self.assertEqual(client.docmd("DATA")[0], 503)
        for at in range(0, len(data), 100_000):
            chunk = data[at : at + 100_000]
            last = " LAST" if at + len(chunk) == len(data) else ""
            client.send(f"BDAT {len(chunk)}{last}\r\n".encode() + chunk)
            self.assertEqual(client.getreply()[0], 250)
        client.quit()
        (got,) = self.server.bodies("alice")
        self.assertNotIn(b"\0", got)
        (part,) = email.message_from_bytes(got).get_payload()
        self.assertEqual(part["Content-Transfer-Encoding"], "base64")
        self.assertEqual(part.get_payload(decode=True), picture)

    def test_scram(self):
        raw = Smtp(self.server)
        raw.expect("EHLO x.test", 250)
        scram = Scram(BOB, PASSWORD)
        _, challenge, _ = raw.expect("AUTH SCRAM-SHA-256 " + base64.b64encode(scram.first()).decode(), 334)
        _, last, _ = raw.expect(base64.b64encode(scram.final(base64.b64decode(challenge))).decode(), 334)
        self.assertTrue(scram.server_is_genuine(base64.b64decode(last)))
        raw.expect("", 235)
        raw.expect("QUIT", 221)

    def test_many_recipients_get_one_copy_each(self):
        with self.client() as client:
            client.sendmail(BOB, [ALICE, CAROL, ALICE.upper()], message(2))
        self.assertEqual(len(self.server.bodies("alice")), 1)
        self.assertEqual(len(self.server.bodies("carol")), 1)

    def test_received_is_added_on_top(self):
        with self.client() as client:
            client.sendmail(BOB, [ALICE], message(3))
        (got,) = self.server.bodies("alice")
        self.assertTrue(re.match(rb"(Return-Path:[^\r]*\r\n)?Received: ", got), got[:80])
        self.assertRegex(got, rb"(?s)\A(Return-Path:[^\r]*\r\n)?Received:.*?with ESMTPSA")

    def test_missing_date_and_message_id_are_added_and_bcc_removed(self):
        data = f"From: {BOB}\r\nTo: {ALICE}\r\nBcc: {CAROL}\r\n\tx@y.example\r\nSubject: x\r\n\r\nBcc: stays in the body\r\n"
        with self.client() as client:
            client.sendmail(BOB, [ALICE, CAROL], data)
        for user in ("alice", "carol"):
            (got,) = self.server.bodies(user)
            head, body = got.split(b"\r\n\r\n", 1)
            self.assertRegex(head, rb"(?m)^Date: \w{3}, \d")
            self.assertRegex(head, rb"(?m)^Message-ID: <[^@>]+@[^@>]+>\r?$")
            self.assertNotRegex(head, rb"(?im)^bcc:")
            self.assertNotIn(b"x@y.example", head)
            self.assertEqual(body, b"Bcc: stays in the body\r\n")

    def test_sender_must_be_the_logins_own(self):
        with self.client() as client:
            with self.assertRaises(smtplib.SMTPSenderRefused) as caught:
                client.sendmail(ALICE, [CAROL], message(4, sender="alice"))
            self.assertIn(caught.exception.smtp_code, (550, 553))
            with self.assertRaises(smtplib.SMTPDataError) as caught:
                client.sendmail(BOB, [CAROL], message(4, sender="alice"))
            self.assertIn(caught.exception.smtp_code, (550, 553, 554))
        self.assertEqual(self.server.bodies("carol"), [])

    def test_unknown_and_remote_recipients_are_refused(self):
        with self.client() as client:
            for recipient in (f"nobody@{DOMAIN}", "someone@far.example"):
                with self.assertRaises(smtplib.SMTPRecipientsRefused) as caught:
                    client.sendmail(BOB, [recipient], message(5))
                code, text = caught.exception.recipients[recipient]
                self.assertTrue(550 <= code <= 559, (code, text))
                self.assertRegex(text, rb"^5\.\d+\.\d+ ")
            refused = client.sendmail(BOB, [f"nobody@{DOMAIN}", ALICE], message(5))
            self.assertEqual(list(refused), [f"nobody@{DOMAIN}"])
        self.assertEqual(len(self.server.bodies("alice")), 1)

    def test_login_is_required(self):
        client = self.client(False)
        with self.assertRaises(smtplib.SMTPSenderRefused) as caught:
            client.sendmail(BOB, [ALICE], message(6))
        self.assertEqual(caught.exception.smtp_code, 530)
        client.close()

    def test_wrong_password(self):
        client = self.client(False)
        with self.assertRaises(smtplib.SMTPAuthenticationError) as caught:
            client.login(BOB, "wrong")
        self.assertEqual(caught.exception.smtp_code, 535)
        client.close()

    def test_size_is_announced_and_held(self):
        raw = Smtp(self.server, user="bob")
        lines = raw.expect("EHLO again.test", 250)[2]
        (limit,) = [int(line.split()[1]) for line in lines if line.startswith(b"SIZE")]
        raw.expect(f"MAIL FROM:<{BOB}> SIZE={limit}", 250)
        raw.expect("RSET", 250)
        raw.expect(f"MAIL FROM:<{BOB}> SIZE={limit + 1}", 552)
        raw.expect("QUIT", 221)

    def test_pipelining(self):
        raw = Smtp(self.server, user="bob")
        raw.send(
            f"MAIL FROM:<{BOB}>\r\nRCPT TO:<{ALICE}>\r\nRCPT TO:<nobody@{DOMAIN}>\r\nRCPT TO:<{CAROL}>\r\nDATA\r\n".encode()
        )
        self.assertEqual([raw.reply()[0] for _ in range(5)], [250, 250, 550, 250, 354])
        raw.send(message(8) + b".\r\nMAIL FROM:<%s>\r\nRSET\r\nQUIT\r\n" % BOB.encode())
        self.assertEqual([raw.reply()[0] for _ in range(4)], [250, 250, 250, 221])
        self.assertEqual(len(self.server.bodies("carol")), 1)

    def test_chunking_keeps_bytes(self):
        # BDAT carries lone dots and binary-looking lines without stuffing (RFC 3030).
        body = b".\r\n..\r\n.x\r\n" + bytes(range(128, 256)) + b"\r\n"
        data = message(9) + body
        raw = Smtp(self.server, user="bob")
        raw.expect(f"MAIL FROM:<{BOB}> BODY=8BITMIME", 250)
        raw.expect(f"RCPT TO:<{ALICE}>", 250)
        for at in range(0, len(data), 50):
            piece = data[at : at + 50]
            last = b" LAST" if at + 50 >= len(data) else b""
            raw.send(b"BDAT %d%s\r\n%s" % (len(piece), last, piece))
            self.assertEqual(raw.reply()[0], 250)
        self.assertEqual(without_trace(self.server.bodies("alice")[0]), data)

    def test_dot_stuffing_and_corpus_body(self):
        dots = dict(corpus())["dot-lines"].split(b"\r\n\r\n", 1)[1]
        with self.client() as client:
            client.sendmail(BOB, [ALICE], message(10) + dots)
        self.assertEqual(without_trace(self.server.bodies("alice")[0]), message(10) + dots)

    def test_smtputf8(self):
        with self.client() as client:
            client.ehlo()
            data = (
                "From: Bób <bob@demo.test>\r\nTo: alice@demo.test\r\nSubject: Привет 你好\r\n".encode()
                + message(11).split(b"\r\n", 3)[3]
            )
            client.sendmail(BOB, [ALICE], data, mail_options=["SMTPUTF8", "BODY=8BITMIME"])
        self.assertIn("Subject: Привет 你好\r\n".encode(), self.server.bodies("alice")[0])

    def test_dsn_parameters_are_taken(self):
        raw = Smtp(self.server, user="bob")
        raw.expect(f"MAIL FROM:<{BOB}> RET=HDRS ENVID=abc+2B1", 250)
        raw.expect(f"RCPT TO:<{ALICE}> NOTIFY=SUCCESS,FAILURE ORCPT=rfc822;{ALICE}", 250)
        raw.expect("RSET", 250)
        self.assertIn(raw.command(f"MAIL FROM:<{BOB}> RET=NONSENSE")[0], (501, 555))
        self.assertIn(raw.command(f"MAIL FROM:<{BOB}> UNKNOWN=1")[0], (501, 555))
        raw.expect("QUIT", 221)

    def test_order_of_commands(self):
        raw = Smtp(self.server, user="bob")
        raw.expect(f"RCPT TO:<{ALICE}>", 503)
        raw.expect("DATA", 503)
        raw.expect(f"MAIL FROM:<{BOB}>", 250)
        # RFC 5321, 3.3 allows both.
        self.assertIn(raw.command("DATA")[0], (503, 554))
        raw.expect(f"MAIL FROM:<{BOB}>", 503)
        self.assertIn(raw.command("RCPT TO:alice")[0], (501, 553))
        self.assertIn(raw.command("NONSENSE")[0], (500, 502))
        raw.expect("NOOP", 250)
        self.assertIn(raw.command(f"VRFY {ALICE}")[0], (250, 252, 502, 550))
        raw.expect("QUIT", 221)


if __name__ == "__main__":
    harness.main()
