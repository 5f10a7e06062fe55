"""The update file: a header in text, then the slot's image in zstd; and its signature."""

import re

from .common import Problem, run, say
from .packages import digest


def schema(tree):
    """The newest schema of the store that this version writes: the oldest it knows, and its steps."""
    source = (tree / "src/store/schema.rs").read_text()
    found = re.search(r"const SCHEMAS: Schemas = Schemas \{\s*oldest: (\d+),\s*steps: &\[([^\]]*)\]", source)
    if not found:
        raise Problem("src/store/schema.rs has its table SCHEMAS in another form; mend board/steps/update.py")
    return int(found[1]) + len([step for step in found[2].split(",") if step.strip()])


def public_key(secret):
    """The file beside the secret key that goes into the image."""
    if not secret:
        say("no --sign: the image will take no updates")
        return None
    public = secret.with_suffix(".pub")
    if not secret.is_file() or not public.is_file():
        raise Problem(f"{secret} and {public} must both be there; make them with: "
                      f"minisign -G -W -p {public} -s {secret}")
    return public


def label(meta, work, slot):
    """What an update and a slot say about themselves (the keys in this order)."""
    return (f"pillarbox-update 1\nboard={meta['name']}\nversion={meta['version']}\n"
            f"schema={schema(meta['tree'])}\nlength={slot.stat().st_size}\nsha256={digest(slot)}\n\n").encode()


def make(meta, work, slot, packed, target, secret):
    """Writes the update file from the slot's image in zstd, and its signature if there is a key."""
    target.write_bytes(label(meta, work, slot) + packed.read_bytes())
    signature = target.with_name(target.name + ".minisig")
    signature.unlink(missing_ok=True)
    if secret:
        # A fixed comment, where minisign would put the time.
        run("minisign", "-S", "-W", "-s", secret, "-m", target, "-x", signature,
            "-t", f"pillarbox {meta['version']} for {meta['name']}")
