//! Any selector is understood or refused; one that is understood reads back from how it is shown.
#![no_main]

use libfuzzer_sys::fuzz_target;
use panelsync::batch::selector::Selector;

fuzz_target!(|text: &str| {
    if let Ok(selector) = Selector::parse(text) {
        let shown = selector.to_string();
        let again = Selector::parse(&shown).expect("what is shown is understood");
        assert_eq!(again.to_string(), shown);
        let label = |key: &str| (key.len() % 2 == 0).then_some("north");
        assert_eq!(selector.matches(label), again.matches(label));
    }
});
