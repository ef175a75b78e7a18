//! Finding a series by the text that a user gave for its key, without a lock.

use std::hash::BuildHasher;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use hashbrown::DefaultHashBuilder;
use parking_lot::Mutex;

use super::series_buffer::SeriesState;

/// Slots of the first table; each further one has twice as many.
const FIRST_SLOTS: usize = 64;
/// More tables than memory holds.
const MAX_TABLES: usize = 40;

/// Spellings of keys, and the series that each leads to. Spellings are added, never removed.
///
/// Every `record` by key comes here, from all threads at once, so looking up writes nothing that is
/// shared. A hash table that is half full is copied into one of twice the size; those before it
/// stay until the recorder goes, since others may look into them, and together are no larger.
#[derive(Debug)]
pub(super) struct Spellings {
    hasher: DefaultHashBuilder,
    tables: [OnceLock<Table>; MAX_TABLES],
    /// The index of the table to look into.
    newest: AtomicUsize,
    /// How many spellings there are; locked while one is added.
    length: Mutex<usize>,
}

/// Open addressing with linear probing, at most half full.
#[derive(Debug)]
struct Table(Box<[OnceLock<Entry>]>);

#[derive(Clone, Debug)]
struct Entry {
    spelling: Arc<str>,
    series: Arc<SeriesState>,
}

impl Spellings {
    pub(super) fn new() -> Self {
        let tables = [const { OnceLock::new() }; MAX_TABLES];
        // Here, so that there always is one to look into.
        let _ = tables[0].set(Table::new(FIRST_SLOTS));
        Self {
            hasher: DefaultHashBuilder::default(),
            tables,
            newest: AtomicUsize::new(0),
            length: Mutex::new(0),
        }
    }

    /// The series that `spelling` leads to.
    #[inline]
    pub(super) fn get(&self, spelling: &str) -> Option<&Arc<SeriesState>> {
        let entry = self.newest()?.get(self.hash(spelling), spelling)?;
        Some(&entry.series)
    }

    /// Remembers that `spelling` leads to `series`.
    pub(super) fn insert(&self, spelling: &str, series: &Arc<SeriesState>) {
        let mut length = self.length.lock();
        let Some(table) = self.newest() else { return };
        let table = if 2 * *length < table.0.len() {
            table
        } else {
            self.grow(table)
        };
        let hash = self.hash(spelling);
        if table.get(hash, spelling).is_none() {
            table.insert(
                hash,
                Entry {
                    spelling: spelling.into(),
                    series: Arc::clone(series),
                },
            );
            *length += 1;
        }
    }

    /// Copies the newest table into one of twice the size, which takes its place. Only with
    /// `length` locked.
    fn grow<'a>(&'a self, newest: &'a Table) -> &'a Table {
        let next = self.newest.load(Ordering::Relaxed) + 1;
        let Some(place) = self.tables.get(next) else {
            return newest;
        };
        let larger = Table::new(2 * newest.0.len());
        for entry in newest.0.iter().filter_map(OnceLock::get) {
            larger.insert(self.hash(&entry.spelling), entry.clone());
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
    fn hash(&self, spelling: &str) -> usize {
        self.hasher.hash_one(spelling) as usize
    }
}

impl Table {
    fn new(slots: usize) -> Self {
        Self((0..slots).map(|_| OnceLock::new()).collect())
    }

    /// All slots, from the one on where an entry of this hash would be.
    #[inline]
    fn slots(&self, hash: usize) -> impl Iterator<Item = &OnceLock<Entry>> {
        let mask = self.0.len() - 1;
        (0..=mask).map(move |step| &self.0[hash.wrapping_add(step) & mask])
    }

    #[inline]
    fn get(&self, hash: usize, spelling: &str) -> Option<&Entry> {
        // Each slot is read once: one that was free may be taken for another spelling meanwhile.
        self.slots(hash)
            .map_while(OnceLock::get)
            .find(|entry| *entry.spelling == *spelling)
    }

    /// Adds an entry that is not there yet. Nobody else adds one meanwhile.
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

    fn series(key: &str) -> Arc<SeriesState> {
        let schema = Schema::scalar::<f64>();
        Arc::new(SeriesState::new(
            Key::new(key).unwrap(),
            Arc::new(schema),
            1,
            0,
        ))
    }

    #[test]
    fn spellings_are_found_while_others_are_added() {
        const NUMBER: usize = if cfg!(miri) { 100 } else { 5000 };
        let spellings = Spellings::new();
        let (added, done) = (AtomicUsize::new(0), AtomicBool::new(false));
        let name = |number: usize| format!("group/{number}");
        std::thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| {
                    while !done.load(Ordering::Relaxed) {
                        let there = added.load(Ordering::Acquire);
                        for number in 0..there {
                            let found = spellings.get(&name(number)).unwrap();
                            assert_eq!(found.key.as_str(), name(number));
                        }
                        assert!(spellings.get("group/none").is_none());
                    }
                });
            }
            for number in 0..NUMBER {
                spellings.insert(&name(number), &series(&name(number)));
                added.store(number + 1, Ordering::Release);
            }
            done.store(true, Ordering::Relaxed);
        });
        assert_eq!(*spellings.length.lock(), NUMBER);
    }

    #[test]
    fn a_spelling_leads_nowhere_else_while_others_take_its_place() {
        // Miri takes a thousand times as long.
        let rounds = if cfg!(miri) { 1 } else { 200 };
        for round in 0..rounds {
            let spellings = Spellings::new();
            let done = AtomicBool::new(false);
            std::thread::scope(|scope| {
                for reader in 0..2 {
                    let (spellings, done) = (&spellings, &done);
                    scope.spawn(move || {
                        // With so many, each free slot is one that a reader looks into.
                        let absent: Vec<_> = (0..100).map(|i| format!("{reader}/{i}")).collect();
                        while !done.load(Ordering::Relaxed) {
                            assert!(absent.iter().all(|name| spellings.get(name).is_none()));
                        }
                    });
                }
                (0..if cfg!(miri) { 40 } else { 500 }).for_each(|i| {
                    let name = format!("{round}/{i}/added");
                    spellings.insert(&name, &series(&name));
                });
                done.store(true, Ordering::Relaxed);
            });
        }
    }

    #[test]
    fn the_first_series_of_a_spelling_stays() {
        let spellings = Spellings::new();
        let (first, second) = (series("a"), series("a"));
        spellings.insert("/a", &first);
        spellings.insert("/a", &second);
        assert!(Arc::ptr_eq(spellings.get("/a").unwrap(), &first));
        assert_eq!(*spellings.length.lock(), 1);
        assert!(spellings.get("").is_none());
    }
}
