//! The whole of the egress over loopback, from a gate of plain listeners to hosts of our own. The E numbers are those of the
//! catalogue of escape tests.

mod attacks;
mod limits;
mod proxy;
mod secrets;
mod world;
