use tempfile::TempDir;

use super::{KeyClass::*, *};

const KEK: [u8; 32] = [9; 32];

fn member(bits: u128) -> MemberId {
    MemberId::from_bits(bits)
}

fn with_members(count: u8) -> (TempDir, Vault) {
    let dir = TempDir::new().unwrap();
    let vault = Vault::unlock(dir.path(), KEK).unwrap();
    for bits in 1..=count {
        vault.create(member(bits.into()), [[bits; 32], [bits + 100; 32]], [[bits; 24], [bits + 100; 24]]).unwrap();
    }
    (dir, vault)
}

fn seal(vault: &Vault, bits: u128, class: KeyClass) -> Vec<u8> {
    vault.seal(member(bits), class, b"profiles", b"a name", [5; 24]).unwrap()
}

fn opened(vault: &Vault, bits: u128, class: KeyClass, sealed: &[u8]) -> Result<Vec<u8>, VaultError> {
    vault.open(member(bits), class, b"profiles", sealed)
}

fn keys(dir: &TempDir) -> PathBuf {
    dir.path().join("vault/keys")
}

#[test]
fn what_is_sealed_opens_also_after_a_restart() {
    let (dir, vault) = with_members(3);
    let sealed = [Profile, Statutory].map(|class| seal(&vault, 2, class));
    assert_ne!(sealed[0], sealed[1], "two keys");
    assert!(!sealed[0].windows(6).any(|bytes| bytes == b"a name"));
    assert_eq!(opened(&vault, 2, Profile, &sealed[0]).unwrap(), b"a name", "before it is on disk");
    vault.sync().unwrap();
    assert_eq!(opened(&vault, 2, Profile, &sealed[0]).unwrap(), b"a name");
    drop(vault);
    let vault = Vault::unlock(dir.path(), KEK).unwrap();
    assert_eq!(opened(&vault, 2, Statutory, &sealed[1]).unwrap(), b"a name");
    vault.create(member(9), [[1; 32]; 2], [[2; 24]; 2]).unwrap();
    assert!(matches!(vault.create(member(3), [[1; 32]; 2], [[2; 24]; 2]), Err(VaultError::Exists)));
    assert!(matches!(opened(&vault, 8, Profile, &sealed[0]), Err(VaultError::Unknown)));
}

#[test]
fn what_was_not_synced_is_not_there_after_a_restart() {
    let (dir, vault) = with_members(1);
    drop(vault);
    assert_eq!(fs::metadata(keys(&dir)).unwrap().len(), SLOT_BYTES as u64);
    let vault = Vault::unlock(dir.path(), KEK).unwrap();
    assert!(matches!(vault.destroy(member(1), Profile, Timestamp::UNIX_EPOCH), Err(VaultError::Unknown)));
}

#[test]
fn a_destroyed_key_is_gone_from_the_file_and_for_ever() {
    for synced_before in [false, true] {
        let (dir, vault) = with_members(2);
        let sealed = [Profile, Statutory].map(|class| seal(&vault, 1, class));
        if synced_before {
            vault.sync().unwrap();
        }
        vault.destroy(member(1), Profile, Timestamp::UNIX_EPOCH).unwrap();
        vault.destroy(member(1), Profile, Timestamp::UNIX_EPOCH).unwrap();
        assert!(matches!(opened(&vault, 1, Profile, &sealed[0]), Err(VaultError::Erased)));
        assert_eq!(opened(&vault, 1, Statutory, &sealed[1]).unwrap(), b"a name");
        let file = fs::read(keys(&dir)).unwrap();
        assert_eq!(file[SLOT_BYTES + 24..2 * SLOT_BYTES], [0; 72], "neither key nor nonce is left");
        drop(vault);
        let vault = Vault::unlock(dir.path(), KEK).unwrap();
        assert!(matches!(opened(&vault, 1, Profile, &sealed[0]), Err(VaultError::Erased)));
        assert!(matches!(vault.seal(member(1), Profile, b"", b"x", [0; 24]), Err(VaultError::Erased)));
        assert_eq!(opened(&vault, 1, Statutory, &sealed[1]).unwrap(), b"a name");
        assert!(matches!(vault.create(member(1), [[1; 32]; 2], [[2; 24]; 2]), Err(VaultError::Exists)));
    }
}

#[test]
fn sealed_bytes_open_only_whole_and_in_their_place() {
    let (_dir, vault) = with_members(2);
    let sealed = seal(&vault, 1, Profile);
    for at in 0..sealed.len() {
        let mut damaged = sealed.clone();
        damaged[at] ^= 1;
        assert!(matches!(opened(&vault, 1, Profile, &damaged), Err(VaultError::Tampered)), "byte {at}");
        assert!(matches!(opened(&vault, 1, Profile, &sealed[..at]), Err(VaultError::Tampered)), "cut at {at}");
    }
    assert!(matches!(opened(&vault, 2, Profile, &sealed), Err(VaultError::Tampered)));
    assert!(matches!(opened(&vault, 1, Statutory, &sealed), Err(VaultError::Tampered)));
    let elsewhere = vault.open(member(1), Profile, b"other rows", &sealed);
    assert!(matches!(elsewhere, Err(VaultError::Tampered)));
}

#[test]
fn slots_cannot_be_changed_or_swapped() {
    let (dir, vault) = with_members(2);
    let sealed = seal(&vault, 1, Profile);
    vault.sync().unwrap();
    drop(vault);
    let original = fs::read(keys(&dir)).unwrap();
    let open_changed = |change: &dyn Fn(&mut [u8])| {
        let mut content = original.clone();
        change(&mut content);
        fs::write(keys(&dir), content).unwrap();
        opened(&Vault::unlock(dir.path(), KEK).unwrap(), 1, Profile, &sealed)
    };
    assert_eq!(open_changed(&|_| {}).unwrap(), b"a name");
    let flip: &dyn Fn(&mut [u8]) = &|content| content[SLOT_BYTES + 60] ^= 1;
    assert!(matches!(open_changed(flip), Err(VaultError::Tampered)));
    let replace: &dyn Fn(&mut [u8]) = &|content| {
        // The key of the other member, under the name of this one.
        content.copy_within(3 * SLOT_BYTES + 24..4 * SLOT_BYTES, SLOT_BYTES + 24);
    };
    assert!(matches!(open_changed(replace), Err(VaultError::Tampered)));
    let swap: &dyn Fn(&mut [u8]) = &|content| {
        let (first, second) = content.split_at_mut(2 * SLOT_BYTES);
        first[SLOT_BYTES..].swap_with_slice(&mut second[..SLOT_BYTES]);
    };
    assert!(matches!(open_changed(swap), Err(VaultError::Tampered)));
}

#[test]
fn a_torn_end_is_overwritten() {
    let (dir, vault) = with_members(1);
    let sealed = seal(&vault, 1, Profile);
    vault.sync().unwrap();
    drop(vault);
    for torn in [vec![1; 40], vec![0; SLOT_BYTES], vec![0; SLOT_BYTES + 7]] {
        let whole = fs::read(keys(&dir)).unwrap();
        fs::write(keys(&dir), [whole, torn].concat()).unwrap();
        let vault = Vault::unlock(dir.path(), KEK).unwrap();
        assert_eq!(opened(&vault, 1, Profile, &sealed).unwrap(), b"a name");
        let next = member(fs::metadata(keys(&dir)).unwrap().len().into());
        vault.create(next, [[1; 32]; 2], [[2; 24]; 2]).unwrap();
        vault.sync().unwrap();
        let later = vault.seal(next, Statutory, b"", b"later", [3; 24]).unwrap();
        drop(vault);
        let vault = Vault::unlock(dir.path(), KEK).unwrap();
        assert_eq!(vault.open(next, Statutory, b"", &later).unwrap(), b"later");
    }
}

#[test]
fn a_creation_cut_short_is_done_again_and_other_files_are_refused() {
    for (content, opens) in [
        (vec![], true),
        (vec![0; SLOT_BYTES], true),
        (MAGIC.to_vec(), true),
        (vec![7; 5], false),
        (vec![7; 500], false),
    ] {
        let dir = TempDir::new().unwrap();
        fs::create_dir(dir.path().join("vault")).unwrap();
        fs::write(keys(&dir), content).unwrap();
        match Vault::unlock(dir.path(), KEK) {
            Ok(_) => assert!(opens),
            Err(error) => assert!(!opens && matches!(error, VaultError::NotAVault { .. }), "{error}"),
        }
    }
}

#[test]
fn another_key_encryption_key_is_noticed_at_once() {
    let (dir, vault) = with_members(1);
    assert!(matches!(Vault::unlock(dir.path(), KEK), Err(VaultError::Locked { .. })));
    drop(vault);
    assert!(matches!(Vault::unlock(dir.path(), [8; 32]), Err(VaultError::WrongKey { .. })));
    assert!(Vault::unlock(dir.path(), KEK).is_ok());
}
