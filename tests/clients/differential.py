"""The differential test: Debian's Dovecot as the oracle. The corpus and 200 seeded
mutations of it are appended to both servers; then everything that IMAP can say of them
must be equal, but for the differences listed in `ACCEPTED`, each with its RFC reason. A
listed difference that no longer occurs fails too: the list says what is, not what was."""

import random
import re
import unittest

import harness
from harness import corpus, message, new_server
from oracle import Dovecot
from wire import Closed, Imap, fetched

SEED = 20260117
VARIANTS = 200
# Sections that most messages lack.
ABSENT = ("999", "1.999", "1.1.1.1.1.1.1", "1.HEADER", "1.TEXT", "1.1.MIME", "999.MIME")
FIELDS = "From SUBJECT X-Missing Content-Type received"
SHOWN = 40


class Accepted:
    """A difference that is right: of which items, in which messages, and why. `when`, given
    both values, narrows it."""

    def __init__(self, items, messages, reason, when=lambda ours, theirs: True):
        self.items = re.compile(items)
        self.messages = re.compile(messages)
        self.reason = reason
        self.when = when
        self.used = 0

    def covers(self, name, item, ours, theirs):
        if self.items.fullmatch(item) and self.messages.search(name) and self.when(ours, theirs):
            self.used += 1
            return True
        return False


def has_empty_type(structure):
    return b"''" in repr(structure).encode()


ACCEPTED = [
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


def carried(data):
    """Whether a message's bytes are defined on the wire: CR and LF appear together alone
    (RFC 5322, 2.3), and no NUL (RFC 3501, 4.3.1). Of the others each server may make what
    it can; Dovecot rewrites them."""
    return data and b"\0" not in data and data.count(b"\r") == data.count(b"\n") == data.count(b"\r\n")


def mutate(data, rng):
    """One to five seeded edits that a parser stumbles over, line ends kept whole."""
    data = bytearray(data)
    for _ in range(rng.randint(1, 5)):
        if not data:
            break
        at = rng.randrange(len(data))
        # Half of the edits hit the head of the message, where the grammar is.
        if rng.random() < 0.5:
            at = rng.randrange(min(len(data), 600))
        span = rng.choice((1, 1, 2, 5, 20, 200))
        kind = rng.randrange(6)
        if kind == 0:
            del data[at : at + span]
        elif kind == 1:
            data[at:at] = data[at : at + span]
        elif kind == 2:
            data[at : at + 1] = bytes([rng.choice(b"\"();:,<>@=?\\[] \t-.*'%xA9/\xe9")])
        elif kind == 3:
            lines = data.split(b"\r\n")
            a, b = rng.randrange(len(lines)), rng.randrange(len(lines))
            lines[a], lines[b] = lines[b], lines[a]
            data = bytearray(b"\r\n".join(lines))
        elif kind == 4:
            data[at:at] = b"\r\n"
        elif rng.random() < 0.3:
            del data[at:]
    whole = bytes(data).replace(b"\0", b"")
    return b"\r\n".join(part.replace(b"\r", b"").replace(b"\n", b"") for part in whole.split(b"\r\n"))


def variants():
    rng = random.Random(SEED)
    pool = [(name, data) for name, data in corpus() if carried(data) and len(data) < 12_000]
    found = []
    while len(found) < VARIANTS:
        name, data = rng.choice(pool)
        changed = mutate(data, rng)
        if carried(changed):
            found.append((f"variant-{len(found)}-of-{name}", changed))
    return found


def parts(structure, path=""):
    """Section paths of a parsed BODYSTRUCTURE with what each is: (path, kind, encoding)."""
    if isinstance(structure[0], list):
        for n, child in enumerate(structure[: first_atom(structure)], 1):
            yield from parts(child, f"{path}{n}.")
        return
    path = path or "1."
    kind = (structure[0] or b"").lower() + b"/" + (structure[1] or b"").lower()
    yield path[:-1], kind
    if kind == b"message/rfc822" and len(structure) > 8 and isinstance(structure[8], list):
        inner = structure[8]
        if isinstance(inner[0], list):
            yield from parts(inner, path)
        else:
            yield from parts(inner, path + "1.")


def first_atom(structure):
    return next((n for n, it in enumerate(structure) if not isinstance(it, list)), len(structure))


def sections(structure):
    """Every BODY section and BINARY of a message, partials too."""
    found = ["HEADER", "TEXT", "", *ABSENT, f"HEADER.FIELDS ({FIELDS})", f"HEADER.FIELDS.NOT ({FIELDS})"]
    paths = list(parts(structure))[:40]
    for path, kind in paths:
        found += [path, f"{path}.MIME"]
        if kind == b"message/rfc822":
            found += [
                f"{path}.HEADER",
                f"{path}.TEXT",
                f"{path}.HEADER.FIELDS (Subject)",
                f"{path}.HEADER.FIELDS.NOT (Subject)",
            ]
    items = [f"BODY.PEEK[{it}]" for it in found]
    items += [f"BODY.PEEK[]<{at}>" for at in ("0.10", "7.100", "100.65536", "1000000.5")]
    items += [f"BODY.PEEK[{path}]<3.9>" for path, _ in paths[:5]]
    items += [f"{name}[{path}]" for path, _ in paths for name in ("BINARY.PEEK", "BINARY.SIZE")]
    return items


def normal(item, value):
    """A value with what the grammar leaves free taken out: case of MIME names and tokens."""
    if item in ("BODY", "BODYSTRUCTURE"):
        return upper_names(value)
    if item == "FLAGS":
        return sorted(flag.lower() for flag in value if flag.lower() != b"\\recent")
    return value


def upper_names(part):
    """A body structure with types, encodings and parameter names in upper case."""
    if not isinstance(part, list):
        return part
    at = first_atom(part)
    if at:
        return (
            [upper_names(it) for it in part[:at]]
            + [upper(part[at])]
            + [pairs(it) for it in part[at + 1 : at + 2]]
            + extension(part[at + 2 :])
        )
    kind = [upper(it) for it in part[:2]]
    common = kind + [pairs(part[2]), *part[3:5], upper(part[5]), part[6]]
    if kind == [b"MESSAGE", b"RFC822"] and len(part) > 9:
        return common + [part[7], upper_names(part[8]), part[9], part[10:11]] + extension(part[11:])
    more = 8 if kind[0] == b"TEXT" else 7
    return common + part[7 : more + 1] + extension(part[more + 1 :])


def extension(fields):
    """Disposition, language, location, and whatever may follow."""
    if fields and isinstance(fields[0], list):
        fields = [[upper(fields[0][0]), pairs(fields[0][1])], *fields[1:]]
    return fields


def upper(value):
    return value.upper() if isinstance(value, bytes) else value


def pairs(value):
    if not isinstance(value, list):
        return value
    return [upper(it) if n % 2 == 0 else it for n, it in enumerate(value)]


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
                date = b'"%2d-Jan-2026 %02d:00:00 +0%d00"' % (n % 28 + 1, n % 24, n % 10)
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
            ours, theirs = self.both(b"SEARCH " + key)
            self.compare("search", key.decode("latin1"), found_numbers(ours), found_numbers(theirs))

    def test_4_search_return(self):
        for options in (b"MIN", b"MAX", b"COUNT", b"ALL", b"MIN MAX COUNT", b""):
            for key in (b"SEEN", b"SUBJECT e", b"KEYWORD Nothing", b"2:9 NOT 5"):
                ours, theirs = self.both(b"SEARCH RETURN (%s) %s" % (options, key))
                ours, theirs = (sorted_search(untagged) for untagged, _ in (ours, theirs))
                self.compare("search", (options + b" " + key).decode(), ours, theirs)

    def test_5_mailboxes(self):
        for imap in self.pair:
            for name in ("L", "L/one", "L/one/two", "L/one/&U,BTFw-", "L/three", "Lx"):
                imap.command(f"CREATE {name}")
            for name in ("L/one", "L/three", "Lx"):
                imap.ok(f"SUBSCRIBE {name}")
        for command in LISTS:
            ours, theirs = self.both(command)
            self.compare("list", command, listed(ours), listed(theirs))
        for mailbox in ("Diff", "L", "INBOX", "L/none"):
            ours, theirs = self.both(f"STATUS {mailbox} (MESSAGES UNSEEN UIDNEXT RECENT SIZE)")
            ours, theirs = (
                (answer[0].split(b" ")[0], [it[2] for it in untagged if it[0] == b"STATUS"])
                for untagged, *answer in (ours, theirs)
            )
            if mailbox != "INBOX":
                self.compare("status", mailbox, ours, theirs)

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
        for step in range(120):
            command = change(rng)
            ours, theirs = self.both(command)
            self.compare(f"step {step}", command, changes(ours), changes(theirs))
            if step % 7 == 0:
                ours, theirs = ((imap.command("NOOP")) for imap in second)
                self.compare(
                    f"step {step}", f"NOOP of another after {command}", changes(ours), changes(theirs)
                )
            ours, theirs = (
                [
                    sorted(
                        (n, normal("FLAGS", it[b"FLAGS"]), it[b"UID"])
                        for n, it in fetched(imap.ok("UID FETCH 1:* (FLAGS)")).items()
                    )
                ]
                for imap in self.pair
            )
            self.compare(f"step {step}", f"state after {command}", ours, theirs)
            if self.found:
                break
        for other in second:
            other.close()

    def test_7_no_listed_difference_is_stale(self):
        stale = [it.reason for it in ACCEPTED if not it.used]
        self.assertEqual(stale, [], "these listed differences did not occur")


def show(value, limit=400):
    text = repr(value)
    return text if len(text) <= limit else text[:limit] + f"... ({len(text)} characters)"


def found_numbers(answer):
    untagged, tagged = answer
    numbers = [sorted(int(n) for n in it[1:] if n.isdigit()) for it in untagged if it and it[0] == b"SEARCH"]
    return tagged.split(b" ")[0], numbers


def sorted_search(untagged):
    return [sorted(map(repr, it[2:])) for it in untagged if it and it[0] == b"ESEARCH"]


def listed(answer):
    untagged, tagged = answer
    kept = (
        b"\\haschildren",
        b"\\hasnochildren",
        b"\\noselect",
        b"\\nonexistent",
        b"\\subscribed",
        b"\\sent",
        b"\\trash",
        b"\\junk",
        b"\\drafts",
        b"\\archive",
    )
    found = sorted(
        (bytes(it[3]), sorted(a.lower() for a in it[1] if a.lower() in kept), it[2])
        for it in untagged
        if it[0] in (b"LIST", b"LSUB")
    )
    return tagged.split(b" ")[0], found


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


def changes(answer):
    """Untagged answers of a change, made comparable: EXPUNGEs as a set of what they remove,
    FETCH flags sorted, RECENT and mod-sequences left out."""
    untagged, tagged = answer
    gone, flags, exists = [], {}, None
    positions = list(range(1, 1000))
    for it in untagged:
        if len(it) == 2 and it[1] == b"EXPUNGE":
            gone.append(positions.pop(int(it[0]) - 1))
        elif len(it) == 2 and it[1] == b"EXISTS":
            exists = int(it[0])
        elif len(it) == 3 and it[1] == b"FETCH":
            items = {bytes(it[2][i]): it[2][i + 1] for i in range(0, len(it[2]), 2)}
            where = positions[int(it[0]) - 1]
            if b"FLAGS" in items:
                flags[where] = normal("FLAGS", items[b"FLAGS"])
            if b"BODY[TEXT]<0>" in items:
                flags[where, "text"] = items[b"BODY[TEXT]<0>"]
    code = re.search(rb"\[(COPYUID|TRYCREATE|[A-Z]+)( \d+)?([^\]]*)\]", tagged)
    # UIDVALIDITY is each server's own; the UIDs in COPYUID are not.
    named = (code.group(1), code.group(3)) if code and code.group(1) in (b"COPYUID", b"TRYCREATE") else None
    return tagged.split(b" ")[0], named, sorted(gone), flags, exists


def literal(text, charset="utf-8"):
    data = text.encode(charset)
    return b"{%d+}\r\n%s" % (len(data), data)


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
