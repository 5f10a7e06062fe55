"""An appliance that a test has: its image as built, its disk, the wizard's answers, its mail."""

import atexit
import imaplib
import os
import shutil
import smtplib
import socket
import ssl
import struct
import subprocess
import sys
import tempfile
import threading

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "clients"))
import writes
from guest import Guest, Serial
from harness import ROOT

HOST = "mail.example.org"
ADDRESS = "anna@example.org"
ADMINISTRATOR = "hard to guess at all"
PASSWORD = "correct horse 7"
# Cards are powers of two: orangepi-pc and raspi3b take no others.
CARD = 1 << 30
BUILD_SECONDS = 1200
BROKEN = (OSError, ssl.SSLError, smtplib.SMTPException)

WORK = tempfile.mkdtemp(prefix="images-")
atexit.register(shutil.rmtree, WORK, True)


def path(name):
    return os.path.join(WORK, name)


def run(*words, status=(0,), seconds=120):
    """Runs a program to its end: what it said; AssertionError if it ends otherwise."""
    words = [str(word) for word in words]
    done = subprocess.run(
        words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        timeout=seconds, text=True, errors="replace",
    )
    if done.returncode not in status:
        raise AssertionError(f"{' '.join(words)} ended with {done.returncode}:\n{done.stdout[-4000:]}")
    return done.stdout


def target_binary(target):
    directory = os.environ.get("PILLARBOX_BOARD_BINARIES") or os.environ.get("CARGO_TARGET_DIR")
    return os.path.join(directory or os.path.join(ROOT, "target"), target, "release", "pillarbox")


def signing_key():
    """A key of the test's own, that signs its updates; its public half goes into the images."""
    key = path("update.key")
    if not os.path.exists(key):
        run("minisign", "-G", "-W", "-p", path("update.pub"), "-s", key)
    return key


def build(board, version, binary=None):
    """The files of an image: the card, compressed, and the update. `binary`: in place of ours."""
    stem = path(f"pillarbox-{board}-{version}")
    if not os.path.exists(stem + ".img.zst"):
        architecture = "armv7-unknown-linux-gnueabihf" if board.endswith("armhf") else "aarch64-unknown-linux-musl"
        # Compressed less than one that is released, so no smaller.
        run(
            os.path.join(ROOT, "board", "build"), board, "--version", version, "--out", WORK, "--fast",
            "--binary", binary or target_binary(architecture), "--sign", signing_key(), seconds=BUILD_SECONDS,
        )
    return stem + ".img.zst", stem + ".update"


def new_disk(board, version, name):
    """A fresh card with an image on it."""
    disk = path(name)
    run("zstd", "-d", "-q", "-f", "--sparse", build(board, version)[0], "-o", disk)
    os.truncate(disk, max(CARD, os.path.getsize(disk)))
    return disk


def data_partition(disk):
    """(start, length) in bytes of partition 4."""
    with open(disk, "rb") as f:
        table = f.read(512)
    assert table[510:512] == b"\x55\xaa", "no partition table"
    start, length = struct.unpack_from("<II", table, 446 + 3 * 16 + 8)
    return start * 512, length * 512


# Where partitions of a card begin, as mtools takes it.
SLOT_AT = {"a": "@@68M", "b": "@@164M"}
# Root's shell on the first virtio console.
SHELL = """[Unit]
Description=shell of a test
[Service]
ExecStart=/bin/sh
Environment=PS1=# TERM=dumb PATH=/usr/bin:/usr/sbin:/run/bin
StandardInput=tty-force
StandardOutput=tty
StandardError=tty
TTYPath=/dev/hvc0
Restart=always
RestartSec=1
"""


def with_shell(disk, slot="a"):
    """Makes a card's slot give root's shell on a second line, for what a test has to look at inside:
    its initramfs is given another init, which adds a unit before systemd starts. The image itself is
    not touched."""
    place = tempfile.mkdtemp(dir=WORK)
    initrd, init = os.path.join(place, "initrd.img"), os.path.join(place, "init")
    with open(os.path.join(ROOT, "board", "initramfs", "init")) as f:
        text = f.read()
    last = "mount --move /run /root/run\n"
    assert text.count(last) == 1
    units = "/run/systemd/system"
    more = (
        # Busybox beside it: an image has few programs.
        "mkdir -p /run/bin\n/bin/busybox cp /bin/busybox /run/bin/\n/run/bin/busybox --install -s /run/bin\n"
        f"mkdir -p {units}/multi-user.target.wants\ncat >{units}/test-shell.service <<'END'\n{SHELL}END\n"
        f"ln -s ../test-shell.service {units}/multi-user.target.wants/\n"
    )
    with open(init, "w") as f:
        f.write(text.replace(last, more + last))
    os.chmod(init, 0o755)
    run("mcopy", "-n", "-o", "-i", disk + SLOT_AT[slot], "::initrd.img", initrd)
    archive = subprocess.run(
        ["cpio", "--quiet", "-o", "-H", "newc", "-R", "0:0"], input=b"init", cwd=place, capture_output=True, check=True
    )
    with open(initrd, "ab") as f:
        # A part of an initramfs begins at a multiple of four.
        f.write(b"\0" * (-f.tell() % 4) + archive.stdout)
    run("mcopy", "-n", "-o", "-i", disk + SLOT_AT[slot], initrd, "::initrd.img")


def question(title):
    """The prompt of a question of the wizard."""
    return rf"^{title}(?: \[[^\n]*\])?: "


ENGLISH = [
    (r"^Press Enter to begin", ""),
    (question("Language / Язык"), "1"),
    (question("Network"), ""),
    (question("Time zone"), ""),
    (question("Host name"), HOST),
    (question("Mail domain"), ""),
    (question("Services"), ""),
    (question("Certificate"), ""),
    (question("Administrator's password"), ADMINISTRATOR),
    (question("Once more"), ADMINISTRATOR),
    (question("Console by SSH"), "password"),
    (question("First account"), "anna"),
    (question("Its password"), PASSWORD),
    (question("Once more"), PASSWORD),
    (question("Mail to other servers"), "3"),
    (r"^A number changes that answer; yes applies them all: ", "yes"),
    (r"^Enter goes on with it, < changes it: ", None),
]
RUSSIAN = [
    (r"^Press Enter to begin", "ru"),
    (r"^Нажмите Enter, чтобы начать", ""),
    (question("Language / Язык"), "2"),
    (question("Сеть"), ""),
    (question("Часовой пояс"), ""),
    (question("Имя сервера"), HOST),
    (question("Почтовый домен"), ""),
    (question("Службы"), ""),
    (question("Сертификат"), ""),
    (question("Пароль администратора"), ADMINISTRATOR),
    (question("Ещё раз"), ADMINISTRATOR),
    (question("Консоль по SSH"), ""),
    (question("Первая учётная запись"), "anna"),
    (question("Пароль учётной записи"), PASSWORD),
    (question("Ещё раз"), PASSWORD),
    (question("Почта на другие серверы"), "3"),
    (r"^Номер — изменить ответ; да — применить всё: ", "да"),
    (r"^Enter — оставить, < — изменить: ", None),
]


class Box:
    """A guest and what a mail program of its owner has."""

    def __init__(self, disk, machine="virt-arm64", record=None, shell=False):
        self.guest = Guest(disk, machine, record, shell)
        self.disk = disk
        self.ca = os.path.join(self.guest.directory, "certificate.pem")

    def __enter__(self):
        self.guest.start()
        return self

    def __exit__(self, *_):
        self.guest.remove()

    def ready(self):
        """Waits until mail is served; seconds since power on."""
        seconds = self.guest.served()
        self.guest.certificate(self.ca)
        return seconds

    def tls(self):
        """What trusts this box's certificate and no other."""
        context = ssl.create_default_context(cafile=self.ca)
        context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
        # Its name is looked at where a client lets it be given (curl); the port is loopback's.
        context.check_hostname = False
        return context

    def imap(self):
        client = imaplib.IMAP4_SSL(
            "localhost", self.guest.port("imaps"), ssl_context=self.tls(), timeout=60
        )
        client.login(ADDRESS, PASSWORD)
        return client

    def curl(self, service, target, *options):
        """curl to a service by its real name, which is led to the forwarded port."""
        scheme = {"imaps": "imaps", "pop3s": "pop3s", "submissions": "smtps", "submission": "smtp"}[service]
        port = self.guest.port(service)
        return run(
            "curl", "-sS", "--max-time", 60, "--ssl-reqd", "--cacert", self.ca, "--user", f"{ADDRESS}:{PASSWORD}",
            "--resolve", f"{HOST}:{port}:127.0.0.1", f"{scheme}://{HOST}:{port}/{target}", *options,
        )

    def labels(self):
        return labels_of(self.imap())


class Ssh(Serial):
    """The console by SSH, at a terminal of that side."""

    def __init__(self, port):
        ours, theirs = socket.socketpair()
        self.process = subprocess.Popen(
            ["ssh", "-tt", "-F", "/dev/null", "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null",
             "-o", "IdentityAgent=none", "-o", "IdentityFile=/dev/null", "-o", "ConnectTimeout=60",
             "-p", str(port), "console@localhost"],
            stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True,
        )
        theirs.close()
        super().__init__(ours)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()
        self.close()


def labels_of(client):
    """The labels of all deliveries in an INBOX; AssertionError for a message that is not whole."""
    status, count = client.select("INBOX", readonly=True)
    assert status == "OK", count
    found = []
    if count != [b"0"]:
        _, answer = client.fetch("1:*", "(BODY.PEEK[])")
        for part in answer:
            if isinstance(part, tuple) and b"\r\nSubject: delivery-" in part[1]:
                label = part[1].split(b"\r\nSubject: ")[1].split(b"\r\n")[0].decode()
                assert part[1].rstrip().endswith(b"END " + label.encode()), (label, part[1][-200:])
                found.append(label)
    client.logout()
    return found


class Delivery(threading.Thread):
    """Submits labelled messages, one after the other, until told to stop or the box is gone.
    `acknowledged`: {label: how many writes of the box had been flushed when 250 came}."""

    def __init__(self, box, name):
        super().__init__(daemon=True)
        self.box, self.label = box, name
        self.acknowledged, self.tried = {}, set()
        self.error = None
        self.ending = threading.Event()

    def run(self):
        try:
            with smtplib.SMTP_SSL(
                "localhost", self.box.guest.port("submissions"), timeout=60, context=self.box.tls()
            ) as client:
                client.login(ADDRESS, PASSWORD)
                while not self.ending.is_set():
                    self.deliver(client)
        except BROKEN as error:
            # That the box goes away is what some tests are about.
            self.error = error

    def deliver(self, client):
        label = f"delivery-{self.label}-{len(self.tried)}"
        self.tried.add(label)
        body = "\r\n".join(f"line {n} of {label}" for n in range(len(self.tried) * 7 % 120))
        client.sendmail(
            ADDRESS, [ADDRESS],
            f"From: {ADDRESS}\r\nTo: {ADDRESS}\r\nSubject: {label}\r\n\r\n{body}\r\nEND {label}\r\n",
        )
        record = self.box.guest.record
        self.acknowledged[label] = writes.flushed(record) if record else 0

    def end(self):
        self.ending.set()
        self.join(90)
        assert not self.is_alive(), "a delivery hangs"
