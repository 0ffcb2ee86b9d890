//! `seeds FOLDER`: writes what libFuzzer starts from, a folder a target; prints the targets' names.

use std::{fs, path::PathBuf};

use podsync_fuzz::TARGETS;

fn main() -> std::io::Result<()> {
    let Some(folder) = std::env::args_os().nth(1).map(PathBuf::from) else {
        eprintln!("usage: seeds FOLDER");
        std::process::exit(2);
    };
    for target in &TARGETS {
        let folder = folder.join(target.name);
        fs::create_dir_all(&folder)?;
        for (number, seed) in target.seeds().into_iter().enumerate() {
            fs::write(folder.join(format!("seed-{number:02}")), seed)?;
        }
        println!("{} {} {}", target.name, target.max_len, target.memory);
    }
    Ok(())
}
