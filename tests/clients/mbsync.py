"""mbsync (isync): a full two-way sync of 5,000 messages, with changes on both sides."""

import os
import re
import socket

import harness
from harness import PASSWORD, ServerCase, message

COUNT = 5000
# isync keeps mailbox names as they are on the wire, in modified UTF-7.
CYRILLIC = "&BB8EQAQ+BDUEOgRCBEs-"  # Проекты
CHINESE = CYRILLIC + "/&YqVO9w-"  # Проекты/报价


class Mbsync(ServerCase):
    def config(self, tls):
        service, kind = ("imaps", "IMAPS") if tls == "imaps" else ("imap", "STARTTLS")
        os.makedirs(os.path.join(self.work, "mail"), exist_ok=True)
        return self.file(
            "mbsyncrc",
            f"""
FSync no

IMAPAccount server
Host localhost
Port {self.server.port(service)}
User alice
Pass "{PASSWORD}"
SSLType {kind}
CertificateFile {self.server.ca}
SystemCertificates no
PipelineDepth 50

IMAPStore far
Account server

MaildirStore near
Path {self.work}/mail/
Inbox {self.work}/mail/INBOX
SubFolders Verbatim

Channel all
Far :far:
Near :near:
Patterns *
Create Both
Remove Both
Expunge Both
CopyArrivalDate yes
SyncState *
""",
        )

    def sync(self, tls="imaps"):
        return self.run_client("mbsync", "-c", self.config(tls), "-V", "all", timeout=400).stdout

    def local(self, folder):
        """File names of a local folder."""
        found = []
        for sub in ("cur", "new"):
            path = os.path.join(self.work, "mail", folder, sub)
            if os.path.isdir(path):
                found += [os.path.join(path, name) for name in os.listdir(path)]
        return sorted(
            found, key=lambda path: int(re.search(r",U=(\d+)", path).group(1)) if ",U=" in path else 0
        )

    def state(self):
        """All of both sides that a sync might change."""
        near = sorted(
            path
            for top, _, names in os.walk(os.path.join(self.work, "mail"))
            for path in (os.path.join(top, n) for n in names)
            if "mbsyncstate" not in path
        )
        client = self.server.imap("alice")
        far = []
        for line in client.list()[1]:
            name = line.decode().split(' "/" ')[1].strip('"')
            client.select(f'"{name}"', readonly=True)
            far.append(
                (
                    name,
                    [re.sub(rb"\\Recent ?", b"", f) for f in client.uid("FETCH", "1:*", "(FLAGS)")[1] if f],
                )
            )
        client.logout()
        return near, sorted(far)

    def test_full_two_way_sync(self):
        self.server.empty("alice")
        big = [message(n, body=f"Number {n}\r\n" * (n % 40 + 1)) for n in range(COUNT)]
        client = self.server.imap("alice")
        # Filled by pipelined LITERAL+ appends: mbsync is under test here, not imaplib's round trips.
        tags = 0
        for start in range(0, COUNT, 100):
            block = b"".join(
                b"A%d APPEND INBOX {%d+}\r\n%s\r\n" % (n, len(big[n]), big[n])
                for n in range(start, start + 100)
            )
            client.sock.sendall(block)
            while tags < start + 100:
                line = client.file.readline()
                if line.startswith(b"A"):
                    self.assertIn(b"OK", line)
                    tags += 1
        client.create(CYRILLIC)
        client.append(CYRILLIC, None, None, message(1))
        client.logout()

        self.sync()
        self.assertEqual(len(self.local("INBOX")), COUNT)
        self.assertEqual(len(self.local(CYRILLIC)), 1)
        first = self.state()
        self.sync()
        self.assertEqual(self.state(), first, "a second run changed something")

        # Changes there: flags, a deletion, arrivals. Changes here: flags, deletions, a new folder and message.
        client = self.server.imap("alice")
        client.select("INBOX")
        client.store("1:100", "+FLAGS.SILENT", r"(\Seen \Flagged)")
        client.store("101:110", "+FLAGS.SILENT", r"\Deleted")
        client.expunge()
        for n in range(20):
            client.append("INBOX", r"(\Answered)", None, message(9000 + n))
        client.logout()
        files = self.local("INBOX")
        for path in files[200:300]:
            folder = os.path.join(os.path.dirname(os.path.dirname(path)), "cur")
            os.rename(path, os.path.join(folder, re.sub(r"(:2,.*)?$", ":2,FRS", os.path.basename(path))))
        for path in files[300:320]:
            os.unlink(path)
        for sub in ("cur", "new", "tmp"):
            os.makedirs(os.path.join(self.work, "mail", CHINESE, sub))
        with open(
            os.path.join(self.work, "mail", CHINESE, "cur", f"1.1_1.{socket.gethostname()}:2,S"), "wb"
        ) as f:
            f.write(message(77).replace(b"\r\n", b"\n"))

        self.sync("starttls")
        self.assertEqual(len(self.local("INBOX")), COUNT - 10 - 20 + 20)
        client = self.server.imap("alice")
        self.assertEqual(client.select("INBOX")[1], [b"%d" % (COUNT - 10)])
        self.assertEqual(len(client.search(None, "FLAGGED SEEN ANSWERED")[1][0].split()), 100)
        self.assertEqual(len(client.search(None, "FLAGGED SEEN UNANSWERED")[1][0].split()), 100)
        self.assertEqual(client.select(CHINESE)[1], [b"1"])
        self.assertEqual(client.fetch("1", "(BODY[])")[1][0][1].split(b"X-TUID")[0][:40], message(77)[:40])
        client.logout()
        names = [os.path.basename(path) for path in self.local("INBOX")]
        self.assertEqual(sum(1 for name in names if name.endswith(":2,FS")), 100)
        self.assertEqual(sum(1 for name in names if name.endswith(":2,R")), 20)

        settled = self.state()
        self.sync()
        self.assertEqual(self.state(), settled, "a run without changes changed something")


if __name__ == "__main__":
    harness.main()
