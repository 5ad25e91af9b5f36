//! How shards are spread over replicas. Pure.

use std::collections::{BTreeMap, BTreeSet};

/// What a replica does about the shards.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Spread {
    /// Free shards that it takes, as far as it gets them.
    pub take: Vec<u32>,
    /// Shards of its own that others have a right to.
    pub give: Vec<u32>,
}

/// What `me` does, given who holds which shard (`None` if it is free) and who is alive. Whoever looks at the same
/// picture comes to the same plan, and from any picture they end where nobody has two more than another, without a move
/// that isn't needed.
pub fn spread(holders: &[Option<String>], alive: &BTreeSet<String>, me: &str) -> Spread {
    let mut counts: BTreeMap<&str, usize> = alive.iter().map(|member| (member.as_str(), 0)).collect();
    // Whoever asks is alive.
    counts.insert(me, 0);
    for holder in holders.iter().flatten() {
        *counts.entry(holder).or_default() += 1;
    }
    let members = counts.len();
    let (floor, over) = (holders.len() / members, holders.len() % members);
    let mine = counts.get(me).copied().unwrap_or(0);
    let rank = counts.keys().position(|member| *member == me).unwrap_or(0);
    // Those that have one more than the floor, which `over` of them may.
    let above: Vec<&str> =
        counts.iter().filter(|(_, count)| **count > floor).map(|(member, _)| *member).collect();

    let free: Vec<u32> = indices(holders, |holder| holder.is_none());
    let own: Vec<u32> = indices(holders, |holder| holder.as_deref() == Some(me));
    let ceiling = floor + usize::from(over > 0);
    let mut quota = floor;
    if mine > floor {
        // The last ones by name go back to the floor.
        let place = above.iter().position(|member| *member == me).unwrap_or(0);
        quota = if place < over { ceiling } else { floor };
    } else if above.len() < over {
        // Free shards beyond the floors of all: those that come first by name take one each.
        let open = over - above.len();
        let candidates = counts.iter().filter(|(_, count)| **count <= floor).map(|(member, _)| *member);
        let place = candidates.take_while(|member| *member != me).count();
        quota = if place < open { ceiling } else { floor };
    }
    let give = own.iter().copied().rev().take(mine.saturating_sub(quota)).collect();
    // Each begins elsewhere, so that they rarely want the same.
    let start = if free.is_empty() { 0 } else { (rank * free.len() / members) % free.len() };
    let take = free.iter().cycle().skip(start).take(free.len()).take(quota.saturating_sub(mine));
    Spread { take: take.copied().collect(), give }
}

fn indices(holders: &[Option<String>], wanted: impl Fn(&Option<String>) -> bool) -> Vec<u32> {
    holders
        .iter()
        .enumerate()
        .filter(|(_, holder)| wanted(holder))
        .filter_map(|(index, _)| u32::try_from(index).ok())
        .collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn names(text: &str) -> BTreeSet<String> {
        text.split_whitespace().map(str::to_owned).collect()
    }

    fn held(text: &str) -> Vec<Option<String>> {
        text.chars().map(|c| (c != '-').then(|| c.to_string())).collect()
    }

    #[test]
    fn moves_what_must_move_and_nothing_else() {
        for (holders, alive, me, take, give) in [
            // The first one takes all; a second one gets half of it; a third its share of both.
            ("--------", "a", "a", 8, 0),
            ("aaaaaaaa", "a b", "a", 0, 4),
            ("aaaaaaaa", "a b", "b", 0, 0),
            ("aaaa----", "a b", "b", 4, 0),
            ("aaaabbbb", "a b c", "a", 0, 1),
            ("aaaabbbb", "a b c", "b", 0, 1),
            ("aaa-bbb-", "a b c", "c", 2, 0),
            ("aaacbbbc", "a b c", "a", 0, 0),
            ("aaacbbbc", "a b c", "c", 0, 0),
            // One of three died.
            ("---cbbbc", "b c", "b", 1, 0),
            ("---cbbbc", "b c", "c", 2, 0),
            // More replicas than shards: the last one waits.
            ("ab", "a b c", "c", 0, 0),
            ("aa", "a b c", "a", 0, 1),
            ("a-", "a b c", "b", 1, 0),
            ("a-", "a b c", "c", 0, 0),
        ] {
            let spread = spread(&held(holders), &names(alive), me);
            assert_eq!(
                (spread.take.len(), spread.give.len()),
                (take, give),
                "{holders} {alive} {me}: {spread:?}"
            );
        }
    }

    proptest! {
        #[test]
        fn from_any_picture_they_end_evenly_and_rest(
            mut holders in prop::collection::vec(prop::option::of(0_usize..6), 1..20),
            members in 1_usize..6,
        ) {
            let name = |i: usize| char::from(b'a' + u8::try_from(i).unwrap()).to_string();
            // What a dead one held is free after a while.
            holders.iter_mut().for_each(|holder| *holder = holder.filter(|i| *i < members));
            let mut holders: Vec<Option<String>> = holders.into_iter().map(|i| i.map(name)).collect();
            let alive: BTreeSet<String> = (0..members).map(name).collect();
            let mut moves = 0;
            for round in 0.. {
                // All look at the same picture; of those that want a shard the first gets it.
                let plans: Vec<(String, Spread)> =
                    alive.iter().map(|me| (me.clone(), spread(&holders, &alive, me))).collect();
                let mut changed = false;
                for (me, plan) in plans {
                    for shard in plan.give {
                        holders[shard as usize] = None;
                        changed = true;
                        moves += 1;
                    }
                    for shard in plan.take {
                        let place = &mut holders[shard as usize];
                        if place.is_none() {
                            *place = Some(me.clone());
                            changed = true;
                        }
                    }
                }
                if !changed {
                    break;
                }
                prop_assert!(round < 10, "no rest: {holders:?}");
            }
            let count = |me: &String| holders.iter().flatten().filter(|holder| *holder == me).count();
            let counts: Vec<usize> = alive.iter().map(count).collect();
            prop_assert!(holders.iter().all(Option::is_some), "{holders:?}");
            prop_assert!(counts.iter().max().unwrap() - counts.iter().min().unwrap() <= 1, "{counts:?}");
            prop_assert!(moves <= holders.len(), "{moves} moves");
        }
    }
}
