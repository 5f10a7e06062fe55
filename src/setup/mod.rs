//! Setting a server up: what people are asked, and in which words.

pub mod text;
