//! Listeners: accept, count, hand over.
