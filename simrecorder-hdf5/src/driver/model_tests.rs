//! Random sequences of operations, with concurrent readers.

use proptest::prelude::*;

use super::session_tests::{Op, Session};

fn op() -> impl Strategy<Value = Op> {
    let note = || prop::collection::vec(any::<u8>(), 0..40);
    prop_oneof![
        6 => (any::<usize>(), 1_usize..3000, any::<u8>())
            .prop_map(|(at, length, value)| Op::Overwrite { at, length, value }),
        4 => (1_usize..4000, any::<u8>()).prop_map(|(length, value)| Op::Grow { length, value }),
        1 => (1_usize..5000).prop_map(|length| Op::Shrink { length }),
        5 => note().prop_map(|note| Op::Commit { note }),
        2 => note().prop_map(|note| Op::Checkpoint { note }),
        1 => Just(Op::Abandon),
        1 => Just(Op::Reopen),
        1 => Just(Op::Close),
        3 => Just(Op::Read),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn any_sequence_of_operations_matches_a_buffer(
        ops in prop::collection::vec(op(), 1..40)
    ) {
        let folder = tempfile::tempdir().unwrap();
        let mut session = Session::new(&folder.path().join("run.h5"));
        session.create().unwrap();
        for op in &ops {
            session.apply(op).unwrap();
            session.check();
        }
    }
}
