//! Partners, and the API keys they call with.
//!
//! A key's secret is 256 random bits, shown once when the key is made; the store has its SHA-256 alone. Authentication
//! is one look-up by that hash, answered from memory for keys that were seen before: revoking a key forgets it in the
//! same call.

use std::{
    collections::{BTreeSet, HashMap},
    fmt,
    str::FromStr,
    sync::{PoisonError, RwLock},
};

use jiff::Timestamp;
use minicbor::{Decode, Encode};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::{
    Caller, Error, Page, PageRequest, Services,
    check::Checks,
    tables::{KEYS, KEYS_BY_ID, PARTNERS},
    to_the_end,
};
use crate::{
    domain::cbor,
    ids::{Id as _, KeyId, PartnerId},
    store::{Key, Scan, StoreError, Tx},
};

/// Characters of a partner's or key's name.
const NAME_CHARS_MAX: usize = 64;
/// Bytes of a secret that the operator chose.
const OWN_SECRET_BYTES: std::ops::RangeInclusive<usize> = 16..=256;
/// Keys remembered by authentication; when there are more, all are forgotten.
const REMEMBERED_MAX: usize = 10_000;

macro_rules! scopes {
    ($($(#[$doc:meta])* $name:ident = $bit:literal, $text:literal;)*) => {
        /// Something that a key may be allowed to do. Names are part of the API, positions are stored: both stay.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Scope { $($(#[$doc])* $name = $bit),* }

        impl Scope {
            /// Every scope.
            pub const ALL: &[Self] = &[$(Self::$name),*];

            /// The name used in the API.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$name => $text),* }
            }
        }
    };
}

scopes! {
    /// Read members, without personal data.
    MembersRead = 0, "members:read";
    /// Create, change and erase members.
    MembersWrite = 1, "members:write";
    /// Read products.
    CatalogueRead = 2, "catalogue:read";
    /// Import products.
    CatalogueWrite = 3, "catalogue:write";
    /// Read offers.
    OffersRead = 4, "offers:read";
    /// Define, pause and resume offers.
    OffersWrite = 5, "offers:write";
    /// Read coupons.
    CouponsRead = 6, "coupons:read";
    /// Issue coupons.
    CouponsWrite = 7, "coupons:write";
    /// Read quotes and orders.
    OrdersRead = 8, "orders:read";
    /// Quote, place, pay, ship, deliver, cancel and refund.
    OrdersWrite = 9, "orders:write";
    /// Read points.
    PointsRead = 10, "points:read";
    /// Adjust points by hand.
    PointsWrite = 11, "points:write";
    /// Read modules, releases and slots.
    PluginsRead = 12, "plugins:read";
    /// Push modules, create releases, activate and roll back.
    PluginsWrite = 13, "plugins:write";
    /// Read partners and keys.
    KeysRead = 14, "keys:read";
    /// Create partners; create and revoke keys.
    KeysWrite = 15, "keys:write";
    /// Run the deployment: verify the ledger, move a manual clock.
    Operate = 16, "operate";
    /// Read members' personal data.
    MembersPersonal = 17, "members:personal";
    /// Read touches.
    TouchesRead = 20, "touches:read";
    /// Ask for touches.
    TouchesWrite = 21, "touches:write";
    /// Read templates, suppressions and totals.
    ReachRead = 22, "reach:read";
    /// Write and approve templates, change suppressions, retry and discard touches.
    ReachWrite = 23, "reach:write";
    /// Read prescriptions, without personal data.
    PrescriptionsRead = 30, "prescriptions:read";
    /// Upload prescriptions.
    PrescriptionsWrite = 31, "prescriptions:write";
    /// Review prescriptions: read all of what was uploaded, approve and reject.
    PrescriptionsReview = 32, "prescriptions:review";
    /// Read the books of a day, settle with funders, mark late payments as paid back.
    Settle = 33, "settlement";
    /// Approve offers that others defined.
    OffersApprove = 34, "offers:approve";
    /// Export codes, which are worth money.
    CodesRead = 35, "codes:read";
    /// Report what members did.
    ActivitiesWrite = 38, "activities:write";
    /// Take gifts for points.
    GiftsWrite = 39, "gifts:write";
    /// Define gifts and upload the codes of partner services.
    GiftsManage = 40, "gifts:manage";
    /// Take members' points, tiers and coupons over from an earlier programme.
    Takeover = 41, "takeover";
}

/// A name that no scope has.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no such scope; there are {}", Scopes::ALL)]
pub struct UnknownScope;

impl FromStr for Scope {
    type Err = UnknownScope;

    fn from_str(name: &str) -> Result<Self, UnknownScope> {
        Self::ALL.iter().copied().find(|scope| scope.name() == name).ok_or(UnknownScope)
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl Serialize for Scope {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(self.name())
    }
}

impl<'de> Deserialize<'de> for Scope {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let name = std::borrow::Cow::<'de, str>::deserialize(from)?;
        name.parse().map_err(serde::de::Error::custom)
    }
}

/// A set of scopes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Encode, Decode)]
#[cbor(transparent)]
pub struct Scopes(#[n(0)] u64);

impl Scopes {
    /// Every scope there is.
    pub const ALL: Self = {
        let (mut bits, mut at) = (0_u64, 0);
        while at < Scope::ALL.len() {
            bits |= 1 << Scope::ALL[at] as u64;
            at += 1;
        }
        Self(bits)
    };

    /// Whether the set has this scope.
    pub const fn contains(self, scope: Scope) -> bool {
        self.0 & (1 << scope as u64) != 0
    }

    /// Whether the set has every scope of the other.
    pub const fn covers(self, other: Self) -> bool {
        other.0 & !self.0 == 0
    }

    /// The scopes, in their order.
    pub fn iter(self) -> impl Iterator<Item = Scope> {
        Scope::ALL.iter().copied().filter(move |scope| self.contains(*scope))
    }
}

impl FromIterator<Scope> for Scopes {
    fn from_iter<I: IntoIterator<Item = Scope>>(scopes: I) -> Self {
        Self(scopes.into_iter().fold(0, |bits, scope| bits | 1 << scope as u64))
    }
}

impl fmt::Display for Scopes {
    /// Names with a space between.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, scope) in self.iter().enumerate() {
            write!(f, "{}{scope}", if at == 0 { "" } else { " " })?;
        }
        Ok(())
    }
}

/// An API client.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Partner {
    /// Its id.
    #[n(0)]
    pub id: PartnerId,
    /// Shown to operators.
    #[n(1)]
    pub name: String,
    /// When it was made.
    #[cbor(n(2), with = "cbor::instant")]
    pub created_at: Timestamp,
}

/// An API key, without its secret.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct ApiKey {
    /// Public; names the key in lists and records.
    #[n(0)]
    pub id: KeyId,
    /// Whose.
    #[n(1)]
    pub partner: PartnerId,
    /// Shown to operators.
    #[n(2)]
    pub name: String,
    /// What it may do.
    #[n(3)]
    pub scopes: Scopes,
    /// Whether it sees what other partners made.
    #[n(4)]
    pub sees_all: bool,
    /// When it was made.
    #[cbor(n(5), with = "cbor::instant")]
    pub created_at: Timestamp,
    /// Since when it opens nothing.
    #[cbor(n(6), with = "cbor::maybe_instant")]
    pub revoked_at: Option<Timestamp>,
}

/// The SHA-256 of a key's secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Encode, Decode)]
#[cbor(transparent)]
pub struct KeyHash(#[cbor(n(0), with = "minicbor::bytes")] [u8; 32]);

impl KeyHash {
    /// The hash of a secret as it stands in a request.
    pub fn of(secret: &str) -> Self {
        Self(Sha256::digest(secret.as_bytes()).into())
    }
}

impl Key for KeyHash {
    fn encode(&self, to: &mut Vec<u8>) {
        Key::encode(&self.0, to);
    }

    fn decode(from: &mut &[u8]) -> Option<Self> {
        Key::decode(from).map(Self)
    }
}

/// A key's secret: to be handed to its owner, once.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    fn new(bits: &[u8; 32]) -> Self {
        use fmt::Write as _;
        let mut text = String::with_capacity(67);
        text.push_str("gk_");
        for byte in bits {
            write!(text, "{byte:02x}").expect("a string takes what is written");
        }
        Self(text)
    }

    /// The secret itself.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    /// Never what it holds.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// The key to make.
#[derive(Clone, Debug)]
pub struct CreateKey {
    /// Whose.
    pub partner: PartnerId,
    /// Shown to operators.
    pub name: String,
    /// What it may do; at least one scope.
    pub scopes: Vec<Scope>,
    /// Whether it sees what other partners made.
    pub sees_all: bool,
}

/// Keys that authentication has seen. Holds no key that was revoked through the services it belongs to.
#[derive(Debug, Default)]
pub struct KeyCache(RwLock<Remembered>);

#[derive(Debug, Default)]
struct Remembered {
    keys: HashMap<KeyHash, (Caller, Scopes)>,
    /// Moves whenever something is forgotten: what was read before that is not remembered after it.
    generation: u64,
}

impl KeyCache {
    /// The key, or else the generation in which it was missed.
    fn find(&self, hash: &KeyHash) -> Result<(Caller, Scopes), u64> {
        let remembered = self.0.read().unwrap_or_else(PoisonError::into_inner);
        remembered.keys.get(hash).copied().ok_or(remembered.generation)
    }

    fn remember(&self, generation: u64, hash: KeyHash, key: (Caller, Scopes)) {
        let mut remembered = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if remembered.generation != generation {
            return;
        }
        if remembered.keys.len() >= REMEMBERED_MAX {
            remembered.keys.clear();
        }
        remembered.keys.insert(hash, key);
    }

    fn forget(&self, hash: &KeyHash) {
        let mut remembered = self.0.write().unwrap_or_else(PoisonError::into_inner);
        remembered.keys.remove(hash);
        remembered.generation += 1;
    }
}

/// The partner that operator keys belong to.
fn operator() -> PartnerId {
    PartnerId::from_bits(1)
}

impl Services {
    /// Makes a partner.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] for a bad name.
    pub async fn create_partner(&self, name: &str) -> Result<Partner, Error> {
        let mut checks = Checks::default();
        checks.text("/name", name, NAME_CHARS_MAX);
        checks.finish()?;
        let created_at = self.clock.now();
        let partner = Partner { id: self.ids.ordered(created_at), name: name.to_owned(), created_at };
        let run = self.store.run(created_at, move |tx| {
            tx.put(&PARTNERS, &partner.id, &partner)?;
            Ok(partner.clone())
        });
        run.await
    }

    /// One partner.
    ///
    /// # Errors
    ///
    /// [`Error::Unknown`].
    pub async fn partner(&self, id: PartnerId) -> Result<Partner, Error> {
        self.store.read(move |tx| known_partner(tx, id)).await
    }

    /// All partners, oldest first.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] for a bad page.
    pub async fn list_partners(&self, page: PageRequest) -> Result<Page<Partner>, Error> {
        let read = self.store.read(move |tx| {
            let rows = tx.scan(&PARTNERS, &page.scan(Scan::all())?)?;
            Ok(page.page(rows)?.map(|(_, partner)| partner))
        });
        read.await
    }

    /// Makes a key. Its secret is in the answer and nowhere else.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] for a bad name or no scope, [`Error::Unknown`] for the partner.
    pub async fn create_key(&self, new: CreateKey) -> Result<(ApiKey, Secret), Error> {
        let mut checks = Checks::default();
        checks.text("/name", &new.name, NAME_CHARS_MAX);
        checks.require(!new.scopes.is_empty(), "/scopes", format!("must name one or more of {}", Scopes::ALL));
        let distinct: BTreeSet<Scope> = new.scopes.iter().copied().collect();
        checks.require(distinct.len() == new.scopes.len(), "/scopes", "names a scope twice");
        checks.finish()?;
        let (created_at, secret) = (self.clock.now(), Secret::new(&self.ids.bytes()));
        let key = ApiKey {
            id: self.ids.ordered(created_at),
            partner: new.partner,
            name: new.name,
            scopes: new.scopes.into_iter().collect(),
            sees_all: new.sees_all,
            created_at,
            revoked_at: None,
        };
        let hash = KeyHash::of(secret.expose());
        let run = self.store.run(created_at, move |tx| {
            known_partner(tx, key.partner)?;
            put_key(tx, hash, &key)?;
            Ok::<_, Error>(key.clone())
        });
        Ok((run.await?, secret))
    }

    /// Makes the secret open everything: the operator's own key, given at start. The same secret again changes nothing;
    /// a key that was revoked stays so, which the answer tells.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] if the secret is too short to be one.
    pub async fn seed_operator_key(&self, secret: &str) -> Result<ApiKey, Error> {
        let fits = OWN_SECRET_BYTES.contains(&secret.len()) && secret.bytes().all(|byte| byte.is_ascii_graphic());
        if !fits {
            let (least, most) = OWN_SECRET_BYTES.into_inner();
            return Err(Error::field("/operator_key", format!("must be {least} to {most} visible ASCII characters")));
        }
        let created_at = self.clock.now();
        let (hash, id) = (KeyHash::of(secret), self.ids.ordered(created_at));
        let run = self.store.run(created_at, move |tx| {
            if let Some(key) = tx.get(&KEYS, &hash)? {
                return Ok(key);
            }
            if tx.get(&PARTNERS, &operator())?.is_none() {
                tx.put(&PARTNERS, &operator(), &Partner { id: operator(), name: "operator".to_owned(), created_at })?;
            }
            let key = ApiKey {
                id,
                partner: operator(),
                name: "operator".to_owned(),
                scopes: Scopes::ALL,
                sees_all: true,
                created_at,
                revoked_at: None,
            };
            put_key(tx, hash, &key)?;
            Ok(key)
        });
        run.await
    }

    /// Who calls with this secret, and what they may do; `None` if it opens nothing.
    ///
    /// # Errors
    ///
    /// Those of the store.
    pub async fn authenticate(&self, secret: &str) -> Result<Option<(Caller, Scopes)>, Error> {
        let hash = KeyHash::of(secret);
        let generation = match self.keys.find(&hash) {
            Ok(known) => return Ok(Some(known)),
            Err(generation) => generation,
        };
        let key: Result<_, StoreError> = self.store.read(move |tx| tx.get(&KEYS, &hash)).await;
        let Some(key) = key?.filter(|key| key.revoked_at.is_none()) else { return Ok(None) };
        let known = (Caller { key: key.id, partner: key.partner, sees_all: key.sees_all }, key.scopes);
        self.keys.remember(generation, hash, known);
        Ok(Some(known))
    }

    /// All keys, oldest first, revoked ones too.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] for a bad page.
    pub async fn list_keys(&self, page: PageRequest) -> Result<Page<ApiKey>, Error> {
        let read = self.store.read(move |tx| {
            let rows = page.page(tx.scan(&KEYS_BY_ID, &page.scan(Scan::all())?)?)?;
            let hashes: Vec<KeyHash> = rows.rows.iter().map(|(_, hash)| *hash).collect();
            let keys = tx.get_many(&KEYS, &hashes)?;
            Ok(Page { rows: keys.into_iter().flatten().collect(), next: rows.next })
        });
        read.await
    }

    /// Makes a key open nothing from now on. A key that was revoked before stays as it is.
    ///
    /// # Errors
    ///
    /// [`Error::Unknown`].
    pub async fn revoke_key(&self, id: KeyId) -> Result<ApiKey, Error> {
        let services = self.clone();
        to_the_end(async move { services.revoke(id).await }).await
    }

    async fn revoke(&self, id: KeyId) -> Result<ApiKey, Error> {
        let now = self.clock.now();
        let run = self.store.run(now, move |tx| {
            let unknown = || Error::unknown("API key", id);
            let hash = tx.get(&KEYS_BY_ID, &id)?.ok_or_else(unknown)?;
            let mut key = tx.get(&KEYS, &hash)?.ok_or_else(unknown)?;
            if key.revoked_at.is_none() {
                key.revoked_at = Some(now);
                tx.put(&KEYS, &hash, &key)?;
            }
            Ok::<_, Error>((hash, key))
        });
        let (hash, key) = run.await?;
        self.keys.forget(&hash);
        Ok(key)
    }
}

fn known_partner(tx: &mut Tx<'_>, id: PartnerId) -> Result<Partner, Error> {
    tx.get(&PARTNERS, &id)?.ok_or_else(|| Error::unknown("partner", id))
}

fn put_key(tx: &mut Tx<'_>, hash: KeyHash, key: &ApiKey) -> Result<(), StoreError> {
    tx.put(&KEYS, &hash, key)?;
    tx.put(&KEYS_BY_ID, &key.id, &hash)
}

#[cfg(test)]
mod tests;
