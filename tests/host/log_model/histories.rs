//! Histories by hand: the shortest ones for what is easy to get wrong.

use super::*;

const V03: Tongue = Tongue::One(Generation::V03);
const V04: Tongue = Tongue::One(Generation::V04);
const V05: Tongue = Tongue::One(Generation::V05);

fn start(tongues: &[Tongue], events: u16, bytes: usize) -> World {
    World::new(tongues, Existing { events, bytes }, 0, Binding::Doubles)
}

fn pull(client: u8, from: Cursor) -> Op {
    Op::Pull {
        client,
        second: false,
        from,
        live: true,
        claim: Claim::Right,
        same_id: false,
    }
}

fn push(client: u8, count: u8) -> Op {
    let sizes = Sizes::Few(count);
    push_of(client, PushKind::Right { sizes })
}

fn push_of(client: u8, kind: PushKind) -> Op {
    Op::Push {
        client,
        second: false,
        kind,
        claim: Claim::Right,
    }
}

fn run(mut world: World, ops: impl IntoIterator<Item = Op>) -> Seen {
    for op in ops {
        world.run(op);
    }
    world.settle();
    world.seen
}

#[test]
fn a_pull_from_beyond_the_head_outlives_an_eviction() {
    for ahead in 1..5 {
        for pushes in 0..6 {
            for tongue in [V04, V05] {
                let pushed = (0..pushes).map(|_| push(1, 1));
                let ops = [pull(0, Cursor::BeyondHead(ahead))]
                    .into_iter()
                    .chain(pushed);
                let ops = ops.chain([Op::Evict, push(1, 1), push(1, 3), Op::Evict, push(1, 1)]);
                run(start(&[tongue, V04], 3, 0), ops);
            }
        }
    }
}

#[test]
fn a_cursor_inside_a_push_gets_the_rest_of_it() {
    for ahead in 1..5 {
        let ops = [pull(0, Cursor::BeyondHead(ahead)), push(1, 4), push(0, 2)];
        run(start(&[V04, V03], 3, 0), ops);
    }
}

#[test]
fn a_lost_acknowledgement_is_made_up_for() {
    for back in 0..5 {
        for new in 0..3 {
            let ops = [
                pull(1, Cursor::Start),
                push(0, 5),
                push_of(0, PushKind::Repeated { back, new }),
                Op::Evict,
                push_of(0, PushKind::Repeated { back, new }),
                push_of(0, PushKind::Altered { back: 4, new }),
            ];
            for tongue in [V03, V04, V05] {
                run(start(&[tongue, V04], 3, 0), ops.clone());
            }
        }
    }
}

#[test]
fn a_push_between_the_pages_of_a_pull_is_folded_into_them() {
    let ack = |pages| Op::Ack {
        client: 0,
        pull: 0,
        pages,
    };
    let ops = [
        pull(0, Cursor::Start),
        push(1, 5),
        ack(3),
        push(0, 1),
        ack(8),
        push(1, 2),
        ack(30),
        push(1, 1),
    ];
    for tongue in [V04, V05] {
        let seen = run(start(&[tongue, V05], 2_500, 0), ops.clone());
        assert!(seen.pushes_while_paging > 2, "{seen:?}");
    }
}

#[test]
fn an_eviction_between_any_two_frames_of_a_long_pull_is_not_noticed() {
    let mut ops = vec![pull(0, Cursor::Start), Op::Evict];
    for _ in 0..26 {
        let ack = Op::Ack {
            client: 0,
            pull: 0,
            pages: 1,
        };
        ops.extend([push(1, 1), Op::Evict, ack, Op::Evict]);
    }
    for tongue in [V04, V05] {
        let seen = run(start(&[tongue, V04], 2_000, 0), ops.clone());
        assert!(seen.pages_after_waking > 2, "{seen:?}");
    }
}

#[test]
fn a_0_3_pull_that_takes_several_turns_is_gapless() {
    let ops = [
        pull(0, Cursor::Start),
        push(1, 2),
        Op::Evict,
        push(0, 1),
        Op::Resume,
        push(1, 1),
        Op::Evict,
        Op::Resume,
        push(0, 1),
    ];
    // Twelve megabytes: three turns.
    let seen = run(start(&[V03, V04], 14, 890_000), ops);
    assert!(seen.pushes_while_paging > 2, "{seen:?}");
}

#[test]
fn a_listener_that_acknowledges_slowly_gets_fewer_and_fuller_pages() {
    let listening = [pull(0, Cursor::Start), pull(1, Cursor::Start)];
    let pushes = (0..60).map(|_| push(2, 1));
    let mut world = start(&[V04, V05, V04], 0, 0);
    for op in listening.into_iter().chain(pushes) {
        world.run(op);
    }
    let pages = |world: &World| (world.seen.pages + world.seen.broadcasts) as usize;
    assert_eq!(pages(&world), 2 * WINDOW_PAGES);
    world.settle();
    assert!(pages(&world) < 3 * WINDOW_PAGES, "{:?}", world.seen);
}

#[test]
fn what_escapes_add_counts_in_the_size_of_a_page() {
    let mut world = start(&[V04, V05, V03], 0, 0);
    world.run(pull(0, Cursor::Start));
    world.run(pull(1, Cursor::Start));
    world.connect(2);
    let events: Vec<Sample> = (1..=100)
        .map(|seq_num| Sample {
            name: "\u{1}".repeat(4_095),
            ..Sample::new(seq_num)
        })
        .collect();
    for client in [0, 2] {
        world.push_events(client, false, &events, Claim::Right);
        world.check();
    }
    world.settle();
    assert_eq!((world.seen.appended, world.seen.repeated), (1, 1));
    assert!(world.seen.broadcasts >= 6, "{:?}", world.seen);
}

#[test]
fn every_generation_pushes_to_every_other() {
    let everyone = [V03, V04, V05, Tongue::Both];
    let mut ops: Vec<Op> = (0..4).map(|client| pull(client, Cursor::Start)).collect();
    for round in 1..4 {
        ops.extend((0..4).map(|client| push(client, round)));
        ops.push(Op::Evict);
    }
    let seen = run(start(&everyone, 0, 0), ops);
    assert_eq!((seen.appended, seen.refused), (12, 0));
}

#[test]
fn a_failure_anywhere_in_a_turn_leaves_all_or_nothing() {
    for skip in 0..5 {
        for count in 1..4 {
            for after in [false, true] {
                let fail = Op::Fail { skip, count, after };
                let listening = [pull(0, Cursor::BeyondHead(1)), pull(2, Cursor::Start)];
                for op in [
                    push(1, 3),
                    push_of(1, PushKind::Repeated { back: 2, new: 1 }),
                    pull(1, Cursor::Start),
                    Op::Evict,
                ] {
                    let ops = listening
                        .iter()
                        .cloned()
                        .chain([fail.clone(), op, push(1, 1)]);
                    run(start(&[V04, V05, V03], 110, 0), ops);
                }
            }
        }
    }
}

#[test]
fn a_socket_that_sync_cf_left_behind_is_served() {
    let kept = [
        (r#"{"storeId":"model-store"}"#, V03, 0),
        (r#"{"storeId":"model-store","pullRequestIds":[]}"#, V04, 0),
        (
            r#"{"storeId":"model-store","pullRequestIds":["0","7"],"headers":{"a":"b"},"payload":{"x":[1]}}"#,
            V04,
            2,
        ),
        (r#"{"storeId":"model-store","pullRequestIds":[3]}"#, V05, 1),
    ];
    for (kept, tongue, pulls) in kept {
        let mut world = start(&[tongue, V04], 5, 0);
        let connection = world.backend.reconnect(kept, 0).unwrap();
        let mut turn = Turn::at(0);
        let speaker = Speaker {
            generation: Generation::V04,
            store_id: STORE,
        };
        let pusher = world.backend.connect(Family::Rpc, Grant::default(), 0);
        let frame = speaker.push("\"1\"", None, &batch_json(&[Sample::new(6)]));
        world
            .backend
            .on_frame(pusher, Frame::Text(&frame), &mut turn);
        let family = tongue.generation(false).family();
        let heard: Vec<Heard> = turn
            .out
            .iter()
            .filter_map(|output| match output {
                Output::Send { to, frame, .. } if *to == connection => {
                    Some(hear(family, frame.as_str()))
                }
                _ => None,
            })
            .collect();
        let expected = if family == Family::Plain { 1 } else { pulls };
        assert_eq!(heard.len(), expected, "{kept}: {heard:?}");
        for heard in heard {
            let Heard::Page { events, .. } = heard else {
                panic!("{heard:?}")
            };
            assert_eq!(events.iter().map(seq_num).collect::<Vec<_>>(), [6]);
        }
    }
}

#[test]
fn an_attachment_of_something_else_is_none() {
    let mut world = start(&[V04], 0, 0);
    for kept in [
        "",
        "null",
        "[]",
        "{}",
        "7",
        r#"{"storeId":7}"#,
        r#"{"storeId":"model-store","pullRequestIds":7}"#,
        r#"{"storeId":"another-store","pullRequestIds":[]}"#,
        r#"{"storeId":"","pullRequestIds":[]}"#,
        r#"{"format":3,"storeId":"model-store","pullRequestIds":[]}"#,
        r#"{"format":2,"storeId":"model-store","backendId":"of-another-lifetime--","pullRequestIds":[]}"#,
    ] {
        assert!(world.backend.reconnect(kept, 0).is_none(), "{kept}");
    }
    assert_eq!(world.backend.socket_count(), 0);
}
