//! Checks that files of a crate have no import cycles, and that functions stay short with few
//! parameters.
//!
//! `mod` and a re-export are no import: a use of a re-exported name imports the file that it comes from. A
//! module may use its own parts. Test-only code isn't checked.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use proc_macro2::{TokenStream, TokenTree};
use syn::{Item, UseTree, Visibility, visit::Visit};

use crate::{metadata, root};

const MAX_PARAMETERS: usize = 6;

#[test]
fn files_import_each_other_in_no_circle() {
    let programs = crates();
    let circles = programs.iter().flat_map(Crate::circles);
    let circles: Vec<_> = circles
        .map(|circle| circle.into_iter().map(shown).collect::<Vec<_>>())
        .collect();
    assert!(
        circles.is_empty(),
        "these files import each other: {circles:#?}"
    );
}

#[test]
fn functions_take_six_parameters_at_most() {
    let long: Vec<_> = crates()
        .into_iter()
        .flat_map(|program| program.long)
        .collect();
    assert!(long.is_empty(), "more than six parameters: {long:#?}");
}

/// A circle that is there is found, through a re-export, a path without `use` and a macro.
#[test]
fn a_circle_is_found_and_a_declaration_is_none() {
    let files = |bodies: &[(&str, &str)]| {
        let folder = tempfile::tempdir().unwrap();
        for (name, body) in bodies {
            fs::write(folder.path().join(name), body).unwrap();
        }
        Crate::read(&folder.path().join("lib.rs")).circles().len()
    };
    let declared = ("lib.rs", "mod a; mod b; pub use self::b::B; pub struct L;");
    let a = ("a.rs", "use crate::B; fn a() {}");
    assert_eq!(files(&[declared, a, ("b.rs", "pub struct B;")]), 0);
    for b in [
        "use crate::a::a; pub struct B;",
        "pub struct B; fn b() { crate::a::a() }",
        "pub struct B; fn b() { println!(\"{}\", super::a::a()) }",
        "use super::*; pub struct B; fn b() { a::a() }",
    ] {
        assert_eq!(files(&[declared, a, ("b.rs", b)]), 1, "{b}");
    }
    let in_a_test = "pub struct B; #[cfg(test)] mod tests { use crate::a::a; }";
    assert_eq!(files(&[declared, a, ("b.rs", in_a_test)]), 0);
    let whole = (
        "lib.rs",
        "mod a; mod b; pub use self::b::B; fn l() { a::a() }",
    );
    let part = ("a.rs", "use super::l; pub fn a() {}");
    assert_eq!(files(&[whole, part, ("b.rs", "pub struct B;")]), 0);
}

type Module = Vec<String>;

/// A crate's modules, as far as this test needs them.
#[derive(Default)]
struct Crate {
    /// The file in which each module is written.
    modules: BTreeMap<Module, PathBuf>,
    /// What a name in a module stands for, where a `use` brought it there.
    names: BTreeMap<(Module, String), Module>,
    /// `use ...::*` in a module.
    globs: Vec<(Module, Module)>,
    /// What is written in a module, apart from modules.
    items: BTreeSet<(Module, String)>,
    /// Paths that are used: where, and which.
    used: Vec<(Module, Module)>,
    long: Vec<String>,
}

fn crates() -> Vec<Crate> {
    let metadata = metadata();
    let packages = metadata["packages"].as_array().unwrap();
    let targets = packages
        .iter()
        .flat_map(|package| package["targets"].as_array().unwrap());
    let programs = targets.filter(|target| {
        let kinds = target["kind"].as_array().unwrap();
        kinds.iter().any(|kind| kind == "lib" || kind == "bin")
    });
    programs
        .map(|target| Crate::read(Path::new(target["src_path"].as_str().unwrap())))
        .collect()
}

fn shown(file: &Path) -> String {
    let root = root().canonicalize().unwrap();
    file.strip_prefix(root)
        .unwrap_or(file)
        .display()
        .to_string()
}

impl Crate {
    fn read(file: &Path) -> Self {
        let mut made = Self::default();
        made.read_file(Vec::new(), file, file.parent().unwrap());
        made
    }

    /// `folder` is where the module's own modules lie.
    fn read_file(&mut self, module: Module, file: &Path, folder: &Path) {
        let text = fs::read_to_string(file).unwrap();
        let parsed =
            syn::parse_file(&text).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        self.modules.insert(module.clone(), file.to_owned());
        self.read_items(&module, &parsed.items, file, folder);
    }

    fn read_items(&mut self, module: &Module, items: &[Item], file: &Path, folder: &Path) {
        for item in items.iter().filter(|item| !is_for_tests(item)) {
            match item {
                Item::Mod(inner) => {
                    let name = inner.ident.to_string();
                    let below = [module.as_slice(), std::slice::from_ref(&name)].concat();
                    let folder = folder.join(&name);
                    if let Some((_, items)) = &inner.content {
                        self.modules.insert(below.clone(), file.to_owned());
                        self.read_items(&below, items, file, &folder);
                    } else {
                        let beside = folder.with_extension("rs");
                        let inside = folder.join("mod.rs");
                        let file = if beside.exists() { beside } else { inside };
                        self.read_file(below, &file, &folder);
                    }
                }
                Item::Use(item) => {
                    let reexports = !matches!(item.vis, Visibility::Inherited);
                    self.read_use(module, Vec::new(), &item.tree, reexports);
                }
                item => {
                    if let Some(name) = name_of(item) {
                        self.items.insert((module.clone(), name));
                    }
                    let mut paths = Paths::default();
                    paths.visit_item(item);
                    self.used
                        .extend(paths.found.into_iter().map(|path| (module.clone(), path)));
                    let file = shown(file);
                    self.long
                        .extend(paths.long.iter().map(|name| format!("{file}: {name}")));
                }
            }
        }
    }

    fn read_use(&mut self, module: &Module, mut path: Module, tree: &UseTree, reexports: bool) {
        let (name, path) = match tree {
            UseTree::Path(tree) => {
                path.push(tree.ident.to_string());
                return self.read_use(module, path, &tree.tree, reexports);
            }
            UseTree::Group(group) => {
                for tree in &group.items {
                    self.read_use(module, path.clone(), tree, reexports);
                }
                return;
            }
            UseTree::Glob(_) => {
                self.globs.push((module.clone(), path));
                return;
            }
            UseTree::Name(name) if name.ident == "self" => (path.last().cloned(), path),
            UseTree::Name(name) => {
                path.push(name.ident.to_string());
                (path.last().cloned(), path)
            }
            UseTree::Rename(rename) => {
                path.push(rename.ident.to_string());
                (Some(rename.rename.to_string()), path)
            }
        };
        if !reexports {
            self.used.push((module.clone(), path.clone()));
        }
        if let Some(name) = name {
            self.names.insert((module.clone(), name), path);
        }
    }

    /// The module in whose file a path ends that is written in `module`; none outside the crate.
    fn resolve(&self, module: &Module, path: &[String], depth: usize) -> Option<Module> {
        let mut at = module.clone();
        for (index, name) in path.iter().enumerate() {
            let rest = &path[index + 1..];
            match name.as_str() {
                "crate" => at.clear(),
                "self" => {}
                "super" => {
                    at.pop();
                }
                _ => match self.step(&at, name, depth)? {
                    Step::Into(below) => at = below,
                    Step::Here => return Some(at),
                    Step::Elsewhere(from, to) => {
                        let path = [to.as_slice(), rest].concat();
                        return self.resolve(&from, &path, depth + 1);
                    }
                },
            }
        }
        Some(at)
    }

    fn step(&self, at: &Module, name: &str, depth: usize) -> Option<Step> {
        // More than any chain of re-exports is long.
        if depth > 16 {
            return None;
        }
        let below = [at.as_slice(), &[name.to_owned()]].concat();
        let key = (at.clone(), name.to_owned());
        if self.modules.contains_key(&below) {
            return Some(Step::Into(below));
        }
        if self.items.contains(&key) {
            return Some(Step::Here);
        }
        if let Some(to) = self.names.get(&key) {
            return Some(Step::Elsewhere(at.clone(), to.clone()));
        }
        let globs = self.globs.iter().filter(|(module, _)| module == at);
        globs
            .filter_map(|(module, path)| self.resolve(module, path, depth + 1))
            .filter(|target| target != at)
            .find_map(|target| {
                self.step(&target, name, depth + 1)
                    .map(|step| (target, step))
            })
            .map(|(target, step)| match step {
                Step::Here => Step::Elsewhere(target, vec![name.to_owned()]),
                step => step,
            })
    }

    /// Files that reach each other, as sets of two and more.
    fn circles(&self) -> Vec<BTreeSet<&Path>> {
        let mut edges: BTreeMap<&Path, BTreeSet<&Path>> = BTreeMap::new();
        // Of the modules in one file the outermost; they come in that order.
        let mut module_of: BTreeMap<&Path, &Module> = BTreeMap::new();
        for (module, file) in &self.modules {
            module_of.entry(file).or_insert(module);
        }
        for (module, path) in &self.used {
            let from = self.modules[module].as_path();
            let to = self.resolve(module, path, 0);
            if let Some(to) = to.and_then(|to| self.modules.get(&to))
                && to != from
                && !is_part(module_of[to.as_path()], module_of[from])
            {
                edges.entry(from).or_default().insert(to);
            }
        }
        let reach: BTreeMap<_, _> = edges
            .keys()
            .map(|file| (*file, reach(&edges, file)))
            .collect();
        let mut circles = BTreeSet::new();
        for (file, reached) in &reach {
            let back = reached.iter().filter(|other| {
                let theirs = reach.get(*other);
                theirs.is_some_and(|theirs| theirs.contains(file))
            });
            let circle: BTreeSet<&Path> = back.copied().collect();
            if circle.len() > 1 {
                circles.insert(circle);
            }
        }
        circles.into_iter().collect()
    }
}

enum Step {
    /// A module.
    Into(Module),
    /// An item of the module itself.
    Here,
    /// A path, as it is written in another module or in this one.
    Elsewhere(Module, Module),
}

/// Whether a module lies within another.
fn is_part(module: &Module, of: &Module) -> bool {
    module.len() > of.len() && module.starts_with(of)
}

fn reach<'a>(edges: &BTreeMap<&'a Path, BTreeSet<&'a Path>>, from: &Path) -> BTreeSet<&'a Path> {
    let mut reached = BTreeSet::new();
    let mut left: Vec<_> = edges.get(from).into_iter().flatten().copied().collect();
    while let Some(file) = left.pop() {
        if reached.insert(file) {
            left.extend(edges.get(file).into_iter().flatten());
        }
    }
    reached
}

/// Paths that an item uses, and functions in it that are too long in one direction.
#[derive(Default)]
struct Paths {
    found: Vec<Module>,
    long: Vec<String>,
}

impl<'ast> Visit<'ast> for Paths {
    fn visit_item(&mut self, item: &'ast Item) {
        if !is_for_tests(item) {
            syn::visit::visit_item(self, item);
        }
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        let names = path.segments.iter().map(|part| part.ident.to_string());
        self.found.push(names.collect());
        syn::visit::visit_path(self, path);
    }

    /// `pub(crate)` and `#[arg]` use nothing.
    fn visit_visibility(&mut self, _: &'ast Visibility) {}

    fn visit_attribute(&mut self, _: &'ast syn::Attribute) {}

    fn visit_macro(&mut self, called: &'ast syn::Macro) {
        self.found.extend(paths_in(called.tokens.clone()));
        syn::visit::visit_macro(self, called);
    }

    fn visit_signature(&mut self, signature: &'ast syn::Signature) {
        let parameters = signature.inputs.iter();
        let parameters = parameters.filter(|input| matches!(input, syn::FnArg::Typed(_)));
        if parameters.count() > MAX_PARAMETERS {
            self.long.push(signature.ident.to_string());
        }
        syn::visit::visit_signature(self, signature);
    }
}

/// What looks like a path in a macro's arguments.
fn paths_in(tokens: TokenStream) -> Vec<Module> {
    let mut found = Vec::new();
    let mut path = Module::new();
    let mut colons = 0;
    for token in tokens {
        match token {
            TokenTree::Ident(name) => {
                if colons != 2 {
                    found.push(std::mem::take(&mut path));
                }
                path.push(name.to_string());
                colons = 0;
            }
            TokenTree::Punct(mark) if mark.as_char() == ':' => colons += 1,
            token => {
                found.push(std::mem::take(&mut path));
                colons = 0;
                if let TokenTree::Group(group) = token {
                    found.extend(paths_in(group.stream()));
                }
            }
        }
    }
    found.push(path);
    found.retain(|path| !path.is_empty());
    found
}

fn is_for_tests(item: &Item) -> bool {
    let attributes = match item {
        Item::Fn(item) => &item.attrs,
        Item::Impl(item) => &item.attrs,
        Item::Mod(item) => &item.attrs,
        Item::Struct(item) => &item.attrs,
        Item::Use(item) => &item.attrs,
        _ => return false,
    };
    attributes.iter().any(|attribute| {
        let list = attribute.meta.require_list();
        attribute.path().is_ident("test")
            || list.is_ok_and(|list| {
                list.path.is_ident("cfg") && list.tokens.to_string().starts_with("test")
            })
    })
}

fn name_of(item: &Item) -> Option<String> {
    let name = match item {
        Item::Const(item) => &item.ident,
        Item::Enum(item) => &item.ident,
        Item::Fn(item) => &item.sig.ident,
        Item::Static(item) => &item.ident,
        Item::Struct(item) => &item.ident,
        Item::Trait(item) => &item.ident,
        Item::Type(item) => &item.ident,
        _ => return None,
    };
    Some(name.to_string())
}
