"""An emulated board: QEMU from its firmware on, one disk or card, the network by ports of loopback
alone, and a person at the serial line of 115200 baud."""

import json
import os
import re
import shutil
import socket
import ssl
import subprocess
import tempfile
import threading
import time

# Ten bits a byte.
BYTES_PER_SECOND = 115200 / 10
MEMORY = 256
# The services that are forwarded, by their ports in the guest.
SERVICES = {"imap": 143, "imaps": 993, "pop3s": 995, "submission": 587, "submissions": 465, "ssh": 22}
BOOT_SECONDS = 240
QMP_SECONDS = 30
# What the person at the line waits for anything.
PATIENCE = 120
# QEMU's options of each board, which have its firmware, processor and memory; how its disk and its
# network are connected.
MACHINES = {
    "virt-arm64": (
        ["qemu-system-aarch64", "-M", "virt", "-cpu", "cortex-a53", "-smp", "2", "-m", str(MEMORY),
         "-bios", "/usr/lib/u-boot/qemu_arm64/u-boot.bin"],
        ["-device", "virtio-blk-pci,drive=disk"],
        ["-device", "virtio-net-pci,netdev=net", "-device", "virtio-rng-pci", "-device", "virtio-balloon-pci,id=balloon"],
    ),
    "virt-armhf": (
        ["qemu-system-arm", "-M", "virt", "-cpu", "cortex-a7", "-smp", "2", "-m", str(MEMORY),
         "-bios", "/usr/lib/u-boot/qemu_arm/u-boot.bin"],
        ["-device", "virtio-blk-pci,drive=disk"],
        ["-device", "virtio-net-pci,netdev=net", "-device", "virtio-rng-pci", "-device", "virtio-balloon-pci,id=balloon"],
    ),
}


class Serial:
    """The line: what the guest says is read all the time, no faster than the line carries it."""

    def __init__(self, line, pace=BYTES_PER_SECOND):
        """`line`: a connected socket, or the path of one; `pace`: bytes a second."""
        self.pace = pace
        if isinstance(line, str):
            self.socket = socket.socket(socket.AF_UNIX)
            self.socket.connect(line)
        else:
            self.socket = line
        self.lock = threading.Lock()
        self.shown = b""
        # Where what was said since the last answer begins.
        self.fresh = 0
        self.closed = False
        self.reader = threading.Thread(target=self.read, daemon=True)
        self.reader.start()

    def read(self):
        budget = time.monotonic()
        while True:
            try:
                data = self.socket.recv(256)
            except OSError:
                data = b""
            if not data:
                self.closed = True
                return
            with self.lock:
                self.shown += data
            budget = max(budget, time.monotonic()) + len(data) / self.pace
            time.sleep(max(0, budget - time.monotonic()))

    def text(self):
        """All that was said."""
        with self.lock:
            return plain(self.shown)

    def said(self):
        """What was said since the last answer."""
        with self.lock:
            return plain(self.shown[self.fresh :])

    def until(self, *patterns, seconds=PATIENCE):
        """Waits until one of the patterns (^ is a line's beginning) was said since the last answer;
        says which, the one that was said last if there are several."""
        end = time.monotonic() + seconds
        while True:
            text = self.said()
            found = []
            for pattern in patterns:
                places = [it.end() for it in re.finditer(pattern, text, re.M)]
                if places:
                    found.append((places[-1], pattern))
            if found:
                return max(found)[1]
            if self.closed or time.monotonic() > end:
                why = "the line is closed" if self.closed else f"{seconds} s"
                raise AssertionError(f"waited for {patterns} in vain ({why}):\n{self.text()[-3000:]}")
            time.sleep(0.02)

    def type(self, answer, end="\r"):
        with self.lock:
            self.fresh = len(self.shown)
        for byte in (answer + end).encode():
            self.socket.sendall(bytes([byte]))
            time.sleep(1 / self.pace)

    def converse(self, answers, done, seconds=PATIENCE):
        """Answers each prompt as it comes, until `done` is said: `answers` is [(pattern, answer)],
        an answer of None may come any number of times and is Enter."""
        open_answers = list(answers)
        while True:
            patterns = [pattern for pattern, _ in open_answers]
            met = self.until(done, *dict.fromkeys(patterns), seconds=seconds)
            if met == done:
                left = [pattern for pattern, answer in open_answers if answer is not None]
                assert not left, f"never asked: {left}\n{self.text()[-3000:]}"
                return
            place = patterns.index(met)
            answer = open_answers[place][1]
            if answer is not None:
                del open_answers[place]
            self.type(answer or "")

    def close(self):
        self.socket.close()


class Shell(Serial):
    """Root's shell on a line of its own, which a card has only after box.with_shell."""

    def __init__(self, path):
        super().__init__(path, pace=1e6)

    def run(self, command, seconds=PATIENCE, status=0):
        """What a command says; AssertionError if it ends with another status."""
        # Its own echo of the line does not have the number.
        self.type(f"{command}; echo ENDED-$?-", "\n")
        self.until(r"ENDED-\d+-", seconds=seconds)
        said = self.said()
        ended = re.search(r"ENDED-(\d+)-", said)
        output = said[: ended.start()].rpartition("echo ENDED-$?-\n")[2]
        assert int(ended.group(1)) == status, f"{command} ended with {ended.group(1)}:\n{output}"
        return output


def plain(data):
    """Text without carriage returns and escape sequences (U-Boot's)."""
    text = data.decode("utf-8", "replace").replace("\r", "")
    return re.sub("\x1b\\[[0-9;?]*[a-zA-Z]|\x1b[78]", "", text)


class Guest:
    """One board with a `disk` (raw). `record`: a file that takes the log of all it writes. `shell`:
    the disk was made to give root's shell on a second line."""

    def __init__(self, disk, machine="virt-arm64", record=None, shell=False):
        self.disk, self.machine, self.record = disk, machine, record
        self.with_shell = shell
        self.directory = tempfile.mkdtemp(prefix="guest-")
        self.ports = free_ports(len(SERVICES))
        self.process = self.serial = self.qmp = self.shell = None

    def port(self, service):
        return self.ports[list(SERVICES).index(service)]

    def path(self, name):
        return os.path.join(self.directory, name)

    def network(self):
        forwards = "".join(
            f",hostfwd=tcp:127.0.0.1:{self.port(name)}-:{port}" for name, port in SERVICES.items()
        )
        # restrict: nothing of the guest's leaves this machine.
        return f"user,id=net,restrict=on{forwards}"

    def drive(self):
        """The options of the disk."""
        if self.record is None:
            return ["-blockdev", f"driver=file,node-name=disk,filename={self.disk},cache.direct=off"]
        with open(self.record, "wb") as log:
            log.truncate(16 << 30)
        return [
            "-blockdev", f"driver=file,node-name=under,filename={self.disk}",
            "-blockdev", f"driver=file,node-name=log,filename={self.record}",
            "-blockdev", "driver=blklogwrites,node-name=disk,file=under,log=log,log-sector-size=512",
        ]

    def command(self):
        """QEMU's: the machine, its disk as it has one, network, serial line."""
        common = [
            "-display", "none", "-monitor", "none", "-nodefaults", "-S",
            "-chardev", f"socket,id=line,path={self.path('line')},server=on,wait=off",
            "-serial", "chardev:line",
            "-qmp", f"unix:{self.path('qmp')},server=on,wait=off",
        ]
        machine, disk, network = MACHINES[self.machine]
        if self.with_shell:
            common += [
                "-chardev", f"socket,id=shell,path={self.path('shell')},server=on,wait=off",
                "-device", "virtio-serial-pci", "-device", "virtconsole,chardev=shell",
            ]
        return [*machine, *common, *self.drive(), *disk, "-netdev", self.network(), *network]

    def start(self):
        """Switches it on; the time of that is `began`."""
        self.errors = open(self.path("errors"), "ab")
        self.process = subprocess.Popen(
            self.command(), stdin=subprocess.DEVNULL, stdout=self.errors, stderr=self.errors,
            start_new_session=True,
        )
        for name in ("line", "qmp"):
            self.wait(lambda: os.path.exists(self.path(name)), QMP_SECONDS, f"no {name} of QEMU")
        self.serial = Serial(self.path("line"))
        self.qmp = Qmp(self.path("qmp"))
        if self.with_shell:
            self.shell = Shell(self.path("shell"))
        self.began, self.busy_before = time.monotonic(), busy()
        self.qmp.ask("cont")
        return self

    def wait(self, what, seconds, message, every=0.05):
        end = time.monotonic() + seconds
        while True:
            if self.process.poll() is not None:
                with open(self.path("errors"), errors="replace") as f:
                    raise AssertionError(f"QEMU ended with {self.process.returncode}: {f.read()[-2000:]}")
            value = what()
            if value:
                return value
            if time.monotonic() > end:
                shown = self.serial.text()[-3000:] if self.serial else ""
                raise AssertionError(f"{message} ({seconds} s):\n{shown}")
            time.sleep(every)

    def greeting(self, service="imaps"):
        """What a service behind TLS says first, or None."""
        try:
            with socket.create_connection(("127.0.0.1", self.port(service)), 10) as s:
                # Who it is, certificates() is asked for; here only that it answers.
                context = ssl._create_unverified_context()
                with context.wrap_socket(s, server_hostname="localhost") as tls:
                    return tls.recv(1000)
        except OSError:
            return None

    def served(self, seconds=BOOT_SECONDS):
        """Waits for IMAP's greeting over TLS; seconds since power on."""
        self.wait(lambda: (self.greeting() or b"").startswith(b"* OK"), seconds, "IMAP is not served", 0.2)
        return time.monotonic() - self.began

    def others(self):
        """How many processors others than this guest have had since power on, on the average: where
        that is much, the guest's times say little."""
        with open(f"/proc/{self.process.pid}/stat") as f:
            own = sum(int(word) for word in f.read().rpartition(")")[2].split()[11:13])
        ticks = os.sysconf("SC_CLK_TCK")
        return max(0, (busy() - self.busy_before - own) / ticks / (time.monotonic() - self.began))

    def certificate(self, path):
        """Writes the certificate that IMAP shows to `path`: what a client then trusts, and no other."""
        pem = ssl.get_server_certificate(("127.0.0.1", self.port("imaps")), timeout=30)
        with open(path, "w") as f:
            f.write(pem)
        return path

    def memory(self):
        """(used, total) of what the guest's kernel has to give, bytes: by its balloon."""
        balloon = "/machine/peripheral/balloon"
        self.qmp.ask("qom-set", path=balloon, property="guest-stats-polling-interval", value=1)

        def look():
            stats = self.qmp.ask("qom-get", path=balloon, property="guest-stats")
            fresh = stats["last-update"] and stats["stats"].get("stat-available-memory", -1)
            # A figure that is not known is all ones.
            return stats["stats"] if fresh and 0 < fresh < 1 << 62 else None

        stats = self.wait(look, 60, "the guest tells nothing of its memory")
        return stats["stat-total-memory"] - stats["stat-available-memory"], stats["stat-total-memory"]

    def pull(self):
        """The plug: nothing is written any more."""
        if self.process and self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        if self.serial:
            self.serial.close()
            self.qmp.close()
            if self.shell:
                self.shell.close()
            self.serial = self.shell = None

    def stop(self):
        """Stands still, then ends, so that a record of its writes is whole."""
        self.qmp.ask("stop")
        self.qmp.ask("quit")
        self.process.wait(QMP_SECONDS)
        self.pull()

    def remove(self):
        self.pull()
        shutil.rmtree(self.directory, ignore_errors=True)


class Qmp:
    """QEMU's control line."""

    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(QMP_SECONDS)
        self.socket.connect(path)
        self.lines = self.socket.makefile("r")
        self.lines.readline()
        self.ask("qmp_capabilities")

    def ask(self, command, **arguments):
        self.socket.sendall(json.dumps({"execute": command, "arguments": arguments}).encode() + b"\n")
        while True:
            answer = json.loads(self.lines.readline())
            if "error" in answer:
                raise AssertionError(f"{command}: {answer['error']}")
            if "return" in answer:
                return answer["return"]

    def close(self):
        self.lines.close()
        self.socket.close()


def busy():
    """The time that all processors were at work, or were taken from this machine; in ticks."""
    with open("/proc/stat") as f:
        user, nice, system, _, _, irq, softirq, steal = (int(it) for it in f.readline().split()[1:9])
    return user + nice + system + irq + softirq + steal


def free_ports(count):
    """Ports of loopback that were free at one moment."""
    sockets = [socket.socket() for _ in range(count)]
    for it in sockets:
        it.bind(("127.0.0.1", 0))
    ports = [it.getsockname()[1] for it in sockets]
    for it in sockets:
        it.close()
    return ports
