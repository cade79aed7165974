//! The real router, and listeners that a test scripts.

use super::events::number_at;
use crate::change::event::Event;
use crate::change::position::ClusterTime;
use crate::route::{
    ListenerTag, Route, RouteError, Router, Target, TargetId, Targets, TopicId, TopicTable,
};
use std::sync::Arc;

/// Who wants an event: a bit for each target, the lowest for the configuration's own topics.
pub(in crate::stream) type Wanted = u8;

/// The bit of the configuration's own topics, and those of the first listeners.
pub(in crate::stream) const STATIC: Wanted = 1;
pub(in crate::stream) const LISTENERS: [Wanted; 3] = [2, 4, 8];

/// Gives the events to those who want them.
#[derive(Clone)]
pub(in crate::stream) struct ScriptedRouter {
    router: Router,
    listeners: Vec<Listener>,
    /// By the number of the event; beyond the end the configuration alone.
    pub(in crate::stream) wanted: Arc<[Wanted]>,
}

#[derive(Clone)]
struct Listener {
    topic: Result<TopicId, RouteError>,
    tag: Arc<ListenerTag>,
}

impl ScriptedRouter {
    /// With a listener for each of the topics, named `a`, `b`, ….
    pub(super) fn new(router: Router, topics: &[&str]) -> Self {
        let named = ('a'..).zip(topics);
        let listeners = named.map(|(name, topic)| Listener {
            topic: router.table().intern(topic, false),
            tag: Arc::new(ListenerTag {
                id: name.to_string(),
                job: format!("job {name}"),
                priority: (name == 'a').then(|| "high".to_owned()),
            }),
        });
        Self {
            listeners: listeners.collect(),
            router,
            wanted: Arc::default(),
        }
    }

    fn wanted(&self, event: &Event<'_>) -> Wanted {
        let time = event.token_data().and_then(ClusterTime::of_token);
        let number = time.map_or(0, number_at) as usize;
        self.wanted.get(number).copied().unwrap_or(STATIC)
    }
}

impl Route for ScriptedRouter {
    fn table(&self) -> &Arc<TopicTable> {
        self.router.table()
    }

    fn route(&mut self, event: &Event<'_>, by_configuration: bool) -> Targets {
        let wanted = self.wanted(event);
        let by_configuration = by_configuration && wanted & STATIC != 0;
        let mut targets = self.router.route(event, by_configuration);
        for (number, listener) in (0..).zip(&self.listeners) {
            if wanted & (2 << number) != 0 {
                targets.push(Target {
                    id: TargetId::of_listener(number).expect("there is room for a few"),
                    topic: listener.topic.clone().map_err(Box::new),
                    listener: Some(Arc::clone(&listener.tag)),
                });
            }
        }
        targets
    }

    fn dead_letter(&mut self, event: &Event<'_>) -> Result<Option<TopicId>, RouteError> {
        self.router.dead_letter(event)
    }
}
