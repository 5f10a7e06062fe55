"""`pillarbox update` on a file that is laid out as a card: signed by Debian's minisign, from a file
and from an https server, spoiled in every way, killed in the middle; and a trial that the running
server's answer ends. What the boot loader would do is done here, in Python."""

import fcntl
import hashlib
import http.server
import os
import random
import shutil
import ssl
import struct
import subprocess
import tempfile
import threading
import time
import unittest
import zlib

import harness
from harness import binary, wait_for

MIB = 1 << 20
SLOT = 48 * MIB
COPIES = (3 * MIB, 3 * MIB + 64 * 1024)
SLOTS = {"a": 68 * MIB, "b": 68 * MIB + SLOT}
CARD = 68 * MIB + 2 * SLOT + 4 * MIB
LABEL = 4096
BOARD = "virt-arm64"
SEED = int(os.environ.get("PILLARBOX_SEED", random.randrange(1 << 32)))


def block(**values):
    """A copy of the boot state as U-Boot's `env export -c -s 0x400` writes it."""
    text = "".join(f"{name}={value}\0" for name, value in sorted(values.items())) + "\0"
    rest = text.encode().ljust(1020, b"\0")
    return struct.pack("<I", zlib.crc32(rest)) + rest


def read_block(data):
    if struct.unpack("<I", data[:4])[0] != zlib.crc32(data[4:]):
        return None
    words = data[4:].split(b"\0\0", 1)[0].decode().split("\0")
    return dict(word.split("=", 1) for word in words)


def head(image, board=BOARD, version="0.2.0", schema=3, length=None):
    length = len(image) if length is None else length
    return (
        f"pillarbox-update 1\nboard={board}\nversion={version}\nschema={schema}\n"
        f"length={length}\nsha256={hashlib.sha256(image).hexdigest()}\n\n"
    ).encode()


def compress(data, *options):
    return subprocess.run(["zstd", "-q", "-3", "-c", *options], input=data, capture_output=True, check=True).stdout


class Card:
    """A card in a file, whose slot a runs and is good."""

    def __init__(self, directory, trial=0, slot="a", **state):
        self.directory = directory
        self.path = os.path.join(directory, "card")
        table = bytearray(512)
        for number, (kind, start, length) in enumerate(
            ((0x0C, 4 * MIB, 64 * MIB), (0x83, SLOTS["a"], SLOT), (0x83, SLOTS["b"], SLOT))
        ):
            at = 446 + 16 * number
            table[at + 4] = kind
            table[at + 8 : at + 16] = struct.pack("<II", start // 512, length // 512)
        table[510:] = b"\x55\xaa"
        with open(self.path, "wb") as f:
            f.truncate(CARD)
            f.write(table)
        usual = dict(pb_order="a b", pb_good_a=1, pb_good_b=0, pb_tries_a=0, pb_tries_b=0, pb_serial="1f")
        self.write(COPIES[0], block(**{**usual, **state}))
        self.old = random.Random(SEED).randbytes(MIB)
        self.write(SLOTS["a"], self.old)
        self.write(SLOTS["a"] + SLOT - LABEL, head(self.old, version="0.1.0"))
        self.running(slot, trial)

    def running(self, slot, trial):
        self.cmdline = os.path.join(self.directory, "cmdline")
        with open(self.cmdline, "w") as f:
            f.write(f"console=ttyAMA0 pillarbox.slot={slot} pillarbox.trial={trial} panic=10\n")

    def write(self, at, data):
        with open(self.path, "r+b") as f:
            f.seek(at)
            f.write(data)

    def read(self, at, length):
        with open(self.path, "rb") as f:
            f.seek(at)
            return f.read(length)

    def state(self):
        copies = [read_block(self.read(at, 1024)) for at in COPIES]
        copies = [copy for copy in copies if copy]
        return max(copies, key=lambda copy: int(copy["pb_serial"], 16))

    def boots(self):
        state = self.state()
        good = lambda slot: state[f"pb_good_{slot}"] == "1"
        for slot in state["pb_order"].split():
            if good(slot) or int(state[f"pb_tries_{slot}"], 16) > 0:
                return slot
        return state["pb_order"][0]

    def holds(self, slot, image):
        return self.read(SLOTS[slot], len(image)) == image


class UpdateCase(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        print(f"  seed {SEED}")
        cls.shared = tempfile.mkdtemp(prefix="update-")
        for name in ("ours", "theirs"):
            cls.make("minisign", "-G", "-W", "-p", cls.at(f"{name}.pub"), "-s", cls.at(f"{name}.sec"))
        noise = random.Random(SEED + 1)
        # Half of it does not compress.
        cls.image = b"".join(noise.randbytes(MIB) + bytes(MIB) for _ in range(20))
        cls.packed = compress(cls.image)

    @classmethod
    def tearDownClass(cls):
        shutil.rmtree(cls.shared, ignore_errors=True)

    @classmethod
    def at(cls, name):
        return os.path.join(cls.shared, name)

    @classmethod
    def make(cls, *command):
        subprocess.run(command, check=True, stdin=subprocess.DEVNULL, capture_output=True, timeout=120)

    def setUp(self):
        self.work = tempfile.mkdtemp(prefix="update-")
        self.addCleanup(shutil.rmtree, self.work, ignore_errors=True)
        self.card = Card(self.work)
        self.downloads = os.path.join(self.work, "box")
        os.mkdir(self.downloads)
        self.dir = os.path.join(self.work, "store")
        self.board()

    def board(self, **more):
        values = dict(
            board=BOARD, version="0.1.0", schema=3, disk=self.card.path, work=self.downloads,
            cmdline=self.card.cmdline, key=self.at("ours.pub"), state="uboot",
        )
        self.board_file = os.path.join(self.work, "board")
        with open(self.board_file, "w") as f:
            f.writelines(f"{name}={value}\n" for name, value in {**values, **more}.items())

    def update_file(self, data, key="ours", name="new.update"):
        path = os.path.join(self.work, name)
        with open(path, "wb") as f:
            f.write(data)
        self.make("minisign", "-S", "-H", "-s", self.at(f"{key}.sec"), "-m", path)
        return path

    def command(self, *words):
        return [binary(), "update", *words, "--board-file", self.board_file, "--dir", self.dir]

    def update(self, *words):
        done = subprocess.run(
            self.command(*words), stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=300
        )
        return done.returncode, done.stdout + done.stderr

    @staticmethod
    def memory(pid):
        """The most that was resident so far, kB; 0 before it runs and when it has ended."""
        try:
            with open(f"/proc/{pid}/status") as f:
                lines = dict(line.split(":", 1) for line in f)
        except OSError:
            return 0
        return int(lines.get("VmHWM", "0").split()[0]) if lines["Name"].strip() == "pillarbox" else 0

    def refused(self, why, *words):
        """It says so, and nothing that boots has changed."""
        before, boots = self.card.state(), self.card.boots()
        code, said = self.update(*words)
        self.assertNotEqual(code, 0, said)
        self.assertIn(why, said)
        self.assertEqual(len(said.strip().splitlines()[-1:]), 1)
        self.assertEqual(self.card.boots(), boots)
        self.assertTrue(self.card.holds("a", self.card.old))
        return before == self.card.state()


class FromAFile(UpdateCase):
    def test_it_is_written_and_tried_and_memory_stays_small(self):
        path = self.update_file(head(self.image) + self.packed)
        process = subprocess.Popen(self.command(path), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        most = 0
        while process.poll() is None:
            most = max(most, self.memory(process.pid))
        said = process.stdout.read()
        process.stdout.close()
        self.assertEqual(process.returncode, 0, said)
        print(f"  {len(self.packed) // 1000} kB of update, {most} kB of memory at most")
        self.assertTrue(0 < most < 40_000, most)
        self.assertIn("The signature is good: version 0.2.0 for virt-arm64.", said)
        self.assertIn("Done. The next start tries version 0.2.0 in slot b, up to 3 times.", said)
        self.assertTrue(self.card.holds("b", self.image))
        self.assertTrue(self.card.holds("a", self.card.old))
        expected = dict(pb_order="b a", pb_good_a="1", pb_good_b="0", pb_tries_a="0", pb_tries_b="3", pb_serial="20")
        self.assertEqual(self.card.state(), expected)
        self.assertEqual(self.card.boots(), "b")
        code, said = self.update("--status")
        self.assertEqual(code, 0, said)
        self.assertIn("Slot a      version 0.1.0 (schema 3), good, runs", said)
        self.assertIn("Slot b      version 0.2.0 (schema 3), on trial, 3 tries left", said)
        self.assertIn("Next start  slot b", said)
        # Not wanted after all.
        code, said = self.update("--back")
        self.assertNotEqual(code, 0, said)
        self.assertIn("slot b holds no version that is known to be good", said)

    def test_what_is_not_as_it_was_signed_is_refused_before_anything_is_written(self):
        whole = head(self.image) + self.packed
        path = self.update_file(whole)
        noise = random.Random(SEED + 2)
        spoiled = [whole[:-1], whole + b"x", whole[: len(whole) // 2], b""]
        for _ in range(4):
            at = noise.randrange(len(whole))
            spoiled.append(whole[:at] + bytes([whole[at] ^ 1 << noise.randrange(8)]) + whole[at + 1 :])
        for data in spoiled:
            with open(path, "wb") as f:
                f.write(data)
            for words in ((path,), (path, "--downgrade")):
                self.assertTrue(self.refused("", *words), "the boot state was written")
        with open(path, "wb") as f:
            f.write(whole)
        signature = path + ".minisig"
        self.make("minisign", "-S", "-H", "-s", self.at("theirs.sec"), "-m", path, "-x", signature)
        self.assertTrue(self.refused("does not trust", path))
        os.remove(signature)
        self.assertTrue(self.refused("minisig: No such file", path))
        elsewhere = os.path.join(self.work, "elsewhere")
        self.make("minisign", "-S", "-H", "-s", self.at("ours.sec"), "-m", path, "-x", elsewhere)
        self.board(key=os.path.join(self.work, "none"))
        self.assertTrue(self.refused("no public key", path, "--signature", elsewhere))
        self.assertTrue(self.card.holds("b", bytes(MIB)))
        self.board()
        code, said = self.update(path, "--signature", elsewhere)
        self.assertEqual(code, 0, said)

    def test_what_is_for_another_machine_or_older_or_too_large_is_refused(self):
        for why, data in (
            ("is for rpi4, this machine is virt-arm64", head(self.image, board="rpi4") + self.packed),
            ("older than 0.1.0", head(self.image, version="0.0.9") + self.packed),
            ("reads up to schema 2", head(self.image, schema=2) + self.packed),
            ("no update file", b"x" + head(self.image) + self.packed),
            ("has room for", head(self.image, length=SLOT) + self.packed),
        ):
            self.assertTrue(self.refused(why, self.update_file(data)), why)
        # These are signed, and wrong all the same: the idle slot is lost, and not started.
        for why, data in (
            ("longer than it says", head(self.image, length=len(self.image) - 1) + self.packed),
            ("does not hold what it says", head(self.image, length=len(self.image) + 1) + self.packed),
            ("does not hold what it says", head(b"else", length=len(self.image)) + self.packed),
            ("can't be unpacked", head(self.image) + self.packed[: len(self.packed) // 2]),
            ("can't be unpacked", head(self.image) + compress(bytes(200 * MIB), "--long=27")),
        ):
            self.refused(why, self.update_file(data))
            self.assertIn("version not known, not to be started", self.update("--status")[1])
        code, said = self.update(self.update_file(head(self.image, version="0.0.9") + self.packed), "--downgrade")
        self.assertEqual(code, 0, said)
        self.assertEqual(self.card.boots(), "b")

    def test_not_while_another_is_under_way_nor_on_trial_nor_without_slots(self):
        path = self.update_file(head(self.image) + self.packed)
        with open(self.card.path, "rb") as f:
            fcntl.flock(f, fcntl.LOCK_EX)
            self.assertTrue(self.refused("another update is under way", path))
        self.card = Card(self.work, slot="b", trial=1, pb_order="b a", pb_tries_b=2)
        self.assertTrue(self.refused("on trial itself", path))
        self.card = Card(self.work)
        self.card.write(446, bytes(64))
        self.assertIn("no two slots", self.update(path)[1])
        self.board(state="grub")
        self.assertIn("form that is not known", self.update(path)[1])
        os.remove(self.board_file)
        self.assertIn("no pillarbox appliance", self.update(path)[1])
        self.assertEqual(self.update("--confirm")[0], 0)

    def test_killed_at_any_moment_it_boots_and_the_next_one_succeeds(self):
        path = self.update_file(head(self.image) + self.packed)
        noise = random.Random(SEED + 3)
        cut = 0
        for n in range(6):
            self.card = Card(self.work, pb_good_b=1)
            # One moment in each: when so much of the slot is there, or when the state says so.
            where = SLOTS["b"] + noise.randrange(0, len(self.image) - MIB) // (2 * MIB) * 2 * MIB
            if n == 0:
                seen = lambda: self.card.state()["pb_good_b"] == "0"
            else:
                seen = lambda: any(self.card.read(where, 64))
            process = subprocess.Popen(self.command(path), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            while process.poll() is None and not seen():
                pass
            process.kill()
            process.wait()
            if self.card.boots() == "b":
                self.assertTrue(self.card.holds("b", self.image))
            else:
                cut += 1
                self.assertEqual(self.card.state()["pb_good_b"], "0")
            self.assertTrue(self.card.holds("a", self.card.old))
            code, said = self.update(path)
            self.assertEqual(code, 0, said)
            self.assertTrue(self.card.holds("b", self.image))
        print(f"  {cut} of 6 were killed before they were done")
        self.assertGreater(cut, 0)


class Pages(http.server.BaseHTTPRequestHandler):
    """What is at which path."""

    pages = {}
    stalled = threading.Event()

    def do_GET(self):
        what = self.pages.get(self.path)
        if isinstance(what, str):
            self.send_response(302)
            self.send_header("Location", what)
            self.end_headers()
            return
        if what is None:
            self.send_error(404)
            return
        self.send_response(200)
        if self.path != "/nolength":
            self.send_header("Content-Length", str(len(what)))
        self.end_headers()
        if self.path == "/cut":
            what = what[: len(what) // 2]
        if self.path == "/stalls":
            self.wfile.write(what[: len(what) // 2])
            self.stalled.set()
            self.rfile.read()
            return
        self.wfile.write(what)

    def log_message(self, *_):
        pass


class Web(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_):
        """Clients that hang up, or do not trust it, are what the tests are about."""


class FromAUrl(UpdateCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.make(
            "openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
            "-keyout", cls.at("ca.key"), "-out", cls.at("ca.pem"), "-days", "30", "-subj", "/CN=Test CA",
        )
        cls.make(
            "openssl", "req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
            "-keyout", cls.at("server.key"), "-out", cls.at("server.csr"), "-subj", "/CN=127.0.0.1",
        )
        with open(cls.at("extensions"), "w") as f:
            f.write("subjectAltName=IP:127.0.0.1\nbasicConstraints=CA:FALSE\n")
        cls.make(
            "openssl", "x509", "-req", "-in", cls.at("server.csr"), "-CA", cls.at("ca.pem"), "-CAkey", cls.at("ca.key"),
            "-CAcreateserial", "-out", cls.at("server.pem"), "-days", "20", "-extfile", cls.at("extensions"),
        )
        cls.web = Web(("127.0.0.1", 0), Pages)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(cls.at("server.pem"), cls.at("server.key"))
        cls.web.socket = context.wrap_socket(cls.web.socket, server_side=True, do_handshake_on_connect=False)
        threading.Thread(target=cls.web.serve_forever, daemon=True).start()
        cls.url = f"https://127.0.0.1:{cls.web.server_address[1]}"

    @classmethod
    def tearDownClass(cls):
        cls.web.shutdown()
        cls.web.server_close()
        super().tearDownClass()

    def setUp(self):
        super().setUp()
        path = self.update_file(head(self.image) + self.packed)
        with open(path, "rb") as new, open(path + ".minisig", "rb") as signature:
            new, self.signature = new.read(), signature.read()
        spoiled = bytearray(new)
        spoiled[len(new) // 2] ^= 1
        names = ("/new", "/moved", "/away", "/nolength", "/cut", "/stalls", "/spoiled", "/around", "/plain", "/huge")
        Pages.pages = {f"{name}.minisig": self.signature for name in names}
        Pages.pages.update({
            "/new": new, "/nolength": new, "/cut": new, "/stalls": new, "/spoiled": bytes(spoiled),
            "/moved": "/away", "/away": f"{self.url}/new", "/around": "/around", "/plain": "http://127.0.0.1/new",
        })

    def download(self, name, *words):
        return self.update(f"{self.url}{name}", "--tls-authorities", self.at("ca.pem"), *words)

    def test_it_is_downloaded_checked_and_written(self):
        for name in ("/new", "/moved"):
            self.card = Card(self.work)
            code, said = self.download(name)
            self.assertEqual(code, 0, said)
            self.assertTrue(self.card.holds("b", self.image))
            self.assertEqual(self.card.boots(), "b")
            self.assertEqual(os.listdir(self.downloads), [])

    def test_what_is_not_whole_or_not_ours_is_refused(self):
        for name, why in (
            ("/cut", "ends before its end"),
            ("/spoiled", "not as it was signed"),
            ("/nolength", "gives no length"),
            ("/around", "leads from one place to the next"),
            ("/plain", "no https URL"),
            ("/huge", "status 404"),
            ("/nothing", "status 404"),
        ):
            words = (f"{self.url}{name}", "--tls-authorities", self.at("ca.pem"))
            self.assertTrue(self.refused(why, *words), name)
        self.assertTrue(self.refused("", f"{self.url}/new"), "an unknown authority is not trusted")
        self.assertTrue(self.refused("No such file", self.url.replace("https", "http") + "/new"))
        self.assertTrue(self.card.holds("b", bytes(MIB)))
        self.assertEqual(os.listdir(self.downloads), [])

    def test_killed_while_it_downloads_nothing_is_left(self):
        Pages.stalled.clear()
        words = self.command(f"{self.url}/stalls", "--tls-authorities", self.at("ca.pem"))
        process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.assertTrue(Pages.stalled.wait(60))
        before = self.card.state()
        process.kill()
        process.wait()
        self.assertEqual(os.listdir(self.downloads), [])
        self.assertEqual((self.card.state(), self.card.boots()), (before, "a"))
        self.assertTrue(self.card.holds("b", bytes(MIB)))
        self.assertEqual(self.download("/new")[0], 0)


class Confirmed(UpdateCase):
    """By a server that runs."""

    def serve(self, *options):
        server = harness.Server(directory=self.dir)
        server.announces = None
        words = [binary(), "serve", "--dir", self.dir, "--port-base", str(server.base), "--address", "127.0.0.1"]
        server.command = lambda: [*words, *options]
        self.addCleanup(server.stop)
        return server

    def test_a_trial_ends_when_the_server_answers(self):
        self.card = Card(self.work, slot="b", trial=1, pb_order="b a", pb_tries_b=2)
        self.board(version="0.2.0")
        waiting = subprocess.Popen(
            self.command("--confirm"), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        # Nothing serves yet, so it waits.
        time.sleep(1)
        self.assertIsNone(waiting.poll())
        self.assertEqual(self.card.state()["pb_good_b"], "0")
        self.serve("--hold-schema").start()
        said, _ = waiting.communicate(timeout=60)
        self.assertEqual(waiting.returncode, 0, said)
        self.assertIn("Version 0.2.0 in slot b is kept.", said)
        state = self.card.state()
        self.assertEqual((state["pb_good_b"], state["pb_order"]), ("1", "b a"))
        self.assertIn("good already", self.update("--confirm")[1])
        self.assertIn("version 0.2.0 (schema 3), good, runs", self.update("--status")[1])
        # Back to the other one, and all of it is in the audit log.
        code, said = self.update("--back")
        self.assertEqual(code, 0, said)
        self.assertIn("The next start is that of slot a, version 0.1.0.", said)
        self.assertEqual(self.card.boots(), "a")
        self.card.running("a", 0)
        code, said = self.update(self.update_file(head(self.image) + self.packed))
        self.assertEqual(code, 0, said)
        log = subprocess.run(
            [binary(), "log", "--dir", self.dir], capture_output=True, text=True, check=True, timeout=60
        ).stdout
        for noted in ("update-confirm 0.2.0", "update-back 0.1.0", "update-install 0.2.0"):
            self.assertIn(noted, log)

    def test_the_way_back_is_closed_where_the_mail_could_not_be_read(self):
        self.card = Card(self.work, slot="b", pb_order="b a", pb_good_b=1)
        self.card.write(SLOTS["a"] + SLOT - LABEL, head(self.card.old, version="0.0.5", schema=2))
        self.assertTrue(self.refused("version 0.0.5 reads up to schema 2", "--back"))
        self.serve().start()
        self.assertTrue(self.refused("the store has schema 3", "--back"))


if __name__ == "__main__":
    harness.main()
