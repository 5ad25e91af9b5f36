//! Passwords and encryption.

use aes::{
    Aes256,
    cipher::{BlockDecrypt, BlockEncrypt, KeyInit, generic_array::GenericArray},
};
use herald_value::{CallError, Value};
use hmac::{Hmac, Mac};
use sha2::Sha256;

use super::encoding::base64_decode;
use super::help::{Result, fail, text};
use super::random;
use crate::function::{Call, Function, Param::*};

pub(super) const FUNCTIONS: &[Function] = &[
    Function::new("bcrypt", &[Str], |c| {
        let out = bcrypt_hash(c, 0)?;
        text(c, out)
    }),
    Function::new("htpasswd", &[Str, Str], |c| {
        let name = c.text(0).into_owned();
        let out = if name.contains(':') {
            format!("invalid username: {name}")
        } else {
            format!("{name}:{}", bcrypt_hash(c, 1)?)
        };
        text(c, out)
    }),
    Function::new("derivePassword", &[Int, Str, Str, Str, Str], derive_password),
    Function::new("encryptAES", &[Str, Str], encrypt),
    Function::new("decryptAES", &[Str, Str], decrypt),
];

/// Steps that a deliberately slow function costs, so that a loop of them ends within a second: what takes 60 ms.
pub(super) const SLOW: u64 = 1_000_000;

const BCRYPT_COST: u32 = 10;

fn bcrypt_hash(call: &mut Call<'_>, index: usize) -> Result<String> {
    call.meter.step(SLOW)?;
    let password = call.bytes(index);
    if password.len() > 72 {
        return Ok("failed to encrypt string with bcrypt: bcrypt: password length exceeds 72 bytes".into());
    }
    let mut salt = [0; 16];
    random::fill(&mut salt)?;
    let hash = bcrypt::hash_with_salt(password, BCRYPT_COST, salt)
        .map_err(|e| CallError::new(format!("bcrypt: {e}")))?;
    Ok(hash.format_for_version(bcrypt::Version::TwoA))
}

/// The shapes of derived passwords; each letter stands for a set of characters.
fn shapes(kind: &str) -> Option<&'static [&'static str]> {
    Some(match kind {
        "maximum" => &["anoxxxxxxxxxxxxxxxxx", "axxxxxxxxxxxxxxxxxno"],
        "long" => &[
            "CvcvnoCvcvCvcv",
            "CvcvCvcvnoCvcv",
            "CvcvCvcvCvcvno",
            "CvccnoCvcvCvcv",
            "CvccCvcvnoCvcv",
            "CvccCvcvCvcvno",
            "CvcvnoCvccCvcv",
            "CvcvCvccnoCvcv",
            "CvcvCvccCvcvno",
            "CvcvnoCvcvCvcc",
            "CvcvCvcvnoCvcc",
            "CvcvCvcvCvccno",
            "CvccnoCvccCvcv",
            "CvccCvccnoCvcv",
            "CvccCvccCvcvno",
            "CvcvnoCvccCvcc",
            "CvcvCvccnoCvcc",
            "CvcvCvccCvccno",
            "CvccnoCvcvCvcc",
            "CvccCvcvnoCvcc",
            "CvccCvcvCvccno",
        ],
        "medium" => &["CvcnoCvc", "CvcCvcno"],
        "short" => &["Cvcn"],
        "basic" => &["aaanaaan", "aannaaan", "aaannaaa"],
        "pin" => &["nnnn"],
        _ => return None,
    })
}

fn characters(class: u8) -> &'static str {
    match class {
        b'V' => "AEIOU",
        b'C' => "BCDFGHJKLMNPQRSTVWXYZ",
        b'v' => "aeiou",
        b'c' => "bcdfghjklmnpqrstvwxyz",
        b'A' => "AEIOUBCDFGHJKLMNPQRSTVWXYZ",
        b'a' => "AEIOUaeiouBCDFGHJKLMNPQRSTVWXYZbcdfghjklmnpqrstvwxyz",
        b'n' => "0123456789",
        b'o' => "@&%?,=[]_:-+*$#!'^~;()/.",
        _ => "AEIOUaeiouBCDFGHJKLMNPQRSTVWXYZbcdfghjklmnpqrstvwxyz0123456789!@#$%^&*()",
    }
}

/// The Master Password algorithm.
fn derive_password(call: &mut Call<'_>) -> Result<Value> {
    const SCOPE: &[u8] = b"com.lyndir.masterpassword";
    let Ok(counter) = u32::try_from(call.int(0)) else {
        return fail(format!("integer overflow: {} is no uint32", call.int(0)));
    };
    let kind = call.text(1).into_owned();
    let Some(shapes) = shapes(&kind) else {
        return text(call, format!("cannot find password template {kind}"));
    };
    call.meter.step(SLOW * 4)?;
    let scoped = |index: usize| -> Vec<u8> {
        let name = call.bytes(index);
        [SCOPE, &(name.len() as u32).to_be_bytes(), name].concat()
    };
    let broken = |e: String| CallError::new(format!("failed to derive password: {e}"));
    let mut key = [0; 64];
    let params = scrypt::Params::new(15, 8, 2, 64).map_err(|e| broken(e.to_string()))?;
    scrypt::scrypt(call.bytes(2), &scoped(3), &params, &mut key).map_err(|e| broken(e.to_string()))?;
    let mut mac = <Hmac<Sha256> as Mac>::new_from_slice(&key).map_err(|e| broken(e.to_string()))?;
    mac.update(&scoped(4));
    mac.update(&counter.to_be_bytes());
    let seed = mac.finalize().into_bytes();
    let pick = |at: usize, from: usize| usize::from(seed.get(at).copied().unwrap_or(0)) % from.max(1);
    let shape = shapes.get(pick(0, shapes.len())).copied().unwrap_or_default();
    let password: String = shape
        .bytes()
        .enumerate()
        .filter_map(|(at, class)| {
            let set = characters(class);
            set.as_bytes().get(pick(at + 1, set.len())).map(|b| char::from(*b))
        })
        .collect();
    text(call, password)
}

const BLOCK: usize = 16;

/// The password is the key: cut or filled with zeros to 32 bytes.
fn cipher(password: &[u8]) -> Aes256 {
    let mut key = [0u8; 32];
    for (to, from) in key.iter_mut().zip(password) {
        *to = *from;
    }
    Aes256::new(GenericArray::from_slice(&key))
}

fn xor(block: &mut [u8], with: &[u8]) {
    for (a, b) in block.iter_mut().zip(with) {
        *a ^= b;
    }
}

fn encrypt(call: &mut Call<'_>) -> Result<Value> {
    let plain = call.bytes(1).to_vec();
    if plain.is_empty() {
        return Ok(Value::str(""));
    }
    call.meter.grow(plain.len() as u64 * 4 + 64)?;
    call.meter.step(100 + plain.len() as u64)?;
    let cipher = cipher(call.bytes(0));
    let padding = BLOCK - plain.len() % BLOCK;
    let mut content = plain;
    content.extend(std::iter::repeat_n(padding as u8, padding));
    let mut out = vec![0; BLOCK];
    random::fill(&mut out)?;
    let mut before = out.clone();
    for block in content.chunks_mut(BLOCK) {
        xor(block, &before);
        cipher.encrypt_block(GenericArray::from_mut_slice(block));
        before.copy_from_slice(block);
        out.extend_from_slice(block);
    }
    Ok(Value::str(base64::Engine::encode(&base64::engine::general_purpose::STANDARD, out)))
}

fn decrypt(call: &mut Call<'_>) -> Result<Value> {
    if call.bytes(1).is_empty() {
        return Ok(Value::str(""));
    }
    call.meter.grow(call.bytes(1).len() as u64 * 2)?;
    let source = base64_decode(call.bytes(1)).map_err(CallError::new)?;
    let Some((iv, content)) = source.split_at_checked(BLOCK) else {
        return fail("runtime error: slice bounds out of range: the text is too short for AES");
    };
    if content.len() % BLOCK != 0 {
        return fail("crypto/cipher: input not full blocks");
    }
    let cipher = cipher(call.bytes(0));
    let mut before = iv;
    let mut out = Vec::with_capacity(content.len());
    for block in content.chunks(BLOCK) {
        let mut plain = *GenericArray::from_slice(block);
        cipher.decrypt_block(&mut plain);
        xor(&mut plain, before);
        out.extend_from_slice(&plain);
        before = block;
    }
    let padding = out.last().copied().map(usize::from);
    match padding.and_then(|padding| out.len().checked_sub(padding)) {
        Some(len) => {
            out.truncate(len);
            text(call, out)
        }
        None => fail("runtime error: slice bounds out of range: the key does not fit the text"),
    }
}
