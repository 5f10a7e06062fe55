//! The encoding of the store's rows: LEB128 varints, zigzag for what may be negative,
//! strings and lists with their length in front.

use super::error::{Error, Result};

pub fn put(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

pub fn put_signed(out: &mut Vec<u8>, value: i64) {
    put(out, ((value << 1) ^ (value >> 63)) as u64);
}

pub fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

/// Reads what the functions above wrote; anything else is [`Error::Corrupt`], never a panic.
pub struct Reader<'a>(pub &'a [u8]);

impl<'a> Reader<'a> {
    #[inline]
    pub fn take(&mut self) -> Result<u64> {
        // Most values fit one byte.
        if let Some((&byte, rest)) = self.0.split_first()
            && byte < 0x80
        {
            self.0 = rest;
            return Ok(u64::from(byte));
        }
        self.take_long()
    }

    fn take_long(&mut self) -> Result<u64> {
        let mut value = 0u64;
        for (n, &byte) in self.0.iter().enumerate().take(10) {
            value |= u64::from(byte & 0x7f) << (7 * n);
            if byte < 0x80 {
                self.0 = &self.0[n + 1..];
                return Ok(value);
            }
        }
        Err(Error::corrupt("a number in a row"))
    }

    pub fn take_u32(&mut self) -> Result<u32> {
        u32::try_from(self.take()?).map_err(|_| Error::corrupt("a number in a row is too large"))
    }

    #[inline]
    pub fn take_signed(&mut self) -> Result<i64> {
        let value = self.take()?;
        Ok((value >> 1) as i64 ^ -((value & 1) as i64))
    }

    pub fn take_bytes(&mut self) -> Result<&'a [u8]> {
        let length = self.take()?;
        self.take_slice(length)
    }

    pub fn take_slice(&mut self, length: u64) -> Result<&'a [u8]> {
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        match self.0.split_at_checked(length) {
            Some((bytes, rest)) => {
                self.0 = rest;
                Ok(bytes)
            }
            None => Err(Error::corrupt("a row ends early")),
        }
    }

    pub fn take_str(&mut self) -> Result<&'a str> {
        std::str::from_utf8(self.take_bytes()?).map_err(|_| Error::corrupt("text in a row"))
    }

    pub fn take_fixed<const N: usize>(&mut self) -> Result<[u8; N]> {
        match self.0.split_first_chunk::<N>() {
            Some((bytes, rest)) => {
                self.0 = rest;
                Ok(*bytes)
            }
            None => Err(Error::corrupt("a row ends early")),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_come_back() {
        let values = [0, 1, 127, 128, 300, u64::from(u32::MAX), u64::MAX];
        let signed = [0, -1, 1, i64::MIN, i64::MAX, -64, 64];
        let mut row = Vec::new();
        values.iter().for_each(|&value| put(&mut row, value));
        signed.iter().for_each(|&value| put_signed(&mut row, value));
        put_bytes(&mut row, "grüße".as_bytes());
        let mut reader = Reader(&row);
        for value in values {
            assert_eq!(reader.take(), Ok(value));
        }
        for value in signed {
            assert_eq!(reader.take_signed(), Ok(value));
        }
        assert_eq!(reader.take_str(), Ok("grüße"));
        assert!(reader.is_empty());
    }

    #[test]
    fn a_damaged_row_is_an_error() {
        assert!(Reader(&[]).take().is_err());
        assert!(Reader(&[0xff; 3]).take().is_err());
        assert!(Reader(&[0xff; 11]).take().is_err());
        assert!(Reader(&[200, 1, 5]).take_bytes().is_err());
        assert!(Reader(&[2, 0xff, 0xfe]).take_str().is_err());
        assert!(Reader(&[0xff, 0xff, 0xff, 0xff, 0x7f]).take_u32().is_err());
    }
}
