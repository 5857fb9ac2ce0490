//! A retry with the same key changes nothing and gets the same answer.
//!
//! The record is written in the transaction of the effect, so there is no moment at which one exists without the other.
//! It holds the use case's output, which never contains personal data.

use minicbor::{Decode, Encode};

use super::{Error, tables::IDEMPOTENCY};
use crate::{
    ids::PartnerId,
    store::{Record, Store, Tx},
};

/// The key of a request and a keyed hash of what it asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Idempotency {
    /// Whose key: keys of different partners never meet.
    pub partner: PartnerId,
    /// As the client chose it; 1 to 128 visible ASCII characters.
    pub key: String,
    /// Over method, path and body.
    pub fingerprint: [u8; 32],
}

/// The stored answer to a key.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Used {
    /// Over method, path and body.
    #[cbor(n(0), with = "minicbor::bytes")]
    pub fingerprint: [u8; 32],
    /// The use case's output.
    #[cbor(n(1), with = "minicbor::bytes")]
    pub output: Vec<u8>,
}

/// What a use case did, and whether it had done so before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Done<T> {
    /// The output, as it was the first time.
    pub value: T,
    /// Whether this is the answer to a retry.
    pub replayed: bool,
}

impl Idempotency {
    /// The answer given before, if there is one. Ask before work that a retry should not repeat; [`Idempotency::once`]
    /// asks again where it counts.
    ///
    /// # Errors
    ///
    /// [`Error::KeyReused`] if the key came with another request.
    pub async fn before<T: Record + Send>(&self, store: &Store) -> Result<Option<Done<T>>, Error> {
        let this = self.clone();
        store.read(move |tx| this.look_up(tx)).await
    }

    /// Runs `work` unless this key did it before.
    ///
    /// # Errors
    ///
    /// Those of `work`, and [`Error::KeyReused`].
    pub fn once<T: Record, E: From<Error>>(
        &self,
        tx: &mut Tx<'_>,
        work: impl FnOnce(&mut Tx<'_>) -> Result<T, E>,
    ) -> Result<Done<T>, E> {
        if let Some(done) = self.look_up(tx)? {
            return Ok(done);
        }
        let value = work(tx)?;
        self.keep(tx, &value)?;
        Ok(Done { value, replayed: false })
    }

    fn keep<T: Record>(&self, tx: &mut Tx<'_>, value: &T) -> Result<(), Error> {
        let output = minicbor::to_vec(value).map_err(|error| crate::store::StoreError::Encode {
            table: IDEMPOTENCY.name(),
            reason: error.to_string().into(),
        })?;
        Ok(tx.put(&IDEMPOTENCY, &self.row(), &Used { fingerprint: self.fingerprint, output })?)
    }

    /// The answer that this key was given before, if there is one.
    ///
    /// # Errors
    ///
    /// [`Error::KeyReused`] if the key came with another request.
    pub fn look_up<T: Record>(&self, tx: &mut Tx<'_>) -> Result<Option<Done<T>>, Error> {
        let Some(used) = tx.get(&IDEMPOTENCY, &self.row())? else { return Ok(None) };
        if used.fingerprint != self.fingerprint {
            return Err(Error::KeyReused);
        }
        let value = minicbor::decode(&used.output).map_err(|error| crate::store::StoreError::Corrupt {
            table: IDEMPOTENCY.name(),
            reason: error.to_string().into(),
        })?;
        Ok(Some(Done { value, replayed: true }))
    }

    fn row(&self) -> (PartnerId, String) {
        (self.partner, self.key.clone())
    }
}
