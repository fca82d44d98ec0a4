//! A sorted map of which one moment is kept by cloning it. A clone shares all chunks, and whoever changes one of two
//! clones copies the one chunk that it changes: so a register of a hundred thousand panels is published in
//! microseconds, however often.

use std::borrow::Borrow;
use std::sync::Arc;

/// Entries of a chunk at most. Smaller ones make the list of chunks longer, which is copied with every change that
/// follows a clone; larger ones make the copy of one chunk longer.
const CHUNK: usize = 256;

/// The map. Its keys ascend within a chunk and from chunk to chunk, and no chunk is empty.
#[derive(Clone)]
pub struct Chunks<K, V> {
    chunks: Arc<Vec<Chunk<K, V>>>,
    count: usize,
}

#[derive(Clone)]
struct Chunk<K, V> {
    /// No entry of this chunk stands before it, and all of the chunk before do.
    from: K,
    entries: Arc<Vec<(K, V)>>,
}

impl<K, V> Default for Chunks<K, V> {
    fn default() -> Self {
        Self { chunks: Arc::default(), count: 0 }
    }
}

impl<K: Ord + Clone, V: Clone> Chunks<K, V> {
    /// How many entries there are.
    pub fn count(&self) -> usize {
        self.count
    }

    /// In which chunk a key stands or would stand, and where in it.
    fn place<Q>(&self, key: &Q) -> (usize, Result<usize, usize>)
    where
        K: Borrow<Q>,
        Q: Ord + ?Sized,
    {
        let chunk = self.chunks.partition_point(|chunk| chunk.from.borrow() <= key).saturating_sub(1);
        let at = self
            .chunks
            .get(chunk)
            .map_or(Err(0), |chunk| chunk.entries.binary_search_by(|(is, _)| is.borrow().cmp(key)));
        (chunk, at)
    }

    /// What stands under a key.
    pub fn get<Q>(&self, key: &Q) -> Option<&V>
    where
        K: Borrow<Q>,
        Q: Ord + ?Sized,
    {
        let (chunk, at) = self.place(key);
        Some(&self.chunks.get(chunk)?.entries.get(at.ok()?)?.1)
    }

    /// What stands under a key, to change it.
    pub fn get_mut<Q>(&mut self, key: &Q) -> Option<&mut V>
    where
        K: Borrow<Q>,
        Q: Ord + ?Sized,
    {
        let (chunk, at) = self.place(key);
        let at = at.ok()?;
        let chunk = Arc::make_mut(&mut self.chunks).get_mut(chunk)?;
        Some(&mut Arc::make_mut(&mut chunk.entries).get_mut(at)?.1)
    }

    /// Puts this under a key, in place of what stood there.
    pub fn insert(&mut self, key: K, value: V) {
        let (chunk, at) = self.place(&key);
        let chunks = Arc::make_mut(&mut self.chunks);
        let Some(found) = chunks.get_mut(chunk) else {
            chunks.push(Chunk { from: key.clone(), entries: Arc::new(vec![(key, value)]) });
            self.count += 1;
            return;
        };
        if key < found.from {
            found.from = key.clone(); // of the first chunk; before any other, the key stands in the one before
        }
        let entries = Arc::make_mut(&mut found.entries);
        let at = match at {
            Ok(at) => {
                entries[at].1 = value;
                return;
            }
            Err(at) => at,
        };
        self.count += 1;
        if entries.len() < CHUNK {
            return entries.insert(at, (key, value));
        }
        // What comes in ascending order leaves full chunks behind.
        let mut behind = if at == CHUNK { Vec::new() } else { entries.split_off(CHUNK / 2) };
        if at <= CHUNK / 2 {
            entries.insert(at, (key, value));
        } else {
            behind.insert(at - entries.len(), (key, value));
        }
        if let Some((from, _)) = behind.first() {
            chunks.insert(chunk + 1, Chunk { from: from.clone(), entries: Arc::new(behind) });
        }
    }

    /// Takes a key out.
    pub fn remove<Q>(&mut self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
        Q: Ord + ?Sized,
    {
        let (chunk, at) = self.place(key);
        let at = at.ok()?;
        let chunks = Arc::make_mut(&mut self.chunks);
        let entries = Arc::make_mut(&mut chunks.get_mut(chunk)?.entries);
        let (_, value) = entries.remove(at);
        self.count -= 1;
        if entries.is_empty() {
            chunks.remove(chunk);
        }
        Some(value)
    }

    /// All entries, ascending.
    pub fn iter(&self) -> impl Iterator<Item = &(K, V)> {
        self.chunks.iter().flat_map(|chunk| chunk.entries.iter())
    }

    /// The entries behind a key, ascending; all of them without one.
    pub fn after<'m, Q>(&'m self, key: Option<&Q>) -> impl Iterator<Item = &'m (K, V)> + use<'m, K, V, Q>
    where
        K: Borrow<Q>,
        Q: Ord + ?Sized,
    {
        let (chunk, skipped) = match key.map(|key| self.place(key)) {
            Some((chunk, Ok(at))) => (chunk, at + 1),
            Some((chunk, Err(at))) => (chunk, at),
            None => (0, 0),
        };
        self.chunks.iter().skip(chunk).flat_map(|chunk| chunk.entries.iter()).skip(skipped)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::ops::Bound;

    use proptest::prelude::*;

    use super::*;

    #[derive(Debug, Clone)]
    enum Step {
        Insert(u16, u8),
        Change(u16, u8),
        Remove(u16),
        /// So many in ascending order from here on.
        Fill(u16, u16),
        Clone,
    }

    fn step() -> impl Strategy<Value = Step> {
        let key = 0..2000_u16;
        prop_oneof![
            8 => (key.clone(), any::<u8>()).prop_map(|(key, value)| Step::Insert(key, value)),
            2 => (key.clone(), any::<u8>()).prop_map(|(key, value)| Step::Change(key, value)),
            4 => key.clone().prop_map(Step::Remove),
            2 => (key, 0..700_u16).prop_map(|(from, count)| Step::Fill(from, count)),
            1 => Just(Step::Clone),
        ]
    }

    proptest! {
        /// It is what a sorted map of the standard library is, and so is every clone that was taken on the way.
        #[test]
        fn it_is_a_sorted_map_and_a_clone_stays_as_it_was(
            steps in prop::collection::vec(step(), 0..120),
            looked_for in prop::collection::vec(0..2000_u16, 8),
        ) {
            let (mut map, mut model) = (Chunks::default(), BTreeMap::new());
            let mut kept = Vec::new();
            for step in steps {
                match step {
                    Step::Insert(key, value) => {
                        map.insert(key, value);
                        model.insert(key, value);
                    }
                    Step::Change(key, value) => {
                        let (changed, expected) = (map.get_mut(&key), model.get_mut(&key));
                        prop_assert_eq!(changed.is_some(), expected.is_some());
                        if let (Some(changed), Some(expected)) = (changed, expected) {
                            (*changed, *expected) = (value, value);
                        }
                    }
                    Step::Remove(key) => prop_assert_eq!(map.remove(&key), model.remove(&key)),
                    Step::Fill(from, count) => {
                        for key in from..from + count {
                            map.insert(key, 0);
                            model.insert(key, 0);
                        }
                    }
                    Step::Clone => kept.push((map.clone(), model.clone())),
                }
            }
            kept.push((map, model));
            for (map, model) in kept {
                prop_assert_eq!(map.count(), model.len());
                prop_assert!(map.iter().map(|(key, value)| (key, value)).eq(&model));
                prop_assert!(map.chunks.iter().all(|chunk| (1..=CHUNK).contains(&chunk.entries.len())));
                for key in &looked_for {
                    prop_assert_eq!(map.get(key), model.get(key));
                    let behind = map.after(Some(key)).map(|(key, value)| (key, value));
                    prop_assert!(behind.eq(model.range((Bound::Excluded(*key), Bound::Unbounded))));
                }
            }
        }
    }
}
