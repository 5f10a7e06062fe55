"""Python's imaplib, used broadly."""

import imaplib
import time

import harness
from harness import PASSWORD, ServerCase, message
from wire import Imap, fetched


class PythonImap(ServerCase):
    def setUp(self):
        self.imap = self.server.imap("alice")
        self.addCleanup(self.imap.shutdown)

    def ok(self, answer):
        self.assertEqual(answer[0], "OK", answer)
        return answer[1]

    def folder(self, name, messages=3):
        self.imap.delete(name)
        self.ok(self.imap.create(name))
        for n in range(messages):
            self.ok(self.imap.append(name, None, None, message(n)))
        self.ok(self.imap.select(name))

    def test_starttls_then_login(self):
        client = imaplib.IMAP4("localhost", self.server.port("imap"), timeout=20)
        self.assertIn("STARTTLS", client.capabilities)
        self.ok(client.starttls(self.server.tls()))
        self.assertNotIn("STARTTLS", client.capabilities)
        self.ok(client.login("alice", PASSWORD))
        client.logout()

    def test_authenticate_plain(self):
        client = imaplib.IMAP4_SSL("localhost", self.server.port("imaps"), ssl_context=self.server.tls())
        self.ok(client.authenticate("PLAIN", lambda _: b"\0alice\0" + PASSWORD.encode()))
        client.logout()

    def test_wrong_password_is_no(self):
        client = imaplib.IMAP4_SSL("localhost", self.server.port("imaps"), ssl_context=self.server.tls())
        with self.assertRaises(imaplib.IMAP4.error):
            client.login("alice", "wrong")
        client.shutdown()

    def test_append_keeps_flags_date_and_bytes(self):
        self.folder("Append", 0)
        data = message(7, body="8 bit: Grüße\r\n.dot\r\n\r\nend without newline")
        date = '"04-Mar-2025 11:22:33 +0530"'
        self.ok(self.imap.append("Append", r"(\Flagged $Work)", date, data))
        self.ok(self.imap.select("Append"))
        answer = self.ok(self.imap.fetch("1", "(FLAGS INTERNALDATE RFC822.SIZE BODY.PEEK[])"))
        head, body = answer[0]
        self.assertEqual(body, data)
        self.assertIn(b"\\Flagged", head)
        self.assertIn(b"$Work", head)
        self.assertIn(b"RFC822.SIZE %d" % len(data), head)
        self.assertEqual(imaplib.Internaldate2tuple(head), time.localtime(1741067553))

    def test_seen_is_set_by_fetch_and_not_by_peek_or_examine(self):
        self.folder("Seen")
        self.ok(self.imap.fetch("1", "(BODY.PEEK[TEXT])"))
        self.assertEqual(self.ok(self.imap.search(None, "SEEN")), [b""])
        self.ok(self.imap.fetch("2", "(BODY[TEXT])"))
        self.ok(self.imap.fetch("3", "(RFC822)"))
        self.assertEqual(self.ok(self.imap.search(None, "SEEN")), [b"2 3"])
        self.ok(self.imap.select("Seen", readonly=True))
        self.ok(self.imap.fetch("1", "(BODY[])"))
        self.assertEqual(self.ok(self.imap.search(None, "SEEN")), [b"2 3"])
        raw = Imap(self.server, user="alice")
        self.addCleanup(raw.close)
        raw.ok("EXAMINE Seen")
        self.assertTrue(raw.command("STORE 1 +FLAGS (\\Seen)")[1].startswith(b"NO"))

    def test_store_modes_and_keywords(self):
        self.folder("Store", 2)
        self.ok(self.imap.store("1", "FLAGS", r"(\Answered Label1)"))
        self.ok(self.imap.store("1", "+FLAGS", r"(\Flagged NonJunk)"))
        self.ok(self.imap.store("1", "-FLAGS", r"(\Answered)"))
        answer = self.ok(self.imap.fetch("1", "(FLAGS)"))[0]
        flags = {f.lower() for f in imaplib.ParseFlags(answer)} - {b"\\recent"}
        self.assertEqual(flags, {b"\\flagged", b"label1", b"nonjunk"})
        self.assertEqual(self.ok(self.imap.store("2", "+FLAGS.SILENT", r"\Deleted")), [None])
        self.assertEqual(self.ok(self.imap.search(None, "KEYWORD", "label1")), [b"1"])
        self.assertEqual(self.ok(self.imap.search(None, "UNKEYWORD", "label1")), [b"2"])

    def test_expunge_and_close_and_uid_expunge(self):
        self.folder("Expunge", 5)
        self.ok(self.imap.store("2,4", "+FLAGS", r"\Deleted"))
        self.assertIn(self.ok(self.imap.expunge()), ([b"2", b"3"], [b"4", b"2"]))
        uids = self.ok(self.imap.uid("SEARCH", "ALL"))[0].split()
        self.assertEqual(len(uids), 3)
        self.ok(self.imap.store("1:*", "+FLAGS", r"\Deleted"))
        self.ok(self.imap.uid("EXPUNGE", uids[0].decode()))
        self.assertEqual(self.ok(self.imap.uid("SEARCH", "ALL")), [b" ".join(uids[1:])])
        self.ok(self.imap.close())
        self.assertIn(b"MESSAGES 0", self.ok(self.imap.status("Expunge", "(MESSAGES)"))[0])

    def test_copy_and_move(self):
        self.folder("To", 0)
        self.folder("From", 4)
        self.ok(self.imap.store("2", "+FLAGS", r"(\Flagged Label2)"))
        self.ok(self.imap.copy("1:2", "To"))
        self.assertIn(b"COPYUID", self.imap.response("COPYUID")[0].encode())
        self.assertEqual(self.imap._simple_command("MOVE", "3:4", "To")[0], "OK")
        self.assertEqual(self.ok(self.imap.search(None, "ALL")), [b"1 2"])
        self.ok(self.imap.select("To"))
        self.assertEqual(self.ok(self.imap.search(None, "ALL")), [b"1 2 3 4"])
        self.assertEqual(self.ok(self.imap.search(None, "FLAGGED KEYWORD Label2")), [b"2"])
        status, answer = self.imap.copy("1", "Nowhere")
        self.assertEqual(status, "NO")
        self.assertIn(b"TRYCREATE", answer[0])

    def test_search(self):
        self.folder("Search", 0)
        for n, (subject, body) in enumerate(
            [("Apples", "red\r\n"), ("Pears", "green\r\n"), ("apple pie", "GREEN apples\r\n")]
        ):
            self.ok(self.imap.append("Search", None, None, message(n, subject=subject, body=body)))
        self.ok(self.imap.select("Search"))
        for key, expected in [
            ('SUBJECT "apple"', b"1 3"),
            ('BODY "green"', b"2 3"),
            ('TEXT "pears"', b"2"),
            ('NOT SUBJECT "apple"', b"2"),
            ('OR SUBJECT "pears" BODY "red"', b"1 2"),
            ("2:3 SUBJECT apple", b"3"),
            ("SENTON 2-Feb-2026", b"1 2 3"),
            ("SENTBEFORE 2-Feb-2026", b""),
            ('HEADER Message-ID "n1."', b"2"),
            ("LARGER 100000", b""),
            ("SMALLER 100000 UNSEEN", b"1 2 3"),
            ("FROM bob TO alice", b"1 2 3"),
            ("(OR 1 2) 2:*", b"2"),
            ("UID 1:2", b"1 2"),
            ("SINCE 1-Jan-2020", b"1 2 3"),
        ]:
            with self.subTest(key):
                self.assertEqual(self.ok(self.imap.search(None, key)), [expected])
        self.imap.literal = "grün".encode()
        status, _ = self.imap.search("UTF-8", "BODY")
        self.assertEqual(status, "OK")
        self.assertEqual(self.imap.search("X-NONE", "ALL")[0], "NO")

    def test_mailboxes(self):
        for name in ("A/B/C", "A/B", "A", "Renamed/B/C", "Renamed/B", "Renamed"):
            self.imap.delete(name)
        self.ok(self.imap.create("A/B/C"))
        listed = lambda pattern: sorted(
            it.split(b'"/" ')[1] for it in self.ok(self.imap.list('""', pattern)) if it
        )
        self.assertEqual(listed("A/%"), [b"A/B"])
        self.assertEqual(listed("A/*"), [b"A/B", b"A/B/C"])
        self.assertEqual(listed("inbox"), [b"INBOX"])
        self.ok(self.imap.rename("A", "Renamed"))
        self.assertEqual(listed("Renamed*"), [b"Renamed", b"Renamed/B", b"Renamed/B/C"])
        self.assertEqual(self.imap.create("INBOX")[0], "NO")
        self.assertEqual(self.imap.delete("INBOX")[0], "NO")
        self.assertEqual(self.imap.select("Missing")[0], "NO")
        self.ok(self.imap.subscribe("Renamed/B"))
        self.assertTrue([it for it in self.ok(self.imap.lsub('""', "*")) if it.endswith(b"Renamed/B")])
        self.ok(self.imap.unsubscribe("Renamed/B"))
        self.assertFalse(
            [it for it in self.ok(self.imap.lsub('""', "*")) if it and it.endswith(b"Renamed/B")]
        )
        self.ok(self.imap.namespace())

    def test_modified_utf7_names(self):
        self.imap.delete("&BB8EQARABDIENQRC-/&U,BTFw-")
        self.ok(self.imap.create("&BB8EQARABDIENQRC-/&U,BTFw-"))
        names = self.ok(self.imap.list("&BB8EQARABDIENQRC-/", "%"))
        self.assertEqual(len(names), 1)
        self.assertTrue(names[0].endswith(b"&BB8EQARABDIENQRC-/&U,BTFw-"))
        self.ok(self.imap.select("&BB8EQARABDIENQRC-/&U,BTFw-"))

    def test_idle_hears_other_sessions(self):
        self.folder("Idle", 2)
        idle = Imap(self.server, user="alice")
        self.addCleanup(idle.close)
        idle.ok("SELECT Idle")
        tag = idle.begin("IDLE")
        self.assertTrue(idle.line().startswith(b"+"))

        def hear(text):
            while text not in (line := idle.line()):
                self.assertTrue(line.startswith(b"* "), line)

        self.ok(self.imap.append("Idle", None, None, message(3)))
        hear(b"3 EXISTS")
        self.ok(self.imap.store("1", "+FLAGS", r"(\Flagged \Deleted)"))
        hear(b"\\Flagged")
        self.ok(self.imap.expunge())
        hear(b"1 EXPUNGE")
        idle.send(b"DONE\r\n")
        self.assertTrue(idle.finish(tag)[1].startswith(b"OK"))

    def test_fetch_holds_expunge_back(self):
        self.folder("Held", 3)
        other = Imap(self.server, user="alice")
        self.addCleanup(other.close)
        other.ok("SELECT Held")
        self.ok(self.imap.store("1", "+FLAGS", r"\Deleted"))
        self.ok(self.imap.expunge())
        untagged = other.ok("FETCH 2 (UID)")
        self.assertFalse([it for it in untagged if b"EXPUNGE" in it])
        self.assertEqual(fetched(untagged)[2][b"UID"], b"2")
        self.assertIn([b"1", b"EXPUNGE"], other.ok("NOOP"))

    def test_pipelined_commands(self):
        self.folder("Pipe", 2)
        raw = Imap(self.server, user="alice")
        self.addCleanup(raw.close)
        tags = [
            raw.begin(c)
            for c in ("SELECT Pipe", "FETCH 1:* (FLAGS)", "STORE 1 +FLAGS (x)", "SEARCH ALL", "NOOP")
        ]
        for tag in tags:
            self.assertTrue(raw.finish(tag)[1].startswith(b"OK"))

    def test_literal_plus_and_astrings(self):
        raw = Imap(self.server, service="imaps")
        self.addCleanup(raw.close)
        login = b"LOGIN {5+}\r\nalice {%d+}\r\n%s" % (len(PASSWORD), PASSWORD.encode())
        raw.ok(login)
        raw.command(b"DELETE Lit")
        raw.ok(b"CREATE {3+}\r\nLit")
        data = message(1)
        raw.ok(b"APPEND Lit (\\Seen) {%d+}\r\n%s" % (len(data), data))
        untagged = raw.ok(b"STATUS {3+}\r\nLit (MESSAGES UNSEEN)")
        self.assertEqual(untagged[0][2], [b"MESSAGES", b"1", b"UNSEEN", b"0"])

    def test_bad_commands_leave_the_session_usable(self):
        raw = Imap(self.server, user="alice")
        self.addCleanup(raw.close)
        for bad in (
            "FETCH 1 FLAGS",
            "NONSENSE",
            "SELECT",
            "LIST",
            "SEARCH RETURN",
            "STORE",
            "UID",
            'SELECT "unclosed',
        ):
            self.assertTrue(raw.command(bad)[1].startswith(b"BAD"), bad)
        raw.ok("SELECT INBOX")
        for bad in (
            "FETCH 0 FLAGS",
            "FETCH 1 (NOPE)",
            "FETCH a FLAGS",
            "SEARCH WHAT",
            "STORE 1 FLAGS",
            "FETCH 1 BODY[",
            "UID EXPUNGE",
        ):
            self.assertTrue(raw.command(bad)[1].startswith(b"BAD"), bad)
        raw.ok("NOOP")


if __name__ == "__main__":
    harness.main()
