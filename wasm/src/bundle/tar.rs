//! Tar format of a bundle.
//!
//! POSIX ustar, regular files only, owner 0, mode 0644, time 0. A name and a size have exactly one
//! header. A reader compares all 512 bytes, so every damaged header is refused.

/// Bytes of a block. A header is one block, and padding fills the last block of a body.
pub const BLOCK: usize = 512;

/// Smallest size that is too large for eleven octal digits.
const SIZE_LIMIT: u64 = 1 << 33;

/// The header of an entry.
///
/// Returns `None` if the name is longer than 100 bytes or the size does not fit.
pub fn header(name: &str, size: u64) -> Option<[u8; BLOCK]> {
    if name.len() > 100 || size >= SIZE_LIMIT {
        return None;
    }
    let mut h = [0u8; BLOCK];
    let mut put = |at: usize, bytes: &[u8]| h[at..at + bytes.len()].copy_from_slice(bytes);
    put(0, name.as_bytes());
    put(100, b"0000644\0");
    put(108, b"0000000\0");
    put(116, b"0000000\0");
    put(124, format!("{size:011o}\0").as_bytes());
    put(136, b"00000000000\0");
    put(148, b"        ");
    put(156, b"0");
    put(257, b"ustar\0");
    put(263, b"00");
    put(329, b"0000000\0");
    put(337, b"0000000\0");
    let sum: u32 = h.iter().map(|b| u32::from(*b)).sum();
    h[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    Some(h)
}

/// Reads name and size from a header, if [`header`] makes exactly these bytes of them.
pub fn parse(block: &[u8; BLOCK]) -> Option<(&str, u64)> {
    let end = block[..100].iter().position(|b| *b == 0).unwrap_or(100);
    let name = std::str::from_utf8(&block[..end]).ok()?;
    let digits = std::str::from_utf8(&block[124..135]).ok()?;
    let size = u64::from_str_radix(digits, 8).ok()?;
    (header(name, size)? == *block).then_some((name, size))
}

/// Number of zero bytes that follow a body of a size.
pub fn padding(size: u64) -> usize {
    (size.next_multiple_of(BLOCK as u64) - size) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn header_round_trip() {
        let h = header("stage-0.onnx", 12_345).unwrap();
        assert_eq!(parse(&h), Some(("stage-0.onnx", 12_345)));
    }

    #[test]
    fn every_flipped_bit_is_noticed() {
        let good = header("manifest.json", 777).unwrap();
        for bit in 0..BLOCK * 8 {
            let mut bad = good;
            bad[bit / 8] ^= 1 << (bit % 8);
            assert_ne!(parse(&bad), Some(("manifest.json", 777)), "bit {bit}");
        }
    }

    #[test]
    fn sizes_that_do_not_fit_are_refused() {
        assert!(header("x", SIZE_LIMIT).is_none());
        assert!(header(&"x".repeat(101), 1).is_none());
        assert!(header(&"x".repeat(100), SIZE_LIMIT - 1).is_some());
    }
}
