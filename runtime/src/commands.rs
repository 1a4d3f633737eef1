//! The list of commands that an entity answers, and the one place where a command's type is erased.

use std::fmt;
use std::marker::PhantomData;

use crate::entity::{Command, Entity, Handle, Read};
use crate::registry::{ErasedCommand, HandleCommand, ReadCommand};

/// Collects the commands of one entity type. See [`Entity::commands`].
pub struct Commands<E: Entity> {
    pub(crate) list: Vec<Box<dyn ErasedCommand>>,
    entity: PhantomData<fn(E)>,
}

impl<E: Entity> Commands<E> {
    pub(crate) fn of_entity() -> Self {
        let mut commands = Self { list: Vec::new(), entity: PhantomData };
        E::commands(&mut commands);
        commands
    }

    /// Adds a command that may change the entity.
    pub fn handle<C: Command>(&mut self) -> &mut Self
    where
        E: Handle<C>,
    {
        self.list.push(Box::new(HandleCommand::<E, C>::new()));
        self
    }

    /// Adds a read-only command.
    pub fn read<C: Command>(&mut self) -> &mut Self
    where
        E: Read<C>,
    {
        self.list.push(Box::new(ReadCommand::<E, C>::new()));
        self
    }
}

impl<E: Entity> fmt::Debug for Commands<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.list.iter().map(|command| command.name())).finish()
    }
}
