//! No event is lost, and visits are fair: what is checked at each receive, and for each connection
//! that was touched when the loop begins to wait.

use crate::simulation::Rule;
use crate::simulation::link::Hold;
use crate::simulation::world::{CALL_COSTS_BYTES, World};

impl<const LINUX: bool> World<LINUX> {
    /// A receive has given `bytes` of `link`: is that the same visit still? A visit ends with the
    /// call that spends its budget. What sending costs is not counted here, so this is no stricter.
    pub(in crate::simulation) fn check_visit(&mut self, index: u32, bytes: usize) {
        let turn = self.turn.number;
        let budget = self.setting.config.bytes_per_visit.max(1);
        let duty = &mut self.network.link_mut(index).duty;
        if duty.moved_turn != turn {
            (duty.moved_turn, duty.moved_bytes) = (turn, 0);
        }
        let charged = duty.moved_bytes;
        duty.moved_bytes += bytes.max(CALL_COSTS_BYTES);
        if charged >= budget {
            let what = format!("received again after {charged} bytes: two visits in a turn");
            self.violate(Rule::Fair, Some(index), what);
        }
    }

    /// Nothing that was signalled may be left undone, unless an event or a timer is sure to come;
    /// or the loop comes back at once.
    pub(in crate::simulation) fn check_left(&mut self, index: u32, at_once: bool) {
        let knows = self.setting.tells && self.setting.config.asks_kernel && LINUX;
        let link = self.network.link(index);
        let pending = !link.model.pending().is_empty();
        let settled = link.told.fin && link.down.fin_sent() && link.unacked() == 0;
        let what = match link.hold {
            Hold::Accepted | Hold::Registered(_) if at_once => return,
            Hold::Accepted => "accepted, and neither registered nor closed",
            Hold::Registered(_) if link.ready => return,
            Hold::Registered(_) if link.told.dead => "an error was handed out, and it is not over",
            Hold::Registered(_) if pending => match (link.errno, link.no_space) {
                (Some(_), _) if !link.told.send_retries => {
                    "an error was signalled and the loop did not ask for it"
                }
                (_, false) if !link.told.send_retries => "there is room, and output is pending",
                _ if !link.registered_writable && !link.told.send_retries => {
                    "output is pending, and no event will tell of room"
                }
                _ => return,
            },
            Hold::Registered(_) if settled && knows && !link.told.recv_retries => {
                "all is acknowledged, and it is not over"
            }
            Hold::Registered(_) if link.told.recv_retries => return,
            Hold::Registered(_) if link.has_input() => {
                "there is something to read, and no edge comes"
            }
            Hold::Registered(_) if !link.armed && !link.told.fin => {
                "no edge comes before a read would block"
            }
            _ => return,
        };
        self.violate(Rule::LostEdge, Some(index), what);
    }
}
