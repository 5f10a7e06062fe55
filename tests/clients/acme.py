"""Certificates by ACME from Pebble, the test authority of Let's Encrypt, which validates by
HTTP-01, TLS-ALPN-01 and DNS-01; its pebble-challtestsrv is the DNS of both sides. openssl and
Python look at what is served."""

import imaplib
import json
import os
import re
import shutil
import socket
import ssl
import subprocess
import tempfile
import unittest
import urllib.request

import harness
from harness import PASSWORD, Server, wait_for
from peers import Authority

HOST = "mail.office.test"
MORE = "mta-sts.office.test"
ANN = "ann@office.test"
DAY = 24 * 3600


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Daemon:
    """A program that runs until `stop`."""

    def __init__(self, *command, env=None):
        self.log = tempfile.NamedTemporaryFile(prefix="acme-log-", delete=False)
        self.process = subprocess.Popen(
            command, stdout=self.log, stderr=self.log, stdin=subprocess.DEVNULL,
            env={**os.environ, **(env or {})},
        )

    def wait_port(self, port):
        def open_now():
            if self.process.poll() is not None:
                with open(self.log.name) as f:
                    raise AssertionError(f"it ended at once:\n{f.read()}")
            with socket.socket() as s:
                return s.connect_ex(("127.0.0.1", port)) == 0

        wait_for(open_now, 20, message=f"nobody listens on {port}")

    def stop(self):
        self.process.kill()
        self.process.wait()
        os.unlink(self.log.name)


class World:
    """The DNS, and a port base that challenges come to."""

    def __init__(self):
        self.directory = tempfile.mkdtemp(prefix="acme-")
        self.authority = Authority(self.directory)
        self.base = harness.free_port_base()
        self.dns_port, self.manage = free_port(), free_port()
        self.dns = Daemon(
            "pebble-challtestsrv", "-defaultIPv4", "127.0.0.1", "-defaultIPv6", "",
            "-dns01", f"127.0.0.1:{self.dns_port}", "-http01", "", "-https01", "", "-tlsalpn01", "",
            "-management", f"127.0.0.1:{self.manage}",
        )
        self.dns.wait_port(self.manage)

    def tell(self, what, **words):
        """Changes the DNS."""
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.manage}/{what}", data=json.dumps(words).encode()
        )
        urllib.request.urlopen(request, timeout=20).close()

    def stop(self):
        self.dns.stop()
        shutil.rmtree(self.directory, ignore_errors=True)


class Pebble(Daemon):
    def __init__(self, world, seconds=90 * DAY):
        self.world, self.port, manage = world, free_port(), free_port()
        pair = world.authority.certificate("ca.test")
        config = os.path.join(world.directory, f"pebble-{self.port}.json")
        with open(config, "w") as f:
            json.dump({"pebble": {
                "listenAddress": f"127.0.0.1:{self.port}",
                "managementListenAddress": f"127.0.0.1:{manage}",
                "certificate": pair, "privateKey": pair,
                "httpPort": world.base + 80, "tlsPort": world.base + 443,
                "ocspResponderURL": "", "externalAccountBindingRequired": False,
                "certificateValidityPeriod": seconds,
            }}, f)
        # A third of all nonces is refused; it looks at once, and at every order anew.
        env = {"PEBBLE_VA_NOSLEEP": "1", "PEBBLE_WFE_NONCEREJECT": "30", "PEBBLE_AUTHZREUSE": "0"}
        super().__init__(
            "pebble", "-strict", "-config", config, "-dnsserver", f"127.0.0.1:{world.dns_port}", env=env
        )
        self.wait_port(self.port)
        self.wait_port(manage)
        self.root = os.path.join(world.directory, f"root-{self.port}.pem")
        url = f"https://127.0.0.1:{manage}/roots/0"
        context = ssl._create_unverified_context()
        with urllib.request.urlopen(url, context=context, timeout=20) as found:
            with open(self.root, "wb") as f:
                f.write(found.read())

    @property
    def url(self):
        return f"https://ca.test:{self.port}/dir"


class Office(Server):
    """`pillarbox serve` for mail.office.test."""

    announces = ""

    def __init__(self, world):
        super().__init__(base=world.base)
        self.world = world
        done = subprocess.run(
            [harness.binary(), "account", "add", ANN, "--no-welcome", "--password-stdin", "--dir", self.directory],
            input=PASSWORD + "\n", text=True, capture_output=True, timeout=60,
        )
        assert done.returncode == 0, done.stderr

    def command(self):
        return [
            harness.binary(), "serve", "--dir", self.directory, "--address", "127.0.0.1",
            "--port-base", str(self.base), "--hostname", HOST,
            "--name-server", f"127.0.0.1:{self.world.dns_port}",
            "--tls-authorities", self.world.authority.ca,
            "--set", f"server.administrators={ANN}", *self.options,
        ]

    def status(self):
        """What `tls status` says, by its first word; what comes more often in a list."""
        found = {}
        for line in self.cli("tls", "status").splitlines():
            name, _, value = line.partition(" ")
            found.setdefault(name, []).append(value.strip())
        return found

    def settings(self, *words):
        command = [harness.binary(), "settings", "--dir", self.directory, *words]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr

    def use(self, pebble, *more):
        self.settings(
            "set", "tls.source", "acme", "acme.directory", pebble.url,
            "acme.agree-to-terms", "on", "acme.contact", ANN, *more,
        )

    def renew(self):
        """The exit code of `tls renew` and what it said."""
        done = subprocess.run(
            [harness.binary(), "tls", "renew", "--dir", self.directory],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=100,
        )
        return done.returncode, done.stdout

    def until_acme(self):
        def came():
            self.alive()
            status = self.status()
            return status["from"][0].startswith("an ACME authority") and "order" not in status

        wait_for(came, 60, every=0.2, message="no certificate came:\n" + self.log_tail())

    def leaf(self, port="imaps"):
        """The certificate in DER that new connections see."""
        context = ssl._create_unverified_context()
        with socket.create_connection(("127.0.0.1", self.port(port)), 20) as s:
            with context.wrap_socket(s, server_hostname=HOST) as tls:
                return tls.getpeercert(True)

    def subjects(self):
        """Of ann's mail."""
        client = imaplib.IMAP4("127.0.0.1", self.port("imap"), timeout=60)
        client.login(ANN, PASSWORD)
        client.select("INBOX", readonly=True)
        _, found = client.fetch("1:*", "(BODY.PEEK[HEADER.FIELDS (SUBJECT)])")
        client.logout()
        parts = [it[1].decode() for it in found if isinstance(it, tuple)]
        return [re.sub(r"\r\n(?=[ \t])", "", part).strip() for part in parts]


class Acme(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.world = World()
        cls.pebble = Pebble(cls.world)

    @classmethod
    def tearDownClass(cls):
        cls.pebble.stop()
        cls.world.stop()

    def setUp(self):
        self.server = Office(self.world)

    def tearDown(self):
        try:
            self.server.stop()
        finally:
            self.server.remove()

    def seen(self, root, name, port, *starttls):
        """openssl must find it good, for that name."""
        command = [
            "openssl", "s_client", "-connect", f"127.0.0.1:{self.server.port(port)}", "-CAfile", root,
            "-servername", name, "-verify_hostname", name, "-verify_return_error", "-brief", *starttls,
        ]
        done = subprocess.run(command, input="", stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=60)
        self.assertIn("Verification: OK", done.stdout, (name, port))

    def test_http_01_and_all_services_see_it_while_old_sessions_go_on(self):
        server = self.server.start()
        own = os.path.join(server.directory, "tls", "ca.pem")
        self.seen(own, HOST, "imaps")
        context = ssl.create_default_context(cafile=own)
        context.check_hostname = False
        old = imaplib.IMAP4_SSL("127.0.0.1", server.port("imaps"), ssl_context=context, timeout=60)
        old.login(ANN, PASSWORD)
        before = old.sock.getpeercert(True)
        server.use(self.pebble, "tls.names", MORE)
        server.until_acme()
        for name in (HOST, MORE):
            for port in ("imaps", "pop3s", "submissions"):
                self.seen(self.pebble.root, name, port)
        for port, words in (("imap", "imap"), ("pop3", "pop3"), ("submission", "smtp")):
            self.seen(self.pebble.root, HOST, port, "-starttls", words)
        self.assertEqual(old.noop()[0], "OK")
        self.assertEqual(old.sock.getpeercert(True), before)
        self.assertNotEqual(server.leaf(), before)
        old.logout()
        status = server.status()
        self.assertEqual(status["name"], [HOST, MORE])
        self.assertIn("89 days left", status["ends"][0])
        self.assertNotIn("error", status)
        # The port was open for the order alone.
        with socket.socket() as s:
            self.assertNotEqual(s.connect_ex(("127.0.0.1", server.base + 80)), 0)
        # What a restart finds is served, and nothing is ordered.
        leaf = server.leaf()
        server.stop()
        server.start()
        self.assertEqual(server.leaf(), leaf)
        mode = os.stat(os.path.join(server.directory, "tls", "acme.pem")).st_mode & 0o777
        self.assertEqual(mode, 0o600)
        # Back to its own, at once.
        server.settings("reset", "tls.source")
        wait_for(lambda: server.leaf() != leaf, 20)
        self.seen(own, HOST, "imaps")

    def test_tls_alpn_01(self):
        server = self.server.start()
        server.use(self.pebble, "acme.challenge", "tls-alpn-01", "tls.names", MORE)
        server.until_acme()
        self.seen(self.pebble.root, MORE, "imaps")
        with socket.socket() as s:
            self.assertNotEqual(s.connect_ex(("127.0.0.1", server.base + 443)), 0)

    def records(self):
        """What `tls status` asks for, once it does."""
        def asked():
            said = self.server.cli("tls", "status")
            return re.findall(r'^(_acme-challenge\S+) IN TXT "(\S+)"$', said, re.M)

        return wait_for(asked, 40, every=0.2, message="no record is asked for")

    def test_dns_01_waits_for_the_records_over_a_power_cut(self):
        server = self.server.start()
        server.use(self.pebble, "acme.challenge", "dns-01")
        first = self.records()
        self.assertEqual([name for name, _ in first], [f"_acme-challenge.{HOST}."])
        wait_for(lambda: any("waits for a record" in it for it in server.subjects()), 20)
        server.kill()
        server.start()
        # The order goes on where it was.
        self.assertEqual(self.records(), first)
        asking = subprocess.Popen(
            [harness.binary(), "tls", "renew", "--dir", server.directory],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )
        try:
            for name, value in first:
                self.world.tell("set-txt", host=name, value=value)
            said, _ = asking.communicate(timeout=100)
        finally:
            asking.kill()
            self.world.tell("clear-txt", host=first[0][0])
        self.assertEqual(asking.returncode, 0, said)
        self.assertIn(first[0][1], said)
        self.assertIn("There is a new certificate", said)
        self.seen(self.pebble.root, HOST, "imaps")

    def test_it_is_renewed_by_itself_and_by_hand(self):
        short = Pebble(self.world, seconds=24)
        self.addCleanup(short.stop)
        server = self.server.start()
        server.use(short)
        server.until_acme()
        first = server.leaf()
        wait_for(lambda: server.leaf() != first, 60, every=0.5, message="it was not renewed")
        second = server.leaf()
        server.settings("set", "acme.directory", self.pebble.url)
        code, said = server.renew()
        self.assertEqual(code, 0, said)
        self.assertNotEqual(server.leaf(), second)
        self.seen(self.pebble.root, HOST, "imaps")

    def test_a_failure_is_told_and_the_next_try_waits(self):
        server = self.server.start()
        # Nobody listens there.
        self.world.tell("add-a", host=HOST, addresses=["127.0.0.9"])
        try:
            server.use(self.pebble)
            wait_for(lambda: server.status().get("failures") == ["1"], 60, every=0.2)
        finally:
            self.world.tell("clear-a", host=HOST)
        status = server.status()
        self.assertIn(HOST, status["error"][0])
        self.assertIn("refused", status["error"][0])
        self.assertTrue(status["from"][0].startswith("the server's own"), status)
        next_try = status["renewal"]
        # It survives a restart, and nothing is ordered meanwhile.
        server.stop()
        server.start()
        status = server.status()
        self.assertEqual((status["failures"], status["renewal"]), (["1"], next_try))
        # The owner need not wait.
        code, said = server.renew()
        self.assertEqual(code, 0, said)
        self.assertNotIn("failures", server.status())
        # But not without end.
        for _ in range(3):
            code, said = server.renew()
            self.assertEqual(code, 0, said)
        code, said = server.renew()
        self.assertEqual(code, 1)
        self.assertIn("5 orders within an hour", said)

    def test_what_can_not_be_ordered_says_why(self):
        server = self.server.start()
        code, said = server.renew()
        self.assertEqual(code, 1)
        self.assertIn("settings set tls.source acme", said)
        server.settings("set", "tls.source", "acme", "acme.directory", self.pebble.url)
        wait_for(lambda: "error" in server.status(), 30)
        error = server.status()["error"][0]
        self.assertRegex(error, "terms of service are at .*; .*acme.agree-to-terms on")
        # The port of HTTP-01 is another program's.
        with socket.socket() as s:
            s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            s.bind(("127.0.0.1", server.base + 80))
            s.listen()
            server.settings("set", "acme.agree-to-terms", "on")
            wait_for(lambda: "can't listen" in server.status()["error"][0], 30)
        # What is no authority, and what is none that we trust.
        server.settings("set", "acme.directory", f"https://ca.test:{self.pebble.port}/x")
        wait_for(lambda: "is no directory" in server.status()["error"][0], 30)
        server.settings("set", "acme.directory", f"https://127.0.0.1:{self.pebble.port}/dir")
        wait_for(lambda: "can't reach" in server.status()["error"][0], 30)

    def test_the_end_of_a_certificate_is_told_by_mail_once(self):
        made = self.expiring(days=10)
        server = self.server
        server.options = ("--tls-certificate", made + ".pem", "--tls-key", made + ".key")
        server.start()
        wait_for(lambda: len(server.subjects()) == 1, 20)
        self.assertRegex(server.subjects()[0], f"{HOST}: the certificate ends in (9|10) days")
        server.stop()
        made = self.expiring(days=2)
        server.options = ("--tls-certificate", made + ".pem", "--tls-key", made + ".key")
        server.start()
        wait_for(lambda: len(server.subjects()) == 2, 20)
        self.assertRegex(server.subjects()[1], "ends in 4[78] hours")
        for _ in range(2):
            server.stop()
            server.start()
            # An order to do something, so that what comes before it was done.
            self.assertEqual(server.status()["renewal"], ["by you"])
        self.assertEqual(len(server.subjects()), 2)

    def expiring(self, days):
        """A certificate of half a year that ends so soon; the path without its ending."""
        authority, name = self.world.authority, f"expiring-{days}"
        path = authority.path(name)
        with open(path + ".cnf", "w") as f:
            f.write(
                "[ca]\ndefault_ca=d\n[d]\ndefault_md=sha256\npolicy=p\nx509_extensions=e\nrand_serial=yes\n"
                f"database={path}.db\nnew_certs_dir={self.world.directory}\n[p]\ncommonName=supplied\n"
                f"[e]\nsubjectAltName=DNS:{HOST}\n"
            )
        open(path + ".db", "w").close()
        authority.run(
            "req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-subj", f"/CN={HOST}",
            "-keyout", path + ".key", "-out", path + ".csr",
        )
        from datetime import datetime, timedelta, timezone

        now = datetime.now(timezone.utc)
        begin, end = (f"{it:%Y%m%d%H%M%SZ}" for it in (now - timedelta(days=180), now + timedelta(days=days)))
        authority.run(
            "ca", "-batch", "-config", path + ".cnf", "-cert", authority.ca, "-keyfile", authority.key,
            "-startdate", begin, "-enddate", end, "-in", path + ".csr", "-out", path + ".pem", "-notext",
        )
        return path

    def test_the_local_authority_is_handed_out(self):
        server = self.server.start()
        kept = os.path.join(server.directory, "tls", "ca.pem")
        with open(kept) as f:
            self.assertEqual(server.cli("tls", "authority"), f.read())
        der = subprocess.run(
            [harness.binary(), "tls", "authority", "--der", "--dir", server.directory], capture_output=True, check=True, timeout=60
        ).stdout
        again = subprocess.run(["openssl", "x509", "-inform", "DER"], input=der, capture_output=True, check=True, timeout=60).stdout
        pem = subprocess.run(["openssl", "x509", "-in", kept], capture_output=True, check=True, timeout=60).stdout
        self.assertEqual(again, pem)
        # More names are in the local certificate at once.
        server.settings("set", "tls.names", MORE)
        wait_for(lambda: MORE in server.status()["name"], 20)
        self.seen(kept, MORE, "imaps")


if __name__ == "__main__":
    harness.main()
