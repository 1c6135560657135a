//! No two files import each other, directly or through others, unless one is the parent module of
//! the other. What a parent only re-exports (`pub use`) is imported from the file that has it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use proc_macro2::{TokenStream, TokenTree};
use syn::visit::{self, Visit};

use crate::{assert_clean, sources};

/// A path as it is written: `crate::lab::Row` is `["crate", "lab", "Row"]`.
type Names = Vec<String>;

/// A module that has a file of its own; modules inside of a file count as their file.
#[derive(Default)]
struct Module {
    file: PathBuf,
    /// What `use` brings into it, by name.
    brings: BTreeMap<String, Names>,
    /// Modules of which `use` brings everything.
    globs: Vec<Names>,
    /// Each path in its code.
    paths: Vec<Names>,
}

/// All modules of the crate, by their names from the root: `["lab", "run"]`.
type Crate = BTreeMap<Names, Module>;

/// Gathers the paths of a file. Tests may import what they like.
struct Gathers<'a>(&'a mut Module);

impl Gathers<'_> {
    fn tree(&mut self, before: &[String], tree: &syn::UseTree) {
        let longer = |name: &syn::Ident| [before, &[name.to_string()]].concat();
        match tree {
            syn::UseTree::Path(path) => self.tree(&longer(&path.ident), &path.tree),
            syn::UseTree::Group(group) => {
                group.items.iter().for_each(|tree| self.tree(before, tree));
            }
            syn::UseTree::Name(name) if name.ident == "self" => {
                self.brings(before.last().expect("a module").clone(), before.to_vec());
            }
            syn::UseTree::Name(name) => self.brings(name.ident.to_string(), longer(&name.ident)),
            syn::UseTree::Rename(name) => self.brings(name.rename.to_string(), longer(&name.ident)),
            syn::UseTree::Glob(_) => {
                self.0.globs.push(before.to_vec());
                self.0.paths.push(before.to_vec());
            }
        }
    }

    fn brings(&mut self, name: String, path: Names) {
        self.0.paths.push(path.clone());
        self.0.brings.insert(name, path);
    }

    /// What a macro is called with is not parsed: names between double colons are a path.
    fn tokens(&mut self, tokens: TokenStream) {
        let (mut path, mut colons) = (Names::new(), 0);
        for token in tokens {
            match token {
                TokenTree::Punct(punct) if punct.as_char() == ':' => colons += 1,
                TokenTree::Ident(name) if colons == 2 && !path.is_empty() => {
                    path.push(name.to_string());
                    colons = 0;
                }
                other => {
                    self.0.paths.push(std::mem::take(&mut path));
                    colons = 0;
                    match other {
                        TokenTree::Ident(name) => path.push(name.to_string()),
                        TokenTree::Group(group) => self.tokens(group.stream()),
                        TokenTree::Punct(_) | TokenTree::Literal(_) => {}
                    }
                }
            }
        }
        self.0.paths.push(path);
    }
}

fn is_test(attributes: &[syn::Attribute]) -> bool {
    attributes.iter().any(|it| match &it.meta {
        syn::Meta::List(list) if list.path.is_ident("cfg") => list.tokens.to_string() == "test",
        _ => false,
    })
}

impl<'ast> Visit<'ast> for Gathers<'_> {
    fn visit_attribute(&mut self, _: &'ast syn::Attribute) {}

    fn visit_item_mod(&mut self, module: &'ast syn::ItemMod) {
        if !is_test(&module.attrs) {
            visit::visit_item_mod(self, module);
        }
    }

    fn visit_item_use(&mut self, item: &'ast syn::ItemUse) {
        if !is_test(&item.attrs) {
            self.tree(&[], &item.tree);
        }
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        let names = path.segments.iter().map(|segment| segment.ident.to_string());
        self.0.paths.push(names.collect());
        visit::visit_path(self, path);
    }

    fn visit_macro(&mut self, call: &'ast syn::Macro) {
        self.visit_path(&call.path);
        self.tokens(call.tokens.clone());
    }
}

/// `src/lab/run.rs` is `["lab", "run"]`, and `src/lab/mod.rs` is `["lab"]`.
fn name_of(file: &Path) -> Names {
    let path = file.strip_prefix("src").unwrap().with_extension("");
    let names = path.iter().map(|name| name.to_str().unwrap().to_owned());
    names.filter(|name| !["mod", "lib"].contains(&&**name)).collect()
}

fn read_crate() -> Crate {
    let files = sources("src").into_iter();
    let files = files.filter(|it| !it.path.ends_with("tests.rs") && !it.path.ends_with("main.rs"));
    files.map(|source| (source.path, source.text)).map(read_file).collect()
}

fn read_file((file, text): (PathBuf, String)) -> (Names, Module) {
    let syntax = syn::parse_file(&text).unwrap_or_else(|error| panic!("{file:?}: {error}"));
    let name = name_of(&file);
    let mut module = Module { file, ..Module::default() };
    Gathers(&mut module).visit_file(&syntax);
    (name, module)
}

/// The module in which `path`, written in module `here`, ends: the one that has the thing itself.
/// `None` for another crate's, and for what is a name in `here` and nothing more.
fn resolve(all: &Crate, here: &[String], path: &[String], depth: u32) -> Option<Names> {
    let (first, rest) = path.split_first()?;
    let mut at = here.to_vec();
    match first.as_str() {
        "crate" => at.clear(),
        "self" => {}
        "super" => _ = at.pop(),
        _ => {
            at = step(all, here, first, depth)?;
            if at == here {
                return None;
            }
        }
    }
    for name in rest {
        match name.as_str() {
            "super" => _ = at.pop(),
            "self" => {}
            _ => match step(all, &at, name, depth) {
                Some(next) => at = next,
                None => break, // an item of this module
            },
        }
    }
    Some(at)
}

/// Where `name` leads from module `at`: to a module below it, or to what `use` brings there.
fn step(all: &Crate, at: &[String], name: &str, depth: u32) -> Option<Names> {
    let below = [at, &[name.to_owned()]].concat();
    if all.contains_key(&below) {
        return Some(below);
    }
    let module = all.get(at)?;
    if depth == 0 {
        return None; // names that bring each other
    }
    if let Some(path) = module.brings.get(name) {
        return resolve(all, at, path, depth - 1);
    }
    // A glob brings what the other module has: modules below it, or what `use` brings there.
    module.globs.iter().find_map(|glob| {
        let other = resolve(all, at, glob, depth - 1).filter(|other| other != at)?;
        step(all, &other, name, depth - 1)
    })
}

/// Which modules each module imports, its own parents and children left out.
fn imports(all: &Crate) -> BTreeMap<&Names, BTreeSet<&Names>> {
    let edges = all.iter().map(|(name, module)| {
        let found = module.paths.iter().filter_map(|path| resolve(all, name, path, 8));
        let others = found.filter_map(|other| Some(all.get_key_value(&other)?.0));
        let strangers = others.filter(|other| !other.starts_with(name) && !name.starts_with(other));
        (name, strangers.collect())
    });
    edges.collect()
}

/// Everything that can be reached from `start`.
fn reach<'a>(
    edges: &BTreeMap<&'a Names, BTreeSet<&'a Names>>,
    start: &'a Names,
) -> BTreeSet<&'a Names> {
    let (mut reached, mut todo) = (BTreeSet::new(), vec![start]);
    while let Some(name) = todo.pop() {
        todo.extend(edges[name].iter().copied().filter(|&next| reached.insert(next)));
    }
    reached
}

/// Each circle: its files, and which of them imports which.
fn circles(all: &Crate) -> Vec<(Vec<String>, Vec<String>)> {
    let edges = imports(all);
    let reached: BTreeMap<_, _> = all.keys().map(|name| (name, reach(&edges, name))).collect();
    let file = |name: &Names| all[name].file.display().to_string();
    let mut found: Vec<(Vec<String>, Vec<String>)> = Vec::new();
    for name in all.keys().filter(|name| reached[name].contains(name)) {
        let both = |other: &&Names| reached[name].contains(other) && reached[other].contains(name);
        let circle: Vec<_> = all.keys().filter(both).collect();
        let files: Vec<String> = circle.iter().map(|name| file(name)).collect();
        if found.iter().any(|known| known.0 == files) {
            continue;
        }
        let inside = circle.iter().flat_map(|name| {
            let targets = edges[*name].iter().filter(|other| circle.contains(other));
            targets.map(|other| format!("{} imports {}", file(name), file(other)))
        });
        found.push((files, inside.collect()));
    }
    found
}

#[test]
fn no_files_import_each_other() {
    let broken: Vec<String> = circles(&read_crate())
        .into_iter()
        .map(|(_, edges)| format!("a circle:\n    {}", edges.join("\n    ")))
        .collect();
    assert_clean(&broken);
}

/// A crate of these files, `("src/a.rs", "use crate::b;")`.
fn written(files: &[(&str, &str)]) -> Crate {
    files.iter().map(|&(file, text)| read_file((file.into(), text.to_owned()))).collect()
}

#[track_caller]
fn has_circle(expected: bool, files: &[(&str, &str)]) {
    let root = ("src/lib.rs", "mod a; mod b; mod c; pub use a::A;");
    let found = circles(&written(&[&[root], files].concat()));
    assert_eq!(!found.is_empty(), expected, "{found:?}");
}

#[test]
fn a_circle_is_found_however_it_is_written() {
    has_circle(true, &[("src/a.rs", "use crate::b;"), ("src/b.rs", "use super::a::A;")]);
    has_circle(
        true,
        &[("src/a.rs", "fn f() { super::b::f() }"), ("src/b.rs", "type B = super::A;")],
    );
    let by_macro = "fn f() { assert_eq!(1, crate::b::f::<u8>()) }";
    has_circle(true, &[("src/a.rs", by_macro), ("src/b.rs", "use crate::{c, a::{self, A as B}};")]);
    // Through a third one, and through a name that another `use` brought.
    let through = [
        ("src/a.rs", "use crate::b::{C, D};"),
        ("src/b.rs", "pub(crate) use super::c::*; pub struct D;"),
        ("src/c.rs", "mod d; pub use self::d::C;"),
        ("src/c/d.rs", "fn f() -> impl crate::a::A {}"),
    ];
    has_circle(true, &through);
    has_circle(false, &through[..3]);
}

#[test]
fn parents_children_and_tests_make_no_circle() {
    let parent = [
        ("src/a/mod.rs", "mod x; mod y; pub use self::x::X; pub struct A;"),
        ("src/a/x.rs", "use super::A; use super::y::Y;"),
        ("src/a/y.rs", "use crate::a::A;"),
    ];
    has_circle(false, &parent);
    // What the parent passes on is the other child's.
    has_circle(true, &[&parent[..2], &[("src/a/y.rs", "use super::X;")]].concat());
    let tested = "#[cfg(test)] mod tests { use crate::b::B; } /// [`B`](crate::b::B)\n struct A;";
    has_circle(false, &[("src/a.rs", tested), ("src/b.rs", "use crate::a::A;")]);
}
