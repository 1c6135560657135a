//! Promise: decisions are right on every kernel that a seed can describe, and those kernels behave
//! as Linux does. No test here starts the program.

mod answers;
mod budget;
mod calm;
mod classifier;
mod differential;
mod observer;
mod wheel;
mod worlds;
