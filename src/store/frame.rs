//! Message bytes on disk: frames of up to 64 KiB raw, each compressed by itself and checked,
//! so that a range is reached without reading what lies before it.
//!
//! ```text
//! frame = method (1 byte: 0 raw, 1 zstd) | length of the payload (3 bytes LE)
//!       | CRC-32 of the payload (4 bytes LE) | payload
//! ```

use super::error::{Error, Result};
use std::cell::RefCell;
use zstd::bulk::{Compressor, Decompressor};
use zstd::zstd_safe::{CParameter, Strategy};

/// Bytes of the message in one frame; the last frame has the rest.
pub(super) const FRAME: usize = 64 * 1024;
/// Bytes before the payload.
pub(super) const HEADER: usize = 8;
/// Level 1 gets most of the gain for a third of the time (97 MiB of 136; level 3: 91).
const LEVEL: i32 = 1;
/// Tenths of the raw length that a payload may have. Base64 packs to three quarters, and would
/// cost 0.8 s of CPU a GB at each reading for it; text packs to 0.35 to 0.45.
const WORTH: usize = 7;
/// No match lies farther back than a frame is long; keeps a context near 300 KiB.
const WINDOW_LOG: u32 = 16;

thread_local! {
    // Contexts are dear to make and owned by whatever thread works: one each per thread.
    static COMPRESSOR: RefCell<Option<Compressor<'static>>> = const { RefCell::new(None) };
    static DECOMPRESSOR: RefCell<Option<Decompressor<'static>>> = const { RefCell::new(None) };
}

/// Appends `raw` (at most [`FRAME`] bytes) to `out` as one frame; returns the frame's length.
pub(super) fn compress(raw: &[u8], out: &mut Vec<u8>) -> Result<u32> {
    debug_assert!(raw.len() <= FRAME);
    let start = out.len();
    let payload = start + HEADER;
    // A payload that isn't shorter than the raw bytes is of no use: room for more isn't needed.
    fill(out, payload + raw.len());
    let packed = COMPRESSOR.with_borrow_mut(|slot| -> std::io::Result<Option<usize>> {
        let compressor = match slot {
            Some(compressor) => compressor,
            None => slot.insert(new_compressor()?),
        };
        // The one way to fail with valid arguments is a result that doesn't fit.
        Ok(compressor
            .compress_to_buffer(raw, &mut out[payload..])
            .ok()
            .filter(|&length| length * 10 <= raw.len() * WORTH))
    })?;
    let (method, length) = match packed {
        Some(length) => (1, length),
        None => {
            out[payload..].copy_from_slice(raw);
            (0, raw.len())
        }
    };
    out.truncate(payload + length);
    let crc = crc32fast::hash(&out[payload..]);
    out[start..start + 4].copy_from_slice(&((length as u32) << 8 | method).to_le_bytes());
    out[start + 4..payload].copy_from_slice(&crc.to_le_bytes());
    Ok((HEADER + length) as u32)
}

fn new_compressor() -> std::io::Result<Compressor<'static>> {
    let mut compressor = Compressor::new(LEVEL)?;
    compressor.set_parameter(CParameter::WindowLog(WINDOW_LOG))?;
    // Level 1 is this at every length; board/link.rs links no other.
    compressor.set_parameter(CParameter::Strategy(Strategy::ZSTD_fast))?;
    Ok(compressor)
}

/// Appends the `raw` bytes that `frame` holds to `out`.
pub(super) fn decompress(frame: &[u8], raw: usize, out: &mut Vec<u8>) -> Result<()> {
    let damaged = || Error::corrupt("a frame of a message");
    let (head, rest) = frame.split_first_chunk::<4>().ok_or_else(damaged)?;
    let (crc, payload) = rest.split_first_chunk::<4>().ok_or_else(damaged)?;
    let head = u32::from_le_bytes(*head);
    let whole = head >> 8 == payload.len() as u32 && raw <= FRAME;
    if !whole || crc32fast::hash(payload) != u32::from_le_bytes(*crc) {
        return Err(damaged());
    }
    match head & 0xff {
        0 if payload.len() == raw => out.extend_from_slice(payload),
        1 => {
            let start = out.len();
            fill(out, start + raw);
            let length = DECOMPRESSOR.with_borrow_mut(|slot| {
                let decompressor = match slot {
                    Some(decompressor) => decompressor,
                    None => slot.insert(Decompressor::new()?),
                };
                decompressor.decompress_to_buffer(payload, &mut out[start..])
            });
            if length.ok() != Some(raw) {
                return Err(damaged());
            }
        }
        _ => return Err(damaged()),
    }
    Ok(())
}

/// Makes `out` that long, for something that writes over it. `resize` is a loop over the bytes
/// where code is built for size: an eighth of what a FETCH cost.
pub(super) fn fill(out: &mut Vec<u8>, length: usize) {
    const ZEROS: [u8; 4096] = [0; 4096];
    out.truncate(length);
    out.reserve(length - out.len());
    while out.len() < length {
        let more = (length - out.len()).min(ZEROS.len());
        out.extend_from_slice(&ZEROS[..more]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buffers_get_the_length_they_are_to_have() {
        let mut out = b"abc".to_vec();
        for length in [3, 10_000, 4096 + 10_000, 7, 7, 0, 1] {
            fill(&mut out, length);
            assert_eq!(out.len(), length);
            assert!(out.iter().skip(3).all(|&it| it == 0));
        }
    }

    #[test]
    fn frames_come_back_and_shrink() {
        let text = b"the same line again and again\r\n".repeat(500);
        let noise: Vec<u8> = (0..FRAME as u32)
            .map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8)
            .collect();
        let mut out = Vec::new();
        let short = compress(&text, &mut out).unwrap() as usize;
        let empty = compress(b"", &mut out).unwrap() as usize;
        compress(&noise, &mut out).unwrap();
        assert!(short < text.len() / 10, "{short}");
        let mut raw = Vec::new();
        decompress(&out[..short], text.len(), &mut raw).unwrap();
        assert_eq!(raw, text);
        decompress(&out[short..short + empty], 0, &mut raw).unwrap();
        raw.clear();
        decompress(&out[short + empty..], noise.len(), &mut raw).unwrap();
        assert_eq!(raw, noise);
    }

    #[test]
    fn any_flipped_bit_is_found() {
        let mut frame = Vec::new();
        compress(&b"hello, world. ".repeat(20), &mut frame).unwrap();
        for at in 0..frame.len() {
            let mut damaged = frame.clone();
            damaged[at] ^= 4;
            assert!(decompress(&damaged, 280, &mut Vec::new()).is_err(), "{at}");
        }
        assert!(decompress(&frame, 279, &mut Vec::new()).is_err());
        assert!(decompress(&frame[..5], 280, &mut Vec::new()).is_err());
    }
}
