//! The stores that a recorder is created with.

use std::sync::Arc;

use crate::delegate_store;
use crate::store::data_store::DataStore;

/// One store or several, as [`Recorder::new`](crate::Recorder::new) takes them: a store, a tuple of up to six stores,
/// or an array or `Vec` of stores of one type, such as `Vec<Arc<dyn DataStore>>`.
///
/// ```
/// # use simrecorder_core as simrecorder;
/// use std::sync::Arc;
///
/// use simrecorder::{DataStore, InMemoryDataStore, Recorder};
///
/// let one = Recorder::new(InMemoryDataStore::new());
/// let two = Recorder::new((InMemoryDataStore::new(), InMemoryDataStore::new()));
/// let chosen_at_run_time: Vec<Arc<dyn DataStore>> = vec![Arc::new(InMemoryDataStore::new())];
/// let several = Recorder::new(chosen_at_run_time);
/// # for recorder in [one, two, several] { recorder.record("rate", 0.5)?; }
/// # Ok::<(), simrecorder_core::Error>(())
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a store, nor several",
    note = "a path or URL is opened first: `Recorder::new(simrecorder::create(\"run.mdb\")?)`, or `open` to \
            read a recording and `append` to add to it"
)]
pub trait IntoStores {
    /// Returns the stores, in the order in which they are read.
    fn into_stores(self) -> Vec<Arc<dyn DataStore>>;
}

impl<S: DataStore + 'static> IntoStores for S {
    fn into_stores(self) -> Vec<Arc<dyn DataStore>> {
        vec![Arc::new(self)]
    }
}

impl<S: DataStore + 'static> IntoStores for Vec<S> {
    fn into_stores(self) -> Vec<Arc<dyn DataStore>> {
        self.into_iter().map(|store| Arc::new(store) as _).collect()
    }
}

impl<S: DataStore + 'static, const N: usize> IntoStores for [S; N] {
    fn into_stores(self) -> Vec<Arc<dyn DataStore>> {
        Vec::from(self).into_stores()
    }
}

macro_rules! tuple {
    ($($name:ident),+) => {
        impl<$($name: DataStore + 'static),+> IntoStores for ($($name,)+) {
            fn into_stores(self) -> Vec<Arc<dyn DataStore>> {
                #[allow(non_snake_case)]
                let ($($name,)+) = self;
                vec![$(Arc::new($name)),+]
            }
        }
    };
}

tuple!(A);
tuple!(A, B);
tuple!(A, B, C);
tuple!(A, B, C, D);
tuple!(A, B, C, D, E);
tuple!(A, B, C, D, E, F);

/// A store with a name that the user chooses, for [`Recorder::store`](crate::Recorder::store) and error messages.
///
/// ```
/// # use simrecorder_core as simrecorder;
/// use simrecorder::{InMemoryDataStore, Named, Recorder};
///
/// let live = Named::new("live", InMemoryDataStore::new());
/// let recorder = Recorder::new((live, InMemoryDataStore::new()));
/// recorder.record("rate", 0.5)?;
/// assert_eq!(recorder.store("live")?.keys()?.len(), 1);
/// # Ok::<(), simrecorder_core::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Named<S> {
    name: String,
    store: S,
}

impl<S: DataStore> Named<S> {
    /// Names `store`.
    pub fn new(name: impl Into<String>, store: S) -> Self {
        Self {
            name: name.into(),
            store,
        }
    }
}

#[deny(clippy::missing_trait_methods)]
impl<S: DataStore> DataStore for Named<S> {
    fn name(&self) -> &str {
        &self.name
    }

    delegate_store!(self => self.store; is_read_only nodes children plan prepare commit remove rename
        checkpoint checkpoint_at_once close info as_shared as_encoded);
}
