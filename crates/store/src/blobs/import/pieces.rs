//! Joins items of a hash tree, since the store's cost is per item.

use bao_tree::io::{BaoContentItem, Leaf};
use bytes::BytesMut;

/// The size of a piece: 4 groups of 16 KiB. More gains nothing, and memory of this size is reused, while
/// larger pieces would be allocated anew each time.
pub(super) const PIECE_LEN: usize = 64 << 10;

/// Items that wait to be passed on: parents first, then adjacent leaves joined into one.
#[derive(Default)]
pub(super) struct Piece {
    parents: Vec<BaoContentItem>,
    offset: u64,
    data: BytesMut,
}

impl Piece {
    /// Whether this item fits before the piece is passed on.
    pub(super) fn fits(&self, item: &BaoContentItem) -> bool {
        let BaoContentItem::Leaf(leaf) = item else {
            return true;
        };
        let follows = leaf.offset == self.offset + self.data.len() as u64;
        self.data.is_empty() || (follows && self.data.len() + leaf.data.len() <= PIECE_LEN)
    }

    /// Adds an item that fits.
    pub(super) fn add(&mut self, item: BaoContentItem) {
        match item {
            BaoContentItem::Parent(_) => self.parents.push(item),
            BaoContentItem::Leaf(leaf) => {
                if self.data.is_empty() {
                    self.offset = leaf.offset;
                    self.data.reserve(PIECE_LEN);
                }
                self.data.extend_from_slice(&leaf.data);
            }
        }
    }

    /// All items, in an order that the store accepts.
    pub(super) fn drain(&mut self) -> impl Iterator<Item = BaoContentItem> {
        let (offset, data) = (self.offset, self.data.split().freeze());
        let leaf = (!data.is_empty()).then(|| Leaf { offset, data }.into());
        self.parents.drain(..).chain(leaf)
    }
}

#[cfg(test)]
mod tests {
    use bao_tree::{BaoTree, BlockSize, io::Parent};

    use super::*;

    const GROUP: usize = 16 << 10;

    /// What identifies an item: a parent's first hash, or a leaf's offset and length.
    #[derive(Debug, PartialEq)]
    enum Seen {
        Parent(blake3::Hash),
        Leaf(usize, usize),
    }

    fn hash(number: u8) -> blake3::Hash {
        blake3::hash(&[number])
    }

    fn parent(number: u8) -> BaoContentItem {
        let tree = BaoTree::new(1 << 20, BlockSize::from_chunk_log(4));
        let node = tree.pre_order_nodes_iter().next().unwrap();
        let pair = (hash(number), hash(number));
        Parent { node, pair }.into()
    }

    fn leaf(offset: usize, len: usize) -> BaoContentItem {
        let data = vec![(offset / GROUP) as u8; len].into();
        let offset = offset as u64;
        Leaf { offset, data }.into()
    }

    /// The pieces that result from these items.
    fn through(items: impl IntoIterator<Item = BaoContentItem>) -> Vec<Vec<Seen>> {
        let mut piece = Piece::default();
        let mut out = Vec::new();
        for item in items {
            if !piece.fits(&item) {
                out.push(piece.drain().map(see).collect());
            }
            piece.add(item);
        }
        out.push(piece.drain().map(see).collect());
        assert_eq!(piece.drain().count(), 0);
        out
    }

    fn see(item: BaoContentItem) -> Seen {
        match item {
            BaoContentItem::Parent(parent) => Seen::Parent(parent.pair.0),
            BaoContentItem::Leaf(leaf) => {
                let offset = leaf.offset as usize;
                for (at, group) in leaf.data.chunks(GROUP).enumerate() {
                    let expected = (offset / GROUP + at) as u8;
                    assert!(group.iter().all(|byte| *byte == expected));
                }
                Seen::Leaf(offset, leaf.data.len())
            }
        }
    }

    #[test]
    fn leaves_that_follow_each_other_are_one_after_their_parents() {
        let items = [
            parent(7),
            parent(3),
            leaf(0, GROUP),
            parent(5),
            leaf(GROUP, 9),
        ];
        let parents = [7, 3, 5].map(|number| Seen::Parent(hash(number)));
        let expected: Vec<_> = parents
            .into_iter()
            .chain([Seen::Leaf(0, GROUP + 9)])
            .collect();
        assert_eq!(through(items), [expected]);
    }

    #[test]
    fn a_gap_or_a_step_back_ends_a_piece() {
        let gap = through([leaf(0, GROUP), parent(9), leaf(2 * GROUP, GROUP)]);
        let first = vec![Seen::Parent(hash(9)), Seen::Leaf(0, GROUP)];
        assert_eq!(gap, [first, vec![Seen::Leaf(2 * GROUP, GROUP)]]);
        let back = through([leaf(GROUP, GROUP), leaf(0, GROUP)]);
        assert_eq!(back, [[Seen::Leaf(GROUP, GROUP)], [Seen::Leaf(0, GROUP)]]);
    }

    #[test]
    fn a_full_piece_is_passed_on() {
        let full = through((0..5).map(|at| leaf(at * GROUP, GROUP)));
        assert_eq!(
            full,
            [[Seen::Leaf(0, PIECE_LEN)], [Seen::Leaf(PIECE_LEN, GROUP)]]
        );
        let large = PIECE_LEN + GROUP;
        let data: Vec<u8> = (0..5).flat_map(|group| vec![group; GROUP]).collect();
        let whole = Leaf {
            offset: 0,
            data: data.into(),
        };
        let passed = through([whole.into(), leaf(large, 1)]);
        assert_eq!(passed, [[Seen::Leaf(0, large)], [Seen::Leaf(large, 1)]]);
    }
}
