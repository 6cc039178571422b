//! Strict base64, in the two alphabets that tokens and keys come in. *Source*: RFC 4648.
//!
//! Each sequence of bytes has one text and no other: what is outside the alphabet, a wrong length and
//! bits left over are refused.

/// The bytes of base64url without padding, as RFC 7515 wants it.
pub(super) fn decode_url(text: &str) -> Option<Vec<u8>> {
    decode(text.as_bytes(), *b"-_")
}

/// The bytes of base64 as PEM files have it: padded, with white space anywhere.
pub(super) fn decode_pem(text: &str) -> Option<Vec<u8>> {
    let mut letters = text.as_bytes().to_vec();
    letters.retain(|letter| !letter.is_ascii_whitespace());
    if !letters.len().is_multiple_of(4) {
        return None;
    }
    for _ in 0..2 {
        letters.pop_if(|last| *last == b'=');
    }
    decode(&letters, *b"+/")
}

/// Decodes letters whose last two stand for 62 and 63.
fn decode(letters: &[u8], last: [u8; 2]) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(letters.len() / 4 * 3 + 2);
    // What is read and not yet part of a byte: less than 8 bits.
    let (mut bits, mut count) = (0_u16, 0_u32);
    for letter in letters {
        let value = match *letter {
            letter @ b'A'..=b'Z' => letter - b'A',
            letter @ b'a'..=b'z' => letter - b'a' + 26,
            letter @ b'0'..=b'9' => letter - b'0' + 52,
            letter if letter == last[0] => 62,
            letter if letter == last[1] => 63,
            _ => return None,
        };
        bits = bits << 6 | u16::from(value);
        count += 6;
        if count >= 8 {
            count -= 8;
            bytes.push(u8::try_from(bits >> count).ok()?);
            bits &= (1 << count) - 1;
        }
    }
    (count < 6 && bits == 0).then_some(bytes)
}

/// Base64url without padding, for tests that make tokens.
#[cfg(test)]
pub(super) fn encode_url(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let mut group = [0; 3];
        group[..chunk.len()].copy_from_slice(chunk);
        let bits = u32::from_be_bytes([0, group[0], group[1], group[2]]);
        for letter in 0..=chunk.len() {
            let index = bits >> (18 - 6 * letter) & 63;
            text.push(char::from(ALPHABET[index as usize]));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_vectors_of_rfc_4648_decode() {
        for (text, bytes) in [
            ("", ""),
            ("Zg", "f"),
            ("Zm8", "fo"),
            ("Zm9v", "foo"),
            ("Zm9vYg", "foob"),
            ("Zm9vYmE", "fooba"),
            ("Zm9vYmFy", "foobar"),
        ] {
            assert_eq!(decode_url(text).as_deref(), Some(bytes.as_bytes()));
            let padded = format!("{text}{}", "=".repeat((4 - text.len() % 4) % 4));
            assert_eq!(decode_pem(&padded).as_deref(), Some(bytes.as_bytes()));
        }
    }

    #[test]
    fn each_alphabet_has_its_own_last_letters() {
        assert_eq!(decode_url("-_-_"), Some(vec![0xfb, 0xff, 0xbf]));
        assert_eq!(decode_pem("+/+/"), Some(vec![0xfb, 0xff, 0xbf]));
        assert_eq!(decode_url("+/+/"), None);
        assert_eq!(decode_pem("-_-_"), None);
    }

    #[test]
    fn what_is_not_canonical_base64url_is_refused() {
        for text in [
            "Zg==", "Zm8=", "Zm9v=", "=", // padding
            "Z", "A", "Zm9vY", "Zm9vA", // a letter alone
            "Zh", "Zm9", "Z-", "__", // bits left over
            " Zg", "Z g", "Zg\n", "Z.g", "Zé", "Z\0", "Z%67",
        ] {
            assert_eq!(decode_url(text), None, "{text:?}");
        }
    }

    #[test]
    fn pem_is_padded_and_may_have_white_space() {
        assert_eq!(decode_pem(" Z m\r\n8\t=\n"), Some(b"fo".to_vec()));
        for text in [
            "Zg", "Zg=", "Zg===", "Zm9v====", "=", "====", "Z=g=", "Zh==",
        ] {
            assert_eq!(decode_pem(text), None, "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn bytes_come_back_and_every_text_is_the_only_one(
            bytes in proptest::collection::vec(any::<u8>(), 0..40),
            text in "[A-Za-z0-9_-]{0,12}",
        ) {
            prop_assert_eq!(decode_url(&encode_url(&bytes)), Some(bytes));
            if let Some(bytes) = decode_url(&text) {
                prop_assert_eq!(encode_url(&bytes), text);
            }
        }
    }
}
