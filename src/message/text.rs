//! Decoding for SEARCH: transfer encodings, charsets, encoded words, case folding.
