"""The administrator and the console: who runs the server has a password of their own, which no
mail protocol takes, and a menu on any terminal. The terminal here is a pseudo-terminal that
knows nothing (TERM=dumb), driven as a person does: wait for the question, type, read."""

import email
import email.policy
import imaplib
import os
import poplib
import pty
import re
import select
import signal
import smtplib
import socket
import subprocess
import termios
import time

import harness
from harness import DOMAIN, PASSWORD, ServerCase, binary, wait_for

ADMINISTRATOR = "a hedgehog at night"
# A whole page comes within this at 9600 baud: 960 characters a second.
PAGE_SECONDS = 4


class Console:
    """`pillarbox console` on a pseudo-terminal."""

    def __init__(self, server, *options, language="en"):
        self.terminal, self.line = pty.openpty()
        self.before = termios.tcgetattr(self.line)
        self.seen = ""
        self.read_to = 0
        words = [binary(), "console", "--dir", server.directory, "--language", language, *options]
        # Of the parent only what a serial getty gives.
        self.process = subprocess.Popen(
            words, stdin=self.line, stdout=self.line, stderr=self.line, start_new_session=True,
            env={"PATH": "/nowhere", "TERM": "dumb"}, preexec_fn=self.control,
        )

    def control(self):
        import fcntl
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)

    def expect(self, pattern, seconds=60):
        """Reads until the pattern is there, after what was expected before; the match."""
        end = time.monotonic() + seconds
        while True:
            found = re.compile(pattern).search(self.seen, self.read_to)
            if found:
                self.read_to = found.end()
                return found
            ready, _, _ = select.select([self.terminal], [], [], max(0, end - time.monotonic()))
            try:
                data = os.read(self.terminal, 4096) if ready else b""
            except OSError:
                data = b""
            if not data:
                raise AssertionError(f"no {pattern!r} in:\n{self.seen[-3000:]}")
            # A character may come in two reads.
            self.bytes = getattr(self, "bytes", b"") + data
            self.seen = self.bytes.decode(errors="replace").replace("\r\n", "\n")

    def type(self, text, end="\n"):
        os.write(self.terminal, (text + end).encode())

    def answer(self, question, text):
        self.expect(question)
        self.type(text)

    def choose(self, number):
        """In the menu, after whatever is left of a long answer."""
        if "more" in self.expect("-- Enter: more|Choice: ").group():
            self.answer("enough -- ", "0")
            self.expect("Choice: ")
        self.type(number)

    def log_in(self, prompt="Password: ", password=ADMINISTRATOR):
        self.answer(prompt, password)

    def ended(self):
        """Its exit code, when it has one; what it still says is read meanwhile."""
        deadline = time.monotonic() + 60
        while self.process.poll() is None:
            if time.monotonic() > deadline:
                raise AssertionError(f"it goes on:\n{self.seen[-2000:]}")
            ready, _, _ = select.select([self.terminal], [], [], 0.05)
            if ready:
                try:
                    os.read(self.terminal, 4096)
                except OSError:
                    pass
        return self.process.returncode

    def close(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        for fd in (self.terminal, self.line):
            try:
                os.close(fd)
            except OSError:
                pass


def set_password(server, password=ADMINISTRATOR):
    subprocess.run(
        [binary(), "administrator", "password", "--password-stdin", "--dir", server.directory],
        input=password + "\n", text=True, check=True, capture_output=True, timeout=60,
    )


class Identity(ServerCase):
    def test_the_administrator_logs_in_by_no_mail_protocol(self):
        """Neither with the administrator's password, nor as an alias of somebody, with theirs."""
        set_password(self.server)
        self.server.cli("alias", "add", f"administrator@{DOMAIN}", f"alice@{DOMAIN}")
        for password in (ADMINISTRATOR, PASSWORD):
            for name in ("administrator", f"Administrator@{DOMAIN}"):
                imap = imaplib.IMAP4("127.0.0.1", self.server.port("imap"))
                with self.assertRaises(imaplib.IMAP4.error):
                    imap.login(name, password)
                imap.shutdown()
                pop = poplib.POP3("127.0.0.1", self.server.port("pop3"))
                pop.user(name)
                with self.assertRaises(poplib.error_proto):
                    pop.pass_(password)
                pop.close()
                with smtplib.SMTP("127.0.0.1", self.server.port("submission")) as smtp:
                    with self.assertRaises(smtplib.SMTPAuthenticationError):
                        smtp.login(name, password)
        # Who has the alias is let in by their own name.
        self.server.imap("alice").logout()

    def test_no_account_can_have_the_name(self):
        done = subprocess.run(
            [binary(), "account", "add", f"administrator@{DOMAIN}", "--dir", self.server.directory],
            input="long enough\n", capture_output=True, text=True, timeout=60,
        )
        self.assertEqual(done.returncode, 1)
        self.assertIn("reserved", done.stderr)


class Menu(ServerCase):
    """Numbers of the menus: as src/console/menu.rs has them."""

    def setUp(self):
        set_password(self.server)
        self.consoles = []

    def tearDown(self):
        for console in self.consoles:
            console.close()

    def console(self, *options, **more):
        self.consoles.append(Console(self.server, *options, **more))
        return self.consoles[-1]

    def is_open(self, service):
        try:
            socket.create_connection(("127.0.0.1", self.server.port(service)), 5).close()
            return True
        except ConnectionRefusedError:
            return False

    def check_lines(self, console):
        """They fit a terminal of 80 columns that knows nothing."""
        for line in console.seen.splitlines():
            self.assertLess(len(line), 80, line)
        self.assertNotIn("\x1b", console.seen)

    def test_status_is_a_page(self):
        text = self.server.cli("status")
        self.assertRegex(text, r"^pillarbox \S+ on \S+, running for ")
        self.assertRegex(text, rf"imap +on +{self.server.port('imap')} {self.server.port('imaps')}\n")
        for known in ("Accounts     ", "Queue        nothing waits", "authority, ", "free of"):
            self.assertIn(known, text)

    def test_a_day_at_the_console(self):
        """In both languages: status, a wrong password, a new account that mail programs use at
        once, a service off and on."""
        words = {
            "en": ("Password: ", "not the administrator's", "Choice: ", "Address.*: ", "New password: ",
                   "Once more: ", "can log in now", "Service: ", "On or off: ", "Done", "Logged out"),
            "ru": ("Пароль: ", "Это не пароль", "Выбор: ", "Адрес.*: ", "Новый пароль: ",
                   "Ещё раз: ", "можно входить", "Служба: ", "Включить или выключить: ", "Готово",
                   "Сеанс окончен"),
        }
        for language, said in words.items():
            with self.subTest(language=language):
                password, wrong, choice, address, new, again, added, service, on_off, done, bye = said
                name, secret = f"user-{language}@{DOMAIN}", "grüße aus Köln"
                console = self.console(language=language)
                console.expect(f"(?m)imap.*{self.server.port('imap')}")
                console.expect(password)
                self.assertLess(len(console.seen.encode()), 960 * PAGE_SECONDS)
                console.type("a hedgehog at noon")
                console.expect(wrong)
                console.log_in(password)
                for question, answer in (
                    (choice, "2"), (choice, "1"), (address, name), (new, secret), (again, secret),
                ):
                    console.answer(question, answer)
                console.expect(added)
                self.run_client(
                    "curl", "-sS", "--cacert", self.server.ca, "--user", f"{name}:{secret}",
                    f"imaps://localhost:{self.server.port('imaps')}/", "-X", "NOOP",
                )
                # Neither password was seen.
                for hidden in (secret, ADMINISTRATOR, "at noon"):
                    self.assertNotIn(hidden, console.seen)
                for question, answer in ((choice, "0"), (choice, "4"), (service, "2"), (on_off, "2")):
                    console.answer(question, answer)
                console.expect(done)
                wait_for(lambda: not self.is_open("pop3"))
                for question, answer in ((choice, "4"), (service, "2"), (on_off, "1")):
                    console.answer(question, answer)
                console.expect(done)
                wait_for(lambda: self.is_open("pop3"))
                console.answer(choice, "9")
                console.expect("a wrong administrator's password")
                console.answer(choice, "0")
                console.expect(bye)
                self.assertEqual(console.ended(), 0)
                self.check_lines(console)

    def test_the_test_and_dns_are_those_of_the_command_line(self):
        console = self.console()
        console.log_in()
        console.choose("8")
        console.expect("(?m)^ok +imap .*")
        console.choose("7")
        console.answer("Domain: ", DOMAIN)
        console.expect(re.escape(DOMAIN) + ". .*MX")

    def test_in_russian_nothing_is_english_whatever_goes_wrong(self):
        """Every item of the menu, with answers that can't be: each refusal, of the console and of
        the server, and what its commands print."""
        console = self.console(language="ru")

        def menu():
            while "дальше" in console.expect("-- Enter: дальше.*-- |Выбор: ").group():
                console.type("")

        def task(entry, page, *fields):
            console.type(entry)
            menu()
            console.type(page)
            for field in fields:
                console.expect(r"(?m)^(?!Выбор).*: $")
                console.type(field)
            menu()
            console.type("0")
            menu()

        def single(entry, *fields):
            console.type(entry)
            for field in fields:
                console.expect(r"(?m)^(?!Выбор).*: $")
                console.type(field)
            menu()

        console.log_in("Пароль: ")
        menu()
        single("99")
        single("1")
        long = "a long password"
        for address, password in (
            ("nonsense", long), ("a b@c", long), ("@x", long), ("x" * 70 + f"@{DOMAIN}", long),
            (f"alice@{DOMAIN}", long), (f"guest@{DOMAIN}", long), (f"new@{DOMAIN}", "short"),
        ):
            task("2", "1", address, password, password)
        task("2", "1", f"new@{DOMAIN}", long, "another one")
        task("2", "2", f"nobody@{DOMAIN}", long, long)
        self.assertIn(f"ящика nobody@{DOMAIN} нет", console.seen)
        self.server.cli("account", "disable", f"carol@{DOMAIN}")
        self.addCleanup(self.server.cli, "account", "enable", f"carol@{DOMAIN}")
        task("2", "3")
        self.assertIn("выключен", console.seen)
        task("2", "4", f"alice@{DOMAIN}", "?", "1")
        self.assertIn("? нет среди возможностей", console.seen)
        task("2", "4", f"nobody@{DOMAIN}", "imap.IDLE", "2")
        task("2", "4", f"alice@{DOMAIN}", "imap.IDLE", "2")
        self.assertRegex(self.server.cli("account", "show", f"alice@{DOMAIN}"), r"(?m)imap\.IDLE +off$")
        task("2", "4", f"alice@{DOMAIN}", "imap.IDLE", "1")
        task("3", "1")
        task("3", "2", f"x@{DOMAIN}", f"nobody@{DOMAIN}")
        task("3", "2", f"bob@{DOMAIN}", f"alice@{DOMAIN}")
        task("3", "3", f"nobody@{DOMAIN}")
        task("3", "3", f"alice@{DOMAIN}")
        single("4", "9")
        task("5", "1")
        for page in "234":
            task("5", page, "x")
            task("5", page, "99999")
        task("6", "1")
        task("6", "2", "a b", "", "")
        task("6", "2", "smtp.example.org", "99999", "")
        task("6", "2", "smtp.example.org", "465", "u" * 1100, "p")
        task("6", "3", "нет")
        task("6", "3", "да")
        task("6", "4", "nonsense")
        task("6", "4", "x@[127.0.0.1]")
        single("7", "no domain!")
        single("7", "[192.0.2.1]")
        single("7", DOMAIN)
        single("8")
        self.assertIn("вход выполнен", console.seen)
        single("10", "short", "short")
        single("10", "long enough", "but another")
        single("11", "нет")
        console.type("0")
        self.assertEqual(console.ended(), 0)
        english = re.compile(r"(?<![^\s(])[a-z']{2,} [a-z']{2,}(?=[\s,.;)]|$)")
        commands = re.compile(
            r"pillarbox [a-z-]+( [a-z-]+)*|systemctl [a-z]+ pillarbox|timedatectl set-ntp true|starttls, implicit"
        )
        # The log is in English, and said so by its times.
        lines = [it for it in console.seen.split("\n") if not re.match(r"(Ошибки)? +\d{4}-|\s{10}", it)]
        wrong = [it for it in lines if english.search(commands.sub("", it))]
        typed = ("a long", "another one", "no domain", "long enough", "but another", "a b")
        wrong = [it for it in wrong if not any(word in it for word in typed)]
        self.assertEqual(wrong, [])

    def test_a_forgotten_password_is_replaced_as_root_and_told_by_mail(self):
        self.run_client(
            binary(), "settings", "--dir", self.server.directory, "set", "server.administrators", f"bob@{DOMAIN}"
        )
        self.server.empty("bob")
        # On a network terminal there is no such way.
        console = self.console()
        console.answer("Password: ", "?")
        console.expect("at the machine itself")
        console.log_in()
        console.expect("Choice: ")
        # By who is root it is.
        console = self.console("--recover")
        console.answer("yes to go on: ", "no")
        console.expect("Nothing was changed")
        self.assertEqual(console.ended(), 0)
        console = self.console("--recover")
        console.answer("yes to go on: ", "yes")
        console.answer("New password: ", "an owl at noon")
        console.answer("Once more: ", "an owl at noon")
        console.expect("has a new password")
        self.assertEqual(console.ended(), 0)
        told = wait_for(lambda: self.server.bodies("bob"))
        self.assertEqual(len(told), 1)
        message = email.message_from_bytes(told[0], policy=email.policy.default)
        self.assertIn("password was replaced", message["Subject"])
        self.assertEqual(message["Auto-Submitted"], "auto-generated")
        self.assertIn("at its console", message.get_body().get_content())
        self.assertIn("forgotten administrator's password was replaced", self.server.log_text())
        console = self.console()
        console.log_in()
        console.expect("not the administrator's")
        console.log_in(password="an owl at noon")
        console.expect("Choice: ")

    def test_keys_that_break_off(self):
        console = self.console()
        # Ctrl-C and Ctrl-Z where the password is asked: it is asked again.
        for key in ("\x03", "\x1a", "\x1c"):
            console.expect("Password: ")
            console.type(key, end="")
        console.log_in()
        console.answer("Choice: ", "2")
        console.answer("Choice: ", "1")
        console.expect("Address.*: ")
        console.type("\x03", end="")
        console.expect("Choice: ")
        # What looks like a shell's, or like an option, is a wrong number.
        for text in ("!sh", "; id", "$(id)", "-1", "99999999999999999999"):
            console.type(text)
            console.expect("one of the numbers")
            console.expect("Choice: ")
        with open(f"/proc/{console.process.pid}/stat") as f:
            self.assertNotEqual(f.read().rsplit(")", 1)[1].split()[0], "T", "it was stopped")
        console.type("\x04", end="")
        self.assertEqual(console.ended(), 0)
        self.assertEqual(termios.tcgetattr(console.line), console.before)

    def test_a_line_that_hangs_up_ends_it(self):
        console = self.console()
        console.expect("Password: ")
        console.process.send_signal(signal.SIGHUP)
        self.assertEqual(console.ended(), 0)
        self.assertEqual(termios.tcgetattr(console.line), console.before)
        console = self.console()
        console.expect("Password: ")
        os.close(console.line)
        os.close(console.terminal)
        console.process.wait(60)

    def test_it_needs_a_terminal(self):
        done = subprocess.run(
            [binary(), "console", "--dir", self.server.directory],
            stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60,
        )
        self.assertEqual(done.returncode, 1)
        self.assertIn("needs a terminal", done.stderr)


class Stopped(ServerCase):
    def test_a_stopped_server_has_a_status_and_a_console(self):
        set_password(self.server)
        self.server.stop()
        text = self.server.cli("status")
        self.assertIn("STOPPED", text)
        self.assertIn("Accounts     3", text)
        console = Console(self.server)
        try:
            console.expect("STOPPED")
            console.log_in()
            console.answer("Choice: ", "2")
            console.answer("Choice: ", "3")
            console.expect(f"alice@{DOMAIN}")
        finally:
            console.close()
            self.server.start()


if __name__ == "__main__":
    harness.main()
