//! What the process sets up for itself before anything else runs.

/// Threads that run sessions, one a core: more would wait for the same disk, and with fewer a
/// session that waits for it would hold up all.
const MIN_EXECUTORS: usize = 3;
const MAX_EXECUTORS: usize = 4;
/// Threads that read the store and hash passwords.
const READERS: usize = 8;

/// The executor takes its sizes from the environment, when it is first used.
///
/// # Safety
/// No other thread may run yet.
pub unsafe fn set_threads() {
    let cores = std::thread::available_parallelism().map_or(1, |cores| cores.get());
    let sizes = [
        ("SMOL_THREADS", cores.clamp(MIN_EXECUTORS, MAX_EXECUTORS)),
        ("BLOCKING_MAX_THREADS", READERS),
    ];
    for (name, size) in sizes {
        if std::env::var_os(name).is_none() {
            // SAFETY: the caller says that there is no other thread.
            unsafe { std::env::set_var(name, size.to_string()) };
        }
    }
}

/// glibc keeps what was freed if a block as large was freed before: a password check's 7 MiB
/// would stay with the process for good. With a fixed threshold such blocks go back at once.
#[cfg(target_env = "gnu")]
pub fn give_memory_back() {
    /// From malloc.h; setting the one also stops it from growing with what is freed.
    const M_MMAP_THRESHOLD: i32 = -3;
    const M_TRIM_THRESHOLD: i32 = -1;
    // SAFETY: as declared in malloc.h; any value is allowed, an unfit one is refused.
    unsafe extern "C" {
        safe fn mallopt(parameter: i32, value: i32) -> i32;
    }
    mallopt(M_MMAP_THRESHOLD, 1 << 20);
    mallopt(M_TRIM_THRESHOLD, 512 << 10);
}

/// Other allocators have no such habit.
#[cfg(not(target_env = "gnu"))]
pub fn give_memory_back() {}
