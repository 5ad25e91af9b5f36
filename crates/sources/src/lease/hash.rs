//! Which shard an object belongs to.

/// FNV-1a with 64 bits, the function of Kubernetes' server-side shards (KEP-5866).
pub fn fnv1a64(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

/// The shard of an object: the range of hashes split evenly, as the API server's `shardRange` would be.
pub fn shard_of(uid: &str, shards: u32) -> u32 {
    let scaled = u128::from(fnv1a64(uid.as_bytes())) * u128::from(shards.max(1));
    // Less than `shards`, as the hash has 64 bits.
    u32::try_from(scaled >> 64).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_fnv() {
        // From the authors' test vectors.
        for (text, hash) in
            [("", 0xcbf2_9ce4_8422_2325_u64), ("a", 0xaf63_dc4c_8601_ec8c), ("foobar", 0x8594_4171_f739_67e8)]
        {
            assert_eq!(fnv1a64(text.as_bytes()), hash, "{text}");
        }
    }

    #[test]
    fn shards_are_ranges_of_the_hash_and_even() {
        assert_eq!(shard_of("", 1), 0);
        // 0xaf… of 0x100…: in the upper half, and in the sixth of eight.
        assert_eq!((shard_of("a", 2), shard_of("a", 8)), (1, 5));
        assert_eq!((shard_of("foobar", 2), shard_of("foobar", 8)), (1, 4));
        assert_eq!(shard_of("a", 0), 0);
        let mut counts = [0_u32; 8];
        for i in 0..8000_u32 {
            let uid = format!("{:08x}-2d3c-4c55-9ad6-{:012x}", i.wrapping_mul(2_654_435_761), i * 7919);
            counts[shard_of(&uid, 8) as usize] += 1;
        }
        assert!(counts.iter().all(|count| (800..1200).contains(count)), "{counts:?}");
    }
}
