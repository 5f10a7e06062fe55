"""The other side for outgoing mail, on loopback: Debian's Postfix that takes mail for any
domain into one Maildir, and a server that misbehaves as it is told."""

import os
import re
import shutil
import socket
import socketserver
import subprocess
import tempfile
import threading
import time

from harness import wait_for

MAIN = """\
compatibility_level = 3.6
queue_directory = {dir}/queue
data_directory = {dir}/data
command_directory = /usr/sbin
daemon_directory = /usr/lib/postfix/sbin
mail_owner = postfix
setgid_group = postdrop
maillog_file = {dir}/postfix.log
maillog_file_prefixes = {dir}
alternate_config_directories = {dir}/etc
syslog_name = pillarbox-peer
inet_interfaces = loopback-only
inet_protocols = ipv4
myhostname = peer.remote.test
mydestination =
mynetworks = 127.0.0.0/8
alias_maps =
alias_database =
virtual_mailbox_domains = static:all
virtual_mailbox_maps = static:box/
virtual_mailbox_base = {dir}/mail
virtual_uid_maps = static:8
virtual_gid_maps = static:8
virtual_minimum_uid = 1
virtual_mailbox_limit = 0
message_size_limit = 104857600
mailbox_size_limit = 0
smtpd_client_connection_count_limit = 0
"""

MASTER = """\
127.0.0.1:{port} inet n - n - - smtpd
pickup    unix  n - n 60 1 pickup
cleanup   unix  n - n - 0 cleanup
qmgr      unix  n - n 300 1 qmgr
tlsmgr    unix  - - n 1000? 1 tlsmgr
rewrite   unix  - - n - - trivial-rewrite
bounce    unix  - - n - 0 bounce
defer     unix  - - n - 0 bounce
trace     unix  - - n - 0 bounce
verify    unix  - - n - 1 verify
flush     unix  n - n 1000? 0 flush
proxymap  unix  - - n - - proxymap
virtual   unix  - n n - - virtual
error     unix  - - n - - error
retry     unix  - - n - - error
anvil     unix  - - n - 1 anvil
postlog   unix-dgram n - n - 1 postlogd
"""


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Postfix:
    """Takes mail for every address; `delivered` reads what came."""

    def __init__(self):
        self.directory = tempfile.mkdtemp(prefix="postfix-")
        os.chmod(self.directory, 0o755)
        self.port = free_port()
        for name in ("queue", "data", "etc", "mail"):
            os.makedirs(os.path.join(self.directory, name))
        shutil.chown(os.path.join(self.directory, "data"), "postfix")
        shutil.chown(os.path.join(self.directory, "mail"), "mail", "mail")
        for name, text in (("main.cf", MAIN), ("master.cf", MASTER)):
            with open(os.path.join(self.directory, "etc", name), "w") as f:
                f.write(text.format(dir=self.directory, port=self.port))

    def run(self, *words):
        command = ["postfix", "-c", os.path.join(self.directory, "etc"), *words]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, (words, done.stdout, done.stderr)

    def start(self):
        self.run("check")
        self.run("start")
        wait_for(self.greets, 20, message="Postfix does not greet")
        return self

    def greets(self):
        try:
            with socket.create_connection(("127.0.0.1", self.port), 5) as s:
                return s.recv(100).startswith(b"220")
        except OSError:
            return False

    def paths(self):
        box = os.path.join(self.directory, "mail", "box", "new")
        return [os.path.join(box, name) for name in os.listdir(box)] if os.path.isdir(box) else []

    def delivered(self):
        """Every message as bytes."""
        found = []
        for path in self.paths():
            with open(path, "rb") as f:
                found.append(f.read())
        return found

    def heads(self, most=4096):
        """The start of every message."""
        found = []
        for path in self.paths():
            with open(path, "rb") as f:
                found.append(f.read(most))
        return found

    def connections(self):
        """The connection by which each message came, by Postfix's number for the message."""
        with open(os.path.join(self.directory, "postfix.log")) as f:
            log = f.read()
        current, found = {}, {}
        for process, what in re.findall(r"(?m)/smtpd\[(\d+)\]: (connect from|\w+: client=)", log):
            if what == "connect from":
                current[process] = current.get(process, 0) + 1
            else:
                found[what.split(":")[0]] = (process, current.get(process))
        return found

    def is_empty(self):
        """Whether all that it has taken is delivered."""
        queue = os.path.join(self.directory, "queue")
        folders = ("maildrop", "incoming", "active", "deferred", "hold")
        return not any(files for it in folders for _, _, files in os.walk(os.path.join(queue, it)))

    def stop(self):
        try:
            self.run("stop")
        finally:
            shutil.rmtree(self.directory, ignore_errors=True)


class Faulty(socketserver.ThreadingTCPServer):
    """An SMTP server with DSN that does as a recipient's name says: `no` is refused with 550,
    `busy` put off for ever, `twice` put off two times; `lost` hangs up after the final dot,
    the first time; and all that `fault` says of the connection: ("stall", VERB),
    ("garbage", VERB), ("close", VERB)."""

    allow_reuse_address = True
    daemon_threads = True

    def __init__(self, extensions=("PIPELINING", "8BITMIME", "SMTPUTF8")):
        super().__init__(("127.0.0.1", 0), Talk)
        self.port = self.server_address[1]
        self.extensions = extensions
        self.fault = None
        self.tries = {}
        # (sender line, recipient lines, message), one for each message taken.
        self.taken = []
        self.connections = 0
        self.mutex = threading.Lock()
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def stop(self):
        self.shutdown()
        self.server_close()

    def handle_error(self, request, client_address):
        """A client that goes away is what some tests are about."""


class Talk(socketserver.StreamRequestHandler):
    def say(self, *lines):
        for n, line in enumerate(lines):
            mark = "-" if n + 1 < len(lines) else " "
            self.wfile.write((line[:3] + mark + line[4:] + "\r\n").encode())

    def faulty(self, verb):
        """Whether the connection is to end here."""
        kind, at = self.server.fault or (None, None)
        if at != verb:
            return False
        if kind == "stall":
            time.sleep(3600)
        if kind == "garbage":
            self.wfile.write(b"\xff\x00 what? \r\r\n" * 20)
        return kind in ("close", "stall", "garbage")

    def verdict(self, line):
        local = line.split("<", 1)[1].split("@", 1)[0]
        with self.server.mutex:
            tries = self.server.tries[local] = self.server.tries.get(local, 0) + 1
        if local.startswith("no"):
            return "550 5.1.1 there is no such user"
        if local.startswith("busy") or (local.startswith("twice") and tries <= 2):
            return "450 4.2.1 the mailbox is busy"
        return "250 2.1.5 fine"

    def handle(self):
        with self.server.mutex:
            self.server.connections += 1
        if self.faulty("CONNECT"):
            return
        self.say("220 faulty.remote.test ESMTP")
        sender, recipients, chunks = None, [], b""
        while True:
            line = self.rfile.readline(4096).decode(errors="replace").rstrip("\r\n")
            verb = line.split(" ", 1)[0].upper()
            if not line or self.faulty(verb):
                return
            if verb == "EHLO":
                self.say("250 faulty.remote.test", *[f"250 {it}" for it in self.server.extensions])
            elif verb == "MAIL":
                sender, recipients = line, []
                self.say("250 2.1.0 fine")
            elif verb == "RCPT":
                said = self.verdict(line)
                if said.startswith("250"):
                    recipients.append(line)
                self.say(said)
            elif verb == "DATA" and not recipients:
                self.say("554 5.5.1 for whom?")
            elif verb == "DATA":
                self.say("354 go on")
                message = b""
                while not message.endswith(b"\r\n.\r\n"):
                    message += self.rfile.readline(65536)
                with self.server.mutex:
                    self.server.taken.append((sender, recipients, message[:-3]))
                    lost = any("<lost" in it for it in recipients) and "lost" not in self.server.tries.get("said", ())
                    if lost:
                        self.server.tries["said"] = ("lost",)
                if lost or self.faulty("DOT"):
                    return
                self.say("250 2.0.0 taken")
            elif verb == "BDAT":
                # RFC 3030: so many bytes, whatever they are.
                words = line.split()
                chunks = chunks + self.rfile.read(int(words[1]))
                if words[2:] == ["LAST"]:
                    with self.server.mutex:
                        self.server.taken.append((sender, recipients, chunks))
                    chunks = b""
                self.say("250 2.0.0 taken")
            elif verb == "QUIT":
                self.say("221 2.0.0 bye")
                return
            else:
                self.say("250 2.0.0 fine")


class Slow(socketserver.ThreadingTCPServer):
    """An SMTP server that counts what it takes, by subject, and keeps none of it. Of a message
    over 1 MiB it reads that much, then nothing until `go` is set."""

    allow_reuse_address = True
    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), SlowTalk)
        self.port = self.server_address[1]
        self.go = threading.Event()
        self.mutex = threading.Lock()
        # Subject: times.
        self.taken = {}
        # Bytes of the large ones.
        self.sizes = []
        # Large messages of which it has read the beginning alone.
        self.stalled = 0
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def stop(self):
        self.go.set()
        self.shutdown()
        self.server_close()

    def handle_error(self, request, client_address):
        """A client that goes away is told by what is missing."""


class SlowTalk(socketserver.StreamRequestHandler):
    # Small, so that what is not read waits in the client.
    rbufsize = 64 << 10

    def setup(self):
        self.request.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 64 << 10)
        super().setup()

    def say(self, line):
        self.wfile.write((line + "\r\n").encode())

    def handle(self):
        self.say("220 slow.remote.test ESMTP")
        while True:
            line = self.rfile.readline(4096)
            verb = line[:4].upper()
            if not line or verb == b"QUIT":
                return self.say("221 bye") if line else None
            if verb == b"EHLO":
                self.say("250-slow.remote.test\r\n250-PIPELINING\r\n250 SIZE 100000000")
            elif verb == b"DATA":
                self.say("354 go on")
                self.data()
                self.say("250 2.0.0 taken")
            else:
                self.say("250 fine")

    def data(self):
        subject, size, line, held = b"", 0, b"", False
        while line != b".\r\n":
            line = self.rfile.readline(65536)
            if not line:
                raise ConnectionError("the client has gone")
            size += len(line)
            if line.startswith(b"Subject: ") and not subject:
                subject = line[9:].strip()
            if size > 1 << 20 and not held:
                held = True
                with self.server.mutex:
                    self.server.stalled += 1
                self.server.go.wait()
        with self.server.mutex:
            name = subject.decode()
            self.server.taken[name] = self.server.taken.get(name, 0) + 1
            if held:
                self.server.sizes.append(size)
