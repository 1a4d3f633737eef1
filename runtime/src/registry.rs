//! The registry: every entity type and command that a program knows, behind names instead of types.

mod erased;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod json;
mod nearest;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use hashbrown::HashMap;
use holm_core::{AskError, EntityAddress};
use serde::Serialize;

pub(crate) use self::erased::{
    EntityOf, ErasedCommand, ErasedEntity, Executed, Fault, HandleCommand, PayloadLimits,
    ReadCommand, Scratch, State, emptied, read_event,
};
use self::nearest::nearest;
use crate::commands::Commands;
use crate::entity::{Entity, Event};
use crate::supervision::Supervision;

/// What the names of Holm's own entity types begin with, and those of the commands that it writes into histories itself.
pub const SYSTEM_PREFIX: &str = "holm-";

/// Places looked at before a name is hashed, which takes as long as some dozens of them.
const PLACES_LOOKED_AT: usize = 24;

/// The entity types of a program. Cheap to clone.
///
/// ```
/// # use holm_runtime::Registry;
/// let registry = Registry::new();
/// assert!(registry.check().is_ok());
/// ```
#[derive(Clone, Default)]
pub struct Registry {
    kinds: Arc<Vec<Kind>>,
    problem: Option<RegistryError>,
}

/// One registered entity type.
#[derive(Clone)]
pub(crate) struct Kind {
    name: &'static str,
    events: &'static [&'static str],
    system: bool,
    pub(crate) supervision: Supervision,
    pub(crate) recovery_supervision: Supervision,
    pub(crate) entity: Arc<dyn ErasedEntity>,
    commands: Arc<[Box<dyn ErasedCommand>]>,
    names: Arc<[&'static str]>,
    by_name: Arc<HashMap<&'static str, u16>>,
}

impl Registry {
    /// A registry without any type.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds an entity type. A type that cannot be added is reported by [`Registry::check`], which every host calls when it starts.
    #[must_use]
    pub fn entity<E: Entity>(mut self) -> Self {
        if E::TYPE.starts_with(SYSTEM_PREFIX) {
            let problem = RegistryError::ReservedType { entity_type: E::TYPE };
            _ = self.problem.get_or_insert(problem);
            return self;
        }
        self.add::<E>(false)
    }

    /// Adds an entity type of Holm's own. It is not shown among a program's types.
    #[must_use]
    pub(crate) fn system<E: Entity>(self) -> Self {
        debug_assert!(E::TYPE.starts_with(SYSTEM_PREFIX), "the prefix keeps it apart");
        self.add::<E>(true)
    }

    /// Whether a type is one of Holm's own.
    pub(crate) fn is_system(&self, entity_type: &str) -> bool {
        self.kind(entity_type).is_ok_and(|kind| kind.system)
    }

    pub(crate) fn has_system_types(&self) -> bool {
        self.kinds.iter().any(|kind| kind.system)
    }

    fn add<E: Entity>(mut self, system: bool) -> Self {
        match Kind::of::<E>(system) {
            Err(problem) => _ = self.problem.get_or_insert(problem),
            Ok(kind) if self.kinds.iter().any(|known| known.name == kind.name) => {
                _ = self.problem.get_or_insert(RegistryError::TypeTwice { entity_type: E::TYPE });
            }
            Ok(kind) => Arc::make_mut(&mut self.kinds).push(kind),
        }
        self
    }

    /// Says whether every type could be registered.
    ///
    /// # Errors
    /// The first problem found.
    pub fn check(&self) -> Result<(), RegistryError> {
        self.problem.clone().map_or(Ok(()), Err)
    }

    /// The registered types, by name. Holm's own are left out.
    #[must_use]
    pub fn entity_types(&self) -> Vec<EntityTypeView> {
        let mut views: Vec<_> =
            self.kinds.iter().filter(|kind| !kind.system).map(Kind::view).collect();
        views.sort_by(|a, b| a.name.cmp(&b.name));
        views
    }

    /// Whether the command changes nothing by its type.
    ///
    /// # Errors
    /// [`AskError::UnknownEntityType`] or [`AskError::UnknownCommand`], naming what resembles the name most.
    pub fn is_read_only(&self, entity_type: &str, command: &str) -> Result<bool, AskError> {
        Ok(self.command(entity_type, command)?.reads())
    }

    pub(crate) fn kind_index(&self, entity_type: &str) -> Result<u16, AskError> {
        self.known_kind(entity_type).ok_or_else(|| self.unknown_type(entity_type))
    }

    /// The index of a type that is registered.
    #[inline]
    pub(crate) fn known_kind(&self, entity_type: &str) -> Option<u16> {
        let mut kinds = (0u16..).zip(self.kinds.iter());
        kinds.find(|(_, kind)| kind.name == entity_type).map(|(index, _)| index)
    }

    #[inline]
    pub(crate) fn kind_at(&self, index: u16) -> &Kind {
        &self.kinds[usize::from(index)]
    }

    pub(crate) fn kind(&self, entity_type: &str) -> Result<&Kind, AskError> {
        self.kind_index(entity_type).map(|index| self.kind_at(index))
    }

    fn command(&self, entity_type: &str, command: &str) -> Result<&dyn ErasedCommand, AskError> {
        self.kind(entity_type)?.command(command)
    }

    #[cold]
    fn unknown_type(&self, entity_type: &str) -> AskError {
        AskError::UnknownEntityType {
            entity_type: entity_type.into(),
            nearest: nearest(
                entity_type,
                self.kinds.iter().filter(|kind| !kind.system).map(|kind| kind.name),
            ),
        }
    }
}

impl Kind {
    fn of<E: Entity>(system: bool) -> Result<Self, RegistryError> {
        // The address checks the type name; the id is any valid one.
        EntityAddress::new(E::TYPE, "x")
            .map_err(|_| RegistryError::MalformedType { entity_type: E::TYPE })?;
        let commands = Commands::<E>::of_entity().list;
        let names = commands.iter().map(|command| command.name()).collect();
        let mut by_name = HashMap::new();
        for (command, index) in commands.iter().zip(0u16..) {
            if command.name().starts_with(SYSTEM_PREFIX) {
                let (entity_type, command) = (E::TYPE, command.name());
                return Err(RegistryError::ReservedCommand { entity_type, command });
            }
            if by_name.insert(command.name(), index).is_some() {
                return Err(RegistryError::CommandTwice {
                    entity_type: E::TYPE,
                    command: command.name(),
                });
            }
        }
        Ok(Self {
            name: E::TYPE,
            events: E::Event::NAMES,
            system,
            supervision: E::SUPERVISION,
            recovery_supervision: E::RECOVERY_SUPERVISION,
            entity: Arc::new(EntityOf::<E>::new()),
            commands: commands.into(),
            names,
            by_name: Arc::new(by_name),
        })
    }

    pub(crate) fn name(&self) -> &'static str {
        self.name
    }

    pub(crate) fn command(&self, name: &str) -> Result<&dyn ErasedCommand, AskError> {
        self.find(name).map(|(_, command)| command)
    }

    pub(crate) fn command_name(&self, index: u16) -> &'static str {
        self.commands[usize::from(index)].name()
    }

    /// A command and its index.
    #[inline]
    pub(crate) fn find(&self, name: &str) -> Result<(u16, &dyn ErasedCommand), AskError> {
        let index = match self.known_place(name).or_else(|| self.by_name.get(name).copied()) {
            Some(index) => index,
            None => return Err(self.unknown_command(name)),
        };
        Ok((index, &*self.commands[usize::from(index)]))
    }

    /// The index of a command whose name was not copied since it left the type that has it, which is so in every ask of this program: the same place in memory
    /// is the same name, and looking at places is cheaper than reading names.
    #[inline]
    fn known_place(&self, name: &str) -> Option<u16> {
        let mut names = (0u16..).zip(&self.names[..self.names.len().min(PLACES_LOOKED_AT)]);
        names.find(|(_, known)| std::ptr::eq::<str>(**known, name)).map(|(index, _)| index)
    }

    #[cold]
    fn unknown_command(&self, name: &str) -> AskError {
        AskError::UnknownCommand {
            entity_type: self.name.into(),
            command: name.into(),
            nearest: nearest(name, self.names.iter().copied()),
        }
    }

    fn view(&self) -> EntityTypeView {
        let outside = self.commands.iter().filter(|command| !command.internal());
        let commands = outside.map(|command| (command.name().to_owned(), command.reads()));
        EntityTypeView {
            name: self.name.to_owned(),
            commands: commands.map(|(name, read_only)| CommandView { name, read_only }).collect(),
            events: self.events.iter().map(|name| (*name).to_owned()).collect(),
        }
    }
}

impl fmt::Debug for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kinds: BTreeMap<_, _> =
            self.kinds.iter().map(|kind| (kind.name, kind.commands.len())).collect();
        f.debug_struct("Registry")
            .field("commands_of", &kinds)
            .field("problem", &self.problem)
            .finish()
    }
}

/// What the management pages show of an entity type.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, serde::Deserialize)]
pub struct EntityTypeView {
    /// Its name.
    pub name: String,
    /// Its commands, in the order of registration.
    pub commands: Vec<CommandView>,
    /// The names of its events.
    pub events: Vec<String>,
}

/// What the management pages show of a command.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, serde::Deserialize)]
pub struct CommandView {
    /// Its name.
    pub name: String,
    /// Whether it changes nothing by its type.
    pub read_only: bool,
}

/// Why an entity type cannot be registered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RegistryError {
    /// Two entity types share a name.
    #[error("entity type `{entity_type}` is registered twice")]
    TypeTwice {
        /// The name.
        entity_type: &'static str,
    },
    /// The type's name breaks the rule of addresses.
    #[error(
        "`{entity_type}` is no name for an entity type: a-z, 0-9, - and _, beginning with a letter, at most 64 bytes"
    )]
    MalformedType {
        /// The name.
        entity_type: &'static str,
    },
    /// The type's name begins like those of Holm's own types.
    #[error(
        "entity type `{entity_type}`: names that begin with `{SYSTEM_PREFIX}` are Holm's own; choose another"
    )]
    ReservedType {
        /// The name.
        entity_type: &'static str,
    },
    /// A command's name begins like those that Holm itself writes into the history of an entity.
    #[error(
        "entity type `{entity_type}` has a command `{command}`: names that begin with `{SYSTEM_PREFIX}` are Holm's own; choose another"
    )]
    ReservedCommand {
        /// The entity type.
        entity_type: &'static str,
        /// The command.
        command: &'static str,
    },
    /// Two commands of one entity type share a name.
    #[error("entity type `{entity_type}` names the command `{command}` twice")]
    CommandTwice {
        /// The entity type.
        entity_type: &'static str,
        /// The command.
        command: &'static str,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A name that stands at the place of a known one is that one only when it is as long, and a type knows no command of another, wherever its name stands.
    #[test]
    fn commands_are_found_by_what_their_names_say() {
        let registry = Registry::new().with_system_types();
        for kind in registry.kinds.iter() {
            for (index, &name) in (0u16..).zip(kind.names.iter()) {
                let copy = String::from(name);
                for name in [name, &*copy] {
                    let (found, command) = kind.find(name).unwrap();
                    assert_eq!(
                        (found, command.name(), kind.command_name(found)),
                        (index, name, name)
                    );
                }
                let (first, short) = (&name[..1], &name[..name.len() - 1]);
                for part in [first, short].iter().filter(|part| !kind.names.contains(part)) {
                    assert!(kind.find(part).is_err(), "{part} of {name}");
                }
            }
            let others = registry.kinds.iter().flat_map(|other| other.names.iter());
            for name in others.filter(|name| !kind.names.contains(name)) {
                assert!(kind.find(name).is_err(), "{} has no {name}", kind.name);
            }
        }
    }

    #[test]
    fn types_are_found_by_name() {
        let registry = Registry::new().with_system_types();
        assert!(registry.kinds.len() > 1);
        for (index, kind) in (0u16..).zip(registry.kinds.iter()) {
            assert_eq!(registry.known_kind(&String::from(kind.name)), Some(index));
            assert_eq!(registry.known_kind(&kind.name[1..]), None);
        }
    }
}
