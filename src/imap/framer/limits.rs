//! What a client may send before and after login.

/// What one command may take, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Limits {
    /// One line, without literals.
    pub line: usize,
    /// One literal that is not a message.
    pub literal: u64,
    /// All of it, messages left out.
    pub command: usize,
    /// What is read only to be dropped.
    pub discard: u64,
}

/// Before login: enough for any credentials and the longest ID (30 fields of 1,024 bytes,
/// RFC 2971, 3.3), little enough for many strangers.
pub(super) const STRANGER: Limits = Limits {
    line: 34 * 1024,
    literal: 4 * 1024,
    command: 36 * 1024,
    discard: 64 * 1024,
};
pub(super) const USER: Limits = Limits {
    line: 64 * 1024,
    literal: 64 * 1024,
    command: 256 * 1024,
    discard: 256 * 1024 * 1024,
};
/// Longest command of a user, unless the owner has another, bytes.
pub const MAX_COMMAND: usize = USER.command;
/// Most URLs and texts of one CATENATE.
pub(super) const MAX_PARTS: usize = 256;
/// Most literals of one command.
pub(super) const MAX_LITERALS: usize = 256;
