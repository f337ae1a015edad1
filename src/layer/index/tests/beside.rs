//! Looking at a table while it grows.

use super::{answers, file, paths};
use crate::layer::entry::Kind;
use crate::layer::index::Growing;
use crate::layer::toc::Toc;

#[test]
fn a_reader_beside_the_adder_sees_whole_files() {
    let growing = std::sync::Arc::new(Growing::new());
    std::thread::scope(|scope| {
        let reader = growing.clone();
        scope.spawn(move || {
            while !reader.is_complete() {
                for (path, answer) in answers(&*reader, 7).expect("answers") {
                    assert!(answer.1.kind == Kind::Dir || answer.1.size == 5, "{path:?}");
                }
            }
        });
        for n in 0..3000 {
            growing.add(file(&format!("d{}/f{n}", n % 7), 5, &[(0, n * 512, 5)])).expect("add");
        }
        growing.complete().expect("complete");
    });
    assert_eq!(paths(&*growing).len(), 3007);
}
