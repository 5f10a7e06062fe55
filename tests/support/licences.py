"""Holds what .ci/deny.toml says where cargo-deny is not installed: licences, targets and crates
that are kept out, and crates.io as the only source. It takes a crate's word for its licence."""

import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

RULES = tomllib.loads((Path(__file__).parents[2] / ".ci/deny.toml").read_text())
ALLOWED = RULES["licenses"]["allow"]
FORBIDDEN = {crate["name"] for crate in RULES["bans"]["deny"]}


def allowed(expression):
    """Whether an SPDX expression can be met by the list: every AND side by one OR choice."""
    tokens = re.findall(r"\(|\)|\bAND\b|\bOR\b|[^()\s/]+(?: WITH [^()\s/]+)?|/", expression)
    words = {"AND": "and", "OR": "or", "/": "or", "(": "(", ")": ")"}
    return eval(
        " ".join(words.get(it) or str(it in ALLOWED) for it in tokens)
    )  # of True, False, and, or, ( and ) alone


def shipped(metadata):
    """The ids of the package itself and what it needs to build and to run; tests' own needs
    are not shipped."""
    nodes = {node["id"]: node for node in metadata["resolve"]["nodes"]}
    todo, seen = [metadata["resolve"]["root"]], set()
    while todo:
        package = todo.pop()
        if package not in seen:
            seen.add(package)
            todo += [
                needed["pkg"]
                for needed in nodes[package]["deps"]
                if any(kind["kind"] != "dev" for kind in needed["dep_kinds"])
            ]
    return seen


def faults(package):
    if not package["license"] or not allowed(package["license"]):
        yield f"licence {package['license']}"
    if package["name"] in FORBIDDEN:
        yield "kept out by .ci/deny.toml"
    if package["source"] and not package["source"].startswith("registry+"):
        yield f"from {package['source']}"


def main():
    bad = set()
    for target in RULES["graph"]["targets"]:
        command = ["cargo", "metadata", "--format-version", "1", "--locked", "--filter-platform", target]
        metadata = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
        ids = shipped(metadata)
        for package in metadata["packages"]:
            if package["id"] in ids:
                bad |= {f"{package['name']} {package['version']}: {fault}" for fault in faults(package)}
        print(f"{target}: {len(ids)} crates")
    print("\n".join(sorted(bad)))
    sys.exit(1 if bad else 0)


main()
