"""Malformed input of every kind on every port: a clear error or a closed connection,
within bounded memory, while a well-behaved session beside it notices nothing."""

import socket
import time

import harness
from harness import message
from hostile import ALICE, BOB, IMPLICIT, PLAIN, Hostile
from wire import Closed, Imap, Line, Smtp, fetched


class Malformed(Hostile):
    # Literals

    def test_literals_that_are_none(self):
        for given in (
            b"{",
            b"{5",
            b"{}",
            b"{-1}",
            b"{5+",
            b"{x}",
            b"{99999999999999999999}",
            b"{4294967296}",
            b"{18446744073709551616+}",
            b"{5}x",
        ):
            client = self.imap()
            answer = self.try_command(client, b"SELECT " + given)
            self.assertRegex(answer, rb"^(NO|BAD|BYE|closed)", given)

    def try_command(self, client, command):
        try:
            return client.command(command)[1]
        except (Closed, OSError):
            return b"closed"

    def test_giant_literals_are_refused_before_a_byte_is_taken(self):
        for command in (
            b"LOGIN {1000000000}",
            b"APPEND INBOX {4000000000}",
            b"SELECT {500000000}",
            b"SEARCH SUBJECT {500000000}",
        ):
            client = Imap(self.server) if command.startswith(b"LOGIN") else self.imap()
            answer = self.try_command(client, command)
            self.assertRegex(answer, rb"^(NO|BAD|BYE|closed)", command)
            client.close()

    def test_giant_non_synchronizing_literals(self):
        chunk = b"x" * (1 << 20)
        for command in (b"a LOGIN {100000000+}\r\n", b"a SELECT {100000000+}\r\n"):
            answer = self.hostile("imaps", [command] + [chunk] * 100)
            self.assertRegex(answer, rb"(?m)^(a (NO|BAD)|\* BYE)", command)

    def test_an_unfinished_append_leaves_nothing(self):
        client = self.imap()
        client.send(b"a APPEND INBOX {1000000}\r\n")
        self.assertTrue(client.line().startswith(b"+"))
        client.send(b"Subject: half\r\n\r\n" + b"x" * 500_000)
        client.close()
        time.sleep(0.3)
        self.assertEqual(self.server.bodies("alice"), [])

    # Nesting

    def test_nested_parentheses(self):
        for command in (
            b"SEARCH " + b"(" * 10_000 + b"ALL" + b")" * 10_000,
            b"SEARCH " + b"(" * 60_000,
            b"SEARCH " + b"NOT " * 10_000 + b"ALL",
            b"SEARCH " + b"OR " * 10_000 + b"ALL " * 10_001,
            b"FETCH 1 " + b"(" * 10_000 + b"FLAGS" + b")" * 10_000,
            b"STORE 1 FLAGS " + b"(" * 10_000 + b")" * 10_000,
            b"LIST (" + b"(" * 10_000 + b'"" *',
            b"ID (" * 10_000,
            b"NOOP )))",
            b"FETCH 1 BODY[" + b"1." * 10_000 + b"1]",
            b"FETCH 1 BODY[HEADER.FIELDS (" + b"(" * 10_000,
        ):
            client = self.imap()
            client.ok("SELECT INBOX")
            self.refused(client, command)
            client.close()

    def test_nested_parts(self):
        head = b"From: a@b.example\r\nSubject: deep\r\nMIME-Version: 1.0\r\n"
        multiparts = b"".join(
            b"Content-Type: multipart/mixed; boundary=b%d\r\n\r\n--b%d\r\n" % (n, n) for n in range(10_000)
        )
        messages = b"Content-Type: message/rfc822\r\n\r\n" * 10_000
        many = (
            b"Content-Type: multipart/mixed; boundary=m\r\n\r\n"
            + b"--m\r\n\r\nx\r\n" * 100_000
            + b"--m--\r\n"
        )
        same = b"Content-Type: multipart/mixed; boundary=s\r\n\r\n--s\r\n" * 10_000
        client = self.imap()
        for data in (multiparts, messages, many, same):
            began = time.monotonic()
            self.assertTrue(client.append("INBOX", head + data).startswith(b"OK"))
            self.assertLess(time.monotonic() - began, 5)
        client.ok("SELECT INBOX")
        began = time.monotonic()
        got = fetched(client.ok("FETCH 1:* (ENVELOPE BODYSTRUCTURE BODY RFC822.SIZE BODY.PEEK[1.1.1.MIME])"))
        self.assertEqual(len(got), 4)
        client.ok('SEARCH BODY "nothing such"')
        self.assertLess(time.monotonic() - began, 5)

    def test_headers_that_explode(self):
        client = self.imap()
        for data in (
            b"To: " + b"a@b.example, " * 100_000 + b"\r\n\r\n",
            b"To: " + b"(" * 200_000 + b"\r\n\r\n",
            b"To: " + b"g:" * 100_000 + b";\r\n\r\n",
            b"Subject: " + b"=?utf-8?Q?x?= " * 100_000 + b"\r\n\r\n",
            b"Subject: x\r\n" * 100_000 + b"\r\n",
            b"X:" + b"\r\n " * 300_000 + b"\r\n\r\n",
            b"Content-Type: text/plain" + b"; a=b" * 100_000 + b"\r\n\r\n",
            b'Content-Type: text/plain; name="' + b"\\" * 500_000 + b'"\r\n\r\n',
            b"From: " + b"<" * 100_000 + b"\r\n\r\n",
            b"References: " + b"<a@b> " * 100_000 + b"\r\n\r\n",
            b"A" * 1_000_000 + b":\r\n\r\n",
            b"a" * 3_000_000,
        ):
            began = time.monotonic()
            self.assertTrue(client.append("INBOX", data).startswith(b"OK"))
            self.assertLess(time.monotonic() - began, 5, data[:40])
        client.ok("SELECT INBOX")
        began = time.monotonic()
        self.assertEqual(
            len(fetched(client.ok("FETCH 1:* (ENVELOPE BODYSTRUCTURE BODY.PEEK[HEADER.FIELDS (To)])"))), 12
        )
        client.ok("SEARCH SUBJECT nothing TO nobody")
        self.assertLess(time.monotonic() - began, 10)

    # Lines

    def test_a_line_without_end(self):
        chunk = b"x" * (1 << 20)
        for service in PLAIN + IMPLICIT:
            answer = self.hostile(service, [chunk] * 100)
            # Whatever was said, it was short, and the connection did not swallow all of it silently.
            self.assertLess(len(answer), 10_000, service)
        client = self.imap()
        self.refused(client, b"SELECT " + b"x" * 1_000_000)
        smtp = Smtp(self.server, user="bob")
        for command in ("MAIL FROM:<" + "x" * 100_000 + ">", "NOOP " + "x" * 10_000):
            try:
                self.assertGreaterEqual(smtp.command(command)[0], 500)
            except (Closed, OSError):
                smtp = Smtp(self.server, user="bob")

    def test_a_message_that_is_one_line(self):
        smtp = Smtp(self.server, user="bob")
        smtp.expect(f"MAIL FROM:<{BOB}>", 250)
        smtp.expect(f"RCPT TO:<{ALICE}>", 250)
        smtp.expect("DATA", 354)
        smtp.send(message(1)[:-2] + b"y" * 5_000_000 + b"\r\n.\r\n")
        self.assertIn(smtp.reply()[0], (250, 500, 550, 552, 554))

    def test_nul_and_control_bytes(self):
        for service in PLAIN:
            for data in (
                b"\0" * 100 + b"\r\n",
                b"a NO\0OP\r\n",
                b"USER a\0b\r\n",
                b"EHLO a\0b\r\n",
                b"\r\n" * 100,
                b"\x01\x02\x7f\xff\r\n",
                b"\n\n\n",
            ):
                self.hostile_ends(service, data)
        client = self.imap()
        self.refused(client, b"SELECT IN\0BOX")
        self.refused(client, b'CREATE "a\0b"')
        self.refused(client, b'CREATE "a\rb"')

    def hostile_ends(self, service, data):
        line = Line(self.server, service, timeout=5)
        line.send(data)
        line.socket.shutdown(socket.SHUT_WR)
        # Some are commands, and others nothing at all: only that it ends, and no bug (harness).
        line.rest()
        line.close()

    def test_bare_line_feeds_in_commands(self):
        # Either taken as line ends or refused, but never answered twice for one command.
        smtp = Line(self.server, "submission")
        smtp.send(b"EHLO x.test\nNOOP\nQUIT\n\r\nQUIT\r\n")
        answer = smtp.rest()
        self.assertRegex(answer, rb"(?m)^(250|5\d\d|221)")

    # Smuggling

    def test_smuggling_ends_of_data(self):
        for end in (
            b"\n.\n",
            b"\n.\r\n",
            b"\r\n.\n",
            b"\r.\r",
            b"\r\n.\r",
            b"\r.\r\n",
            b"\n\n.\r\n",
            b"\r\n.\0\r\n",
            b"\r\n\0.\r\n",
            b"\r\n.\r\r\n",
            b"\r\n . \r\n",
        ):
            self.server.empty("alice")
            smtp = Smtp(self.server, user="bob")
            smtp.expect(f"MAIL FROM:<{BOB}>", 250)
            smtp.expect(f"RCPT TO:<{ALICE}>", 250)
            smtp.expect("DATA", 354)
            inner = b"MAIL FROM:<%s>\r\nRCPT TO:<%s>\r\nDATA\r\n%s" % (
                BOB.encode(),
                ALICE.encode(),
                message(2, subject="Smuggled"),
            )
            smtp.send(message(1, subject="Outer") + b"text" + end + inner + b"\r\n.\r\nQUIT\r\n")
            replies = [line[:3] for line in smtp.rest().split(b"\r\n") if line]
            smtp.close()
            self.assertIn(
                replies[:1],
                ([b"250"], [b"500"], [b"550"], [b"552"], [b"554"], [b"521"], [b"421"]),
                (end, replies),
            )
            self.assertIn(replies[1:], ([b"221"], []), (end, replies))
            got = self.server.bodies("alice")
            self.assertLessEqual(len(got), 1, end)
            for data in got:
                self.assertIn(b"Outer", data.split(b"\r\n\r\n")[0], end)

    def test_bytes_behind_starttls_are_dropped(self):
        injected = {
            "imap": (b"a STARTTLS\r\nb CAPABILITY\r\n", b"a OK", b"c NOOP\r\n", b"c OK"),
            "pop3": (b"STLS\r\nCAPA\r\n", b"+OK", b"NOOP\r\n", b"-ERR"),
            "submission": (b"STARTTLS\r\nNOOP\r\n", b"220", b"HELO x.test\r\n", b"250"),
        }
        for service, (data, answer, command, expected) in injected.items():
            line = Line(self.server, service)
            if service == "submission":
                line.send(b"EHLO x.test\r\n")
                while line.line()[3:4] == b"-":
                    pass
            line.send(data)
            self.assertTrue(line.line().startswith(answer), service)
            line.buffer = b""
            try:
                line.start_tls()
            except OSError:
                # The server may refuse to go on with such a client instead.
                continue
            line.send(command)
            self.assertTrue((got := line.line()).startswith(expected), (service, got))

    # Garbage

    def test_garbage_on_every_port(self):
        for service in PLAIN + IMPLICIT:
            for size in (1, 100, 10_000, 300_000):
                for tls in (False, None):
                    data = self.rng.randbytes(size) + b"\r\n"
                    self.hostile_quick(service, data, tls)

    def hostile_quick(self, service, data, tls):
        try:
            line = Line(self.server, service, tls=tls, timeout=5, greeting=False)
            line.send(data)
            line.socket.settimeout(0.2)
            line.rest(1 << 16)
            line.close()
        except OSError:
            pass

    def test_tls_hello_on_plain_ports_and_text_on_tls_ports(self):
        for service in PLAIN:
            with self.assertRaises(OSError):
                Line(self.server, service, tls=True, timeout=5)
        for service in IMPLICIT:
            self.hostile_quick(service, b"EHLO x.test\r\na NOOP\r\n", False)
            self.hostile_quick(service, b"\x16\x03\x01\xff\xff" + b"\x01" * 70_000, False)
            self.hostile_quick(service, b"\x16\x03\x01\x00\x05\x01\xff\xff\xff\xff", False)

    def test_seeded_garbage_commands(self):
        words = [
            b"FETCH",
            b"1:*",
            b"BODY[",
            b"]",
            b"(",
            b")",
            b"{3}",
            b"{3+}\r\nabc",
            b'"',
            b"\\",
            b"<0.1>",
            b"UID",
            b"STORE",
            b"+FLAGS",
            b"SEARCH",
            b"OR",
            b"NOT",
            b"CHARSET",
            b"LIST",
            b"%",
            b"*",
            b"SELECT",
            b"INBOX",
            b"APPEND",
            b"\xff",
            b"&",
            b"&-",
            b"NIL",
            b"4294967295",
            b"HEADER.FIELDS",
            b"ENABLE",
            b"ID",
            b"COPY",
            b"~{2}",
        ]
        for _ in range(40):
            client = self.imap()
            lines = []
            for n in range(60):
                pieces = [self.rng.choice(words) for _ in range(self.rng.randint(1, 9))]
                lines.append(b"g%d " % n + self.rng.choice((b" ", b"")).join(pieces) + b"\r\n")
            try:
                client.send(b"".join(lines))
                client.socket.settimeout(0.3)
                client.rest(4 << 20)
            except OSError:
                pass
            client.close()

    # Sizes

    def test_arguments_without_measure(self):
        client = self.imap()
        client.append("INBOX", message(1))
        client.ok("SELECT INBOX")
        client.ok("UID FETCH 1:4294967295 (FLAGS)")
        client.ok("UID FETCH " + ",".join(["1:*"] * 1000) + " (FLAGS)")
        self.assertRegex(
            client.command("STORE 1 +FLAGS (" + " ".join(f"k{n}" for n in range(500)) + ")")[1],
            rb"^(NO|BAD|OK)",
        )
        for command in (
            "CREATE " + "/".join(["d"] * 3000),
            "CREATE " + "x" * 5000,
            "FETCH 4294967296 FLAGS",
            "STORE 1 +FLAGS (" + "k" * 5000 + ")",
            "SEARCH LARGER 99999999999999999999",
            "SEARCH BEFORE 99-Jan-2026",
        ):
            self.refused(client, command.encode())
        for pattern in ("*" * 2000, "%" * 2000, "*a" * 500, "%/" * 500):
            began = time.monotonic()
            try:
                client.command(f'LIST "" "{pattern}"')
            except Closed:
                client = self.imap()
            self.assertLess(time.monotonic() - began, 2, pattern[:4])
        client.ok("NOOP")

    def test_too_many_recipients(self):
        smtp = Smtp(self.server, user="bob")
        smtp.expect(f"MAIL FROM:<{BOB}>", 250)
        taken = 0
        while (code := smtp.command(f"RCPT TO:<{ALICE}>")[0]) == 250 and taken < 2000:
            taken += 1
        self.assertEqual(code, 452)
        # RFC 5321, 4.5.3.1.8: at least 100.
        self.assertGreaterEqual(taken, 100)

    def test_odd_bdat(self):
        for command in (
            "BDAT",
            "BDAT -1",
            "BDAT x LAST",
            "BDAT 5 FIRST\r\n12345",
        ):
            smtp = Smtp(self.server, user="bob")
            smtp.expect(f"MAIL FROM:<{BOB}>", 250)
            smtp.expect(f"RCPT TO:<{ALICE}>", 250)
            try:
                self.assertGreaterEqual(smtp.command(command)[0], 500, command)
            except Closed:
                pass
        smtp = Smtp(self.server, user="bob")
        smtp.send(b"BDAT 10 LAST\r\n0123456789NOOP\r\n")
        self.assertEqual(smtp.reply()[0], 503)
        self.assertEqual(smtp.reply()[0], 250)

    def test_sasl_answers_without_measure(self):
        for service, start in (
            ("imaps", b"a AUTHENTICATE PLAIN\r\n"),
            ("submissions", b"EHLO x\r\nAUTH PLAIN\r\n"),
            ("pop3s", b"AUTH PLAIN\r\n"),
        ):
            answer = self.hostile(service, [start, b"QUFB" * 100_000 + b"\r\n"])
            self.assertRegex(answer, rb"(?m)^(a (NO|BAD)|\* BYE|5\d\d|-ERR)", service)


if __name__ == "__main__":
    harness.main()
