"""systemd's side, and a machine that is the server's own: the units as systemd-analyze sees them,
ports opened by systemd, its watchdog, SSH by dropbear and OpenSSH's client, the answer file of a
first boot, factory reset, and reading the mail on a PC."""

import os
import pwd
import random
import re
import select
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
import unittest

import harness
from harness import DOMAIN, ROOT, Server, binary, free_port_base, wait_for

UNITS = os.path.join(ROOT, "systemd")
ADMINISTRATOR = "a hedgehog at night"
PASSWORD = "other words again"
# Nobody answers there: each look of the setup ends at once.
OFFLINE = ["--name-server", "127.0.0.1:1", "--probe", "127.0.0.1:1"]
# What systemd-analyze may say at most of the server's unit.
EXPOSURE = 1.2
WAIT = 120


def run(*words, status=0, **options):
    done = subprocess.run([str(it) for it in words], capture_output=True, text=True, timeout=WAIT, **options)
    if done.returncode != status:
        raise AssertionError(f"{words[0]} ended with {done.returncode}:\n{done.stdout}\n{done.stderr}")
    return done.stdout + done.stderr


def pillarbox(*words, **options):
    return run(binary(), *words, **options)


class Units(unittest.TestCase):
    def setUp(self):
        self.work = tempfile.mkdtemp(prefix="units-")
        self.addCleanup(shutil.rmtree, self.work, ignore_errors=True)

    def names(self, *kinds):
        return sorted(it for it in os.listdir(UNITS) if it.endswith(kinds))

    def test_the_service_is_sandboxed(self):
        said = run("systemd-analyze", "security", "--offline=true", "--no-pager", os.path.join(UNITS, "pillarbox.service"))
        exposure = float(re.search(r"Overall exposure level for pillarbox.service: ([0-9.]+)", said).group(1))
        self.assertLessEqual(exposure, EXPOSURE)
        with open(os.path.join(UNITS, "pillarbox.service")) as f:
            unit = f.read()
        for line in ("CapabilityBoundingSet=", "AmbientCapabilities=", "MemoryDenyWriteExecute=yes",
                     "SystemCallFilter=@system-service", "User=pillarbox", "WatchdogSec=300"):
            self.assertIn(line + "\n", unit)
        # It would hide the kernel's command line, by which a version on trial leaves the store as it is.
        self.assertNotRegex(unit, r"(?m)^ProcSubset=pid")

    def test_a_trial_that_fails_restarts_the_box(self):
        with open(os.path.join(UNITS, "pillarbox-good.service")) as f:
            unit = f.read()
        # Only while on trial, or a good version would be restarted for ever; and without waiting for
        # the server's own start, which may never end.
        for line in ("ConditionKernelCommandLine=pillarbox.trial=1", "FailureAction=reboot",
                     "ExecStart=/usr/bin/pillarbox update --confirm"):
            self.assertIn(line + "\n", unit)
        self.assertNotRegex(unit, r"(?m)^(After|Requires|BindsTo)=.*pillarbox\.service")

    def test_systemd_understands_every_unit(self):
        # The same, but for where the program is.
        for name in self.names(".service", ".socket", ".mount"):
            with open(os.path.join(UNITS, name)) as f:
                text = f.read().replace("/usr/bin/pillarbox", binary())
            with open(os.path.join(self.work, name), "w") as f:
                f.write(text)
        units = [os.path.join(self.work, it) for it in self.names(".service", ".socket", ".mount")]
        self.assertEqual(run("systemd-analyze", "verify", "--man=no", *units).strip(), "")

    def test_a_box_runs_these_and_nothing_else(self):
        run(os.path.join(UNITS, "install"), self.work)
        foreign = os.path.join(self.work, "usr/lib/systemd/system/foreign.service")
        with open(foreign, "w") as f:
            f.write("[Service]\nExecStart=/bin/true\n[Install]\nWantedBy=multi-user.target\n")
        run("systemctl", f"--root={self.work}", "preset-all")
        system = os.path.join(self.work, "etc/systemd/system")
        wanted = sorted(
            os.path.join(place, name)
            for place in os.listdir(system) if place.endswith(".wants")
            for name in os.listdir(os.path.join(system, place))
        )
        self.assertEqual(wanted, [
            "multi-user.target.wants/pillarbox-first.service",
            "multi-user.target.wants/pillarbox-good.service",
            "multi-user.target.wants/pillarbox.service",
            "sockets.target.wants/pillarbox.socket",
            "sysinit.target.wants/pillarbox-reset.service",
        ])
        run("systemd-sysusers", f"--root={self.work}")
        with open(os.path.join(self.work, "etc/passwd")) as f:
            self.assertIn("pillarbox:x:", f.read())
        self.assertTrue(os.path.exists(os.path.join(self.work, "etc/pillarbox-appliance")))

    def test_the_only_user_of_ssh_is_the_console_s(self):
        with open(os.path.join(UNITS, "appliance/ssh/passwd")) as f:
            users = {line.split(":")[0]: line.strip().split(":") for line in f}
        with open(os.path.join(UNITS, "appliance/ssh/shadow")) as f:
            locked = {line.split(":")[0]: line.split(":")[1] for line in f}
        self.assertEqual(locked, {"root": "*", "nobody": "*", "console": ""})
        self.assertEqual(users["console"][5], "/var/lib/pillarbox-box/ssh/home")


class Activation(unittest.TestCase):
    """systemd-socket-activate opens the ports, as pillarbox.socket does."""

    ports = {"smtp": 25, "submissions": 465, "submission": 587, "imap": 143, "imaps": 993, "pop3": 110, "pop3s": 995}

    def setUp(self):
        self.work = tempfile.mkdtemp(prefix="units-")
        self.addCleanup(shutil.rmtree, self.work, ignore_errors=True)
        self.dir = os.path.join(self.work, "data")
        self.base = free_port_base()
        self.notices = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.addCleanup(self.notices.close)
        self.notices.bind(os.path.join(self.work, "notify"))
        os.chmod(self.work, 0o777)
        os.chmod(os.path.join(self.work, "notify"), 0o777)
        # As fast as they come: the kernel keeps few.
        self.said = []
        threading.Thread(target=self.listen, daemon=True).start()
        self.log = os.path.join(self.work, "log")

    def start(self, watchdog_usec):
        # Who tests as root serves as nobody.
        options = {}
        if os.geteuid() == 0:
            nobody = pwd.getpwnam("nobody")
            options = {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}
        program = os.path.join(self.work, "pillarbox")
        shutil.copy(binary(), program)
        listen = [word for port in self.ports.values() for word in ("-l", f"127.0.0.1:{self.base + port}")]
        environment = {"NOTIFY_SOCKET": os.path.join(self.work, "notify"), "WATCHDOG_USEC": str(watchdog_usec)}
        passed = [word for name, value in environment.items() for word in ("-E", f"{name}={value}")]
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen(
                ["systemd-socket-activate", *listen, *passed, program, "serve", "--dir", self.dir,
                 "--address", "127.0.0.1", "--port-base", str(self.base), "--hostname", "mail.example.org",
                 "--set", "lmtp.enabled=off"],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self.work, **options,
            )
        self.addCleanup(self.end)
        # It is started by the first who comes.
        wait_for(lambda: self.greeting("imap"), WAIT)

    def end(self):
        if self.process.poll() is None:
            self.process.terminate()
        self.process.wait(WAIT)

    def greeting(self, name):
        """What is said first; none if the connection was refused or reset."""
        try:
            with socket.create_connection(("127.0.0.1", self.base + self.ports[name]), 60) as client:
                return client.recv(200)
        except OSError:
            return b""

    def listen(self):
        while True:
            try:
                self.said.append(self.notices.recv(4096).decode())
            except OSError:
                return

    def alive(self):
        return self.said.count("WATCHDOG=1\n")

    def settings(self, *words):
        pillarbox("settings", "--dir", self.dir, *words)

    def test_passed_sockets_are_served_switched_and_kept(self):
        # Every fifth of a second it has to say that it lives.
        self.start(600_000)
        self.assertIn(b"IMAP4rev1", self.greeting("imap"))
        self.assertTrue(self.greeting("pop3").startswith(b"+OK"))
        self.assertTrue(self.greeting("submission").startswith(b"220 mail.example.org"))
        self.assertTrue(self.greeting("smtp").startswith(b"220 mail.example.org"))
        # Had it bound them itself, its own sockets would be in the way.
        self.settings("set", "pop3.enabled", "off")
        wait_for(lambda: self.greeting("pop3") == b"", WAIT)
        self.assertIn(b"IMAP4rev1", self.greeting("imap"))
        self.settings("set", "pop3.enabled", "on")
        wait_for(lambda: self.greeting("pop3").startswith(b"+OK"), WAIT)
        wait_for(lambda: self.alive() >= 3, WAIT)
        self.assertEqual(self.said[0], "READY=1\n")
        self.process.terminate()
        self.assertEqual(self.process.wait(WAIT), 0)
        wait_for(lambda: "STOPPING=1\n" in self.said, WAIT)

    def test_a_server_that_hangs_does_not_say_that_it_lives(self):
        self.start(300_000)
        wait_for(lambda: self.alive() >= 2, WAIT)
        os.kill(self.process.pid, signal.SIGSTOP)
        try:
            wait_for(self.is_stopped, WAIT)
            # What was on its way is here by then.
            time.sleep(1)
            before = self.alive()
            time.sleep(1)
            self.assertEqual(self.alive(), before)
        finally:
            os.kill(self.process.pid, signal.SIGCONT)
        wait_for(lambda: self.alive() > before, WAIT)

    def is_stopped(self):
        with open(f"/proc/{self.process.pid}/stat") as f:
            return f.read().rsplit(")", 1)[1].split()[0] == "T"


class Box(unittest.TestCase):
    """A root file system of its own, and a server that nobody has set up."""

    def setUp(self):
        self.work = tempfile.mkdtemp(prefix="units-", dir="/tmp")
        self.addCleanup(shutil.rmtree, self.work, ignore_errors=True)
        self.root = os.path.join(self.work, "root")
        self.boot = os.path.join(self.work, "boot")
        self.dir = os.path.join(self.root, "var/lib/pillarbox")
        self.kept = os.path.join(self.root, "var/lib/pillarbox-box")
        for path in (self.boot, self.kept, os.path.dirname(self.dir), os.path.join(self.root, "usr/share/zoneinfo")):
            os.makedirs(path, exist_ok=True)
        # All of the root that the setup looks at.
        open(os.path.join(self.root, "usr/share/zoneinfo/UTC"), "w").close()
        self.process = None
        self.addCleanup(self.stop)

    def serve(self):
        self.base = free_port_base()
        with open(os.path.join(self.work, "log"), "ab") as log:
            self.process = subprocess.Popen(
                [binary(), "serve", "--dir", self.dir, "--address", "127.0.0.1", "--port-base", str(self.base)],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            )
        wait_for(lambda: os.path.exists(os.path.join(self.dir, "control.sock")), WAIT)

    def stop(self):
        if self.process and self.process.poll() is None:
            self.process.terminate()
            self.process.wait(WAIT)

    def path(self, *names):
        return os.path.join(self.boot, *names)

    def start_box(self):
        return pillarbox("box", "start", "--boot", self.boot, "--dir", self.dir, "--root", self.root, "--", *OFFLINE)

    def answers(self, **changed):
        words = {"hostname": "mail.example.org", "password": PASSWORD, **changed}
        with open(self.path("pillarbox.toml"), "w") as f:
            f.write(f"""
hostname = "{words['hostname']}"
domain = "example.org"
services = ["imap", "submission"]
[network]
mode = "dhcp"
[tls]
source = "local"
[administrator]
password = "{ADMINISTRATOR}"
[account]
address = "anna@example.org"
password = "{words['password']}"
[relay]
mode = "none"
""")

    def told(self):
        with open(self.path("pillarbox.txt"), newline="") as f:
            return f.read()

    def code(self):
        try:
            with open(os.path.join(self.root, "run/pillarbox-box/code")) as f:
                return f.read()
        except FileNotFoundError:
            return None


class FirstBoot(Box):
    def test_a_file_with_a_mistake_stays_and_a_good_one_is_used_and_gone(self):
        self.serve()
        self.answers(hostname="no host name!")
        self.start_box()
        self.assertTrue(os.path.exists(self.path("pillarbox.toml")))
        self.assertTrue(self.told().startswith("pillarbox is NOT set up:\r\n"))
        self.assertIn("hostname", self.told())
        self.assertNotIn(ADMINISTRATOR, self.told())
        # So it can still be set up by network, by who sees its screen.
        self.assertRegex(self.code(), "^[a-z2-9]{8}$")
        self.assertTrue(os.path.exists(os.path.join(self.kept, "ssh/host-key")))
        self.answers()
        self.start_box()
        self.assertFalse(os.path.exists(self.path("pillarbox.toml")))
        self.assertTrue(self.told().startswith("pillarbox is set up."), self.told())
        for secret in (ADMINISTRATOR, PASSWORD):
            self.assertNotIn(secret, self.told())
        self.assertEqual(os.listdir(self.boot), ["pillarbox.txt"])
        self.assertIsNone(self.code())
        self.assertIn("anna@example.org", pillarbox("account", "list", "--dir", self.dir))
        # Another file does not take the box over, and does not stay either.
        self.answers(password="a thief's own words")
        self.start_box()
        self.assertTrue(self.told().startswith("This box was set up before"))
        self.assertFalse(os.path.exists(self.path("pillarbox.toml")))


    def test_a_file_of_which_a_part_could_not_be_done_does_not_stay(self):
        # The machine itself can't be changed: /etc is no directory.
        open(os.path.join(self.root, "etc"), "w").close()
        self.serve()
        self.answers()
        self.start_box()
        self.assertTrue(self.told().startswith("pillarbox is set up, but not all of it"), self.told())
        for secret in (ADMINISTRATOR, PASSWORD):
            self.assertNotIn(secret, self.told())
        self.assertEqual(os.listdir(self.boot), ["pillarbox.txt"])
        self.assertIsNone(self.code())
        self.assertIn("anna@example.org", pillarbox("account", "list", "--dir", self.dir))


class FactoryReset(Box):
    def test_it_removes_all_and_begins_anew(self):
        self.serve()
        self.answers()
        self.start_box()
        self.stop()
        refused = pillarbox("box", "reset", "--root", self.root, status=1)
        self.assertIn("--yes", refused)
        self.assertIn("meta.redb", os.listdir(self.dir))
        finish = ("box", "reset", "--finish", "--root", self.root, "--dir", self.dir)
        # Nobody has asked for it yet.
        pillarbox(*finish)
        self.assertIn("meta.redb", os.listdir(self.dir))
        pillarbox("box", "reset", "--yes", "--root", self.root)
        # Killed in the middle, wherever that is, it goes on.
        for _ in range(5):
            begun = subprocess.Popen([binary(), *finish], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            time.sleep(random.random() / 100)
            begun.kill()
            begun.wait()
        pillarbox(*finish)
        self.assertEqual(os.listdir(self.dir), [])
        self.assertEqual(os.listdir(self.kept), [])
        self.serve()
        self.start_box()
        self.assertIsNotNone(self.code())


class Ssh(Box):
    """dropbear as pillarbox-ssh@.service starts it, one for each connection; its users are those
    of the unit, in a mount namespace."""

    def setUp(self):
        super().setUp()
        self.serve()
        self.answers()
        self.start_box()
        self.ssh("on")
        self.home = os.path.join(self.kept, "ssh/home")
        for name in ("passwd", "shadow"):
            with open(os.path.join(UNITS, "appliance/ssh", name)) as f:
                text = f.read().replace("/var/lib/pillarbox-box/ssh/home", self.home)
            with open(os.path.join(self.work, name), "w") as f:
                f.write(text)
        run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", os.path.join(self.work, "key"))
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.children = []
        self.thread = threading.Thread(target=self.accept, daemon=True)
        self.thread.start()
        self.addCleanup(self.close)

    def close(self):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        self.thread.join(WAIT)
        for child in self.children:
            if child.poll() is None:
                child.kill()
            child.wait()

    def accept(self):
        script = (
            f"mount --bind {self.work}/passwd /etc/passwd && mount --bind {self.work}/shadow /etc/shadow && "
            f"exec {binary()} box ssh serve --root {self.root} --dir {self.dir}"
        )
        space = ["unshare", "-m"] if os.geteuid() == 0 else ["unshare", "-rm"]
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            with client, open(os.path.join(self.work, "ssh.log"), "ab") as log:
                self.children.append(subprocess.Popen(
                    [*space, "sh", "-c", script], stdin=client, stdout=client, stderr=log))

    def ssh(self, *words):
        return pillarbox("box", "ssh", *words, "--root", self.root)

    def client(self, *options, key=False):
        common = ["-F", "none", "-p", self.port, "-o", "StrictHostKeyChecking=no", "-o", "LogLevel=INFO",
                  "-o", f"UserKnownHostsFile={self.work}/known", "-o", "IdentityAgent=none", "-o", "IdentitiesOnly=yes"]
        named = ["-o", f"IdentityFile={self.work}/key"] if key else ["-o", "PubkeyAuthentication=no"]
        return [str(it) for it in ("ssh", *common, *named, *options)]

    def talk(self, *words, key=False):
        """A person at the console: what they see, until it ends. Words are typed at prompts."""
        talk = subprocess.Popen(
            self.client("-tt", "console@127.0.0.1", key=key),
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )
        seen = b""
        end = time.monotonic() + WAIT
        try:
            for prompt, word in words:
                at = len(seen)
                while prompt.encode() not in seen[at:]:
                    ready, _, _ = select.select([talk.stdout], [], [], max(0, end - time.monotonic()))
                    data = os.read(talk.stdout.fileno(), 4096) if ready else b""
                    if not data:
                        self.fail(f"no {prompt!r} in:\n{seen.decode(errors='replace')}\n{self.logged()}")
                    seen += data
                talk.stdin.write(word.encode() + b"\r")
                talk.stdin.flush()
            talk.stdin.close()
            seen += talk.stdout.read()
            talk.wait(WAIT)
        finally:
            if talk.poll() is None:
                talk.kill()
                talk.wait()
            talk.stdout.close()
        return seen.decode(errors="replace")

    def logged(self):
        with open(os.path.join(self.work, "ssh.log"), errors="replace") as f:
            return f.read()

    def test_the_administrator_s_password_opens_the_console_alone(self):
        # Nothing is told before: no page, no addresses.
        seen = self.talk(("Password: ", "wrong words"), ("Password: ", ADMINISTRATOR), ("Choice: ", "0"))
        before = seen[: seen.index("Password: ")]
        self.assertNotIn("Certificate", before)
        self.assertNotIn("example.org", before)
        self.assertIn("not the administrator's password", seen)

    def test_no_other_command_no_file_and_no_forwarding(self):
        for command in (["id"], ["/bin/sh", "-c", "id; cat /etc/passwd"], ["-s", "sftp"]):
            options = command if command[0] == "-s" else []
            words = ["console@127.0.0.1", *(["sftp"] if options else command)]
            done = subprocess.run(self.client(*(["-s"] if options else []), *words), stdin=subprocess.DEVNULL,
                                  capture_output=True, text=True, timeout=WAIT)
            self.assertNotIn("uid=", done.stdout + done.stderr)
            self.assertNotIn("root:", done.stdout + done.stderr)
            self.assertNotEqual(done.returncode, 0)
        # As a way to the server's own ports.
        done = subprocess.run(self.client("-W", f"127.0.0.1:{self.base + 143}", "console@127.0.0.1"),
                              stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=WAIT)
        self.assertNotEqual(done.returncode, 0)
        self.assertNotIn("IMAP4", done.stdout)
        done = subprocess.run(
            self.client("-N", "-o", "ExitOnForwardFailure=yes", "-R", "0:127.0.0.1:1", "console@127.0.0.1"),
            stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=WAIT)
        self.assertNotEqual(done.returncode, 0)
        self.assertIn("forward", done.stderr)
        # Nobody else is a user there.
        done = subprocess.run(self.client("-o", "BatchMode=yes", "root@127.0.0.1"), stdin=subprocess.DEVNULL,
                              capture_output=True, text=True, timeout=WAIT)
        self.assertIn("Permission denied", done.stderr)

    def test_with_keys_nobody_comes_in_without(self):
        with open(os.path.join(self.work, "key.pub")) as f:
            key = f.read().strip()
        self.ssh("key", *key.split())
        self.assertEqual(self.ssh("keys").strip(), key)
        done = subprocess.run(self.client("-o", "BatchMode=yes", "console@127.0.0.1"), stdin=subprocess.DEVNULL,
                              capture_output=True, text=True, timeout=WAIT)
        self.assertIn("Permission denied", done.stderr)
        self.talk(("Password: ", ADMINISTRATOR), ("Choice: ", "0"), key=True)


class Rescue(unittest.TestCase):
    def test_every_message_comes_out_as_it_came_in(self):
        server = Server().start()
        self.addCleanup(server.remove)
        try:
            names = ["INBOX", "Work/2026 old"]
            client = server.imap()
            client.create('"Work/2026 old"')
            client.logout()
            sent = [harness.message(n) for n in range(3)]
            server.append("alice", '"Work/2026 old"', sent)
            kept = {name: server.bodies("alice", f'"{name}"') for name in names}
        finally:
            server.stop()
        to = os.path.join(server.directory, "rescued")
        said = pillarbox("rescue", to, "--account", f"alice@{DOMAIN}", "--dir", server.directory)
        self.assertIn("messages are in", said)
        self.assertEqual(os.listdir(to), [f"alice@{DOMAIN}"])
        for name, bodies in kept.items():
            place = os.path.join(to, f"alice@{DOMAIN}", *name.split("/"))
            files = sorted((it for it in os.listdir(place) if it.endswith(".eml")), key=lambda it: int(it[:-4]))
            found = []
            for file in files:
                with open(os.path.join(place, file), "rb") as f:
                    found.append(f.read())
            self.assertEqual(found, bodies)
        nowhere = pillarbox("rescue", to, "--dir", os.path.join(server.directory, "tls"), status=1)
        self.assertIn("there is no store", nowhere)


if __name__ == "__main__":
    harness.main()
