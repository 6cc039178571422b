//! The order of the modules, read off their sources: each may use those below it and no other.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// From the top down.
const ORDER: [&str; 13] = [
    "edge", "backend", "route", "config", "eventlog", "transfer", "hooks", "store", "auth", "wire",
    "event", "json", "limits",
];

fn sources(path: &Path) -> Vec<PathBuf> {
    if path.is_file() {
        return vec![path.to_owned()];
    }
    let entries = fs::read_dir(path)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let found = entries.flat_map(|entry| sources(&entry));
    found
        .filter(|file| file.extension().is_some_and(|end| end == "rs"))
        .collect()
}

/// The names that follow `path` in the code of a file, its comments left out.
fn named_after(path: &str, file: &Path) -> BTreeSet<String> {
    let text = fs::read_to_string(file).unwrap();
    let code = text.lines().filter(|line| !line.trim().starts_with("//"));
    let code: Vec<&str> = code.collect();
    let code = code.join("\n");
    let pieces = code.split(path).skip(1);
    let names = pieces.flat_map(|rest| {
        let list = match rest.strip_prefix('{') {
            Some(list) => list.split('}').next().unwrap(),
            None => rest,
        };
        let is_list = rest.starts_with('{');
        let items = list.split(',').take(if is_list { usize::MAX } else { 1 });
        items
            .map(|item| {
                let word = item.trim_start();
                let end = word.find(|letter: char| !letter.is_alphanumeric() && letter != '_');
                word[..end.unwrap_or(word.len())].to_owned()
            })
            .collect::<Vec<_>>()
    });
    names.collect()
}

fn module(name: &str) -> PathBuf {
    let folder = Path::new("src").join(name);
    if folder.is_dir() {
        folder
    } else {
        folder.with_extension("rs")
    }
}

#[test]
fn every_module_has_its_place() {
    let entries = fs::read_dir("src")
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let found: BTreeSet<_> = entries
        .map(|path| path.file_stem().unwrap().to_str().unwrap().to_owned())
        .filter(|name| name != "lib")
        .collect();
    let placed: BTreeSet<_> = ORDER.map(str::to_owned).into();
    assert_eq!(found, placed);
}

#[test]
fn each_module_uses_only_those_below_it() {
    let mut uses = 0;
    for (place, name) in ORDER.iter().enumerate() {
        for file in sources(&module(name)) {
            for used in named_after("crate::", &file) {
                let Some(of_used) = ORDER.iter().position(|other| *other == used) else {
                    continue;
                };
                uses += 1;
                assert!(of_used >= place, "{} uses {used}", file.display());
            }
        }
    }
    assert!(uses > 100, "the sources are read: {uses} uses were found");
}

#[test]
fn no_files_of_a_module_use_each_other_in_a_circle() {
    let mut uses = 0;
    for folder in ORDER.map(module).iter().filter(|path| path.is_dir()) {
        let mut of_file: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for file in sources(folder) {
            let name = file.file_stem().unwrap().to_str().unwrap().to_owned();
            if name != "mod" && file.parent() == Some(folder) {
                of_file.insert(name, named_after("super::", &file));
            }
        }
        // Whoever uses nothing that is left is taken away, until nobody is.
        while !of_file.is_empty() {
            let left: BTreeSet<String> = of_file.keys().cloned().collect();
            uses += of_file.values().map(BTreeSet::len).sum::<usize>();
            of_file.retain(|name, used| used.iter().any(|one| one != name && left.contains(one)));
            assert!(
                of_file.len() < left.len(),
                "{}: a circle among {of_file:?}",
                folder.display()
            );
        }
    }
    assert!(uses > 100, "the sources are read: {uses} uses were found");
}
