"""Slow, silent, greedy and very many clients: bounded memory, and others get in."""

import socket
import time

import harness
from harness import message, wait_for
from hostile import IMPLICIT, PLAIN, Hostile
from wire import Closed, Imap, Line, Pop, Smtp


class Patience(Hostile):
    def test_flood_of_pipelined_commands_that_is_never_read(self):
        client = self.imap()
        client.append("INBOX", message(1, body="z" * 1_000_000))
        client.ok("SELECT INBOX")
        client.socket.settimeout(2)
        try:
            for _ in range(2_000):
                client.send(b"f FETCH 1 (BODY.PEEK[])\r\n" * 50)
        except OSError:
            pass
        time.sleep(1)
        client.close()

    def test_slow_and_silent_clients(self):
        slow = [Line(self.server, service, timeout=10) for service in PLAIN for _ in range(40)]
        half = []
        for service in IMPLICIT:
            for _ in range(40):
                half.append(socket.create_connection(("127.0.0.1", self.server.port(service)), 5))
                half[-1].send(b"\x16\x03\x01")
        for n in range(25):
            for line in slow:
                try:
                    line.send(b"NOOP but ever so slowly"[n % 23 : n % 23 + 1])
                except OSError:
                    pass
            time.sleep(0.05)
        # Others still get in.
        Imap(self.server, user="alice").close()
        Smtp(self.server, user="bob").close()
        for line in slow + half:
            line.close()

    def test_thousands_of_connections(self):
        held, refused = [], 0
        for n in range(3_000):
            try:
                s = socket.create_connection(("127.0.0.1", self.server.port((PLAIN + IMPLICIT)[n % 6])), 2)
                held.append(s)
            except OSError:
                refused += 1
        print(f"    {len(held)} connected, {refused} refused, peak {self.server.memory_peak() / 1e6:.0f} MB")
        time.sleep(0.5)
        for s in held:
            s.close()
        wait_for(self.lets_in, 10, every=0.2, message="nobody gets in after the flood")

    def lets_in(self):
        try:
            Imap(self.server, user="alice").close()
            Pop(self.server, user="alice").close()
            return True
        except (OSError, Closed, AssertionError):
            return False

    def test_connections_that_come_and_go(self):
        for n in range(2_000):
            try:
                s = socket.create_connection(("127.0.0.1", self.server.port((PLAIN + IMPLICIT)[n % 6])), 2)
                if n % 3 == 0:
                    s.send(b"a LOGOUT\r\n")
                s.close()
            except OSError:
                time.sleep(0.05)
        wait_for(self.lets_in, 10, every=0.2)


if __name__ == "__main__":
    harness.main()
