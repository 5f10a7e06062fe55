"""Small raw clients that hide nothing: bytes out, parsed bytes in, for the tests that
care about the wire itself. And the client's half of SCRAM-SHA-256 (RFC 5802, 7677)."""

import base64
import hashlib
import hmac
import os
import re
import socket


class Atom(bytes):
    """An IMAP atom or number, told apart from a string; NIL is None."""

    def __repr__(self):
        return self.decode("latin1")


class Closed(Exception):
    """The server closed the connection."""


class Line:
    """A line-based connection."""

    def __init__(self, server, service, tls=None, timeout=30, greeting=True):
        """`tls` wraps at once for the implicit-TLS services, whatever it says."""
        self.server = server
        self.socket = socket.create_connection(("127.0.0.1", server.port(service)), timeout)
        self.buffer = b""
        if tls is None:
            tls = service in ("imaps", "pop3s", "submissions")
        if tls:
            self.start_tls()
        self.greeting = self.line() if greeting else None

    def start_tls(self):
        self.socket = self.server.tls().wrap_socket(self.socket, server_hostname="localhost")

    def send(self, data):
        self.socket.sendall(data)

    def fill(self):
        try:
            data = self.socket.recv(65536)
        except ConnectionError:
            data = b""
        if not data:
            raise Closed(self.buffer)
        self.buffer += data

    def line(self):
        """One line without its CRLF."""
        while b"\r\n" not in self.buffer:
            self.fill()
        line, self.buffer = self.buffer.split(b"\r\n", 1)
        return line

    def take(self, n):
        pieces = [self.buffer]
        have = len(self.buffer)
        while have < n:
            data = self.socket.recv(65536)
            if not data:
                raise Closed(b"")
            pieces.append(data)
            have += len(data)
        data = b"".join(pieces)
        self.buffer = data[n:]
        return data[:n]

    def rest(self, limit=1 << 20):
        """Everything until the server closes; AssertionError past `limit` bytes."""
        try:
            while len(self.buffer) < limit:
                self.fill()
        except (Closed, TimeoutError, OSError):
            pass
        return self.buffer

    def close(self):
        self.socket.close()


class Imap(Line):
    """Commands give (untagged, tagged): parsed responses, and `OK ...` as bytes."""

    tags = 0

    def __init__(self, server, service="imaps", user=None, **options):
        super().__init__(server, service, **options)
        if user:
            self.ok(f'LOGIN {user} "{server.password}"')

    def response(self):
        """One whole response as bytes, literals inside it."""
        whole = b""
        while True:
            line = self.line()
            literal = re.search(rb"~?\{(\d+)\}$", line)
            whole += line
            if not literal:
                return whole
            whole += b"\r\n" + self.take(int(literal.group(1)))

    def begin(self, command):
        """Sends a command; its tag."""
        Imap.tags += 1
        tag = b"t%d" % Imap.tags
        command = command.encode() if isinstance(command, str) else command
        self.send(tag + b" " + command + b"\r\n")
        return tag

    def finish(self, tag):
        untagged = []
        while True:
            response = self.response()
            if response.startswith(tag + b" "):
                return untagged, response[len(tag) + 1 :]
            if response.startswith(b"+"):
                return untagged, response
            untagged.append(parse(response))

    def command(self, command):
        return self.finish(self.begin(command))

    def ok(self, command):
        untagged, tagged = self.command(command)
        assert tagged.startswith(b"OK"), (command, tagged)
        return untagged

    def append(self, mailbox, data, extra=b""):
        """APPEND with a synchronizing literal; the tagged answer."""
        tag = self.begin(b"APPEND %s %s{%d}" % (mailbox.encode(), extra, len(data)))
        _, answer = self.finish(tag)
        if not answer.startswith(b"+"):
            return answer
        self.send(data + b"\r\n")
        return self.finish(tag)[1]


TOKEN = re.compile(
    rb'(?P<space> +)|(?P<open>\()|(?P<close>\))|~?\{(?P<literal>\d+)\}\r\n|"(?P<quoted>(?:[^"\\]|\\.)*)"'
    rb'|(?P<atom>(?:BODY|BINARY)(?:\.PEEK|\.SIZE)?\[(?:[^\]"]|"(?:[^"\\]|\\.)*")*\](?:<\d+>)?|[^ ()"{]+|[{"])',
    re.I | re.S,
)


def parse(response):
    """`* 1 FETCH (...)` as a list: Atoms, bytes for strings, None for NIL, lists. Text
    behind OK, NO, BAD, BYE and PREAUTH stays one string."""
    body = response[2:] if response.startswith(b"* ") else response
    status = re.match(rb"(OK|NO|BAD|BYE|PREAUTH) ?(.*)$", body, re.S)
    if status:
        return [Atom(status.group(1)), status.group(2)]
    stack = [[]]
    at = 0
    while at < len(body):
        found = TOKEN.match(body, at)
        assert found, body[at:]
        at = found.end()
        kind = found.lastgroup
        if kind == "open":
            stack.append([])
        elif kind == "close":
            done = stack.pop()
            assert stack, ("unbalanced parenthesis", body)
            stack[-1].append(done)
        elif kind == "literal":
            n = int(found.group("literal"))
            stack[-1].append(bytes(body[at : at + n]))
            at += n
        elif kind == "quoted":
            stack[-1].append(re.sub(rb"\\(.)", rb"\1", found.group("quoted"), flags=re.S))
        elif kind == "atom":
            atom = found.group("atom")
            stack[-1].append(None if atom.upper() == b"NIL" else Atom(atom))
    assert len(stack) == 1, ("unclosed parenthesis", body)
    return stack[0]


def fetched(untagged):
    """The FETCH responses as {number: {item in upper case: value}}."""
    result = {}
    for it in untagged:
        if len(it) == 3 and it[1] == b"FETCH":
            items = it[2]
            result.setdefault(int(it[0]), {}).update(
                {bytes(items[i]).upper(): items[i + 1] for i in range(0, len(items), 2)}
            )
    return result


class Pop(Line):
    """POP3 (RFC 1939): `command` gives the status line, `multi` the lines behind it too."""

    def __init__(self, server, service="pop3s", user=None, **options):
        super().__init__(server, service, **options)
        if user:
            self.ok(f"USER {user}")
            self.ok(f"PASS {server.password}")

    def command(self, command):
        self.send(command.encode() + b"\r\n")
        return self.line()

    def ok(self, command):
        answer = self.command(command)
        assert answer.startswith(b"+OK"), (command, answer)
        return answer

    def multi(self, command):
        """The dot-unstuffed lines, joined as sent."""
        self.ok(command)
        while not (self.buffer.startswith(b".\r\n") or b"\r\n.\r\n" in self.buffer):
            self.fill()
        if self.buffer.startswith(b".\r\n"):
            self.buffer = self.buffer[3:]
            return b""
        body, self.buffer = self.buffer.split(b"\r\n.\r\n", 1)
        return (b"\r\n" + body + b"\r\n").replace(b"\r\n..", b"\r\n.")[2:]


class Smtp(Line):
    """SMTP (RFC 5321): `command` gives (code, last line's text, all lines)."""

    def __init__(self, server, service="submissions", user=None, **options):
        super().__init__(server, service, greeting=False, **options)
        self.greeting = self.reply() if options.get("greeting", True) else None
        if user:
            self.expect("EHLO client.test", 250)
            token = base64.b64encode(f"\0{user}\0{server.password}".encode()).decode()
            self.expect(f"AUTH PLAIN {token}", 235)

    def reply(self):
        lines = []
        while True:
            line = self.line()
            assert re.match(rb"\d{3}[ -]|\d{3}$", line), line
            lines.append(line[4:])
            if line[3:4] != b"-":
                return int(line[:3]), lines[-1], lines

    def command(self, command):
        self.send((command.encode() if isinstance(command, str) else command) + b"\r\n")
        return self.reply()

    def expect(self, command, code):
        answer = self.command(command)
        assert answer[0] == code, (command, answer)
        return answer

    def submit(self, sender, recipients, data):
        """One message by DATA; the final reply."""
        self.expect(f"MAIL FROM:<{sender}>", 250)
        for recipient in recipients:
            self.expect(f"RCPT TO:<{recipient}>", 250)
        self.expect("DATA", 354)
        stuffed = re.sub(rb"(?m)^\.", b"..", data)
        self.send(stuffed + (b"" if stuffed.endswith(b"\r\n") else b"\r\n") + b".\r\n")
        return self.reply()


class Scram:
    """The client's half of SCRAM-SHA-256 without channel binding."""

    def __init__(self, user, password):
        self.password = password.encode()
        self.nonce = base64.b64encode(os.urandom(18)).decode()
        self.bare = f"n={user.replace('=', '=3D').replace(',', '=2C')},r={self.nonce}"

    def first(self):
        return b"n,," + self.bare.encode()

    def final(self, challenge):
        """The answer to the server's first message."""
        fields = dict(part.split("=", 1) for part in challenge.decode().split(","))
        assert fields["r"].startswith(self.nonce) and len(fields["r"]) > len(self.nonce), fields
        iterations = int(fields["i"])
        assert iterations >= 4096, iterations
        salted = hashlib.pbkdf2_hmac("sha256", self.password, base64.b64decode(fields["s"]), iterations)
        without_proof = f"c=biws,r={fields['r']}"
        signed = f"{self.bare},{challenge.decode()},{without_proof}".encode()
        client_key = hmac.digest(salted, b"Client Key", "sha256")
        signature = hmac.digest(hashlib.sha256(client_key).digest(), signed, "sha256")
        proof = bytes(a ^ b for a, b in zip(client_key, signature))
        server_key = hmac.digest(salted, b"Server Key", "sha256")
        self.expected = b"v=" + base64.b64encode(hmac.digest(server_key, signed, "sha256"))
        return f"{without_proof},p={base64.b64encode(proof).decode()}".encode()

    def server_is_genuine(self, last):
        """Whether the server's last message proves that it knows the keys."""
        return hmac.compare_digest(last, self.expected)
