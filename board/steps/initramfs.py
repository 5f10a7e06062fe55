"""The initramfs: busybox, the modules of the start, and the script `init`."""

import os
import shutil
import subprocess

from . import kernel, packages
from .common import Problem, run


def make(source, meta, work, modules):
    """Makes work/slot/initrd.img."""
    place = work / "initramfs"
    for name in ("bin", "dev", "proc", "sys", "run", "root"):
        (place / name).mkdir(parents=True)
    [file] = source.alone(["busybox-static"])
    packages.unpack(file, work / "busybox")
    shutil.copyfile(work / "busybox/bin/busybox", place / "bin/busybox")
    (place / "bin/busybox").chmod(0o755)
    for name in applets(meta["folder"].parent / "initramfs/applets"):
        (place / "bin" / name).symlink_to("busybox")
    shutil.copyfile(meta["folder"].parent / "initramfs/init", place / "init")
    (place / "init").chmod(0o755)
    # busybox's modprobe wants them as links of /lib.
    names = kernel.start_modules(meta)
    modules.install(modules.select(names), place)
    (place / "modules").write_text("".join(f"{name}\n" for name in names if name not in modules.builtin))
    pack(place, work / "slot/initrd.img")


def applets(file):
    return file.read_text().split()


def pack(place, file):
    """newc, in order of names, all of it root's, with one date."""
    epoch = int(os.environ["SOURCE_DATE_EPOCH"])
    names = []
    for path in sorted(place.rglob("*")):
        os.utime(path, (epoch, epoch), follow_symlinks=False)
        names.append(str(path.relative_to(place)))
    archive = subprocess.run(["cpio", "--quiet", "-o", "-H", "newc", "-R", "0:0", "--reproducible"],
                             input="\n".join(names).encode(), cwd=place, capture_output=True)
    if archive.returncode != 0:
        raise Problem(f"cpio failed: {archive.stderr.decode()[-500:]}")
    plain = file.with_suffix(".cpio")
    plain.write_bytes(archive.stdout)
    run("zstd", "-q", "-19", "-f", plain, "-o", file)
    plain.unlink()
