//! What stands behind a handle tells through this what is wanted, and what is known.

use super::{View, Wanted};
use tokio::sync::watch;
use tracing::info;

#[derive(Debug)]
pub(crate) struct Publisher {
    instance: String,
    wanted: watch::Sender<Wanted>,
    view: watch::Sender<View>,
}

impl Publisher {
    pub(super) fn new(instance: String) -> Self {
        Self {
            instance,
            wanted: watch::Sender::default(),
            view: watch::Sender::default(),
        }
    }

    pub(super) fn watch_wanted(&self) -> watch::Receiver<Wanted> {
        self.wanted.subscribe()
    }

    pub(super) fn watch_view(&self) -> watch::Receiver<View> {
        self.view.subscribe()
    }

    /// What the others call this instance.
    pub fn instance(&self) -> &str {
        &self.instance
    }

    /// The version of what is wanted.
    pub fn version(&self) -> u64 {
        self.wanted.borrow().version
    }

    /// As [`want`](Self::want), without a word in the log; what was wanted before.
    pub(super) fn set(&self, wanted: Wanted) -> Wanted {
        self.wanted.send_replace(wanted)
    }

    /// These streams should run here, and no others.
    pub fn want(&self, wanted: Wanted) {
        let now = wanted.streams.clone();
        let before = self.set(wanted).streams;
        let instance = self.instance();
        for stream in now.difference(&before) {
            info!(stream, instance, "the stream runs here from now on");
        }
        for stream in before.difference(&now) {
            info!(stream, instance, "the stream runs here no more");
        }
    }

    /// This is known; `unreachable` says why it cannot be known better now. Tells only of what is new.
    pub fn show(&self, view: View, unreachable: Option<&String>) {
        let unreachable = unreachable.cloned();
        let view = View {
            unreachable,
            ..view
        };
        self.view.send_if_modified(|shown| {
            let is_new = *shown != view;
            *shown = view;
            is_new
        });
    }
}
