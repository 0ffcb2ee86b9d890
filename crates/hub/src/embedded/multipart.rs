//! Uploads in parts, as other S3 clients make them of long files. podsync makes none.

use std::{
    fs::{self, File},
    io,
    path::PathBuf,
};

use data_encoding::HEXLOWER;
use s3s::{S3Result, s3_error};
use tempfile::NamedTempFile;

use super::disk::{Disk, failure};

/// Says which key an upload is for.
const KEY: &str = "key";
const MAX_PARTS: i32 = 10_000;

impl Disk {
    pub(super) fn begin_upload(&self, bucket: &str, key: &str) -> S3Result<String> {
        let id = HEXLOWER.encode(&rand::random::<[u8; 16]>());
        let folder = self.uploads().join(&id);
        fs::create_dir(&folder).map_err(failure)?;
        fs::write(folder.join(KEY), format!("{bucket}/{key}")).map_err(failure)?;
        Ok(id)
    }

    /// The folder of an upload for this key.
    pub(super) fn upload(&self, id: &str, bucket: &str, key: &str) -> S3Result<PathBuf> {
        let is_id = id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit());
        let folder = self.uploads().join(id);
        let known = is_id.then(|| fs::read_to_string(folder.join(KEY)).ok());
        if known.flatten() != Some(format!("{bucket}/{key}")) {
            return Err(s3_error!(NoSuchUpload));
        }
        Ok(folder)
    }

    /// Puts the parts, which are in ascending order, behind each other.
    pub(super) fn join_parts(
        &self,
        folder: &std::path::Path,
        parts: &[i32],
    ) -> S3Result<NamedTempFile> {
        if parts.is_empty() {
            return Err(s3_error!(MalformedXML));
        }
        if !parts.is_sorted_by(|a, b| a < b) {
            return Err(s3_error!(InvalidPartOrder));
        }
        let mut whole = self.unfinished()?;
        for part in parts {
            let mut part =
                File::open(part_path(folder, *part)?).map_err(|_| s3_error!(InvalidPart))?;
            io::copy(&mut part, &mut whole).map_err(failure)?;
        }
        Ok(whole)
    }

    pub(super) fn end_upload(&self, folder: &std::path::Path) -> S3Result<()> {
        fs::remove_dir_all(folder).map_err(failure)
    }
}

pub(super) fn part_path(folder: &std::path::Path, number: i32) -> S3Result<PathBuf> {
    if (1..=MAX_PARTS).contains(&number) {
        Ok(folder.join(format!("{number}.part")))
    } else {
        Err(s3_error!(InvalidArgument, "no such number of a part"))
    }
}
