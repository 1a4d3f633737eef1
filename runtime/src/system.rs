//! Holm's own entity types: what Holm itself has to remember is kept as everything else is. They come with every host and are hidden from a program's lists.

use crate::bus::group::Group;
use crate::bus::topic::TopicLog;
use crate::cluster_facts::ClusterFacts;
use crate::failures::FailureLog;
use crate::outbox::Progress;
use crate::policy::PolicyLog;
use crate::registry::Registry;

impl Registry {
    /// The registry of a host: a program's types, and Holm's own. Who reads logs needs it too, to read what Holm itself remembers.
    #[must_use]
    pub fn with_system_types(self) -> Self {
        if self.has_system_types() {
            return self;
        }
        let own = self.system::<Group>().system::<TopicLog>().system::<FailureLog>();
        own.system::<Progress>().system::<ClusterFacts>().system::<PolicyLog>()
    }
}
