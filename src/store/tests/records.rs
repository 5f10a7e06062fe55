//! Records come back, by kind, over a reopening.

use super::support::*;
use crate::store::MAX_RECORD;
use crate::store::simdisk::SimDisk;
use smol::block_on;

#[test]
fn records_come_back_by_kind() {
    block_on(async {
        let disk = SimDisk::default();
        let store = open(&disk).unwrap();
        for (kind, key) in [
            ("route", "b"),
            ("route", "a"),
            ("routes", "x"),
            ("rout", "y"),
        ] {
            store.put_record(kind, key, key.into()).await.unwrap();
        }
        store
            .put_record("route", "a", b"again".to_vec())
            .await
            .unwrap();
        let long = vec![0; MAX_RECORD + 1];
        assert!(store.put_record("route", "long", long).await.is_err());
        assert_eq!(store.remove_record("route", "none").await, Ok(false));
        store.close().await;
        drop(store);
        let store = open(&disk).unwrap();
        let routes = store.look(|it| it.records("route")).unwrap();
        let expected = vec![("a".into(), b"again".to_vec()), ("b".into(), b"b".to_vec())];
        assert_eq!(routes, expected);
        assert_eq!(store.remove_record("route", "b").await, Ok(true));
        assert_eq!(store.look(|it| it.record("route", "b")), Ok(None));
        let other = store.look(|it| it.record("rout", "y"));
        assert_eq!(other, Ok(Some(b"y".to_vec())));
    });
}
