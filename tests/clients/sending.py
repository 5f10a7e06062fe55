"""Mail to other servers: routes, MX, TLS of every kind, and peers that misbehave. All on loopback;
its peers take port 25 and 443 of addresses of 127.0.0.0/8, as root or in a user namespace."""

import email
import imaplib
import os
import re
import smtplib
import ssl
import socket
import subprocess
import sys
import tempfile
import time
import unittest

import harness
from dns_double import DnsDouble
from harness import PASSWORD, Server, wait_for
from peers import Authority, Peer, Postfix, Web

ANN = "ann@us.test"
TEXT = (
    "From: ann@us.test\r\nTo: {to}\r\nSubject: {subject}\r\nDate: Mon, 2 Feb 2026 10:00:00 +0000\r\n"
    "Message-ID: <{subject}@us.test>\r\nMIME-Version: 1.0\r\n"
    "Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n{body}"
)


def text(to, subject, body=".\r\nHello\r\n..\r\n.x\r\n"):
    return TEXT.format(to=to, subject=subject, body=body).encode()


def untraced(data):
    """Without the Received fields on top."""
    return re.sub(rb"\A((Received|Delivered-To|X-Original-To|Return-Path):[^\n]*\n([ \t][^\n]*\n)*)+", b"", data)


class Sender(Server):
    """`pillarbox serve` for us.test, with the test's name server and authority."""

    announces = ""

    def __init__(self, zone, authority, options=()):
        super().__init__()
        self.zone, self.authority, self.options = zone, authority, options

    def command(self):
        return [
            harness.binary(), "serve", "--dir", self.directory, "--address", "127.0.0.1", "--port-base",
            str(self.base), "--hostname", "us.test", "--name-server", self.zone.address,
            "--tls-authorities", self.authority.ca, *self.options,
        ]

    def start(self):
        if not os.path.exists(os.path.join(self.directory, "meta.redb")):
            self.tell("account", "add", ANN, "--no-welcome", "--password-stdin", stdin=PASSWORD)
        return super().start()

    def tell(self, *words, stdin="", status=0):
        done = subprocess.run(
            [harness.binary(), *words, "--dir", self.directory], input=stdin + "\n", text=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=90,
        )
        assert done.returncode == status, (words, done.stdout)
        return done.stdout


class Sending(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.work = tempfile.TemporaryDirectory(prefix="sending-")
        cls.zone = DnsDouble()
        cls.authority = Authority(cls.work.name)
        cls.server = Sender(cls.zone, cls.authority).start()
        cls.next = 10

    @classmethod
    def tearDownClass(cls):
        try:
            cls.server.stop()
            assert "panicked" not in cls.server.log_text(), cls.server.log_tail()
        finally:
            cls.server.remove()
            cls.work.cleanup()

    def address(self):
        """A loopback address of this test's own."""
        type(self).next += 1
        return f"127.0.9.{type(self).next}"

    def domain(self, name, *mx):
        """A domain whose MX are (preference, host, address)."""
        self.zone.add(name, "MX", *[(n, host) for n, host, _ in mx])
        for _, host, ip in mx:
            self.zone.add(host, "A", ip)

    def peer(self, name, **options):
        """A domain with one server, and that server."""
        ip = self.address()
        peer = Peer(ip, **options)
        self.addCleanup(peer.stop)
        self.domain(name, (10, "mx." + name, ip))
        return peer

    def sts(self, name, policy, certificate=None):
        """A policy for a domain, and the web server that gives it."""
        ip = self.address()
        self.zone.add("_mta-sts." + name, "TXT", "v=STSv1; id=1;")
        self.zone.add("mta-sts." + name, "A", ip)
        web = Web(ip, self.authority.context(certificate or "mta-sts." + name), policy)
        self.addCleanup(web.stop)
        return web

    def submit(self, to, data, options=(), rcpt=()):
        client = smtplib.SMTP_SSL("localhost", self.server.port("submissions"), context=self.tls(), timeout=30)
        client.ehlo()
        client.login(ANN, PASSWORD)
        refused = client.sendmail(ANN, to, data, options, rcpt)
        client.quit()
        self.assertEqual(refused, {})

    def tls(self):
        # The way in is not what is tested here.
        return ssl._create_unverified_context()

    def taken(self, peer, count=1):
        wait_for(lambda: len(peer.taken) >= count, 20, message="the peer took nothing")
        return peer.taken

    def logged(self, *words):
        """Waits for a line of the log that has all of these."""
        has = lambda: [l for l in self.server.log_text().splitlines() if all(word in l for word in words)]
        return wait_for(has, 20, message=f"not in the log: {words}")

    def notice(self, to):
        """The notice of failure about a recipient."""

        def found():
            client = imaplib.IMAP4_SSL("localhost", self.server.port("imaps"), ssl_context=self.tls())
            client.login(ANN, PASSWORD)
            client.select("INBOX", readonly=True)
            _, answer = client.fetch("1:*", "(BODY.PEEK[])") if client.untagged_responses["EXISTS"] != [b"0"] else ("", [])
            client.logout()
            bodies = [part[1].decode("utf-8", "replace") for part in answer if isinstance(part, tuple)]
            return [body for body in bodies if to in body]

        return wait_for(found, 20, 0.3, message=f"no notice about {to}")[-1]


class Direct(Sending):
    """To the domains' own servers."""

    def test_byte_for_byte(self):
        for name, extensions in (("plain", []), ("modern", ["PIPELINING", "8BITMIME", "SIZE", "DSN", "SMTPUTF8"]),
                                 ("chunked", ["PIPELINING", "8BITMIME", "CHUNKING"])):
            to = f"bob@{name}.test"
            peer = self.peer(f"{name}.test", extensions=extensions)
            data = text(to, name)
            self.submit(to, data)
            taken = self.taken(peer)[0]
            self.assertEqual(untraced(taken.body), data, name)
            self.assertEqual(len(re.findall(rb"(?m)^Received:", taken.body)), 1)
            self.assertFalse(taken.tls)
            self.assertTrue(any(l.startswith("BDAT") for l in peer.lines) == (name == "chunked"))

    def test_tls_where_it_is_offered_whatever_the_certificate(self):
        wrong = self.authority.context("quite.different.test")
        peer = self.peer("opportunistic.test", tls=wrong)
        self.submit("bob@opportunistic.test", text("bob", "opportunistic"))
        self.assertTrue(self.taken(peer)[0].tls)
        broken = self.peer("broken-tls.test", tls="broken")
        self.submit("bob@broken-tls.test", text("bob", "broken-tls"))
        self.assertFalse(self.taken(broken)[0].tls)

    def test_dane(self):
        for name, good in (("dane-good.test", True), ("dane-bad.test", False)):
            host = "mx." + name
            peer = self.peer(name, tls=self.authority.context("any.name.test"))
            digest = self.authority.spki_sha256("any.name.test" if good else "other.name.test")
            self.zone.add("_25._tcp." + host, "TLSA", (3, 1, 1, digest))
            self.zone.signed.update([name, host, "_25._tcp." + host])
            self.submit("bob@" + name, text("bob", name))
            if good:
                self.assertTrue(self.taken(peer)[0].tls)
            else:
                self.logged("bob@" + name, "TLS can't be made")
                self.assertEqual(peer.taken, [])
                self.assertFalse(any(line.startswith("MAIL") for line in peer.lines))
        # The same mismatch, but nobody vouches for the records.
        peer = self.peer("dane-unsigned.test", tls=self.authority.context("any.name.test"))
        self.zone.add("_25._tcp.mx.dane-unsigned.test", "TLSA", (3, 1, 1, b"x" * 32))
        self.submit("bob@dane-unsigned.test", text("bob", "dane-unsigned"))
        self.assertTrue(self.taken(peer)[0].tls)

    def test_dane_without_an_answer_waits(self):
        peer = self.peer("dane-broken.test", tls=self.authority.context("any.name.test"))
        self.zone.signed.update(["dane-broken.test", "mx.dane-broken.test"])
        self.zone.broken.add("_25._tcp.mx.dane-broken.test")
        self.submit("bob@dane-broken.test", text("bob", "dane-broken"))
        self.logged("bob@dane-broken.test", "TLSA")
        self.assertEqual(peer.connections, 0)

    def test_mta_sts(self):
        for name, host, wanted in (("sts-good.test", "mx.sts-good.test", True),
                                   ("sts-wrong.test", "mx.elsewhere.test", False)):
            peer = self.peer(name, tls=self.authority.context(host))
            ip = self.address()
            self.zone.add("_mta-sts." + name, "TXT", "v=STSv1; id=1;")
            self.zone.add("mta-sts." + name, "A", ip)
            policy = f"version: STSv1\r\nmode: enforce\r\nmx: *.{name}\r\nmax_age: 86400\r\n"
            Web(ip, self.authority.context("mta-sts." + name), policy)
            self.submit("bob@" + name, text("bob", name))
            if wanted:
                self.assertTrue(self.taken(peer)[0].tls)
            else:
                self.logged("bob@" + name, "TLS can't be made")
                self.assertEqual(peer.taken, [])
        # Without TLS at all, and an exchanger that the policy does not name.
        for name, mx in (("sts-bare.test", "mx: *.sts-bare.test"), ("sts-other.test", "mx: not.this.test")):
            peer = self.peer(name)
            ip = self.address()
            self.zone.add("_mta-sts." + name, "TXT", "v=STSv1; id=1;")
            self.zone.add("mta-sts." + name, "A", ip)
            policy = f"version: STSv1\r\nmode: enforce\r\n{mx}\r\nmax_age: 86400\r\n"
            Web(ip, self.authority.context("mta-sts." + name), policy)
            self.submit("bob@" + name, text("bob", name))
            self.logged("bob@" + name, "policy does not name it" if "other" in name else "does not offer TLS")
            self.assertEqual(peer.taken, [])

    def test_a_policy_ends_with_its_age(self):
        name = "sts-short.test"
        peer = self.peer(name)
        web = self.sts(name, f"version: STSv1\r\nmode: enforce\r\nmx: *.{name}\r\nmax_age: 1\r\n")
        self.submit("u0@" + name, text("bob", "sts-short"))
        self.logged("u0@" + name, "does not offer TLS")
        web.stop()
        self._cleanups.pop()
        time.sleep(2)
        self.submit("u1@" + name, text("bob", "sts-short"))
        self.assertIn("u1@", self.taken(peer)[0].rcpts[0])

    def test_a_policy_from_a_web_server_of_another_name_is_none(self):
        name = "sts-forged.test"
        peer = self.peer(name)
        self.sts(name, "version: STSv1\r\nmode: enforce\r\nmx: mx.far.test\r\nmax_age: 86400\r\n", "far.test")
        self.submit("bob@" + name, text("bob", "sts-forged"))
        self.taken(peer)
        self.logged("the MTA-STS policy of " + name)

    def test_a_server_that_cannot_prove_itself_is_left_for_the_next(self):
        name = "dane-two.test"
        ips = [self.address(), self.address()]
        peers = [Peer(ip, tls=self.authority.context("any.name.test")) for ip in ips]
        for peer in peers:
            self.addCleanup(peer.stop)
        self.domain(name, (10, "mx0." + name, ips[0]), (20, "mx1." + name, ips[1]))
        self.zone.signed.add(name)
        for n, certificate in enumerate(("other.name.test", "any.name.test")):
            record = (3, 1, 1, self.authority.spki_sha256(certificate))
            self.zone.add(f"_25._tcp.mx{n}.{name}", "TLSA", record)
            self.zone.signed.update([f"mx{n}.{name}", f"_25._tcp.mx{n}.{name}"])
        self.submit("bob@" + name, text("bob", "dane-two"))
        self.assertTrue(self.taken(peers[1])[0].tls)
        self.assertEqual((peers[0].connections, peers[0].taken), (1, []))

    def test_a_server_that_fails_before_the_message_is_left_for_the_next(self):
        for n, verb in enumerate(("EHLO", "MAIL", "RCPT", "DATA", ".")):
            name = f"two{n}.test"
            ips = [self.address(), self.address()]
            peers = [Peer(ips[0], drop=verb, replies={"HELO": "502 no"}), Peer(ips[1])]
            for peer in peers:
                self.addCleanup(peer.stop)
            self.domain(name, (10, "a." + name, ips[0]), (20, "b." + name, ips[1]))
            self.submit("bob@" + name, text("bob", name))
            if verb == ".":
                # It may have taken it.
                self.logged("bob@" + name, "closed")
                self.assertEqual(peers[1].connections, 0)
            else:
                self.taken(peers[1])
            self.assertEqual(peers[0].taken, [], verb)

    def test_both_kinds_of_address_are_tried(self):
        try:
            six = Peer("::1")
        except OSError as error:
            self.skipTest(f"no IPv6 here: {error}")
        self.addCleanup(six.stop)
        four = Peer(self.address())
        self.addCleanup(four.stop)
        working = four.server.server_address[0]
        for name, addresses, peer in (("six.test", ["::1"], six), ("six-of-both.test", ["::1", self.address()], six),
                                      ("four-of-both.test", ["2001:db8::1", working], four)):
            self.zone.add(name, "MX", (10, "mx." + name))
            for it in addresses:
                kind = "AAAA" if ":" in it else "A"
                self.zone.add("mx." + name, kind, it)
            count = len(peer.taken)
            self.submit("bob@" + name, text("bob", name))
            self.taken(peer, count + 1)

    def test_answers_that_are_long_and_names_that_are_aliases(self):
        peer = self.peer("long.test")
        others = [(20, f"a-name-that-is-rather-long-{n}.and-more-of-it.long.test") for n in range(30)]
        self.zone.add("long.test", "MX", (10, "mx.long.test"), *others)
        self.submit("bob@long.test", text("bob", "long"))
        self.taken(peer)
        self.assertIn(("long.test", "MX"), self.zone.by_tcp)
        # A domain and a server that are aliases; and one that leads nowhere, over and over.
        self.zone.add("alias.test", "CNAME", "long.test")
        self.zone.add("mx2.alias2.test", "CNAME", "mx.long.test")
        self.zone.add("alias2.test", "MX", (10, "mx2.alias2.test"))
        for n, name in enumerate(("alias.test", "alias2.test")):
            self.submit("bob@" + name, text("bob", name))
            self.taken(peer, n + 2)
        self.zone.add("round.test", "CNAME", "about.test")
        self.zone.add("about.test", "CNAME", "round.test")
        self.submit("bob@round.test", text("bob", "round"))
        self.logged("bob@round.test", "put off")

    def test_what_the_sender_asked_for_is_asked_of_the_next_server(self):
        told = self.peer("asked.test", extensions=["DELIVERBY 60", "MT-PRIORITY", "DSN"])
        options = ["BY=3600;N", "MT-PRIORITY=3", "RET=HDRS"]
        self.submit("bob@asked.test", text("bob", "asked"), options, ["NOTIFY=FAILURE"])
        taken = self.taken(told)[0]
        left = int(re.search(r" BY=(\d+);N", taken.mail)[1])
        self.assertTrue(3000 < left <= 3600, taken.mail)
        self.assertIn(" MT-PRIORITY=3", taken.mail)
        self.assertIn(" RET=HDRS", taken.mail)
        self.assertIn(" NOTIFY=FAILURE", taken.rcpts[0])
        # Without the extensions nothing is said of them; what can't be promised comes back.
        silent = self.peer("unasked.test")
        self.submit("bob@unasked.test", text("bob", "unasked"), options)
        self.assertEqual(self.taken(silent)[0].mail, "MAIL FROM:<ann@us.test>")
        self.submit("eve@unasked.test", text("eve", "unasked"), ["BY=3600;R"])
        self.assertIn("Status: 5.3.3", self.notice("eve@unasked.test"))

    def test_domains_that_take_no_mail(self):
        self.zone.add("null.test", "MX", (0, "."))
        self.zone.add("null2.test", "MX", (0, "."), (10, "."))
        self.domain("circle.test", (10, "us.test", "127.0.0.1"))
        for to, status in (("bob@null.test", "5.1.10"), ("bob@null2.test", "5.1.10"), ("bob@nowhere.test", "5.1.2"),
                           ("bob@circle.test", "5.4.6")):
            self.submit(to, text(to, "no-mail"))
            self.assertIn(f"Status: {status}", self.notice(to))

    def test_the_next_server_is_tried(self):
        last = self.address()
        self.domain("several.test", (10, "down.several.test", self.address()), (20, "up.several.test", last))
        peer = Peer(last)
        self.addCleanup(peer.stop)
        self.submit("bob@several.test", text("bob", "several"))
        self.taken(peer)
        # No MX: the address itself; and behind an alias.
        ip = self.address()
        self.zone.add("bare.test", "A", ip)
        bare = Peer(ip)
        self.addCleanup(bare.stop)
        self.submit("bob@bare.test", text("bob", "bare"))
        self.taken(bare)
        literal = self.address()
        peer = Peer(literal)
        self.addCleanup(peer.stop)
        self.submit(f"bob@[{literal}]", text("bob", "literal"))
        self.taken(peer)

    def test_each_recipient_has_its_outcome(self):
        replies = {
            "RCPT TO:<no@mixed.test>": "550 5.1.1 no such user",
            "RCPT TO:<later@mixed.test>": "451 4.2.2 full",
        }
        peer = self.peer("mixed.test", extensions=["PIPELINING"], replies=replies)
        self.submit(["yes@mixed.test", "no@mixed.test", "later@mixed.test"], text("yes", "mixed"))
        self.assertEqual(self.taken(peer)[0].rcpts, ["RCPT TO:<yes@mixed.test>"])
        notice = self.notice("no@mixed.test")
        self.assertIn("Status: 5.1.1", notice)
        self.assertNotIn("later@mixed.test\r\nAction: failed", notice)
        self.logged("later@mixed.test", "4.2.2")

    def test_what_a_server_cannot_take(self):
        peer = self.peer("narrow.test")
        data = text("bob@narrow.test", "narrow", "gr\u00fc\u00dfe\r\n.\r\n")
        self.submit("bob@narrow.test", data, ["BODY=8BITMIME"])
        taken = self.taken(peer)[0].body
        self.assertTrue(taken.isascii())
        message = email.message_from_bytes(taken)
        self.assertEqual(message["Content-Transfer-Encoding"], "quoted-printable")
        self.assertEqual(message.get_payload(decode=True), "gr\u00fc\u00dfe\r\n.\r\n".encode())
        signed = data.replace(b"text/plain; charset=utf-8", b"multipart/signed; boundary=b").replace(
            b"\r\n\r\n", b"\r\n\r\n--b\r\n\r\n", 1)
        self.submit("bob@narrow.test", signed.replace(b"8bit", b"8bit", 1) + b"--b--\r\n", ["BODY=8BITMIME"])
        self.assertIn("Status: 5.6.3", self.notice("bob@narrow.test"))
        self.submit("zo\u00eb@narrow.test", data, ["SMTPUTF8", "BODY=8BITMIME"])
        self.assertIn("5.6.7", self.notice("zo\u00eb@narrow.test"))
        self.assertEqual(len(peer.taken), 1)

    def test_peers_that_misbehave_lose_nothing_and_get_nothing_twice(self):
        for n, verb in enumerate(("EHLO", "MAIL", "RCPT", "DATA", ".")):
            name = f"drop{n}.test"
            peer = self.peer(name, drop=verb, replies={"HELO": "502 no"})
            self.submit("bob@" + name, text("bob", name))
            self.logged("bob@" + name, "closed")
            self.assertEqual((peer.taken, peer.connections), ([], 1), verb)
        for n, said in enumerate(("SSH-2.0-OpenSSH", "220", "554 go away", "421 4.3.2 busy")):
            name = f"said{n}.test"
            peer = self.peer(name, garbage=said)
            self.submit("bob@" + name, text("bob", name))
            if said == "220":
                self.taken(peer)
            else:
                self.logged("bob@" + name)
                self.assertEqual(peer.taken, [])
        peer = self.peer("refused.test", replies={".": "554 5.7.1 spam"})
        self.submit("bob@refused.test", text("bob", "refused"))
        self.assertIn("Status: 5.7.1", self.notice("bob@refused.test"))

    def test_a_server_that_stalls_holds_up_nobody_else(self):
        stalled = []
        for n, verb in enumerate(("EHLO", "MAIL", "DATA", ".")):
            stalled.append(self.peer(f"stall{n}.test", stall=verb, extensions=["PIPELINING"]))
            self.submit(f"bob@stall{n}.test", text("bob", f"stall{n}"))
        wait_for(lambda: all(peer.connections for peer in stalled), 20, message="not all were tried")
        swift = self.peer("swift.test")
        for n in range(5):
            self.submit("bob@swift.test", text("bob", f"swift{n}"))
        self.taken(swift, 5)
        self.assertEqual([peer.taken for peer in stalled], [[]] * 4)

    def test_one_server_is_sent_to_as_often_at_once_as_the_owner_says(self):
        def most(count):
            words = [harness.binary(), "settings", "--dir", self.server.directory]
            subprocess.run([*words, "set", "queue.max-sending-per-destination", count], check=True, timeout=60,
                           stdout=subprocess.DEVNULL)

        most("7")
        self.addCleanup(most, "4")
        peer = self.peer("wide.test", stall="DATA")
        for n in range(10):
            self.submit(f"u{n}@wide.test", text("u", f"wide{n}"))
        stalled = lambda: peer.lines.count("DATA")
        wait_for(lambda: stalled() == 7, 20, message="not as many as may be")
        # Whoever else could go, goes.
        swift = self.peer("beside.test")
        for n in range(3):
            self.submit("bob@beside.test", text("bob", f"beside{n}"))
        self.taken(swift, 3)
        self.assertEqual(stalled(), 7)

    def test_connections_are_used_again(self):
        for name, tls in (("again.test", None), ("again-tls.test", self.authority.context("again.test"))):
            peer = self.peer(name, extensions=["PIPELINING"], tls=tls)
            for n in range(6):
                self.submit(f"u{n}@{name}", text("u", f"again{n}"))
                self.taken(peer, n + 1)
            self.assertLess(peer.connections, 4, name)


    def test_require_tls(self):
        sure = self.peer("require.test", tls=self.authority.context("mx.require.test"), extensions=["REQUIRETLS"])
        self.zone.signed.update(["require.test", "mx.require.test"])
        self.submit("bob@require.test", text("bob", "require"), ["REQUIRETLS"])
        taken = self.taken(sure)[0]
        self.assertTrue(taken.tls and "REQUIRETLS" in taken.mail)
        unsure = self.peer("unsure.test", tls=self.authority.context("mx.unsure.test"), extensions=["REQUIRETLS"])
        self.submit("bob@unsure.test", text("bob", "unsure"), ["REQUIRETLS"])
        self.assertIn("Status: 5.7.30", self.notice("bob@unsure.test"))
        self.assertEqual(unsure.taken, [])

    def servers(self, name, *options):
        """A signed domain with as many servers, the first the best."""
        ips = [self.address() for _ in options]
        peers = [Peer(ip, **it) for ip, it in zip(ips, options)]
        for peer in peers:
            self.addCleanup(peer.stop)
        hosts = [f"mx{n}.{name}" for n in range(len(ips))]
        self.domain(name, *[(10 * n, host, ip) for n, (host, ip) in enumerate(zip(hosts, ips))])
        self.zone.signed.update([name, *hosts])
        return peers

    def test_require_tls_goes_to_the_server_that_promises_it(self):
        """RFC 8689, 4.2.1: server by server, until TLS holds and REQUIRETLS is there."""
        words = ["REQUIRETLS", "DSN", "8BITMIME"]
        certificate = lambda name: self.authority.context(name)
        bare = dict(extensions=words)
        broken = dict(extensions=words, tls="broken")
        wrong = dict(extensions=words, tls=certificate("elsewhere.test"))
        deaf = dict(extensions=["DSN"], tls=certificate("mx3.safe.test"))
        good = dict(extensions=words, tls=certificate("mx4.safe.test"))
        peers = self.servers("safe.test", bare, broken, wrong, deaf, good)
        self.submit("bob@safe.test", text("bob", "safe"), ["REQUIRETLS", "RET=FULL"])
        taken = self.taken(peers[4])[0]
        self.assertTrue(taken.tls and " REQUIRETLS" in taken.mail, taken)
        for peer in peers[:4]:
            self.assertEqual(peer.connections, 1)
            self.assertFalse([line for line in peer.lines if line.startswith(("MAIL", "RCPT"))])
        # None does: it goes back, and says which of the two is not there. Its text does not.
        self.servers("unsafe.test", bare, broken, wrong)
        deaf["tls"] = certificate("mx1.deaf.test")
        self.servers("deaf.test", bare, deaf)
        for name, status in (("unsafe.test", "5.7.10"), ("deaf.test", "5.7.30")):
            to = "bob@" + name
            self.submit(to, text(to, name, "for your eyes only\r\n"), ["REQUIRETLS", "RET=FULL"])
            notice = self.notice(to)
            self.assertIn("Status: " + status, notice)
            self.assertIn(f"Subject: {name}\r\n", notice)
            self.assertNotIn("for your eyes only", notice)
        # Without REQUIRETLS it does, as RET asks.
        self.peer("full.test", replies={"RCPT": "550 5.1.1 nobody"})
        self.submit("bob@full.test", text("bob@full.test", "full", "for all\r\n"), ["RET=FULL"])
        self.assertIn("\r\nfor all\r\n", self.notice("bob@full.test"))

    def test_an_original_recipient_in_utf8_is_passed_on_in_ascii(self):
        """utf-8-addr-xtext (RFC 6533, 3), which any server with DSN may be told."""
        given = {"xtext": r"ORCPT=utf-8;zo\x{EB}\x{2B}x@far.test", "unitext": "ORCPT=utf-8;zo\u00eb\\x{2B}x@far.test"}
        for name, extensions in (("with.test", ["DSN", "SMTPUTF8", "8BITMIME"]), ("without.test", ["DSN"])):
            peer = self.peer(name, extensions=extensions)
            for n, (form, orcpt) in enumerate(given.items()):
                options = ["SMTPUTF8", "BODY=8BITMIME"] if form == "unitext" else []
                self.submit("bob@" + name, text("bob", form), options, [orcpt, "NOTIFY=FAILURE"])
                taken = self.taken(peer, n + 1)[n]
                self.assertEqual(taken.rcpts, [f"RCPT TO:<bob@{name}> NOTIFY=FAILURE {given['xtext']}"])
        # And comes back so, in a notice that is ASCII, and as it is in one that is not.
        for form, said in (("xtext", r"utf-8;zo\x{EB}\x{2B}x@far.test"), ("unitext", "utf-8;zo\u00eb+x@far.test")):
            name = form + ".test"
            self.peer(name, extensions=["SMTPUTF8", "8BITMIME"], replies={"RCPT": "550 5.1.1 nobody"})
            options = ["SMTPUTF8", "BODY=8BITMIME"] if form == "unitext" else []
            self.submit("bob@" + name, text("bob", form), options, [given[form]])
            self.assertIn(f"Original-Recipient: {said}\r\n", self.notice("bob@" + name))

    def test_more_recipients_than_a_server_takes_at_once(self):
        """They go in further messages, now (RFC 5321, 4.5.3.1.10)."""
        peer = self.peer("crowd.test", extensions=["PIPELINING"], room=10)
        everybody = [f"u{n}@crowd.test" for n in range(45)]
        self.submit(everybody, text("all", "crowd"))
        taken = self.taken(peer, 5)
        self.assertEqual([len(it.rcpts) for it in taken], [10, 10, 10, 10, 5])
        self.assertEqual(sorted(sum((it.rcpts for it in taken), [])), sorted(f"RCPT TO:<{it}>" for it in everybody))
        self.assertEqual(peer.connections, 1)

    def test_a_server_whose_bdat_is_none_gets_it_by_data(self):
        replies = {"BDAT": "502 5.5.1 not here"}
        peer = self.peer("nobdat.test", extensions=["PIPELINING", "CHUNKING", "8BITMIME"], replies=replies)
        data = text("bob@nobdat.test", "nobdat")
        self.submit("bob@nobdat.test", data)
        self.assertEqual(untraced(self.taken(peer)[0].body), data)
        self.assertEqual(peer.connections, 2)


class Restarted(Sending):
    """With a server of its own: no stalled mail holds up its end."""

    def test_an_enforced_policy_outlives_its_web_server_and_a_restart(self):
        name = "sts-kept.test"
        peer = self.peer(name)
        policy = f"version: STSv1\r\nmode: enforce\r\nmx: *.{name}\r\nmax_age: 86400\r\n"
        web = self.sts(name, policy)
        refused = lambda n: self.logged(f"u{n}@{name}", "does not offer TLS")
        self.submit("u0@" + name, text("bob", "sts-kept"))
        refused(0)
        web.stop()
        self._cleanups.pop()
        # Another policy is announced, and can't be had; then no record is there any more.
        self.zone.add("_mta-sts." + name, "TXT", "v=STSv1; id=2;")
        self.submit("u1@" + name, text("bob", "sts-kept"))
        refused(1)
        self.logged("the MTA-STS policy of " + name)
        del self.zone.records[("_mta-sts." + name, "TXT")]
        self.submit("u2@" + name, text("bob", "sts-kept"))
        refused(2)
        self.server.stop()
        self.server.start()
        self.zone.add("_mta-sts." + name, "TXT", "v=STSv1; id=2;")
        self.submit("u3@" + name, text("bob", "sts-kept"))
        refused(3)
        self.assertEqual(peer.taken, [])


class WithPostfix(Sending):
    def test_postfix_as_mx(self):
        for name, certificate in (("postfix-tls.test", "mx.postfix-tls.test"), ("postfix-bare.test", None)):
            ip = self.address()
            pem = certificate and self.authority.certificate(certificate)
            postfix = Postfix(ip, name, pem)
            self.addCleanup(postfix.stop)
            self.domain(name, (10, "mx." + name, ip))
            data = text("bob@" + name, name, "gr\u00fc\u00dfe\r\n.\r\n..\r\n")
            self.submit("bob@" + name, data, ["BODY=8BITMIME"])
            wait_for(postfix.messages, 20, message="Postfix has nothing:\n" + postfix.log())
            got = postfix.messages()[0]
            self.assertEqual(untraced(got).replace(b"\n", b"\r\n"), data)
            self.assertEqual(b"TLSv1.3" in got, bool(pem), got)
            self.submit("zo\u00eb@" + name, text("zo\u00eb@" + name, "utf8"), ["SMTPUTF8", "BODY=8BITMIME"])
            wait_for(lambda: len(postfix.messages()) == 2, 20, message="no SMTPUTF8:\n" + postfix.log())

    def test_postfix_without_the_extensions(self):
        """What it lacks is made up for, or told."""
        ip = self.address()
        name = "xn--bcher-kva.test"
        lacks = [("smtputf8_enable", "no"), ("smtpd_discard_ehlo_keywords", "8bitmime, chunking, smtputf8")]
        postfix = Postfix(ip, name, settings=lacks)
        self.addCleanup(postfix.stop)
        self.domain(name, (10, "mx." + name, ip))
        body = "gr\u00fc\u00dfe = 1\r\n.\r\n..\r\n"
        self.submit("bob@" + name, text("bob@" + name, "narrow", body), ["BODY=8BITMIME"])
        wait_for(postfix.messages, 20, message="Postfix has nothing:\n" + postfix.log())
        message = email.message_from_bytes(postfix.messages()[0])
        self.assertEqual(message["Content-Transfer-Encoding"], "quoted-printable")
        self.assertEqual(message.get_payload(decode=True).replace(b"\r\n", b"\n"), body.replace("\r\n", "\n").encode())
        # A domain has another form, a local part and a header have none.
        data = text("bob@" + name, "label", "hi\r\n")
        self.submit("bob@b\u00fccher.test", data, ["SMTPUTF8"])
        wait_for(lambda: len(postfix.messages()) == 2, 20, message="not by A-labels:\n" + postfix.log())
        self.submit("zo\u00eb@b\u00fccher.test", data, ["SMTPUTF8", "BODY=8BITMIME"])
        self.assertIn("5.6.7", self.notice("zo\u00eb@b\u00fccher.test"))
        header = data.replace(b"Subject: label", "Subject: l\u00e4bel".encode())
        self.submit("eve@" + name, header, ["SMTPUTF8", "BODY=8BITMIME"])
        self.assertIn("5.6.7", self.notice("eve@b\u00fccher.test"))
        self.assertEqual(len(postfix.messages()), 2)

    def test_postfix_as_smarthost(self):
        ip = self.address()
        postfix = Postfix(ip, "smart.test")
        self.addCleanup(postfix.stop)
        self.server.tell("route", "set", "us.test", "--host", ip, "--port", "25", "--tls", "none")
        self.addCleanup(lambda: self.server.tell("route", "remove", "us.test"))
        self.assertIn("connected without TLS", self.server.tell("route", "test", "bob@smart.test", "--from", ANN))
        self.submit("bob@smart.test", text("bob@smart.test", "smart"))
        wait_for(postfix.messages, 20, message="Postfix has nothing:\n" + postfix.log())
        # What it doesn't relay comes back.
        self.submit("bob@else.test", text("bob@else.test", "else"))
        self.assertIn("Status: 5.7.1", self.notice("bob@else.test"))


class Smarthost(Sending):
    """By a provider's server: a second pillarbox, which wants a login."""

    def setUp(self):
        self.provider = Sender(self.zone, self.authority, ["--tls-certificate", self.authority.certificate("localhost"),
                                                           "--tls-key", self.authority.path("localhost.key")])
        self.provider.start()
        self.addCleanup(self.provider.remove)
        self.addCleanup(self.provider.stop)
        self.provider.tell("alias", "add", "bob@us.test", ANN)
        self.provider.tell("alias", "add", "eve@us.test", ANN)

    def route(self, tls, password=PASSWORD, host="localhost"):
        port = self.provider.port("submission" if tls == "starttls" else "submissions")
        self.server.tell("route", "set", "default", "--host", host, "--port", str(port), "--tls", tls, "--user", ANN,
                         "--password-stdin", stdin=password)
        self.addCleanup(lambda: self.server.tell("route", "remove", "default"))
        return self.server.tell("route", "test", "x@far.test")

    def test_login_over_each_kind_of_tls(self):
        for tls in ("starttls", "implicit"):
            self.assertIn("connected with TLS, logged in", self.route(tls))
            self.assertNotIn(PASSWORD, self.server.tell("route", "list"))
            self.doCleanups_of_route()
        self.assertNotIn(PASSWORD, self.server.log_text())

    def doCleanups_of_route(self):
        self.server.tell("route", "remove", "default")
        self._cleanups.pop()

    def test_mail_goes_by_it(self):
        self.route("starttls")
        peer = self.peer("far.test")
        self.submit("bob@far.test", text("bob@far.test", "by-provider"))
        taken = self.taken(peer)[0]
        self.assertEqual(len(re.findall(rb"(?m)^Received:", taken.body)), 2)

    def test_wrong_password_and_wrong_name(self):
        self.assertIn("535", self.route("starttls", "wrong password"))
        self.doCleanups_of_route()
        self.assertIn("TLS can't be made", self.route("starttls", host="127.0.0.1"))


if __name__ == "__main__":
    if os.geteuid() != 0:
        inside = "ip link set lo up && exec \"$@\""
        os.execvp("unshare", ["unshare", "-rn", "sh", "-c", inside, "sh", sys.executable, *sys.argv])
    harness.main()
