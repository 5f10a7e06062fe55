"""fetchmail, getmail6 and mpop collect a mailbox, keeping or deleting on the server."""

import os

import harness
from harness import PASSWORD, ServerCase, message

COUNT = 12


class Collectors(ServerCase):
    def setUp(self):
        self.server.empty("bob")
        self.server.append("bob", "INBOX", [message(n) for n in range(COUNT)])
        self.maildir = os.path.join(self.work, f"Mail-{self.id()}")
        for sub in ("cur", "new", "tmp"):
            os.makedirs(os.path.join(self.maildir, sub))

    def left(self):
        """How many messages the server still has."""
        return len(self.server.bodies("bob"))

    def got(self):
        """Subjects that have arrived here, sorted."""
        found = []
        for sub in ("cur", "new"):
            for name in os.listdir(os.path.join(self.maildir, sub)):
                with open(os.path.join(self.maildir, sub, name), "rb") as f:
                    found += [line.strip() for line in f if line.startswith(b"Subject: ")]
        return sorted(found)

    def all(self, count=COUNT):
        return sorted(b"Subject: Message %d" % n for n in range(count))

    # fetchmail

    def fetchmail(self, protocol, service, options, status=(0,), uidl=""):
        tls = "ssl" if service in ("imaps", "pop3s") else "sslproto TLS1.2+"
        store = os.path.join(self.maildir, "new")
        config = self.file(
            "fetchmailrc",
            f"""
poll localhost protocol {protocol} port {self.server.port(service)} {uidl}
  user "bob" password "{PASSWORD}" {tls} sslcertck sslcertfile "{self.server.ca}"
  {options}
  mda "cat > {store}/$$.$(date +%N)"
""",
            0o700,
        )
        self.run_client(
            "fetchmail",
            "-f",
            config,
            "-i",
            os.path.join(self.maildir, "ids"),
            "--pidfile",
            os.path.join(self.work, "fetchmail.pid"),
            "--nobounce",
            status=status,
            timeout=60,
        )

    def test_fetchmail_imap_keep_then_delete(self):
        self.fetchmail("imap", "imaps", "keep")
        self.assertEqual(self.got(), self.all())
        self.assertEqual(self.left(), COUNT)
        # 1 says that there was no new mail: all of it is \Seen.
        self.fetchmail("imap", "imaps", "keep", status=(1,))
        self.assertEqual(len(self.got()), COUNT)
        self.fetchmail("imap", "imap", "fetchall nokeep")
        self.assertEqual(len(self.got()), 2 * COUNT)
        self.assertEqual(self.left(), 0)

    def test_fetchmail_pop3_keep_with_uidl_then_delete(self):
        self.fetchmail("pop3", "pop3s", "keep", uidl="uidl")
        self.assertEqual(self.got(), self.all())
        self.assertEqual(self.left(), COUNT)
        self.server.append("bob", "INBOX", [message(COUNT)])
        self.fetchmail("pop3", "pop3", "keep", uidl="uidl")
        self.assertEqual(self.got(), self.all(COUNT + 1))
        self.fetchmail("pop3", "pop3s", "fetchall nokeep")
        self.assertEqual(self.left(), 0)

    # getmail6

    def getmail(self, retriever, service, options, extra=""):
        config = os.path.join(self.work, "getmail")
        os.makedirs(config, exist_ok=True)
        self.file(
            "getmail/rc",
            f"""
[retriever]
type = {retriever}
server = localhost
port = {self.server.port(service)}
username = bob
password = {PASSWORD}
ca_certs = {self.server.ca}
{extra}
[destination]
type = MDA_external
path = /bin/sh
arguments = ("-c", "cat > {self.maildir}/new/$$.$(date +%%N)")
allow_root_commands = true
unixfrom = false
[options]
verbose = 1
delivered_to = false
received = false
{options}
""",
        )
        self.run_client("getmail", "--getmaildir", config, "--rcfile", "rc", timeout=60)

    def test_getmail_pop3_keep_then_delete(self):
        self.getmail("SimplePOP3SSLRetriever", "pop3s", "read_all = false\ndelete = false")
        self.assertEqual(self.got(), self.all())
        self.getmail("SimplePOP3SSLRetriever", "pop3s", "read_all = false\ndelete = false")
        self.assertEqual(len(self.got()), COUNT)
        self.assertEqual(self.left(), COUNT)
        self.getmail("SimplePOP3SSLRetriever", "pop3s", "read_all = true\ndelete = true")
        self.assertEqual(len(self.got()), 2 * COUNT)
        self.assertEqual(self.left(), 0)

    def test_getmail_imap_keep_then_delete(self):
        mailboxes = 'mailboxes = ("INBOX",)'
        self.getmail("SimpleIMAPSSLRetriever", "imaps", "read_all = false\ndelete = false", mailboxes)
        self.getmail("SimpleIMAPSSLRetriever", "imaps", "read_all = false\ndelete = false", mailboxes)
        self.assertEqual(self.got(), self.all())
        self.assertEqual(self.left(), COUNT)
        self.getmail("SimpleIMAPSSLRetriever", "imaps", "read_all = true\ndelete = true", mailboxes)
        self.assertEqual(self.left(), 0)

    # mpop

    def mpop(self, service, *options):
        starttls = "off" if service == "pop3s" else "on"
        config = self.file(
            "mpoprc",
            f"""
account default
host localhost
port {self.server.port(service)}
user bob
password {PASSWORD}
tls on
tls_starttls {starttls}
tls_trust_file {self.server.ca}
delivery maildir {self.maildir}
uidls_file {self.maildir}/uidls
""",
        )
        return self.run_client("mpop", "-C", config, *options, timeout=60).stdout

    def test_mpop_keep_then_delete(self):
        info = self.mpop("pop3s", "--serverinfo")
        for name in ("PIPELINING", "TOP", "UIDL"):
            self.assertIn(name, info)
        self.mpop("pop3s", "--keep=on")
        self.assertEqual(self.got(), self.all())
        self.mpop("pop3", "--keep=on")
        self.assertEqual(len(self.got()), COUNT)
        self.assertEqual(self.left(), COUNT)
        self.mpop("pop3", "--keep=off")
        self.assertEqual(len(self.got()), COUNT)
        self.assertEqual(self.left(), 0)

    def test_mpop_authentication_mechanisms(self):
        for mechanism in ("user", "plain", "scram-sha-256"):
            self.mpop("pop3s", "--keep=on", f"--auth={mechanism}")
        self.assertEqual(self.got(), self.all())


if __name__ == "__main__":
    harness.main()
