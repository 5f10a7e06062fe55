"""The root file system: Debian's packages, our binary and units, in a squashfs that nobody writes."""

import os
import shutil
from pathlib import Path

from . import packages
from .common import Problem, read_list, run, say
from .update import schema

# What no part of the box reads.
STRIPPED = ["usr/share/doc", "usr/share/man", "usr/share/info", "usr/share/locale", "usr/share/lintian",
            "usr/share/bash-completion", "usr/share/zsh", "usr/share/bug", "usr/share/pixmaps",
            "usr/share/initramfs-tools", "usr/lib/*/gconv", "usr/lib/locale", "usr/share/common-licenses",
            "usr/share/zoneinfo/posix", "usr/share/zoneinfo/right", "usr/share/polkit-1", "usr/share/dbus-1",
            "var/cache/*", "var/lib/*", "var/log/*", "etc/init.d", "etc/rc*.d", "etc/cron*", "usr/lib/udev/hwdb.d",
            "usr/lib/systemd/catalog", "usr/lib/python3*", "usr/share/perl*", "boot/*"]

# Everything of /etc that changes lies on the data partition. The start (initramfs/init) sees to it
# that these are there.
KEPT = {"etc/machine-id": "machine-id", "etc/hostname": "hostname", "etc/localtime": "localtime",
        "etc/systemd/network": "network"}

# Units that Debian enables and a box has no use for: sessions of users (they need the bus), checks
# of LVM, a mount that nothing asks for, logins.
MASKED = ["systemd-logind.service", "e2scrub_reap.service", "e2scrub_all.timer", "fstrim.timer",
          "proc-sys-fs-binfmt_misc.automount", "systemd-pcrphase.service", "systemd-pcrphase-sysinit.service",
          "getty@.service", "serial-getty@.service", "console-getty.service", "getty-static.service", "debug-shell.service",
          "emergency.service", "rescue.service", "systemd-update-utmp.service", "systemd-update-utmp-runlevel.service",
          "dev-hugepages.mount", "sys-kernel-debug.mount", "sys-kernel-tracing.mount"]

LINKS = {"etc/resolv.conf": "/run/systemd/resolve/stub-resolv.conf", "etc/mtab": "../proc/self/mounts",
         "var/run": "/run", "var/lock": "/run/lock"}


def make(source, meta, work, binary, modules, key):
    """Makes work/slot/root.squashfs."""
    from . import kernel

    place = work / "root"
    base = unpack_base(source, meta)
    run("cp", "-a", base, place)
    modules.install(modules.select(kernel.all_modules(meta)), place)
    shutil.copyfile(binary, place / "usr/bin/pillarbox")
    (place / "usr/bin/pillarbox").chmod(0o755)
    run(meta["tree"] / "systemd/install", place)
    run("cp", "-a", "--no-preserve=ownership,timestamps", f"{meta['folder'].parent}/overlay/.", place)
    identity(meta, place, key)
    accounts(place)
    consoles(meta, place)
    for link, target in LINKS.items():
        symlink(place / link, target)
    for link, name in KEPT.items():
        symlink(place / link, f"/var/lib/pillarbox-box/{name}")
    squash(meta, place, work / "slot/root.squashfs")


def unpack_base(source, meta):
    """The packages' files, stripped; kept in the cache under what they were made from."""
    board = meta["folder"].parent
    left_out = set(read_list(board / "packages.left-out"))
    files = [file for file in source.closure(read_list(board / "packages"))
             if file.name.split("_")[0] not in left_out]
    words = "\n".join([*(file.name for file in files), *STRIPPED])
    name = packages.digest_text(words)[:16]
    base = source.place / f"base-{name}"
    if not base.exists():
        say(f"unpacking {len(files)} packages")
        part = source.place / f"base-{name}.part"
        shutil.rmtree(part, ignore_errors=True)
        skeleton(part)
        for file in files:
            packages.unpack(file, part)
        strip(part)
        certificates(part)
        part.rename(base)
    return base


def skeleton(place):
    """Debian's directories, /usr merged before any package is unpacked."""
    for name in ("usr/bin", "usr/sbin", "usr/lib", "boot", "proc", "sys", "dev", "run", "tmp", "srv", "root"):
        (place / name).mkdir(parents=True)
    for name in ("bin", "sbin", "lib"):
        symlink(place / name, f"usr/{name}")


def strip(place):
    for pattern in STRIPPED:
        for path in place.glob(pattern):
            shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()


def certificates(place):
    """What the package's own script makes of its files: one bundle."""
    whole = place / "etc/ssl/certs/ca-certificates.crt"
    whole.parent.mkdir(parents=True, exist_ok=True)
    parts = sorted((place / "usr/share/ca-certificates/mozilla").glob("*.crt"))
    if not parts:
        raise Problem("the package ca-certificates has no certificates; build with --refresh")
    whole.write_text("".join(part.read_text() for part in parts))
    shutil.rmtree(place / "usr/share/ca-certificates")


def identity(meta, place, key):
    """What the box is, for people and for `pillarbox update`."""
    share = place / "usr/share/pillarbox"
    share.mkdir(parents=True, exist_ok=True)
    (share / "board").write_text(f"board={meta['name']}\nversion={meta['version']}\n"
                                 f"schema={schema(meta['tree'])}\ntitle={meta['title']}\n")
    if key:
        shutil.copyfile(key, share / "update.pub")
    (place / "usr/lib/os-release").write_text(
        f'ID=pillarbox\nID_LIKE=debian\nNAME="pillarbox"\nVERSION_ID="{meta["version"]}"\n'
        f'PRETTY_NAME="pillarbox {meta["version"]} ({meta["name"]})"\n')
    # No board has a clock that can be trusted: time begins when the image was made.
    (place / "usr/lib/clock-epoch").write_text("")


def accounts(place):
    """Users and groups of the packages: root without a password, and what sysusers.d names."""
    for name in ("passwd", "group"):
        text = (place / "usr/share/base-passwd" / f"{name}.master").read_text()
        (place / "etc" / name).write_text(text.replace("root:*:", "root:x:"))
    run("systemd-sysusers", f"--root={place}")
    for name in ("passwd-", "group-", "shadow-", "gshadow-", ".pwd.lock"):
        (place / "etc" / name).unlink(missing_ok=True)
    # The day of the last change of a password is the day of building.
    shadow = place / "etc/shadow"
    shadow.chmod(0o600)
    lines = [line.split(":") for line in shadow.read_text().splitlines()]
    shadow.write_text("".join(":".join([*line[:2], "1", *line[3:]]) + "\n" for line in lines))


def consoles(meta, place):
    """The console in place of login prompts, on the lines that the board has; units by presets."""
    system = place / "etc/systemd/system"
    run("systemctl", f"--root={place}", "preset-all")
    for line in meta["consoles"].split():
        symlink(system / f"multi-user.target.wants/pillarbox-console@{line}.service",
                "/usr/lib/systemd/system/pillarbox-console@.service")
    symlink(place / "etc/systemd/system-generators/systemd-getty-generator", "/dev/null")
    for name in MASKED:
        symlink(system / name, "/dev/null")
    symlink(system / "default.target", "/usr/lib/systemd/system/multi-user.target")


def symlink(path, target):
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    path.unlink(missing_ok=True)
    path.symlink_to(target)


def squash(meta, place, file):
    say("packing the root file system")
    epoch = os.environ["SOURCE_DATE_EPOCH"]
    # mksquashfs refuses options for times beside SOURCE_DATE_EPOCH, which says the same.
    environment = {name: value for name, value in os.environ.items() if name != "SOURCE_DATE_EPOCH"}
    run("mksquashfs", place, file, "-comp", "zstd", "-Xcompression-level", meta["level"], "-b", "256K", "-all-root",
        "-all-time", epoch, "-mkfs-time", epoch, "-noappend", "-no-progress", "-no-xattrs", "-no-exports",
        env=environment)
