//! Code generated from `wit/v1`, one module per world over shared types.

pub mod guardrail {
    //! World `guardrail`.
    wit_bindgen::generate!({
        path: "wit/v1",
        world: "guardrail",
        pub_export_macro: true,
        export_macro_name: "export_world",
        generate_all,
        generate_unused_types: true,
        additional_derives: [PartialEq],
    });
}

pub use guardrail::selfheal::policy::{host, types};

pub mod risk {
    //! World `risk`.
    wit_bindgen::generate!({
        path: "wit/v1",
        world: "risk",
        pub_export_macro: true,
        export_macro_name: "export_world",
        with: {
            "selfheal:policy/types@1.0.0": crate::bindings::types,
            "selfheal:policy/host@1.0.0": crate::bindings::host,
        },
    });
}

pub mod autonomy {
    //! World `autonomy`.
    wit_bindgen::generate!({
        path: "wit/v1",
        world: "autonomy",
        pub_export_macro: true,
        export_macro_name: "export_world",
        with: {
            "selfheal:policy/types@1.0.0": crate::bindings::types,
            "selfheal:policy/host@1.0.0": crate::bindings::host,
        },
    });
}
