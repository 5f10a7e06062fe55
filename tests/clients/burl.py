"""Mail that is put together in the server: CATENATE (RFC 4469), URLAUTH (RFC 4467) and BURL
(RFC 4468). A message of 20 MB is forwarded and filed without crossing the line again, byte
for byte, while the server's peak resident memory stays under 32 MB."""

import hashlib
import random
import re
import unittest

import harness
from harness import DOMAIN, new_server
from python_smtp import without_trace
from wire import Imap, Smtp

SIZE = 20_000_000
MEMORY_LIMIT = 32_000_000
# What a client may have to send for one of these, bytes.
LITTLE = 3000

HEAD = (
    f"From: alice@{DOMAIN}\r\nTo: bob@{DOMAIN}\r\nSubject: Fwd: The film\r\n"
    f"Date: Mon, 2 Feb 2026 10:00:00 +0000\r\nMessage-ID: <forwarded@{DOMAIN}>\r\nMIME-Version: 1.0\r\n"
    "Content-Type: multipart/mixed; boundary=outer\r\n\r\n"
    "--outer\r\nContent-Type: text/plain\r\n\r\nSee what carol sent.\r\n--outer\r\n"
).encode()
TAIL = b"\r\n--outer--\r\n"


def film():
    """A message of 20 MB from carol, its one attachment part 2."""
    rng = random.Random(11)
    table = bytes(
        b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"[n % 64] for n in range(256)
    )
    noise = rng.randbytes(SIZE // 78 * 76).translate(table)
    attachment = b"\r\n".join(noise[at : at + 76] for at in range(0, len(noise), 76))
    mime = b"Content-Type: video/mp4\r\nContent-Transfer-Encoding: base64\r\n\r\n"
    head = (
        f"From: carol@{DOMAIN}\r\nTo: alice@{DOMAIN}\r\nSubject: The film\r\n"
        "MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=film\r\n\r\n"
        "--film\r\n\r\nhi\r\n--film\r\n"
    ).encode()
    return head + mime + attachment + b"\r\n--film--\r\n", mime + attachment


def digest(data):
    return len(data), hashlib.sha256(data).hexdigest()


class Counted:
    """A socket that counts what is sent."""

    def __init__(self, inner):
        self.inner = inner
        self.sent = 0

    def sendall(self, data):
        self.sent += len(data)
        self.inner.sendall(data)

    def __getattr__(self, name):
        return getattr(self.inner, name)


class Burl(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = new_server()
        data, cls.part = film()
        for user in ("alice", "bob"):
            cls.server.empty(user)
        cls.server.append("alice", "INBOX", [data])
        # The memory is measured of a server that forwards, not of one that makes its accounts.
        cls.server.stop()
        cls.server.start()
        cls.server.peak = 0

    @classmethod
    def tearDownClass(cls):
        cls.server.stop()
        cls.server.remove()

    def setUp(self):
        self.server.empty("bob")
        self.imap = Imap(self.server, user="alice", timeout=120)
        untagged = self.imap.ok("EXAMINE INBOX")
        self.uid = re.search(rb"UIDNEXT (\d+)", b" ".join(it[1] for it in untagged if it[0] == b"OK"))
        self.uid = int(self.uid.group(1)) - 1

    def tearDown(self):
        peak = self.server.memory_peak()
        print(f"    peak resident memory so far {peak / 1e6:.1f} MB")
        self.assertLess(peak, MEMORY_LIMIT)

    def url(self, section=None, mailbox="INBOX", uid=None, more=""):
        part = f"/;SECTION={section}" if section else ""
        return f"imap://alice@mail.{DOMAIN}/{mailbox}/;UID={uid or self.uid}{part}{more}"

    def authorized(self, url, access="submit+alice"):
        (answer,) = self.imap.ok(f'GENURLAUTH "{url};URLAUTH={access}" INTERNAL')
        return answer[1].decode()

    def smtp(self, user="alice"):
        smtp = Smtp(self.server, user=user, timeout=120)
        self.assertTrue(any(it.startswith(b"BURL imap imap://") for it in smtp.expect("EHLO c", 250)[2]))
        smtp.socket = Counted(smtp.socket)
        smtp.expect(f"MAIL FROM:<{user}@{DOMAIN}>", 250)
        smtp.expect(f"RCPT TO:<bob@{DOMAIN}>", 250)
        return smtp

    def newest(self, user, mailbox="INBOX"):
        imap = Imap(self.server, user=user, timeout=120)
        imap.ok(f"EXAMINE {mailbox}")
        untagged = imap.ok("FETCH * BODY.PEEK[]")
        imap.close()
        return next(it[2][1] for it in untagged if len(it) == 3 and it[1] == b"FETCH")

    def forward(self, url):
        """By BDAT and BURL, the part's own header and body by one URL each, all in one go."""
        smtp = self.smtp()
        smtp.send(
            b"BDAT %d\r\n" % len(HEAD)
            + HEAD
            + f"BURL {url('2.MIME')}\r\nBURL {url('2')}\r\n".encode()
            + b"BDAT %d LAST\r\n" % len(TAIL)
            + TAIL
        )
        for _ in range(3):
            self.assertEqual(smtp.reply()[0], 250)
        reply = smtp.reply()
        self.assertEqual(reply[0], 250, reply)
        self.assertLess(smtp.socket.sent, LITTLE)
        smtp.close()
        self.assertEqual(digest(without_trace(self.newest("bob"))), digest(HEAD + self.part + TAIL))

    def test_1_forward_by_burl(self):
        self.forward(self.url)

    def test_2_forward_by_burl_with_urlauth(self):
        self.forward(lambda section: self.authorized(self.url(section)))

    def test_3_catenate_then_send_what_was_filed(self):
        self.imap.socket = Counted(self.imap.socket)
        tag = self.imap.begin(b"APPEND Sent (\\Seen) CATENATE (TEXT {%d+}" % len(HEAD))
        for line in (
            HEAD,
            f' URL "/INBOX/;UID={self.uid}/;SECTION=2.MIME"'.encode(),
            f' URL ";UID={self.uid}/;SECTION=2" TEXT {{{len(TAIL)}}}\r\n'.encode(),
        ):
            self.imap.send(line)
        self.assertTrue(self.imap.finish(tag)[1].startswith(b"+"))
        self.imap.send(TAIL + b")\r\n")
        answer = self.imap.finish(tag)[1]
        self.assertLess(self.imap.socket.sent, LITTLE)
        uid = int(re.match(rb"OK \[APPENDUID \d+ (\d+)\]", answer).group(1))
        want = HEAD + self.part + TAIL
        self.assertEqual(digest(self.newest("alice", "Sent")), digest(want))
        smtp = self.smtp()
        url = self.authorized(self.url(mailbox="Sent", uid=uid))
        reply = smtp.command(f"BURL {url} LAST")
        self.assertEqual(reply[0], 250, reply)
        self.assertLess(smtp.socket.sent, LITTLE)
        self.assertEqual(digest(without_trace(self.newest("bob"))), digest(want))

    def test_4_urlfetch_of_a_large_part(self):
        bob = Imap(self.server, user="bob", timeout=120)
        url = self.authorized(self.url("2"), "user+bob")
        (answer,) = bob.ok(f'URLFETCH "{url}"')
        self.assertEqual(answer[1].decode(), url)
        self.assertEqual(digest(self.part), digest(self.part[: -len(answer[2])] + answer[2]))
        bob.close()

    def test_5_tokens_end(self):
        def refused(url, user="alice"):
            smtp = self.smtp(user)
            code, text, _ = smtp.command(f"BURL {url} LAST")
            smtp.close()
            self.assertEqual((code, text[:5]), (554, b"5.7.0"), text)

        section = "HEADER"
        # Another's, an old one, one whose key was reset, and one whose mailbox is gone.
        refused(self.authorized(self.url(section)), user="bob")
        refused(self.authorized(self.url(section), "user+alice"))
        refused(self.authorized(self.url(section, more=";EXPIRE=2026-01-01T00:00:00Z")))
        reset = self.authorized(self.url(section))
        self.imap.ok("RESETKEY INBOX")
        refused(reset)
        self.imap.ok("CREATE Short")
        gone = self.authorized(self.url(section, mailbox="Short"))
        self.imap.ok("DELETE Short")
        refused(gone)
        self.imap.ok("CREATE Short")
        refused(gone)
        self.imap.ok("DELETE Short")
        self.assertEqual(self.server.bodies("bob"), [])

    def test_6_too_large_together(self):
        limit = int(re.search(rb"APPENDLIMIT=(\d+)", b" ".join(self.imap.ok("CAPABILITY")[0])).group(1))
        times = limit // SIZE + 1
        urls = " ".join([f'URL "/INBOX/;UID={self.uid}"'] * times)
        answer = self.imap.command(f"APPEND Drafts CATENATE ({urls})")[1]
        self.assertTrue(answer.startswith(b"NO [TOOBIG]"), answer)
        self.imap.ok("NOOP")


if __name__ == "__main__":
    harness.main()
