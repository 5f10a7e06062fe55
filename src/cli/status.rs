//! `pillarbox status`: how the server fares, on one page.

use super::{Error, data_dir};
use crate::console::page::page;
use crate::control::{self, Request};
use crate::setup::text::Language;
use argh::FromArgs;
use jiff::Timestamp;
use std::path::PathBuf;

/// Show how the server fares: services, queue, storage, certificate, last errors.
#[derive(FromArgs)]
#[argh(subcommand, name = "status")]
pub struct Status {
    /// data directory (default /var/lib/pillarbox)
    #[argh(option)]
    dir: Option<PathBuf>,
}

impl Status {
    pub fn run(self) -> Result<(), Error> {
        let rows = control::ask(&data_dir(self.dir), Request::Status)?;
        let text = page(&rows, Timestamp::now().as_second(), Language::English);
        say!("{}", text.trim_end());
        Ok(())
    }
}
