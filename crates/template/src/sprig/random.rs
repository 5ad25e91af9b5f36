//! Randomness of the operating system.

use herald_value::{CallError, Value};

use super::help::{Result, fail};
use crate::function::{Call, Function, Param::*};

pub(super) const FUNCTIONS: &[Function] = &[
    Function::new("randAlphaNum", &[Int], |c| characters(c, |b| b.is_ascii_alphanumeric())),
    Function::new("randAlpha", &[Int], |c| characters(c, |b| b.is_ascii_alphabetic())),
    Function::new("randAscii", &[Int], |c| characters(c, |b| (32..127).contains(b))),
    Function::new("randNumeric", &[Int], |c| characters(c, |b| b.is_ascii_digit())),
    Function::new("randBytes", &[Int], |c| {
        let Ok(count) = usize::try_from(c.int(0)) else {
            return fail("runtime error: makeslice: len out of range");
        };
        c.meter.grow((count as u64).saturating_mul(3))?;
        let mut bytes = vec![0; count];
        fill(&mut bytes)?;
        Ok(Value::str(base64::Engine::encode(&base64::engine::general_purpose::STANDARD, bytes)))
    }),
    Function::new("shuffle", &[Str], |c| {
        let mut chars: Vec<char> = super::help::runes(c.bytes(0)).collect();
        c.meter.grow(chars.len() as u64 * 8)?;
        // The system is asked for each of them.
        c.meter.step(chars.len() as u64 * 20)?;
        for last in (1..chars.len()).rev() {
            let other = below(last as u64 + 1)? as usize;
            chars.swap(last, other);
        }
        Ok(Value::str(chars.into_iter().collect::<String>()))
    }),
    Function::new("uuidv4", &[], |_| {
        let mut b = [0u8; 16];
        fill(&mut b)?;
        // The version and the variant of RFC 9562.
        b[6] = b[6] & 0x0f | 0x40;
        b[8] = b[8] & 0x3f | 0x80;
        let hex: String = b.iter().map(|b| format!("{b:02x}")).collect();
        let parts = [0..8, 8..12, 12..16, 16..20, 20..32].map(|part| hex.get(part).unwrap_or_default());
        Ok(Value::str(parts.join("-")))
    }),
];

pub(super) fn fill(bytes: &mut [u8]) -> Result<()> {
    getrandom::fill(bytes).map_err(|e| CallError::new(format!("the system gives no random bytes: {e}")))
}

/// A number from 0 to before `limit`, each as likely as any other.
pub(super) fn below(limit: u64) -> Result<u64> {
    let fair = u64::MAX - u64::MAX % limit.max(1);
    loop {
        let mut bytes = [0; 8];
        fill(&mut bytes)?;
        let number = u64::from_le_bytes(bytes);
        if number < fair {
            return Ok(number % limit.max(1));
        }
    }
}

fn characters(call: &mut Call<'_>, wanted: fn(&u8) -> bool) -> Result<Value> {
    // The original gives no text, not an error, for a negative count.
    let count = usize::try_from(call.int(0)).unwrap_or(0);
    call.meter.step(count as u64)?;
    call.meter.grow(count as u64)?;
    let alphabet: Vec<u8> = (0..128u8).filter(wanted).collect();
    let fair = 256 - 256 % alphabet.len().max(1);
    let mut out = Vec::with_capacity(count);
    let mut block = [0; 256];
    while out.len() < count {
        fill(&mut block)?;
        let usable = block.iter().map(|b| usize::from(*b)).filter(|b| *b < fair);
        out.extend(usable.filter_map(|b| alphabet.get(b % alphabet.len())).take(count - out.len()));
    }
    Ok(Value::str(out))
}
