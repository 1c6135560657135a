//! The life of a connection, told step by step, with a clock of the test's own.
