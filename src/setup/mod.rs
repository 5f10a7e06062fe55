//! Setting a server up: what people are asked, and in which words. Pure: the wizard says what
//! it needs of the world ([`wizard::Step`]) and is told; the serial console, SSH, an answer
//! file and the tests drive the same questions.

pub mod answers;
mod asked;
pub mod check;
pub mod document;
pub mod finish;
pub mod machine;
pub mod phrases;
pub mod plan;
pub mod question;
pub mod sealed;
pub mod text;
pub mod value;
pub mod wizard;
pub mod words;
