//! `cargo xtask fuzz`: every decoder under libFuzzer, one after the other.
//!
//! It needs a C++ compiler and no nightly toolchain: coverage comes from LLVM's own pass, and since no
//! crate of ours has `unsafe` the address sanitizer is left out. What it finds lies in
//! `target/fuzz/found`; what it learned is kept in `target/fuzz/corpus` for the next run.

use std::fs;

use anyhow::{Context, Result, bail, ensure};
use clap::Args;
use duct::cmd;

use xtask::tools::{host, root, step, target};

/// What `cargo fuzz --sanitizer none` compiles with.
const COVERAGE: [&str; 9] = [
    "--cfg=fuzzing",
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
    "-Clink-dead-code",
    "-Cdebug-assertions",
    "-Ccodegen-units=1",
];

/// What libFuzzer itself may take beside its target: corpus and counters.
const OWN_MEMORY_MIB: usize = 512;
/// A decoder that takes longer than this for one input is at fault.
const INPUT_SECONDS: u32 = 10;

#[derive(Args)]
pub(crate) struct Fuzz {
    /// Seconds for each decoder
    #[arg(default_value_t = 60)]
    seconds: u32,
    /// Only this decoder
    #[arg(long)]
    target: Option<String>,
}

impl Fuzz {
    pub(crate) fn run(self) -> Result<()> {
        let built = target().join("fuzz");
        let host = host()?;
        step("building the decoders for libFuzzer");
        let program = |name: &str| built.join(&host).join("release").join(name);
        // With `--target` the flags are not for build scripts and macros, which have no fuzzer to call.
        cmd!(
            "cargo",
            "build",
            "--quiet",
            "--release",
            "--package",
            "podsync-fuzz",
            "--features",
            "libfuzzer",
            "--bin",
            "decoders",
            "--target",
            &host,
            "--target-dir",
            &built
        )
        .env("CARGO_ENCODED_RUSTFLAGS", COVERAGE.join("\u{1f}"))
        .dir(root())
        .run()
        .context("libFuzzer needs a C++ compiler: install clang or g++")?;
        let corpus = built.join("corpus");
        let listed = cmd!(
            "cargo",
            "run",
            "--quiet",
            "--package",
            "podsync-fuzz",
            "--bin",
            "seeds",
            "--",
            &corpus
        )
        .dir(root())
        .read()?;
        let found = built.join("found");
        fs::create_dir_all(&found)?;
        let mut ran = 0;
        for line in listed.lines() {
            let mut words = line.split(' ');
            let (Some(name), Some(max_len), Some(memory)) =
                (words.next(), words.next(), words.next())
            else {
                continue;
            };
            if self.target.as_ref().is_some_and(|only| only != name) {
                continue;
            }
            step(&format!("{name}, {} s", self.seconds));
            let memory = memory.parse::<usize>()? / (1 << 20) + OWN_MEMORY_MIB;
            let run = cmd!(
                program("decoders"),
                corpus.join(name),
                format!("-max_total_time={}", self.seconds),
                format!("-max_len={max_len}"),
                format!("-timeout={INPUT_SECONDS}"),
                format!("-rss_limit_mb={memory}"),
                format!("-artifact_prefix={}/{name}-", found.display()),
                "-print_final_stats=1",
                "-verbosity=0"
            )
            .env("PODSYNC_FUZZ_TARGET", name)
            .dir(root())
            .stderr_capture()
            .unchecked()
            .run()?;
            let told = String::from_utf8_lossy(&run.stderr);
            if !run.status.success() {
                bail!(
                    "{told}\n{name} failed: the input lies in {}",
                    found.display()
                );
            }
            for figure in told.lines().filter_map(|line| line.strip_prefix("stat::")) {
                eprintln!("{figure}");
            }
            ran += 1;
        }
        ensure!(ran > 0, "there is no such decoder; they are:\n{listed}");
        Ok(())
    }
}
