//! libFuzzer's way in. `PODSYNC_FUZZ_TARGET` says which decoder: one program for all of them is linked
//! once.

#![no_main]

use std::sync::LazyLock;

use podsync_fuzz::Target;

static TARGET: LazyLock<&Target> = LazyLock::new(|| {
    let name = std::env::var("PODSYNC_FUZZ_TARGET").unwrap_or_default();
    Target::find(&name).expect("PODSYNC_FUZZ_TARGET names a target of podsync-fuzz")
});

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| (TARGET.run)(bytes));
