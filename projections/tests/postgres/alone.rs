//! What only this store knows: places, its guard, errors of a server, and the moments of a switch.
