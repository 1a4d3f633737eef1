//! The policy: whenever something happens to an entity, other entities are sent commands, without the first knowing of it.
//!
//! A node that registers a policy takes part in carrying it out; nodes share the shards as the members of a durable subscription do. What a policy decides
//! about an event is stored together with how far the policy is, as reactions in an entity of Holm's own beside the event ([`record`]), and the outbox of
//! that shard delivers it. So an event leads to its commands once (promises G2 and G6), however often it is read and whoever dies in between.

mod carrier;
mod decide;
mod record;

use std::fmt;
use std::sync::Arc;

use holm_core::EntityAddress;

pub use self::carrier::Policies;
pub use self::decide::Then;
use self::decide::{Decide, Deciding};
pub(crate) use self::record::PolicyLog;
use crate::bus::group::Group;
use crate::bus::{Fact, Interest, Start};
use crate::entity::Entity;

/// What stands before a policy's name in the name of its subscription.
const SUBSCRIPTION: &str = "policy/";

/// Longest name of a policy in bytes. It leaves room in an id for the number of a shard and what makes it hash there.
const NAME_BYTES: usize = 128;

/// Whenever an event of one entity type happens, this follows.
///
/// ```
/// # use holm_runtime::{Command, Commands, Context, Effect, Entity, Event, Handle, NoRejection};
/// # use serde::{Deserialize, Serialize};
/// # #[derive(Default, Serialize, Deserialize)] struct Customer {}
/// # #[derive(Event, Serialize, Deserialize)] enum CustomerEvent { Registered { name: String }, Moved {} }
/// # impl Entity for Customer {
/// #     const TYPE: &'static str = "customer"; type Event = CustomerEvent; type Rejection = NoRejection;
/// #     fn apply(&mut self, _: &CustomerEvent) {}
/// #     fn commands(_: &mut Commands<Self>) {}
/// # }
/// # #[derive(Default, Serialize, Deserialize)] struct Mailbox {}
/// # #[derive(Event, Serialize, Deserialize)] enum MailEvent { Sent {} }
/// # #[derive(Command, Serialize, Deserialize)] struct Welcome { name: String }
/// # impl Entity for Mailbox {
/// #     const TYPE: &'static str = "mailbox"; type Event = MailEvent; type Rejection = NoRejection;
/// #     fn apply(&mut self, _: &MailEvent) {}
/// #     fn commands(commands: &mut Commands<Self>) { commands.handle::<Welcome>(); }
/// # }
/// # impl Handle<Welcome> for Mailbox {
/// #     fn handle(&self, _: Welcome, cx: &mut Context<'_, Self>) -> Result<Effect<Self, ()>, NoRejection> { Ok(cx.none().no_reply()) }
/// # }
/// use holm_runtime::Policy;
///
/// let welcome = Policy::whenever::<Customer>("welcome", |event, fact, then| match event {
///     CustomerEvent::Registered { name } => then.send::<Mailbox, _>(fact.address().id(), Welcome { name }),
///     CustomerEvent::Moved {} => then,
/// });
/// # drop(welcome);
/// ```
///
/// What it decides must follow from the event and the fact alone, and it must not block: it is run again after a crash. It runs beside the shards, never on them.
#[derive(Clone)]
pub struct Policy {
    name: Arc<str>,
    entity_type: &'static str,
    start: Start,
    decide: Arc<dyn Decide>,
}

impl Policy {
    /// What follows from events of entities of type `E`, decided by `decide`. The name is the policy's for ever: how far it is, is stored under it, so a policy
    /// that should do something else about events of the past is given another name.
    ///
    /// Begins with the first event that was ever stored; see [`Policy::from_now_on`].
    pub fn whenever<E: Entity>(
        name: &str,
        decide: impl Fn(E::Event, &Fact, Then) -> Then + Send + Sync + 'static,
    ) -> Self {
        let decide = Arc::new(Deciding::<E, _>::new(decide));
        Self { name: name.into(), entity_type: E::TYPE, start: Start::Beginning, decide }
    }

    /// Begins with what happens after the policy was first carried out. A node that stands alone has begun when it is started; in a cluster a policy begins when its
    /// first member reaches every shard, a moment after.
    #[must_use]
    pub fn from_now_on(mut self) -> Self {
        self.start = Start::Now;
        self
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The name of the durable subscription by which it reads: `policy/` and its name. `Bus::position_of` tells how far it is, the gauge
    /// `holm_subscription_lag_time_seconds` how long ago what it reads had happened.
    #[must_use]
    pub fn subscription(&self) -> String {
        format!("{SUBSCRIPTION}{}", self.name)
    }

    fn interest(&self) -> Interest {
        Interest::everything().entity_type(self.entity_type)
    }

    /// Says whether these policies can be carried out together.
    ///
    /// # Errors
    /// [`PolicyError`] names the one that cannot.
    pub fn check(policies: &[Self]) -> Result<(), PolicyError> {
        for (index, policy) in policies.iter().enumerate() {
            let name = || policy.name.to_string();
            let refused = |reason: String| PolicyError::Name { name: name(), reason };
            if policy.name.is_empty() || policy.name.len() > NAME_BYTES {
                return Err(refused(format!("it must have 1 to {NAME_BYTES} bytes")));
            }
            EntityAddress::new(Group::TYPE, policy.subscription())
                .map_err(|error| refused(error.to_string()))?;
            if policies[..index].iter().any(|other| other.name == policy.name) {
                return Err(PolicyError::Twice { name: name() });
            }
        }
        Ok(())
    }
}

impl fmt::Debug for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Policy")
            .field("name", &self.name)
            .field("entity_type", &self.entity_type)
            .field("start", &self.start)
            .finish_non_exhaustive()
    }
}

/// Why policies cannot be carried out.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PolicyError {
    /// The name is none.
    #[error("`{name}` is no name for a policy: {reason}")]
    Name {
        /// The name.
        name: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Two policies share a name.
    #[error("policy `{name}` is registered twice")]
    Twice {
        /// The name.
        name: String,
    },
}
