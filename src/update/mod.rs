//! The appliance has two root slots; one runs, the other takes an update. What boots is said by
//! the boot state, which the boot loader reads and counts in:
//!
//! - [`state`]: the boot state, pure.
//! - [`package`]: the head of an update file, pure.
//! - [`minisign`]: who made it.
//! - [`device`]: the card: partitions, reads, writes and syncs.
//! - [`slots`]: an update written, confirmed, gone back from; a power cut at any moment leaves
//!   a machine that boots.
//! - [`board`]: which machine this is, and what runs.
//! - [`fetch`]: an update file from an https URL.

pub mod board;
pub mod device;
pub mod fetch;
pub mod minisign;
pub mod package;
pub mod slots;
pub mod state;

use std::fs;
use std::path::Path;

/// Whether this machine started a version that is on trial. An appliance that can't say which it
/// started counts as one: a store that is left as it is harms nothing.
pub fn is_on_trial() -> bool {
    on_trial(Path::new(board::BOARD_FILE), Path::new(board::COMMAND_LINE))
}

fn on_trial(board_file: &Path, command_line: &Path) -> bool {
    match fs::read_to_string(command_line) {
        Ok(line) => board::Running::read(&line).is_some_and(|it| it.trial),
        Err(_) => board_file.exists(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_appliance_that_does_not_know_is_on_trial() {
        let dir = tempfile::tempdir().unwrap();
        let (file, line) = (dir.path().join("board"), dir.path().join("cmdline"));
        assert!(!on_trial(&file, &line));
        fs::write(&file, "board=virt-arm64\n").unwrap();
        assert!(on_trial(&file, &line));
        for (text, trial) in [
            ("pillarbox.slot=b pillarbox.trial=1\n", true),
            ("pillarbox.slot=b pillarbox.trial=0\n", false),
            ("root=/dev/vda\n", false),
        ] {
            fs::write(&line, text).unwrap();
            assert_eq!(on_trial(&file, &line), trial, "{text}");
        }
    }
}
