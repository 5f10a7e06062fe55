"""DKIM and ARC with Debian's dkimpy and opendkim: they verify what we sign, we verify what dkimpy
signs; and the records that `pillarbox dns` prints."""

import base64
import os
import re
import smtplib
import ssl
import subprocess
import sys
import tempfile
import unittest

# Debian's own modules, whichever Python runs this.
sys.path.append("/usr/lib/python3/dist-packages")

import dkim
import harness
from dns_double import DnsDouble
from harness import PASSWORD, binary, free_port_base, wait_for
from incoming import ANN, ERIN, OFFICE, RECORDS, Office, OfficeCase, mail, results
from nacl.signing import SigningKey
from peers import Peer

HEADERS = [b"from", b"to", b"subject", b"date", b"message-id"]


def openssl(*words, data=None):
    return subprocess.run(["openssl", *words], input=data, capture_output=True, check=True).stdout


class Verifying(OfficeCase):
    """We verify what dkimpy signs."""

    @classmethod
    def setUpClass(cls):
        cls.rsa = openssl("genrsa", "-traditional", "2048")
        public = base64.b64encode(openssl("rsa", "-pubout", "-outform", "DER", data=cls.rsa)).decode()
        cls.ed = SigningKey.generate()
        edpublic = base64.b64encode(bytes(cls.ed.verify_key)).decode()
        cls.records = dict(RECORDS)
        cls.records[("rsa._domainkey.signed.test", "TXT")] = [f"v=DKIM1; k=rsa; p={public}"]
        cls.records[("ed._domainkey.signed.test", "TXT")] = [f"v=DKIM1; k=ed25519; p={edpublic}"]
        cls.records[("_dmarc.signed.test", "TXT")] = ["v=DMARC1; p=reject"]
        cls.server = Office(dns=DnsDouble(cls.records))
        cls.server.start()

    def key(self, kind):
        return self.rsa if kind == b"rsa" else base64.b64encode(bytes(self.ed))

    def sign(self, data, kind, **options):
        algorithm = b"rsa-sha256" if kind == b"rsa" else b"ed25519-sha256"
        field = dkim.sign(
            data, kind, b"signed.test", self.key(kind), signature_algorithm=algorithm, include_headers=HEADERS, **options
        )
        return field.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n") + data

    def send(self, data, sender=ANN):
        with self.server.smtp() as smtp:
            return smtp.sendmail(sender, [ERIN], data)

    def test_every_form_of_both_kinds(self):
        author = "x@signed.test"
        for kind in (b"rsa", b"ed"):
            for header in (b"simple", b"relaxed"):
                for body in (b"simple", b"relaxed"):
                    name = "-".join(it.decode() for it in (kind, header, body))
                    data = mail(author, subject=name, body="one  \t two \r\n\r\n .dot\r\n\r\n\r\n")
                    self.send(self.sign(data, kind, canonicalize=(header, body)))
                    (message,) = self.found(name)
                    self.assertIn("dkim=pass header.d=signed.test", results(message), name)
                    self.assertIn("dmarc=pass", results(message), name)

    def test_two_signatures_and_length(self):
        data = mail("x@signed.test", subject="two")
        self.send(self.sign(self.sign(data, b"ed"), b"rsa", length=True))
        (message,) = self.found("two")
        self.assertEqual(results(message).count("dkim=pass"), 2, results(message))

    def test_what_was_changed_is_refused(self):
        data = self.sign(mail("x@signed.test", subject="changed"), b"ed")
        for changed in (data.replace(b"\r\n\r\ntext", b"\r\n\r\ntext!"), data.replace(b"To: erin", b"To: erin.x")):
            with self.assertRaises(smtplib.SMTPDataError):
                self.send(changed)
        self.send(data)
        self.assertEqual(len(self.found("changed")), 1)

    def test_a_chain_of_arc(self):
        first = mail("x@strict.test", subject="arc")
        header = b"Authentication-Results: list.test; dkim=pass header.d=strict.test\r\n"

        def seal(data):
            options = dict(include_headers=HEADERS, standardize=True)
            fields = dkim.arc_sign(data, b"rsa", b"signed.test", self.rsa, b"list.test", **options)
            field = b"".join(fields).replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
            return field + data

        sealed = seal(header + first)
        self.send(sealed)
        # The domain asks to refuse; a whole chain makes that Junk.
        (message,) = self.found("arc", mailbox="Junk")
        self.assertIn("arc=pass header.d=signed.test", results(message))
        with self.assertRaises(smtplib.SMTPDataError):
            self.send(sealed.replace(b"Subject: arc", b"Subject: arx"))


def opendkim_results(data, records):
    """What opendkim says of each signature: "pass rsa-sha256 SELECTOR", ..."""
    with tempfile.TemporaryDirectory(prefix="opendkim-") as work:
        path = lambda name: os.path.join(work, name)
        with open(path("message"), "wb") as f:
            f.write(data)
        with open(path("dns"), "w") as f:
            f.writelines(f"{name} {text}\n" for name, text in records.items())
        with open(path("conf"), "w") as f:
            f.write(f"Mode v\nSyslog no\nTestDNSData file:{path('dns')}\nAlwaysAddARHeader yes\nAuthservID verifier.test\n")
        done = subprocess.run(
            ["/usr/sbin/opendkim", "-x", path("conf"), "-t", path("message"), "-vv"],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=60,
        )
    found = re.findall(r"dkim=(\w+)[^;]*? header\.a=(\S+) header\.s=(\S+)", done.stdout)
    return sorted(" ".join(it) for it in found), done.stdout


class Signing(unittest.TestCase):
    """dkimpy and opendkim verify what we sign on the way out."""

    def test_both_signatures_verify_and_keys_rotate(self):
        port = free_port_base() + 26
        peer = Peer("127.0.0.1", extensions=["8BITMIME", "PIPELINING"], port=port)
        server = Office()
        tell = lambda *words: subprocess.run(
            [binary(), *words, "--dir", server.directory], check=True, capture_output=True, text=True, timeout=60
        ).stdout
        made = tell("dkim", "make", OFFICE)
        self.assertEqual(made.count("is signing"), 2, made)
        tell("route", "set", "default", "--host", "127.0.0.1", "--port", str(port), "--tls", "none")
        server.start()
        try:
            records = self.published(tell)
            body = "one  two \r\n.dot\r\n\r\nlast\r\n\r\n\r\n"
            self.submit(server, mail(ERIN, ANN, "signed", body))
            wait_for(lambda: peer.taken, 30, message="nothing was relayed")
            got = peer.taken[0].body
            self.assertTrue(got.endswith(mail(ERIN, ANN, "signed", body)), got)
            self.assertNotIn(b"Return-Path:", got)
            self.verify(got, records, 2)
            # Another From could not be added.
            self.verify(got.replace(b"\r\nFrom:", b"\r\nFrom: eve@far.test\r\nFrom:", 1), records, 0)
            self.verify(got.replace(b"last", b"lost"), records, 0)
            for field in re.findall(rb"(?s)DKIM-Signature:.*?\r\n(?![ \t])", got):
                names = re.search(rb"\bh=([^;]*);", field)[1].lower()
                self.assertEqual(re.split(rb"[\s:]+", names.strip()).count(b"from"), 2, field)
            # While the new pair waits for its records, the old one signs alone.
            self.assertEqual(tell("dkim", "make", OFFICE).count("is waiting"), 2)
            self.submit(server, mail(ERIN, ANN, "between"))
            wait_for(lambda: len(peer.taken) > 1, 30, message="nothing was relayed between")
            self.verify(peer.taken.pop().body, records, 2)
            self.assertIn("2 keys sign now, 2 are retired", tell("dkim", "rotate", OFFICE))
            self.submit(server, mail(ERIN, ANN, "rotated"))
            wait_for(lambda: len(peer.taken) > 1, 30, message="nothing more was relayed")
            fresh = {name: text for name, text in self.published(tell).items() if name not in records}
            self.assertEqual(len(fresh), 2)
            self.verify(peer.taken[1].body, fresh, 2)
            # What the old pair signed is still on its way: the records of both stay.
            both = self.published(tell)
            self.assertLess(records.items(), both.items())
            self.verify(got, both, 2)
            for name in records:
                tell("dkim", "remove", OFFICE, name.split(".")[0])
            self.assertEqual(self.published(tell), fresh)
        finally:
            server.end()
            peer.stop()

    def submit(self, server, data):
        smtp = smtplib.SMTP("127.0.0.1", server.base + 587, timeout=30)
        smtp.starttls(context=ssl._create_unverified_context())
        smtp.login(ERIN, PASSWORD)
        smtp.sendmail(ERIN, [ANN], data)
        smtp.quit()

    def published(self, tell):
        """Name and text of the DKIM records that are to be published."""
        lines = tell("dns", OFFICE, "--hostname", "mail.office.test").splitlines()
        found = [re.match(r'(\S+_domainkey\S+)\. \d+ IN TXT (.*)', line) for line in lines]
        return {it[1]: "".join(re.findall(r'"([^"]*)"', it[2])) for it in found if it}

    def verify(self, data, records, expected):
        dnsfunc = lambda name, timeout=5: records.get(name.decode().rstrip("."), "").encode() or None
        good = 0
        for index in range(data.count(b"DKIM-Signature:")):
            try:
                good += dkim.DKIM(data).verify(index, dnsfunc=dnsfunc)
            except dkim.DKIMException:
                pass
        self.assertEqual(good, expected)
        found, output = opendkim_results(data, records)
        passed = [it.split(" ")[1] for it in found if it.startswith("pass ")]
        self.assertEqual(passed, ["ed25519-sha256", "rsa-sha256"][:expected], output)


class Records(unittest.TestCase):
    """What `pillarbox dns` prints is what `dns check` wants to see."""

    def test_a_zone_as_printed_is_right(self):
        server = Office()
        run = lambda *words: subprocess.run(
            [binary(), *words, "--dir", server.directory], capture_output=True, text=True, timeout=60
        )
        try:
            run("dkim", "make", OFFICE)
            options = [OFFICE, "--hostname", "mail.office.test", "--name-server", server.dns.address]
            missing = run("dns", *options, "--check")
            self.assertEqual(missing.returncode, 1)
            self.assertIn("5 records that mail depends on are not right", missing.stderr)
            printed = run("dns", *options).stdout
            self.assertIn(";   mx: mail.office.test\n", printed)
            self.assertIn("web server", printed)
            for line in printed.splitlines():
                if not line.startswith(";"):
                    self.publish(server.dns, line)
            server.dns.records[("mail.office.test", "A")] = ["127.0.0.1"]
            right = run("dns", "check", *options)
            self.assertEqual(right.returncode, 0, right.stdout + right.stderr)
            self.assertEqual(right.stdout.count(" right"), len(right.stdout.splitlines()) - 1, right.stdout)
            # Nothing here serves the policy: its record may be missing.
            sts = server.dns.records.pop(("_mta-sts." + OFFICE, "TXT"))
            without = run("dns", *options, "--check")
            self.assertEqual(without.returncode, 0, without.stdout + without.stderr)
            self.assertIn("optional:", without.stdout)
            server.dns.add("_mta-sts." + OFFICE, "TXT", *sts)
            server.dns.records[(OFFICE, "MX")] = [(10, "mx.far.test")]
            wrong = run("dns", *options, "--check")
            self.assertIn("it names others: mx.far.test", wrong.stdout)
            self.assertIn("one record that mail depends on is not right", wrong.stderr)
            self.assertIn(OFFICE, run("domain", "list").stdout)
        finally:
            server.dns.stop()
            server.remove()

    def publish(self, dns, line):
        name, _, _, kind, value = line.split(" ", 4)
        words = value.split(" ")
        parsed = {
            "MX": lambda: (int(words[0]), words[1]),
            "SRV": lambda: (*map(int, words[:3]), words[3]),
            "CNAME": lambda: value,
            "TXT": lambda: "".join(re.findall(r'"([^"]*)"', value)),
        }[kind]()
        dns.records.setdefault((name.rstrip("."), kind), []).append(parsed)


if __name__ == "__main__":
    harness.main()
