//! The wires to models. Knows nothing of tools, tasks or files: a [`quire_core::Prompt`] goes, a [`quire_core::Reply`] comes.
