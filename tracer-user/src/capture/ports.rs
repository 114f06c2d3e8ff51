//! tc hooks on every port.
