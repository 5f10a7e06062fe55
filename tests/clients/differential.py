"""The differential test: Debian's Dovecot as the oracle. The corpus and 200 seeded
mutations of it are appended to both servers; then everything that IMAP can say of them
must be equal, but for the differences listed in `ACCEPTED`, each with its RFC reason. A
listed difference that no longer occurs fails too: the list says what is, not what was."""

import random
import re
import unittest

import harness
from compare import SEED, Accepted, carried, changes, found_numbers, listed, normal, sections, show
from compare import sorted_search, status, variants
from harness import corpus, message, new_server
from oracle import Dovecot
from wire import Closed, Imap, fetched

SHOWN = 40


def has_empty_type(structure):
    return b"''" in repr(structure).encode()


ACCEPTED = [
    Accepted(
        r"SEARCH SENT(BEFORE|ON|SINCE) .*",
        r"^variant-(14|18|104)-",
        "a Date with a broken weekday or time still has its day, and RFC 3501, 6.4.4 disregards the time",
        lambda ours, theirs: ours and not theirs,
    ),
    Accepted(
        r"SEARCH SUBJECT e",
        r"encoded-words-unknown-charset",
        "an encoded word with a language (RFC 2231, 5) is decoded, one of an unknown charset is text as it stands "
        "(RFC 2047, 6.2)",
        lambda ours, theirs: ours and not theirs,
    ),
    Accepted(
        r'SEARCH BODY (boundary|"Content-Type")',
        r"message|digest|delivery-status|contracts-forwarded",
        "the header of an embedded message is in the body of the message that embeds it (RFC 3501, 6.4.4)",
        lambda ours, theirs: ours and not theirs,
    ),
    Accepted(
        r"SEARCH (NOT TEXT the|OR BODY frost BODY dahlias)",
        r"^variant-(54|157)-",
        "an empty Content-Type means text/plain, which is searched (RFC 2045, 5.2); of two Content-Types, which RFC "
        "5322, 3.6 forbids, SEARCH looks into the same structure that BODYSTRUCTURE tells of",
    ),
    Accepted(
        r"(UID )?STORE .*",
        r"^step ",
        "STORE tells the new flags of every message named (RFC 3501, 6.4.6), Dovecot of those that changed alone",
        lambda ours, theirs: ours[:3] == theirs[:3]
        and ours[4] == theirs[4]
        and theirs[3].items() <= ours[3].items(),
    ),
    Accepted(
        r"(STORE|COPY|MOVE|FETCH) (1:)?\* .*",
        r"^(step |empty$)",
        "* in an empty mailbox: RFC 3501, 9 only advises BAD; clients that ask for 1:* are better served with nothing",
        lambda ours, theirs: (ours[0], theirs[0]) == (b"OK", b"BAD") and not ours[3],
    ),
    Accepted(
        r'LIST "L" "/%"',
        r"list",
        "reference and pattern are one string, L/% (RFC 3501, 6.3.8)",
        lambda ours, theirs: [row[0] for row in ours[1]] == [b"L/one", b"L/three"],
    ),
    Accepted(
        r"SEARCH SENT(BEFORE|ON|SINCE) .*",
        r"",
        "a message without a Date, or whose Date is none, was sent at no time: RFC 3501, 6.4.4 looks at the Date "
        "header alone, Dovecot takes 1970",
        lambda ours, theirs: theirs and not ours,
    ),
    Accepted(
        r"BODY\[([\d.]+\.)?HEADER\.FIELDS .*",
        r"^(headers-unterminated|.*message-rfc822-base64|variant-)",
        "the empty line behind chosen fields: RFC 3501, 6.4.5 wants it unless the message has neither body nor empty "
        "line; Dovecot adds it to an unfinished header and leaves it out of an empty embedded one",
        lambda ours, theirs: (ours or b"").rstrip() == (theirs or b"").rstrip(),
    ),
    Accepted(
        r"BODY\[[\d.]+\.MIME\]",
        r"mime-empty-parts|variant-(51|189)-",
        "a part's header that ends at the delimiter: the CRLF between them is the empty line and the delimiter's own "
        "(RFC 2046, 5.1.1), Dovecot counts it for the delimiter alone",
        lambda ours, theirs: ours == theirs + b"\r\n",
    ),
    Accepted(
        r"BINARY.* status",
        r"",
        "a broken encoding: RFC 3516, 4.3 and RFC 9051, 6.4.5 name UNKNOWN-CTE for what can't be decoded, Dovecot says "
        "PARSE; broken quoted-printable is decoded as RFC 2045, 6.7 advises",
        lambda ours, theirs: theirs == b"PARSE" and ours in (b"UNKNOWN-CTE", b"OK"),
    ),
    Accepted(
        r"BINARY\[[\d.]+\]",
        r"",
        "a message/rfc822 part has no encoding of its own (RFC 2046, 5.2.1): BINARY gives it as it is (RFC 3516, 4.3), "
        "Dovecot rewrites the encodings inside it",
        lambda ours, theirs: ours and theirs and b"Content-Transfer-Encoding: binary" in theirs,
    ),
    Accepted(
        r"BINARY\.SIZE\[[\d.]+\]",
        r"",
        "Dovecot's BINARY.SIZE is not the size of its BINARY (RFC 3516, 4.2); ours is held to it by this test",
    ),
    Accepted(
        r"BODY\[1\.1\.MIME\]",
        r"",
        "part 1.1 of a leaf part 1 is none: RFC 3501, 6.4.5 calls part 1 of a whole message alone its text; Dovecot "
        "gives the header of part 1",
        lambda ours, theirs: ours == b"",
    ),
    Accepted(
        r"BODY|BODYSTRUCTURE",
        r"^(parameters-odd$|variant-(54|84|88|94|127|198)-)",
        "a Content-Type that is none: RFC 2045, 5.2 asks to take it as text/plain; charset=us-ascii, Dovecot gives "
        "an empty type; and a parameter without a name is kept where Dovecot stops",
        lambda ours, theirs: has_empty_type(theirs),
    ),
    Accepted(
        r"BINARY.* status",
        r"",
        "Dovecot ends the session where an encoded part is broken; RFC 3516, 4.3 leaves "
        "a server to answer NO or to decode what it can",
        lambda ours, theirs: theirs == b"closed" and ours in (b"OK", b"UNKNOWN-CTE", b"PARSE"),
    ),
]


class Differential(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = new_server()
        cls.oracle_server = Dovecot()
        cls.oracle_server.format = "sdbox"
        cls.oracle_server.start()
        cls.messages = [(name, data) for name, data in corpus() + variants() if carried(data)]
        for server in (cls.server, cls.oracle_server):
            imap = Imap(server, user="alice")
            imap.ok("CREATE Diff")
            for n, (name, data) in enumerate(cls.messages):
                flags = (b"()", b"(\\Seen)", b"(\\Flagged Label)", b"(\\Answered \\Draft)")[n % 4]
                date = b'"%2d-Jan-2026 %02d:00:00 +0000"' % (n % 28 + 1, n % 24)
                answer = imap.append("Diff", data, flags + b" " + date + b" ")
                assert answer.startswith(b"OK"), (name, answer)
            imap.close()

    @classmethod
    def tearDownClass(cls):
        for server in (cls.server, cls.oracle_server):
            server.stop()
            server.remove()

    def setUp(self):
        self.found = []
        self.pair = [Imap(server, user="alice") for server in (self.server, self.oracle_server)]
        for imap in self.pair:
            imap.ok("SELECT Diff")

    def compare(self, name, item, ours, theirs):
        if ours == theirs or any(it.covers(name, item, ours, theirs) for it in ACCEPTED):
            return
        ours, theirs = apart(ours, theirs)
        self.found.append(f"{name}: {item}\n      ours   {show(ours)}\n      theirs {show(theirs)}")

    def tearDown(self):
        for imap in self.pair:
            imap.close()
        if self.found:
            raise AssertionError(
                f"{len(self.found)} unlisted differences:\n    " + "\n    ".join(self.found[:SHOWN])
            )

    def both(self, command):
        return [imap.command(command) for imap in self.pair]

    def test_1_values(self):
        items = ("ENVELOPE", "BODY", "BODYSTRUCTURE", "RFC822.SIZE", "FLAGS", "INTERNALDATE")
        ours, theirs = (fetched(imap.ok(f"FETCH 1:* ({' '.join(items)})")) for imap in self.pair)
        for n, (name, _) in enumerate(self.messages, 1):
            for item in items:
                key = item.encode()
                self.compare(name, item, normal(item, ours[n].get(key)), normal(item, theirs[n].get(key)))

    def test_2_sections(self):
        structures = fetched(self.pair[1].ok("FETCH 1:* (BODYSTRUCTURE)"))
        for n, (name, data) in enumerate(self.messages, 1):
            body, binary = [], []
            for item in sections(structures[n][b"BODYSTRUCTURE"]):
                (binary if item.startswith("BINARY") else body).append(item)
            body += ["RFC822.HEADER"] + (["RFC822.TEXT"] if n % 10 == 0 else [])
            self.fetch_and_compare(n, name, body)
            # A BINARY that can't be decoded fails its whole command: one by one.
            for item in binary[:16]:
                self.fetch_and_compare(n, name, [item])
            self.sizes_of_binaries(n, name, binary[:16])

    def sizes_of_binaries(self, n, name, items):
        """Our BINARY.SIZE is what our BINARY is long, or fails as it does."""
        for item in (it for it in items if it.startswith("BINARY.SIZE")):
            path = item[len("BINARY.SIZE") :]
            sizes, first = self.fetch(0, f"FETCH {n} ({item})")
            data, second = self.fetch(0, f"FETCH {n} (BINARY.PEEK{path})")
            size = fetched(sizes).get(n, {}).get(item.encode())
            whole = fetched(data).get(n, {}).get(b"BINARY" + path.encode())
            self.assertEqual(first[:3], second[:3], (name, item))
            if first.startswith(b"OK"):
                self.assertEqual(int(size), len(whole or b""), (name, item))

    def fetch_and_compare(self, n, name, items):
        got = []
        for side in range(2):
            untagged, tagged = self.fetch(side, f"FETCH {n} ({' '.join(items)})")
            code = re.match(rb"NO \[([A-Z-]+)", tagged)
            status = code.group(1) if code else tagged.split(b" ")[0]
            got.append(
                (
                    status,
                    {k: v for k, v in fetched(untagged).get(n, {}).items() if k not in (b"FLAGS", b"MODSEQ")},
                )
            )
        (our_status, ours), (their_status, theirs) = got
        label = items[0] if len(items) == 1 else "FETCH"
        self.compare(name, label + " status", our_status, their_status)
        if our_status == their_status == b"OK":
            for key in sorted(set(ours) | set(theirs)):
                self.compare(name, key.decode("latin1"), ours.get(key, "missing"), theirs.get(key, "missing"))

    def fetch(self, side, command):
        """A FETCH; `closed` if the server ends the session over it."""
        try:
            return self.pair[side].command(command)
        except Closed:
            self.pair[side] = Imap((self.server, self.oracle_server)[side], user="alice")
            self.pair[side].ok("SELECT Diff")
            return [], b"closed"

    def test_3_search(self):
        for key in SEARCHES:
            (our_status, ours), (their_status, theirs) = map(found_numbers, self.both(b"SEARCH " + key))
            text = "SEARCH " + key.decode("utf-8", "replace")
            self.compare("search", text + " status", our_status, their_status)
            for n in sorted(ours ^ theirs):
                self.compare(self.messages[n - 1][0], text, n in ours, n in theirs)

    def test_4_search_return(self):
        for options in (b"MIN", b"MAX", b"COUNT", b"ALL", b"MIN MAX COUNT", b""):
            for key in (b"SEEN", b"SUBJECT tuesday", b"KEYWORD Nothing", b"2:9 NOT 5"):
                ours, theirs = self.both(b"SEARCH RETURN (%s) %s" % (options, key))
                ours, theirs = (sorted_search(untagged) for untagged, _ in (ours, theirs))
                self.compare("search", (options + b" " + key).decode(), ours, theirs)

    def test_5_mailboxes(self):
        for imap in self.pair:
            for name in ("L", "L/one", "L/one/two", "L/one/&U,BTFw-", "L/three", "Lx"):
                imap.command(f"CREATE {name}")
            # Dovecot's INBOX is there once something is in it.
            imap.append("INBOX", message(0))
            for name in ("INBOX", "L/one", "L/three", "Lx"):
                imap.ok(f"SUBSCRIBE {name}")
        for command in LISTS:
            ours, theirs = self.both(command)
            self.compare("list", command, listed(ours, command), listed(theirs, command))
        for mailbox in ("Diff", "L", "L/none"):
            ours, theirs = self.both(f"STATUS {mailbox} (MESSAGES UNSEEN UIDNEXT RECENT SIZE)")
            self.compare("status", mailbox, status(ours), status(theirs))

    def test_6_sequences_of_changes(self):
        rng = random.Random(SEED)
        second = [Imap(self.server, user="alice"), Imap(self.oracle_server, user="alice")]
        for imap, other in zip(self.pair, second):
            imap.ok("CREATE Play")
            imap.ok("CREATE Copies")
            for n in range(30):
                assert imap.append("Play", message(n)).startswith(b"OK")
            imap.ok("SELECT Play")
            other.ok("SELECT Play")
        known = [30, 30]
        for step in range(120):
            if step % 5 == 4:
                for imap in self.pair:
                    self.assertTrue(imap.append("Play", message(step)).startswith(b"OK"))
                    imap.ok("NOOP")
            command = change(rng)
            ours, theirs = self.both(command)
            self.compare(f"step {step}", command, changes(ours), changes(theirs))
            if step % 7 == 0:
                ours, theirs = (told(changes(imap.command("NOOP")), n) for imap, n in zip(second, known))
                self.compare(f"step {step}", f"NOOP of another after {command}", ours, theirs)
                ours, theirs = map(flags_by_uid, second)
                self.compare(f"step {step}", f"another's state after {command}", ours, theirs)
                known = [len(ours), len(theirs)]
            ours, theirs = map(flags_by_uid, self.pair)
            self.compare(f"step {step}", f"state after {command}", ours, theirs)
            if self.found:
                break
        for other in second:
            other.close()
        for imap in self.pair:
            imap.ok("CREATE Empty")
            imap.ok("SELECT Empty")
        for command in EMPTY:
            ours, theirs = map(changes, self.both(command))
            self.compare("empty", command, ours, theirs)

    def test_7_no_listed_difference_is_stale(self):
        stale = [it.reason for it in ACCEPTED if not it.used]
        self.assertEqual(stale, [], "these listed differences did not occur")


def apart(ours, theirs):
    """Of two long collections what each has alone."""
    if isinstance(ours, tuple) and isinstance(theirs, tuple) and len(ours) == len(theirs):
        pairs = [apart(a, b) for a, b in zip(ours, theirs) if a != b]
        return [a for a, _ in pairs], [b for _, b in pairs]
    if isinstance(ours, dict) and isinstance(theirs, dict):
        ours, theirs = list(ours.items()), list(theirs.items())
    if isinstance(ours, list) and isinstance(theirs, list):
        return [it for it in ours if it not in theirs], [it for it in theirs if it not in ours]
    return ours, theirs


def flags_by_uid(imap):
    found = fetched(imap.ok("UID FETCH 1:* (FLAGS)"))
    return sorted((n, normal("FLAGS", it[b"FLAGS"]), it[b"UID"]) for n, it in found.items())


def told(answer, known):
    """Without the flags of messages that the same answer announces: nobody asked, but a
    server may tell them (RFC 3501, 7)."""
    status, named, gone, flags, exists = answer
    return status, named, gone, {n: it for n, it in flags.items() if n <= known}, exists


def change(rng):
    """One changing command of a seeded random session."""
    low, high = sorted((rng.randint(1, 12), rng.randint(1, 12)))
    numbers = rng.choice((f"{low}", f"{low}:{high}", f"{high}:{low}", f"{low},{high},{low}", "1:*", "*"))
    flags = rng.choice(
        (
            r"(\Seen)",
            r"(\Deleted)",
            r"(\Flagged Label1)",
            r"(\Answered \Deleted)",
            "()",
            r"\Draft",
            "(label1 $Work)",
        )
    )
    return rng.choice(
        (
            f"STORE {numbers} +FLAGS {flags}",
            f"STORE {numbers} -FLAGS {flags}",
            f"STORE {numbers} FLAGS {flags}",
            f"STORE {numbers} +FLAGS.SILENT {flags}",
            f"UID STORE {numbers} +FLAGS {flags}",
            "EXPUNGE",
            f"UID EXPUNGE {numbers}",
            f"COPY {numbers} Copies",
            f"COPY {numbers} Play",
            f"MOVE {numbers} Play",
            f"UID MOVE {low} Copies",
            "NOOP",
            "CHECK",
            f"FETCH {numbers} (BODY[TEXT]<0.5>)",
            f"COPY {numbers} None",
        )
    )


def literal(text, charset="utf-8"):
    data = text.encode(charset)
    return b"{%d+}\r\n%s" % (len(data), data)


# In an empty mailbox.
EMPTY = [
    "FETCH 1:* (FLAGS)",
    "UID FETCH 1:* (FLAGS)",
    "FETCH 1 (FLAGS)",
    "SEARCH ALL",
    "UID SEARCH 1:*",
    "EXPUNGE",
]

SEARCHES = [
    b"ALL",
    b"SEEN",
    b"UNSEEN",
    b"FLAGGED",
    b"UNFLAGGED",
    b"ANSWERED",
    b"UNANSWERED",
    b"DRAFT",
    b"UNDRAFT",
    b"DELETED",
    b"UNDELETED",
    b"KEYWORD Label",
    b"UNKEYWORD label",
    b"KEYWORD Nothing",
    b"1:5",
    b"*",
    b"5:*",
    b"NOT 1:100",
    b"UID 3:7",
    b"UID *",
    b"LARGER 1000",
    b"SMALLER 500",
    b"LARGER 0",
    b"NOT LARGER 1000",
    b"OR LARGER 9000 SMALLER 100",
    b"BEFORE 10-Jan-2026",
    b"ON 10-Jan-2026",
    b"SINCE 10-Jan-2026",
    b"NOT SINCE 20-Jan-2026",
    b'ON "1-Jan-2026"',
    b"SENTBEFORE 2-Feb-2026",
    b"SENTON 2-Feb-2026",
    b"SENTSINCE 2-Feb-2026",
    b"SENTON 31-Jan-2026",
    b"SENTSINCE 5-Feb-2026",
    b"SUBJECT tuesday",
    b'SUBJECT "TUESDAY works"',
    b"SUBJECT e",
    b'SUBJECT ""',
    b"FROM jane",
    b"FROM shop.example",
    b"TO alice",
    b"TO member042",
    b"CC carol",
    b"BCC hidden",
    b"HEADER Message-ID shop.example",
    b'HEADER X-Mailer ""',
    b'HEADER X-Nothing ""',
    b"HEADER List-Id gardeners",
    b"HEADER References thread.example",
    b"BODY hello",
    b'BODY "signed by"',
    b"BODY xxxxxxxxxx",
    b"TEXT jane",
    b"TEXT boundary",
    b"BODY boundary",
    b"TEXT works",
    b"NOT TEXT the",
    b"OR BODY frost BODY dahlias",
    b"(OR SUBJECT fwd SUBJECT re) UNSEEN",
    b"NOT (SEEN FLAGGED)",
    b"OR NOT SEEN (FLAGGED 1:50)",
    b'BODY "soft"',
    b"BODY softbreak",
    b'BODY "soft break"',
    b'BODY "Gru"',
    b"TEXT inner@far.example",
    b"BODY Innermost",
    b'BODY "Content-Type"',
    b"CHARSET US-ASCII SUBJECT re",
    b"CHARSET UTF-8 BODY " + literal("Grüße"),
    b"CHARSET UTF-8 BODY " + literal("GRÜSSE"),
    b"CHARSET UTF-8 BODY " + literal("счёт"),
    b"CHARSET UTF-8 SUBJECT " + literal("Счёт"),
    b"CHARSET KOI8-R SUBJECT " + literal("счёт", "koi8-r"),
    b"CHARSET UTF-8 BODY " + literal("会議"),
    b"CHARSET ISO-2022-JP BODY " + literal("会議", "iso-2022-jp"),
    b"CHARSET UTF-8 SUBJECT " + literal("报价"),
    b"CHARSET UTF-8 BODY " + literal("发出"),
    b"CHARSET GB2312 BODY " + literal("报价", "gb2312"),
    b"CHARSET UTF-8 FROM " + literal("Dupré"),
    b"CHARSET UTF-8 SUBJECT " + literal("Übergänge"),
    b"CHARSET UTF-8 TEXT " + literal("訂單"),
    b"CHARSET UTF-8 BODY " + literal("Žluťoučký"),
    b"CHARSET ISO-8859-1 BODY " + literal("Grüße", "latin1"),
    b"CHARSET UTF-8 SUBJECT " + literal("שלום"),
    b"CHARSET UTF-8 TEXT " + literal("مرحبا"),
    b"CHARSET UTF-8 BODY " + literal("👍"),
    b"CHARSET X-NONE SUBJECT a",
    b"CHARSET UTF-8 TO " + literal("Łukasz"),
    b"CHARSET UTF-8 HEADER Subject " + literal("spring sale —"),
    b"SUBJECT {3+}\r\nthe",
    b"YOUNGER 100000",
    b"OLDER 1",
]

LISTS = [
    'LIST "" "*"',
    'LIST "" "%"',
    'LIST "" "L%"',
    'LIST "" "L/%"',
    'LIST "" "L*"',
    'LIST "" "L/*"',
    'LIST "" "%/%"',
    'LIST "" "%/%/%"',
    'LIST "" "*two"',
    'LIST "" "%o%"',
    'LIST "" inbox',
    'LIST "" InBoX',
    'LIST "" "I*"',
    'LIST "L/" "%"',
    'LIST "L/" "*"',
    'LIST "L" "/%"',
    'LIST "" "L/one"',
    'LIST "" "L/&U,BTFw-"',
    'LIST "" "L/one/&U,BTFw-"',
    'LIST "" "l*"',
    'LIST "" "*/one/*"',
    'LIST "" ""',
    'LIST "L" ""',
    'LIST "" none',
    'LSUB "" "*"',
    'LSUB "" "L/%"',
    'LSUB "" "%"',
    'LIST (SUBSCRIBED) "" "*"',
    'LIST (SPECIAL-USE) "" "*"',
    'LIST "" ("L%" "Sent") RETURN (CHILDREN)',
    'LIST "" "*" RETURN (SUBSCRIBED CHILDREN)',
    'LIST "" "L" RETURN (SPECIAL-USE)',
]


if __name__ == "__main__":
    harness.main()
