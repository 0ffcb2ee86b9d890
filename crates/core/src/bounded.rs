//! A vector that cannot hold more than its bound, not even while it is being decoded.
//!
//! Every list in a wire format is one of these: a peer's length prefix never decides how much memory
//! we take.

use std::{fmt, ops::Deref};

use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{Error as _, SeqAccess, Visitor},
};

/// At most `MAX` items.
#[derive(Clone, PartialEq, Eq)]
pub struct Bounded<T, const MAX: usize>(Vec<T>);

/// More items than the bound allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{len} items where at most {max} are allowed: send fewer at a time")]
pub struct TooMany {
    pub len: usize,
    pub max: usize,
}

impl<T, const MAX: usize> Bounded<T, MAX> {
    pub fn new(items: Vec<T>) -> Result<Self, TooMany> {
        if items.len() > MAX {
            return Err(TooMany {
                len: items.len(),
                max: MAX,
            });
        }
        Ok(Self(items))
    }

    /// The first `MAX` of `items`.
    pub fn first(items: impl IntoIterator<Item = T>) -> Self {
        Self(items.into_iter().take(MAX).collect())
    }

    pub fn into_vec(self) -> Vec<T> {
        self.0
    }
}

impl<T, const MAX: usize> Default for Bounded<T, MAX> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T, const MAX: usize> Deref for Bounded<T, MAX> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        &self.0
    }
}

impl<T, const MAX: usize> IntoIterator for Bounded<T, MAX> {
    type Item = T;
    type IntoIter = std::vec::IntoIter<T>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

impl<T: fmt::Debug, const MAX: usize> fmt::Debug for Bounded<T, MAX> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl<T: Serialize, const MAX: usize> Serialize for Bounded<T, MAX> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

impl<'de, T: Deserialize<'de>, const MAX: usize> Deserialize<'de> for Bounded<T, MAX> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(BoundedVisitor::<T, MAX>(std::marker::PhantomData))
    }
}

/// Bounds a field of type `Vec`: `#[serde(deserialize_with = "at_most::<_, _, MAX>")]`.
pub fn at_most<'de, T, D, const MAX: usize>(deserializer: D) -> Result<Vec<T>, D::Error>
where
    T: Deserialize<'de>,
    D: Deserializer<'de>,
{
    Bounded::<T, MAX>::deserialize(deserializer).map(Bounded::into_vec)
}

struct BoundedVisitor<T, const MAX: usize>(std::marker::PhantomData<T>);

impl<'de, T: Deserialize<'de>, const MAX: usize> Visitor<'de> for BoundedVisitor<T, MAX> {
    type Value = Bounded<T, MAX>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "at most {MAX} items")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        // The length prefix is only a claim: preallocate no more than a little.
        let mut items = Vec::with_capacity(seq.size_hint().unwrap_or(0).min(MAX).min(64));
        while let Some(item) = seq.next_element()? {
            if items.len() == MAX {
                return Err(A::Error::custom(TooMany {
                    len: MAX + 1,
                    max: MAX,
                }));
            }
            items.push(item);
        }
        Ok(Bounded(items))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decodes_up_to_its_bound_and_no_further() {
        let bytes = postcard::to_allocvec(&vec![1_u32, 2, 3]).unwrap();
        let three: Bounded<u32, 3> = postcard::from_bytes(&bytes).unwrap();
        assert_eq!(&*three, [1, 2, 3]);
        assert!(postcard::from_bytes::<Bounded<u32, 2>>(&bytes).is_err());
        assert!(Bounded::<u32, 2>::new(vec![1, 2, 3]).is_err());
    }

    #[test]
    fn a_claimed_length_takes_no_memory() {
        let claim = [0xff, 0xff, 0xff, 0xff, 0x0f];
        assert!(postcard::from_bytes::<Bounded<[u8; 32], 1_000_000>>(&claim).is_err());
    }
}
