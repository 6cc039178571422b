#![no_main]

use libfuzzer_sys::fuzz_target;
use livestore_sync_worker_fuzz::bodies;

fuzz_target!(|data: &[u8]| bodies::frames(data));
