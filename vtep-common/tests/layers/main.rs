//! What stands on a floor uses what is below it, never what is above; and no two files need each other.
//!
//! The test reads the `use` lines and the paths in the code of all three crates, and follows a name that a module re-exports to the
//! file that has it. It does not see what is only called, as a method of a type from elsewhere.

mod source;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use source::SourceFile;

/// The floors of each crate, the ground first. A file is on the floor of the longest name that its module begins with; what is on
/// the same floor may be used in either way, but not in a circle.
const FLOORS: [(&str, &[&[&str]]); 3] = [
    (
        "vtep-common",
        &[
            &["abi", "text"],
            &["wire"],
            &["frame"],
            &["runtime"],
            &["decide"],
            &["sim"],
            &["testkit"],
            &[""],
        ],
    ),
    (
        "vtep-user",
        &[
            &["causes", "instance"],
            &["model"],
            &["ask", "capture", "headers"],
            &["control::record"],
            &["control::effect", "control::state"],
            &["control::ops", "control::learn"],
            &["control"],
            &["datapath", "netlink"],
            &["stats"],
            &["api"],
            &["daemon"],
            &["doctor", "import"],
            &["cli"],
            &[""],
        ],
    ),
    ("vtep-ebpf", &[&[""]]),
];

#[test]
fn nothing_uses_what_stands_above_it() {
    let mut upward = vec![];
    for (package, floors) in FLOORS {
        let package = Package::read(package);
        for (file, used) in &package.edges {
            for (other, name) in used {
                let (from, to) = (floor(floors, file), floor(floors, other));
                if to > from {
                    upward.push(format!(
                        "{}/{} uses {name} of {}",
                        package.name,
                        package.path(file),
                        package.path(other)
                    ));
                }
            }
        }
    }

    assert!(
        upward.is_empty(),
        "these use what stands above them:\n{}",
        upward.join("\n")
    );
}

#[test]
fn no_files_use_each_other_in_a_circle() {
    let mut circles = vec![];
    for (package, _) in FLOORS {
        let package = Package::read(package);
        for circle in package.circles() {
            circles.push(format!("{}: {}", package.name, package.arrows(&circle)));
        }
    }

    assert!(
        circles.is_empty(),
        "these use each other:\n{}",
        circles.join("\n")
    );
}

#[test]
fn every_floor_has_files() {
    for (package, floors) in FLOORS {
        let package = Package::read(package);
        for name in floors.iter().copied().flatten() {
            let at = floors.iter().position(|floor| floor.contains(name));
            assert!(
                package.files.keys().any(|file| floor(floors, file) == at),
                "nothing of {} is on the floor of {name}",
                package.name
            );
        }
        assert!(package.edges.values().map(BTreeMap::len).sum::<usize>() > package.files.len());
    }
}

/// A module's path in its crate.
type Module = Vec<String>;

/// Whether a module is the one of that name, or below it.
fn begins(module: &Module, name: &str) -> bool {
    let path = module.join("::");
    name.is_empty() || path == name || path.starts_with(&format!("{name}::"))
}

/// The floor of a module.
fn floor(floors: &[&[&str]], module: &Module) -> Option<usize> {
    let names = (0..)
        .zip(floors)
        .flat_map(|(at, names)| names.iter().map(move |name| (at, *name)));
    names
        .filter(|(_, name)| begins(module, name))
        .max_by_key(|(_, name)| name.len())
        .map(|(at, _)| at)
}

/// A crate: its files, and which of them uses what of which other.
struct Package {
    name: &'static str,
    files: BTreeMap<Module, (PathBuf, SourceFile)>,
    edges: BTreeMap<Module, BTreeMap<Module, String>>,
}

impl Package {
    fn read(name: &'static str) -> Self {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("..")
            .join(name)
            .join("src");
        let mut package = Self {
            name,
            files: BTreeMap::new(),
            edges: BTreeMap::new(),
        };
        package.read_module(&root, &vec![]);
        let modules: Vec<Module> = package.files.keys().cloned().collect();
        for module in modules {
            let used = package.used_by(&module);
            package.edges.insert(module, used);
        }
        package
    }

    /// Reads the files below a directory, which holds the modules of `module`.
    fn read_module(&mut self, dir: &Path, module: &Module) {
        let entries =
            fs::read_dir(dir).unwrap_or_else(|error| panic!("{}: {error}", dir.display()));
        for entry in entries {
            let path = entry.expect("an entry").path();
            let stem = path
                .file_stem()
                .and_then(|stem| stem.to_str())
                .expect("a name");
            let mut inner = module.clone();
            if !matches!(stem, "mod" | "lib") {
                inner.push(stem.to_owned());
            }
            if path.is_dir() {
                self.read_module(&path, &inner);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(&path).expect("a source");
                // A binary's root is used by nothing.
                if stem != "main" {
                    self.files.insert(inner, (path, SourceFile::read(&text)));
                }
            }
        }
        if module.is_empty() {
            let tests: Vec<Module> = self
                .files
                .iter()
                .flat_map(|(module, (_, source))| {
                    source.test_modules.iter().map(|test| {
                        let mut path = module.clone();
                        path.push(test.clone());
                        path
                    })
                })
                .collect();
            self.files
                .retain(|module, _| !tests.iter().any(|test| module.starts_with(test)));
        }
    }

    fn path(&self, module: &Module) -> String {
        let (path, _) = &self.files[module];
        let path = path.display().to_string();
        path.rsplit("/src/").next().unwrap_or_default().to_owned()
    }

    /// The files that a file uses, and for each a name that it uses.
    fn used_by(&self, module: &Module) -> BTreeMap<Module, String> {
        let (_, source) = &self.files[module];
        let mut used = BTreeMap::new();
        let names = source
            .imports
            .iter()
            // What is only handed on is used where it is imported.
            .filter(|import| !import.public)
            .map(|import| (&import.path, &import.within))
            .chain(source.paths.iter().map(|path| (&path.path, &path.within)));
        for (path, within) in names {
            let place: Module = module.iter().chain(within).cloned().collect();
            if let Some((file, name)) = self.find(&place, path, 0)
                && file != *module
            {
                used.entry(file).or_insert(name);
            }
        }
        used
    }

    /// The file that has what a path names, as seen from a module. `None` for other crates, and for a module by itself: what is used of
    /// it is named elsewhere.
    fn find(&self, place: &Module, path: &[String], depth: usize) -> Option<(Module, String)> {
        let (mut at, rest) = self.start(place, path, depth)?;
        for (index, segment) in rest.iter().enumerate() {
            let mut inner = at.clone();
            inner.push(segment.clone());
            if self.files.contains_key(&inner) {
                at = inner;
                continue;
            }
            let (_, source) = self.files.get(&at)?;
            if source.items.contains(segment) || depth > 8 {
                return Some((at, segment.clone()));
            }
            if at.is_empty()
                && let Some((file, _)) = self
                    .files
                    .iter()
                    .find(|(_, (_, source))| source.macros.contains(segment))
            {
                return Some((file.clone(), segment.clone()));
            }
            let mut re_exports = source
                .imports
                .iter()
                .filter(|import| import.name == *segment || import.name == "*");
            let found = re_exports.find_map(|import| {
                let mut path = import.path.clone();
                if import.name == "*" {
                    path.pop();
                    path.push(segment.clone());
                }
                path.extend(rest[index + 1..].iter().cloned());
                self.find(&at, &path, depth + 1)
            });
            // What a macro makes is not seen; it is said to be in the module that the path leads to.
            return found.or_else(|| (depth == 0).then(|| (at, segment.clone())));
        }
        None
    }

    /// Where the search begins, and what is left of the path.
    fn start<'a>(
        &self,
        place: &Module,
        path: &'a [String],
        depth: usize,
    ) -> Option<(Module, &'a [String])> {
        let first = path.first()?.as_str();
        let mut at = place.clone();
        let mut rest = path;
        match first {
            "crate" => return Some((vec![], &path[1..])),
            "self" => rest = &rest[1..],
            "super" => {
                while rest.first().is_some_and(|segment| segment == "super") {
                    at.pop()?;
                    rest = &rest[1..];
                }
            }
            name => {
                let mut inner = at.clone();
                inner.push(name.to_owned());
                if !self.files.contains_key(&inner) {
                    // Perhaps a module that a `use` line brings in.
                    let (_, source) = self.files.get(&at)?;
                    let import = source
                        .imports
                        .iter()
                        .find(|import| import.name == name && depth == 0)?;
                    if import.path.first().is_some_and(|first| first == name) {
                        return None;
                    }
                    let (mut from, left) = self.start(place, &import.path, depth + 1)?;
                    from.extend(left.iter().cloned());
                    return self.files.contains_key(&from).then_some((from, &path[1..]));
                }
            }
        }
        // Inline modules are part of their file.
        while !self.files.contains_key(&at) {
            at.pop()?;
        }
        Some((at, rest))
    }

    /// The files that use each other, each set once.
    fn circles(&self) -> Vec<BTreeSet<Module>> {
        let reach: BTreeMap<&Module, BTreeSet<&Module>> = self
            .edges
            .keys()
            .map(|file| (file, self.reach(file)))
            .collect();
        let mut found: Vec<BTreeSet<Module>> = vec![];
        for (file, reached) in &reach {
            let circle: BTreeSet<Module> = reached
                .iter()
                .filter(|other| reach[**other].contains(file))
                .map(|other| (*other).clone())
                .collect();
            if !circle.is_empty() && !found.contains(&circle) {
                found.push(circle);
            }
        }
        found
    }

    fn reach(&self, from: &Module) -> BTreeSet<&Module> {
        let mut seen = BTreeSet::new();
        let mut next: Vec<&Module> = self.edges[from].keys().collect();
        while let Some(file) = next.pop() {
            if seen.insert(file) {
                next.extend(self.edges[file].keys());
            }
        }
        seen
    }

    /// The arrows of a circle, for a reader.
    fn arrows(&self, circle: &BTreeSet<Module>) -> String {
        let arrows = circle.iter().flat_map(|file| {
            let used = self.edges[file]
                .iter()
                .filter(|(other, _)| circle.contains(*other));
            used.map(|(other, name)| {
                format!(
                    "\n    {} uses {name} of {}",
                    self.path(file),
                    self.path(other)
                )
            })
        });
        arrows.collect()
    }
}
