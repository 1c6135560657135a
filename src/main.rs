//! The program `closecall`: the command line of the library of the same name.

use closecall::cli::main;
