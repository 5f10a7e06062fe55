"""Mail from outside for a group or catch-all with members at other domains: it goes on from a
sender of ours (SRS) and sealed (ARC, as Debian's dkimpy reads it), and bounces find back."""

import re
import smtplib
import ssl
import subprocess
import sys
import unittest

# Debian's own modules, whichever Python runs this.
sys.path.append("/usr/lib/python3/dist-packages")

import dkim
import harness
from harness import PASSWORD, binary, free_port_base, wait_for
from incoming import ANN, ERIN, OFFICE, RECORDS, SMTP, DnsDouble, Office, mail
from peers import Peer

TEAM, HAL, EVE = f"team@{OFFICE}", "hal@away.test", "eve@gone.test"
OTHER = "other.test"
HEADERS = [b"from", b"to", b"subject", b"date", b"message-id"]


class Forwarding(unittest.TestCase):
    """team is erin here and hal elsewhere; all mail to elsewhere goes to one peer."""

    @classmethod
    def setUpClass(cls):
        port = free_port_base() + 26
        replies = {f"RCPT TO:<{EVE}>": "550 5.1.1 there is no eve"}
        cls.peer = Peer("127.0.0.1", extensions=["8BITMIME", "SMTPUTF8"], replies=replies, port=port)
        records = dict(RECORDS)
        records[(OTHER, "TXT")] = ["v=spf1 ip4:127.0.0.1 -all"]
        cls.server = Office(dns=DnsDouble(records))
        cls.tell("dkim", "make", OFFICE)
        cls.tell("route", "set", "default", "--host", "127.0.0.1", "--port", str(port), "--tls", "none")
        cls.tell("group", "add", TEAM, ERIN, HAL)
        cls.tell("group", "add", f"gone@{OFFICE}", EVE)
        cls.server.start()
        for name, text in cls.published().items():
            cls.server.dns.records[(name, "TXT")] = [text]

    @classmethod
    def tearDownClass(cls):
        try:
            cls.server.end()
        finally:
            cls.peer.stop()

    @classmethod
    def tell(cls, *words):
        done = subprocess.run(
            [binary(), *words, "--dir", cls.server.directory], capture_output=True, text=True, timeout=60
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    @classmethod
    def published(cls):
        """Name and text of our DKIM records."""
        lines = cls.tell("dns", OFFICE, "--hostname", "mail.office.test").splitlines()
        found = [re.match(r'(\S+_domainkey\S+)\. \d+ IN TXT (.*)', line) for line in lines]
        return {it[1]: "".join(re.findall(r'"([^"]*)"', it[2])) for it in found if it}

    def send(self, sender, recipient, data):
        with self.server.smtp() as smtp:
            smtp.sendmail(sender, [recipient], data)

    def forwarded(self, subject):
        """The message of that subject as the peer got it."""
        wanted = f"Subject: {subject}\r\n".encode()
        found = lambda: [it for it in self.peer.taken if wanted in it.body]
        return wait_for(found, 30, message=f"{subject} did not go on")[0]

    def sender_of(self, taken):
        return re.match(r"MAIL FROM:<([^>]*)>", taken.mail)[1]

    def arc(self, data):
        """What dkimpy says of the chain; of one that was given up, why."""
        text = lambda name: self.server.dns.records.get((name.decode().rstrip("."), "TXT"), [""])[0]
        value, sets, why = dkim.arc_verify(data, dnsfunc=lambda name, timeout=5: text(name).encode() or None)
        if value is None:
            self.assertTrue(sets[0]["ams-valid"], why)
        return value or why

    def code(self, sender, recipient):
        """The reply to a recipient."""
        with self.server.smtp() as smtp:
            smtp.ehlo()
            self.assertEqual(smtp.mail(sender)[0], 250)
            return smtp.rcpt(recipient)

    def test_a_member_elsewhere_gets_it_from_us_and_sealed(self):
        data = mail(ANN, TEAM, "team", body="one  \t two \r\n\r\n.dot\r\n\r\n")
        self.send(ANN, TEAM, data)
        taken = self.forwarded("team")
        self.assertRegex(self.sender_of(taken), r"^SRS0=[A-Z2-7]{6}=[A-Z2-7]{2}=far\.test=ann@office\.test$")
        self.assertEqual(taken.rcpts, [f"RCPT TO:<{HAL}>"])
        self.assertTrue(taken.body.endswith(data), taken.body)
        self.assertTrue(taken.body.startswith(b"ARC-Seal: i=1; a=rsa-sha256;"), taken.body)
        self.assertIn(b"ARC-Authentication-Results: i=1; localhost;\r\n\tspf=pass", taken.body)
        self.assertEqual(self.arc(taken.body), dkim.CV_Pass)
        self.assertEqual(self.arc(taken.body.replace(b"one", b"two")), dkim.CV_Fail)
        self.assertEqual(self.arc(taken.body.replace(b"i=1; localhost;\r\n\tspf=pass", b"i=1; localhost;\r\n\tspf=fail")), dkim.CV_Fail)
        # Who is here sees who sent it.
        (here,) = [it for it in self.server.bodies() if b"Subject: team\r\n" in it]
        self.assertTrue(here.startswith(b"Return-Path: <ann@far.test>\r\n"), here)

    def test_a_bounce_to_it_reaches_the_sender(self):
        self.send(ANN, TEAM, mail(ANN, TEAM, "bounces"))
        rewritten = self.sender_of(self.forwarded("bounces"))
        # As a server that folds case sends it.
        self.send("", rewritten.lower(), mail(f"mailer-daemon@{OTHER}", rewritten, "bounced"))
        taken = self.forwarded("bounced")
        self.assertEqual((self.sender_of(taken), taken.rcpts), ("", [f"RCPT TO:<{ANN}>"]))
        self.assertEqual(self.arc(taken.body), dkim.CV_Pass)

    def test_nobody_relays_by_it(self):
        self.send(ANN, TEAM, mail(ANN, TEAM, "relays"))
        good = self.sender_of(self.forwarded("relays"))
        self.assertEqual(self.code("", good)[0], 250)
        for sender in (ANN, ERIN, f"x@{OTHER}"):
            code, text = self.code(sender, good)
            self.assertEqual((code, text[:5]), (550, b"5.7.1"), sender)
        local, _ = good.split("@")
        parts = local.split("=")
        flipped = "A" if parts[1][0] != "A" else "B"
        for forged in (
            good.replace("far.test", "away.test"),
            good.replace("=ann@", "=hal@"),
            good.replace(f"={parts[2]}=", "=AA=") if parts[2] != "AA" else good.replace("=AA=", "=AB="),
            good.replace(f"={parts[1]}", f"={flipped}{parts[1][1:]}"),
            good.replace(f"={parts[1]}", "="),
            f"SRS0=AAAAAA=AA=away.test=hal@{OFFICE}",
            f"SRS1=AAAAAA=away.test==AAAA=AA=far.test=ann@{OFFICE}",
            f"SRS0={HAL.replace('@', '=')}@{OFFICE}",
        ):
            code, text = self.code("", forged)
            self.assertEqual((code, text[:5]), (550, b"5.1.1"), forged)
        code, _ = self.code("", f"{local}@{OTHER}")
        self.assertEqual(code, 550)

    def test_when_the_next_server_refuses_the_sender_is_told(self):
        self.send(ANN, f"gone@{OFFICE}", mail(ANN, f"gone@{OFFICE}", "refused"))
        told = lambda: [it for it in self.peer.taken if it.rcpts == [f"RCPT TO:<{ANN}>"] and b"Subject: refused" in it.body]
        (notice,) = wait_for(told, 30, message="the sender is told nothing")
        self.assertEqual(self.sender_of(notice), "")
        # The code is told; the words are not, for they name the member (RFC 3464, 4.2).
        self.assertIn(b"\r\nDiagnostic-Code: smtp;550 5.1.1 (", notice.body)
        self.assertNotIn(b"there is no eve", notice.body)
        self.assertRegex(notice.body, rb"(?m)^To: <?ann@far\.test>?\r$")
        # He wrote to the group: that is the address he is told of (RFC 3464, 2.3.2). It is no
        # original recipient, for he gave none (RFC 3461, 6.3).
        self.assertIn(b"\r\nFinal-Recipient: rfc822;gone@office.test\r\nAction: failed\r\n", notice.body)
        self.assertNotIn(b"Original-Recipient:", notice.body)
        self.assertNotIn(EVE.encode(), notice.body)

    def test_a_second_forwarder_names_the_first(self):
        sender = f"SRS0=abcd=ef=far.test=ann@{OTHER}"
        self.send(sender, TEAM, mail(f"x@{OTHER}", TEAM, "second"))
        rewritten = self.sender_of(self.forwarded("second"))
        self.assertRegex(rewritten, r"^SRS1=[A-Z2-7]{6}=other\.test==abcd=ef=far\.test=ann@office\.test$")
        self.send("", rewritten, mail(f"mailer-daemon@{OTHER}", rewritten, "second-bounced"))
        self.assertEqual(self.forwarded("second-bounced").rcpts, [f"RCPT TO:<{sender}>"])

    def test_a_catch_all_sends_on_too(self):
        self.tell("catch-all", "set", OFFICE, HAL)
        try:
            self.send(ANN, f"whoever@{OFFICE}", mail(ANN, f"whoever@{OFFICE}", "caught"))
            taken = self.forwarded("caught")
            self.assertRegex(self.sender_of(taken), r"^SRS0=.*@office\.test$")
            self.assertEqual(taken.rcpts, [f"RCPT TO:<{HAL}>"])
            # It takes no forged address of ours.
            self.assertEqual(self.code("", f"SRS0=AAAAAA=AA=away.test=hal@{OFFICE}")[0], 550)
        finally:
            self.tell("catch-all", "remove", OFFICE)

    def test_lmtp_rewrites_too(self):
        lmtp = smtplib.LMTP("127.0.0.1", self.server.base + 24)
        lmtp.sendmail(ANN, [TEAM], mail(ANN, TEAM, "lmtp"))
        lmtp.quit()
        taken = self.forwarded("lmtp")
        self.assertRegex(self.sender_of(taken), r"^SRS0=.*=far\.test=ann@office\.test$")

    def test_lmtp_brings_bounces_of_our_own_name(self):
        """The server in front sends them as MAILER-DAEMON@ours, which is no author of a group's mail."""
        lmtp = smtplib.LMTP("127.0.0.1", self.server.base + 24)
        lmtp.sendmail(ANN, [TEAM], mail(ANN, TEAM, "lmtp-lost"))
        back = self.sender_of(self.forwarded("lmtp-lost"))
        daemon = "MAILER-DAEMON@" + OFFICE
        lmtp.sendmail("", [back], mail(daemon, back, "lmtp-bounce"))
        with self.assertRaises(smtplib.SMTPDataError) as refused:
            lmtp.sendmail("", [TEAM], mail(daemon, TEAM, "lmtp-forged"))
        self.assertEqual(refused.exception.smtp_code, 550, refused.exception)
        lmtp.quit()
        self.assertEqual(self.sender_of(self.forwarded("lmtp-bounce")), "")

    def test_lmtp_brings_bounces_to_senders_that_are_remembered(self):
        """A sender too long to be rewritten whole (as of VERP) is remembered under a token."""
        long = "bounces+" + "x" * 50 + "@far.test"
        lmtp = smtplib.LMTP("127.0.0.1", self.server.base + 24)
        lmtp.sendmail(long, [TEAM], mail(ANN, TEAM, "verp"))
        token = self.sender_of(self.forwarded("verp"))
        self.assertTrue(token.endswith("@" + OFFICE) and "xxx" not in token, token)
        lmtp.sendmail("", [token], mail(f"mailer-daemon@{OTHER}", token, "verp-bounce"))
        taken = self.forwarded("verp-bounce")
        self.assertEqual((self.sender_of(taken), taken.rcpts), ("", [f"RCPT TO:<{long}>"]))
        # By it nobody else sends, and no other token is one.
        forged = token[:5] + ("B" if token[5] == "A" else "A") + token[6:]
        for sender, recipient in ((ANN, token), ("", forged)):
            with self.assertRaises(smtplib.SMTPRecipientsRefused, msg=recipient):
                lmtp.sendmail(sender, [recipient], mail(ANN, recipient, "verp-relay"))
        lmtp.quit()

    def test_what_lmtp_brings_is_not_signed(self):
        """Whoever its author claims to be; what is submitted to the same group is."""
        lmtp = smtplib.LMTP("127.0.0.1", self.server.base + 24)
        lmtp.sendmail(ANN, [TEAM], mail(ANN, TEAM, "lmtp-unsigned"))
        # A From of ours would be believed, since it goes on from a sender of ours.
        with self.assertRaises(smtplib.SMTPDataError) as refused:
            lmtp.sendmail(ANN, [TEAM], mail(ERIN, TEAM, "lmtp-ours"))
        self.assertEqual(refused.exception.smtp_code, 550, refused.exception)
        lmtp.quit()
        self.assertNotIn(b"DKIM-Signature:", self.forwarded("lmtp-unsigned").body)
        smtp = smtplib.SMTP("127.0.0.1", self.server.base + 587, timeout=30)
        smtp.starttls(context=ssl._create_unverified_context())
        smtp.login(ERIN, PASSWORD)
        smtp.sendmail(ERIN, [TEAM], mail(ERIN, TEAM, "submitted"))
        smtp.quit()
        self.assertEqual(self.forwarded("submitted").body.count(b"DKIM-Signature:"), 2)

    def test_who_is_ours_stays_himself(self):
        """Neither rewritten, nor signed by us: nobody has logged in."""
        self.server.dns.records[(OFFICE, "TXT")] = ["v=spf1 ip4:127.0.0.1 -all"]
        try:
            self.send(ERIN, TEAM, mail(ERIN, TEAM, "ours"))
        finally:
            del self.server.dns.records[(OFFICE, "TXT")]
        taken = self.forwarded("ours")
        self.assertEqual(self.sender_of(taken), ERIN)
        self.assertNotIn(b"DKIM-Signature", taken.body)

    def refused(self, sender, author, subject, recipients=(TEAM,), data=None):
        """The message is refused, and nobody gets it: neither here nor elsewhere."""
        with self.server.smtp() as smtp, self.assertRaises(smtplib.SMTPDataError) as refused:
            smtp.sendmail(sender, recipients, data or mail(author, TEAM, subject))
        self.assertEqual((refused.exception.smtp_code, refused.exception.smtp_error[:5]), (550, b"5.7.1"))
        wanted = f"Subject: {subject}\r\n".encode()
        for mailbox in ("INBOX", "Junk"):
            self.assertFalse([it for it in self.server.bodies(mailbox=mailbox) if wanted in it])
        # What is sent on later is there, this is not.
        self.send(ANN, TEAM, mail(ANN, TEAM, f"after-{subject}"))
        self.forwarded(f"after-{subject}")
        self.assertFalse([it for it in self.peer.taken if wanted in it.body])

    def test_nobody_gets_our_name_by_a_group(self):
        """The rewritten sender's SPF would speak for a forged author of ours."""
        records = self.server.dns.records
        boss = f"boss@{OFFICE}"
        policies = [None, "none", "quarantine", "reject; t=y"]
        for n, policy in enumerate(policies):
            if policy:
                records[(f"_dmarc.{OFFICE}", "TXT")] = [f"v=DMARC1; p={policy}"]
            try:
                self.refused(ANN, boss, f"forged{n}")
                self.refused(ANN, f"boss@sub.{OFFICE}", f"forged-sub{n}", [TEAM, ERIN])
                self.refused(boss, boss, f"forged-own{n}")
            finally:
                records.pop((f"_dmarc.{OFFICE}", "TXT"), None)
        self.refused(ANN, f"{ANN}, {boss}", "forged-two")
        # Who is here alone gets it as before.
        self.send(ANN, ERIN, mail(boss, ERIN, "forged-here"))
        self.assertTrue([it for it in self.server.bodies() if b"Subject: forged-here\r\n" in it])

    def test_what_dmarc_suspects_does_not_go_on(self):
        self.refused(ANN, "x@careful.test", "suspect")
        self.send(ANN, ERIN, mail("x@careful.test", ERIN, "suspect-here"))
        junk = self.server.bodies(mailbox="Junk")
        self.assertTrue([it for it in junk if b"Subject: suspect-here\r\n" in it])

    def test_chains_go_on_or_are_given_up(self):
        key = subprocess.run(["openssl", "genrsa", "-traditional", "2048"], capture_output=True, check=True).stdout
        public = subprocess.run(["openssl", "rsa", "-pubout"], input=key, capture_output=True, check=True).stdout
        text = b"".join(public.splitlines()[1:-1]).decode()
        self.server.dns.records[(f"arc._domainkey.{OTHER}", "TXT")] = [f"v=DKIM1; k=rsa; p={text}"]

        def sealed(data):
            header = f"Authentication-Results: {OTHER}; spf=pass smtp.mailfrom={ANN}\r\n".encode()
            options = dict(include_headers=HEADERS, standardize=True)
            fields = dkim.arc_sign(header + data, b"arc", OTHER.encode(), key, OTHER.encode(), **options)
            field = b"".join(fields).replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
            return field + header + data

        self.send(ANN, TEAM, sealed(mail(ANN, TEAM, "chain")))
        got = self.forwarded("chain").body
        self.assertTrue(got.startswith(b"ARC-Seal: i=2;"), got)
        self.assertIn(b"cv=pass;", got)
        self.assertEqual(self.arc(got), dkim.CV_Pass)
        self.send(ANN, TEAM, sealed(mail(ANN, TEAM, "chain")).replace(b"Subject: chain", b"Subject: broken"))
        got = self.forwarded("broken").body
        self.assertTrue(got.startswith(b"ARC-Seal: i=2;"), got)
        self.assertIn(b"cv=fail;", got)
        self.assertEqual(self.arc(got), "ARC-Seal[2] reported failure, the chain is terminated")
        self.send(ANN, TEAM, got.replace(b"Subject: broken", b"Subject: over"))
        self.assertEqual(self.forwarded("over").body.count(b"ARC-Seal:"), 2)

    def test_a_message_that_goes_in_circles_ends(self):
        data = mail(ANN, TEAM, "circles")
        with self.assertRaises(smtplib.SMTPDataError) as refused:
            self.send(ANN, TEAM, b"Received: from a by b; Mon, 2 Feb 2026 10:00:00 +0000\r\n" * 51 + data)
        self.assertEqual((refused.exception.smtp_code, refused.exception.smtp_error[:5]), (554, b"5.4.6"))


if __name__ == "__main__":
    harness.main()
