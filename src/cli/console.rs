//! `pillarbox console`: status and menu on a terminal.

use super::{Error, data_dir};
use crate::console::run::run;
use crate::setup::text::Language;
use argh::FromArgs;
use std::path::PathBuf;

/// Status and menu on a terminal, for the serial console and SSH: asks for the administrator's
/// password.
#[derive(FromArgs)]
#[argh(subcommand, name = "console")]
pub struct ConsoleCommand {
    /// language, en or ru (default: that of LC_ALL, LC_MESSAGES or LANG)
    #[argh(option)]
    language: Option<String>,
    /// replace a forgotten administrator's password; the administrators are told by mail
    #[argh(switch)]
    recover: bool,
    /// tell nothing of the server before somebody has logged in
    #[argh(switch)]
    closed: bool,
    /// data directory (default /var/lib/pillarbox)
    #[argh(option)]
    dir: Option<PathBuf>,
}

impl ConsoleCommand {
    pub fn run(self) -> Result<(), Error> {
        let language = match self.language {
            Some(code) => Language::parse(&code)
                .ok_or_else(|| format!("{code}: the languages are en and ru"))?,
            None => of_environment(),
        };
        // The menu shows what went wrong; lines of the log between would only spoil it.
        log::set_max_level(log::LevelFilter::Off);
        run(&data_dir(self.dir), language, self.recover, self.closed)?;
        Ok(())
    }
}

/// As locale(7) has it: the first of these that is set says it.
fn of_environment() -> Language {
    let names = ["LC_ALL", "LC_MESSAGES", "LANG"];
    let values = names.iter().filter_map(|name| std::env::var(name).ok());
    let first = values.into_iter().find(|value| !value.is_empty());
    let code = first.and_then(|it| it.get(..2).map(str::to_string));
    code.and_then(|it| Language::parse(&it)).unwrap_or_default()
}
