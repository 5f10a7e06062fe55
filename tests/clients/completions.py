"""Completions in the shells themselves: each takes what `pillarbox completions SHELL` prints and is
asked, as by the Tab key, what may come next."""

import os
import pty
import re
import select
import subprocess
import tempfile
import time
import unittest

import harness
from harness import binary

# What is typed before Tab, and what the line becomes or what is offered.
CASES = [
    ("pillarbox que", {"queue"}),
    ("pillarbox queue re", {"release", "retry"}),
    ("pillarbox settings set pop3.login-t", {"pop3.login-type"}),
    ("pillarbox help stor", {"storage"}),
    ("pillarbox queue list --dom", {"--domain"}),
]
# A shell under test takes no longer for one answer.
SECONDS = 60


class Shells(unittest.TestCase):
    def setUp(self):
        home = tempfile.TemporaryDirectory()
        self.addCleanup(home.cleanup)
        self.home = home.name
        bin = os.path.join(self.home, "bin")
        os.mkdir(bin)
        os.symlink(os.path.abspath(binary()), os.path.join(bin, "pillarbox"))
        self.environment = {
            "PATH": f"{bin}:/usr/bin:/bin", "HOME": self.home, "TERM": "dumb", "LC_ALL": "C.UTF-8", "PS1": "ready> ",
            "XDG_CONFIG_HOME": self.home, "XDG_DATA_HOME": self.home,
        }

    def completions(self, shell):
        path = os.path.join(self.home, f"completions.{shell}")
        done = subprocess.run([binary(), "completions", shell], capture_output=True, text=True, timeout=60, check=True)
        with open(path, "w") as f:
            f.write(done.stdout)
        return path

    def run_script(self, *words):
        done = subprocess.run(
            words, env=self.environment, cwd=self.home, capture_output=True, text=True, timeout=SECONDS,
            stdin=subprocess.DEVNULL,
        )
        self.assertEqual((done.returncode, done.stderr), (0, ""), done.stdout)
        return set(done.stdout.split())

    def test_fish(self):
        path = self.completions("fish")
        for line, expected in CASES:
            found = self.run_script("fish", "--no-config", "-c", f"source {path}; complete -C '{line}'")
            self.assertEqual(found, expected, line)

    def tab(self, words, line, expected):
        """An interactive shell, the line typed into it, and Tab, until all of it is there."""
        pid, terminal = pty.fork()
        if pid == 0:
            os.chdir(self.home)
            os.execvpe(words[0], words, self.environment)
        seen = ""
        try:
            def until(pattern):
                nonlocal seen
                end = time.monotonic() + SECONDS
                while not re.search(pattern, seen):
                    ready, _, _ = select.select([terminal], [], [], max(0, end - time.monotonic()))
                    data = os.read(terminal, 4096) if ready else b""
                    self.assertTrue(data, f"no {pattern!r} in {seen!r}")
                    seen += data.decode(errors="replace")
            until(r"ready> (\x1b\[\?2004h)?$")
            seen = ""
            os.write(terminal, line.encode())
            until(re.escape(line))
            seen = ""
            # Several are only listed at the second one.
            os.write(terminal, b"\t" if len(expected) == 1 else b"\t\t")
            if len(expected) == 1:
                rest = next(iter(expected))[len(line.rsplit(" ", 1)[1]):]
                until(re.escape(rest))
            else:
                for word in expected:
                    until(rf"\b{re.escape(word)}\b")
        finally:
            os.kill(pid, 9)
            os.waitpid(pid, 0)
            os.close(terminal)

    def test_bash(self):
        path = self.completions("bash")
        startup = os.path.join(self.home, "bashrc")
        with open(startup, "w") as f:
            f.write(f"PS1='ready> '\nbind 'set bell-style none'\nbind 'set enable-bracketed-paste off'\nsource {path}\n")
        for line, expected in CASES:
            self.tab(["bash", "--noprofile", "--rcfile", startup, "-i"], line, expected)

    def test_zsh(self):
        path = self.completions("zsh")
        self.environment["ZDOTDIR"] = self.home
        with open(os.path.join(self.home, ".zshrc"), "w") as f:
            f.write(f"PS1='ready> '\nunsetopt beep\nautoload -Uz compinit && compinit -u\nsource {path}\n")
        for line, expected in CASES:
            self.tab(["zsh", "-i"], line, expected)


if __name__ == "__main__":
    harness.main()
