//! Promise: the server answers, ends and stops connections as it should, on the real operating
//! system. The tests take its turns themselves, and start no other process.

#[path = "../common/mod.rs"]
mod common;

mod deadline;
mod drain;
mod echo;
mod embed;
mod facts;
mod fairness;
mod overload;
