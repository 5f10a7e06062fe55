"""The binary from outside: demo and its messages, serve with accounts of its own, help, size."""

import os
import re
import shutil
import signal
import smtplib
import ssl
import subprocess
import tempfile
import time
import unittest

import harness
from harness import DOMAIN, PASSWORD, Server, ServerCase, binary, free_port_base, message
from wire import Imap, Line, Smtp

BINARY_LIMIT = 8_000_000
IDLE_LIMIT = 12_000_000


def idle_memory(pid):
    with open(f"/proc/{pid}/status") as f:
        return int(re.search(r"VmRSS:\s+(\d+) kB", f.read()).group(1)) * 1024


class Demo(unittest.TestCase):
    def test_serves_within_two_seconds_and_can_be_started_again(self):
        server = Server()
        try:
            began = time.monotonic()
            server.start()
            took = time.monotonic() - began
            print(f"    ready after {took:.2f} s")
            self.assertLess(took, 2)
            harness.wait_for(lambda: len(server.bodies("alice")) >= 5, 10)
            time.sleep(0.5)
            first = {user: server.bodies(user) for user in harness.USERS}
            self.assertGreaterEqual(sum(map(len, first.values())), 15)
            server.stop()
            server.start()
            time.sleep(0.5)
            self.assertEqual({user: server.bodies(user) for user in harness.USERS}, first)
            server.stop()
        finally:
            server.remove()

    def test_prints_what_a_newcomer_needs(self):
        server = Server().start()
        try:
            harness.wait_for(lambda: "openssl" in server.log_text(), 5, message="no openssl line")
            text = server.log_text()
            for needed in (
                "alice",
                "bob",
                "carol",
                DOMAIN,
                PASSWORD,
                server.ca,
                "curl",
                "mutt",
                "openssl s_client",
                *(str(server.port(service)) for service in harness.PORTS),
            ):
                self.assertIn(needed, text)
        finally:
            server.stop()
            server.remove()

    def test_the_printed_curl_lines_work(self):
        server = Server().start()
        try:
            harness.wait_for(lambda: "openssl" in server.log_text(), 5)
            lines = [
                line.strip() for line in server.log_text().splitlines() if line.strip().startswith("curl ")
            ]
            self.assertTrue(lines)
            for line in lines:
                done = subprocess.run(
                    ["sh", "-c", line], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=30
                )
                self.assertEqual(done.returncode, 0, (line, done.stderr))
        finally:
            server.stop()
            server.remove()

    def test_interrupt_cleans_a_temporary_store(self):
        home = tempfile.mkdtemp(prefix="demo-tmp-")
        process = subprocess.Popen(
            [binary(), "demo", "--port-base", str(free_port_base())],
            env={**os.environ, "TMPDIR": home},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        try:
            harness.wait_for(lambda: os.listdir(home), 10)
            time.sleep(1)
            process.send_signal(signal.SIGINT)
            process.communicate(timeout=15)
            self.assertEqual(process.returncode, 0)
            self.assertEqual(os.listdir(home), [])
        finally:
            process.kill()
            process.stdout.close()
            os.rmdir(home)

    def test_idle_memory_and_size(self):
        server = Server().start()
        try:
            time.sleep(2)
            idle = idle_memory(server.process.pid)
            server.stop()
            # Started again on its store, nothing done yet: what an idle server takes.
            server.start()
            time.sleep(2)
            again = idle_memory(server.process.pid)
            size = os.path.getsize(binary())
            print(
                f"    idle {again / 1e6:.1f} MB (after the first delivery {idle / 1e6:.1f}), binary {size / 1e6:.1f} MB"
            )
            self.assertLess(again, IDLE_LIMIT)
            self.assertLess(size, BINARY_LIMIT)
        finally:
            server.stop()
            server.remove()

    def test_help(self):
        done = subprocess.run([binary(), "help"], capture_output=True, text=True, timeout=10)
        self.assertEqual(done.returncode, 0, done.stderr)
        for word in ("demo", "serve", "account"):
            self.assertIn(word, done.stdout)
        self.assertEqual(subprocess.run([binary(), "--help"], capture_output=True, timeout=10).returncode, 0)
        self.assertNotEqual(
            subprocess.run([binary(), "nonsense"], capture_output=True, timeout=10).returncode, 0
        )


class Accounts(unittest.TestCase):
    """`pillarbox account` with the server running and not; the store is a demo's."""

    def setUp(self):
        self.server = Server().start()

    def tearDown(self):
        self.server.stop()
        self.server.remove()

    def account(self, *words, password=None):
        options = ["--password-stdin"] if password else []
        done = subprocess.run(
            [binary(), "account", *words, *options, "--dir", self.server.directory],
            input=f"{password}\n" if password else "",
            capture_output=True,
            text=True,
            timeout=30,
        )
        return done.returncode, done.stdout + done.stderr

    def logs_in(self, user, password):
        imap = Imap(self.server)
        answer = imap.command(f'LOGIN "{user}" "{password}"')[1]
        imap.close()
        return answer.startswith(b"OK")

    def check_all(self, restart):
        """Adds, changes and deletes an account; `restart` is called where the server must look again."""
        self.assertEqual(self.account("add", "dora@other.test", password="first pass")[0], 0)
        status, text = self.account("add", "dora@other.test", password="again")
        self.assertNotEqual(status, 0)
        self.assertIn("dora@other.test", text)
        self.assertNotIn("again", text.replace("try again", ""))
        self.assertIn("dora@other.test", self.account("list")[1])
        restart(True)
        self.assertTrue(self.logs_in("dora@other.test", "first pass"))
        restart(False)
        self.assertEqual(self.account("password", "dora@other.test", password="second pass")[0], 0)
        restart(True)
        self.assertFalse(self.logs_in("dora@other.test", "first pass"))
        self.assertTrue(self.logs_in("dora@other.test", "second pass"))
        smtp = Smtp(self.server, user="bob")
        reply = smtp.submit(f"bob@{DOMAIN}", ["dora@other.test"], message(1, recipient="dora"))
        self.assertEqual(reply[0], 250, reply)
        smtp.close()
        restart(False)
        self.assertEqual(self.account("delete", "dora@other.test")[0], 0)
        self.assertRegex(self.account("list")[1], r"(?m)^dora@other\.test .*deleted")
        self.assertNotEqual(self.account("delete", "dora@other.test")[0], 0)
        restart(True)
        self.assertFalse(self.logs_in("dora@other.test", "second pass"))
        restart(False)
        # Until it is taken away for good it can be had back.
        self.assertEqual(self.account("restore", "dora@other.test")[0], 0)
        restart(True)
        self.assertTrue(self.logs_in("dora@other.test", "second pass"))
        restart(False)
        self.assertEqual(self.account("delete", "dora@other.test", "--now")[0], 0)
        self.assertNotIn("dora@other.test", self.account("list")[1])
        self.assertNotEqual(self.account("restore", "dora@other.test")[0], 0)
        restart(True)
        self.assertFalse(self.logs_in("dora@other.test", "second pass"))

    def test_while_the_server_runs(self):
        self.check_all(lambda serving: None)

    def test_while_the_server_rests(self):
        self.server.stop()

        def switch(serving):
            self.server.start() if serving else self.server.stop()

        self.check_all(switch)


class ServeServer(Server):
    """`pillarbox serve`: no accounts but those made by the command line."""

    announces = None

    def command(self):
        return [
            binary(),
            "serve",
            "--dir",
            self.directory,
            "--address",
            "127.0.0.1",
            "--port-base",
            str(self.base),
            "--hostname",
            "localhost",
        ]


class Serve(unittest.TestCase):
    def test_usage_is_clear_without_a_directory(self):
        done = subprocess.run(
            [binary(), "serve", "--dir", "/nonexistent/none"], capture_output=True, text=True, timeout=10
        )
        self.assertNotEqual(done.returncode, 0)
        self.assertNotIn(harness.BUG, done.stderr)
        self.assertIn("/nonexistent/none", done.stderr + done.stdout)

    def test_an_empty_directory_an_account_and_its_first_message(self):
        server = ServeServer().start()
        try:
            for name in ("erin@office.test", "frank@office.test"):
                done = subprocess.run(
                    [binary(), "account", "add", name, "--no-welcome", "--password-stdin", "--dir", server.directory],
                    input=PASSWORD + "\n",
                    capture_output=True,
                    text=True,
                    timeout=30,
                )
                self.assertEqual(done.returncode, 0, done.stderr)
            imap = Line(server, "imap")
            imap.send(b'a LOGIN erin@office.test "%s"\r\nb SELECT INBOX\r\nc LOGOUT\r\n' % PASSWORD.encode())
            answer = imap.rest()
            self.assertIn(b"b OK", answer)
            smtp = smtplib.SMTP("127.0.0.1", server.port("submission"), timeout=20)
            smtp.starttls(context=ssl._create_unverified_context())
            smtp.login("erin@office.test", PASSWORD)
            data = message(1).replace(b"bob@demo.test", b"erin@office.test", 1)
            smtp.sendmail("erin@office.test", ["frank@office.test"], data)
            smtp.quit()
            server.stop()
            server.start()
            imap = Line(server, "imap")
            imap.send(
                b'a LOGIN frank@office.test "%s"\r\nb STATUS INBOX (MESSAGES)\r\nc LOGOUT\r\n'
                % PASSWORD.encode()
            )
            self.assertIn(b"MESSAGES 1", imap.rest())
        finally:
            server.stop()
            server.remove()

    def test_a_store_in_use_is_refused(self):
        server = Server().start()
        try:
            done = subprocess.run(
                [binary(), "demo", "--dir", server.directory, "--port-base", str(free_port_base())],
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=15,
            )
            self.assertNotEqual(done.returncode, 0)
            self.assertIn("use", done.stderr + done.stdout)
        finally:
            server.stop()
            server.remove()


class Test(ServerCase):
    """`pillarbox test` on a running server."""

    def test_all_is_well(self):
        done = self.run_client(binary(), "test", "--dir", self.server.directory)
        for service in ("submission", "submissions", "imap", "imaps", "pop3", "pop3s", "smtp", "lmtp"):
            self.assertRegex(done.stdout, rf"(?m)^ok +{service} +\d+ ms ")
        self.assertIn("All is well", done.stdout)
        self.assertNotIn("pillarbox-test", self.server.cli("account", "list"))

    def test_what_is_broken_is_named(self):
        # A certificate that another authority signed is what mail programs would refuse.
        ca = os.path.join(self.server.directory, "tls", "ca.pem")
        found = [os.path.join(at, "ca.pem") for at, _, names in os.walk(self.server.directory) if "ca.pem" in names]
        self.assertIn(ca, found)
        with open(ca) as file:
            right = file.read()
        key, other = self.file("key", ""), self.file("other", "")
        self.run_client("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", key, "-out", other,
                        "-subj", "/CN=Other")
        try:
            shutil.copyfile(other, ca)
            done = self.run_client(binary(), "test", "--dir", self.server.directory, status=(1,))
        finally:
            with open(ca, "w") as file:
                file.write(right)
        self.assertRegex(done.stdout, r"(?m)^FAIL +imaps +\d+ ms +port \d+: no TLS: .*UnknownIssuer")
        self.assertIn(" failed", done.stdout)
        self.assertNotIn("pillarbox-test", self.server.cli("account", "list"))

    def test_no_server_is_told(self):
        done = self.run_client(binary(), "test", "--dir", self.work, status=(1,))
        self.assertIn("no server runs", done.stdout)


if __name__ == "__main__":
    harness.main()
