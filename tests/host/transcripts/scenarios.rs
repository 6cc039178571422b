//! The recordings, each with what it does not show, and where we answer differently on purpose.

use super::{Compare, Instead, Scenario, Unseen};

const ADMIN: &str = "there is no administration over the socket";
const ANSWERED: &str = "what is not understood leaves the connection usable";
const ANY_ID: &str = "an id is echoed as it came, whatever it is";
const ARRAYS: &str = "an array of messages is read in every generation";
const BEYOND: &str = "a client of 0.3 that has events beyond the head has them of another lifetime";
const BINARY: &str = "a binary frame is read as the text it holds";
const CHAINED: &str = "a batch follows on from the head without gaps, or is refused as a whole";
const ID_AGAIN: &str = "an id used again belongs to the newer request, and the older one is over";
const LARGE: &str = "an event up to MAX_EVENT_BYTES is stored and sent alone, a larger one refused";
const NO_ARGS: &str = "args that are left out are null, in every generation";
const PING: &str = "a ping is answered by a pong however it is spelt";
const RETRY: &str = "a push that repeats stored events exactly is a retry, and is acknowledged";
const UNKNOWN_PULL: &str =
    "who acknowledges a pull that is not of this socket has to connect again";
const WHOLE: &str = "an eviction between pages loses none of them";
const WORDS: &str = "the words differ";

/// `makeCfSync` of 0.3.1.
pub(super) const V03: &[Scenario] = &[
    same("broadcast-before-pull-response-and-no-pull"),
    same("connect-ping"),
    scenario("hibernation", Compare::Frames, &[evicted(14_000)], &[]),
    scenario(
        "missed-events-across-reconnect",
        Compare::Frames,
        &[
            pushed(1900, (1, 1), 0, "oTO1F31-lZnaKiFU_X6rr"),
            pushed(2345, (2, 2), 0, "900"),
            pushed(4850, (3, 3), 0, "Wky9mGk0pJ006gBDQnDQ1"),
        ],
        &[],
    ),
    scenario(
        "pull-1MB-response",
        Compare::Events,
        &[pushed(0, (1, 4), 400_000, "900")],
        &[],
    ),
    same("pull-250-events"),
    same("pull-empty"),
    same("pull-with-cursor"),
    same("push-empty-batch"),
    same("push-ok-broadcast"),
    scenario(
        "push-stale-parent",
        Compare::Frames,
        &[],
        &[instead(
            "w1",
            RETRY,
            &[
                r#"PushAck "RWZXb-w-j7BENjAuYi22X""#,
                r#"PullRes "push" "RWZXb-w-j7BENjAuYi22X": 1-2 +0"#,
                r#"PushAck "qSffjDgshAeNvCf0Jlf7h""#,
                r#"Error "mgW6qRcb4zhgn8nWy-nz-" "Invalid parent event number. Received e8 but expected e2""#,
                r#"PushAck "kkmJ8GfHHcvoTXkeHpuys""#,
                r#"PullRes "push" "kkmJ8GfHHcvoTXkeHpuys": 3 +0"#,
            ],
        )],
    ),
    scenario(
        "raw-messages",
        Compare::Frames,
        &[],
        &[
            instead(
                "w3",
                BEYOND,
                &[
                    r#"Error "r1" "the store was emptied since this client pulled from it: clear its data and start again""#,
                ],
            ),
            instead("w11", PING, &[]),
            instead("w16", BINARY, &[r#"PullRes "pull" "r6": 1-2 +0"#]),
            instead("w18", ADMIN, &[r#"Error "a2" "Invalid admin secret""#]),
            instead("w21", ADMIN, &[r#"Error "a5" "Invalid admin secret""#]),
            instead("w23", RETRY, &[r#"PushAck "a7""#]),
        ],
    ),
    same("reconnect-real-client"),
    same("storage-dump"),
];

/// 0.4.0.
pub(super) const V04: &[Scenario] = &[
    same("e2e-adapter-node-ws"),
    scenario(
        "hibernated-live-pull-continues",
        Compare::Frames,
        &[evicted(13_100)],
        &[],
    ),
    scenario(
        "hibernated-unacked-pagination",
        Compare::Frames,
        &[pushed(0, (1, 250), 0, "900"), evicted(14_366)],
        &[instead(
            "w1",
            WHOLE,
            &[
                r#"Chunk "0": 1-100 +150"#,
                r#"Chunk "0": 101-200 +50"#,
                r#"Chunk "0": 201-250 NoMore"#,
                r#"Chunk "0": 251 NoMore"#,
            ],
        )],
    ),
    same("storage-dump-do-sqlite"),
    scenario(
        "ws-broadcast-interleaves-pagination",
        Compare::EventsOnce,
        &[
            pushed(0, (1, 350), 0, "900"),
            pushed(600, (351, 351), 0, "900"),
        ],
        &[],
    ),
    scenario(
        "ws-client-backendid-mismatch-real-client",
        Compare::Frames,
        &[backend_id_changed(500, "changed-backend-id")],
        &[],
    ),
    same("ws-client-close-codes"),
    same("ws-concurrent-push-race"),
    same("ws-connect-ping"),
    same("ws-do-abort"),
    scenario(
        "ws-duplicate-request-id",
        Compare::Frames,
        &[],
        &[instead(
            "w1",
            ID_AGAIN,
            &[
                r#"Chunk "0": none NoMore"#,
                r#"Chunk "0": none NoMore"#,
                r#"Chunk "0": 1 NoMore"#,
                r#"Exit "1" Success {}"#,
            ],
        )],
    ),
    scenario(
        "ws-hibernation-live-pull",
        Compare::Frames,
        &[evicted(14_000)],
        &[],
    ),
    same("ws-interrupt-pull"),
    same("ws-live-pull-broadcast"),
    same("ws-live-pull-self-echo"),
    same("ws-live-pull-with-cursor-two-streams"),
    same("ws-malformed-then-continue"),
    scenario(
        "ws-no-ack-backpressure",
        Compare::Events,
        &[pushed(0, (1, 350), 0, "900")],
        &[],
    ),
    same("ws-nonlive-pull-then-push"),
    same("ws-pull-250-events"),
    scenario(
        "ws-pull-600-events-do-pages",
        Compare::Events,
        &[pushed(0, (1, 600), 0, "900")],
        &[],
    ),
    scenario(
        "ws-pull-and-push-race-duplicates",
        Compare::EventsOnce,
        &[],
        &[],
    ),
    same("ws-pull-backendid-mismatch"),
    same("ws-pull-empty"),
    same("ws-push-backendid-mismatch"),
    same("ws-push-empty-batch-raw"),
    scenario(
        "ws-push-limits-raw",
        Compare::Frames,
        &[],
        &[
            instead(
                "w1",
                LARGE,
                &[
                    r#"Exit "1" Success {}"#,
                    r#"Exit "2" Failure UnknownError"#,
                    r#"Exit "3" Success {}"#,
                    r#"Exit "4" Success {}"#,
                ],
            ),
            instead(
                "w2",
                LARGE,
                &[
                    r#"Chunk "0": none NoMore"#,
                    r#"Chunk "0": 1-100 NoMore"#,
                    r#"Chunk "0": 101-200 NoMore"#,
                    r#"Chunk "0": 201-250 NoMore"#,
                    r#"Chunk "0": 251 NoMore"#,
                    r#"Chunk "0": 252 NoMore"#,
                    r#"Chunk "0": 253 NoMore"#,
                ],
            ),
        ],
    ),
    same("ws-push-ok-then-pull-cursor"),
    scenario(
        "ws-push-server-ahead",
        Compare::Frames,
        &[],
        &[instead(
            "w1",
            RETRY,
            &[
                r#"Exit "38" Success {}"#,
                r#"Exit "39" Success {}"#,
                r#"Exit "40" Failure ServerAheadError head 2, parent 9"#,
            ],
        )],
    ),
    scenario(
        "ws-raw-errors",
        Compare::Frames,
        &[],
        &[
            instead(
                "w3",
                ANSWERED,
                &[r#"Defect "Unknown request tag: undefined""#],
            ),
            instead("w6", ARRAYS, &[]),
            instead("w7", ARRAYS, &[r#"Chunk "0": none NoMore"#]),
            instead(
                "w12",
                WORDS,
                &[r#"Defect "Unknown request tag: undefined""#],
            ),
            instead(
                "w13",
                ANSWERED,
                &[r#"Defect "Request.id must be a string or a number""#],
            ),
            instead("w14", ANY_ID, &["Chunk 3: none NoMore"]),
            instead("w15", ANY_ID, &[r#"Chunk "abc": none NoMore"#]),
            instead("w17", ANY_ID, &[r#"Chunk "0x10": none NoMore"#]),
            instead("w19", ANY_ID, &[r#"Chunk "": none NoMore"#]),
            instead("w32", CHAINED, &[r#"Exit "11" Failure UnknownError"#]),
            instead("w33", CHAINED, &[r#"Chunk "12": 1 NoMore"#]),
            instead(
                "w36",
                CHAINED,
                &[r#"Exit "15" Failure ServerAheadError head 1, parent 7"#],
            ),
            instead("w37", CHAINED, &[r#"Exit "16" Failure UnknownError"#]),
            instead("w38", CHAINED, &[r#"Chunk "17": 1 NoMore"#]),
            instead("w39", UNKNOWN_PULL, &[r#"{"closed":1012}"#]),
            instead("w44", CHAINED, &[r#"Chunk "18": 1 NoMore"#]),
            instead("w48", CHAINED, &[r#"Chunk "19": 1 NoMore"#]),
        ],
    ),
    same("ws-reconnect-real-client"),
    scenario(
        "ws-single-event-between-900k-and-1MiB",
        Compare::Frames,
        &[],
        &[instead(
            "w1",
            LARGE,
            &[
                r#"Exit "0" Success {}"#,
                r#"Chunk "1": 1 NoMore"#,
                r#"Exit "2" Success {}"#,
            ],
        )],
    ),
    same("ws-size-split"),
    scenario(
        "ws-odd-messages",
        Compare::Frames,
        &[],
        &[
            instead(
                "w1",
                ANSWERED,
                &[
                    r#"Defect "Unknown request tag: undefined""#,
                    r#"Chunk "40": none NoMore"#,
                ],
            ),
            instead(
                "w2",
                ANSWERED,
                &[
                    r#"Defect "Request.id must be a string or a number""#,
                    r#"Chunk "40": none NoMore"#,
                ],
            ),
            instead(
                "w3",
                ANY_ID,
                &["Chunk 3: none NoMore", r#"Chunk "40": none NoMore"#],
            ),
            instead(
                "w4",
                ANY_ID,
                &[r#"Chunk "abc": none NoMore"#, r#"Chunk "40": none NoMore"#],
            ),
            instead("w5", ANSWERED, &[r#"Chunk "40": none NoMore"#]),
            instead("w6", ANSWERED, &[r#"Chunk "40": none NoMore"#]),
            instead(
                "w7",
                ANY_ID,
                &["Exit 3 Success {}", r#"Chunk "40": none NoMore"#],
            ),
        ],
    ),
];

/// The Effect 4 line.
pub(super) const V05: &[Scenario] = &[
    scenario(
        "ws-broadcast-interleaves-pagination",
        Compare::EventsOnce,
        &[
            pushed(0, (1, 350), 0, "900"),
            pushed(600, (351, 351), 0, "900"),
        ],
        &[],
    ),
    scenario(
        "ws-client-backendid-mismatch-real-client",
        Compare::Frames,
        &[backend_id_changed(500, "changed-backend-id")],
        &[],
    ),
    same("ws-client-close-codes"),
    same("ws-concurrent-push-race"),
    same("ws-connect-ping"),
    same("ws-do-abort"),
    scenario(
        "ws-duplicate-request-id",
        Compare::Frames,
        &[],
        &[instead(
            "w1",
            ID_AGAIN,
            &[
                "Chunk 0: none NoMore",
                "Chunk 0: none NoMore",
                "Chunk 0: 1 NoMore",
                "Exit 1 Success {}",
            ],
        )],
    ),
    scenario(
        "ws-hibernation-live-pull",
        Compare::Frames,
        &[evicted(14_000)],
        &[],
    ),
    same("ws-interrupt-pull"),
    same("ws-live-pull-broadcast"),
    same("ws-live-pull-self-echo"),
    same("ws-live-pull-with-cursor-two-streams"),
    same("ws-malformed-then-continue"),
    scenario(
        "ws-no-ack-backpressure",
        Compare::Events,
        &[pushed(0, (1, 350), 0, "900")],
        &[],
    ),
    same("ws-nonlive-pull-then-push"),
    same("ws-pull-250-events"),
    scenario(
        "ws-pull-600-events-do-pages",
        Compare::Events,
        &[pushed(0, (1, 600), 0, "900")],
        &[],
    ),
    scenario(
        "ws-pull-and-push-race-duplicates",
        Compare::EventsOnce,
        &[],
        &[],
    ),
    same("ws-pull-backendid-mismatch"),
    same("ws-pull-empty"),
    same("ws-push-backendid-mismatch"),
    same("ws-push-empty-batch-raw"),
    scenario(
        "ws-push-ok-then-pull-cursor",
        Compare::Frames,
        &[],
        &[instead(
            "w1",
            NO_ARGS,
            &[
                "Exit 1 Success {}",
                "Chunk 2: 1 NoMore",
                "Exit 2 Success null",
                "Exit 3 Success {}",
                "Chunk 4: 2-5 NoMore",
                "Exit 4 Success null",
                "Chunk 5: none NoMore",
                "Exit 5 Success null",
                "Chunk 6: none NoMore",
                "Exit 6 Success null",
            ],
        )],
    ),
    scenario(
        "ws-push-server-ahead",
        Compare::Frames,
        &[],
        &[instead(
            "w1",
            RETRY,
            &[
                "Exit 38 Success {}",
                "Exit 39 Success {}",
                "Exit 40 Failure [ServerAheadError head 2, parent 9]",
            ],
        )],
    ),
    scenario(
        "ws-raw-errors",
        Compare::Frames,
        &[],
        &[
            instead(
                "w3",
                ANSWERED,
                &[r#"Defect "Unknown request tag: undefined""#],
            ),
            instead(
                "w12",
                WORDS,
                &[r#"Exit 1 Failure [Die "Unknown request tag: undefined"]"#],
            ),
            instead(
                "w13",
                ANSWERED,
                &[r#"Defect "Request.id must be a string or a number""#],
            ),
            instead("w31", NO_ARGS, &["Exit 10 Success {}"]),
            instead("w32", CHAINED, &["Exit 11 Failure [UnknownError]"]),
            instead("w33", NO_ARGS, &["Chunk 12: 1 NoMore"]),
            instead("w34", CHAINED, &["Exit 13 Failure [UnknownError]"]),
            instead("w35", CHAINED, &["Exit 14 Failure [UnknownError]"]),
            instead(
                "w36",
                NO_ARGS,
                &["Exit 15 Failure [ServerAheadError head 1, parent 7]"],
            ),
            instead("w37", CHAINED, &["Exit 16 Failure [UnknownError]"]),
            instead("w38", NO_ARGS, &["Chunk 17: 1 NoMore"]),
            instead("w39", UNKNOWN_PULL, &[r#"{"closed":1012}"#]),
            instead("w44", NO_ARGS, &["Chunk 18: 1 NoMore"]),
            instead("w48", NO_ARGS, &["Chunk 19: 1 NoMore"]),
        ],
    ),
    same("ws-reconnect-real-client"),
    scenario(
        "ws-single-event-between-900k-and-1MiB",
        Compare::Frames,
        &[],
        &[instead(
            "w1",
            LARGE,
            &[
                "Exit 0 Success {}",
                "Chunk 1: 1 NoMore",
                "Exit 2 Success {}",
            ],
        )],
    ),
    same("ws-size-split"),
    scenario(
        "ws-odd-messages",
        Compare::Frames,
        &[],
        &[
            instead(
                "w1",
                ANSWERED,
                &[
                    r#"Defect "Unknown request tag: undefined""#,
                    "Chunk 40: none NoMore",
                ],
            ),
            instead(
                "w2",
                ANSWERED,
                &[
                    r#"Defect "Request.id must be a string or a number""#,
                    "Chunk 40: none NoMore",
                ],
            ),
        ],
    ),
];

/// A scenario in which every frame is as recorded.
const fn same(file: &'static str) -> Scenario {
    scenario(file, Compare::Frames, &[], &[])
}

const fn scenario(
    file: &'static str,
    compare: Compare,
    unseen: &'static [Unseen],
    instead: &'static [Instead],
) -> Scenario {
    Scenario {
        file,
        compare,
        unseen,
        instead,
    }
}

const fn pushed(at_ms: u64, events: (i64, i64), padding: usize, id: &'static str) -> Unseen {
    Unseen::Pushed {
        at_ms,
        events,
        padding,
        id,
    }
}

const fn evicted(at_ms: u64) -> Unseen {
    Unseen::Evicted { at_ms }
}

const fn backend_id_changed(at_ms: u64, to: &'static str) -> Unseen {
    Unseen::BackendIdChanged { at_ms, to }
}

const fn instead(
    conn: &'static str,
    why: &'static str,
    frames: &'static [&'static str],
) -> Instead {
    Instead { conn, frames, why }
}
