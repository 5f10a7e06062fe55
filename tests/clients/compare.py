"""What the differential test compares and how: seeded mutations of the corpus, every
section a structure reaches, and values with what the grammar leaves free taken out."""

import random
import re

from harness import corpus

SEED = 20260117
VARIANTS = 200
# Sections that most messages lack.
ABSENT = ("999", "1.999", "1.1.1.1.1.1.1", "1.HEADER", "1.TEXT", "1.1.MIME", "999.MIME")
FIELDS = "From SUBJECT X-Missing Content-Type received"


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
    if item == "INTERNALDATE":
        # The day is written as " 1" or "01" (RFC 3501, date-day-fixed).
        return value.strip().lstrip(b"0")
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


def show(value, limit=600):
    text = repr(value)
    return text if len(text) <= limit else text[:limit] + f"... ({len(text)} characters)"


def found_numbers(answer):
    """The status of a SEARCH and the set that it found."""
    untagged, tagged = answer
    return tagged.split(b" ")[0], {
        int(n) for it in untagged if it and it[0] == b"SEARCH" for n in it[1:] if n.isdigit()
    }


def sorted_search(untagged):
    return [sorted(map(repr, it[2:])) for it in untagged if it and it[0] == b"ESEARCH"]


def listed(answer, command):
    """Names with those attributes that the command asks for: a server may volunteer the
    others (RFC 5258, 3; RFC 6154, 2)."""
    untagged, tagged = answer
    plain = command.startswith("LIST") and "(" not in command
    kept = [b"\\noselect", b"\\nonexistent", b"\\subscribed"]
    if plain or "CHILDREN" in command:
        kept += [b"\\haschildren", b"\\hasnochildren"]
    if plain or "SPECIAL-USE" in command:
        kept += [b"\\sent", b"\\trash", b"\\junk", b"\\drafts", b"\\archive"]
    found = [it for it in untagged if it[0] in (b"LIST", b"LSUB")]
    rows = sorted(
        (bytes(it[3]), sorted(a.lower() for a in it[1] if a.lower() in kept), it[2]) for it in found
    )
    return tagged.split(b" ")[0], rows


def status(answer):
    """STATUS as a dictionary: its items come in any order."""
    untagged, tagged = answer
    rows = [dict(zip(it[2][::2], it[2][1::2])) for it in untagged if it[0] == b"STATUS"]
    return tagged.split(b" ")[0], rows


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
