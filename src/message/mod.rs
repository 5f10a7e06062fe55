//! Reading messages. Pure: no I/O; everything works on bytes as they come.
//!
//! - [`scanner`]: takes a message in slices and leaves a [`structure::Structure`], the row
//!   ([`row`]) that answers ENVELOPE, BODY, BODYSTRUCTURE and maps sections to byte ranges
//!   ([`section`]).
//! - [`content`], [`address_list`], [`date`] on [`lexer`]: what header fields say.
//! - [`envelope`], [`body_structure`] on [`quote`]: how IMAP says it; [`envelope_ref`] reads
//!   it back.
//! - [`header`]: the fields of a stored header. [`decode`], [`charset`], [`encoded_word`],
//!   [`text`]: decoding for SEARCH and BINARY.
//! - [`survey`], [`convert`] with [`quoted_printable`]: what a message is made of, and how
//!   8-bit and binary parts become what others can take.
//! - [`line_end`]: CRLF where a client left it out. [`notice`]: what the server writes itself.

pub mod address_list;
pub mod body_structure;
pub mod charset;
pub mod content;
pub mod convert;
pub mod date;
pub mod decode;
pub mod encoded_word;
pub mod envelope;
pub mod envelope_ref;
pub mod header;
pub mod lexer;
pub mod line_end;
pub mod notice;
pub mod quote;
pub mod quoted_printable;
pub mod row;
pub mod scanner;
pub mod section;
pub mod structure;
pub mod survey;
pub mod text;
