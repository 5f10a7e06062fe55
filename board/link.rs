//! How the binary is linked; cargo runs it before a build.

use std::env;

/// zstd's slower ways to compress, 290 kB: frames are packed at level 1, which is
/// `ZSTD_fast` at every length, so none of these is ever called. A name that is defined here is
/// not taken from the archive; its address is 0, so that a call to it would end loudly.
const NOT_LINKED: [&str; 6] = [
    "ZSTD_compressSuperBlock",
    "ZSTD_dedicatedDictSearch_lazy_loadDictionary",
    "ZSTD_fillDoubleHashTable",
    "ZSTD_insertAndFindFirstIndex",
    "ZSTD_row_update",
    "ZSTD_updateTree",
];

/// Of `ZSTD_compressBlock_STRATEGY`, these strategies and each one's forms.
const STRATEGIES: [(&str, &[&str]); 8] = [
    ("doubleFast", &["", "_dictMatchState", "_extDict"]),
    ("greedy", ROWS),
    ("lazy", ROWS),
    ("lazy2", ROWS),
    ("btlazy2", &["", "_dictMatchState", "_extDict"]),
    ("btopt", &["", "_dictMatchState", "_extDict"]),
    ("btultra", &["", "_dictMatchState", "_extDict"]),
    ("btultra2", &[""]),
];

const ROWS: &[&str] = &[
    "",
    "_row",
    "_dictMatchState",
    "_dictMatchState_row",
    "_extDict",
    "_extDict_row",
    "_dedicatedDictSearch",
    "_dedicatedDictSearch_row",
];

fn main() {
    println!("cargo::rerun-if-changed=board/link.rs");
    println!("cargo::rerun-if-env-changed=RUSTC_LINKER");
    let target = env::var("TARGET").unwrap_or_default();
    // Relocations in packed form: 170 kB less in a file of 8 MB. glibc 2.36 reads them, which
    // Debian 12 has; other targets are linked statically, by linkers that may not know the word.
    if target == "x86_64-unknown-linux-gnu" {
        link("-z", "pack-relative-relocs");
    }
    // zig's linker has no --defsym.
    if linker().contains("zig") {
        return;
    }
    for name in NOT_LINKED {
        leave_out(name);
    }
    for (strategy, forms) in STRATEGIES {
        for form in forms {
            leave_out(&format!("ZSTD_compressBlock_{strategy}{form}"));
        }
    }
}

fn leave_out(name: &str) {
    link("--defsym", &format!("{name}=0"));
}

/// Hands the linker `word value`, through the C compiler unless cargo was told of a bare linker.
fn link(word: &str, value: &str) {
    if linker().ends_with("lld") {
        println!("cargo::rustc-link-arg-bins={word}");
        println!("cargo::rustc-link-arg-bins={value}");
    } else {
        println!("cargo::rustc-link-arg-bins=-Wl,{word},{value}");
    }
}

/// What cargo was told to link with; nothing if the target's own.
fn linker() -> String {
    env::var("RUSTC_LINKER").unwrap_or_default()
}
