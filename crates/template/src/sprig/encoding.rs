//! Encodings and digests.

use base64::{Engine, engine::general_purpose::STANDARD};
use herald_value::Value;
use sha1::Sha1;
use sha2::{Digest, Sha256, Sha512};

use super::help::{Result, text};
use crate::function::{Call, Function, Param::*};

pub(super) const FUNCTIONS: &[Function] = &[
    Function::new("b64enc", &[Str], |c| {
        c.meter.grow(c.bytes(0).len() as u64 * 2)?;
        Ok(Value::str(STANDARD.encode(c.bytes(0))))
    }),
    Function::new("b64dec", &[Str], |c| {
        // The original gives the error as the text.
        let out = base64_decode(c.bytes(0)).unwrap_or_else(String::into_bytes);
        text(c, out)
    }),
    Function::new("b32enc", &[Str], |c| {
        c.meter.grow(c.bytes(0).len() as u64 * 2 + 8)?;
        Ok(Value::str(base32_encode(c.bytes(0))))
    }),
    Function::new("b32dec", &[Str], |c| {
        let out = base32_decode(c.bytes(0)).unwrap_or_else(String::into_bytes);
        text(c, out)
    }),
    Function::new("sha1sum", &[Str], |c| hex(c, |b| Sha1::digest(b).to_vec())),
    Function::new("sha256sum", &[Str], |c| hex(c, |b| Sha256::digest(b).to_vec())),
    Function::new("sha512sum", &[Str], |c| hex(c, |b| Sha512::digest(b).to_vec())),
    Function::new("adler32sum", &[Str], |c| {
        let (a, b) = c.bytes(0).iter().fold((1u32, 0u32), |(a, b), byte| {
            let a = (a + u32::from(*byte)) % 65_521;
            (a, (b + a) % 65_521)
        });
        Ok(Value::str((b << 16 | a).to_string()))
    }),
];

fn hex(call: &mut Call<'_>, digest: fn(&[u8]) -> Vec<u8>) -> Result<Value> {
    call.meter.step(call.bytes(0).len() as u64 / 64)?;
    Ok(Value::str(digest(call.bytes(0)).iter().map(|b| format!("{b:02x}")).collect::<String>()))
}

fn base64_digit(byte: u8) -> Option<u8> {
    Some(match byte {
        b'A'..=b'Z' => byte - b'A',
        b'a'..=b'z' => byte - b'a' + 26,
        b'0'..=b'9' => byte - b'0' + 52,
        b'+' => 62,
        b'/' => 63,
        _ => return None,
    })
}

/// Go's decoder: padding is required, line breaks are skipped, bits beyond the last byte do not matter.
pub(super) fn base64_decode(source: &[u8]) -> std::result::Result<Vec<u8>, String> {
    let corrupt = |at: usize| Err(format!("illegal base64 data at input byte {at}"));
    let mut out = Vec::with_capacity(source.len() / 4 * 3);
    let skip = |mut at: usize| {
        while matches!(source.get(at), Some(b'\n' | b'\r')) {
            at += 1;
        }
        at
    };
    let mut at = 0;
    loop {
        let (mut bits, mut count) = (0u32, 0usize);
        while count < 4 {
            at = skip(at);
            let Some(&byte) = source.get(at) else {
                return if count == 0 { Ok(out) } else { corrupt(at - count) };
            };
            at += 1;
            if let Some(digit) = base64_digit(byte) {
                bits = bits << 6 | u32::from(digit);
                count += 1;
                continue;
            }
            if byte != b'=' || count < 2 {
                return corrupt(at - 1);
            }
            if count == 2 {
                at = skip(at);
                match source.get(at) {
                    None => return corrupt(source.len()),
                    Some(b'=') => at += 1,
                    Some(_) => return corrupt(at - 1),
                }
            }
            at = skip(at);
            if at < source.len() {
                return corrupt(at);
            }
            let bytes = (bits << (6 * (4 - count))).to_be_bytes();
            out.extend_from_slice(&bytes[1..count]);
            return Ok(out);
        }
        out.extend_from_slice(&bits.to_be_bytes()[1..]);
    }
}

const BASE32: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";

fn base32_encode(source: &[u8]) -> String {
    let mut out = String::with_capacity(source.len() * 8 / 5 + 8);
    for chunk in source.chunks(5) {
        let mut bits = 0u64;
        for at in 0..5 {
            bits = bits << 8 | u64::from(chunk.get(at).copied().unwrap_or(0));
        }
        let digits = (chunk.len() * 8).div_ceil(5);
        for at in 0..8 {
            let digit = BASE32[(bits >> (35 - 5 * at) & 31) as usize];
            out.push(if at < digits { char::from(digit) } else { '=' });
        }
    }
    out
}

fn base32_decode(source: &[u8]) -> std::result::Result<Vec<u8>, String> {
    let source: Vec<u8> = source.iter().copied().filter(|b| !matches!(b, b'\n' | b'\r')).collect();
    let corrupt = |at: usize| Err(format!("illegal base32 data at input byte {at}"));
    let mut out = Vec::with_capacity(source.len() / 8 * 5 + 5);
    let mut at = 0;
    while at < source.len() {
        let (mut bits, mut count) = (0u64, 0usize);
        let mut end = false;
        while count < 8 {
            let Some(&byte) = source.get(at) else { return corrupt(at - count) };
            at += 1;
            let left = source.len() - at;
            if byte == b'=' && count >= 2 && left < 8 {
                if left + count < 7 {
                    return corrupt(source.len());
                }
                for k in 0..7 - count {
                    if source.get(at + k).is_some_and(|b| *b != b'=') {
                        return corrupt(at + k - 1);
                    }
                }
                if matches!(count, 1 | 3 | 6) {
                    return corrupt(at - 1);
                }
                end = true;
                break;
            }
            let Some(digit) = BASE32.iter().position(|b| *b == byte) else { return corrupt(at - 1) };
            bits = bits << 5 | digit as u64;
            count += 1;
        }
        let bytes = (bits << (5 * (8 - count))).to_be_bytes();
        out.extend_from_slice(&bytes[3..3 + count * 5 / 8]);
        if end {
            break;
        }
    }
    Ok(out)
}
