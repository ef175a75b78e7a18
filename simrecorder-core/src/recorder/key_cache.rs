//! A lock-free map from the key texts of callers to series.

use std::hash::BuildHasher;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use crate::backend::sync::Mutex;
use hashbrown::DefaultHashBuilder;

use super::series_buffer::SeriesBuffer;

/// The slots of the first table; each further table has twice as many.
const FIRST_SLOTS: usize = 64;
/// More tables than fit into memory.
const MAX_TABLES: usize = 40;

/// Key texts with their series. One key has many texts: `/a//b` is `a/b`. Texts are added, never removed.
///
/// Every `record` by key looks up its text here, from all threads at once, so a lookup writes no shared memory. A hash
/// table that is half full is copied into one of twice the size. Older tables are kept until the recorder is dropped,
/// since other threads may read them. Together they are no larger than the newest.
#[derive(Debug)]
pub(super) struct KeyCache {
    hasher: DefaultHashBuilder,
    tables: [OnceLock<Table>; MAX_TABLES],
    /// The index of the newest table.
    newest: AtomicUsize,
    /// The number of texts; locked while one is added.
    len: Mutex<usize>,
}

/// Open addressing with linear probing, at most half full.
#[derive(Debug)]
struct Table(Box<[OnceLock<Entry>]>);

#[derive(Clone, Debug)]
struct Entry {
    text: Arc<str>,
    series: Arc<SeriesBuffer>,
}

impl KeyCache {
    pub(super) fn new() -> Self {
        let tables = [const { OnceLock::new() }; MAX_TABLES];
        // Creates the first table now, so that there is always one.
        let _ = tables[0].set(Table::new(FIRST_SLOTS));
        Self {
            hasher: DefaultHashBuilder::default(),
            tables,
            newest: AtomicUsize::new(0),
            len: Mutex::new(0),
        }
    }

    /// The series of `text`.
    #[inline]
    pub(super) fn get(&self, text: &str) -> Option<&Arc<SeriesBuffer>> {
        let entry = self.newest()?.get(self.hash(text), text)?;
        Some(&entry.series)
    }

    /// Adds `text` for `series`.
    pub(super) fn insert(&self, text: &str, series: &Arc<SeriesBuffer>) {
        let mut len = self.len.lock();
        let Some(table) = self.newest() else { return };
        let table = if 2 * *len < table.0.len() {
            table
        } else {
            self.grow(table)
        };
        let hash = self.hash(text);
        if table.get(hash, text).is_none() {
            table.insert(
                hash,
                Entry {
                    text: text.into(),
                    series: Arc::clone(series),
                },
            );
            *len += 1;
        }
    }

    /// Copies the newest table into one of twice the size, which replaces it. The caller has locked
    /// `len`.
    fn grow<'a>(&'a self, newest: &'a Table) -> &'a Table {
        let next = self.newest.load(Ordering::Relaxed) + 1;
        let Some(place) = self.tables.get(next) else {
            return newest;
        };
        let larger = Table::new(2 * newest.0.len());
        for entry in newest.0.iter().filter_map(OnceLock::get) {
            larger.insert(self.hash(&entry.text), entry.clone());
        }
        let larger = place.get_or_init(|| larger);
        self.newest.store(next, Ordering::Release);
        larger
    }

    #[inline]
    fn newest(&self) -> Option<&Table> {
        self.tables[self.newest.load(Ordering::Acquire)].get()
    }

    #[inline]
    #[expect(clippy::cast_possible_truncation, reason = "any bits of a hash do")]
    fn hash(&self, text: &str) -> usize {
        self.hasher.hash_one(text) as usize
    }
}

impl Table {
    fn new(slots: usize) -> Self {
        Self((0..slots).map(|_| OnceLock::new()).collect())
    }

    /// All slots, beginning with the first one for this hash.
    #[inline]
    fn slots(&self, hash: usize) -> impl Iterator<Item = &OnceLock<Entry>> {
        let mask = self.0.len() - 1;
        (0..=mask).map(move |step| &self.0[hash.wrapping_add(step) & mask])
    }

    #[inline]
    fn get(&self, hash: usize, text: &str) -> Option<&Entry> {
        // Reads each slot once, since another thread may fill a free one in between.
        self.slots(hash)
            .map_while(OnceLock::get)
            .find(|entry| *entry.text == *text)
    }

    /// Adds a new entry. No other thread adds one at the same time.
    fn insert(&self, hash: usize, entry: Entry) {
        if let Some(slot) = self.slots(hash).find(|slot| slot.get().is_none()) {
            let _ = slot.set(entry);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicBool;

    use super::*;
    use crate::model::key::Key;
    use crate::model::schema::Schema;

    fn series(key: &str) -> Arc<SeriesBuffer> {
        let schema = Schema::scalar::<f64>();
        Arc::new(SeriesBuffer::new(
            Key::new(key).unwrap(),
            Arc::new(schema),
            1,
            0,
        ))
    }

    #[test]
    fn texts_are_found_while_others_are_added() {
        const NUMBER: usize = if cfg!(miri) { 100 } else { 5000 };
        let cache = KeyCache::new();
        let (added, done) = (AtomicUsize::new(0), AtomicBool::new(false));
        let name = |number: usize| format!("group/{number}");
        std::thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| {
                    while !done.load(Ordering::Relaxed) {
                        let there = added.load(Ordering::Acquire);
                        for number in 0..there {
                            let found = cache.get(&name(number)).unwrap();
                            assert_eq!(found.key.as_str(), name(number));
                        }
                        assert!(cache.get("group/none").is_none());
                    }
                });
            }
            for number in 0..NUMBER {
                cache.insert(&name(number), &series(&name(number)));
                added.store(number + 1, Ordering::Release);
            }
            done.store(true, Ordering::Relaxed);
        });
        assert_eq!(*cache.len.lock(), NUMBER);
    }

    #[test]
    fn an_absent_text_is_not_found_while_others_are_added() {
        // Miri takes a thousand times as long.
        let rounds = if cfg!(miri) { 1 } else { 200 };
        for round in 0..rounds {
            let cache = KeyCache::new();
            let done = AtomicBool::new(false);
            std::thread::scope(|scope| {
                for reader in 0..2 {
                    let (cache, done) = (&cache, &done);
                    scope.spawn(move || {
                        // With so many texts, readers look into each free slot.
                        let absent: Vec<_> = (0..100).map(|i| format!("{reader}/{i}")).collect();
                        while !done.load(Ordering::Relaxed) {
                            assert!(absent.iter().all(|name| cache.get(name).is_none()));
                        }
                    });
                }
                (0..if cfg!(miri) { 40 } else { 500 }).for_each(|i| {
                    let name = format!("{round}/{i}/added");
                    cache.insert(&name, &series(&name));
                });
                done.store(true, Ordering::Relaxed);
            });
        }
    }

    #[test]
    fn the_first_series_of_a_text_stays() {
        let cache = KeyCache::new();
        let (first, second) = (series("a"), series("a"));
        cache.insert("/a", &first);
        cache.insert("/a", &second);
        assert!(Arc::ptr_eq(cache.get("/a").unwrap(), &first));
        assert_eq!(*cache.len.lock(), 1);
        assert!(cache.get("").is_none());
    }
}
