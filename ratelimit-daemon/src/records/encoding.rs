//! The encodings of bodies that are looked into (RFC 9110, section 8.4.1).

use super::Objection;
use flate2::bufread::{MultiGzDecoder, ZlibDecoder};
use std::borrow::Cow;
use std::io::Read;

/// How a body is encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// Not at all.
    Identity,
    /// One or several members of gzip.
    Gzip,
    /// zlib.
    Deflate,
}

impl Encoding {
    /// What a client may use, for `Accept-Encoding`.
    pub const SUPPORTED: &str = "gzip, deflate";

    /// The encoding that the values of all `Content-Encoding` fields tell; `None` if it is not supported, or if there
    /// are several, one in the other.
    pub fn of<'a>(values: impl IntoIterator<Item = &'a [u8]>) -> Option<Self> {
        let names =
            values.into_iter().flat_map(|value| value.split(|byte| *byte == b',')).map(<[u8]>::trim_ascii);
        let mut encoding = Self::Identity;
        for name in names.filter(|name| !name.is_empty() && !name.eq_ignore_ascii_case(b"identity")) {
            if encoding != Self::Identity {
                return None;
            }
            encoding = match name.to_ascii_lowercase().as_slice() {
                b"gzip" | b"x-gzip" => Self::Gzip,
                b"deflate" => Self::Deflate,
                _ => return None,
            };
        }
        Some(encoding)
    }

    /// Decodes `body`, up to `most` bytes.
    pub(super) fn decode(self, body: &[u8], most: usize) -> Result<Cow<'_, [u8]>, Objection> {
        let limit = most as u64 + 1;
        let mut decoded = Vec::new();
        let mut rest = body;
        let read = match self {
            Self::Identity if body.len() > most => return Err(Objection::TooLarge),
            Self::Identity => return Ok(Cow::Borrowed(body)),
            Self::Gzip => MultiGzDecoder::new(&mut rest).take(limit).read_to_end(&mut decoded),
            Self::Deflate => ZlibDecoder::new(&mut rest).take(limit).read_to_end(&mut decoded),
        };
        if decoded.len() > most {
            return Err(Objection::TooLarge);
        }
        // What follows the end could be more to another decoder.
        match read {
            Ok(_) if rest.is_empty() => Ok(Cow::Owned(decoded)),
            _ => Err(Objection::Uncountable("The request body is not encoded as its Content-Encoding says.")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::Compression;
    use flate2::write::{DeflateEncoder, GzEncoder, ZlibEncoder};
    use proptest::prelude::*;
    use std::io::Write;

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn zlib(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = ZlibEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn one_encoding_that_is_known_is_taken() {
        for (values, expected) in [
            (vec![], Some(Encoding::Identity)),
            (vec!["identity"], Some(Encoding::Identity)),
            (vec!["GZip"], Some(Encoding::Gzip)),
            (vec!["identity, x-gzip,"], Some(Encoding::Gzip)),
            (vec!["", "deflate"], Some(Encoding::Deflate)),
            (vec!["br"], None),
            (vec!["gzip, gzip"], None),
            (vec!["gzip", "deflate"], None),
            (vec!["gzip;q=1"], None),
        ] {
            assert_eq!(Encoding::of(values.iter().map(|value| value.as_bytes())), expected, "{values:?}");
        }
    }

    #[test]
    fn a_bomb_is_not_unpacked() {
        let bomb = gzip(&vec![b' '; 64 << 20]);
        assert!(bomb.len() < 100_000);
        assert_eq!(Encoding::Gzip.decode(&bomb, 1_000), Err(Objection::TooLarge));
        assert_eq!(Encoding::Deflate.decode(&zlib(&[b' '; 1_001]), 1_000), Err(Objection::TooLarge));
        assert_eq!(Encoding::Identity.decode(&[b' '; 1_001], 1_000), Err(Objection::TooLarge));
        assert_eq!(Encoding::Gzip.decode(&gzip(&[b' '; 1_000]), 1_000).unwrap().len(), 1_000);
    }

    #[test]
    fn every_member_is_read_and_nothing_may_follow() {
        let both = [gzip(b"[1,"), gzip(b"2]")].concat();
        assert_eq!(*Encoding::Gzip.decode(&both, 100).unwrap(), *b"[1,2]");
        let mut raw = DeflateEncoder::new(Vec::new(), Compression::best());
        raw.write_all(b"[1]").unwrap();
        let cut = gzip(b"[1,2,3]");
        for (encoding, body) in [
            (Encoding::Gzip, [gzip(b"[1]"), b"[2]".to_vec()].concat()),
            (Encoding::Gzip, cut[..cut.len() - 1].to_vec()),
            (Encoding::Gzip, b"[1]".to_vec()),
            (Encoding::Gzip, Vec::new()),
            (Encoding::Deflate, [zlib(b"[1]"), zlib(b"[2]")].concat()),
            (Encoding::Deflate, raw.finish().unwrap()),
            (Encoding::Deflate, gzip(b"[1]")),
        ] {
            assert!(
                matches!(encoding.decode(&body, 100), Err(Objection::Uncountable(_))),
                "{encoding:?} {body:?}"
            );
        }
    }

    proptest! {
        #[test]
        fn what_was_encoded_is_decoded(bytes in prop::collection::vec(any::<u8>(), 0..2_000)) {
            for (encoding, body) in [(Encoding::Gzip, gzip(&bytes)), (Encoding::Deflate, zlib(&bytes))] {
                prop_assert_eq!(&*encoding.decode(&body, 2_000).unwrap(), &*bytes);
            }
        }

        #[test]
        fn no_bytes_break_it(bytes in prop::collection::vec(any::<u8>(), 0..200), at in 0..200_usize) {
            let mut encoded = gzip(&bytes);
            let at = at % encoded.len();
            encoded[at] ^= 0xff;
            for body in [&bytes, &encoded] {
                let _ = Encoding::Gzip.decode(body, 1_000);
                let _ = Encoding::Deflate.decode(body, 1_000);
            }
        }
    }
}
