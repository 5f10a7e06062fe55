"""Debian packages of another architecture: found and checked by APT under a configuration of its
own, unpacked without running anything that is in them."""

import hashlib
import json
import os
import subprocess

from .common import Problem, run, say

# Suites that an image is made from; a machine of another release has other packages.
SUITE = "bookworm"
KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"


class Source:
    """A cache directory with packages of one architecture."""

    def __init__(self, cache, architecture, refresh, sources=None):
        self.architecture = architecture
        self.sources = sources.read_text() if sources else None
        # Other sources have other packages, so a place of their own.
        self.place = cache / (architecture + (f"-{digest_text(self.sources)[:8]}" if sources else ""))
        self.debs = self.place / "debs"
        self.debs.mkdir(parents=True, exist_ok=True)
        self.known_file = self.place / "resolved.json"
        self.known = {}
        if self.known_file.exists() and not refresh:
            self.known = json.loads(self.known_file.read_text())
        self.ready = False
        self.used = set()

    def closure(self, names):
        """The packages and all that they depend on, as files, in order of their names."""
        return self._files("closure", names)

    def alone(self, names):
        """These packages without what they depend on."""
        return self._files("alone", names)

    def kernel(self, name):
        """The package with the files of the kernel that `name` stands for."""
        return self._files("kernel", [name])

    def _files(self, how, names):
        request = how + " " + " ".join(sorted(names))
        files = self.known.get(request)
        if not files or not all((self.debs / file).exists() for file in files):
            files = self._download(how, names)
            self.known[request] = files
            self.known_file.write_text(json.dumps(self.known, indent=1, sort_keys=True))
        self.used.update(file.removesuffix(".deb") for file in files)
        return [self.debs / file for file in files]

    def _download(self, how, names):
        self._prepare()
        if how == "closure":
            names = self._closure_names(names)
        elif how == "kernel":
            names = [self._kernel_name(names[0])]
        say(f"downloading {len(names)} {self.architecture} packages, as far as they are not there")
        listed = self._apt("apt-get", "--print-uris", "download", *names)
        run("apt-get", "download", "-q", *names, cwd=self.debs, env=self._environment())
        return sorted(line.split()[1] for line in listed.splitlines() if line.startswith("'"))

    def _closure_names(self, names):
        listed = self._apt("apt-get", "install", "--print-uris", "-y", "-qq", "--no-install-recommends", *names)
        return sorted(line.split()[1].split("_")[0] for line in listed.splitlines() if line.startswith("'"))

    def _kernel_name(self, name):
        shown = self._apt("apt-cache", "show", "--no-all-versions", name)
        for line in shown.splitlines():
            if line.startswith("Depends: "):
                return line.split()[1].rstrip(",")
        raise Problem(f"APT knows no kernel {name}; try --refresh")

    def _prepare(self):
        if self.ready:
            return
        for part in ("state/lists/partial", "cache/archives/partial"):
            (self.place / part).mkdir(parents=True, exist_ok=True)
        (self.place / "status").write_text("")
        (self.place / "sources.list").write_text(self.sources or debian_sources())
        (self.place / "apt.conf").write_text("".join(f'{key} "{value}";\n' for key, value in {
            "APT::Architecture": self.architecture,
            "APT::Architectures": self.architecture,
            "APT::Sandbox::User": os.environ.get("USER", "root") if os.getuid() else "root",
            "APT::Get::List-Cleanup": "false",
            "Acquire::Languages": "none",
            "Dir::State": self.place / "state",
            "Dir::State::status": self.place / "status",
            "Dir::Cache": self.place / "cache",
            "Dir::Etc::sourcelist": self.place / "sources.list",
            "Dir::Etc::sourceparts": "/dev/null",
            "Dir::Etc::preferencesparts": "/dev/null",
        }.items()))
        say(f"asking Debian's mirror for {self.architecture} packages")
        self._apt("apt-get", "update", "-q")
        self.ready = True

    def _environment(self):
        return {**os.environ, "APT_CONFIG": str(self.place / "apt.conf")}

    def _apt(self, *command):
        return run(*command, env=self._environment(), stderr=subprocess.DEVNULL)


def debian_sources():
    """The sources of Debian that this machine's own APT has, with firmware too."""
    sites = run("apt-get", "indextargets", "--format", "$(ORIGIN)|$(CODENAME)|$(SITE)|$(RELEASE)",
                "Created-By: Packages")
    lines = set()
    for target in sites.splitlines():
        origin, codename, site, release = target.split("|")
        if origin == "Debian" and codename.startswith(SUITE):
            lines.add(f"deb [signed-by={KEYRING}] {site} {release} main non-free-firmware\n")
    if not lines:
        raise Problem(f"APT of this machine knows no source of Debian {SUITE}; add one to "
                      "/etc/apt/sources.list and run apt-get update")
    return "".join(sorted(lines))


def unpack(file, place):
    """Unpacks a package; links to directories (merged /usr) stay links."""
    place.mkdir(parents=True, exist_ok=True)
    read = subprocess.Popen(["dpkg-deb", "--fsys-tarfile", str(file)], stdout=subprocess.PIPE)
    wrote = subprocess.run(["tar", "-C", str(place), "-x", "-f", "-", "--keep-directory-symlink",
                            "--no-same-owner", "-p"], stdin=read.stdout)
    read.stdout.close()
    if read.wait() != 0 or wrote.returncode != 0:
        raise Problem(f"{file} could not be unpacked; remove it and build again")


def digest(file):
    """SHA-256 of a file, in hexadecimal."""
    with open(file, "rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def digest_text(text):
    """SHA-256 of a text, in hexadecimal."""
    return hashlib.sha256(text.encode()).hexdigest()
