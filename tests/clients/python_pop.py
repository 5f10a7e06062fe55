"""Python's poplib, used broadly, and POP3's own rules on the wire."""

import base64
import email
import email.policy
import os
import poplib

import harness
from harness import PASSWORD, ServerCase, corpus, message
from wire import Pop, Scram

MANY = 100_000
POLLS = 100
CORPUS = [
    (name, data)
    for name, data in corpus()
    # A server may mend line ends and NULs, which POP3 can't carry (RFC 1939, 3).
    if b"\0" not in data and data.count(b"\n") == data.count(b"\r\n") == data.count(b"\r") and data
]


class PythonPop(ServerCase):
    def setUp(self):
        self.server.empty("carol")

    def fill(self, count=3):
        self.server.append("carol", "INBOX", [message(n) for n in range(count)])

    def pop(self, login=True):
        client = poplib.POP3_SSL(
            "localhost", self.server.port("pop3s"), context=self.server.tls(), timeout=30
        )
        if login:
            client.user("carol")
            client.pass_(PASSWORD)
        return client

    def test_stls(self):
        client = poplib.POP3("localhost", self.server.port("pop3"), timeout=20)
        self.assertIn("STLS", client.capa())
        client.stls(context=self.server.tls())
        self.assertNotIn("STLS", client.capa())
        client.user("carol")
        client.pass_(PASSWORD)
        client.quit()

    def test_capa(self):
        client = self.pop(False)
        capa = client.capa()
        for name in ("USER", "TOP", "UIDL", "PIPELINING", "RESP-CODES", "SASL"):
            self.assertIn(name, capa)
        client.quit()

    def test_polling_costs_no_scan(self):
        """Asking for new mail costs the same in a mailbox of a hundred thousand."""
        client = self.server.imap("carol")
        client.select("INBOX")
        self.server.append("carol", "INBOX", [message(n) for n in range(100)])
        have = 100
        while have < MANY:
            client.noop()
            take = min(have, MANY - have)
            self.assertEqual(client.copy(f"1:{take}", "INBOX")[0], "OK")
            have += take
        self.server.empty("bob")
        costs = {}
        for user, messages in (("bob", 0), ("carol", MANY)):
            for _ in range(2):
                self.assertEqual(self.poll(user), messages)
            began = self.cpu()
            for n in range(POLLS):
                self.assertEqual(self.poll(user), messages)
                if messages and n % 10 == 0:
                    # A flag is no new mail.
                    client.store(f"{n + 1}", "+FLAGS.SILENT", "\\Flagged")
            costs[user] = (self.cpu() - began) * 1000 / POLLS
        print(f"    a poll of {MANY} messages: {costs['carol']:.2f} ms of CPU; of none: {costs['bob']:.2f} ms")
        # A scan of that many takes many times as long as a login.
        self.assertLess(costs["carol"], 3 * costs["bob"] + 5)
        client.store("1:*", "+FLAGS.SILENT", "\\Deleted")
        client.expunge()
        client.logout()

    def poll(self, user):
        client = poplib.POP3("127.0.0.1", self.server.port("pop3"), timeout=60)
        client.user(user)
        client.pass_(PASSWORD)
        messages, _ = client.stat()
        client.quit()
        return messages

    def cpu(self):
        """Seconds that the server has worked."""
        with open(f"/proc/{self.server.process.pid}/stat") as f:
            fields = f.read().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def test_wrong_password(self):
        client = self.pop(False)
        client.user("carol")
        with self.assertRaises(poplib.error_proto) as caught:
            client.pass_("wrong")
        self.assertIn(b"-ERR [AUTH]", caught.exception.args[0])
        client.close()

    def test_list_uidl_stat_top_retr(self):
        self.fill()
        client = self.pop()
        count, size = client.stat()
        self.assertEqual(count, 3)
        sizes = [int(line.split()[1]) for line in client.list()[1]]
        self.assertEqual(sum(sizes), size)
        self.assertEqual(sizes, [len(message(n)) for n in range(3)])
        uids = [line.split()[1] for line in client.uidl()[1]]
        self.assertEqual(len(set(uids)), 3)
        self.assertEqual(client.uidl(2).split()[2], uids[1])
        top = b"\r\n".join(client.top(1, 0)[1]) + b"\r\n"
        head = message(0).split(b"\r\n\r\n")[0]
        self.assertEqual(top, head + b"\r\n\r\n")
        self.assertEqual(b"\r\n".join(client.retr(3)[1]) + b"\r\n", message(2))
        client.quit()
        again = self.pop()
        self.assertEqual([line.split()[1] for line in again.uidl()[1]], uids)
        again.quit()

    def test_deletion_happens_at_quit_alone(self):
        self.fill(4)
        client = self.pop()
        client.dele(1)
        client.dele(3)
        with self.assertRaises(poplib.error_proto):
            client.retr(1)
        self.assertEqual(client.stat()[0], 2)
        client.close()
        # The server frees the mailbox when it has noticed the broken connection.
        client = harness.wait_for(self.try_pop, 10)
        self.assertEqual(client.stat()[0], 4)
        client.dele(1)
        client.rset()
        client.dele(2)
        client.quit()
        client = self.pop()
        self.assertEqual(client.stat()[0], 3)
        client.quit()
        self.assertEqual(self.server.bodies("carol"), [message(0), message(2), message(3)])

    def try_pop(self):
        try:
            return self.pop()
        except poplib.error_proto:
            return None

    def test_one_session_a_mailbox(self):
        first = self.pop()
        with self.assertRaises(poplib.error_proto) as caught:
            self.pop()
        self.assertIn(b"[IN-USE]", caught.exception.args[0])
        first.quit()
        self.pop().quit()

    def test_delete_policies_and_order(self):
        account = f"carol@{harness.DOMAIN}"
        try:
            self.server.cli("account", "set", account, "pop3-delete", "keep")
            self.fill(2)
            client = self.pop()
            client.retr(1)
            client.dele(1)
            self.assertEqual(client.stat()[0], 1)
            client.quit()
            self.assertEqual(self.server.bodies("carol"), [message(0), message(1)])
            self.server.cli("account", "set", account, "pop3-delete", "trash")
            self.server.cli("account", "set", account, "pop3-order", "descending")
            shown = self.server.cli("account", "show", account)
            self.assertRegex(shown, r"(?m)^pop3-delete +trash$")
            self.assertRegex(shown, r"(?m)^pop3-order +descending$")
            self.server.empty("carol", "Trash")
            client = self.pop()
            self.assertEqual(b"\r\n".join(client.retr(1)[1]) + b"\r\n", message(1))
            client.dele(1)
            client.quit()
            self.assertEqual(self.server.bodies("carol"), [message(0)])
            self.assertEqual(self.server.bodies("carol", "Trash"), [message(1)])
        finally:
            self.server.cli("account", "set", account, "pop3-delete", "expunge")
            self.server.cli("account", "set", account, "pop3-order", "ascending")
        with self.assertRaises(AssertionError):
            self.server.cli("account", "set", account, "pop3-delete", "burn")

    def test_utf8_and_language(self):
        text = "From: Почта <почта@пример.рф>\r\nSubject: Тема\r\n\r\nТекст\r\n".encode()
        self.server.append("carol", "INBOX", [text])
        client = self.pop(False)
        self.assertIn("UTF8", client.capa())
        self.assertIn("LANG", client.capa())
        client.utf8()
        client.user("carol")
        client.pass_(PASSWORD)
        self.assertEqual(b"\r\n".join(client.retr(1)[1]) + b"\r\n", text)
        client.quit()
        # Without UTF8 Python's own parser reads the names out of plain ASCII.
        client = self.pop()
        answer, lines, _ = client.retr(1)
        sent = b"\r\n".join(lines) + b"\r\n"
        self.assertEqual(int(answer.split()[1]), len(sent))
        parsed = email.message_from_bytes(sent, policy=email.policy.default)
        self.assertTrue(sent.split(b"\r\n\r\n")[0].isascii())
        self.assertEqual(parsed["Subject"], "Тема")
        self.assertEqual(parsed["From"].groups[0].display_name, "Почта <почта@пример.рф>")
        client.quit()
        raw = Pop(self.server, user="carol")
        self.assertEqual(raw.multi("LANG").decode(), "en English\r\nru Русский\r\n")
        raw.ok("LANG ru")
        self.assertEqual(raw.command("RETR 9").strip().decode(), "-ERR Такого сообщения нет")
        raw.ok("QUIT")

    def test_corpus_comes_out_byte_for_byte(self):
        self.server.append("carol", "INBOX", [data for _, data in CORPUS])
        raw = Pop(self.server, user="carol")
        for n, (name, data) in enumerate(CORPUS, 1):
            whole = data if data.endswith(b"\r\n") else data + b"\r\n"
            with self.subTest(name):
                self.assertEqual(raw.multi(f"RETR {n}"), whole)
        raw.ok("QUIT")

    def test_pipelining(self):
        self.fill()
        raw = Pop(self.server, user="carol")
        raw.send(b"STAT\r\nDELE 1\r\nNOOP\r\nRSET\r\nLIST 2\r\nUIDL 9\r\nQUIT\r\n")
        answers = raw.rest().split(b"\r\n")
        self.assertEqual([a.split(b" ")[0] for a in answers[:7]], [b"+OK"] * 5 + [b"-ERR", b"+OK"])

    def test_sasl(self):
        raw = Pop(self.server)
        token = base64.b64encode(b"\0carol\0" + PASSWORD.encode()).decode()
        raw.ok(f"AUTH PLAIN {token}")
        raw.ok("QUIT")
        raw = Pop(self.server)
        self.assertEqual(raw.command("AUTH PLAIN").strip(), b"+")
        raw.ok(token)
        raw.ok("QUIT")

    def test_scram(self):
        raw = Pop(self.server)
        scram = Scram("carol", PASSWORD)
        challenge = raw.command("AUTH SCRAM-SHA-256 " + base64.b64encode(scram.first()).decode())
        self.assertTrue(challenge.startswith(b"+ "), challenge)
        last = raw.command(base64.b64encode(scram.final(base64.b64decode(challenge[2:]))).decode())
        self.assertTrue(scram.server_is_genuine(base64.b64decode(last[2:])), last)
        raw.ok("")
        raw.ok("STAT")
        raw.ok("QUIT")

    def test_bad_commands(self):
        self.fill(1)
        raw = Pop(self.server, user="carol")
        for bad in (
            "RETR",
            "RETR 0",
            "RETR 2",
            "RETR x",
            "DELE 99999999999999999999",
            "TOP 1",
            "TOP 1 -1",
            "NOPE",
            "UIDL 0",
            "LIST 7",
            "USER carol",
        ):
            self.assertTrue(raw.command(bad).startswith(b"-ERR"), bad)
        raw.ok("NOOP")
        raw.ok("QUIT")


if __name__ == "__main__":
    harness.main()
