//! Where a home lies: in the folder that the user names, or in the platform's data folder.

use std::path::PathBuf;

use etcetera::{AppStrategy, AppStrategyArgs};
use podsync_api::{ApiError, ErrorCode};

/// The home that is named, or the default one.
pub(crate) fn home_at(named: Option<PathBuf>) -> Result<PathBuf, ApiError> {
    let home = match named {
        Some(home) => home,
        None => default_home()?,
    };
    let home = std::path::absolute(&home).map_err(|error| {
        ApiError::new(
            ErrorCode::Invalid,
            format!("{} is not a usable path: {error}", home.display()),
        )
        .hint("choose a folder with --home or PODSYNC_HOME")
    })?;
    if home.to_str().is_none() {
        // The control API is JSON, and so is what a command prints.
        let text = format!("the path of the home is not UTF-8: {}", home.display());
        return Err(ApiError::new(ErrorCode::Invalid, text)
            .hint("choose a folder whose path is, with --home or PODSYNC_HOME"));
    }
    Ok(home)
}

/// The home if the user names none.
pub(crate) fn default_home() -> Result<PathBuf, ApiError> {
    let folders = etcetera::choose_app_strategy(AppStrategyArgs {
        top_level_domain: "dev".to_owned(),
        author: "podsync".to_owned(),
        app_name: "podsync".to_owned(),
    });
    let folders = folders.map_err(|error| {
        ApiError::new(
            ErrorCode::Invalid,
            format!("podsync finds no home folder: {error}"),
        )
        .hint("choose a folder with --home or PODSYNC_HOME")
    })?;
    Ok(folders.data_dir())
}
