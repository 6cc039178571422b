//! Any history: the strategies.

use super::*;

pub(super) fn sizes() -> impl Strategy<Value = Sizes> {
    prop_oneof![
        12 => (1..6_u8).prop_map(Sizes::Few),
        3 => (80..450_u16).prop_map(Sizes::Many),
        1 => proptest::collection::vec(100..950_u16, 1..3).prop_map(Sizes::Large),
    ]
}

pub(super) fn push_kind() -> impl Strategy<Value = PushKind> {
    prop_oneof![
        14 => sizes().prop_map(|sizes| PushKind::Right { sizes }),
        3 => (1..5_u8, sizes()).prop_map(|(back, sizes)| PushKind::Stale { back, sizes }),
        1 => (1..9_u8).prop_map(|ahead| PushKind::Future { ahead }),
        1 => any::<u8>().prop_map(|at| PushKind::Gapped { at }),
        1 => any::<u8>().prop_map(|at| PushKind::Unchained { at }),
        4 => (1..7_u8, 0..3_u8).prop_map(|(back, new)| PushKind::Repeated { back, new }),
        2 => (1..7_u8, 0..3_u8).prop_map(|(back, new)| PushKind::Altered { back, new }),
        1 => Just(PushKind::Empty),
        1 => Just(PushKind::Oversized),
        1 => Just(PushKind::TooMany),
        1 => prop_oneof![Just(0), Just(-1), Just(i64::MIN), Just(i64::MAX), Just(1 << 53), any::<i64>()]
            .prop_map(|seq_num| PushKind::OutOfRange { seq_num }),
    ]
}

pub(super) fn claim() -> impl Strategy<Value = Claim> {
    prop_oneof![
        10 => Just(Claim::Right),
        4 => Just(Claim::NoBackend),
        1 => Just(Claim::WrongBackend),
        1 => Just(Claim::ForeignStore),
    ]
}

pub(super) fn cursor() -> impl Strategy<Value = Cursor> {
    prop_oneof![
        4 => Just(Cursor::Start),
        5 => (0..400_u16).prop_map(Cursor::BelowHead),
        2 => (0..9_u8).prop_map(Cursor::BeyondHead),
        1 => any::<i64>().prop_map(Cursor::Anywhere),
    ]
}

pub(super) fn op() -> impl Strategy<Value = Op> {
    let client = || any::<u8>();
    let pull = (
        client(),
        any::<bool>(),
        cursor(),
        proptest::bool::weighted(0.7),
        claim(),
        proptest::bool::weighted(0.1),
    );
    prop_oneof![
        2 => client().prop_map(|client| Op::Connect { client }),
        1 => client().prop_map(|client| Op::Disconnect { client }),
        12 => (client(), any::<bool>(), push_kind(), claim())
            .prop_map(|(client, second, kind, claim)| Op::Push { client, second, kind, claim }),
        2 => (client(), 1..24_u8).prop_map(|(client, pushes)| Op::PushMany { client, pushes }),
        8 => pull.prop_map(|(client, second, from, live, claim, same_id)| Op::Pull {
            client, second, from, live, claim, same_id
        }),
        8 => (client(), any::<u8>(), 1..20_u8).prop_map(|(client, pull, pages)| Op::Ack { client, pull, pages }),
        1 => client().prop_map(|client| Op::AckOld { client }),
        2 => (client(), any::<u8>()).prop_map(|(client, pull)| Op::Interrupt { client, pull }),
        1 => client().prop_map(|client| Op::InterruptPush { client }),
        1 => client().prop_map(|client| Op::Ping { client }),
        2 => Just(Op::Resume),
        4 => Just(Op::Evict),
        3 => (0..4_u8, 1..4_u8, any::<bool>())
            .prop_map(|(skip, count, after)| Op::Fail { skip, count, after }),
        2 => (0..8_000_u16).prop_map(|ms| Op::Wait { ms }),
        1 => (-60_000..600_000).prop_map(|ms| Op::MoveClock { ms }),
    ]
}

pub(super) fn tongues() -> impl Strategy<Value = Vec<Tongue>> {
    let tongue = prop_oneof![
        3 => Just(Tongue::One(Generation::V04)),
        2 => Just(Tongue::One(Generation::V05)),
        2 => Just(Tongue::One(Generation::V03)),
        1 => Just(Tongue::Both),
    ];
    proptest::collection::vec(tongue, 1..5)
}

pub(super) fn existing() -> impl Strategy<Value = Existing> {
    let small = |events| Existing { events, bytes: 0 };
    prop_oneof![
        4 => Just(small(0)),
        4 => (1..30_u16).prop_map(small),
        3 => (100..500_u16).prop_map(small),
        // More pages than may be on their way.
        5 => (1_700..2_600_u16).prop_map(small),
        // More bytes than one turn sends.
        1 => (5..8_u16).prop_map(|events| Existing { events, bytes: 890_000 }),
    ]
}
