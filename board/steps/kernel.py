"""The kernel, its device trees, and those of its modules that a board's lists name."""

import fnmatch
import shutil

from . import packages
from .common import Problem, read_list, run, say


class Modules:
    """Modules chosen for one image: for all of it, and for its start."""

    def __init__(self, tree, release):
        self.tree = tree
        self.release = release
        self.place = tree / "lib/modules" / release
        self.needs = self._dependencies()
        self.by_name = {module_name(path): path for path in self.needs}
        builtin = (self.place / "modules.builtin").read_text().split()
        self.builtin = {module_name(path) for path in builtin}

    def _dependencies(self):
        run("depmod", "-b", self.tree, self.release)
        needs = {}
        for line in (self.place / "modules.dep").read_text().splitlines():
            path, _, rest = line.partition(":")
            needs[path] = rest.split()
        return needs

    def select(self, words):
        """Files of modules by name (`ext4`), or by path (`kernel/drivers/net/phy/*`), with all
        that they need. A name that the kernel has built in is fine."""
        chosen = set()
        for word in words:
            if "/" in word:
                found = [path for path in self.needs if fnmatch.fnmatch(path, word)]
            elif word.replace("-", "_") in self.builtin:
                continue
            else:
                found = [path for path in [self.by_name.get(word.replace("-", "_"))] if path]
            if not found:
                raise Problem(f"kernel {self.release} has no module {word}; mend the board's list of modules")
            for path in found:
                chosen.update([path, *self.needs[path]])
        return sorted(chosen)

    def install(self, files, place):
        """Copies them under `place`, with the indices that modprobe and udev read."""
        target = place / "lib/modules" / self.release
        for name in ["modules.order", "modules.builtin", "modules.builtin.modinfo", *files]:
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(self.place / name, target / name)
        run("depmod", "-b", place, self.release)
        # What only depmod reads.
        for name in ("modules.order", "modules.builtin.modinfo"):
            (target / name).unlink()


def module_name(path):
    return path.rsplit("/", 1)[-1].removesuffix(".ko").replace("-", "_")


def unpack(source, meta, work):
    """Unpacks the kernel; its files for the slot go to work/slot."""
    [file] = source.kernel(meta["kernel"])
    say(f"kernel {file.name}")
    tree = work / "kernel"
    packages.unpack(file, tree)
    [image] = (tree / "boot").glob("vmlinuz-*")
    release = image.name.removeprefix("vmlinuz-")
    slot = work / "slot"
    slot.mkdir()
    shutil.copyfile(image, slot / "vmlinuz")
    for name in meta["dtb"].split():
        device_tree(tree / "usr/lib" / f"linux-image-{release}" / meta["dtb_directory"], name, slot / "dtb")
    return Modules(tree, release)


def device_tree(place, name, target):
    if not (place / name).exists():
        raise Problem(f"the kernel has no device tree {name}; mend dtb= in the board's meta")
    target.mkdir(exist_ok=True)
    shutil.copyfile(place / name, target / name.rsplit("/", 1)[-1])


def start_modules(meta):
    """Names of the modules that are loaded before the root file system is there."""
    return read_list(meta["folder"].parent / "initramfs/modules", meta["folder"] / "modules.start")


def all_modules(meta):
    """What may be loaded later, by udev."""
    return start_modules(meta) + read_list(meta["folder"].parent / "overlay.modules", meta["folder"] / "modules")
