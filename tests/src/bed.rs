//! Small topologies for the integration tests.
