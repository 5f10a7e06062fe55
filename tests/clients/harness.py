"""What every client test stands on: it starts the built server on free loopback ports in a
directory of its own, waits until it serves, reads its log and memory, stops or kills it,
and runs the tests of a file with one readable line each.

    python3 tests/clients/NAME.py [TEST...]

PILLARBOX_BIN names the binary; else the release build of this checkout, else the debug one.
PILLARBOX_TARGET=dovecot runs the same IMAP and POP3 tests against Debian's Dovecot, to
tell a wrong test from a wrong server.
"""

import glob
import imaplib
import os
import random
import re
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import time
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
MESSAGES = os.path.join(ROOT, "tests", "messages")
PASSWORD = "correct horse 7"
USERS = ("alice", "bob", "carol")
DOMAIN = "demo.test"
PORTS = {"imap": 143, "imaps": 993, "pop3": 110, "pop3s": 995, "submission": 587, "submissions": 465}
READY_SECONDS = 30
LOG_TAIL = 25
# How a panic begins in the log (src/cli/logger.rs); its text is for debug alone.
BUG = "bug at "


def binary():
    """The server under test."""
    named = os.environ.get("PILLARBOX_BIN")
    if named:
        return named
    target = os.environ.get("CARGO_TARGET_DIR", os.path.join(ROOT, "target"))
    for profile in ("release", "debug"):
        path = os.path.join(target, profile, "pillarbox")
        if os.path.exists(path):
            return path
    raise SystemExit("no pillarbox binary: run `cargo build --release` first")


def corpus(demo=True):
    """The messages of tests/messages as (name, bytes), the demo's included unless told."""
    files = sorted(glob.glob(os.path.join(MESSAGES, "*.eml")))
    if demo:
        files += sorted(glob.glob(os.path.join(MESSAGES, "demo", "*.eml")))
    result = []
    for path in files:
        with open(path, "rb") as f:
            result.append((os.path.relpath(path, MESSAGES)[:-4], f.read()))
    return result


def message(n, sender="bob", recipient="alice", body=None, subject=None):
    """A small well-formed message number `n`, CRLF line ends."""
    body = body if body is not None else f"This is message {n}.\r\n"
    subject = subject or f"Message {n}"
    return (
        f"From: {sender}@{DOMAIN}\r\nTo: {recipient}@{DOMAIN}\r\nSubject: {subject}\r\n"
        f"Date: Mon, 2 Feb 2026 10:{n // 60 % 60:02}:{n % 60:02} +0000\r\n"
        f"Message-ID: <n{n}.{sender}@{DOMAIN}>\r\n\r\n{body}"
    ).encode()


def free_port_base():
    """An N with every port N+110 to N+995 free on loopback, below the ephemeral range."""
    for _ in range(200):
        base = random.randrange(10, 31) * 1000
        sockets = []
        try:
            for offset in (24, 25, 80, 443, *PORTS.values()):
                s = socket.socket()
                s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                sockets.append(s)
                s.bind(("127.0.0.1", base + offset))
            return base
        except OSError:
            continue
        finally:
            for s in sockets:
                s.close()
    raise SystemExit("no free range of ports on loopback")


def wait_for(what, seconds=10, every=0.02, message="waited in vain"):
    """Calls `what` until it is true; its value, or an AssertionError after `seconds`."""
    end = time.monotonic() + seconds
    while True:
        value = what()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f"{message} ({seconds} s)")
        time.sleep(every)


class Server:
    """`pillarbox demo` in `directory`; `start` may be called again after `kill` or `stop`."""

    # What it prints when all is ready.
    announces = "pillarbox is serving a demo"

    def __init__(self, directory=None, password=PASSWORD, base=None, options=()):
        self.options = options
        self.owned = directory is None
        self.directory = directory or tempfile.mkdtemp(prefix="pillarbox-")
        # Kept outside the store, so that a full disk can't eat the evidence.
        self.log = tempfile.NamedTemporaryFile(prefix="pillarbox-log-", delete=False).name
        self.password = password
        self.base = base or free_port_base()
        self.process = None
        self.environment = {}
        self.peak = 0

    @property
    def ca(self):
        return os.path.join(self.directory, "ca.pem")

    def port(self, service):
        return self.base + PORTS[service]

    def command(self):
        return [
            binary(),
            "demo",
            "--dir",
            self.directory,
            "--port-base",
            str(self.base),
            "--password",
            self.password,
            *self.options,
        ]

    def start(self):
        """Starts and waits until IMAP and submission greet."""
        began = len(self.log_text())
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(
                self.command(),
                env={**os.environ, **self.environment},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self.wait_ready()
        if self.announces:
            # Printed when the accounts and their mail are there.
            announced = lambda: self.announces in self.log_text()[began:] or not self.alive()
            wait_for(announced, READY_SECONDS, message="no announcement")
        return self

    def wait_ready(self):
        for service in ("imap", "pop3", "submission", "imaps"):
            wait_for(lambda: self.greets(service), READY_SECONDS, message=f"{service} does not greet")

    def alive(self):
        """True, or an AssertionError."""
        if self.process.poll() is not None:
            raise AssertionError(f"the server ended with {self.process.returncode}\n{self.log_tail()}")
        return True

    def greets(self, service):
        self.alive()
        try:
            with socket.create_connection(("127.0.0.1", self.port(service)), 5) as s:
                s.settimeout(5)
                if service.endswith("s") and service != "pop3":
                    return True
                return s.recv(200)[:1] in (b"*", b"+", b"2")
        except OSError:
            return False

    def greeting(self, service):
        """What a service without implicit TLS says first."""
        with socket.create_connection(("127.0.0.1", self.port(service)), 5) as s:
            s.settimeout(5)
            return s.recv(1000).decode()

    def tls(self):
        """A client's TLS context that trusts the server's CA alone."""
        return ssl.create_default_context(cafile=self.ca)

    def memory_peak(self):
        """The highest resident memory so far, bytes (VmHWM of this process)."""
        try:
            with open(f"/proc/{self.process.pid}/status") as f:
                found = re.search(r"VmHWM:\s+(\d+) kB", f.read())
            self.peak = max(self.peak, int(found.group(1)) * 1024) if found else self.peak
        except OSError:
            pass
        return self.peak

    def reset_memory_peak(self):
        """Sets VmHWM to what is resident now (proc(5), clear_refs 5)."""
        self.peak = 0
        with open(f"/proc/{self.process.pid}/clear_refs", "w") as f:
            f.write("5")

    def kill(self):
        """kill -9, as a power cut of the process."""
        self.memory_peak()
        self.process.kill()
        self.process.wait()

    def stop(self):
        """SIGTERM; AssertionError if that doesn't end it within 15 s with status 0."""
        if self.process and self.process.poll() is None:
            self.memory_peak()
            self.process.send_signal(signal.SIGTERM)
            try:
                status = self.process.wait(15)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
                raise AssertionError("SIGTERM did not end the server within 15 s")
            if status not in (0, -signal.SIGTERM):
                raise AssertionError(f"SIGTERM ended the server with status {status}")
        self.no_bugs()

    def no_bugs(self):
        """AssertionError if a session or thread has panicked: the log says so in these words."""
        found = [line for line in self.log_text().splitlines() if BUG in line]
        if found:
            raise AssertionError("the server's log tells of a bug:\n" + "\n".join(found[:5]))

    def log_text(self):
        with open(self.log, errors="replace") as f:
            return f.read()

    def log_tail(self, lines=LOG_TAIL):
        return "\n".join(self.log_text().splitlines()[-lines:])

    def remove(self):
        if self.owned:
            shutil.rmtree(self.directory, ignore_errors=True)
        os.unlink(self.log)

    def imap(self, user="alice"):
        """A logged-in imaplib connection over implicit TLS."""
        client = imaplib.IMAP4_SSL("localhost", self.port("imaps"), ssl_context=self.tls(), timeout=60)
        client.login(user, self.password)
        return client

    def empty(self, user="alice", mailbox="INBOX"):
        """Removes every message of a mailbox."""
        client = self.imap(user)
        status, count = client.select(mailbox)
        if status == "OK" and count != [b"0"]:
            client.store("1:*", "+FLAGS.SILENT", "\\Deleted")
            client.expunge()
        client.logout()

    def append(self, user, mailbox, messages):
        """APPENDs messages (bytes), or (flags, bytes)."""
        client = self.imap(user)
        for it in messages:
            flags, data = it if isinstance(it, tuple) else (None, it)
            status, answer = client.append(mailbox, flags, None, data)
            assert status == "OK", answer
        client.logout()

    def cli(self, *words):
        """What `pillarbox WORDS` prints; AssertionError with what it says if it fails."""
        done = subprocess.run(
            [binary(), *words, "--dir", self.directory], capture_output=True, text=True, timeout=60
        )
        if done.returncode != 0:
            raise AssertionError(done.stderr)
        return done.stdout

    def bodies(self, user="alice", mailbox="INBOX"):
        """Every message of a mailbox as bytes, in order."""
        client = self.imap(user)
        status, count = client.select(mailbox, readonly=True)
        assert status == "OK", count
        found = []
        if count != [b"0"]:
            _, answer = client.fetch("1:*", "(BODY.PEEK[])")
            found = [part[1] for part in answer if isinstance(part, tuple)]
        client.logout()
        return found


def new_server(**options):
    """The server under test, or its stand-in, started."""
    if os.environ.get("PILLARBOX_TARGET") == "dovecot":
        from oracle import Dovecot

        return Dovecot(**options).start()
    return Server(**options).start()


class ServerCase(unittest.TestCase):
    """Tests that share one demo server; it must survive them without a bug in its log."""

    # Of `pillarbox demo`.
    options = ()

    @classmethod
    def setUpClass(cls):
        cls.work = tempfile.mkdtemp(prefix="client-")
        cls.server = new_server(options=cls.options)

    @classmethod
    def tearDownClass(cls):
        try:
            cls.server.stop()
        finally:
            cls.server.remove()
            shutil.rmtree(cls.work, ignore_errors=True)

    def file(self, name, text, mode=0o600):
        """A file for a client in this class's work directory."""
        path = os.path.join(self.work, name)
        with open(path, "w") as f:
            f.write(text)
        os.chmod(path, mode)
        return path

    def run_client(self, *command, status=(0,), timeout=120, stdin=None, env=None, text=True):
        """Runs a client to its end; fails with its output unless it ends with one of `status`."""
        done = subprocess.run(
            [str(word) for word in command],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            input=stdin,
            stdin=subprocess.DEVNULL if stdin is None else None,
            timeout=timeout,
            env={**os.environ, "HOME": self.work, "LC_ALL": "C.UTF-8", **(env or {})},
            text=text,
            errors="replace" if text else None,
        )
        if status is not None and done.returncode not in status:
            self.fail(f"{command[0]} ended with {done.returncode}:\n{done.stdout[-4000:]}")
        return done


class Report(unittest.TestResult):
    """A line a test; the server's log tail under a failure."""

    def startTest(self, test):
        super().startTest(test)
        self.began = time.monotonic()
        server = getattr(type(test), "server", None)
        self.logged = len(server.log_text()) if server else 0

    def line(self, word, test):
        name = test.id().split(".", 1)[-1]
        print(f"  {word} {name} ({time.monotonic() - self.began:.1f} s)", flush=True)

    def addSuccess(self, test):
        self.line("ok", test)

    def failed(self, test, error):
        if not hasattr(self, "began"):
            self.began = time.monotonic()
            self.logged = 0
        self.line("FAIL", test)
        print(self._exc_info_to_string(error, test), flush=True)
        server = getattr(type(test), "server", None)
        if server:
            fresh = server.log_text()[self.logged :].splitlines()[-LOG_TAIL:] or ["(nothing)"]
            print("  the server's log meanwhile:", *fresh, sep="\n    ", flush=True)

    def addFailure(self, test, error):
        super().addFailure(test, error)
        self.failed(test, error)

    def addError(self, test, error):
        super().addError(test, error)
        self.failed(test, error)

    def addSubTest(self, test, subtest, error):
        super().addSubTest(test, subtest, error)
        if error:
            self.line("FAIL", subtest)
            print(self._exc_info_to_string(error, subtest), flush=True)

    def addSkip(self, test, reason):
        # A skipped test proves nothing: it counts as failed, so that none is skipped unseen.
        super().addSkip(test, reason)
        self.failures.append((test, reason))
        self.line(f"FAIL (skipped: {reason})", test)


def main():
    """Runs the tests of the calling file; tells tests/run the counts by PILLARBOX_TOTALS."""
    module = sys.modules["__main__"]
    loader = unittest.TestLoader()
    suite = loader.loadTestsFromModule(module)
    if sys.argv[1:]:
        chosen = [t for group in suite for t in group if t.id().split(".")[-1] in sys.argv[1:]]
        suite = unittest.TestSuite(chosen)
    report = Report()
    suite.run(report)
    bad = len(report.failures) + len(report.errors)
    good = max(0, report.testsRun - bad)
    totals = os.environ.get("PILLARBOX_TOTALS")
    if totals:
        with open(totals, "a") as f:
            f.write(f"{good} {bad}\n")
    else:
        print(f"{good} passed, {bad} failed")
    sys.exit(1 if bad or report.testsRun == 0 else 0)
