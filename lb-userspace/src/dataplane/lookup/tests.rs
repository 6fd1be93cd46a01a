use std::{cell::Cell, collections::BTreeMap, net::Ipv6Addr};

use lb_common::{
    abi::{
        reply::ReplyV6,
        vip::{Vip, VipKeyV4, VipKeyV6},
    },
    endian::{Be16, Be32},
};

use super::*;

type Vips = Lookup<VipKeyV4, Vip>;

fn table<K: Pod, V: Pod>(rows: u32) -> Lookup<K, V> {
    Lookup {
        name: "TEST",
        rows: MappedArray::anonymous(rows),
    }
}

fn key(number: u32) -> VipKeyV4 {
    VipKeyV4::new(Be32::new(number / 100), Be16::new((number % 100) as u16), 6)
}

fn vip(number: u32) -> Vip {
    Vip {
        service: lb_common::abi::service::ServiceId(number),
        reserved: 0,
    }
}

fn never() -> Result<(), Error> {
    panic!("no key has to move");
}

/// What a program finds.
fn look_up<K: LookupKey + Pod + PartialEq, V: Pod>(table: &Lookup<K, V>, key: &K) -> Option<V> {
    let Places { first, second } = Places::of(key.hash(), table.rows.len());
    [first, second].into_iter().find_map(|row| {
        let row = table.rows.read(row);
        // SAFETY: places in this function's copy.
        let place = row
            .keys
            .iter()
            .position(|held| unsafe { key.is_at(held) })?;
        Some(row.values[place])
    })
}

#[test]
fn what_was_inserted_is_found_until_it_is_removed() {
    let table: Vips = table(64);
    for number in 0..64 {
        assert_eq!(look_up(&table, &key(number)), None);
        table.insert(&key(number), &vip(number), never).unwrap();
    }
    for number in (0..64).step_by(2) {
        table.remove(&key(number)).unwrap();
    }
    for number in 0..64 {
        let wanted = (number % 2 == 1).then(|| vip(number));
        assert_eq!(look_up(&table, &key(number)), wanted, "{number}");
    }
    let held: BTreeMap<_, _> = table.iter().map(|(k, v)| (k, v.service.0)).collect();
    let wanted: BTreeMap<_, _> = (0..64)
        .filter(|n| n % 2 == 1)
        .map(|n| (key(n), n))
        .collect();
    assert_eq!(held, wanted);
}

#[test]
fn values_of_several_words_come_back_whole() {
    let table: Lookup<VipKeyV6, ReplyV6> = table(4);
    let address = |n: u16| Ipv6Addr::new(0xfd77, n, 1, 2, 3, 4, 5, n).into();
    let key = |n| VipKeyV6::new(address(n), Be16::new(n), 17);
    let reply = |n: u16| ReplyV6 {
        address: address(n + 1),
        port: Be16::new(n + 1),
        backend: n.into(),
        ..ReplyV6::default()
    };
    for number in 0..4 {
        table.insert(&key(number), &reply(number), never).unwrap();
    }
    for number in 0..4 {
        assert_eq!(look_up(&table, &key(number)), Some(reply(number)));
    }
}

#[test]
fn what_is_there_or_is_not_there_is_said() {
    let table: Vips = table(2);
    table.insert(&key(1), &vip(1), never).unwrap();
    let again = table.insert(&key(1), &vip(2), never).unwrap_err();
    assert_eq!(again.to_string(), "map TEST: entity already exists");
    assert_eq!(look_up(&table, &key(1)), Some(vip(1)));
    let missing = table.remove(&key(2)).unwrap_err();
    assert_eq!(missing.to_string(), "map TEST: entity not found");
}

/// Far fuller than the daemon ever makes one: keys have to move, and while they do every key is found.
#[test]
fn keys_move_where_both_rows_are_full_and_are_found_meanwhile() {
    const ROWS: u32 = 64;
    let table: Vips = table(ROWS);
    let (count, moves) = (Cell::new(0), Cell::new(0));
    let settle = || {
        for number in 0..count.get() {
            assert_eq!(look_up(&table, &key(number)), Some(vip(number)), "{number}");
        }
        moves.set(moves.get() + 1);
        Ok(())
    };
    while count.get() < ROWS * 3 {
        let number = count.get();
        table.insert(&key(number), &vip(number), settle).unwrap();
        count.set(number + 1);
    }
    settle().unwrap();
    assert!(moves.get() > 10, "{}", moves.get());
    assert_eq!(table.iter().count(), count.get() as usize);
}

#[test]
fn a_table_without_room_says_so_and_stays_as_it_is() {
    let table: Vips = table(1);
    for number in 0..4 {
        table.insert(&key(number), &vip(number), never).unwrap();
    }
    let full = table.insert(&key(4), &vip(4), never).unwrap_err();
    assert_eq!(full.to_string(), "map TEST: no storage space");
    assert_eq!(table.iter().count(), 4);
}

/// A daemon that was killed between the two writes of a move has left a key twice.
#[test]
fn a_key_that_is_there_twice_goes_as_one() {
    let table: Vips = table(64);
    let number = (0..).find(|n| {
        let Places { first, second } = Places::of(key(*n).hash(), 64);
        first != second
    });
    let key = key(number.unwrap());
    let rows: Vec<_> = table
        .candidates(&key)
        .filter(|place| place.number == 0)
        .collect();
    rows.iter()
        .for_each(|place| table.put(*place, &key, &vip(7)));
    assert_eq!(table.iter().count(), 2);
    table.remove(&key).unwrap();
    assert_eq!(look_up(&table, &key), None);
    assert_eq!(table.iter().count(), 0);
}

/// A thread reads as the program does, while keys come and go; places are used again only once it has gone
/// round.
#[test]
fn a_reader_never_sees_the_value_of_another_key() {
    use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

    let table: Vips = table(1);
    let (rounds, done) = (AtomicU64::new(0), AtomicBool::new(false));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Acquire) {
                for number in 0..64 {
                    if let Some(found) = look_up(&table, &key(number)) {
                        assert_eq!(found, vip(number));
                    }
                    rounds.fetch_add(1, Ordering::AcqRel);
                }
            }
        });
        let barrier = || {
            let begun = rounds.load(Ordering::Acquire);
            while rounds.load(Ordering::Acquire) < begun + 2 && !done.load(Ordering::Relaxed) {
                std::hint::spin_loop();
            }
        };
        for number in 0..20_000 {
            let key = key(number % 64);
            table.insert(&key, &vip(number % 64), never).unwrap();
            table.remove(&key).unwrap();
            barrier();
        }
        done.store(true, Ordering::Release);
    });
}
