//! Header fields and their values.
