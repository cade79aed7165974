//! The rules of one collection, by the names on the way to each field.

use super::mask::Masks;
use crate::config::{self, FieldPath, MaskKind};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::sync::Arc;

/// What is done to the fields of one collection.
#[derive(Debug)]
pub struct Rules {
    pub(super) root: Node,
    pub(super) masks: Arc<Masks>,
    /// Whether only what is named stays.
    pub(super) is_selective: bool,
}

/// A name on the way to fields, and what is said of the field that it is.
#[derive(Debug, Default)]
pub(super) struct Node {
    pub below: BTreeMap<Vec<u8>, Node>,
    pub is_excluded: bool,
    pub is_included: bool,
    pub mask: Option<MaskKind>,
    pub new_name: Option<String>,
}

impl Rules {
    /// Those of a collection; none where no path is of it.
    pub(super) fn of(
        settings: &config::Fields,
        masks: &Arc<Masks>,
        database: &str,
        collection: &str,
    ) -> Option<Self> {
        let mut root = Node::default();
        let is_here = |path: &FieldPath| path.is_in(database, collection);
        for path in settings.exclude.iter().filter(|path| is_here(path)) {
            root.reach(path).is_excluded = true;
        }
        let mut is_selective = false;
        for path in settings.include.iter().filter(|path| is_here(path)) {
            root.reach(path).is_included = true;
            is_selective = true;
        }
        // Of several for one field, the first counts.
        for (path, kind) in settings.mask.iter().filter(|(path, _)| is_here(path)) {
            root.reach(path).mask.get_or_insert(*kind);
        }
        for (path, name) in settings.rename.iter().filter(|(path, _)| is_here(path)) {
            let node = root.reach(path);
            node.new_name.get_or_insert_with(|| name.clone());
        }
        (!root.below.is_empty()).then(|| Self {
            root,
            masks: Arc::clone(masks),
            is_selective,
        })
    }

    /// A hash of what they say, in hexadecimal digits. The secret of hashes is no part of it.
    pub fn fingerprint(&self) -> String {
        let said = format!(
            "{:?} {} {}",
            self.root,
            self.is_selective,
            self.masks.text()
        );
        let hash = Sha256::digest(said);
        hash[..8].iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// Where a document begins.
    pub(super) fn start(&self) -> At<'_> {
        At {
            node: Some(&self.root),
            is_included: !self.is_selective,
            mask: None,
        }
    }
}

impl Node {
    fn reach(&mut self, path: &FieldPath) -> &mut Self {
        path.names.iter().fold(self, |node, name| {
            node.below.entry(name.clone().into_bytes()).or_default()
        })
    }

    fn has(&self, is: fn(&Self) -> bool) -> bool {
        is(self) || self.below.values().any(|node| node.has(is))
    }
}

/// A place in a document: what is said of what lies there.
#[derive(Debug, Clone, Copy)]
pub(super) struct At<'r> {
    /// None where no rule says anything of what is further below.
    pub node: Option<&'r Node>,
    /// Whether it stays. Where it does not, fields below it may.
    pub is_included: bool,
    pub mask: Option<MaskKind>,
}

impl<'r> At<'r> {
    /// The place of a field below this one; none for what is left out. The name may be a path.
    pub fn enter(self, name: &[u8]) -> Option<Self> {
        name.split(|byte| *byte == b'.').try_fold(self, Self::step)
    }

    fn step(self, name: &[u8]) -> Option<Self> {
        if is_index(name) {
            return Some(self);
        }
        let Some(node) = self.node.and_then(|node| node.below.get(name)) else {
            return Some(Self { node: None, ..self });
        };
        (!node.is_excluded).then(|| Self {
            node: Some(node),
            is_included: self.is_included || node.is_included,
            mask: node.mask.or(self.mask),
        })
    }

    /// Whether all of what lies here stays as it is.
    pub fn is_untouched(self) -> bool {
        let has_more = self.node.is_some_and(|node| !node.below.is_empty());
        self.is_included && self.mask.is_none() && !has_more
    }

    /// Whether nothing of what lies here stays.
    pub fn is_out(self) -> bool {
        let is_any_in = self
            .node
            .is_some_and(|node| node.has(|node| node.is_included));
        !self.is_included && !is_any_in
    }

    /// Appends the name, or the path, as it is to be called; whether it is another one.
    pub fn rename(self, name: &[u8], out: &mut Vec<u8>) -> bool {
        let (mut at, mut is_new) = (Some(self), false);
        for (index, part) in name.split(|byte| *byte == b'.').enumerate() {
            if index > 0 {
                out.push(b'.');
            }
            at = at.and_then(|at| at.step(part));
            // An index leads nowhere: the new name of the array is not its own.
            let node = at.and_then(|at| at.node).filter(|_| !is_index(part));
            match node.and_then(|node| node.new_name.as_ref()) {
                Some(new_name) => {
                    out.extend_from_slice(new_name.as_bytes());
                    is_new = true;
                }
                None => out.extend_from_slice(part),
            }
        }
        is_new
    }
}

/// Whether a name counts as the index of an array.
pub(super) fn is_index(name: &[u8]) -> bool {
    !name.is_empty() && name.iter().all(u8::is_ascii_digit)
}
