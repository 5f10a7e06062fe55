use std::process::ExitCode;

use pillarbox::cli::{Arguments, Exit, help, logger, process, run};

fn main() -> ExitCode {
    // SAFETY: this is the first thing that main does; there is no other thread.
    unsafe { process::set_threads() };
    process::give_memory_back();
    let words: Vec<String> = std::env::args_os()
        .map(|word| word.to_string_lossy().into_owned())
        .collect();
    let done = match help::asked_for(&words) {
        Some(words) => help::show(words),
        None => {
            let arguments = match Arguments::read(&words) {
                Ok(arguments) => arguments,
                Err(code) => return code,
            };
            logger::init(arguments.log.as_deref(), arguments.log_level());
            run(arguments)
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => match error.downcast_ref::<Exit>() {
            Some(exit) => ExitCode::from(exit.0),
            None => {
                eprintln!("pillarbox: {error}");
                ExitCode::FAILURE
            }
        },
    }
}
