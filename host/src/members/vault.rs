//! The vault: two data keys per member, kept outside the store, so that destroying a key erases what it sealed.
//!
//! The store never forgets a byte at once: logs and backups keep old rows. So personal data lies there sealed under a key
//! of the person's own, and the keys lie here, in one small file of fixed slots that is overwritten in place. Each key is
//! wrapped under the key-encryption key of the deployment, which the caller brings: a copy of the file alone opens nothing.
//!
//! [`Vault::create`] only appends to a buffer. The vault is a [`Barrier`] of the store, so the key is on disk no later than
//! the first transaction that used it. [`Vault::destroy`] is on disk when it returns.
//!
//! Randomness is an argument, as everywhere. Nonces must never repeat: pass 24 random bytes.

mod slot;

use std::{
    collections::HashMap,
    fs::{self, File, OpenOptions},
    io,
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
};

use chacha20poly1305::{
    XChaCha20Poly1305, XNonce,
    aead::{Aead as _, KeyInit as _, Payload},
};
use hmac::{Hmac, Mac as _};
use jiff::Timestamp;
use rustix::fs::{FlockOperation, flock};
use sha2::Sha256;

use self::slot::{DESTROYED, LIVE, MAGIC, NONCE_BYTES, SLOT_BYTES, Slot, empty_slot, first_slot, slot_data};
use super::erasures::{self, Erasure};
use crate::{
    ids::{Id as _, MemberId},
    store::Barrier,
};

/// Slots copied at once.
const COPY_SLOTS: usize = 2_048;
/// The version of sealed bytes: their first byte.
const SEALED: u8 = 1;

/// Which of a member's two keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum KeyClass {
    /// Seals the profile; destroyed when the member asks to be erased.
    Profile,
    /// Seals what the law wants kept; destroyed when its time is over.
    Statutory,
}

impl KeyClass {
    pub(super) const ALL: [Self; 2] = [Self::Profile, Self::Statutory];

    fn code(self) -> u8 {
        match self {
            Self::Profile => 1,
            Self::Statutory => 2,
        }
    }

    /// Its name in the journal of erasures.
    pub fn name(self) -> &'static str {
        match self {
            Self::Profile => "profile",
            Self::Statutory => "statutory",
        }
    }

    fn of_code(code: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|class| class.code() == code)
    }
}

/// Why the vault did not do what it was asked for.
#[derive(Debug, thiserror::Error)]
pub enum VaultError {
    /// The key was destroyed: what it sealed is gone for good.
    #[error("the key was destroyed, what it sealed is erased")]
    Erased,
    /// There never was such a key.
    #[error("the member has no key in the vault")]
    Unknown,
    /// The member has keys already.
    #[error("the member has keys in the vault already")]
    Exists,
    /// The sealed bytes, or the wrapped key, are not what was written; or they belong to another member or row.
    #[error("sealed data does not open: it is damaged, or not of this member and row")]
    Tampered,
    /// The vault was made with another key-encryption key.
    #[error("{} was made with another key-encryption key: configure the one it was made with", path.display())]
    WrongKey {
        /// The file.
        path: PathBuf,
    },
    /// The file is not a vault.
    #[error("{} is not a vault of this program: restore it from a backup", path.display())]
    NotAVault {
        /// The file.
        path: PathBuf,
    },
    /// Another process has it open.
    #[error("{} is in use by another process: stop that one first", path.display())]
    Locked {
        /// The file.
        path: PathBuf,
    },
    /// The file cannot be read or written.
    #[error("cannot {what} the vault {}: {source}", path.display())]
    Io {
        /// What was tried.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
}

/// The keys of all members.
pub struct Vault {
    /// Where the journal of erasures lies.
    dir: PathBuf,
    path: PathBuf,
    file: File,
    wrapping: XChaCha20Poly1305,
    /// Keys digests of what the deployment sealed.
    digests: Hmac<Sha256>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// The slot of each key.
    slots: HashMap<(MemberId, KeyClass), u64>,
    /// Slots written to the file, the first one included.
    written: u64,
    /// Slots appended and not written yet.
    pending: Vec<Slot>,
    /// Changes made to the file, and how many of them are on disk.
    changes: u64,
    synced: u64,
    /// A failed sync leaves unknown what is on disk, so none is tried after it.
    broken: bool,
}

impl Vault {
    /// Opens or creates `dir/vault/keys`, whose keys are wrapped under `key_encryption_key`.
    ///
    /// # Errors
    ///
    /// [`VaultError::WrongKey`], [`VaultError::NotAVault`], [`VaultError::Locked`], [`VaultError::Io`].
    pub fn unlock(dir: &Path, key_encryption_key: [u8; 32]) -> Result<Self, VaultError> {
        let data = dir.to_owned();
        let dir = dir.join("vault");
        let path = dir.join("keys");
        let io = |what| io_error(what, &path);
        fs::create_dir_all(&dir).map_err(io("create"))?;
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path);
        let file = file.map_err(io("open"))?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => return Err(VaultError::Locked { path }),
            Err(error) => return Err(io("lock")(error.into())),
        }
        let wrapping = XChaCha20Poly1305::new(&key_encryption_key.into());
        let digests = Hmac::<Sha256>::new_from_slice(&key_encryption_key).expect("HMAC takes a key of any length");
        let digests = digests.chain_update(b"galenic/own-digest");
        let content = fs::read(&path).map_err(io("read"))?;
        // What a creation that was cut short leaves: the beginning of a first slot, or one that never reached the disk.
        let zeros = content.iter().all(|&byte| byte == 0) && content.len() <= SLOT_BYTES;
        let short = content.len() < SLOT_BYTES && content.iter().zip(MAGIC).all(|(found, expected)| found == expected);
        if zeros || short {
            create_file(&file, &dir, &first_slot(&wrapping)).map_err(io("create"))?;
        } else if !content.starts_with(MAGIC) {
            return Err(VaultError::NotAVault { path });
        } else if !content.starts_with(&first_slot(&wrapping)) {
            return Err(VaultError::WrongKey { path });
        }
        let state = Mutex::new(State::load(&content));
        Ok(Self { dir: data, path, file, wrapping, digests, state })
    }

    /// Adds the two keys of a new member; `keys` and `nonces` are random bytes, for the profile and then the statutory key.
    /// They are on disk after the next [`Barrier::sync`].
    ///
    /// # Errors
    ///
    /// [`VaultError::Exists`].
    pub fn create(&self, member: MemberId, keys: [[u8; 32]; 2], nonces: [[u8; 24]; 2]) -> Result<(), VaultError> {
        let mut state = self.lock();
        if KeyClass::ALL.iter().any(|class| state.slots.contains_key(&(member, *class))) {
            return Err(VaultError::Exists);
        }
        for ((class, key), nonce) in KeyClass::ALL.into_iter().zip(keys).zip(nonces) {
            let number = state.written + state.pending.len() as u64;
            let associated = slot_data(number, member, class);
            let payload = Payload { msg: &key, aad: &associated };
            let wrapped = self.wrapping.encrypt(&XNonce::from(nonce), payload).map_err(|_| VaultError::Tampered)?;
            let mut slot = empty_slot(LIVE, member, class);
            slot[24..48].copy_from_slice(&nonce);
            slot[48..].copy_from_slice(&wrapped);
            state.pending.push(slot);
            state.slots.insert((member, class), number);
        }
        Ok(())
    }

    /// Destroys a key: what it sealed cannot be opened again by anybody. On disk when this returns, and in the journal of
    /// erasures before it is done; destroying a destroyed key changes nothing.
    ///
    /// # Errors
    ///
    /// [`VaultError::Unknown`], [`VaultError::Io`].
    pub fn destroy(&self, member: MemberId, class: KeyClass, at: Timestamp) -> Result<(), VaultError> {
        let mut state = self.lock();
        let number = *state.slots.get(&(member, class)).ok_or(VaultError::Unknown)?;
        self.write_pending(&mut state).map_err(self.io("write"))?;
        let mut found = [0; 1];
        self.file.read_exact_at(&mut found, number * SLOT_BYTES as u64).map_err(self.io("read"))?;
        if found == [DESTROYED] {
            drop(state);
            return self.sync().map_err(self.io("sync"));
        }
        erasures::append(&self.dir, &[Erasure { at, member, class }]).map_err(self.io("write the journal beside"))?;
        // The member's id stays, a pseudonym: it tells "erased" from "never known".
        let slot = empty_slot(DESTROYED, member, class);
        self.file.write_all_at(&slot, number * SLOT_BYTES as u64).map_err(self.io("write"))?;
        state.changes += 1;
        drop(state);
        self.sync().map_err(self.io("sync"))
    }

    /// Seals `plaintext` under a member's key. `associated` says where it belongs (a table, a row): the same is needed to
    /// open it. `nonce` is 24 random bytes.
    ///
    /// # Errors
    ///
    /// [`VaultError::Erased`], [`VaultError::Unknown`], [`VaultError::Tampered`], [`VaultError::Io`].
    pub fn seal(
        &self,
        member: MemberId,
        class: KeyClass,
        associated: &[u8],
        plaintext: &[u8],
        nonce: [u8; NONCE_BYTES],
    ) -> Result<Vec<u8>, VaultError> {
        let payload = Payload { msg: plaintext, aad: &sealed_data(member, class, associated) };
        let body = self.cipher(member, class)?.encrypt(&XNonce::from(nonce), payload);
        let body = body.map_err(|_| VaultError::Tampered)?;
        Ok([&[SEALED], nonce.as_slice(), body.as_slice()].concat())
    }

    /// Opens what [`Vault::seal`] made for the same member, key and place.
    ///
    /// # Errors
    ///
    /// As for [`Vault::seal`].
    pub fn open(
        &self,
        member: MemberId,
        class: KeyClass,
        associated: &[u8],
        sealed: &[u8],
    ) -> Result<Vec<u8>, VaultError> {
        let cipher = self.cipher(member, class)?;
        let Some((&SEALED, rest)) = sealed.split_first() else { return Err(VaultError::Tampered) };
        let (nonce, body) = rest.split_first_chunk::<NONCE_BYTES>().ok_or(VaultError::Tampered)?;
        let payload = Payload { msg: body, aad: &sealed_data(member, class, associated) };
        cipher.decrypt(&XNonce::from(*nonce), payload).map_err(|_| VaultError::Tampered)
    }

    /// Seals what belongs to nobody, such as a code that was not given to anyone yet, under the deployment's own key.
    ///
    /// # Errors
    ///
    /// [`VaultError::Tampered`] if it cannot be sealed.
    pub fn seal_own(
        &self,
        associated: &[u8],
        plaintext: &[u8],
        nonce: [u8; NONCE_BYTES],
    ) -> Result<Vec<u8>, VaultError> {
        let payload = Payload { msg: plaintext, aad: &own_data(associated) };
        let body = self.wrapping.encrypt(&XNonce::from(nonce), payload).map_err(|_| VaultError::Tampered)?;
        Ok([&[SEALED], nonce.as_slice(), body.as_slice()].concat())
    }

    /// Opens what [`Vault::seal_own`] made for the same place.
    ///
    /// # Errors
    ///
    /// [`VaultError::Tampered`].
    pub fn open_own(&self, associated: &[u8], sealed: &[u8]) -> Result<Vec<u8>, VaultError> {
        let Some((&SEALED, rest)) = sealed.split_first() else { return Err(VaultError::Tampered) };
        let (nonce, body) = rest.split_first_chunk::<NONCE_BYTES>().ok_or(VaultError::Tampered)?;
        let payload = Payload { msg: body, aad: &own_data(associated) };
        self.wrapping.decrypt(&XNonce::from(*nonce), payload).map_err(|_| VaultError::Tampered)
    }

    /// A digest of something secret, by which it is found again; without the deployment's key nothing can be tried
    /// against it.
    pub fn digest_own(&self, associated: &[u8], plaintext: &[u8]) -> [u8; 32] {
        let length = (associated.len() as u64).to_be_bytes();
        let digest = self.digests.clone().chain_update(length).chain_update(associated).chain_update(plaintext);
        digest.finalize().into_bytes().into()
    }

    /// Whether the member has, or had, such a key.
    pub fn knows(&self, member: MemberId, class: KeyClass) -> bool {
        self.lock().slots.contains_key(&(member, class))
    }

    /// Hands the file to `each`, part by part, as it is on disk; keys that are added or destroyed meanwhile may be in it.
    ///
    /// # Errors
    ///
    /// Those of `each`, and of the file.
    pub fn copy<E: From<io::Error>>(&self, mut each: impl FnMut(&[u8]) -> Result<(), E>) -> Result<(), E> {
        self.sync()?;
        let slots = self.lock().written;
        for first in (0..slots).step_by(COPY_SLOTS) {
            let count = usize::try_from(slots - first).unwrap_or(COPY_SLOTS).min(COPY_SLOTS);
            let mut part = vec![0; count * SLOT_BYTES];
            {
                // No slot is half overwritten while the lock is held.
                let _state = self.lock();
                self.file.read_exact_at(&mut part, first * SLOT_BYTES as u64)?;
            }
            each(&part)?;
        }
        Ok(())
    }

    /// Unwraps a member's key.
    fn cipher(&self, member: MemberId, class: KeyClass) -> Result<XChaCha20Poly1305, VaultError> {
        let (number, slot) = self.slot(member, class)?;
        match slot[0] {
            LIVE => {}
            DESTROYED => return Err(VaultError::Erased),
            _ => return Err(VaultError::Tampered),
        }
        let nonce: [u8; NONCE_BYTES] = slot[24..48].try_into().map_err(|_| VaultError::Tampered)?;
        let payload = Payload { msg: &slot[48..], aad: &slot_data(number, member, class) };
        let key = self.wrapping.decrypt(&XNonce::from(nonce), payload).map_err(|_| VaultError::Tampered)?;
        XChaCha20Poly1305::new_from_slice(&key).map_err(|_| VaultError::Tampered)
    }

    fn slot(&self, member: MemberId, class: KeyClass) -> Result<(u64, Slot), VaultError> {
        let state = self.lock();
        let number = *state.slots.get(&(member, class)).ok_or(VaultError::Unknown)?;
        let pending = number.checked_sub(state.written).and_then(|at| usize::try_from(at).ok());
        if let Some(slot) = pending.and_then(|at| state.pending.get(at)) {
            return Ok((number, *slot));
        }
        let mut slot = [0; SLOT_BYTES];
        self.file.read_exact_at(&mut slot, number * SLOT_BYTES as u64).map_err(self.io("read"))?;
        Ok((number, slot))
    }

    /// Moves appended slots into the file. If it fails they stay, and are written to the same places again.
    fn write_pending(&self, state: &mut State) -> io::Result<()> {
        if state.pending.is_empty() {
            return Ok(());
        }
        self.file.write_all_at(state.pending.as_flattened(), state.written * SLOT_BYTES as u64)?;
        state.written += state.pending.len() as u64;
        state.pending.clear();
        state.changes += 1;
        Ok(())
    }

    fn io(&self, what: &'static str) -> impl FnOnce(io::Error) -> VaultError {
        io_error(what, &self.path)
    }

    /// Nothing that holds the lock panics half-way, so a poisoned lock is sound.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Barrier for Vault {
    fn sync(&self) -> io::Result<()> {
        let changes = {
            let mut state = self.lock();
            if state.broken {
                return Err(io::Error::other("an earlier sync of the vault failed: restart"));
            }
            self.write_pending(&mut state)?;
            if state.synced >= state.changes {
                return Ok(());
            }
            state.changes
        };
        let synced = self.file.sync_data();
        let mut state = self.lock();
        match synced {
            Ok(()) => state.synced = state.synced.max(changes),
            Err(_) => state.broken = true,
        }
        synced
    }
}

impl State {
    /// Indexes the slots of a file. A last slot that is cut short or never reached the disk was never acknowledged.
    fn load(content: &[u8]) -> Self {
        let mut state = Self::default();
        let (slots, _torn) = content.as_chunks::<SLOT_BYTES>();
        for (number, slot) in (0u64..).zip(slots).skip(1) {
            let member = slot[8..24].first_chunk().map(|bits| MemberId::from_bits(u128::from_be_bytes(*bits)));
            if let (Some(member), Some(class), LIVE | DESTROYED) = (member, KeyClass::of_code(slot[1]), slot[0]) {
                state.slots.insert((member, class), number);
            }
        }
        state.written = (slots.len() as u64).max(1);
        state
    }
}

fn io_error(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> VaultError + use<> {
    let path = path.to_owned();
    move |source| VaultError::Io { what, path, source }
}

fn create_file(file: &File, dir: &Path, first: &Slot) -> io::Result<()> {
    file.set_len(0)?;
    file.write_all_at(first, 0)?;
    file.sync_all()?;
    File::open(dir)?.sync_all()?;
    dir.canonicalize()?.parent().map_or(Ok(()), |parent| File::open(parent)?.sync_all())
}

/// Tells what the deployment sealed from keys that it wrapped.
fn own_data(associated: &[u8]) -> Vec<u8> {
    [b"galenic/own\0".as_slice(), associated].concat()
}

/// Binds sealed data to its owner and place: rows cannot be swapped.
fn sealed_data(member: MemberId, class: KeyClass, associated: &[u8]) -> Vec<u8> {
    [b"data".as_slice(), &member.to_bits().to_be_bytes(), &[class.code()], associated].concat()
}

#[cfg(test)]
mod tests;
