//! The groups whose series this writer has claimed.

use std::collections::HashMap;
use std::time::{SystemTime, UNIX_EPOCH};

use simrecorder_core::backend::sync::Mutex;
use simrecorder_core::{Key, Result};

use crate::connection::errors::corrupt;
use crate::connection::reply::Reply;
use crate::recording::keyspace::Keyspace;

/// The groups that this writer has claimed, with the numbers of its claims.
///
/// The server stores the last claim of each group. When a writer commits to the series of a claimed
/// group, it sends the number of its own claim, and the server rejects the commit if that is not
/// the last one.
#[derive(Debug, Default)]
pub(super) struct Claims(Mutex<HashMap<Key, u64>>);

impl Claims {
    pub(super) fn get(&self, group: &Key) -> Option<u64> {
        self.0.lock().get(group).copied()
    }

    pub(super) fn extend(&self, claims: HashMap<Key, u64>) {
        self.0.lock().extend(claims);
    }

    /// The claimed groups at `key` and below it, with the numbers of their claims.
    pub(super) fn within(&self, key: &Key) -> Vec<(Key, u64)> {
        let claims = self.0.lock();
        let within = claims.iter().filter(|(group, _)| group.is_within(key));
        within
            .map(|(group, number)| (group.clone(), *number))
            .collect()
    }

    /// Forgets the claims of groups at `key` and below it.
    pub(super) fn forget(&self, key: &Key) {
        self.0.lock().retain(|group, _| !group.is_within(key));
    }

    /// Moves the claims of groups at `from` and below it.
    pub(super) fn rename(&self, from: &Key, to: &Key) -> Result<()> {
        let moved = self.within(from);
        self.forget(from);
        for (group, number) in moved {
            if let Some(group) = group.rebase(from, to)? {
                self.0.lock().insert(group, number);
            }
        }
        Ok(())
    }
}

/// A number for a new claim of a group. It is larger than that of the last claim on the server.
/// Because it is a time in microseconds, it is also larger than that of a claim that the server
/// lost and will receive again.
pub(super) fn new_number(keyspace: &Keyspace, group: &Key) -> Result<u64> {
    let claims = keyspace.names.claims();
    let field = [b"HGET", claims.as_bytes(), group.as_str().as_bytes()];
    let last = match keyspace.ask_one("commit", &field)?.text()? {
        None => 0,
        Some(claim) => {
            let number = claim
                .split(' ')
                .next()
                .and_then(|it| it.parse::<u64>().ok());
            number.ok_or_else(|| corrupt("the claim of this group is malformed"))?
        }
    };
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let now = now.map_or(0, |now| now.as_micros() as u64);
    Ok(now.max(last.saturating_add(1)))
}
