use std::process::ExitCode;

use pillarbox::cli::{Arguments, help, logger, run};

/// Threads that run sessions; more would wait for the same disk.
const MAX_EXECUTORS: usize = 4;
/// Threads that read the store and hash passwords.
const READERS: usize = 8;

fn main() -> ExitCode {
    set_threads();
    let words: Vec<String> = std::env::args_os()
        .map(|word| word.to_string_lossy().into_owned())
        .collect();
    let done = match help::asked_for(&words) {
        Some(topic) => help::show(topic),
        None => {
            let arguments: Arguments = argh::from_env();
            logger::init(arguments.log.as_deref(), arguments.log_level());
            run(arguments)
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("pillarbox: {error}");
            ExitCode::FAILURE
        }
    }
}

/// The executor takes its sizes from the environment, when it is first used.
fn set_threads() {
    let cores = std::thread::available_parallelism().map_or(1, |cores| cores.get());
    let sizes = [
        ("SMOL_THREADS", cores.min(MAX_EXECUTORS)),
        ("BLOCKING_MAX_THREADS", READERS),
    ];
    for (name, size) in sizes {
        if std::env::var_os(name).is_none() {
            // SAFETY: this is the first thing that main does; there is no other thread.
            unsafe { std::env::set_var(name, size.to_string()) };
        }
    }
}
