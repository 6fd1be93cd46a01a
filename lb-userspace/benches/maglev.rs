//! How long it takes to build a Maglev table.
//!
//! `cargo bench --package lb-userspace --bench maglev`. The paper (NSDI'16, section 5.3) names 1.8 ms
//! for 65,537 slots and 1,000 backends.

use std::{
    collections::BTreeMap,
    hint::black_box,
    net::{IpAddr, Ipv4Addr},
};

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use lb_userspace::plan::{Endpoint, Seed, maglev};

/// Slots and backends: the default table with as many backends as it is good for, and the paper's
/// large one.
const CASES: [(u32, u32); 2] = [(16_381, 100), (65_537, 1000)];

fn backends(count: u32) -> BTreeMap<Endpoint, u16> {
    (0..count)
        .map(|number| {
            let endpoint = Endpoint {
                address: IpAddr::V4(Ipv4Addr::from(0x0a00_0001 + number)),
                port: Some(8080),
            };
            (endpoint, 1)
        })
        .collect()
}

fn table(criterion: &mut Criterion) {
    let key = Seed::derive(Some("bench")).table;
    let mut group = criterion.benchmark_group("maglev");
    for (size, count) in CASES {
        let weights = backends(count);
        let id = BenchmarkId::from_parameter(format!("{size}x{count}"));
        group.bench_with_input(id, &weights, |bencher, weights| {
            bencher.iter(|| maglev::table(black_box(weights), size, key));
        });
    }
    group.finish();
}

criterion_group!(benches, table);
criterion_main!(benches);
