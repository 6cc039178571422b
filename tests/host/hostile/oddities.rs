//! Frames by hand that a careless reader trips over.

use super::*;

/// Frames by hand that a careless reader trips over.
fn frames() -> Vec<String> {
    let deep =
        |open: &str, close: &str| format!("{}{}", open.repeat(100_000), close.repeat(100_000));
    let (arrays, objects) = (
        deep("[", "]"),
        deep("{\"a\":", "") + "1" + &"}".repeat(100_000),
    );
    let event = Sample::new(EVENTS + 1).json();
    let push = speaker(Generation::V04).push("\"1\"", None, &format!("[{event}]"));
    let pull = pull("\"1\"");
    let stale = push
        .replace("\"seqNum\":4", "\"seqNum\":2")
        .replace("\"parentSeqNum\":3", "\"parentSeqNum\":1");
    let mut frames = vec![
        "[".repeat(1_000_000),
        "{\"a\":".repeat(200_000),
        arrays.clone(),
        objects.clone(),
        format!("[{arrays}]"),
        " ".repeat(1_000_000),
        format!("\"{}\"", "x".repeat(3_000_000)),
        "9".repeat(1_000_000),
        format!("{}1", "-".repeat(100_000)),
        format!("[{}1]", "1,".repeat(20_000)),
        format!("[{}{{}}]", "{\"_tag\":\"Ping\"},".repeat(5_000)),
        format!("{{\"_tag\":\"{}\"}}", "x".repeat(1_000_000)),
        format!(
            "{{\"_tag\":\"Request\",\"id\":\"1\",\"tag\":\"{}\"}}",
            "\\u0000".repeat(100_000)
        ),
        format!("{{{}\"_tag\":\"Ping\"}}", "\"_tag\":\"Ping\",".repeat(1000)),
        format!("{{{}\"_tag\":\"Ping\"}}", "\"k\":0,".repeat(100_000)),
        "{\"_tag\":\"Request\",\"_tag\":\"Ping\"}".to_owned(),
        "{\"__proto__\":{\"_tag\":\"Ping\"}}".to_owned(),
        "{\"_tag\":\"\\ud800\"}".to_owned(),
        "{\"_tag\":\"Ping\\ud83d\"}".to_owned(),
        "{\"\\ud800\":1,\"_tag\":\"Ping\"}".to_owned(),
        push.replace("\"id\":\"1\"", "\"id\":\"1\",\"id\":\"2\""),
        push.replace("\"headers\":[]", "\"payload\":{}"),
        push.replace("\"seqNum\":4", "\"seqNum\":4,\"seqNum\":5"),
    ];
    for (target, odd) in [
        ("\"1\"", &arrays),
        ("\"1\"", &objects),
        ("\"todoCreated\"", &arrays),
        ("4", &arrays),
        ("\"quiet-store\"", &objects),
        ("{\"_tag\":\"None\"}", &arrays),
        (
            "{\"_tag\":\"None\"}",
            &format!("{{\"_tag\":\"Some\",\"value\":{arrays}}}"),
        ),
        ("{\"_tag\":\"None\"}", &format!("{{\"_tag\":{objects}}}")),
        ("[]", &arrays),
    ] {
        for frame in [&pull, &push, &stale] {
            frames.push(frame.replacen(target, odd, 1));
        }
    }
    for frame in [&pull, &push, &stale] {
        for odd in [
            "\"\\ud800\"",
            "\"\\udc00\\ud800\"",
            "\"\u{0}\"",
            "\"\\u0000\"",
            "1e400",
            "-0",
            "1e-400",
            "NaN",
            "-",
            "\"",
            "\\",
            "\u{2028}",
        ] {
            for target in [
                "\"1\"",
                "\"quiet-store\"",
                "\"todoCreated\"",
                "4",
                "false",
                "\"None\"",
                "\"headers\"",
                "\"client-A\"",
            ] {
                frames.push(frame.replacen(target, odd, 1));
            }
        }
    }
    frames
}

#[test]
fn no_frame_by_hand_does_harm() {
    let frames = frames();
    println!("{} frames", frames.len());
    for family in Family::ALL {
        let mut room = Room::new(family);
        for frame in &frames {
            room.attack_text(frame);
            room.attack(Frame::Binary(&frame.as_bytes()[..frame.len() / 2]));
        }
    }
}

#[test]
fn args_of_any_depth_are_carried_as_they_are() {
    for args in [
        "[".repeat(100_000) + &"]".repeat(100_000),
        "\"\\ud800\"".to_owned(),
        "1e400".to_owned(),
    ] {
        let event = Sample {
            args: Some(args.clone()),
            ..Sample::new(EVENTS + 1)
        };
        for generation in [Generation::V03, Generation::V04, Generation::V05] {
            let speaker = speaker(generation);
            let mut room = Room::new(generation.family());
            let frame = speaker.push(
                &speaker.id(1),
                None,
                &batch_json(std::slice::from_ref(&event)),
            );
            let outcome = room.attack_text(&frame);
            // Accepted and delivered as sent, or refused: but never half of it.
            if room.rows() == 4 {
                assert!(outcome.overheard.iter().all(|frame| frame.contains(&args)));
            } else {
                assert_eq!(outcome.answers.len(), 1);
            }
        }
    }
}
