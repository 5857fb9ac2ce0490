//! What `wit-bindgen` makes of `wit/v0`: one world that exports every kind, so that all kinds share their types. Its imports
//! are linked into a plugin only where a channel calls them.
//!
//! Only the export macros of the kinds name this; see `build.rs` for why it is not one world per kind.

#![allow(
    missing_docs,
    unreachable_pub,
    clippy::allow_attributes_without_reason,
    reason = "generated; the documentation is in the WIT"
)]

wit_bindgen::generate!({
    inline: r"
        package galenic:sdk;
        world kinds {
            export galenic:plugin/types@0.1.0;
            export galenic:plugin/tier-rule@0.1.0;
            export galenic:plugin/earning-rule@0.1.0;
            export galenic:plugin/coupon-policy@0.1.0;
            export galenic:plugin/scorer@0.1.0;
            export galenic:plugin/content-guard@0.1.0;
            export galenic:plugin/channel@0.1.0;
            import galenic:plugin/outbound-http@0.1.0;
            import galenic:plugin/secrets@0.1.0;
            import galenic:plugin/outbound-mail@0.1.0;
        }
    ",
    path: "../../wit/v0",
    pub_export_macro: true,
    export_macro_name: "export_every_kind",
    runtime_path: "wit_bindgen::rt",
    additional_derives: [PartialEq, Eq],
    additional_derives_ignore: ["score"],
    generate_unused_types: true,
    generate_all,
});
