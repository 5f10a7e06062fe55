"""The wizard, through a terminal that knows nothing, at 9600 baud: both languages, wrong answers,
back steps, kill -9 and going on; an answer file; and from an empty directory to a first message
that a mail program received."""

import base64
import imaplib
import os
import pty
import re
import select
import signal
import socket
import ssl
import subprocess
import tempfile
import time
import unittest

import harness
from harness import Server, free_port_base, wait_for
from peers import Peer

# Ten bits a byte.
BYTES_PER_SECOND = 9600 / 10
WIDTH = 79
# A person: seconds a key, words read a second (240 a minute), seconds to think of each answer.
KEY, WORDS, THOUGHT = 0.15, 4, 1.0
# The test's delays are so much shorter than a person's.
SCALE = 100
ADMINISTRATOR = "hard to guess at all"
PASSWORD = "correct horse 7"
# Nobody answers there: each look ends at once.
OFFLINE = ["--name-server", "127.0.0.1:1", "--probe", "127.0.0.1:1"]
WAIT = 120


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Console:
    """`pillarbox setup` at the other end of a serial line."""

    # What may come between an answer and the next question: something is wrong, Enter keeps it.
    doubt = {"en": "Enter goes on with it, < changes it: ", "ru": "Enter — оставить, < — изменить: "}

    def __init__(self, directory, *options, language="en"):
        self.language = language
        self.shown = b""
        # What was shown since the last answer.
        self.fresh = b""
        # Seconds that a person would have taken.
        self.person = 0.0
        self.began = time.monotonic()
        self.budget = time.monotonic()
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            os.environ["TERM"] = "dumb"
            words = [harness.binary(), "setup", "--dir", directory, *options]
            os.execv(words[0], words)

    def read(self):
        """What came, no faster than the line."""
        ready, _, _ = select.select([self.fd], [], [], 0.05)
        if not ready:
            return False
        try:
            data = os.read(self.fd, 48)
        except OSError:
            data = b""
        if not data:
            raise EOFError
        self.pace(len(data))
        self.shown += data
        self.fresh += data
        return True

    def pace(self, count):
        self.budget = max(self.budget, time.monotonic()) + count / BYTES_PER_SECOND
        time.sleep(max(0, self.budget - time.monotonic()))

    def until(self, prompts):
        """Reads until the last line is one of `prompts`; says which."""
        end = time.monotonic() + WAIT
        while True:
            text = self.fresh.decode("utf-8", "replace").replace("\r\n", "\n")
            last = text.rsplit("\n", 1)[-1]
            for prompt in prompts:
                if re.fullmatch(prompt, last):
                    return prompt
            if time.monotonic() > end:
                raise AssertionError(f"waited for {prompts} in vain:\n{self.text()[-2000:]}")
            try:
                self.read()
            except EOFError:
                raise AssertionError(f"it ended before {prompts}:\n{self.text()[-2000:]}")

    def type(self, answer):
        """As a person does: reads, thinks, types."""
        read = len(self.fresh.decode("utf-8", "replace").split()) / WORDS
        typed = (len(answer) + 1) * KEY
        self.person += read + THOUGHT + typed
        time.sleep((read + THOUGHT + typed) / SCALE)
        self.fresh = b""
        for byte in answer.encode() + b"\n":
            os.write(self.fd, bytes([byte]))
            self.pace(1)

    def answer(self, title, answer):
        """Types an answer at the question of that title; what is only doubted is kept."""
        prompt = re.escape(title) + r"( \[.*\])?: "
        doubt = re.escape(self.doubt[self.language])
        while self.until([prompt, doubt]) == doubt:
            self.type("")
        self.type(answer)

    def at(self, prompt, answer):
        self.until([re.escape(prompt)])
        self.type(answer)

    def end(self):
        """Reads to the end; the exit status."""
        end = time.monotonic() + WAIT
        try:
            while time.monotonic() < end:
                self.read()
        except EOFError:
            pass
        os.close(self.fd)
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])

    def kill(self):
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)
        os.close(self.fd)

    def text(self):
        return self.shown.decode("utf-8").replace("\r\n", "\n")


class Served(Server):
    """`pillarbox serve` on a directory that the wizard sets up, before or after."""

    announces = ""

    def command(self):
        return [
            harness.binary(), "--log", "info", "serve", "--dir", self.directory, "--address", "127.0.0.1",
            "--port-base", str(self.base), *self.options,
        ]

    @property
    def ca(self):
        return os.path.join(self.directory, "tls", "ca.pem")

    def wait_ready(self):
        wait_for(lambda: self.greets("imap"), harness.READY_SECONDS, message="imap does not greet")


ENGLISH = [
    ("Language / Язык", "1"),
    ("Host name", "mail.example.org"),
    ("Mail domain", ""),
    ("Services", ""),
    ("Certificate", ""),
    ("Administrator's password", ADMINISTRATOR),
    ("Once more", ADMINISTRATOR),
    ("First account", "anna"),
    ("Its password", PASSWORD),
    ("Once more", PASSWORD),
    ("Mail to other servers", "3"),
]
REVIEW = {
    "en": "A number changes that answer; yes applies them all: ",
    "ru": "Номер — изменить ответ; да — применить всё: ",
}
FILE = f"""language = "en"
hostname = "mail.example.org"
[administrator]
password = "{ADMINISTRATOR}"
[account]
address = "anna"
password = "{PASSWORD}"
[relay]
mode = "none"
"""


class Setup(unittest.TestCase):
    def setUp(self):
        self.work = tempfile.TemporaryDirectory(prefix="setup-")
        self.addCleanup(self.work.cleanup)
        # As the manual has it: not there yet, but its parent is.
        self.dir = self.path("data")

    def path(self, name):
        return os.path.join(self.work.name, name)

    def cli(self, *words, directory=None, status=0, stdin=""):
        done = subprocess.run(
            [harness.binary(), *words, "--dir", directory or self.dir], input=stdin, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=90,
        )
        self.assertEqual(done.returncode, status, (words, done.stdout))
        return done.stdout

    def settings(self, *words, directory=None):
        done = subprocess.run(
            [harness.binary(), "settings", "--dir", directory or self.dir, *words],
            capture_output=True, text=True, timeout=60,
        )
        self.assertEqual(done.returncode, 0, done.stderr)
        return done.stdout

    def serve(self, directory=None, options=()):
        server = Served(directory or self.dir, base=free_port_base(), options=options)
        server.start()
        self.addCleanup(server.remove)
        self.addCleanup(server.stop)
        return server

    def fits(self, console, typed=None):
        """No line too wide but for what was typed, no escape sequence, no password."""
        text = console.text()
        if typed:
            self.assertIn(typed, text)
            text = text.replace(": " + typed, ": ")
        self.assertNotIn("\x1b", text)
        for line in text.split("\n"):
            self.assertLessEqual(len(line), WIDTH, line)
        for secret in (ADMINISTRATOR, PASSWORD):
            self.assertNotIn(secret, text)

    def kept(self):
        path = os.path.join(self.dir, "setup-answers.toml")
        self.assertEqual(os.stat(path).st_mode & 0o777, 0o600)
        with open(path) as f:
            return f.read()

    def log_in(self, server, password=PASSWORD, user="anna@example.org"):
        context = ssl.create_default_context(cafile=server.ca)
        client = imaplib.IMAP4_SSL("localhost", server.port("imaps"), ssl_context=context, timeout=60)
        client.login(user, password)
        client.logout()

    def same(self, *directories):
        """What the stores of directories have, as far as it is not random, is the same."""
        found = []
        for directory in directories:
            rows = [self.settings("export", directory=directory)]
            for words in (["account", "list"], ["route", "list"], ["domain", "list"], ["dkim", "list"]):
                rows.append(self.cli(*words, directory=directory))
            changes = self.settings("changes", directory=directory).splitlines()
            rows.append([line.split()[1:] for line in changes])
            found.append(rows)
        for other in found[1:]:
            self.assertEqual(found[0], other)
        return found[0]

    def test_from_nothing_to_a_first_message_at_9600_baud(self):
        began = time.monotonic()
        console = Console(self.dir, *OFFLINE)
        for title, answer in ENGLISH:
            console.answer(title, answer)
        console.at(REVIEW["en"], "yes")
        self.assertEqual(console.end(), 0)
        self.fits(console)
        text = console.text()
        for expected in ("example.org. 3600 IN MX 10 mail.example.org.", "v=DKIM1; k=ed25519", "  imap        mail.example.org  993  TLS"):
            self.assertIn(expected, text)
        self.assertFalse(os.path.exists(os.path.join(self.dir, "setup-answers.toml")))
        wizard = time.monotonic() - began
        server = self.serve()
        message = harness.message(1, "anna", "anna", subject="The first").replace(b"demo.test", b"example.org")
        with open(self.path("message"), "wb") as f:
            f.write(message)
        subprocess.run(
            ["curl", "-sS", "--cacert", server.ca, "--user", f"anna:{PASSWORD}", "--mail-from", "anna@example.org",
             "--mail-rcpt", "anna@example.org", "--upload-file", self.path("message"),
             f"smtps://localhost:{server.port('submissions')}"],
            check=True, timeout=60,
        )
        # fetchmail refuses a file that others can read.
        config = self.path("fetchmailrc")
        with open(config, "w") as f:
            f.write(
                f'poll localhost protocol imap port {server.port("imaps")}\n'
                f'  user "anna@example.org" password "{PASSWORD}" ssl sslcertck sslcertfile "{server.ca}"\n'
                f'  keep mda "cat >> {self.path("received")}"\n'
            )
        os.chmod(config, 0o700)
        subprocess.run(
            ["fetchmail", "-s", "-f", config, "-i", self.path("ids"), "--pidfile", self.path("pid"), "--nobounce"],
            check=True, timeout=60, env={**os.environ, "HOME": self.work.name},
        )
        with open(self.path("received")) as f:
            received = f.read()
        # The wizard's welcome came before it.
        self.assertLess(received.index("Subject: Welcome to your mailbox"), received.index("Subject: The first"))
        self.assertIn("Login name: anna@example.org", received)
        real = time.monotonic() - began
        # What the test waited in a person's place, it waited for the fraction.
        whole = real + console.person * (1 - 1 / SCALE)
        print(
            f"    from an empty directory to a message received: {whole:.0f} s with a person's delays"
            f" ({KEY} s a key, {WORDS * 60} words a minute read, {THOUGHT:.0f} s of thought an answer: {console.person:.0f} s);"
            f" {real:.1f} s in this run with 1/{SCALE} of them, {wizard:.1f} s of it the wizard;"
            f" {len(console.shown)} bytes at 9600 baud",
            flush=True,
        )
        self.assertLess(whole, 300)

    def test_wrong_answers_back_steps_and_kill(self):
        console = Console(self.dir, *OFFLINE)
        for title, answer in [
            ("Language / Язык", "three"),
            ("Language / Язык", "1"),
            ("Host name", "mail"),
            ("Host name", "mail.exmaple.org"),
            ("Mail domain", "<"),
            ("Host name", "?"),
            ("Host name", "mail.example.org"),
            ("Mail domain", ""),
            ("Services", "imap ftp"),
            ("Services", "imap pop3 submission smtp"),
            ("Certificate", "2"),
            ("Certificate file", "/nowhere/cert.pem"),
            ("Key file", "/nowhere/key.pem"),
            ("Certificate file", "back"),
            ("Certificate", "local"),
            ("Administrator's password", "short"),
            ("Administrator's password", ADMINISTRATOR),
            ("Once more", "something else"),
            ("Administrator's password", ADMINISTRATOR),
            ("Once more", ADMINISTRATOR),
            ("First account", "guest"),
            ("First account", "anna"),
        ]:
            console.answer(title, answer)
        # In the middle of a password.
        console.until([r"Its password: "])
        console.kill()
        self.fits(console)
        kept = self.kept()
        self.assertIn("anna@example.org", kept)
        self.assertIn("$argon2id$", kept)
        self.assertNotIn(ADMINISTRATOR, kept)
        # Nothing is applied.
        self.assertFalse(os.path.exists(os.path.join(self.dir, "meta.redb")))
        console = Console(self.dir, *OFFLINE)
        for title, answer in ENGLISH[8:]:
            console.answer(title, answer)
        console.until([re.escape(REVIEW["en"])])
        self.assertIn("Answers kept from before: 7.", console.text())
        console.kill()
        # And at the review, which is shown again.
        console = Console(self.dir, *OFFLINE)
        console.at(REVIEW["en"], "4")
        console.answer("Services", "imap submission")
        console.at(REVIEW["en"], "yes")
        self.assertEqual(console.end(), 0)
        self.fits(console)
        self.assertEqual(self.settings("get", "pop3.enabled").strip(), "off")
        self.log_in(self.serve())

    def test_russian_on_a_running_server(self):
        """Over the control socket: all holds at once, the relay's login is tried."""
        login = base64.b64encode(b"\0anna@provider.test\0sesame 99").decode()
        replies = {f"AUTH PLAIN {login}": "235 2.7.0 welcome", "AUTH": "535 5.7.8 no"}
        relay_port = free_port()
        relay = Peer("127.0.0.1", ["AUTH PLAIN"], replies=replies, port=relay_port)
        self.addCleanup(relay.stop)
        server = self.serve()
        self.assertTrue(server.greets("pop3"))
        console = Console(self.dir, *OFFLINE, language="ru")
        for title, answer in [
            ("Language / Язык", "2"),
            ("Имя сервера", "почта"),
            ("Имя сервера", "mail.example.org"),
            ("Почтовый домен", "пример"),
            ("Почтовый домен", "назад"),
            ("Имя сервера", ""),
            ("Почтовый домен", ""),
            ("Службы", "imap submission"),
            ("Сертификат", ""),
            ("Пароль администратора", ADMINISTRATOR),
            ("Ещё раз", ADMINISTRATOR),
            ("Первая учётная запись", "anna"),
            ("Пароль учётной записи", PASSWORD),
            ("Ещё раз", PASSWORD),
            ("Почта на другие серверы", "smarthost"),
            ("Сервер провайдера", "127.0.0.1"),
            ("Его порт", str(relay_port)),
            ("Шифрование", "3"),
            ("Имя для входа туда", "anna@provider.test"),
            ("Пароль для входа туда", "a wrong one"),
        ]:
            console.answer(title, answer)
        console.at(Console.doubt["ru"], "<")
        for title, answer in [
            ("Сервер провайдера", ""),
            ("Его порт", ""),
            ("Шифрование", ""),
            ("Имя для входа туда", ""),
            ("Пароль для входа туда", "sesame 99"),
        ]:
            console.answer(title, answer)
        console.at(REVIEW["ru"], "да")
        self.assertEqual(console.end(), 0)
        self.fits(console)
        text = console.text()
        self.assertIn("Сервер провайдера не согласен: 535 5.7.8 no", text)
        self.assertIn(f"Сервер провайдера согласен: 127.0.0.1:{relay_port}", text)
        self.assertNotIn("Сервер ещё не запущен", text)
        self.assertEqual(relay.taken, [])
        # At once, in the server that ran all the while.
        wait_for(lambda: not self.is_open(server.port("pop3")), message="POP3 stays open")
        self.log_in(server)
        self.assertIn(f"127.0.0.1:{relay_port}", self.cli("route", "list"))
        self.assertIn("signs", self.cli("domain", "list"))
        self.assertEqual(self.settings("get", "server.hostname").strip(), "mail.example.org")
        # Again: it says so, keeps what is not changed, and a new password holds.
        console = Console(self.dir, *OFFLINE, language="ru")
        console.answer("Language / Язык", "")
        console.until([r"Имя сервера \[mail\.example\.org\]: "])
        self.assertIn("Этот сервер уже настроен", console.text())
        for title, answer in [
            ("Имя сервера", ""),
            ("Почтовый домен", ""),
            ("Службы", "all"),
            ("Сертификат", ""),
            ("Пароль администратора", ""),
            ("Первая учётная запись", ""),
            ("Пароль учётной записи", "another horse 8"),
            ("Ещё раз", "another horse 8"),
            ("Почта на другие серверы", ""),
            ("Сервер провайдера", ""),
            ("Его порт", ""),
            ("Шифрование", ""),
            ("Имя для входа туда", ""),
            ("Пароль для входа туда", ""),
        ]:
            console.answer(title, answer)
        console.at(REVIEW["ru"], "да")
        self.assertEqual(console.end(), 0)
        self.fits(console)
        wait_for(lambda: self.is_open(server.port("pop3")), message="POP3 stays closed")
        self.log_in(server, "another horse 8")
        with self.assertRaises(imaplib.IMAP4.error):
            self.log_in(server)
        self.assertIn("anna@provider.test", self.cli("route", "list"))

    def is_open(self, port):
        try:
            socket.create_connection(("127.0.0.1", port), 5).close()
            return True
        except OSError:
            return False

    def test_an_answer_file_comes_to_the_same(self):
        console = Console(self.dir, *OFFLINE)
        for title, answer in ENGLISH:
            console.answer(title, answer)
        console.at(REVIEW["en"], "yes")
        self.assertEqual(console.end(), 0)
        with open(self.path("answers.toml"), "w") as f:
            f.write(FILE)
        other = self.path("other")
        said = self.cli("setup", "--answers", self.path("answers.toml"), *OFFLINE, directory=other)
        self.assertIn("IN MX 10 mail.example.org.", said)
        rows = self.same(self.dir, other)
        self.assertIn("anna@example.org", rows[1])
        for directory in (self.dir, other):
            server = self.serve(directory)
            self.log_in(server)
            server.stop()

    def test_a_bad_file_is_refused_whole(self):
        for good, bad, told in [
            ('"mail.example.org"', '"mail"', "line 2: hostname: A host name"),
            ('mode = "none"', 'mode = "by air"', "line 9: relay.mode: it is one of direct, smarthost, none"),
            ('address = "anna"\n', "", "account.address is missing"),
            (PASSWORD, "short", "line 7: account.password: A password needs at least 8"),
            ("[account]", "[accounts]", "accounts.address is no question"),
            ("[relay]", "[relay", "line 8: "),
        ]:
            text = FILE.replace(good, bad)
            self.assertNotEqual(text, FILE)
            with open(self.path("answers.toml"), "w") as f:
                f.write(text)
            said = self.cli("setup", "--answers", self.path("answers.toml"), *OFFLINE, status=1)
            self.assertIn(told, said)
            self.assertIn("nothing was changed", said)
            self.assertNotIn(ADMINISTRATOR, said)
            self.assertFalse(os.path.exists(os.path.join(self.dir, "meta.redb")))
        said = self.cli("setup", "--answers", self.path("nowhere.toml"), status=1)
        self.assertIn("nothing was changed", said)

    def test_the_machines_own_files(self):
        """On the appliance: network, host name, time zone; elsewhere none of them."""
        root = self.path("root")
        zones = os.path.join(root, "usr/share/zoneinfo/Europe")
        os.makedirs(zones)
        os.makedirs(os.path.join(root, "etc"))
        for name in (os.path.join(zones, "Moscow"), os.path.join(root, "etc/pillarbox-appliance")):
            with open(name, "w") as f:
                f.write("TZif")
        console = Console(self.dir, "--root", root, *OFFLINE)
        machine = [
            ("Network", "static"),
            ("Address", "192.168.1.20"),
            ("Address", "192.168.1.20/24"),
            ("Gateway", "192.168.2.1"),
            ("Gateway", ""),
            ("Name servers", ""),
            ("Time zone", "Europe/Nowhere"),
            ("Time zone", "Europe/Moscow"),
        ]
        key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI" + "x" * 43 + " anna@laptop"
        ssh = [("Console by SSH", "keys"), ("Your SSH key", "no key"), ("Your SSH key", key)]
        first = [title for title, _ in ENGLISH].index("First account")
        for title, answer in ENGLISH[:1] + machine + ENGLISH[1:first] + ssh + ENGLISH[first:]:
            console.answer(title, answer)
        self.assertEqual(os.listdir(os.path.join(root, "etc")), ["pillarbox-appliance"])
        console.at(REVIEW["en"], "yes")
        self.assertEqual(console.end(), 0)
        self.fits(console, key)
        with open(os.path.join(root, "etc/systemd/network/20-pillarbox.network")) as f:
            network = f.read()
        self.assertIn("Address=192.168.1.20/24\nGateway=192.168.1.1\nDNS=192.168.1.1\n", network)
        with open(os.path.join(root, "etc/hostname")) as f:
            self.assertEqual(f.read(), "mail.example.org\n")
        self.assertEqual(os.readlink(os.path.join(root, "etc/localtime")), "/usr/share/zoneinfo/Europe/Moscow")
        with open(os.path.join(root, "var/lib/pillarbox-box/ssh/home/.ssh/authorized_keys")) as f:
            self.assertEqual(f.read(), key + "\n")
        self.assertTrue(os.path.exists(os.path.join(root, "var/lib/pillarbox-box/ssh/enabled")))

    def test_leaving_keeps_the_answers(self):
        for leave in ("!", "quit", "\x04"):
            console = Console(self.dir, *OFFLINE)
            if leave == "!":
                console.answer("Language / Язык", "1")
                console.answer("Host name", "mail.example.org")
            console.until([r"Mail domain \[example\.org\]: "])
            if leave == "\x04":
                os.write(console.fd, b"\x04")
            else:
                console.type(leave)
            self.assertEqual(console.end(), 0)
            self.assertIn("Nothing was changed.", console.text())
            self.assertIn('hostname = "mail.example.org"', self.kept())


if __name__ == "__main__":
    harness.main()
