"""What the steps share: running tools, saying what goes on, reading a board's meta."""

import subprocess


class Problem(Exception):
    """Why no image can be built, in words that say what to do."""


def say(text):
    print(f"board/build: {text}", flush=True)


def run(*command, quiet=True, **options):
    """Runs a tool; if it fails, what it said is the problem."""
    words = [str(word) for word in command]
    capture = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT} if quiet else {}
    done = subprocess.run(words, text=True, **{**capture, **options})
    if done.returncode != 0:
        said = (done.stdout or "").strip()[-2000:]
        raise Problem(f"{' '.join(words)[:300]} failed with status {done.returncode}\n{said}")
    return done.stdout or ""


# What a meta must name, and what it may.
REQUIRED = {"title", "architecture", "kernel", "target", "boot", "consoles", "cmdline"}
OPTIONAL = {"bootloader": "", "dtb": "", "dtb_directory": "", "firmware": "", "hook": ""}


def read_meta(folder):
    """`key=value` lines of a board; values may be empty, lines with # are comments."""
    meta = dict(OPTIONAL, name=folder.name, folder=folder)
    for line in (folder / "meta").read_text().splitlines():
        if line.strip() and not line.startswith("#"):
            key, _, value = line.partition("=")
            if key not in REQUIRED | OPTIONAL.keys():
                raise Problem(f"{folder.name}/meta: there is no key {key}")
            meta[key] = value.strip()
    missing = REQUIRED - meta.keys()
    if missing:
        raise Problem(f"{folder.name}/meta: {', '.join(sorted(missing))} missing")
    return meta


def read_list(*paths):
    """The words of files with one or more a line, # begins a comment."""
    words = []
    for path in paths:
        if path.exists():
            for line in path.read_text().splitlines():
                words += line.partition("#")[0].split()
    return words
