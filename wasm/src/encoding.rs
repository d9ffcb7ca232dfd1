//! Encodings of text files other than UTF-8, recognized by their first bytes.

use std::fmt;

/// Byte order mark at the start of UTF-8 files of some editors. It does not belong to the text.
pub const UTF8_MARK: &str = "\u{feff}";

/// An encoding that is refused. Its `Display` names it, what is expected, and the remedy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Encoding {
    /// UTF-16 of either byte order, with or without a mark.
    Utf16,
    /// UTF-32 of either byte order, with or without a mark.
    Utf32,
    /// Binary data.
    Binary,
}

impl fmt::Display for Encoding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match self {
            Encoding::Utf16 => "UTF-16",
            Encoding::Utf32 => "UTF-32",
            Encoding::Binary => return f.write_str("binary data; expected UTF-8 text"),
        };
        write!(f, "{name}; expected UTF-8; save it as UTF-8, or run iconv -f {name} -t UTF-8")
    }
}

/// Recognizes an encoding other than UTF-8 by the first bytes of a file; a few thousand are enough.
///
/// A byte order mark decides. Without a mark, NUL bytes decide. UTF-8 text has no NUL bytes; in
/// UTF-16 and UTF-32 text their positions show the encoding. UTF-8 with a few NUL bytes gives
/// `None`.
///
/// ```
/// use edge_runtime::encoding::{Encoding, recognize};
/// assert_eq!(recognize(b"\xff\xfeo\0k\0"), Some(Encoding::Utf16));
/// assert_eq!(recognize("größer".as_bytes()), None);
/// ```
pub fn recognize(start: &[u8]) -> Option<Encoding> {
    const MARKS: [(&[u8], Encoding); 4] = [
        // The mark of UTF-32 comes first: it begins with that of UTF-16.
        (b"\xff\xfe\0\0", Encoding::Utf32),
        (b"\0\0\xfe\xff", Encoding::Utf32),
        (b"\xff\xfe", Encoding::Utf16),
        (b"\xfe\xff", Encoding::Utf16),
    ];
    if let Some((_, encoding)) = MARKS.iter().find(|(mark, _)| start.starts_with(mark)) {
        return Some(*encoding);
    }
    let nuls = |from: usize, step: usize| {
        start.iter().skip(from).step_by(step).filter(|b| **b == 0).count()
    };
    let all = nuls(0, 1);
    // The upper bytes of Cyrillic, Greek and Arabic in UTF-16 are control characters.
    let controls = start.iter().filter(|b| **b < b' ' && !b"\r\n".contains(b)).count();
    if all == 0 || (4 * controls < start.len() && is_utf8(start)) {
        return None;
    }
    // Bits 16 and up of a character: zero in all but rare characters.
    let groups = start.len() / 4;
    let utf32 = [[0, 1], [3, 2]]
        .iter()
        .any(|[top, next]| nuls(*top, 4) >= groups.max(1) && 2 * nuls(*next, 4) > groups);
    let (even, odd) = (nuls(0, 2), nuls(1, 2));
    Some(if utf32 {
        Encoding::Utf32
    } else if odd > 4 * even || even > 4 * odd {
        Encoding::Utf16
    } else {
        Encoding::Binary
    })
}

/// Returns true if bytes are UTF-8, except for a last character that is cut short.
fn is_utf8(start: &[u8]) -> bool {
    std::str::from_utf8(start).map_or_else(|e| e.error_len().is_none(), |_| true)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bytes of a text in UTF-16 and UTF-32, each of either byte order.
    fn encodings(text: &str) -> [(Vec<u8>, Encoding); 4] {
        let utf16 = |bytes: fn(u16) -> [u8; 2]| text.encode_utf16().flat_map(bytes).collect();
        let utf32 =
            |bytes: fn(u32) -> [u8; 4]| text.chars().flat_map(|c| bytes(c.into())).collect();
        [
            (utf16(u16::to_le_bytes), Encoding::Utf16),
            (utf16(u16::to_be_bytes), Encoding::Utf16),
            (utf32(u32::to_le_bytes), Encoding::Utf32),
            (utf32(u32::to_be_bytes), Encoding::Utf32),
        ]
    }

    const TEXTS: [&str; 6] = [
        "a wonderful film\r\ndull and boring\r\n",
        "a\nb\n",
        "très bien, café\n",
        "это ужасно\nкак всегда\n",
        "यह बहुत बुरा है\nमैं दोबारा नहीं आऊँगा\n",
        "真的很好看。这部电影我看了两遍\n服务态度很差，不会再来了\n",
    ];

    #[test]
    fn other_encodings_are_recognized_with_and_without_a_mark() {
        for text in TEXTS {
            for (bytes, encoding) in encodings(&format!("\u{feff}{text}")) {
                assert_eq!(recognize(&bytes), Some(encoding), "{text} with a mark");
            }
            for (bytes, encoding) in encodings(text) {
                assert_eq!(recognize(&bytes), Some(encoding), "{text} without a mark");
            }
        }
    }

    #[test]
    fn utf8_is_taken_also_with_a_stray_nul_and_cut_within_a_character() {
        for text in TEXTS {
            assert_eq!(recognize(text.as_bytes()), None);
            assert_eq!(recognize(format!("{UTF8_MARK}{text}").as_bytes()), None);
            assert_eq!(recognize(&[text.as_bytes(), b"a\0b"].concat()), None, "{text}");
        }
        assert_eq!(recognize(&"\0很好很好".as_bytes()[..12]), None);
        assert_eq!(recognize(b""), None);
        // Latin-1 is reported line by line, as invalid UTF-8.
        assert_eq!(recognize(b"na\xefve\n"), None);
    }

    #[test]
    fn data_that_is_no_text_is_recognized() {
        assert_eq!(
            recognize(b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0\x03\0>\0"),
            Some(Encoding::Binary)
        );
        assert!(recognize(&[0; 16]).is_some());
    }

    #[test]
    fn a_message_names_the_remedy() {
        let message = Encoding::Utf16.to_string();
        assert!(
            message.contains("expected UTF-8") && message.contains("iconv -f UTF-16"),
            "{message}"
        );
    }
}
