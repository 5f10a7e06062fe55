//! The console: what a person at the machine, or by SSH, sees and can do once it is set up.
//! [`machine`] decides, [`terminal`] reads and writes, [`run`] stands between.

pub mod machine;
pub mod menu;
pub mod page;
pub mod run;
pub mod terminal;
pub mod text;

#[cfg(test)]
mod tests;
