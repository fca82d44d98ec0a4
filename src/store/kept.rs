//! A table whose changes are noted where somebody wants to know them: in one place, so that none is forgotten.

use std::borrow::Borrow;
use std::cell::RefCell;
use std::ops::{Deref, RangeBounds};
use std::rc::Rc;

use redb::{AccessGuard, AccessGuardMut, ExtractIf, Key, StorageError, Table, Value};

use super::shipped::{Changes, TableNo};

/// Where changes are noted; nowhere without other nodes.
pub(super) type Noting = Option<Rc<RefCell<Changes>>>;

/// A table in a write transaction. It is read as any table; it is changed by the calls here, and by no others.
pub struct Kept<'t, K: Key + 'static, V: Value + 'static> {
    table: Table<'t, K, V>,
    number: TableNo,
    noting: Noting,
}

impl<'t, K: Key + 'static, V: Value + 'static> Deref for Kept<'t, K, V> {
    type Target = Table<'t, K, V>;

    fn deref(&self) -> &Self::Target {
        &self.table
    }
}

fn note<K: Key + 'static>(noting: &Noting, number: TableNo, key: &K::SelfType<'_>, value: Option<&[u8]>) {
    if let Some(changes) = noting {
        changes.borrow_mut().note(number, K::as_bytes(key).as_ref(), value);
    }
}

impl<'t, K: Key + 'static, V: Value + 'static> Kept<'t, K, V> {
    pub(super) fn new(table: Table<'t, K, V>, number: TableNo, noting: &Noting) -> Self {
        Self { table, number, noting: noting.clone() }
    }

    /// [`Table::insert`].
    pub fn insert<'k, 'v>(
        &mut self,
        key: impl Borrow<K::SelfType<'k>>,
        value: impl Borrow<V::SelfType<'v>>,
    ) -> Result<Option<AccessGuard<'_, V>>, StorageError> {
        if self.noting.is_some() {
            let value = V::as_bytes(value.borrow());
            note::<K>(&self.noting, self.number, key.borrow(), Some(value.as_ref()));
        }
        self.table.insert(key, value)
    }

    /// [`Table::remove`].
    pub fn remove<'k>(
        &mut self,
        key: impl Borrow<K::SelfType<'k>>,
    ) -> Result<Option<AccessGuard<'_, V>>, StorageError> {
        note::<K>(&self.noting, self.number, key.borrow(), None);
        self.table.remove(key)
    }

    /// [`Table::pop_first`].
    #[expect(clippy::type_complexity, reason = "what the table gives")]
    pub fn pop_first(&mut self) -> Result<Option<(AccessGuard<'_, K>, AccessGuard<'_, V>)>, StorageError> {
        let first = self.table.pop_first()?;
        if let Some((key, _)) = &first {
            note::<K>(&self.noting, self.number, &key.value(), None);
        }
        Ok(first)
    }

    /// [`Table::retain_in`].
    pub fn retain_in<'k, KR>(
        &mut self,
        range: impl RangeBounds<KR> + 'k,
        mut predicate: impl for<'f> FnMut(K::SelfType<'f>, V::SelfType<'f>) -> bool,
    ) -> Result<(), StorageError>
    where
        KR: Borrow<K::SelfType<'k>> + 'k,
    {
        let Self { table, number, noting } = self;
        if noting.is_none() {
            return table.retain_in(range, predicate);
        }
        table.retain_in(range, |key, value| {
            let bytes = K::as_bytes(&key).as_ref().to_vec();
            let stays = predicate(key, value);
            if let Some(changes) = noting.as_ref().filter(|_| !stays) {
                changes.borrow_mut().note(*number, &bytes, None);
            }
            stays
        })
    }

    /// Removes everything.
    pub fn clear(&mut self) -> Result<(), StorageError> {
        self.retain_in::<K::SelfType<'_>>(.., |_, _| false)
    }

    /// Removes all of a range, which is read to its end.
    #[expect(clippy::type_complexity, reason = "what the table gives")]
    pub fn extract_all<'a, 'k, KR>(
        &'a mut self,
        range: impl RangeBounds<KR> + 'k,
    ) -> Result<
        ExtractIf<'a, K, V, impl for<'f> FnMut(K::SelfType<'f>, V::SelfType<'f>) -> bool + 'a>,
        StorageError,
    >
    where
        KR: Borrow<K::SelfType<'k>> + 'k,
    {
        let Self { table, number, noting } = self;
        table.extract_from_if(range, move |key, _| {
            note::<K>(noting, *number, &key, None);
            true
        })
    }

    /// [`Table::get_mut`].
    pub fn get_mut<'k>(
        &mut self,
        key: impl Borrow<K::SelfType<'k>>,
    ) -> Result<Option<Standing<'_, K, V>>, StorageError> {
        let Self { table, number, noting } = self;
        let bytes = noting.as_ref().map(|_| K::as_bytes(key.borrow()).as_ref().to_vec());
        let guard = table.get_mut(key)?;
        Ok(guard.map(|guard| Standing {
            guard,
            number: *number,
            noting: noting.as_ref().zip(bytes),
            key: std::marker::PhantomData,
        }))
    }

    /// Puts what every node knows by itself.
    pub(super) fn put_unnoted<'k, 'v>(
        &mut self,
        key: impl Borrow<K::SelfType<'k>>,
        value: impl Borrow<V::SelfType<'v>>,
    ) -> Result<(), StorageError> {
        self.table.insert(key, value).map(|_| ())
    }

    /// Puts what another node put: bytes of a key and of its value, or none where the key is removed.
    pub(super) fn put_bytes(&mut self, key: &[u8], value: Option<&[u8]>) -> Result<(), StorageError> {
        match value {
            Some(value) => self.table.insert(K::from_bytes(key), V::from_bytes(value))?.is_some(),
            None => self.table.remove(K::from_bytes(key))?.is_some(),
        };
        Ok(())
    }
}

/// A value that stands in a table, to be replaced where it stands.
pub struct Standing<'a, K: Key + 'static, V: Value + 'static> {
    guard: AccessGuardMut<'a, V>,
    number: TableNo,
    noting: Option<(&'a Rc<RefCell<Changes>>, Vec<u8>)>,
    key: std::marker::PhantomData<K>,
}

impl<K: Key + 'static, V: Value + 'static> Standing<'_, K, V> {
    /// What stands there.
    pub fn value(&self) -> V::SelfType<'_> {
        self.guard.value()
    }

    /// Puts another value there.
    pub fn insert<'v>(&mut self, value: impl Borrow<V::SelfType<'v>>) -> Result<(), StorageError> {
        if let Some((changes, key)) = &self.noting {
            changes.borrow_mut().note(self.number, key, Some(V::as_bytes(value.borrow()).as_ref()));
        }
        self.guard.insert(value)
    }
}
