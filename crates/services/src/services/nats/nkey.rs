//! NKeys: Ed25519 keys as NATS writes them, base32 with a prefix and a check sum.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use ring::signature::{Ed25519KeyPair, KeyPair};

const ALPHABET: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
const SEED: u8 = 18 << 3;

/// A key that signs what a server asks to be signed.
pub(super) struct NKey {
    pair: Ed25519KeyPair,
    public: String,
}

impl NKey {
    /// Reads a seed such as `SU…`. The error never shows it.
    pub(super) fn from_seed(seed: &str) -> Result<NKey, String> {
        let invalid = |why: &str| format!("failed to create NKey from seed: {why}");
        let bytes = decode(seed.trim()).ok_or_else(|| invalid("illegal base32 data"))?;
        let [first, second, rest @ ..] = &bytes[..] else { return Err(invalid("invalid encoding")) };
        let Some((key, sum)) = rest.split_at_checked(32).filter(|(_, sum)| sum.len() == 2) else {
            return Err(invalid("invalid seed length"));
        };
        let body = bytes.get(..bytes.len().saturating_sub(2)).unwrap_or_default();
        if crc16(body).to_le_bytes() != *sum {
            return Err(invalid("invalid checksum"));
        }
        if first & 0xf8 != SEED {
            return Err(invalid("invalid seed"));
        }
        let prefix = ((first & 7) << 5) | ((second & 0xf8) >> 3);
        let pair = Ed25519KeyPair::from_seed_unchecked(key).map_err(|_| invalid("invalid seed"))?;
        let mut public = vec![prefix];
        public.extend_from_slice(pair.public_key().as_ref());
        public.extend_from_slice(&crc16(&public).to_le_bytes());
        Ok(NKey { public: encode(&public), pair })
    }

    /// The public key, such as `U…`.
    pub(super) fn public(&self) -> &str {
        &self.public
    }

    /// The signature of a server's nonce.
    pub(super) fn sign(&self, nonce: &str) -> String {
        URL_SAFE_NO_PAD.encode(self.pair.sign(nonce.as_bytes()))
    }
}

fn decode(text: &str) -> Option<Vec<u8>> {
    let (mut out, mut buffer, mut bits) = (Vec::new(), 0u32, 0);
    for byte in text.bytes() {
        let value = ALPHABET.iter().position(|letter| *letter == byte)?;
        buffer = ((buffer << 5) | u32::try_from(value).ok()?) & 0xfff;
        bits += 5;
        if bits >= 8 {
            bits -= 8;
            out.push(((buffer >> bits) & 0xff) as u8);
        }
    }
    Some(out)
}

fn encode(bytes: &[u8]) -> String {
    let (mut out, mut buffer, mut bits) = (String::new(), 0u32, 0);
    let letter = |value: u32| ALPHABET.get((value & 31) as usize).map_or('A', |byte| char::from(*byte));
    for byte in bytes {
        buffer = ((buffer << 8) | u32::from(*byte)) & 0xffff;
        bits += 8;
        while bits >= 5 {
            bits -= 5;
            out.push(letter(buffer >> bits));
        }
    }
    if bits > 0 {
        out.push(letter(buffer << (5 - bits)));
    }
    out
}

/// CRC-16 with the polynomial of XMODEM.
fn crc16(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0, |crc, byte| {
        (0..8).fold(crc ^ (u16::from(*byte) << 8), |crc, _| {
            if crc & 0x8000 == 0 { crc << 1 } else { (crc << 1) ^ 0x1021 }
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_gives_its_public_key() {
        // The pair of the documentation of NATS (NKey authentication).
        let key = NKey::from_seed("SUACSSL3UAHUDXKFSNVUZRF5UHPMWZ6BFDTJ7M6USDXIEDNPPQYYYCU3VY").unwrap();
        assert_eq!(key.public(), "UDXU4RCSJNZOIQHZNWXHXORDPRTGNJAHAHFRGZNEEJCPQTT2M7NLCNF4");
        assert_eq!(crc16(b"123456789"), 0x31c3);
    }

    #[test]
    fn what_is_no_seed_is_told() {
        for (seed, why) in [
            ("not-a-seed", "illegal base32 data"),
            ("", "invalid encoding"),
            ("SUAC", "invalid seed length"),
            ("SUACSSL3UAHUDXKFSNVUZRF5UHPMWZ6BFDTJ7M6USDXIEDNPPQYYYCU3VA", "invalid checksum"),
            ("UDXU4RCSJNZOIQHZNWXHXORDPRTGNJAHAHFRGZNEEJCPQTT2M7NLCNF4", "invalid seed length"),
        ] {
            let error = NKey::from_seed(seed).err().unwrap();
            assert_eq!(error, format!("failed to create NKey from seed: {why}"), "{seed}");
        }
    }
}
