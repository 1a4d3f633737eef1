//! What can go wrong: each fault with its name in reports and its weight among the others.

use crate::world::settings::FaultWeights;

macro_rules! faults {
    ($(($fault:ident, $name:literal, $weight:ident),)*) => {
        /// What can go wrong.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        pub(super) enum Fault {
            $($fault),*
        }

        impl Fault {
            /// Every fault.
            pub(super) const ALL: [Self; [$($name),*].len()] = [$(Self::$fault),*];

            /// Its name in reports.
            pub(super) const fn name(self) -> &'static str {
                match self { $(Self::$fault => $name),* }
            }

            /// How often it happens, relative to the others.
            pub(super) const fn weight(self, weights: &FaultWeights) -> u64 {
                match self { $(Self::$fault => weights.$weight),* }
            }
        }
    };
}

faults! {
    (Kill, "process killed", kill),
    (Power, "power lost", power),
    (PowerOfAll, "power lost everywhere", power_of_all),
    (LostDisk, "disk lost", lost_disk),
    (Isolate, "node isolated", isolate),
    (OneWay, "one-way partition", one_way),
    (Partial, "partial partition", partial),
    (Flapping, "flapping network", flapping),
    (Reset, "connections reset", reset),
    (PoorNetwork, "poor network", poor_network),
    (Slow, "slow node", slow),
    (Pause, "paused node", pause),
    (Clock, "clock jump", clock),
    (FullDisk, "disk full", full_disk),
    (SlowDisk, "slow disk", slow_disk),
    (FailedSync, "failed sync", failed_sync),
    (Join, "node joined", join),
    (Leave, "node left", leave),
    (RollingRestart, "rolling restart", rolling_restart),
    (Rot, "derived data damaged", rot),
    (DroppedPages, "failed sync, then power lost", dropped_pages),
    (Twice, "messages twice", twice),
}
