//! Our keys in a view: whose it is, how far it is, and what was left out.

use holm_core::{Offset, ShardId, Timestamp};
use holm_persistence::{decode, encode};
use holm_runtime::bus::Position;
use serde::{Deserialize, Serialize};

use super::SledView;
use super::overlay::{RowError, SledTransaction};
use crate::projection::HandlerError;
use crate::view::{Change, Identity, SET_ASIDE, SetAside, Stored, ViewError, Work, WriteError};

const OWNER: &[u8] = b"owner";
/// Before the shard.
const PLACE: &[u8] = b"place/";
/// Before shard and offset.
const ASIDE: &[u8] = b"aside/";
/// How many were set aside, so that they need not be counted.
const ASIDES: &[u8] = b"asides";

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Owner {
    name: String,
    version: u32,
    paused: bool,
}

#[derive(Serialize, Deserialize)]
struct Aside {
    events: String,
    entity: String,
    reason: String,
    at: Timestamp,
    parked: bool,
}

/// Says whose it is, and what is stored.
pub(super) fn adopt(
    tx: &mut SledTransaction<'_>,
    projection: Identity,
    prepare: Work<'_, SledView>,
) -> Result<Stored, WriteError> {
    let Owner { version, paused, .. } = match owner(tx)? {
        Some(owner) if owner.name == projection.name => owner,
        Some(Owner { name: holds, .. }) => {
            return Err(ViewError::OfAnother { holds, wanted: projection.name }.into());
        }
        None => {
            let Identity { name, version } = projection;
            let owner = Owner { name: name.to_owned(), version, paused: false };
            put_owner(tx, &owner)?;
            owner
        }
    };
    if version == projection.version {
        foreign(tx, prepare)?;
    }
    let places = tx.scan_ours(PLACE, usize::MAX).map_err(ViewError::from)?;
    let places = places.iter().map(|(key, value)| read_place(key, value));
    let position = places.collect::<Option<_>>().map(Position);
    let position = position.ok_or(RowError::Damaged { what: "a position" });
    Ok(Stored { version, paused, position: position.map_err(ViewError::from)? })
}

/// Does the work and the change.
pub(super) fn write(
    tx: &mut SledTransaction<'_>,
    change: &Change,
    work: Work<'_, SledView>,
) -> Result<(), WriteError> {
    for (shard, expected, _) in &change.moves {
        let found = tx.ours(&place(*shard)).map_err(ViewError::from)?;
        let found = Offset(found.and_then(|bytes| eight(&bytes)).unwrap_or_default());
        if found != *expected {
            return Err(WriteError::Fenced { shard: *shard, expected: *expected, found });
        }
    }
    foreign(tx, work)?;
    put_aside(tx, change)?;
    for (shard, _, to) in &change.moves {
        let to = Some(to.0.to_be_bytes().to_vec());
        tx.put_ours(&place(*shard), to).map_err(ViewError::from)?;
    }
    Ok(())
}

pub(super) fn set_paused(tx: &mut SledTransaction<'_>, paused: bool) -> Result<(), ViewError> {
    match owner(tx)? {
        Some(owner) => put_owner(tx, &Owner { paused, ..owner }),
        None => Ok(()),
    }
}

pub(super) fn set_aside(tx: &SledTransaction<'_>) -> Result<Vec<SetAside>, ViewError> {
    let rows = tx.scan_ours(ASIDE, usize::MAX)?;
    let rows = rows.iter().map(|(key, value)| read_aside(key, value));
    let rows = rows.collect::<Option<_>>();
    rows.ok_or_else(|| RowError::Damaged { what: "what was set aside" }.into())
}

/// The place that a row of ours keeps.
fn read_place(key: &[u8], value: &[u8]) -> Option<(ShardId, Offset)> {
    let shard = four(key.strip_prefix(PLACE)?)?;
    Some((ShardId(shard), Offset(eight(value)?)))
}

/// The record that a row of ours says was set aside.
fn read_aside(key: &[u8], value: &[u8]) -> Option<SetAside> {
    let (shard, offset) = key.strip_prefix(ASIDE)?.split_at_checked(4)?;
    let Aside { events, entity, reason, at, parked } = decode(value).ok()?;
    let (shard, offset) = (ShardId(four(shard)?), Offset(eight(offset)?));
    Some(SetAside { shard, offset, events, entity, reason, at, parked })
}

/// Runs what is not ours. A failure of the disk is none of the handler's, whatever row met it.
fn foreign(tx: &mut SledTransaction<'_>, work: Work<'_, SledView>) -> Result<(), WriteError> {
    work(tx).map_err(|error| match store_trouble(&error) {
        Some(trouble) => WriteError::View(trouble),
        None => WriteError::Handler(error),
    })
}

fn store_trouble(error: &HandlerError) -> Option<ViewError> {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(&**error);
    while let Some(error) = cause {
        if let Some(RowError::Store(sled::Error::Io(error))) = error.downcast_ref() {
            return Some(ViewError::Passing { reason: error.to_string() });
        }
        cause = error.source();
    }
    None
}

fn put_aside(tx: &mut SledTransaction<'_>, change: &Change) -> Result<(), ViewError> {
    let counted = tx.ours(ASIDES)?.and_then(|bytes| eight(&bytes)).unwrap_or_default();
    let mut asides = counted;
    if let Some((shard, offset)) = change.taken_up {
        let key = aside(shard, offset);
        let there: Option<Aside> = tx.ours(&key)?.and_then(|bytes| decode(&bytes).ok());
        if !there.is_some_and(|there| there.parked) {
            let reason = format!("offset {offset} of shard {shard} is not parked");
            return Err(ViewError::Broken { reason });
        }
        tx.put_ours(&key, None)?;
        asides = asides.saturating_sub(1);
    }
    for record in &change.set_aside {
        let SetAside { shard, offset, events, entity, reason, at, parked } = record.clone();
        let stored = encode(&Aside { events, entity, reason, at, parked });
        let stored = stored.map_err(|error| ViewError::Broken { reason: error.to_string() })?;
        tx.put_ours(&aside(shard, offset), Some(stored.to_vec()))?;
        asides += 1;
    }
    if asides > SET_ASIDE as u64 && !change.set_aside.is_empty() {
        return Err(ViewError::TooManySetAside { limit: SET_ASIDE });
    }
    if asides != counted {
        tx.put_ours(ASIDES, Some(asides.to_be_bytes().to_vec()))?;
    }
    Ok(())
}

fn owner(tx: &SledTransaction<'_>) -> Result<Option<Owner>, ViewError> {
    let Some(bytes) = tx.ours(OWNER)? else { return Ok(None) };
    let damaged = |_| ViewError::from(RowError::Damaged { what: "whose it is" });
    decode(&bytes).map(Some).map_err(damaged)
}

fn put_owner(tx: &mut SledTransaction<'_>, owner: &Owner) -> Result<(), ViewError> {
    let stored = encode(owner).map_err(|error| ViewError::Broken { reason: error.to_string() })?;
    Ok(tx.put_ours(OWNER, Some(stored.to_vec()))?)
}

fn place(shard: ShardId) -> Vec<u8> {
    [PLACE, &shard.0.to_be_bytes()].concat()
}

fn aside(shard: ShardId, offset: Offset) -> Vec<u8> {
    [ASIDE, &shard.0.to_be_bytes(), &offset.0.to_be_bytes()].concat()
}

fn four(bytes: &[u8]) -> Option<u32> {
    bytes.try_into().ok().map(u32::from_be_bytes)
}

fn eight(bytes: &[u8]) -> Option<u64> {
    bytes.try_into().ok().map(u64::from_be_bytes)
}

/// The doors of the fuzz target to the rows that are ours. Compiled for tests and for fuzzing only.
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing {
    use super::*;

    /// One of our rows: the first byte says which and how long its key is.
    pub fn view_rows(data: &[u8]) {
        let Some((&mode, rest)) = data.split_first() else { return };
        let Some((key, value)) = rest.split_at_checked(usize::from(mode >> 2)) else { return };
        match mode % 3 {
            0 => {
                if let Some((shard, offset)) = read_place(key, value) {
                    assert_eq!((place(shard), &offset.0.to_be_bytes()[..]), (key.to_vec(), value));
                }
            }
            1 => {
                if let Some(found) = read_aside(key, value) {
                    assert_eq!(aside(found.shard, found.offset), key);
                }
            }
            _ => {
                if let Ok(owner) = decode::<Owner>(rest) {
                    let again = encode(&owner).expect("what was read can be written");
                    assert_eq!(decode::<Owner>(&again).as_ref(), Ok(&owner));
                }
            }
        }
    }

    /// Seeds of [`view_rows`].
    #[must_use]
    pub fn view_rows_seeds() -> Vec<Vec<u8>> {
        let (shard, offset) = (ShardId(3), Offset(7));
        let owner = Owner { name: "balances".to_owned(), version: 2, paused: true };
        let [events, entity, reason] = ["1", "account/a", "no"].map(str::to_owned);
        let at = Timestamp::from_millis(1_700_000_000_000);
        let left = encode(&Aside { events, entity, reason, at, parked: true }).expect("a row");
        let row = |mode: u8, key: Vec<u8>, value: &[u8]| {
            // The length of the key stands above the two bits that, with it, give the kind.
            let length = u8::try_from(key.len()).expect("a short key") << 2;
            let mode = (0..4).map(|low| length | low).find(|whole| whole % 3 == mode);
            [&[mode.expect("three in four")][..], &key, value].concat()
        };
        vec![
            row(0, place(shard), &offset.0.to_be_bytes()),
            row(1, aside(shard, offset), &left),
            row(2, Vec::new(), &encode(&owner).expect("a row")),
        ]
    }

    #[test]
    fn seeds_and_their_beginnings_pass() {
        for seed in view_rows_seeds() {
            (0..=seed.len()).for_each(|end| view_rows(&seed[..end]));
        }
    }
}
