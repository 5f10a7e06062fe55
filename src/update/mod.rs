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

/// Whether this machine started a version that is on trial.
pub fn is_on_trial() -> bool {
    let line = std::fs::read_to_string(board::COMMAND_LINE).unwrap_or_default();
    board::Running::read(&line).is_some_and(|it| it.trial)
}
