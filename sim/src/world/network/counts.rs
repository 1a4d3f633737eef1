//! What a network has carried, and what it did to it.

use std::time::Duration;

use super::Host;
use super::connection::Packet;

/// What a network has carried.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Packets that arrived.
    pub packets: u64,
    /// Their bytes.
    pub bytes: u64,
    /// A running digest of what arrived where and when.
    pub digest: u64,
    /// Packets that were lost and sent again.
    pub lost: u64,
    /// Packets that arrived after a later one between the same hosts, on another connection.
    pub late: u64,
    /// Messages that a receiver handled a second time.
    pub twice: u64,
    /// Connections that broke.
    pub broken: u64,
    /// Connections that were refused.
    pub refused: u64,
}

impl Counts {
    pub(super) fn note(&mut self, now: Duration, from: Host, to: Host, packet: &Packet) {
        let length = packet.len() as u64;
        self.packets += 1;
        self.bytes += length;
        // FNV-1a over what identifies the arrival: enough to tell two runs apart.
        for word in [now.as_micros() as u64, u64::from(from.0), u64::from(to.0), length] {
            self.digest = (self.digest ^ word).wrapping_mul(0x0100_0000_01B3);
        }
    }
}
