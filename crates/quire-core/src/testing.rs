//! What tests of the fold share.

use crate::charter::{Charter, Edits, Limits, Model, Purpose, Sandbox, Wire};

/// A charter of one folder and one model, without a bound of its own.
pub fn charter() -> Charter {
    let model = Model {
        provider: "p".into(),
        name: "m".into(),
        wire: Wire::Chat,
        base_url: String::new(),
        key_env: None,
        edits: Edits::EditAndWrite,
        images: false,
        context_tokens: None,
        output_tokens: None,
        price: None,
    };
    Charter {
        folders: vec!["/f".into()],
        model: Some(model),
        fallback_models: vec![],
        review_model: None,
        compact_model: None,
        checks: vec![],
        limits: Limits::default(),
        sandbox: Sandbox::default(),
        env: vec![],
        hooks: vec![],
        secrets: vec![],
        purpose: Purpose::Change,
        new_folder: false,
    }
}
