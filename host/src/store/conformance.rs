//! One set of tests for every backend.
