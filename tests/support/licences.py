"""Holds what the shipped binary links: licences from a list, crates from crates.io alone,
and none of those that the design keeps out."""

import json
import re
import subprocess
import sys

ALLOWED = {
    "MIT",
    "Apache-2.0",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "ISC",
    "Unicode-3.0",
    "Zlib",
    "Unlicense",
    "Apache-2.0 WITH LLVM-exception",
    "0BSD",
    "CDLA-Permissive-2.0",
}
FORBIDDEN = {"tokio", "aws-lc-rs", "aws-lc-sys", "openssl-sys", "native-tls"}
TARGETS = ("x86_64-unknown-linux-gnu", "aarch64-unknown-linux-gnu", "armv7-unknown-linux-gnueabihf")


def allowed(expression):
    """Whether an SPDX expression can be met by the list: every AND side by one OR choice."""
    tokens = re.findall(r"\(|\)|\bAND\b|\bOR\b|[^()\s/]+(?: WITH [^()\s/]+)?|/", expression)
    words = {"AND": "and", "OR": "or", "/": "or", "(": "(", ")": ")"}
    return eval(
        " ".join(words.get(it) or str(it in ALLOWED) for it in tokens)
    )  # of True, False, and, or, ( and ) alone


def main():
    bad = []
    for target in TARGETS:
        command = ["cargo", "metadata", "--format-version", "1", "--locked", "--filter-platform", target]
        metadata = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
        linked = {node["id"]: node for node in metadata["resolve"]["nodes"]}
        # From the package itself through normal dependencies: what only builds or tests is not shipped.
        todo, seen = [metadata["resolve"]["root"]], set()
        while todo:
            package = todo.pop()
            if package not in seen:
                seen.add(package)
                todo += [
                    d["pkg"]
                    for d in linked[package]["deps"]
                    if any(k["kind"] is None for k in d["dep_kinds"])
                ]
        for package in metadata["packages"]:
            if package["id"] not in seen:
                continue
            name = f"{package['name']} {package['version']}"
            if not package["license"] or not allowed(package["license"]):
                bad.append(f"{name}: licence {package['license']}")
            if package["name"] in FORBIDDEN:
                bad.append(f"{name}: kept out by the design")
            if package["source"] and not package["source"].startswith("registry+"):
                bad.append(f"{name}: from {package['source']}")
        print(f"{target}: {len(seen)} crates linked")
    print("\n".join(sorted(set(bad))))
    sys.exit(1 if bad else 0)


main()
