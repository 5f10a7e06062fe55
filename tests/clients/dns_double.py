"""A name server for tests: a table of records, by UDP and TCP on a loopback port of its own.

    dns = DnsDouble({("b.test", "MX"): [(10, "mx.b.test")], ("mx.b.test", "A"): ["127.0.0.2"]})
    dns.port; dns.records[("c.test", "TXT")] = ["v=spf1 -all"]; dns.stop()

A name that has records of another type only has no data, one that has none does not exist.
Names in `silent` get no answer at all, those in `broken` SERVFAIL; answers for those in `signed`
are said to be validated (AD). `asked` is every (name, type) that came, `by_tcp` those that came
by TCP, as they must where the answer is too long for UDP.
"""

import ipaddress
import socket
import struct
import threading

TYPES = {"A": 1, "CNAME": 5, "PTR": 12, "MX": 15, "TXT": 16, "AAAA": 28, "SRV": 33, "TLSA": 52}
NAMES = {number: name for name, number in TYPES.items()}
MAX_UDP = 1232


def encode_name(name):
    labels = [label.encode("idna") for label in name.rstrip(".").split(".") if label]
    return b"".join(bytes([len(it)]) + it for it in labels) + b"\0"


def encode(kind, value):
    """A record's data."""
    if kind in ("A", "AAAA"):
        return ipaddress.ip_address(value).packed
    if kind in ("CNAME", "PTR"):
        return encode_name(value)
    if kind == "MX":
        return struct.pack("!H", value[0]) + encode_name(value[1])
    if kind == "SRV":
        return struct.pack("!HHH", *value[:3]) + encode_name(value[3])
    if kind == "TXT":
        data = value if isinstance(value, bytes) else value.encode()
        parts = [data[at : at + 255] for at in range(0, len(data), 255)] or [b""]
        return b"".join(bytes([len(part)]) + part for part in parts)
    if kind == "TLSA":
        return bytes(value[:3]) + value[3]
    raise ValueError(kind)


class DnsDouble:
    def __init__(self, records=None):
        self.records = dict(records or {})
        self.silent, self.broken, self.signed = set(), set(), set()
        self.asked, self.by_tcp = [], []
        self.bind()
        self.port = self.udp.getsockname()[1]
        self.tcp.listen(16)
        for loop in (self.serve_udp, self.serve_tcp):
            threading.Thread(target=loop, daemon=True).start()

    def add(self, name, kind, *values):
        self.records[(name, kind)] = list(values)

    def bind(self):
        """One number for both; a port free for UDP may be taken for TCP."""
        for _ in range(100):
            self.udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            self.tcp = socket.socket()
            self.tcp.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            self.udp.bind(("127.0.0.1", 0))
            try:
                return self.tcp.bind(self.udp.getsockname())
            except OSError:
                self.stop()
        raise OSError("no port is free for both UDP and TCP")

    @property
    def address(self):
        return f"127.0.0.1:{self.port}"

    def stop(self):
        for it in (self.udp, self.tcp):
            it.close()

    def serve_udp(self):
        while True:
            try:
                query, peer = self.udp.recvfrom(4096)
            except OSError:
                return
            answer = self.answer(query)
            if answer and len(answer) > MAX_UDP:
                # Cut off: by TCP then.
                answer = answer[:2] + struct.pack("!H", 0x8780) + answer[4:6] + bytes(6) + self.question(query)
            if answer:
                self.udp.sendto(answer, peer)

    def serve_tcp(self):
        while True:
            try:
                connection, _ = self.tcp.accept()
            except OSError:
                return
            with connection:
                connection.settimeout(5)
                try:
                    (length,) = struct.unpack("!H", connection.recv(2))
                    query = connection.recv(length)
                    self.by_tcp.append(self.asks(self.question(query)))
                    answer = self.answer(query)
                    if answer:
                        connection.sendall(struct.pack("!H", len(answer)) + answer)
                except (OSError, struct.error):
                    pass

    @staticmethod
    def question(query):
        end = query.index(b"\0", 12) + 5
        return query[12:end]

    @staticmethod
    def asks(question):
        """Name and type."""
        labels, at = [], 0
        while question[at]:
            labels.append(question[at + 1 : at + 1 + question[at]].decode())
            at += 1 + question[at]
        return ".".join(labels).lower(), NAMES.get(struct.unpack("!H", question[at + 1 : at + 3])[0], "?")

    def answer(self, query):
        question = self.question(query)
        name, kind = self.asks(question)
        self.asked.append((name, kind))
        if name in self.silent:
            return None
        found = [(kind, value) for value in self.records.get((name, kind), [])]
        found = found or [("CNAME", value) for value in self.records.get((name, "CNAME"), [])]
        known = any(it[0] == name or it[0].endswith("." + name) for it in self.records)
        flags = 0x8580 | (0x20 if name in self.signed else 0)
        flags |= 2 if name in self.broken else 0 if known else 3
        head = query[:2] + struct.pack("!HHHHH", flags, 1, len(found), 0, 0)
        rows = b""
        for its_kind, value in found:
            data = encode(its_kind, value)
            rows += b"\xc0\x0c" + struct.pack("!HHIH", TYPES[its_kind], 1, 0, len(data)) + data
        return head + question + rows
