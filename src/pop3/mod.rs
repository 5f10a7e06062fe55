//! POP3 (RFC 1939) with CAPA (2449), STLS (2595), AUTH (5034) and response codes (3206).

pub mod lock;
