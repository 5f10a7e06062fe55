"""What programs too heavy for a test run say on the wire: Thunderbird, Apple Mail, K-9 and
Outlook, by their known command sequences. No substitute for the program itself; it holds
the forms (case, spacing, items, pipelining) that they are known to use."""

import base64

import harness
from harness import PASSWORD, ServerCase, message
from wire import Imap, fetched

HEADERS = "From To Cc Bcc Subject Date Message-ID Priority X-Priority References Newsgroups In-Reply-To Content-Type Reply-To"


class Replayed(ServerCase):
    def setUp(self):
        self.server.empty("alice")
        self.server.append("alice", "INBOX", [message(n) for n in range(5)])
        self.imap = Imap(self.server)
        self.addCleanup(self.imap.close)

    def capabilities(self):
        return self.imap.ok("CAPABILITY")[0][1:]

    def test_thunderbird(self):
        imap = self.imap
        imap.ok("capability")
        token = base64.b64encode(b"\0alice\0" + PASSWORD.encode()).decode()
        imap.ok(f"authenticate PLAIN {token}")
        capabilities = self.capabilities()
        imap.ok('ID ("name" "Thunderbird" "version" "140.0")')
        imap.ok("namespace")
        imap.ok('list (subscribed) "" "*" return (special-use)')
        imap.ok('lsub "" "*"')
        imap.ok('list "" "INBOX"')
        answer = imap.ok('select "INBOX" (CONDSTORE)')
        self.assertTrue(any(b"HIGHESTMODSEQ" in it[-1] for it in answer if it[0] == b"OK"), answer)
        self.assertEqual(len(fetched(imap.ok("UID fetch 1:* (FLAGS)"))), 5)
        if b"QUOTA" in capabilities:
            imap.ok('getquotaroot "INBOX"')
        got = fetched(imap.ok(f"UID fetch 1:* (UID RFC822.SIZE FLAGS BODY.PEEK[HEADER.FIELDS ({HEADERS})])"))
        self.assertEqual(len(got), 5)
        uid = got[1][b"UID"].decode()
        whole = fetched(imap.ok(f"UID fetch {uid} (UID RFC822.SIZE BODY[]<0.65536>)"))[1]
        self.assertEqual(whole[b"BODY[]<0>"], message(0))
        imap.ok(rf"uid store {uid} +Flags (\Seen)")
        imap.ok(rf"uid store {uid} +FLAGS ($label1 NonJunk)")
        imap.ok("noop")
        moved = imap.command(f'uid move {uid} "Trash"')
        self.assertTrue(moved[1].startswith(b"OK"))
        data = message(50)
        imap.ok(b'append "Sent" (\\Seen) {%d+}\r\n%s' % (len(data), data))
        imap.ok('STATUS "Sent" (UIDNEXT MESSAGES UNSEEN RECENT)')
        imap.ok('UID SEARCH UNDELETED HEADER Message-ID "n2.bob@demo.test"')
        imap.ok("close")
        imap.ok("logout")

    def test_apple_mail(self):
        imap = self.imap
        imap.ok(
            'ID ("name" "Mac OS X Mail" "version" "16.0 (3826)" "os" "Mac OS X" "os-version" "15.0" "vendor" "Apple Inc.")'
        )
        imap.ok(f'LOGIN "alice@demo.test" "{PASSWORD}"')
        imap.ok("CAPABILITY")
        imap.ok("ENABLE CONDSTORE")
        imap.ok('LIST "" ""')
        imap.ok('LIST "" "*" RETURN (SPECIAL-USE)')
        imap.ok('LIST "" "%" RETURN (CHILDREN)')
        imap.ok("STATUS INBOX (MESSAGES UIDNEXT UIDVALIDITY UNSEEN HIGHESTMODSEQ)")
        imap.ok("SELECT INBOX (CONDSTORE)")
        imap.ok("FETCH 1:5 (FLAGS UID MODSEQ)")
        imap.ok("UID FETCH 1:* (FLAGS) (CHANGEDSINCE 1)")
        got = fetched(
            imap.ok(
                "UID FETCH 1:* (INTERNALDATE UID RFC822.SIZE FLAGS BODY.PEEK[HEADER.FIELDS (date subject from to cc message-id in-reply-to references content-type x-priority x-uniform-type-identifier x-universally-unique-identifier list-id list-unsubscribe bimi-indicator bimi-location x-bimi-indicator-hash authentication-results dkim-signature)] BODYSTRUCTURE)"
            )
        )
        self.assertEqual(len(got), 5)
        imap.ok("UID FETCH 1:* (BODY.PEEK[TEXT]<0.2048> BODY.PEEK[1.MIME])")
        imap.ok("UID SEARCH 1:* NOT DELETED SINCE 1-Jan-2020")
        imap.ok("CHECK")
        tag = imap.begin("IDLE")
        self.assertTrue(imap.line().startswith(b"+"))
        imap.send(b"DONE\r\n")
        self.assertTrue(imap.finish(tag)[1].startswith(b"OK"))
        imap.ok("LOGOUT")

    def test_k9(self):
        imap = self.imap
        imap.ok(f'LOGIN "alice" "{PASSWORD}"')
        imap.ok("CAPABILITY")
        imap.ok("NAMESPACE")
        imap.ok('LIST "" "*" RETURN (SPECIAL-USE)')
        imap.ok('SELECT "INBOX"')
        imap.ok("UID SEARCH 1:* NOT DELETED")
        got = fetched(imap.ok("UID FETCH 1:* (UID FLAGS)"))
        uids = ",".join(it[b"UID"].decode() for it in got.values())
        imap.ok(
            f"UID FETCH {uids} (UID INTERNALDATE RFC822.SIZE BODY.PEEK[HEADER.FIELDS (date subject from content-type to cc reply-to message-id references in-reply-to list-unsubscribe sender X-K9mail-Identity Chat-Version)])"
        )
        imap.ok(f"UID FETCH {uids} (BODYSTRUCTURE)")
        imap.ok(f"UID FETCH {uids} (BODY.PEEK[]<0.32768>)")
        imap.ok(rf"UID STORE {uids} +FLAGS.SILENT (\Seen)")
        imap.ok(f'UID COPY {uids} "Archive"')
        imap.ok(rf"UID STORE {uids} +FLAGS.SILENT (\Deleted)")
        imap.ok(f"UID EXPUNGE {uids}")
        imap.ok("CLOSE")

    def test_outlook(self):
        imap = self.imap
        imap.ok(f'LOGIN "alice@demo.test" "{PASSWORD}"')
        imap.ok('LIST "" "*"')
        imap.ok('LSUB "" "*"')
        imap.ok('SELECT "INBOX"')
        self.assertEqual(len(fetched(imap.ok("UID FETCH 1:* (UID FLAGS)"))), 5)
        got = fetched(imap.ok("FETCH 1 (UID BODY.PEEK[HEADER] RFC822.SIZE FLAGS INTERNALDATE)"))[1]
        self.assertEqual(got[b"BODY[HEADER]"], message(0).split(b"\r\n\r\n")[0] + b"\r\n\r\n")
        self.assertEqual(fetched(imap.ok("FETCH 2 (UID BODY.PEEK[])"))[2][b"BODY[]"], message(1))
        imap.ok(r"STORE 1 +FLAGS (\Deleted)")
        imap.ok('EXAMINE "Sent"')
        imap.ok('SELECT "INBOX"')
        imap.ok("EXPUNGE")


if __name__ == "__main__":
    harness.main()
