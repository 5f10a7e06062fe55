//! pillarbox: a whole small-office mail server in one binary.
//!
//! The map of the code, top down; nothing imports upwards:
//!
//! - [`cli`]: the subcommands, one file a noun.
//! - [`serve`]: the tour: store, listeners, control socket, signals.
//! - [`setup`]: the wizard: questions, answers, review; pure.
//! - [`console`]: the menu after setup, for a person at a terminal.
//! - [`appliance`]: a machine that is the server's own: first boot, SSH, factory reset.
//! - [`control`]: the Unix socket over which the CLI talks to a running server.
//! - [`imap`], [`pop3`], [`smtp`]: a pure state machine each (`session`), and its driver (`serve`).
//! - [`queue`]: outgoing mail: what is due, when again, and what its sender is told.
//! - [`recipient`]: where mail for an address goes.
//! - [`announce`]: messages of the server itself.
//! - [`imap_url`]: what IMAP URLs name, and who may read it.
//! - [`collect`]: mail that is fetched from providers' mailboxes.
//! - [`acme`]: certificates: ordered, renewed, and told of before they end.
//! - [`login`]: who may log in: verification, its cache and its limits.
//! - [`recent`]: the last warnings and errors of the log.
//! - [`net`]: listeners, streams, TLS.
//! - [`store`]: the mail store; the only module that names redb.
//! - [`keys`]: the DKIM keys in the store.
//! - [`authentication`]: who a message is from: DKIM, SPF, DMARC, ARC.
//! - [`message`]: pure reading of messages: header, structure, text.
//! - [`update`]: the appliance's two root slots: what boots next, and a new one written.
//! - [`task`]: what runs beside, and what would block.
//! - [`mail`], [`address`], [`secret`], [`sasl`], [`wire`]: the nouns, pure.

pub mod acme;
pub mod address;
pub mod announce;
pub mod appliance;
pub mod authentication;
pub mod cli;
pub mod collect;
pub mod console;
pub mod context;
pub mod control;
pub mod imap;
pub mod imap_url;
pub mod keys;
pub mod login;
pub mod mail;
pub mod message;
pub mod net;
pub mod pop3;
pub mod queue;
pub mod recent;
pub mod recipient;
pub mod sasl;
pub mod secret;
pub mod serve;
pub mod settings;
pub mod setup;
pub mod smtp;
pub mod store;
pub mod task;
pub mod update;
pub mod wire;
