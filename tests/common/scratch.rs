//! A temporary file of one test, removed at its end.
#![allow(dead_code)] // each test uses its own part

use std::fs::{self, File};
use std::path::PathBuf;

/// A folder of its own for the file, so that it can be replaced in every way.
pub(crate) struct Scratch {
    folder: PathBuf,
    path: PathBuf,
}

impl Scratch {
    /// A name without a file.
    pub(crate) fn new(name: &str) -> Scratch {
        let folder = format!("closecall-test-{}-{name}", std::process::id());
        let folder = std::env::temp_dir().join(folder);
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder).unwrap();
        Scratch { path: folder.join("close.log"), folder }
    }

    pub(crate) fn path(&self) -> &str {
        self.path.to_str().unwrap()
    }

    /// The path of another file beside it.
    pub(crate) fn beside(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    pub(crate) fn create(&self) -> File {
        File::create(&self.path).unwrap()
    }

    /// What is in it; nothing if it does not exist.
    pub(crate) fn text(&self) -> String {
        fs::read_to_string(&self.path).unwrap_or_default()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.folder);
    }
}
