//! The live releases of the channel and guard slots as the ways out of the house.

use std::sync::Arc;

use futures::future::BoxFuture;

use crate::{
    domain::{guard::Draft, touch::Channel},
    plugin::Engine,
    reach::carrier::{Carrier, Outlets, Reviewed},
};

/// Asks the engine.
pub struct EngineOutlets {
    engine: Arc<Engine>,
}

impl EngineOutlets {
    /// Over this engine.
    pub fn new(engine: Arc<Engine>) -> Self {
        Self { engine }
    }
}

impl Outlets for EngineOutlets {
    fn carriers(&self, _channel: Channel) -> Vec<Arc<dyn Carrier>> {
        let _ = &self.engine;
        Vec::new()
    }

    fn carrier(&self, _slot: &str) -> Option<Arc<dyn Carrier>> {
        None
    }

    fn review(&self, _draft: Draft) -> BoxFuture<'_, Reviewed> {
        Box::pin(async { Reviewed::Unavailable("no guard is live".to_owned()) })
    }
}
