"""What the boot partition holds: the boot loader's script, its files, firmware."""

import shutil

from . import packages
from .common import Problem, run

# U-Boot's command that starts a kernel, and the name of its architecture.
STARTERS = {"arm64": ("booti", "arm64"), "armhf": ("bootz", "arm")}


def make(source, meta, work):
    """Fills work/boot, and work/loader with what lies before the partitions."""
    place = work / "boot"
    place.mkdir()
    loader = work / "loader"
    loader.mkdir()
    if meta["boot"] == "uboot":
        script(meta, work, place / "boot.scr")
    packages_of_board(source, meta, work, place, loader)
    readme = meta["folder"].parent / "boot.txt"
    shutil.copyfile(readme, place / "README.txt")


def script(meta, work, file):
    starter, architecture = STARTERS[meta["architecture"]]
    names = [name.rsplit("/", 1)[-1] for name in meta["dtb"].split()]
    # Without a device tree of the kernel, U-Boot's own or the emulator's is handed on.
    load, tree = ("", "${fdt_addr}")
    if names:
        load = f" && load ${{devtype}} ${{devnum}}:${{pb_part}} ${{fdt_addr_r}} dtb/{names[0]}"
        tree = "${fdt_addr_r}"
    text = (meta["folder"].parent / "boot.cmd").read_text()
    for key, value in {"CMDLINE": meta["cmdline"], "BOARD": meta["name"], "LOAD_FDT": load,
                       "BOOT": starter, "FDT": tree}.items():
        text = text.replace(f"@{key}@", value)
    (work / "boot.cmd").write_text(text)
    run("mkimage", "-A", architecture, "-T", "script", "-C", "none", "-n", "pillarbox", "-d",
        work / "boot.cmd", file)


def packages_of_board(source, meta, work, place, loader):
    """The board's `files`: PACKAGE PATH TARGET, a line each. PACKAGE may be `.` (the board's folder) or
    `kernel`; TARGET is a name in the boot partition, or @KIB for a place before the partitions."""
    listing = meta["folder"] / "files"
    if not listing.exists():
        return
    lines = [line.split() for line in listing.read_text().splitlines() if line.strip() and not line.startswith("#")]
    for package in sorted({line[0] for line in lines if line[0] not in (".", "kernel")}):
        [file] = source.alone([package])
        packages.unpack(file, work / "firmware" / package)
    for package, path, target in lines:
        base = {".": meta["folder"], "kernel": work / "kernel"}.get(package, work / "firmware" / package)
        found = sorted(base.glob(path))
        if not found:
            raise Problem(f"{meta['name']}/files: there is no {path} in {package}; try --refresh")
        for file in found:
            if target.startswith("@"):
                shutil.copyfile(file, loader / target[1:])
            else:
                to = place / (file.name if target == "./" else target)
                to.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(file, to)
